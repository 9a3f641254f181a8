// A server of the AT Protocol as Bluesky runs it: @atproto/pds, with a directory of its people beside it on loopback.
// What it would fetch from us over the internet, it is told at the start. Nothing else of it is changed but its driver of
// SQLite: `libsql` comes ready made, and hands out the bytes of many rows in another wrapping.
import { randomBytes } from "node:crypto";
import http from "node:http";
import { PDS, envToCfg, envToSecrets } from "@atproto/pds";
import * as plc from "@did-plc/lib";
import Database from "better-sqlite3";

const [port, besides, folder] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]];
const described = JSON.parse(process.argv[5]);

const rows = Object.getPrototypeOf(new Database(":memory:").prepare("SELECT 1"));
const bytes = (value) => (value instanceof ArrayBuffer ? Buffer.from(value) : value);
const unwrapped = (row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, bytes(value)]));
const { all, iterate } = rows;
rows.all = function (...given) { return all.apply(this, given).map(unwrapped); };
rows.iterate = function* (...given) { for (const row of iterate.apply(this, given)) yield unwrapped(row); };

const fetched = globalThis.fetch;
globalThis.fetch = async (input, init) =>
  String(input.url ?? input) === described.client_id ? Response.json(described) : fetched(input, init);

// The directory (web.plc.directory/spec): every change is checked against all that went before it.
const logs = new Map();
const views = {
  "": (data) => plc.formatDidDoc(data),
  data: (data) => data,
  "log/last": (data, log) => log.at(-1),
};

async function directory(request) {
  const [did, ...view] = decodeURIComponent(request.url).slice(1).split("/");
  const log = logs.get(did) ?? [];
  if (request.method === "POST") {
    const longer = [...log, await new Response(request).json()];
    await plc.validateOperationLog(did, longer);
    logs.set(did, longer);
    return {};
  }
  if (!log.length) return null;
  return views[view.join("/")](await plc.validateOperationLog(did, log), log);
}

const key = () => randomBytes(32).toString("hex");
const environment = {
  port, hostname: "localhost", devMode: true, disableSsrfProtection: true, rateLimitsEnabled: false,
  dataDirectory: folder, blobstoreDiskLocation: `${folder}/blobs`, didPlcUrl: `http://localhost:${besides}`,
  inviteRequired: false, serviceHandleDomains: [".people.test"], crawlers: [],
  dpopSecret: key(), jwtSecret: key(), adminPassword: key(), plcRotationKeyK256PrivateKeyHex: key(),
};
const pds = await PDS.create(envToCfg(environment), envToSecrets(environment));

async function answer(request) {
  const url = new URL(request.url, environment.didPlcUrl);
  // What the server itself tells nobody but its person: how many tokens of theirs are good.
  if (url.pathname === "/tokens") return (await pds.ctx.oauthProvider.tokenManager.listAccountTokens(url.searchParams.get("did"))).length;
  return directory(request);
}

http.createServer(async (request, response) => {
  const told = await answer(request).catch((error) => ({ message: String(error) }));
  const status = told === null ? 404 : told.message ? 400 : 200;
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(told));
}).listen(besides, "127.0.0.1");
await pds.start();
console.log("up");
