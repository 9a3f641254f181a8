"""Apple as far as its documentation tells: judges the client secret with somebody else's library, answers with a form, and
names people the first time only."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.providers.rig import ec_key, rsa_jwk, rsa_key, sign

TEAM: Final = "A1B2C3D4E5"
KEY: Final = "K6L7M8N9P0"
CLIENT: Final = "example.club.login"
SUBJECT: Final = "000792.d71059495fa24644b94e4a644e2e3b4a.0638"
RELAY: Final = "q8x2k7mmzp@privaterelay.appleid.com"
AUDIENCE: Final = "https://appleid.apple.com"
LONGEST: Final = 15_777_000
"""Seconds that a client secret may live."""


@dataclass
class AppleServer:
    """What it knows. `known`: who said yes before, and is named no more."""

    back: str
    team_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec_key("p8"))
    signs_with: rsa.RSAPrivateKey = field(default_factory=rsa_key)
    known: set[str] = field(default_factory=set)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/auth/authorize", self._authorize),
                Route("/auth/token", self._token, methods=["POST"]),
                Route("/auth/revoke", self._revoke, methods=["POST"]),
                Route("/auth/keys", lambda _: JSONResponse({"keys": [rsa_jwk(self.signs_with)]})),
            ]
        )

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if asked.get("client_id") != CLIENT or asked.get("redirect_uri") != self.back:
            return HTMLResponse("Invalid client id or web redirect url.", 400)
        if asked.get("scope") and asked.get("response_mode") != "form_post":
            return HTMLResponse("response_mode must be form_post when name or email scope is requested.", 400)
        code = f"c{len(self.codes)}.0.made-up"
        self.codes[code] = asked
        answer = {"state": asked["state"], "code": code}
        if "name" in asked["scope"].split() and SUBJECT not in self.known:
            user = {"name": {"firstName": "Ana", "lastName": "Marković"}, "email": RELAY}
            answer["user"] = json.dumps(user, ensure_ascii=False)
        self.known.add(SUBJECT)
        fields = "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in answer.items())
        return HTMLResponse(
            f'<form method="post" action="{escape(self.back)}">{fields}<button>Continue</button></form>'
        )

    async def _form(self, request: Request) -> dict[str, str]:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))

    def _fault(self, form: dict[str, str]) -> str | None:
        """What is wrong with who says it is us."""
        if form.get("client_id") != CLIENT:
            return "client_id"
        try:
            token = jwt.decode(form.get("client_secret", ""), ECKey.import_key(self.team_key), algorithms=["ES256"])
        except (JoseError, ValueError):
            return "signature"
        claims: dict[str, Any] = token.claims
        wanted = {"iss": TEAM, "sub": CLIENT, "aud": AUDIENCE}
        for name, value in wanted.items():
            if claims.get(name) != value:
                return name
        if token.header.get("kid") != KEY:
            return "kid"
        if not claims["iat"] - 60 <= time.time() < claims["exp"] <= claims["iat"] + LONGEST:
            return "times"
        return None

    async def _token(self, request: Request) -> Response:
        form = await self._form(request)
        fault = self._fault(form)
        if fault is not None:
            self.refused.append(fault)
            return JSONResponse({"error": "invalid_client"}, 400)
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or form.get("redirect_uri") != self.back:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": AUDIENCE, "aud": CLIENT, "sub": SUBJECT, "iat": now, "exp": now + 86_400, "auth_time": now,
            "nonce": asked["nonce"], "nonce_supported": True, "email": RELAY, "email_verified": "true",
            "is_private_email": "true",
        }  # fmt: skip
        token = {
            "access_token": "a7.made-up",
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": "r3.made-up",
        }
        return JSONResponse({**token, "id_token": sign(claims, self.signs_with)})

    async def _revoke(self, request: Request) -> Response:
        form = await self._form(request)
        fault = self._fault(form)
        if fault is not None:
            self.refused.append(fault)
            return JSONResponse({"error": "invalid_client"}, 400)
        self.revoked.append(form["token"])
        return Response()
