"""One site of each kind, as small as can be, with the kit in front."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from doorward_verify import Session, SignInKit, require_session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stub_op import CLIENT_ID, CLIENT_SECRET, StubOP
from verify_servers import Browser

__all__ = ["Site", "asgi_site", "build_kit", "wsgi_site"]


@dataclass
class Site:
    """A running site with its kit."""

    url: str
    kit: SignInKit
    browser: Browser
    op: StubOP

    def who(self, browser: Browser | None = None, **headers: str) -> dict[str, Any]:
        """What the site knows about the visitor."""
        page = (browser or self.browser).open(self.url + "/who", follow=False, **headers)
        assert page.status == 200, page
        found: dict[str, Any] = json.loads(page.text)
        return found

    def sign_in(self, next_path: str = "/who") -> Any:
        """Go through the whole sign-in; gives the page one lands on."""
        return self.browser.open(f"{self.url}/_login/start?next={next_path}")

    def set_token(self, **changes: Any) -> None:
        """Replace the session token in the jar, keep the handle."""
        self.browser.cookies[self.kit.cookies.session] = self.op.session_token(**changes)


def describe(session: Session | None, notice: str | None) -> dict[str, Any]:
    return {
        "sub": session.sub if session else None,
        "sid": session.sid if session else None,
        "name": session.name if session else None,
        "notice": notice,
    }


async def _who(request: Request) -> Response:
    return JSONResponse(describe(request.state.session, request.state.sign_in_notice))


async def _private(request: Request) -> Response:
    session = require_session(request.state.session)
    body = (await request.body()).decode()
    return JSONResponse({"sub": session.sub, "body": body})


async def _fresh(request: Request) -> Response:
    require_session(request.state.session).require_recent(60)
    return JSONResponse({"fresh": True})


def asgi_site() -> Starlette:
    routes = [
        Route("/", _who),
        Route("/who", _who),
        Route("/private", _private, methods=["GET", "POST"]),
        Route("/fresh", _fresh),
    ]
    return Starlette(routes=routes)


def wsgi_site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    session = environ.get("community.session")
    found: dict[str, Any] = describe(session, environ.get("community.notice"))
    if environ["PATH_INFO"] == "/private":
        found = {"sub": require_session(session).sub}
        length = int(environ.get("CONTENT_LENGTH") or 0)
        found["body"] = environ["wsgi.input"].read(length).decode()
    found["identity"] = {
        name: value for name, value in environ.items() if "REMOTE" in name and not name.startswith("REMOTE_")
    } | {"REMOTE_USER": environ.get("REMOTE_USER")}
    body = json.dumps(found).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def build_kit(op: StubOP, url: str, **more: Any) -> SignInKit:
    settings: dict[str, Any] = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "timeout": 3.0,
        **more,
    }
    return SignInKit(issuer=op.issuer, public_url=url, **settings)
