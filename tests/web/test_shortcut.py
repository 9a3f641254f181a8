"""The short way to the endpoints leads where the router would lead."""

from __future__ import annotations

import itertools

import pytest
from starlette.applications import Starlette
from starlette.routing import Match
from starlette.routing import Route as StarletteRoute

from broker.web.routes import ROUTES
from broker.web.shortcut import Shortcut

SHORT = Shortcut(Starlette(), ROUTES)
ROUTER = [StarletteRoute(row.path, lambda _: None, methods=[row.method]) for row in ROUTES]
PARTS = ("x", "sign-in", "requests", "", "..", "a b", "é", "{id}", "a?b")
PATHS = sorted(
    {
        row.path.replace("{" + name + "}", part)
        for row in ROUTES
        for part in PARTS
        for name in [row.path.partition("{")[2].partition("}")[0] or "-"]
    }
)


def _by_router(method: str, path: str) -> tuple[str, str, dict[str, str]] | None:
    scope = {"type": "http", "method": method, "path": path}
    for row, route in zip(ROUTES, ROUTER, strict=True):
        found, more = route.matches(scope)
        if found is Match.FULL:
            return row.method, row.path, more["path_params"]
    return None


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("more", ["", "/", "/x", "//", "/sign-in"])
def test_the_short_way_leads_where_the_router_would(method: str, more: str) -> None:
    for path in PATHS:
        found = SHORT.find(method, path + more)
        if found is not None:
            row, value = found
            params = {row.parameter: value} if row.parameter else {}
            assert _by_router(method, path + more) == (row.route.method, row.route.path, params), path + more


def test_all_addresses_but_a_few_have_the_short_way() -> None:
    long_way = {row.path for row in ROUTES if SHORT.find(row.method, row.path) is None}

    assert long_way == {"/callback/{provider}/{server}", "/requests/{provider}/{reference}"}


def test_addresses_that_nobody_has_and_other_methods_are_for_the_application() -> None:
    for method, path in itertools.product(["HEAD", "OPTIONS", "get"], ["/", "/authorize", "/f/x/sign-in"]):
        assert SHORT.find(method, path) is None
    for path in ("", "/nothing", "/f", "/f/", "/f//sign-in", "/f/x/sign-in/", "/f/x/nothing"):
        assert SHORT.find("GET", path) is None
