"""The way to the endpoints that other servers call all day: one look into a dictionary, then the endpoint.

The router and the layers that a web framework puts around functions cost such a request a third of its time, and do
nothing for it here: these addresses have no parts to parse, and their endpoints answer every error themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.web.endpoint import endpoint

if TYPE_CHECKING:
    from broker.web.routes import Route


class Shortcut:
    """ASGI middleware: JSON endpoints at fixed addresses are answered here, everything else by the application."""

    def __init__(self, app: Starlette, routes: Iterable[Route]) -> None:
        self._app = app
        self._endpoints = {
            (route.method, route.path): _as_app(route)
            for route in routes
            if route.answers == "json" and "{" not in route.path
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
        else:
            scope["app"] = self._app
            await found(scope, receive, send)


def _as_app(route: Route) -> ASGIApp:
    serve = endpoint(route)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = await serve(Request(scope, receive, send))
        await response(scope, receive, send)

    return answer
