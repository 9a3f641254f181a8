// A whole community site in Node, without a framework.
//
//   ISSUER=http://localhost:8000 CLIENT_ID=node CLIENT_SECRET=… PORT=8004 node site.mjs
//
// What the broker has to know of it, in sites.toml (or as [sites.node] in a file of conf.d):
//
//   [node]
//   name = "Node site"
//   url = "http://localhost:8004/"
//   redirect_uris = ["http://localhost:8004/callback"]
//   post_logout_redirect_uris = ["http://localhost:8004/"]   # where people land who sign out
//   client_secret = { file = "secrets/node.secret" }         # doorward site secret prints one
//   session_token = true                                     # without it there is nothing to verify here
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { begin, connect, finish, renew, signOutUrl } from "./client.mjs";
import { createStatusLists } from "./status.mjs";
import { createVerifier } from "./verify.mjs";

const { ISSUER = "http://localhost:8000", CLIENT_ID = "node", CLIENT_SECRET, PORT = "8004" } = process.env;
const here = process.env.PUBLIC_URL ?? `http://localhost:${PORT}`;
const secure = here.startsWith("https:");
const cookieName = `${secure ? "__Host-" : ""}${encodeURIComponent(CLIENT_ID)}_id`;

// Everything about a browser stays here; it holds only a random number. A real site keeps this in its database.
const browsers = new Map();
const verify = createVerifier({ issuer: ISSUER, audience: CLIENT_ID, statuses: createStatusLists({ issuer: ISSUER }) });
let config;

const escape = (text) => String(text).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
const page = (title, body) =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title></head><body><p>Demo site</p><main><h1>${title}</h1>${body}</main></body></html>`;

function browserOf(request) {
  const found = (request.headers.cookie ?? "").split(/; */).filter((pair) => pair.startsWith(`${cookieName}=`));
  return found.length === 1 ? browsers.get(found[0].slice(cookieName.length + 1)) : undefined;
}

// A new number at each sign-in: one that was planted before is worth nothing.
function remember(response, state) {
  if (browsers.size >= 10000) browsers.delete(browsers.keys().next().value);
  const id = randomBytes(32).toString("base64url");
  browsers.set(id, { ...state, id });
  response.setHeader("Set-Cookie", `${cookieName}=${id}; Path=/; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}`);
}

// The verified session, renewed first if it has expired. One renewal at a time for each browser.
async function sessionOf(browser) {
  if (!browser?.sessionToken) return undefined;
  try {
    return await verify(browser.sessionToken);
  } catch (error) {
    if (error.code === "revoked") return void browsers.delete(browser.id);
    if (error.code !== "expired" || !browser.refreshToken) throw error;
  }
  browser.renewal ??= renew(config, browser.refreshToken).finally(() => (browser.renewal = undefined));
  const tokens = await browser.renewal;
  browser.sessionToken = tokens.session_token;
  browser.refreshToken = tokens.refresh_token ?? browser.refreshToken;
  return verify(browser.sessionToken);
}

async function answer(request, response) {
  config ??= await connect({ issuer: ISSUER, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });
  const url = new URL(request.url, here);
  const browser = browserOf(request);
  const go = (target) => response.writeHead(303, { Location: String(target), "Cache-Control": "no-store" }).end();
  if (request.method === "GET" && url.pathname === "/sign-in") {
    const { url: target, kept } = await begin(config, `${here}/callback`);
    remember(response, { kept });
    return go(target);
  }
  if (request.method === "GET" && url.pathname === "/callback") {
    if (!browser?.kept) return go("/");
    browsers.delete(browser.id);
    if (url.searchParams.get("error") === "access_denied") return go("/");
    const { tokens } = await finish(config, url, browser.kept);
    if (!tokens.session_token) console.error("no session token came: set session_token = true for this site");
    await verify(tokens.session_token);
    remember(response, { sessionToken: tokens.session_token, refreshToken: tokens.refresh_token, idToken: tokens.id_token });
    return go("/");
  }
  if (request.method === "POST" && url.pathname === "/sign-out") {
    if (request.headers.origin !== here) return response.writeHead(403).end();
    if (!browser?.idToken) return go("/");
    browsers.delete(browser.id);
    return go(signOutUrl(config, browser.idToken, `${here}/`));
  }
  if (request.method !== "GET" || url.pathname !== "/") return response.writeHead(404).end();
  const session = await sessionOf(browser);
  const body = session
    ? `<p>Signed in as ${escape(session.name ?? session.preferred_username ?? session.sub)}.</p><form method="post" action="/sign-out"><button>Sign out of this site</button></form>`
    : `<p>You are not signed in.</p><p><a href="/sign-in">Sign in</a></p>`;
  response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "private, no-store" }).end(page("Node site", body));
}

createServer((request, response) =>
  answer(request, response).catch((error) => {
    // Codes only: the message of an error may quote what was sent.
    console.error("request failed:", error.code ?? error.name);
    const status = error.status ?? 502;
    if (!response.headersSent) response.writeHead(status, { "Content-Type": "text/html; charset=utf-8" });
    response.end(page("Please try again", `<p><a href="/sign-in">Sign in again</a></p>`));
  }),
).listen(Number(PORT), "127.0.0.1", () => console.log(`${here} is ready`));
