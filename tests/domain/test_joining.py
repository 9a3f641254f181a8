"""An address that an account has already: what is left of an answer, and which account is meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.flows.front import identity
from tests.support.builders import NOW, account

from broker.domain.account import ProfileValue
from broker.domain.claims import EMAIL, NAME
from broker.domain.joining import (
    JOIN_WITHIN,
    checked_address,
    decided_without_address,
    is_meant,
    is_over,
    joining_of,
    without_address,
)
from broker.domain.sharing import SharingDecision

ANA = replace(identity("ana"), session="digest")
WAITING = joining_of(ANA, "ana@mail.test", NOW)


def decision(*, verified: bool = True) -> SharingDecision:
    kept = {
        NAME: ProfileValue(value="Ana", source="provider:facebook"),
        EMAIL: ProfileValue(value="ana@mail.test", source="provider:facebook", verified=verified),
    }
    return SharingDecision(preview_digest="d", accepted=(NAME, EMAIL), edited=(), refused=(), kept=kept, decided_at=NOW)


def test_only_an_address_that_somebody_may_vouch_for_is_asked_about() -> None:
    """(catalogue 113, 114)"""
    assert checked_address(ANA, None) == "ana@mail.test"
    assert checked_address(replace(ANA, verified=frozenset()), None) is None
    assert checked_address(replace(ANA, claims={}), None) is None
    assert checked_address(ANA, decision()) == "ana@mail.test"
    assert checked_address(ANA, decision(verified=False)) is None
    assert checked_address(ANA, decided_without_address(decision())) is None


def test_of_what_waits_only_the_address_is_left() -> None:
    assert (WAITING.identity.key, WAITING.identity.provider) == (ANA.key, ANA.provider)
    assert (WAITING.identity.claims, WAITING.identity.verified, WAITING.identity.session) == ({}, frozenset(), None)
    assert WAITING.identity.account_hint == "ana@mail.test"
    assert joining_of(replace(ANA, account_hint="Ana M."), "ana@mail.test", NOW).identity.account_hint is None


def test_who_says_it_is_not_theirs_goes_on_without_it() -> None:
    without = without_address(ANA)
    assert EMAIL not in without.claims
    assert NAME in without.claims
    assert EMAIL not in without.verified
    assert without.account_hint is None
    assert without_address(replace(ANA, account_hint="Ana Marković")).account_hint == "Ana Marković"
    later = decided_without_address(decision())
    assert (set(later.kept), later.accepted, later.refused) == ({NAME}, (NAME,), (EMAIL,))


@pytest.mark.parametrize(
    ("email", "is_it"),
    [
        (ProfileValue(value="Ana@Mail.test", source="person", verified=True), True),
        (ProfileValue(value="ana@mail.test", source="person"), False),
        (ProfileValue(value="other@mail.test", source="person", verified=True), False),
        (None, False),
    ],
)
def test_the_account_that_is_meant_has_that_address_checked(email: ProfileValue | None, is_it: bool) -> None:
    """(catalogue 116)"""
    assert is_meant(WAITING, account("a", profile={EMAIL: email} if email is not None else {})) is is_it


def test_an_answer_waits_for_its_account_half_an_hour() -> None:
    assert not is_over(WAITING, NOW + JOIN_WITHIN)
    assert is_over(WAITING, NOW + JOIN_WITHIN + timedelta(seconds=1))
