// A site with two interfaces, judged by `oauth4webapi`: node interfaces.mjs OPTIONS
//
// OPTIONS is JSON: issuer, clientId, clientSecret, redirectUri, alg, and api and search, the interfaces' addresses. Prints
// {"authorization_url": …} that names both, reads the callback address, and shows what it got to each interface and to
// userinfo; asks for its own token; introspects by a signed answer; and prints {"ok": true, …} or {"ok": false, "step":
// …, "error": …}. Certificates: NODE_EXTRA_CA_CERTS.
import { createInterface } from "node:readline";
import * as oauth from "oauth4webapi";

const { issuer, clientId, clientSecret, redirectUri, alg, api, search } = JSON.parse(process.argv[2]);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const client = { client_id: clientId, id_token_signed_response_alg: alg, introspection_signed_response_alg: alg };
const authentication = oauth.ClientSecretBasic(clientSecret);

let as;
// What an interface at this address says to a token: its claims, or why not (RFC 9068 §4).
const shown = (token, address) => {
  const request = new Request(api, { headers: { authorization: `Bearer ${token}` } });
  return oauth.validateJwtAccessToken(as, request, address, { signingAlgorithms: [alg] }).catch((error) => error.code ?? error.name);
};
const userinfo = async (token) => (await oauth.userInfoRequest(as, client, token)).status;
const introspected = async (token) => {
  const answer = await oauth.introspectionRequest(as, client, authentication, token);
  const type = answer.headers.get("content-type");
  const told = await oauth.processIntrospectionResponse(as, client, answer);
  await oauth.validateApplicationLevelSignature(as, answer);
  return { type, told };
};

let step = "discovery";
try {
  const url = new URL(issuer);
  as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url));
  step = "authorization";
  const verifier = oauth.generateRandomCodeVerifier();
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
  const to = new URL(as.authorization_endpoint);
  to.search = new URLSearchParams([
    ["client_id", clientId], ["redirect_uri", redirectUri], ["response_type", "code"], ["scope", "openid offline_access"],
    ["state", state], ["nonce", nonce], ["code_challenge", await oauth.calculatePKCECodeChallenge(verifier)],
    ["code_challenge_method", "S256"], ["resource", api], ["resource", search],
  ]);
  say({ authorization_url: to.href });
  const callback = await new Promise((found) => createInterface({ input: process.stdin }).once("line", found));
  step = "code";
  const params = oauth.validateAuthResponse(as, client, new URL(callback.trim()), state);
  const redeemed = await oauth.authorizationCodeGrantRequest(as, client, authentication, params, redirectUri, verifier);
  const both = await oauth.processAuthorizationCodeResponse(as, client, redeemed, { expectedNonce: nonce });
  step = "refresh";
  const again = async (token, resource) => {
    const answer = await oauth.refreshTokenGrantRequest(as, client, authentication, token, { additionalParameters: [["resource", resource]] });
    return oauth.processRefreshTokenResponse(as, client, answer);
  };
  const one = await again(both.refresh_token, search);
  const ours = await again(one.refresh_token, issuer);
  step = "too far";
  const far = await again(ours.refresh_token, "https://elsewhere.test/").catch((error) => error.error);
  step = "of its own";
  const asked = await oauth.clientCredentialsGrantRequest(as, client, authentication, { scope: "reports:read", resource: api });
  const own = await oauth.processClientCredentialsResponse(as, client, asked);
  step = "judging";
  const { sub } = oauth.getValidatedIdTokenClaims(both);
  say({
    ok: true,
    sub,
    both: { api: await shown(both.access_token, api), search: await shown(both.access_token, search), userinfo: await userinfo(both.access_token) },
    one: { api: await shown(one.access_token, api), search: await shown(one.access_token, search), userinfo: await userinfo(one.access_token) },
    ours: { api: await shown(ours.access_token, api), userinfo: await userinfo(ours.access_token) },
    id_token: { api: await shown(both.id_token, api), site: await shown(both.id_token, clientId) },
    far,
    own: { api: await shown(own.access_token, api), search: await shown(own.access_token, search), keys: Object.keys(own).sort() },
    introspected: { one: await introspected(one.access_token), own: await introspected(own.access_token), unknown: await introspected("unknown") },
  });
} catch (error) {
  say({ ok: false, step, error: error.error ?? error.code ?? error.name, detail: error.cause?.code ?? error.message });
  process.exitCode = 1;
}
process.stdin.destroy();
