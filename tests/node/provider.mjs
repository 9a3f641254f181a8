// A real OpenID provider over TLS: node provider.mjs PORT CERTIFICATE KEY CLIENT_ID CLIENT_SECRET REDIRECT_URI LOGOUT_URI HOOK_PORT
//
// Whoever signs out is told of at LOGOUT_URI (Back-Channel Logout 1.0), over TLS at HOOK_PORT of this machine, whose name has
// to be in the certificate; NODE_EXTRA_CA_CERTS says who may have signed that. Once it has taken it: "told".
//
// Signs in whoever gives a name on oidc-provider's development pages. The issuer is https://openid.test:PORT.
// Keys of clients that it is given the address of (`jwks_uri`) are fetched there too.
// SIGNED_JWKS: the keys of one more client, "doorward-signed", that has no secret and signs its requests and who it is.
// Registering takes the initial access token "let-us-in"; none where OPEN_REGISTRATION is set.
// A line "rotate" on stdin signs with a new key from then on and publishes only that one. Ready when it prints "ready".
import { readFileSync } from "node:fs";
import { createServer, request as ask } from "node:https";
import { createInterface } from "node:readline";
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

const [port, certificate, key, clientId, clientSecret, redirectUri, logoutUri, hookPort] = process.argv.slice(2);
const issuer = `https://openid.test:${port}`;

const newKey = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: `${alg}-${Date.now()}` };
};
// The name is nobody's on this machine, so it is called where the argument says; everything else is as the library asks it.
const call = (address, { method, headers, body }) =>
  new Promise((resolve, reject) => {
    const url = new URL(address);
    const options = {
      method,
      host: "127.0.0.1",
      port: Number(hookPort),
      servername: url.hostname,
      path: url.pathname,
      headers: { ...Object.fromEntries(new Headers(headers)), host: url.host },
    };
    ask(options, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve(new Response(parts.length ? Buffer.concat(parts) : null, { status: answer.statusCode })));
    }).on("error", reject).end(body === undefined ? undefined : String(body));
  });
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
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: [redirectUri],
        post_logout_redirect_uris: [redirectUri.replace("/callback/", "/signed-out/")],
        backchannel_logout_uri: logoutUri,
        backchannel_logout_session_required: true,
      },
      ...(process.env.SIGNED_JWKS
        ? [
            {
              client_id: "doorward-signed",
              redirect_uris: [redirectUri],
              token_endpoint_auth_method: "private_key_jwt",
              token_endpoint_auth_signing_alg: "ES256",
              request_object_signing_alg: "RS256",
              require_signed_request_object: true,
              jwks: JSON.parse(process.env.SIGNED_JWKS),
            },
          ]
        : []),
    ],
    fetch: call,
    claims: { openid: ["sub"], profile: ["name", "given_name", "family_name", "picture", "locale"], email: ["email", "email_verified"] },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => person(sub) }),
    jwks: { keys: [await newKey("RS256")] },
    cookies: { keys: ["only for tests"] },
    features: { requestObjects: { enabled: true }, devInteractions: { enabled: true }, revocation: { enabled: true }, backchannelLogout: { enabled: true }, registration: { enabled: true, initialAccessToken: process.env.OPEN_REGISTRATION ? false : "let-us-in" } },
    ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Grant: 600, Session: 600 },
  });
  provider.on("backchannel.success", () => process.stdout.write("told\n"));
  provider.on("backchannel.error", (_, error) => process.stdout.write(`not told: ${error.message}\n`));
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
