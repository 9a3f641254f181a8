"""The surface is one table, and every row of it is guarded."""

from __future__ import annotations

import ast
import inspect

from broker.web.guards import Guard
from broker.web.routes import ROUTES
from tests.support.source import ROOT, tree

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
UNGUARDED_WRITES = {Guard.PUBLIC}


def test_every_route_names_a_guard() -> None:
    assert len(ROUTES) > 40
    assert {route.guard for route in ROUTES} <= set(Guard)


def test_no_route_stands_twice() -> None:
    rows = [(route.method, route.path) for route in ROUTES]
    assert len(rows) == len(set(rows))


def test_nothing_is_changed_without_a_guard() -> None:
    assert not [route.path for route in ROUTES if route.method in WRITES and route.guard in UNGUARDED_WRITES]


def test_my_account_is_for_those_signed_in() -> None:
    mine = [route for route in ROUTES if route.path == "/me" or route.path.startswith("/me/")]
    assert mine
    assert not [route.path for route in mine if route.guard not in {Guard.SIGNED_IN, Guard.FRESH}]


def test_every_handler_is_a_coroutine_with_a_name_of_its_own_module() -> None:
    for route in ROUTES:
        assert inspect.iscoroutinefunction(route.handler), route.path
        assert route.handler.__module__.startswith("broker.web."), route.path


def test_no_handler_hides_an_error() -> None:
    """`web/problems.py` is the one place where errors become answers: no handler has a `try` that catches all."""
    for path in (ROOT / "broker" / "web").rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                raise AssertionError(f"{path.relative_to(ROOT)}:{node.lineno}")


def test_the_table_is_the_only_place_that_adds_routes() -> None:
    for path in (ROOT / "broker" / "web").rglob("*.py"):
        if path.name != "routes.py":
            calls = [
                node.lineno
                for node in ast.walk(tree(path))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"Route", "Mount"}
            ]
            assert not calls, f"{path.relative_to(ROOT)}: {calls}"
