// A real OpenID provider over TLS: node provider.mjs PORT CERTIFICATE KEY CLIENT_ID CLIENT_SECRET REDIRECT_URI
//
// Signs in whoever gives a name on oidc-provider's development pages. The issuer is https://openid.test:PORT.
// A line "rotate" on stdin signs with a new key from then on and publishes only that one. Ready when it prints "ready".
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

const [port, certificate, key, clientId, clientSecret, redirectUri] = process.argv.slice(2);
const issuer = `https://openid.test:${port}`;

const newKey = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: `${alg}-${Date.now()}` };
};
const person = (sub) => ({
  sub,
  name: `${sub[0].toUpperCase()}${sub.slice(1)} Witness`,
  given_name: `${sub[0].toUpperCase()}${sub.slice(1)}`,
  family_name: "Witness",
  email: `${sub}@witness.test`,
  email_verified: !sub.startsWith("unverified"),
  picture: `${issuer}/${sub}.png`,
  locale: "fr",
});
const build = async () => {
  const provider = new Provider(issuer, {
    clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
    claims: { openid: ["sub"], profile: ["name", "given_name", "family_name", "picture", "locale"], email: ["email", "email_verified"] },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => person(sub) }),
    jwks: { keys: [await newKey("RS256")] },
    cookies: { keys: ["only for tests"] },
    features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
    ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Grant: 600, Session: 600 },
  });
  provider.on("server_error", (_, error) => process.stderr.write(`${error.stack}\n`));
  return provider.callback();
};

let handle = await build();
createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => handle(request, response))
  .listen(Number(port), "127.0.0.1", () => process.stdout.write("ready\n"));
createInterface({ input: process.stdin })
  .on("line", async (line) => {
    if (line !== "rotate") return;
    handle = await build();
    process.stdout.write("rotated\n");
  })
  .on("close", () => process.exit(0));
