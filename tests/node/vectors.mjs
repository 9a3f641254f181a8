// Verifies the written test vectors with jose: node vectors.mjs FOLDER. Prints {name: [expected, got]} of those that differ.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const example = process.env.DOORWARD_NODE_EXAMPLE ?? new URL("../../broker/verify/examples/node/", import.meta.url).pathname;
const { createAccessVerifier, createVerifier } = await import(pathToFileURL(`${example}/verify.mjs`));
const { createStatusLists } = await import(pathToFileURL(`${example}/status.mjs`));
const { issuer, audience, now, jwks, vectors, access, status } = JSON.parse(readFileSync(`${process.argv[2]}/vectors.json`, "utf8"));
const verify = createVerifier({ issuer, audience, keys: jwks });
const load = async (uri) => {
  if (!status.lists[uri]) throw new Error("not there");
  return { text: status.lists[uri] };
};
const reading = createVerifier({ issuer, audience, keys: jwks, statuses: createStatusLists({ issuer, load }) });
const taking = createAccessVerifier({ issuer, audience: access.audience, keys: jwks });
const differing = {};
for (const [judge, given] of [[verify, vectors], [reading, vectors], [reading, status.vectors], [taking, access.vectors]]) {
  for (const { name, token, accept } of given) {
    const got = await judge(token, { currentDate: new Date(now * 1000) }).then(() => "ok", (error) => error.code);
    if (!accept.includes(got)) differing[name] = [accept, got];
  }
}
process.stdout.write(`${JSON.stringify(differing)}\n`);
