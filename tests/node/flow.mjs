// One sign-in with independent software: node flow.mjs ISSUER CLIENT_ID CLIENT_SECRET REDIRECT_URI [SCOPE]
//
// Prints {"authorization_url": …} as one line, reads the callback address from stdin, then redeems the
// code, asks for userinfo, verifies the session token, renews, tries three tokens that must be refused,
// and prints {"ok": true, …} or {"ok": false, "step": …, "error": …}. Certificates: NODE_EXTRA_CA_CERTS.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const example = process.env.DOORWARD_NODE_EXAMPLE ?? new URL("../../broker/verify/examples/node/", import.meta.url).pathname;
const { begin, connect, finish, renew, signOutUrl } = await import(pathToFileURL(`${example}/client.mjs`));
const { createVerifier } = await import(pathToFileURL(`${example}/verify.mjs`));

const [issuer, clientId, clientSecret, redirectUri, scope] = process.argv.slice(2);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const refusal = async (verify, token) => verify(token).then(() => "accepted", (error) => error.code);

let step = "discovery";
try {
  const config = await connect({ issuer, clientId, clientSecret });
  step = "authorization";
  const { url, kept } = await begin(config, redirectUri, scope);
  say({ authorization_url: url.href });
  const callback = await new Promise((found) => createInterface({ input: process.stdin }).once("line", found));
  step = "code";
  const { tokens, claims, userinfo } = await finish(config, callback.trim(), kept);
  step = "session";
  const verify = createVerifier({ issuer, audience: clientId });
  const session = await verify(tokens.session_token);
  step = "refused";
  const refused = {
    id_token: await refusal(verify, tokens.id_token),
    another_site: await refusal(createVerifier({ issuer, audience: "another" }), tokens.session_token),
    changed: await refusal(verify, `${tokens.session_token.slice(0, -20)}${"A".repeat(20)}`),
  };
  step = "refresh";
  const renewed = await renew(config, tokens.refresh_token);
  const again = await verify(renewed.session_token);
  say({
    ok: session.sub === claims.sub && again.sub === claims.sub && again.sid === session.sid,
    claims,
    userinfo,
    session,
    refused,
    rotated: renewed.refresh_token !== undefined && renewed.refresh_token !== tokens.refresh_token,
    sign_out_url: signOutUrl(config, tokens.id_token, redirectUri).href,
  });
} catch (error) {
  say({ ok: false, step, error: error.error ?? error.code ?? error.name, detail: error.cause?.code });
  process.exitCode = 1;
}
process.stdin.destroy();
