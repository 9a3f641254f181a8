// Verifies the written test vectors with jose: node vectors.mjs FOLDER. Prints {name: [expected, got]} of those that differ.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const example = process.env.DOORWARD_NODE_EXAMPLE ?? new URL("../../broker/verify/examples/node/", import.meta.url).pathname;
const { createVerifier } = await import(pathToFileURL(`${example}/verify.mjs`));
const { issuer, audience, now, jwks, vectors } = JSON.parse(readFileSync(`${process.argv[2]}/vectors.json`, "utf8"));
const verify = createVerifier({ issuer, audience, keys: jwks });
const differing = {};
for (const { name, token, accept } of vectors) {
  const got = await verify(token, { currentDate: new Date(now * 1000) }).then(() => "ok", (error) => error.code);
  if (!accept.includes(got)) differing[name] = [accept, got];
}
process.stdout.write(`${JSON.stringify(differing)}\n`);
