"""The stub provider and the sites, running."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from doorward_verify.asgi import SignInMiddleware
from doorward_verify.wsgi import WSGISession
from stub_op import StubOP
from verify_django import django_site
from verify_servers import Browser, free_socket, serving, serving_wsgi
from verify_sites import Site, asgi_site, build_kit, wsgi_site


@pytest.fixture
def op() -> Iterator[StubOP]:
    """A provider of its own for each test."""
    provider, listener = StubOP(), free_socket()
    with serving(provider.build_app(), listener) as url:
        provider.issuer = url
        yield provider


@pytest.fixture
def site(op: StubOP) -> Iterator[Site]:
    """A Starlette site."""
    listener = free_socket()
    kit = build_kit(op, f"http://localhost:{listener.getsockname()[1]}")
    app = asgi_site()
    app.add_middleware(SignInMiddleware, kit=kit)
    with serving(app, listener) as url:
        yield Site(url, kit, Browser(), op)


@pytest.fixture
def wsgi(op: StubOP) -> Iterator[Site]:
    """A WSGI site that trusts REMOTE_USER."""
    listener = free_socket()
    kit = build_kit(op, f"http://localhost:{listener.getsockname()[1]}")
    app = WSGISession(wsgi_site, kit, set_remote_user=True)
    with serving_wsgi(app, listener) as url:
        yield Site(url, kit, Browser(), op)


@pytest.fixture
def django(op: StubOP) -> Iterator[Site]:
    """A Django site."""
    listener = free_socket()
    app, kit = django_site(op, f"http://localhost:{listener.getsockname()[1]}")
    with serving_wsgi(app, listener) as url:
        yield Site(url, kit, Browser(), op)


@pytest.fixture(params=["site", "wsgi", "django"])
def any_site(request: pytest.FixtureRequest) -> Site:
    """Each kind of site in turn."""
    found: Site = request.getfixturevalue(request.param)
    return found
