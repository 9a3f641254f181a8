"""A small OpenID provider that issues session tokens: enough to hold the sign-in kit against.

It signs with joserfc, listens on a real loopback socket in a thread, and does what `faults` says.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "StubOP"]

CLIENT_ID = "forum"
CLIENT_SECRET = "a-secret-of-the-forum-0123456789"


@dataclass
class StubOP:
    """The provider's state, open to tests. `calls` counts requests by path."""

    issuer: str = ""
    key: Any = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1"}))
    published: list[Any] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    calls: dict[str, int] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh: dict[str, int] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=lambda: {"preferred_username": "ann", "name": "Ann Été"})
    token_changes: dict[str, Any] = field(default_factory=dict)
    id_changes: dict[str, Any] = field(default_factory=dict)
    sub: str = "subject-1"
    sid: str = "sid-1"
    auth_time: int = 0
    life: int = 600
    delay: float = 0.0

    def __post_init__(self) -> None:
        self.published = self.published or [self.key]

    @property
    def alg(self) -> str:
        return "ES256" if isinstance(self.key, ECKey) else "RS256"

    def sign(self, claims: dict[str, Any], typ: str | None) -> str:
        header = {"alg": self.alg, "kid": self.key.as_dict()["kid"]} | ({"typ": typ} if typ else {})
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(header, kept, self.key, algorithms=[self.alg])

    def session_token(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": self.sub,
            "sid": self.sid,
            "iat": now,
            "exp": now + self.life,
            "auth_time": self.auth_time or now,
            "acr": "1",
            "amr": ["fed"],
            **self.shared,
            **self.token_changes,
            **changes,
        }
        return self.sign(claims, "session+jwt")

    def access_token(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "https://api.forum.example.org/",
            "sub": self.sub,
            "client_id": CLIENT_ID,
            "scope": "openid profile",
            "jti": secrets.token_hex(8),
            "iat": now,
            "exp": now + self.life,
            **changes,
        }
        return self.sign(claims, "at+jwt")

    def logout_token(self, *, typ: str | None = "logout+jwt", **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(8),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            "sid": self.sid,
            **changes,
        }
        return self.sign(claims, typ)

    # ---- endpoints ----

    def build_app(self) -> Starlette:
        routes = [
            Route("/.well-known/openid-configuration", self._discovery),
            Route("/jwks", self._jwks),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
            Route("/revoke", self._revoke, methods=["POST"]),
            Route("/userinfo", self._userinfo),
            Route("/end-session", self._end_session),
        ]
        return Starlette(routes=routes)

    def _count(self, request: Request) -> None:
        self.calls[request.url.path] = self.calls.get(request.url.path, 0) + 1

    async def _discovery(self, request: Request) -> Response:
        self._count(request)
        if "down" in self.faults:
            return Response(status_code=500)
        if "redirect" in self.faults:
            return RedirectResponse(self.issuer + "/elsewhere")
        return JSONResponse(
            {
                "issuer": "https://other.example" if "wrong issuer" in self.faults else self.issuer,
                "authorization_endpoint": self.issuer + "/authorize",
                "token_endpoint": self.issuer + "/token",
                "jwks_uri": self.issuer + "/jwks",
                "revocation_endpoint": self.issuer + "/revoke",
                "userinfo_endpoint": self.issuer + "/userinfo",
                "end_session_endpoint": self.issuer + "/end-session",
                "authorization_response_iss_parameter_supported": "no promise of iss" not in self.faults,
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def _jwks(self, request: Request) -> Response:
        self._count(request)
        if "down" in self.faults or "keys down" in self.faults:
            return Response(status_code=503)
        if "huge keys" in self.faults:
            return Response(b"[" + b" " * 1_100_000 + b"]", media_type="application/json")
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.published]})

    async def _authorize(self, request: Request) -> Response:
        self._count(request)
        asked = dict(request.query_params)
        self.requests.append(asked)
        back = {"state": asked["state"], "iss": self.issuer}
        if "wrong response iss" in self.faults:
            back["iss"] = "https://evil.example"
        if "no response iss" in self.faults:
            del back["iss"]
        error = next((item.removeprefix("error ") for item in self.faults if item.startswith("error ")), None)
        if error:
            return RedirectResponse(asked["redirect_uri"] + "?" + urlencode({**back, "error": error}), 303)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return RedirectResponse(asked["redirect_uri"] + "?" + urlencode({**back, "code": code}), 303)

    def _client(self, request: Request, form: dict[str, str]) -> bool:
        header = request.headers.get("authorization", "")
        if not header.startswith("Basic "):
            return form.get("client_id") == "public"
        name, _sign, secret = b64decode(header[6:]).decode().partition(":")
        return unquote(name) == CLIENT_ID and unquote(secret) == CLIENT_SECRET

    async def _form(self, request: Request) -> dict[str, str]:
        return {name: str(value) for name, value in (await request.form()).items()}

    async def _token(self, request: Request) -> Response:
        self._count(request)
        if "down" in self.faults or "token down" in self.faults:
            return Response(status_code=502)
        form = await self._form(request)
        if not self._client(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        if self.delay:
            import asyncio

            await asyncio.sleep(self.delay)
        if form["grant_type"] == "refresh_token":
            return self._refreshed(form["refresh_token"])
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked is None or asked["redirect_uri"] != form["redirect_uri"] or asked["code_challenge"] != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return self._tokens(asked.get("nonce"))

    def _refreshed(self, token: str) -> Response:
        self.calls["refresh"] = self.calls.get("refresh", 0) + 1
        if token not in self.refresh or self.refresh[token] >= 1 or "refuse refresh" in self.faults:
            return JSONResponse({"error": "invalid_grant", "error_description": "canary-description"}, 400)
        self.refresh[token] += 1
        return self._tokens(None)

    def _tokens(self, nonce: str | None) -> Response:
        now = int(time.time())
        refresh_token = secrets.token_urlsafe(16)
        self.refresh[refresh_token] = 0
        id_claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": self.sub,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "auth_time": self.auth_time or now,
            "sid": self.sid,
            **self.id_changes,
        }
        body = {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": 600,
            "id_token": self.sign(id_claims, None),
            "refresh_token": refresh_token,
            "session_token": self.session_token(),
            "session_token_expires_in": self.life,
        }
        for name in ("id_token", "session_token"):
            if f"no {name}" in self.faults:
                del body[name]
        if "id token as session" in self.faults:
            body["session_token"] = body["id_token"]
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def _revoke(self, request: Request) -> Response:
        self._count(request)
        self.revoked.append((await self._form(request))["token"])
        return Response(status_code=200)

    async def _userinfo(self, request: Request) -> Response:
        self._count(request)
        return JSONResponse({"sub": self.sub, **self.shared})

    async def _end_session(self, request: Request) -> Response:
        self._count(request)
        return RedirectResponse(request.query_params["post_logout_redirect_uri"], 303)
