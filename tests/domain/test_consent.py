"""Consent: what receipts amount to, and whether they cover a request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import builders
from tests.support.builders import NOW

from broker.domain.claims import EMAIL, NAME, PICTURE
from broker.domain.client import OFFLINE, AskedClaim, asked_claims
from broker.domain.consent import NOTHING, ConsentReceipt, covers, grantable, standing, undecided
from broker.domain.values import AccountId, ClaimName, ReceiptId, Scope

ME = AccountId("account-of-consent")
CLIENT = builders.client()
NEEDED = builders.asked(NAME, needed=True)
OPTIONAL = builders.asked(EMAIL, needed=False)
ASKED = (NEEDED, OPTIONAL)


def decided(accepted: tuple[AskedClaim, ...], refused: tuple[AskedClaim, ...] = (), **more: Any) -> ConsentReceipt:
    """A receipt over these claims in the versions now in force."""
    shown = (*accepted, *refused)
    values: dict[str, Any] = {
        "shown": tuple(ask.claim for ask in shown),
        "accepted": tuple(ask.claim for ask in accepted),
        "refused": tuple(ask.claim for ask in refused),
        "versions": {ask.claim: ask.version for ask in shown},
        "counterparty_version": CLIENT.version,
        "withdraws": None,
    }
    return builders.receipt(ME, **(values | more))


def reworded(ask: AskedClaim) -> AskedClaim:
    return replace(ask, why={"en": "for something else entirely"})


def is_covered(*receipts: ConsentReceipt, asked: tuple[AskedClaim, ...] = ASKED, version: str = CLIENT.version) -> bool:
    return covers(standing(receipts), asked, client_version=version)


def test_nothing_decided_covers_nothing() -> None:
    assert standing(()) == NOTHING
    assert not is_covered()
    assert not is_covered(asked=())


def test_everything_granted_is_covered() -> None:
    assert is_covered(decided(ASKED))


def test_a_refused_optional_claim_is_not_asked_again() -> None:
    """It was decided; the person is left in peace until its purpose changes (decision 12)."""
    receipt = decided((NEEDED,), (OPTIONAL,))
    assert is_covered(receipt)
    assert undecided(standing([receipt]), ASKED) == ()


def test_a_refused_needed_claim_is_asked_again() -> None:
    receipt = decided((OPTIONAL,), (NEEDED,))
    assert not is_covered(receipt)
    assert undecided(standing([receipt]), ASKED) == (NEEDED,)


def test_a_claim_never_asked_is_asked() -> None:
    """A site that asks for more does not get it for free (catalogue 133)."""
    more = builders.asked(PICTURE, needed=False)
    receipt = decided(ASKED)
    assert not is_covered(receipt, asked=(*ASKED, more))
    assert undecided(standing([receipt]), (*ASKED, more)) == (more,)


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: str(ask.claim))
@pytest.mark.parametrize("was_granted", [True, False])
def test_a_changed_purpose_is_asked_again(ask: AskedClaim, was_granted: bool) -> None:
    """Consent covers what was shown, in the words that were shown (catalogue 133)."""
    others = tuple(one for one in ASKED if one != ask)
    receipt = decided(ASKED) if was_granted else decided(others, (ask,))
    changed = tuple(reworded(one) if one == ask else one for one in ASKED)
    assert not is_covered(receipt, asked=changed)
    assert undecided(standing([receipt]), changed) == (reworded(ask),)
    assert ask.claim not in grantable(standing([receipt]), changed)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Another Forum"},
        {"logo": "https://forum.example/other.png"},
        {"policy_uri": "https://forum.example/other"},
        {"redirect_uris": ("https://elsewhere.example/callback",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_site_that_looks_different_asks_again(change: dict[str, Any]) -> None:
    """Name, logo, policy and where people are sent back to are what a person recognised (catalogue 133)."""
    assert not is_covered(decided(ASKED), version=replace(CLIENT, **change).version)


@pytest.mark.parametrize(
    "change",
    [
        {"audience": "admins"},
        {"needed": False},
        {"why": {"en": "to show your name", "fr": "pour afficher votre nom"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_part_of_a_purpose_makes_its_version(change: dict[str, Any]) -> None:
    """(catalogue 133)"""
    assert replace(NEEDED, **change).version != NEEDED.version


def test_consent_for_one_site_says_nothing_of_another() -> None:
    """Who folds receipts picks those of one site; an empty list is nothing (catalogue 133)."""
    assert not is_covered(*(receipt for receipt in [decided(ASKED)] if receipt.counterparty == "wiki"))


def test_a_denied_page_changes_nothing_that_stood() -> None:
    """ "Do not share" is recorded, and takes nothing away (decision 13)."""
    before = decided(ASKED)
    denial = decided((), ASKED, denied=True)
    assert standing([before, denial]) == standing([before])
    assert standing([denial]) == NOTHING


def test_a_withdrawal_ends_everything_before_it() -> None:
    """(catalogue 137)"""
    before = decided(ASKED)
    withdrawal = decided((), ASKED, withdraws=before.id)
    assert standing([before, withdrawal]) == NOTHING
    again = decided((NEEDED,), (OPTIONAL,))
    assert standing([before, withdrawal, again]) == standing([again])


def test_a_receipt_that_replaces_one_and_accepts_something_is_folded_like_any() -> None:
    before = decided(ASKED)
    now = standing([before, decided((NEEDED,), (OPTIONAL,), withdraws=before.id)])
    assert set(now.granted) == {NAME}
    assert set(now.refused) == {EMAIL}


def test_the_newest_decision_about_a_claim_stands() -> None:
    first = decided(ASKED, decided_at=NOW)
    second = decided((), (OPTIONAL,), decided_at=NOW + timedelta(days=1))
    now = standing([first, second])
    assert now.granted == {NAME: NEEDED.version}
    assert now.refused == {EMAIL: OPTIONAL.version}
    assert now.receipt == second.id
    assert now.since == NOW
    third = decided((OPTIONAL,), decided_at=NOW + timedelta(days=2))
    assert set(standing([first, second, third]).granted) == {NAME, EMAIL}
    assert standing([first, second, third]).refused == {}


def test_acting_while_away_is_decided_like_a_claim() -> None:
    """Ticked once it stands; unticked it is not asked again, and not granted (decision 12)."""
    asked = asked_claims(CLIENT, CLIENT.scopes)
    assert asked[-1] is OFFLINE
    assert not is_covered(decided(ASKED), asked=asked)
    assert is_covered(decided(ASKED, (OFFLINE,)), asked=asked)
    assert OFFLINE.claim not in grantable(standing([decided(ASKED, (OFFLINE,))]), asked)
    assert OFFLINE.claim in grantable(standing([decided((*ASKED, OFFLINE))]), asked)


CLAIMS = tuple(
    builders.asked(ClaimName(name), needed=needed) for name, needed in [("a", True), ("b", False), ("c", False)]
)
ANSWER = st.sampled_from(["granted", "refused", "not asked"])


@st.composite
def histories(draw: st.DrawFn) -> list[ConsentReceipt]:
    """Receipts over three claims, some in an older version, some denied, some withdrawing everything."""
    receipts: list[ConsentReceipt] = []
    for number in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["decision", "decision", "denial", "withdrawal"]))
        asks = tuple(draw(st.sampled_from([ask, reworded(ask)])) for ask in CLAIMS)
        answers = [draw(ANSWER) for _ in asks]
        accepted = tuple(ask for ask, answer in zip(asks, answers, strict=True) if answer == "granted")
        refused = tuple(ask for ask, answer in zip(asks, answers, strict=True) if answer == "refused")
        more: dict[str, Any] = {"id": ReceiptId(f"r{number}"), "scopes": frozenset({Scope("openid")})}
        if kind == "denial":
            receipts.append(decided((), asks, denied=True, **more))
        elif kind == "withdrawal" and receipts:
            receipts.append(decided((), asks, withdraws=receipts[-1].id, **more))
        else:
            receipts.append(decided(accepted, refused, **more))
    return receipts


@settings(max_examples=25, deadline=None)
@given(histories())
def test_what_stands_is_the_last_word_on_each_claim(history: list[ConsentReceipt]) -> None:
    """Against a second way to say it: look backwards for the last receipt that shows the claim, up to a withdrawal."""
    now = standing(history)
    for ask in CLAIMS:
        last = "nothing"
        for receipt in reversed(history):
            if receipt.denied:
                continue
            if receipt.withdraws is not None and not receipt.accepted:
                break
            if ask.claim in receipt.shown:
                last = "granted" if ask.claim in receipt.accepted else "refused"
                break
        assert (ask.claim in now.granted, ask.claim in now.refused) == (last == "granted", last == "refused")


@settings(max_examples=25, deadline=None)
@given(histories())
def test_covered_means_nothing_is_undecided(history: list[ConsentReceipt]) -> None:
    """What is granted was agreed to in exactly the version in force; what is covered leaves nothing to ask."""
    now = standing(history)
    assert set(grantable(now, CLAIMS)) <= set(now.granted)
    assert all(now.granted[claim] == version for claim, version in grantable(now, CLAIMS).items())
    covered = covers(now, CLAIMS, client_version=CLIENT.version)
    assert covered == (now.receipt is not None and undecided(now, CLAIMS) == ())
    if covered:
        assert CLAIMS[0].claim in grantable(now, CLAIMS)
