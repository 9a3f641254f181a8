"""What a site may have for itself, with no person behind it (RFC 6749 §4.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.builders import client

from broker.domain.checks.service import service_audience, service_scopes
from broker.domain.client import AuthMethod
from broker.domain.values import Scope
from broker.errors import InvalidScope, UnauthorizedClient

READ, WRITE = Scope("reports:read"), Scope("reports:write")
API, SEARCH = "https://api.test/", "https://search.test/"
SITE = client(auth_method=AuthMethod.BASIC, service_scopes=frozenset({READ, WRITE}), resources=frozenset({SEARCH, API}))


@pytest.mark.parametrize(
    ("asked", "got"),
    [(None, {READ, WRITE}), ("reports:read", {READ}), ("reports:write  reports:read", {READ, WRITE})],
)
def test_it_gets_what_it_asks_for_or_all_that_is_listed(asked: str | None, got: set[Scope]) -> None:
    assert service_scopes({} if asked is None else {"scope": asked}, SITE) == got


@pytest.mark.parametrize(
    "asked", ["openid", "reports:read openid", "offline_access", "reports:delete", "reports:READ", "*"]
)
def test_nothing_else_is_to_be_had(asked: str) -> None:
    """No scope of people, and nothing that is left out in silence."""
    with pytest.raises(InvalidScope):
        service_scopes({"scope": asked}, SITE)


def test_only_a_site_that_is_allowed_to_and_can_prove_itself() -> None:
    """RFC 6749 §4.4: confidential clients only."""
    for site in (replace(SITE, service_scopes=frozenset()), replace(SITE, auth_method=AuthMethod.NONE)):
        with pytest.raises(UnauthorizedClient):
            service_scopes({}, site)


def test_it_is_for_what_the_site_names_or_for_all_its_interfaces() -> None:
    """RFC 8707 §2."""
    assert service_audience({"resource": SEARCH}, SITE) == (SEARCH,)
    assert service_audience({}, SITE) == (API, SEARCH)
    assert service_audience({}, replace(SITE, resources=frozenset())) == ()
