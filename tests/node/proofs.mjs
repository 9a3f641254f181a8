// Requests by a site that shows a key, to an interface that checks it: node proofs.mjs URL
//
// For each algorithm, `oauth4webapi` makes a key, gets an access token bound to it from URL/token, and asks for a page of
// URL with the key, with another key, and with none. Prints {alg: {own, nonces, stranger, bearer}}: a status or [status,
// [[scheme, error], …]], and how often it was told a nonce.
import * as oauth from "oauth4webapi";

const base = process.argv[2];
const client = { client_id: "forum" };
const plain = { [oauth.allowInsecureRequests]: true };
const found = {};
for (const alg of ["ES256", "PS256", "Ed25519"]) {
  const [own, stranger] = [0, 1].map(async () => oauth.DPoP(client, await oauth.generateKeyPair(alg)));
  const DPoP = await own;
  const token = await (await fetch(`${base}/token?jkt=${await DPoP.calculateThumbprint()}`)).text();
  let nonces = 0;
  const ask = async (handle) => {
    for (;;) {
      try {
        const url = new URL(`${base}/caf%C3%A9/7?draft=1#part`);
        const answer = await oauth.protectedResourceRequest(token, "GET", url, undefined, undefined, { ...plain, ...(handle && { DPoP: handle }) });
        return answer.status;
      } catch (error) {
        if (handle && oauth.isDPoPNonceError(error)) {
          nonces += 1;
          continue;
        }
        if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error;
        return [error.status, error.cause.map(({ scheme, parameters }) => [scheme, parameters.error ?? null])];
      }
    }
  };
  found[alg] = { own: [await ask(DPoP), await ask(DPoP)], nonces, stranger: await ask(await stranger), bearer: await ask() };
}
process.stdout.write(`${JSON.stringify(found)}\n`);
