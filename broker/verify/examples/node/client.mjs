// Sign-in with `openid-client`: code + PKCE + state + nonce, every answer checked.
import * as oidc from "openid-client";

export async function connect({ issuer, clientId, clientSecret }) {
  const url = new URL(issuer);
  // Plain http is for trying things out on one machine.
  const loopback = url.protocol === "http:" && ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  const authentication = clientSecret ? oidc.ClientSecretBasic(clientSecret) : oidc.None();
  return oidc.discovery(url, clientId, undefined, authentication, loopback ? { execute: [oidc.allowInsecureRequests] } : {});
}

// Gives the address to send the browser to and what to remember (in a sealed cookie or on the server).
export async function begin(config, redirectUri, scope = "openid profile email") {
  const kept = {
    verifier: oidc.randomPKCECodeVerifier(),
    state: oidc.randomState(),
    nonce: oidc.randomNonce(),
  };
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope,
    state: kept.state,
    nonce: kept.nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(kept.verifier),
    code_challenge_method: "S256",
  });
  return { url, kept };
}

export async function finish(config, callbackUrl, kept) {
  const tokens = await oidc.authorizationCodeGrant(config, new URL(callbackUrl), {
    pkceCodeVerifier: kept.verifier,
    expectedState: kept.state,
    expectedNonce: kept.nonce,
    idTokenExpected: true,
  });
  const claims = tokens.claims();
  const userinfo = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub);
  return { tokens, claims, userinfo };
}

export const renew = (config, refreshToken) => oidc.refreshTokenGrant(config, refreshToken);

export const signOutUrl = (config, idToken, returnTo) =>
  oidc.buildEndSessionUrl(config, { id_token_hint: idToken, post_logout_redirect_uri: returnTo });
