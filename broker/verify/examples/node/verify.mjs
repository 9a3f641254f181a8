// Checks a Doorward session token, or an access token at an interface of the site. Needs nothing but `jose`.
//
//   const verify = createVerifier({ issuer: "https://login.example.org", audience: "forum" });
//   const session = await verify(token);     // throws SessionError with a stable `code` and `status`
//
//   const verifyAccess = createAccessVerifier({ issuer: "https://login.example.org", audience: "https://api.forum.example.org/" });
//   const { sub, client_id, scope } = await verifyAccess(token);
import * as jose from "jose";

export class SessionError extends Error {
  constructor(code) {
    super(code);
    this.code = code;
    this.status = code === "keys_unavailable" ? 503 : 401;
  }
}

// An outage of the broker is 503, never 401: it must not look like "signed out".
function codeOf(error) {
  if (error instanceof jose.errors.JWTExpired) return "expired";
  if (error instanceof jose.errors.JWTClaimValidationFailed) {
    if (error.claim === "typ") return "wrong_type";
    if (error.claim === "iss") return "wrong_issuer";
    if (error.claim === "aud") return "wrong_audience";
    if (error.claim === "nbf" || error.claim === "iat") return "not_yet_valid";
    return "malformed";
  }
  if (error instanceof jose.errors.JWKSNoMatchingKey) return "unknown_key";
  if (error instanceof jose.errors.JWSSignatureVerificationFailed) return "bad_signature";
  if (error instanceof jose.errors.JWKSTimeout || error instanceof jose.errors.JWKSInvalid) return "keys_unavailable";
  if (error instanceof jose.errors.JOSEError && error.code !== "ERR_JOSE_GENERIC") return "malformed";
  return "keys_unavailable";
}

// `keys` may be a key set of your own; by default it is loaded from the issuer and cached for ten minutes.
// `statuses` (see status.mjs) also refuses what ended before its time; without it a token is good for its ten minutes.
export function createVerifier({ audience, ...options }) {
  const rules = { typ: "session+jwt", requiredClaims: ["sub", "sid", "iat", "exp", "auth_time"] };
  return createJudge(options, rules, (payload) => {
    // `audience` of jose accepts a list that also names others; a session token is for one site alone.
    if ([payload.aud].flat().length !== 1 || [payload.aud].flat()[0] !== audience) throw new SessionError("wrong_audience");
    checkShape(payload);
  });
}

// An access token (RFC 9068, `access_tokens = "jwt"`), with the same options; `audience` is the interface's address.
export function createAccessVerifier({ audience, ...options }) {
  const rules = { audience, typ: "at+jwt", requiredClaims: ["sub", "client_id", "jti", "iat", "exp"] };
  return createJudge(options, rules, (payload) => {
    // Bound to a key: good only with a proof of that key, which is not checked here.
    if (payload.cnf !== undefined) throw new SessionError("wrong_type");
    if (!["undefined", "string"].includes(typeof payload.scope)) throw new SessionError("malformed");
    checkShape({ ...payload, auth_time: payload.auth_time ?? payload.iat });
  });
}

function createJudge({ issuer, keys, jwksUri, statuses }, rules, check) {
  let source = keys ? jose.createLocalJWKSet(keys) : undefined;
  return async function verify(token, { currentDate } = {}) {
    if (!token) throw new SessionError("missing");
    if (token.length > 8192 || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw new SessionError("malformed");
    try {
      if (typeof jose.decodeProtectedHeader(token).kid !== "string") throw new SessionError("malformed");
      source ??= jose.createRemoteJWKSet(new URL(jwksUri ?? (await discover(issuer)).jwks_uri));
      const { payload } = await jose.jwtVerify(token, source, {
        ...rules,
        issuer,
        algorithms: ["RS256", "ES256"],
        currentDate,
      });
      check(payload);
      const latest = (currentDate ?? new Date()).getTime() / 1000 + 60;
      if (payload.iat > latest || payload.auth_time > latest) throw new SessionError("not_yet_valid");
      await statuses?.(payload, { source, currentDate });
      return payload;
    } catch (error) {
      throw error instanceof SessionError ? error : new SessionError(codeOf(error));
    }
  };
}

function checkShape({ iat, exp, auth_time, email_verified, groups }) {
  const fine =
    [iat, exp, auth_time].every(Number.isSafeInteger) &&
    exp - iat <= 86400 &&
    ["undefined", "boolean"].includes(typeof email_verified) &&
    (groups === undefined || Array.isArray(groups));
  if (!fine) throw new SessionError("malformed");
}

async function discover(issuer) {
  const answer = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, {
    redirect: "error",
    signal: AbortSignal.timeout(5000),
  });
  const found = answer.ok ? await answer.json() : undefined;
  if (found?.issuer !== issuer) throw new SessionError("keys_unavailable");
  return found;
}
