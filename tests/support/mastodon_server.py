"""A strict server with Mastodon's interface for signing in: what its own documentation says, and no slip is forgiven.

Source: docs.joinmastodon.org (methods/apps, methods/oauth, methods/accounts). One person signed in in every browser: Ana.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route


@dataclass
class State:
    """What the server keeps."""

    apps: dict[str, dict[str, str]] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)


def create_app() -> Starlette:
    """The server; `app.state.mastodon` is its `State`."""
    state = State()

    def base(request: Request) -> str:
        state.asked.append(request.url.path)
        return f"{request.url.scheme}://{request.url.netloc}"

    def metadata(request: Request) -> Response:
        here = base(request)
        return JSONResponse({
            "issuer": f"{here}/", "authorization_endpoint": f"{here}/oauth/authorize", "token_endpoint": f"{here}/oauth/token",
            "revocation_endpoint": f"{here}/oauth/revoke", "app_registration_endpoint": f"{here}/api/v1/apps",
            "scopes_supported": ["read", "profile", "write"], "code_challenge_methods_supported": ["S256"],
        })  # fmt: skip

    async def apps(request: Request) -> Response:
        base(request)
        form = dict(await request.form())
        app = {name: str(form[name]) for name in ("client_name", "redirect_uris", "scopes", "website")}
        app |= {"client_id": secrets.token_urlsafe(16), "client_secret": secrets.token_urlsafe(16)}
        state.apps[app["client_id"]] = app
        return JSONResponse(app)

    def authorize(request: Request) -> Response:
        base(request)
        asked = dict(request.query_params)
        app = state.apps.get(asked["client_id"], {})
        fits = (asked["redirect_uri"], asked["scope"], asked["response_type"], asked["code_challenge_method"])
        if fits != (app.get("redirect_uris"), app.get("scopes"), "code", "S256"):
            return Response("The redirect uri included is not valid.", 400)
        code = secrets.token_urlsafe(8)
        state.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    async def token(request: Request) -> Response:
        base(request)
        form = {name: str(value) for name, value in (await request.form()).items()}
        app = state.apps.get(form["client_id"])
        if app is None or app["client_secret"] != form["client_secret"]:
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = state.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or (asked["client_id"], asked["redirect_uri"], asked["code_challenge"]) != (
            form["client_id"], form["redirect_uri"], challenge,
        ):  # fmt: skip
            return JSONResponse({"error": "invalid_grant"}, 400)
        made = secrets.token_urlsafe(16)
        state.tokens.add(made)
        return JSONResponse({"access_token": made, "token_type": "Bearer", "scope": asked["scope"], "created_at": 1})

    async def revoke(request: Request) -> Response:
        base(request)
        form = dict(await request.form())
        if state.apps[str(form["client_id"])]["client_secret"] == form["client_secret"]:
            state.tokens.discard(str(form["token"]))
        return JSONResponse({})

    def account(request: Request) -> Response:
        here = base(request)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in state.tokens:
            return JSONResponse({"error": "The access token is invalid"}, 401)
        return JSONResponse({
            "id": "1", "username": "ana", "acct": "ana", "display_name": "Ana Marković", "url": f"{here}/@ana",
            "uri": f"{here}/users/ana", "avatar": f"{here}/avatars/original/missing.png", "emojis": [],
        })  # fmt: skip

    app = Starlette(
        routes=[
            Route("/.well-known/oauth-authorization-server", metadata),
            Route("/api/v1/apps", apps, methods=["POST"]),
            Route("/oauth/authorize", authorize),
            Route("/oauth/token", token, methods=["POST"]),
            Route("/oauth/revoke", revoke, methods=["POST"]),
            Route("/api/v1/accounts/verify_credentials", account),
        ]
    )
    app.state.mastodon = state
    return app
