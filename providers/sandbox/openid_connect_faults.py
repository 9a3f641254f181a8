"""The misbehaving mode of the OpenID Connect sandbox: every fault by name, and how each one spoils an answer.

Three kinds. A *claim* fault changes the ID token (CLAIM_FAULTS); an *answer* fault changes one particular
answer (ANSWER_FAULTS); a *wire* fault (WIRE_FAULTS) spoils whatever the endpoint named by `at` says.
Endpoints are `discovery`, `jwks`, `authorize`, `token`, `userinfo`, `statuses`, `revoke`. `times` limits how often a
fault happens.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from providers.sandbox import web
from providers.sandbox.signing import Json, SigningKey, broken_signature, sign_hs256, sign_rs256, unsigned

ENDPOINTS = ("webfinger", "discovery", "register", "jwks", "authorize", "token", "userinfo", "statuses", "revoke")

_MISSING = object()
# Fault → claim and the value put there; a function gets (claims, client id).
_Change = Callable[[Json, str], object]
CLAIM_FAULTS: dict[str, tuple[str, _Change]] = {
    "iss-wrong": ("iss", lambda c, _: "https://evil.test"),
    "iss-prefix": ("iss", lambda c, _: c["iss"] + ".evil.test"),
    "iss-slash": ("iss", lambda c, _: c["iss"] + "/"),
    "iss-not-text": ("iss", lambda c, _: [c["iss"]]),
    "iss-missing": ("iss", lambda c, _: _MISSING),
    "aud-wrong": ("aud", lambda c, _: "somebody-else"),
    "aud-missing": ("aud", lambda c, _: _MISSING),
    "aud-array-foreign": ("aud", lambda c, client: [client, "somebody-else"]),
    "azp-wrong": ("azp", lambda c, _: "somebody-else"),
    "nonce-wrong": ("nonce", lambda c, _: "another-nonce"),
    "nonce-missing": ("nonce", lambda c, _: _MISSING),
    "exp-past": ("exp", lambda c, _: c["iat"] - 3600),
    "exp-missing": ("exp", lambda c, _: _MISSING),
    "exp-absurd": ("exp", lambda c, _: 1e308),
    "exp-text": ("exp", lambda c, _: str(c["exp"])),
    "exp-fraction": ("exp", lambda c, _: c["exp"] + 0.5),  # allowed by RFC 7519 §2
    "iat-missing": ("iat", lambda c, _: _MISSING),
    "iat-future": ("iat", lambda c, _: c["iat"] + 3600),
    "iat-old": ("iat", lambda c, _: c["iat"] - 86_400),
    "nbf-future": ("nbf", lambda c, _: c["iat"] + 3600),
    "sub-missing": ("sub", lambda c, _: _MISSING),
    "sub-empty": ("sub", lambda c, _: ""),
    "sub-other": ("sub", lambda c, _: "sandbox-somebody-else"),
    "sub-number": ("sub", lambda c, _: 12345),
    "sub-long": ("sub", lambda c, _: "s" * 256),
    "sub-control": ("sub", lambda c, _: "sand\nbox\x00"),
    "at-hash-wrong": ("at_hash", lambda c, _: "A" * 22),
    "sid-named": ("sid", lambda c, _: "session-over-there"),  # allowed: Back-Channel Logout §2.1
    "auth-time-missing": ("auth_time", lambda c, _: _MISSING),
    "auth-time-old": ("auth_time", lambda c, _: c["iat"] - 86_400),
}
ANSWER_FAULTS = {
    "aud-foreign-azp-ours": "aud names somebody else while azp names the client",
    "id-token-missing": "the token answer has no id_token",
    "id-token-not-text": "id_token is an object",
    "alg-none": "the ID token is not signed",
    "alg-hs256-public-key": "HS256 over the public key as PEM",
    "alg-hs256-client-secret": "HS256 over the client secret",
    "signature-wrong": "one bit of the signature is turned",
    "signature-missing": "the signature is cut off",
    "kid-unknown": "the header names a key that is not published, signed by that key",
    "kid-missing-many": "no kid while several keys are published",
    "kid-missing-one": "no kid while one key is published (allowed)",
    "key-rotated": "the key is changed just before signing, so that the known set lacks it (allowed)",
    "expires-in-missing": "the token answer has no expires_in (allowed)",
    "expires-in-text": "expires_in is text",
    "token-type-missing": "the token answer has no token_type",
    "refresh-not-rotated": "a refresh token is good for ever, and no answer has a new one (allowed)",
    "token-error": "the token endpoint says invalid_grant",
    "response-iss-missing": "the authorization response has no iss although the metadata promises it",
    "response-iss-wrong": "the authorization response names another issuer",
    "response-state-wrong": "the authorization response has another state",
    "response-state-missing": "the authorization response has no state",
    "response-error": "the authorization response says temporarily_unavailable",
    "logout-state-wrong": "the answer to a sign-out has another state",
    "logout-state-missing": "the answer to a sign-out has no state",
    "discovery-no-end-session": "the metadata name no end_session_endpoint (allowed)",
    "discovery-issuer-other": "the metadata name another issuer",
    "discovery-issuer-slash": "the metadata name the issuer with a slash more",
    "discovery-issuer-case": "the metadata name the issuer in capitals",
    "discovery-no-token-endpoint": "the metadata name no token endpoint",
    "discovery-no-jwks": "the metadata name no jwks_uri",
    "discovery-pkce-unsaid": "the metadata do not name PKCE methods (allowed)",
    "userinfo-other-sub": "userinfo is about somebody else",
    "userinfo-no-sub": "userinfo has no sub",
    "userinfo-signed": "userinfo is a JWT that names the client (allowed)",
    "userinfo-signed-wrong-key": "userinfo is a JWT that somebody else signed under the name of the sandbox's key",
    "jwks-flapping": "the key set answers 200 and 500 in turn",
    "jwks-junk": "the key set has keys nobody can read beside the right one (allowed)",
    "jwks-empty": "the key set is empty",
    "jwks-other-key": "the key set lacks the signing key",
    "post-accept-then-hang": "the status is kept but no answer comes",
    "post-accept-then-500": "the status is kept but the answer is 500",
    "post-revoked": "401, the access token is invalid",
    "post-forbidden": "403, outside the authorized scopes",
    "post-rate-limited": "429 with X-RateLimit headers",
    "post-duplicate": "422, a duplicate",
}
WIRE_FAULTS = {
    "status": "answers with HTTP `status` (default 503)",
    "hang": "waits `seconds` (null: until the client gives up) and then answers",
    "html": "an HTML page with status 200 and the JSON media type",
    "html-plain": "an HTML page with status 200",
    "truncated": "the first half of the JSON",
    "duplicate-keys": "every key twice, the first with another value",
    "nan": "a member that is NaN",
    "bom": "a byte order mark before the JSON",
    "deep": "100,000 nested arrays",
    "list": "a JSON array instead of an object",
    "null": "the JSON null",
    "empty": "an empty body",
    "charset": "UTF-16 labelled UTF-8",
    "redirect": "302 to another address",
    "huge": "a JSON object of `size` bytes (default 2,000,000)",
    "gzip-bomb": "`size` bytes (default 50,000,000) that travel as a few kilobytes of gzip",
    "drip": "one byte every `seconds` (default 0.5)",
    "endless": "a chunked body that never ends",
    "cut": "a Content-Length longer than the body, then the connection closes",
}
ALL = frozenset(CLAIM_FAULTS) | frozenset(ANSWER_FAULTS) | frozenset(WIRE_FAULTS)


@dataclass(slots=True, kw_only=True)
class Fault:
    """One active fault."""

    name: str
    at: str | None = None
    times: int | None = None
    seconds: float | None = None
    status: int = 503
    size: int | None = None


@dataclass(slots=True)
class Faults:
    """The faults that are on."""

    active: list[Fault] = field(default_factory=list)
    _flaps: int = 0

    def add(self, order: dict[str, Any]) -> None:
        """Turn on one `{"name", "at"?, "times"?, "seconds"?, "status"?, "size"?}`. ValueError if unknown."""
        unknown = set(order) - {"name", "at", "times", "seconds", "status", "size"}
        name = order.get("name")
        if name not in ALL or unknown:
            raise ValueError(f"no fault {name!r} with {sorted(order)}")
        if (name in WIRE_FAULTS) != (order.get("at") in ENDPOINTS):
            raise ValueError(f"wire faults need `at`, one of {', '.join(ENDPOINTS)}; other faults take none")
        self.active.append(Fault(**order))

    def take(self, name: str) -> Fault | None:
        """The fault if it is on, counting one use of it."""
        return self._use(next((one for one in self.active if one.name == name), None))

    def has(self, name: str) -> bool:
        """Whether the fault is on, counting one use of it."""
        return self.take(name) is not None

    def take_wire(self, at: str) -> Fault | None:
        """The wire fault of an endpoint if one is on, counting one use of it."""
        return self._use(next((one for one in self.active if one.name in WIRE_FAULTS and one.at == at), None))

    def flap(self) -> bool:
        """True every second time it is asked."""
        self._flaps += 1
        return self._flaps % 2 == 0

    def _use(self, fault: Fault | None) -> Fault | None:
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.active.remove(fault)
        return fault


def spoil_claims(faults: Faults, claims: Json, client_id: str) -> Json:
    """The claims with every active claim fault applied."""
    spoiled = dict(claims)
    for name, (claim, change) in CLAIM_FAULTS.items():
        if faults.has(name):
            spoiled[claim] = change(claims, client_id)
    if faults.has("aud-foreign-azp-ours"):
        spoiled |= {"aud": "somebody-else", "azp": client_id}
    return {claim: value for claim, value in spoiled.items() if value is not _MISSING}


def sign(faults: Faults, claims: Json, keys: list[SigningKey], secret: str | None) -> str:
    """The ID token, honest or signed wrong as an active fault says. `keys` is changed by the key faults."""
    if faults.has("key-rotated"):
        keys[:] = [SigningKey.generate()]
    key = keys[-1]
    if faults.has("alg-none"):
        return unsigned(claims)
    if faults.has("alg-hs256-public-key"):
        return sign_hs256(claims, key.public_pem(), kid=key.kid)
    if faults.has("alg-hs256-client-secret"):
        return sign_hs256(claims, (secret or "").encode())
    if faults.has("kid-unknown"):
        return sign_rs256(claims, SigningKey.generate())
    if faults.has("kid-missing-many"):
        keys[:] = [*keys, SigningKey.generate()] if len(keys) == 1 else keys
        return sign_rs256(claims, key, kid=None)
    if faults.has("kid-missing-one"):
        keys[:] = [key]
        return sign_rs256(claims, key, kid=None)
    token = sign_rs256(claims, key)
    if faults.has("signature-wrong"):
        return broken_signature(token)
    return token.rsplit(".", 1)[0] + "." if faults.has("signature-missing") else token


def wired(endpoint: str, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The handler behind the wire faults of `endpoint`."""

    async def guarded(request: Request) -> Response:
        fault = request.app.state.sandbox.faults.take_wire(endpoint)
        if fault is None:
            return await handler(request)
        web.note(request, fault=fault.name)
        if fault.name == "hang":
            await web.wait_for_hang_up(request, fault.seconds)
            return await handler(request)
        if fault.name == "status":
            return HTMLResponse("<h1>Error</h1>", status_code=fault.status)
        if fault.name == "redirect":
            return RedirectResponse(f"{request.base_url}elsewhere", status_code=302)
        answer = await handler(request)
        return _spoil(fault, bytes(answer.body))

    return guarded


def _spoil(fault: Fault, body: bytes) -> Response:
    if fault.name == "html-plain":
        return HTMLResponse("<!doctype html><title>Maintenance</title>")
    if fault.name == "drip":
        return StreamingResponse(_drip(body, 0.5 if fault.seconds is None else fault.seconds), **_JSON)
    if fault.name == "endless":
        return StreamingResponse(_endless(), **_JSON)
    if fault.name == "cut":
        length = {"content-length": str(len(body) + 1000)}
        return StreamingResponse(_drip(body, 0), headers=length, **_JSON)
    if fault.name == "gzip-bomb":
        headers = {"content-encoding": "gzip"}
        return Response(_bomb(fault.size or 50_000_000), headers=headers, media_type="application/json")
    return Response(_spoiled_bytes(fault, body), media_type="application/json")


_JSON: dict[str, Any] = {"media_type": "application/json"}


def _spoiled_bytes(fault: Fault, body: bytes) -> bytes:
    """The body of the wire faults that only change bytes."""
    inner = body.strip()[1:-1]
    comma = b"," if inner else b""
    simple = {
        "html": b"<!doctype html><title>Maintenance</title>",
        "truncated": body[: len(body) // 2],
        "duplicate-keys": b"{" + _other_values(body) + comma + inner + b"}",
        "nan": b'{"sandbox_nan": NaN' + comma + inner + b"}",
        "bom": b"\xef\xbb\xbf" + body,
        "deep": b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + comma + inner + b"}",
        "list": b"[" + body + b"]",
        "null": b"null",
        "empty": b"",
        "charset": body.decode().encode("utf-16"),
    }
    if fault.name == "huge":
        room = max(0, (fault.size or 2_000_000) - len(body) - 16)
        return b'{"padding":"' + b"x" * room + b'"' + comma + inner + b"}"
    return simple[fault.name]


def _other_values(body: bytes) -> bytes:
    """Every member of a JSON object again, with text that is wrong."""
    found = json.loads(body)
    members = dict.fromkeys(found, "other") if isinstance(found, dict) else {"x": "other"}
    return json.dumps(members).encode()[1:-1]


async def _drip(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    for index in range(len(body)):
        await asyncio.sleep(seconds)
        yield body[index : index + 1]


async def _endless() -> AsyncIterator[bytes]:
    yield b'{"endless":"'
    while True:
        yield b"x" * 65_536
        await asyncio.sleep(0.01)


def _bomb(size: int) -> bytes:
    import gzip

    return gzip.compress(b'{"padding":"' + b"x" * size + b'"}', compresslevel=9)


def claims_of(token: str) -> Json:
    """The claims of a compact JWS, not verified: for the log and `id_token_hint`."""
    try:
        part = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
