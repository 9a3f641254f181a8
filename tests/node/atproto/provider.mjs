// A server of the AT Protocol as Bluesky runs it (@atproto/oauth-provider), on memory stores, with a directory and
// somebody's data beside it. The person says yes by program: /allow takes what the browser would have brought.
import http from "node:http";
import { Keyset, OAuthProvider, oauthMiddleware } from "@atproto/oauth-provider";
import { JoseKey } from "@atproto/jwk-jose";

const [port, described] = [Number(process.argv[2]), JSON.parse(process.argv[3])];
const base = `http://localhost:${port}`;
const did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const device = "dev-00000000000000000000000000000000";
const account = { sub: did, aud: base, preferred_username: "ana.people.test", name: "Ana" };
const requests = new Map();
const tokens = new Map();
const first = (found) => [...tokens.values()].find(found) ?? null;

const store = {
  createAccount() { throw new Error("nobody signs up here"); },
  authenticateAccount() { throw new Error("nobody types a password here"); },
  setAuthorizedClient() {},
  getAccount: () => ({ account, authorizedClients: new Map() }),
  upsertDeviceAccount() {},
  getDeviceAccount: () => null,
  removeDeviceAccount() {},
  listDeviceAccounts: () => [],
  resetPasswordRequest: () => null,
  resetPasswordConfirm: () => null,
  verifyHandleAvailability() {},
  createRequest: (id, data) => void requests.set(id, data),
  readRequest: (id) => requests.get(id) ?? null,
  updateRequest: (id, data) => void requests.set(id, { ...requests.get(id), ...data }),
  deleteRequest: (id) => void requests.delete(id),
  consumeRequestCode(code) {
    const [requestId, data] = [...requests].find(([, one]) => one.code === code) ?? [];
    if (!requestId) return null;
    requests.delete(requestId);
    return { requestId, data };
  },
  createDevice() {},
  readDevice: () => null,
  updateDevice() {},
  deleteDevice() {},
  createToken: (id, data, refresh) => void tokens.set(id, { id, data, account, currentRefreshToken: refresh ?? null }),
  readToken: (id) => tokens.get(id) ?? null,
  deleteToken: (id) => void tokens.delete(id),
  rotateToken() { throw new Error("nobody refreshes here"); },
  findTokenByRefreshToken: (refresh) => first((one) => one.currentRefreshToken === refresh),
  findTokenByCode: (code) => first((one) => one.data.code === code),
  listAccountTokens: () => [...tokens.values()],
  findLexicon: () => null,
  storeLexicon() {},
  deleteLexicon() {},
};

const provider = new OAuthProvider({
  issuer: base,
  keyset: new Keyset([await JoseKey.generate(["ES256"], "k1")]),
  dpopSecret: "0".repeat(64),
  store,
  metadata: { protected_resources: [base] },
  async safeFetch(request) {
    // Where the client says what it is: told at the start, instead of over the internet.
    if ((request.url ?? String(request)) !== described.client_id) throw new Error("nothing else is fetched");
    return Response.json(described);
  },
});
const handler = oauthMiddleware(provider);

const pages = {
  [`/plc/${did}`]: () => ({
    id: did,
    alsoKnownAs: [`at://${account.preferred_username}`],
    service: [{ id: "#atproto_pds", type: "AtprotoPersonalDataServer", serviceEndpoint: base }],
  }),
  "/.well-known/oauth-protected-resource": () => ({ resource: base, authorization_servers: [base] }),
  "/xrpc/com.atproto.identity.resolveHandle": () => ({ did }),
  "/xrpc/com.atproto.repo.getRecord": () => ({ value: { displayName: "Ana" } }),
  "/tokens": () => tokens.size,
  async "/allow"(query) {
    const uri = query.get("request_uri");
    const id = uri.slice(uri.lastIndexOf(":") + 1);
    const client = await provider.clientManager.getClient(query.get("client_id"));
    requests.set(id, { ...requests.get(id), deviceId: device });
    const { parameters } = requests.get(id);
    const seen = { ipAddress: "127.0.0.1", userAgent: null };
    const code = await provider.requestManager.setAuthorized(uri, client, account, device, seen);
    return { state: parameters.state, code, iss: base, hint: parameters.login_hint ?? "" };
  },
};

http.createServer(async (request, response) => {
  const url = new URL(request.url, base);
  const page = pages[url.pathname];
  if (!page) return handler(request, response, () => response.writeHead(404).end());
  const body = JSON.stringify(await page(url.searchParams));
  return response.writeHead(200, { "content-type": "application/json" }).end(body);
}).listen(port, "127.0.0.1", () => console.log("up"));
