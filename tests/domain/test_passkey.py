"""Passkeys: which answers are believed, what is kept of them, and how sites hear of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from tests.flows.op import CountingEntropy
from tests.support.builders import NOW
from tests.support.builders import link as some_link

from broker.domain.account import Passkey
from broker.domain.passkey import (
    BY_PASSKEY,
    MAKE,
    USE,
    Ceremony,
    Made,
    Party,
    Used,
    ceremony_problem,
    key_of,
    methods,
    new_link,
    owner_of,
    passkeys_of,
    use_problem,
)
from broker.domain.values import AccountId, ReceiptId

PARTY = Party(id="login.test", origin="https://login.test")
SAID = Ceremony(
    kind=USE,
    challenge=b"challenge",
    origin="https://login.test",
    is_framed=False,
    party_digest=hashlib.sha256(b"login.test").digest(),
    is_present=True,
    is_verified=True,
    can_be_copied=False,
    is_copied=False,
    counter=7,
)
PASSKEY = Passkey(public_key=b"key", owner=b"owner", counter=6, can_be_copied=False, is_copied=False)


def used(**more: Any) -> Used:
    owner = more.pop("owner", b"owner")
    return Used(ceremony=replace(SAID, **more), id=b"id", owner=owner, signed=b"data", signature=b"signature")


def test_an_answer_of_our_own_page_is_believed() -> None:
    assert ceremony_problem(SAID, USE, PARTY) is None
    assert ceremony_problem(replace(SAID, kind=MAKE), MAKE, PARTY) is None
    assert ceremony_problem(replace(SAID, can_be_copied=True, is_copied=True), USE, PARTY) is None


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"kind": MAKE}, "kind"),
        ({"origin": "https://login.test:8443"}, "origin"),
        ({"origin": "https://login.test.evil.example"}, "origin"),
        ({"origin": "http://login.test"}, "origin"),
        ({"is_framed": True}, "framed"),
        ({"party_digest": hashlib.sha256(b"test").digest()}, "party"),
        ({"is_present": False}, "presence"),
        ({"is_verified": False}, "verification"),
        ({"is_copied": True}, "backup flags"),
    ],
)
def test_anything_else_is_not(wrong: dict[str, Any], problem: str) -> None:
    assert ceremony_problem(replace(SAID, **wrong), USE, PARTY) == problem


@pytest.mark.parametrize(("kept", "said"), [(6, 7), (6, 600), (0, 1), (0, 0)])
def test_a_counter_goes_up_or_is_none(kept: int, said: int) -> None:
    assert use_problem(replace(PASSKEY, counter=kept), used(counter=said)) is None


@pytest.mark.parametrize(("kept", "said"), [(6, 6), (6, 5), (6, 0)])
def test_a_counter_that_does_not_tells_of_a_copy(kept: int, said: int) -> None:
    assert use_problem(replace(PASSKEY, counter=kept), used(counter=said)) == "counter"


def test_a_passkey_belongs_to_who_it_was_made_for_and_stays_what_it_is() -> None:
    assert use_problem(PASSKEY, used(owner=b"other")) == "owner"
    assert use_problem(PASSKEY, used(can_be_copied=True)) == "backup flags"


def test_sites_hear_how_well_the_key_is_kept() -> None:
    assert methods(PASSKEY) == ("hwk", "user")
    assert methods(replace(PASSKEY, can_be_copied=True)) == ("swk", "user")


def test_what_is_kept_of_a_new_one() -> None:
    made = Made(ceremony=replace(SAID, can_be_copied=True), id=b"\xff\xfe", public_key=b"key", algorithm=-7)
    link = new_link(made, "My phone", b"owner", AccountId("ana"), ReceiptId("receipt"), CountingEntropy(), NOW)
    assert (link.provider, link.key, link.hint) == (BY_PASSKEY, key_of(b"\xff\xfe"), "My phone")
    assert link.key.subject == "__4"
    assert link.passkey == Passkey(public_key=b"key", owner=b"owner", counter=7, can_be_copied=True, is_copied=False)
    others = [some_link(AccountId("ana")), some_link(AccountId("ana"))]
    assert passkeys_of([*others, link]) == (link,)
    assert owner_of([*others, link]) == b"owner"
    assert owner_of(others) is None


def test_nothing_of_a_passkey_is_in_a_log() -> None:
    made = Made(ceremony=SAID, id=b"id-1", public_key=b"key-1", algorithm=-7)
    shown = repr((made, used(), PASSKEY))
    assert all(word not in shown for word in ("id-1", "key-1", "b'owner'", "b'challenge'", "b'signature'"))
