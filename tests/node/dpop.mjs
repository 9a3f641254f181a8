// One sign-in by a site that shows a key with all it does: node dpop.mjs OPTIONS
//
// OPTIONS is JSON: issuer, clientId, redirectUri, secret (none: a public client), alg, par (push the request, with a
// proof), tie (name the key in the request). Prints {"authorization_url": …}, reads the callback address from stdin, then
// redeems the code, asks for userinfo with the key, with another one and without any, renews with the key and with
// another one, and prints {"ok": true, …} or {"ok": false, "step": …, "error": …}. `openid-client` does the sign-in;
// `oauth4webapi` below it asks for what must be refused, and says how. Certificates: NODE_EXTRA_CA_CERTS.
import { createInterface } from "node:readline";
import * as oauth from "oauth4webapi";
import * as oidc from "openid-client";

const options = JSON.parse(process.argv[2]);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

let step = "discovery";
try {
  const authentication = options.secret ? oidc.ClientSecretBasic(options.secret) : oidc.None();
  const config = await oidc.discovery(new URL(options.issuer), options.clientId, options.secret, authentication);
  const server = config.serverMetadata();
  const client = { client_id: options.clientId };
  const proves = options.secret ? oauth.ClientSecretBasic(options.secret) : oauth.None();
  const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair(options.alg));
  const stranger = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
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
    ...(options.tie && { dpop_jkt: await DPoP.calculateThumbprint() }),
  };
  const url = options.par
    ? await oidc.buildAuthorizationUrlWithPAR(config, parameters, { DPoP })
    : oidc.buildAuthorizationUrl(config, parameters);
  say({ authorization_url: url.href });
  const callback = await new Promise((found) => createInterface({ input: process.stdin }).once("line", found));
  step = "code";
  const redeemer = options.steal ? oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair()) : DPoP;
  const tokens = await oidc.authorizationCodeGrant(config, new URL(callback.trim()), { ...checks, idTokenExpected: true }, undefined, { DPoP: redeemer });
  const claims = tokens.claims();
  step = "userinfo";
  const userinfo = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub, { DPoP });
  step = "refused";
  const ask = async (handle) => {
    for (;;) {
      const answer = await oauth.userInfoRequest(server, client, tokens.access_token, handle && { DPoP: handle });
      try {
        await oauth.processUserInfoResponse(server, client, claims.sub, answer);
        return "accepted";
      } catch (error) {
        if (handle && oauth.isDPoPNonceError(error)) continue;
        const [challenge] = error.cause ?? [];
        return challenge ? [error.status, challenge.scheme, challenge.parameters.error] : error.code;
      }
    }
  };
  const refused = { bearer: await ask(), stranger: await ask(stranger) };
  step = "refresh";
  const renew = async (handle) => {
    for (;;) {
      const answer = await oauth.refreshTokenGrantRequest(server, client, proves, tokens.refresh_token, { DPoP: handle });
      try {
        return await oauth.processRefreshTokenResponse(server, client, answer);
      } catch (error) {
        if (!oauth.isDPoPNonceError(error)) return { error: error.error ?? error.code };
      }
    }
  };
  const stolen = options.secret ? undefined : await renew(stranger);
  const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
  step = "introspection";
  const described = options.secret ? await oidc.tokenIntrospection(config, renewed.access_token) : undefined;
  say({
    ok: true,
    claims,
    userinfo,
    refused,
    stolen: stolen?.error,
    types: [tokens.token_type, renewed.token_type],
    described,
    thumbprint: await DPoP.calculateThumbprint(),
  });
} catch (error) {
  say({ ok: false, step, error: error.error ?? error.code ?? error.name, detail: error.cause?.code ?? error.message });
  process.exitCode = 1;
}
process.stdin.destroy();
