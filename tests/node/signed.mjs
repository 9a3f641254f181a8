// One sign-in by a site that signs what it sends: node signed.mjs OPTIONS
//
// OPTIONS is JSON: issuer, clientId, redirectUri, auth (private_key_jwt or client_secret_jwt), secret, key (a private
// JWK), alg, par (push the request first), jar (sign the request), jarm (have the answer signed), dpop (show a key with
// all it does). Prints {"authorization_url": …}, reads the callback address from stdin, then redeems the code, asks for
// userinfo, renews, asks what the token is worth, takes it back, asks again, and prints {"ok": true, …} or
// {"ok": false, "step": …, "error": …}. Certificates: NODE_EXTRA_CA_CERTS.
import { createInterface } from "node:readline";
import { importJWK } from "jose";
import * as oidc from "openid-client";

const options = JSON.parse(process.argv[2]);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

let step = "key";
try {
  const key = options.key && { key: await importJWK(options.key, options.alg), kid: options.key.kid };
  const authentication = options.auth === "private_key_jwt" ? oidc.PrivateKeyJwt(key) : oidc.ClientSecretJwt(options.secret);
  step = "discovery";
  const config = await oidc.discovery(new URL(options.issuer), options.clientId, undefined, authentication);
  if (options.jarm) oidc.useJwtResponseMode(config);
  const shows = options.dpop && { DPoP: oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair(options.alg)) };
  step = "authorization";
  const verifier = oidc.randomPKCECodeVerifier();
  const checks = { pkceCodeVerifier: verifier, expectedState: oidc.randomState(), expectedNonce: oidc.randomNonce() };
  const parameters = {
    redirect_uri: options.redirectUri,
    scope: "openid profile email offline_access",
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  };
  const asked = options.jar ? (await oidc.buildAuthorizationUrlWithJAR(config, parameters, key)).searchParams : parameters;
  const url = options.par ? await oidc.buildAuthorizationUrlWithPAR(config, asked, shows) : oidc.buildAuthorizationUrl(config, asked);
  say({ authorization_url: url.href });
  const callback = await new Promise((found) => createInterface({ input: process.stdin }).once("line", found));
  step = "code";
  const tokens = await oidc.authorizationCodeGrant(config, new URL(callback.trim()), { ...checks, idTokenExpected: true }, undefined, shows);
  const claims = tokens.claims();
  step = "userinfo";
  const userinfo = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub, shows);
  step = "refresh";
  const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, shows);
  const rotated = renewed.refresh_token !== tokens.refresh_token;
  step = "introspection";
  const before = await oidc.tokenIntrospection(config, renewed.access_token);
  step = "revocation";
  await oidc.tokenRevocation(config, renewed.access_token);
  const after = await oidc.tokenIntrospection(config, renewed.access_token);
  say({ ok: true, claims, userinfo, active: [before.active, after.active], rotated, type: tokens.token_type });
} catch (error) {
  say({ ok: false, step, error: error.error ?? error.code ?? error.name, detail: error.cause?.code ?? error.message });
  process.exitCode = 1;
}
process.stdin.destroy();
