"""The way to the endpoints: one or two looks into a dictionary, then the endpoint.

The router tries one expression after another, and the layers that a web framework puts around functions do nothing here,
as every endpoint answers its errors itself: together they cost a third of what a server asks, and a twentieth of a page.
The application's own routes stay for what is left: addresses that nobody has, wrong methods and `HEAD`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.web.endpoint import endpoint

if TYPE_CHECKING:
    from broker.web.routes import Route

_SECOND_IS_FREE: Final = re.compile(r"/([^/{}]+)/\{([^/{}]+)\}(?:/([^{}]+))?")
"""Addresses with one part that is anything, in the second place: `/f/{id}/sign-in`."""


class _Row(NamedTuple):
    route: Route
    parameter: str
    app: ASGIApp


class Shortcut:
    """ASGI middleware: what the table of routes has is answered here, everything else by the application."""

    def __init__(self, app: Starlette, routes: Iterable[Route]) -> None:
        self._app = app
        self._fixed: dict[tuple[str, str], _Row] = {}
        self._free: dict[tuple[str, str, str], _Row] = {}
        for route in routes:
            found = _SECOND_IS_FREE.fullmatch(route.path)
            if "{" not in route.path:
                self._fixed[route.method, route.path] = _Row(route, "", _as_app(route))
            elif found is not None:
                self._free[route.method, found[1], found[3] or ""] = _Row(route, found[2], _as_app(route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
        else:
            row, value = found
            scope["app"] = self._app
            scope["path_params"] = {row.parameter: value} if row.parameter else {}
            await row.app(scope, receive, send)

    def find(self, method: str, path: str) -> tuple[_Row, str] | None:
        """The row for this request and the part of the address that is free; `None` where the application decides."""
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed, ""
        _, *parts = path.split("/", 3)
        if len(parts) < 2 or not parts[1] or parts[2:] == [""]:
            return None
        free = self._free.get((method, parts[0], parts[2] if len(parts) > 2 else ""))
        return None if free is None else (free, parts[1])


def _as_app(route: Route) -> ASGIApp:
    serve = endpoint(route)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = await serve(Request(scope, receive, send))
        await response(scope, receive, send)

    return answer
