"""Which interfaces a token may be meant for (RFC 8707)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders import NOW, WIKI, client, grant

from broker.domain.checks.resource import asked, check_resources, heard, meant
from broker.domain.ports import AccessToken
from broker.domain.values import AccountId
from broker.errors import InvalidTarget

API, SEARCH, OTHER, US = "https://api.test/", "https://search.test/", "https://other.test/", "https://login.test"
SITE = client(resources=frozenset({API, SEARCH}))
GRANT = grant(AccountId("ana"), resources=(API, SEARCH))
BARE = replace(GRANT, resources=())


def targets(granted: tuple[str, ...], named: str = "", resources: frozenset[str] = SITE.resources) -> tuple[str, ...]:
    params = {"resource": named} if named else {}
    return meant(replace(GRANT, resources=granted), params, replace(SITE, resources=resources), US).resources


def test_each_address_counts_once_in_the_order_it_came() -> None:
    assert asked({"resource": f"{SEARCH} {API} {SEARCH}"}) == (SEARCH, API)
    assert asked({}) == ()


def test_only_registered_addresses_may_be_named() -> None:
    """And ours, where a token for userinfo may be asked for (catalogue 90)."""
    check_resources({}, SITE)
    check_resources({"resource": f"{API} {SEARCH}"}, SITE)
    check_resources({"resource": US}, SITE, US)
    for wrong in (OTHER, f"{API} {OTHER}", US, API.rstrip("/"), API.upper()):
        with pytest.raises(InvalidTarget):
            check_resources({"resource": wrong}, SITE)


def test_a_token_is_for_all_that_was_granted_or_for_what_is_chosen_of_it() -> None:
    """RFC 8707 §2.2."""
    assert targets((API, SEARCH)) == (API, SEARCH)
    assert targets((API, SEARCH), SEARCH) == (SEARCH,)
    assert targets((API,), US) == (US,)
    assert targets((API,), f"{API} {US}") == (API, US)
    assert targets(()) == ()
    assert targets((), US) == (US,)


@pytest.mark.parametrize(("granted", "named"), [((API,), SEARCH), ((), API), ((API,), f"{API} {OTHER}"), ((), OTHER)])
def test_what_was_not_granted_is_never_added(granted: tuple[str, ...], named: str) -> None:
    """Registered or not (catalogue 90)."""
    with pytest.raises(InvalidTarget):
        targets(granted, named)


def test_an_address_that_was_taken_away_is_gone_and_opens_nothing_else() -> None:
    """A token meant for an interface alone never turns into one for userinfo by itself."""
    only = frozenset({SEARCH})
    assert targets((API, SEARCH), resources=only) == (SEARCH,)
    for named in ("", API):
        with pytest.raises(InvalidTarget):
            targets((API,), named, only)
    assert targets((API,), US, only) == (US,)


def test_another_sites_token_is_heard_of_only_where_it_is_meant_for_what_is_served() -> None:
    """Catalogue 77: and of the other interfaces that it is meant for, nothing is heard."""
    access = AccessToken(
        grant=GRANT.id,
        token_id="t",
        scopes=frozenset({"openid"}),
        issued_at=NOW,
        expires_at=NOW,
        audience=(API, SEARCH),
    )
    server = replace(SITE, client_id=WIKI, serves=frozenset({SEARCH, US}))
    assert heard(access, SITE.client_id, SITE, US) is access
    assert heard(access, SITE.client_id, server, US) == replace(access, audience=(SEARCH,))
    for audience in ((), (API,), (US,), (SITE.client_id,)):
        assert heard(replace(access, audience=audience), SITE.client_id, server, US) is None
    assert heard(access, SITE.client_id, replace(server, serves=frozenset()), US) is None


@given(st.lists(st.sampled_from([API, SEARCH, OTHER, US])), st.lists(st.sampled_from([API, SEARCH, OTHER, US])))
def test_no_request_ever_gets_more_than_was_granted(granted: list[str], named: list[str]) -> None:
    try:
        got = targets(tuple(granted), " ".join(named))
    except InvalidTarget:
        return
    assert set(got) <= {*granted, US}
    assert bool(got) == bool(granted or named)
