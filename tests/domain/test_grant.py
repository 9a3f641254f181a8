"""Grants and refresh families: while they stand, and when a token may be answered twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import NOW, code, family, grant

from broker.domain.claims_request import ClaimsRequest
from broker.domain.grant import (
    CODE_LIFETIME,
    OFFLINE_ACCESS,
    QUERY,
    REFRESH_RETRY,
    AuthorizationRequest,
    is_standing,
    is_usable,
    may_retry,
)
from broker.domain.values import AccountId, ClientId, Scope

OWNER = AccountId("account-1")
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("change", "stands"),
    [
        ({}, True),
        ({"expires_at": NOW + TICK}, True),
        ({"expires_at": NOW}, False),
        ({"revoked_at": NOW - timedelta(days=1)}, False),
        ({"revoked_at": NOW + timedelta(days=1)}, False),
    ],
)
def test_a_grant_stands_until_it_is_over_or_revoked(change: dict[str, object], stands: bool) -> None:
    """A clock that stepped back revives nothing that was revoked."""
    assert is_standing(grant(OWNER, **change), NOW) is stands


def test_a_grant_outlives_its_session_only_with_offline_access() -> None:
    """Catalogue 91."""
    assert grant(OWNER, scopes=frozenset({OFFLINE_ACCESS})).outlives_session
    assert not grant(OWNER, scopes=frozenset({Scope("openid")})).outlives_session


def test_a_code_lives_for_a_minute() -> None:
    """Catalogue 24."""
    assert timedelta(seconds=60) == CODE_LIFETIME


@pytest.mark.parametrize(
    ("change", "usable"),
    [
        ({}, True),
        ({"expires_at": NOW}, False),
        ({"idle_expires_at": NOW}, False),
        ({"expires_at": NOW + TICK, "idle_expires_at": NOW + TICK}, True),
        ({"revoked_at": NOW}, False),
    ],
)
def test_a_family_has_an_idle_and_an_absolute_end(change: dict[str, object], usable: bool) -> None:
    """Catalogue 91."""
    assert is_usable(family(grant(OWNER), **change), NOW) is usable


@pytest.mark.parametrize(
    ("presented", "retried", "since", "may"),
    [
        (6, False, timedelta(), True),
        (6, False, REFRESH_RETRY, True),
        (6, False, REFRESH_RETRY + TICK, False),
        (6, True, timedelta(), False),
        (5, False, timedelta(), False),
        (7, False, timedelta(), False),
        (8, False, timedelta(), False),
    ],
)
def test_only_the_token_before_may_be_answered_again_once_and_soon(
    presented: int, retried: bool, since: timedelta, may: bool
) -> None:
    """The retry window (catalogue 92, decision 21)."""
    held = family(grant(OWNER), generation=7, retried=retried, rotated_at=NOW - since)
    assert may_retry(held, presented, NOW) is may


@settings(max_examples=25)
@given(presented=st.integers(0, 20), generation=st.integers(0, 20), seconds=st.integers(0, 60), retried=st.booleans())
def test_no_token_but_the_last_one_is_ever_retried(
    presented: int, generation: int, seconds: int, retried: bool
) -> None:
    held = family(grant(OWNER), generation=generation, retried=retried, rotated_at=NOW - timedelta(seconds=seconds))
    if may_retry(held, presented, NOW):
        assert (presented, retried) == (generation - 1, False)
        assert seconds <= 30


def test_what_a_client_holds_prints_nothing_that_redeems_it() -> None:
    one = code(grant(OWNER), nonce="canary-nonce", code_challenge="canary-challenge", digest=b"canary-digest")
    assert "canary" not in repr(one)


def test_a_level_that_is_insisted_on_goes_before_one_that_would_be_liked() -> None:
    """OpenID Connect Core §5.5.1.1."""
    liked = AuthorizationRequest(
        client_id=ClientId("forum"),
        redirect_uri="https://forum.test/cb",
        response_type="code",
        response_mode=QUERY,
        scopes=frozenset(),
        acr_values=("a", "b"),
    )
    assert liked.wanted_acr == ("a", "b")
    assert replace(liked, claims=ClaimsRequest(acr=("c",))).wanted_acr == ("c",)
