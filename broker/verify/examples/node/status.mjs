// Which session tokens ended before their time: the broker's status lists, read once a minute for all tokens.
//
//   const statuses = createStatusLists({ issuer });
//   const verify = createVerifier({ issuer, audience, statuses });
//
// In an outage the last list counts for ten minutes. After that, and for a list that is not to be believed, nobody can
// say whether a token has ended: `keys_unavailable` (503), which lets nobody in and signs nobody out.
import { promisify } from "node:util";
import { inflate } from "node:zlib";
import * as jose from "jose";
import { SessionError } from "./verify.mjs";

const FRESH = 60_000;
const STALE = 600_000;
const PAUSE = 10_000;
const MOST_BYTES = 2 * 1024 * 1024;
const MEDIA_TYPE = "application/statuslist+jwt";
const inflated = promisify(inflate);

// `load(uri, etag)` gives `{ text, etag }`, or `undefined` if the list is still the one with that etag.
export function createStatusLists({ issuer, load = fetchList }) {
  const copies = new Map();

  // Throws `revoked` if the bit of these claims is set. `source` is what the verifier finds keys with.
  return async function check({ status }, { source, currentDate }) {
    if (status === undefined) return;
    const { uri, idx } = reference(status, issuer);
    const { bits } = await copyOf(uri, source, currentDate);
    if (idx >= bits.length * 8) throw new SessionError("malformed");
    if ((bits[idx >>> 3] >>> (idx & 7)) & 1) throw new SessionError("revoked");
  };

  async function copyOf(uri, source, currentDate) {
    const copy = copies.get(uri) ?? {};
    if (copy.bits && Date.now() - copy.goodAt < copy.freshFor) return copy;
    if (!(Date.now() - copy.failedAt < PAUSE)) {
      if (!copies.has(uri) && copies.size >= 64) copies.delete(copies.keys().next().value);
      copies.set(uri, copy);
      // Whoever comes meanwhile waits for the same answer.
      copy.coming ??= renew(copy, uri, source, currentDate).finally(() => (copy.coming = undefined));
      await copy.coming;
    }
    const now = (currentDate ?? new Date()).getTime() / 1000;
    if (!copy.bits || Date.now() - copy.goodAt >= STALE || copy.exp <= now) throw new SessionError("keys_unavailable");
    return copy;
  }

  async function renew(copy, uri, source, currentDate) {
    try {
      const found = await load(uri, copy.etag);
      if (found) Object.assign(copy, await read(found.text, uri, source, currentDate), { etag: found.etag });
      Object.assign(copy, { goodAt: Date.now(), failedAt: undefined });
    } catch {
      copy.failedAt = Date.now();
    }
  }

  async function read(text, uri, source, currentDate) {
    const { payload } = await jose.jwtVerify(text, source, {
      issuer,
      subject: uri,
      typ: "statuslist+jwt",
      algorithms: ["RS256", "ES256"],
      requiredClaims: ["iat", "exp", "status_list"],
      currentDate,
    });
    const { iat, exp, ttl = 60, status_list: list } = payload;
    const latest = (currentDate ?? new Date()).getTime() / 1000 + 60;
    if (list.bits !== 1 || typeof list.lst !== "string" || !Number.isSafeInteger(ttl) || ttl < 1 || !(iat <= latest)) {
      throw new SessionError("malformed");
    }
    const bits = await inflated(Buffer.from(list.lst, "base64url"), { maxOutputLength: MOST_BYTES });
    return { bits, exp, freshFor: Math.min(ttl * 1000, FRESH) };
  }
}

// The list is at the issuer's own address: a token sends us nowhere else.
function reference(status, issuer) {
  const { uri, idx } = status?.status_list ?? {};
  const fine = Number.isSafeInteger(idx) && idx >= 0 && typeof uri === "string" && URL.canParse(uri);
  if (!fine || new URL(uri).origin !== new URL(issuer).origin) throw new SessionError("malformed");
  return { uri, idx };
}

async function fetchList(uri, etag) {
  const answer = await fetch(uri, {
    headers: { Accept: MEDIA_TYPE, ...(etag && { "If-None-Match": etag }) },
    redirect: "error",
    signal: AbortSignal.timeout(5000),
  });
  if (answer.status === 304 && etag) return undefined;
  if (answer.status !== 200 || answer.headers.get("content-type")?.split(";")[0] !== MEDIA_TYPE) throw new Error("no list");
  return { text: await answer.text(), etag: answer.headers.get("etag") ?? undefined };
}
