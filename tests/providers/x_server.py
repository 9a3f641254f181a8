"""X as far as its documentation and other people's programs tell: Basic alone, codes for thirty seconds, answers under `data`,
fields only by name, refusals as problems, and `invalid_request` where others say `invalid_grant`.

Source: docs.x.com (OAuth 2.0 authorization code flow with PKCE; `GET /2/users/me`; `POST /2/tweets`; response codes).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT: Final = "WlV0-made-up-client"
SECRET: Final = "x-secret-made-up-0123456789abcdef"
CODE_SECONDS: Final = 30
TOKEN_SECONDS: Final = 7200
LONGEST_STATE: Final = 500
SCOPES: Final = frozenset({"users.read", "tweet.read", "users.email", "tweet.write", "offline.access"})
ALWAYS: Final = ("id", "name", "username")
"""What is told of a person without being asked for by name."""
PROBLEM: Final = "https://api.twitter.com/2/problems"
LIMIT: Final = 100
"""Posts in a while."""


@dataclass
class Grant:
    """A code or a token, and what it stands for."""

    scopes: frozenset[str]
    until: float
    asked: dict[str, str] = field(default_factory=dict)


@dataclass
class XServer:
    """What it knows. `declines`: scopes that the person does not give."""

    back: str
    now: Callable[[], float] = time.time
    person: dict[str, Any] = field(
        default_factory=lambda: {
            "id": "2244994945",
            "name": "Ana Marković",
            "username": "ana_m",
            "profile_image_url": "https://pbs.twimg.com/profile_images/made-up_normal.jpg",
            "confirmed_email": "ana@example.org",
            "verified": False,
        }
    )
    declines: frozenset[str] = frozenset()
    codes: dict[str, Grant] = field(default_factory=dict)
    tokens: dict[str, Grant] = field(default_factory=dict)
    renewals: dict[str, Grant] = field(default_factory=dict)
    posts: dict[str, str] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    """The fields of each read of a user: each one costs the operator money."""
    scopes_asked: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What we did that X does not take."""
    _made: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/i/oauth2/authorize", self._authorize),
                Route("/2/oauth2/token", self._token, methods=["POST"]),
                Route("/2/oauth2/revoke", self._revoke, methods=["POST"]),
                Route("/2/users/me", self._me),
                Route("/2/tweets", self._post, methods=["POST"]),
                Route("/2/tweets/{number}", self._delete, methods=["DELETE"]),
            ]
        )

    def _name(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-made-up-{self._made}"

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        scopes = asked.get("scope", "").split()
        wrong = [
            name
            for name, is_good in (
                ("response_type", asked.get("response_type") == "code"),
                ("client_id", asked.get("client_id") == CLIENT),
                ("redirect_uri", asked.get("redirect_uri") == self.back),
                ("state", 0 < len(asked.get("state", "")) <= LONGEST_STATE),
                ("code_challenge", bool(asked.get("code_challenge"))),
                ("code_challenge_method", asked.get("code_challenge_method") in {"S256", "plain"}),
                ("scope", bool(scopes) and set(scopes) <= SCOPES),
            )
            if not is_good
        ]
        if wrong:
            if asked:  # else somebody looks whether it is up
                self.refused.append(f"authorize {' '.join(wrong)}")
            return HTMLResponse("<h1>Something went wrong</h1><p>You weren't able to give access to the App.</p>", 400)
        self.scopes_asked.append(asked["scope"])
        code = self._name("code")
        granted = frozenset(scopes) - self.declines
        self.codes[code] = Grant(scopes=granted, until=self.now() + CODE_SECONDS, asked=asked)
        return RedirectResponse(f"{self.back}?{urlencode({'state': asked['state'], 'code': code})}", 302)

    def _is_us(self, request: Request, form: dict[str, str]) -> bool:
        """A confidential client says who it is in the header and nowhere else."""
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        try:
            name, _, secret = base64.b64decode(text).decode().partition(":")
        except ValueError:
            return False
        return (
            kind == "Basic"
            and (unquote_plus(name), unquote_plus(secret)) == (CLIENT, SECRET)
            and "client_secret" not in form
        )

    def _no_client(self) -> Response:
        self.refused.append("client")
        told = {"error": "unauthorized_client", "error_description": "Missing valid authorization header"}
        return JSONResponse(told, 401)

    def _no_value(self, what: str) -> Response:
        told = {"error": "invalid_request", "error_description": f"Value passed for the {what} was invalid."}
        self.refused.append(what)
        return JSONResponse(told, 400)

    async def _form(self, request: Request) -> dict[str, str]:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))

    async def _token(self, request: Request) -> Response:
        form = await self._form(request)
        if not self._is_us(request, form):
            return self._no_client()
        if form.get("grant_type") == "refresh_token":
            grant = self.renewals.pop(form.get("refresh_token", ""), None)
            return self._no_value("token") if grant is None else self._tokens(grant.scopes)
        grant = self.codes.pop(form.get("code", ""), None)
        if grant is None or self.now() > grant.until:
            return self._no_value("authorization code")
        if form.get("redirect_uri") != self.back:
            return self._no_value("redirect uri")
        verifier = form.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        if grant.asked["code_challenge"] not in {challenge, verifier}:
            return self._no_value("code verifier")
        return self._tokens(grant.scopes)

    def _tokens(self, scopes: frozenset[str]) -> Response:
        access, answer = self._name("access"), {}
        self.tokens[access] = Grant(scopes=scopes, until=self.now() + TOKEN_SECONDS)
        if "offline.access" in scopes:
            answer["refresh_token"] = self._name("refresh")
            self.renewals[answer["refresh_token"]] = Grant(scopes=scopes, until=float("inf"))
        told = {"token_type": "bearer", "expires_in": TOKEN_SECONDS, "access_token": access}
        return JSONResponse({**told, "scope": " ".join(sorted(scopes)), **answer})

    async def _revoke(self, request: Request) -> Response:
        form = await self._form(request)
        if not self._is_us(request, form):
            return self._no_client()
        token = form.get("token", "")
        self.revoked.append(token)
        self.tokens.pop(token, None)
        self.renewals.pop(token, None)
        return JSONResponse({"revoked": True})

    def _problem(self, status: int, title: str, kind: str = "about:blank", detail: str = "") -> Response:
        told = {"title": title, "type": kind, "status": status, "detail": detail or title}
        return Response(json.dumps(told), status, media_type="application/problem+json")

    def _may(self, request: Request, *needed: str) -> Response | None:
        """What stands in the way of whoever asks with this token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        grant = self.tokens.get(token)
        if kind != "Bearer" or grant is None or self.now() > grant.until:
            return self._problem(401, "Unauthorized")
        if not set(needed) <= grant.scopes:
            self.refused.append(f"scope {request.url.path}")
            return self._problem(403, "Forbidden")
        return None

    async def _me(self, request: Request) -> Response:
        refusal = self._may(request, "users.read", "tweet.read")
        if refusal is not None:
            return refusal
        grant = self.tokens[request.headers["authorization"].partition(" ")[2]]
        named = request.query_params.get("user.fields", "")
        self.reads.append(named)
        fields = dict.fromkeys((*ALWAYS, *(one for one in named.split(",") if one)))
        answer: dict[str, Any] = {"data": {one: self.person[one] for one in fields if one in self.person}}
        if "confirmed_email" in fields and "users.email" not in grant.scopes:
            self.refused.append("confirmed_email without users.email")
            answer["data"].pop("confirmed_email", None)
            answer["errors"] = [
                {
                    "title": "Field Authorization Error",
                    "type": f"{PROBLEM}/not-authorized-for-field",
                    "detail": "Not authorized to access 'confirmed_email' on field 'user.fields'.",
                    "field": "confirmed_email",
                }
            ]
        return JSONResponse(answer)

    async def _post(self, request: Request) -> Response:
        refusal = self._may(request, "tweet.read", "tweet.write", "users.read")
        if refusal is not None:
            return refusal
        text = str((await request.json()).get("text", ""))
        if text in self.posts.values():
            return self._problem(
                403, "Forbidden", detail="You are not allowed to create a Tweet with duplicate content."
            )
        if len(self.posts) >= LIMIT:
            refusal = self._problem(429, "Too Many Requests")
            refusal.headers["x-rate-limit-reset"] = str(int(self.now()) + 900)
            return refusal
        number = str(1445880548472328192 + len(self.posts))  # more digits than a float keeps
        self.posts[number] = text
        return JSONResponse({"data": {"id": number, "text": text, "edit_history_tweet_ids": [number]}}, 201)

    async def _delete(self, request: Request) -> Response:
        refusal = self._may(request, "tweet.read", "tweet.write", "users.read")
        if refusal is not None:
            return refusal
        is_there = self.posts.pop(str(request.path_params["number"]), None) is not None
        if is_there:
            return JSONResponse({"data": {"deleted": True}})
        return self._problem(404, "Not Found Error", f"{PROBLEM}/resource-not-found")
