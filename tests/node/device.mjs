// A device that has no browser: node device.mjs OPTIONS
//
// OPTIONS is JSON: issuer, clientId, resources (addresses of interfaces that it wants tokens for). Prints {"told": …} (what people type where), asks until somebody answered, asks for
// userinfo, and prints {"ok": true, …} or {"ok": false, "step": …, "error": …}. Certificates: NODE_EXTRA_CA_CERTS.
import * as oidc from "openid-client";

const options = JSON.parse(process.argv[2]);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

let step = "discovery";
try {
  const config = await oidc.discovery(new URL(options.issuer), options.clientId, undefined, oidc.None());
  step = "device";
  const told = await oidc.initiateDeviceAuthorization(config, new URLSearchParams([
    ["scope", "openid profile offline_access"],
    ...(options.resources ?? []).map((one) => ["resource", one]),
  ]));
  say({ told });
  step = "poll";
  const tokens = await oidc.pollDeviceAuthorizationGrant(config, told, undefined, { signal: AbortSignal.timeout(30_000) });
  const claims = tokens.claims();
  step = "userinfo";
  const payload = JSON.parse(Buffer.from(tokens.access_token.split(".")[1] ?? "bnVsbA", "base64url"));
  const userinfo = options.resources ? undefined : await oidc.fetchUserInfo(config, tokens.access_token, claims.sub);
  step = "refresh";
  const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
  say({ ok: true, claims, userinfo, audience: payload?.aud, renewed: Boolean(renewed.access_token) });
} catch (error) {
  say({ ok: false, step, error: error.error ?? error.code ?? error.name, detail: error.cause?.code ?? error.message });
  process.exitCode = 1;
}
