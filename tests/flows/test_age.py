"""Who may make an account: asked before anybody else is, and what an unanswered question lets through (promise P18)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.flows.front import AGENT, Front

from broker.domain.age import AgeAnswer, AgeRule
from broker.domain.transaction import TransactionPurpose
from broker.errors import BadRequest
from broker.flows.sign_in import AgeUnknown, NewPerson, SignedIn

RULE = AgeRule(minimum=13)


@pytest.fixture
def front() -> Front:
    """Flows of a service that asks."""
    opened = Front()
    opened.sign_in = replace(opened.sign_in, age=RULE)
    opened.sign_up = replace(opened.sign_up, sign_in=opened.sign_in)
    return opened


async def known(front: Front, name: str) -> None:
    """Somebody who has an account."""
    decided = await front.sign_up.decide(
        await front.new_person(name, age=AgeAnswer.ENOUGH), ticked=frozenset(), edits={}
    )
    await front.sign_up.create(decided, front.form(name), session=None, user_agent=AGENT)


@pytest.mark.parametrize("answer", [AgeAnswer.NONE, AgeAnswer.HAS_ACCOUNT, AgeAnswer.UNKNOWN_PERSON])
async def test_somebody_unknown_who_was_not_asked_is_dropped_unread(front: Front, answer: AgeAnswer) -> None:
    """What the provider sent is nowhere, and what it let us do there is taken back (decision 24)."""
    left = await front.leave(age=answer)
    outcome = await front.back(left, "mia")
    assert isinstance(outcome, AgeUnknown)
    after = outcome.carried.transaction
    assert (after.identity, after.tokens, after.nonce, after.code_verifier) == (None, None, None, None)
    assert after.age is AgeAnswer.UNKNOWN_PERSON
    assert not outcome.carried.is_stored
    assert front.facebook.revoked == [front.facebook.tokens["mia"]]


async def test_somebody_known_is_let_in_unasked(front: Front) -> None:
    await known(front, "ana")
    outcome = await front.back(await front.leave(age=AgeAnswer.HAS_ACCOUNT), "ana")
    assert isinstance(outcome, SignedIn)


async def test_whoever_is_old_enough_goes_on_to_the_preview(front: Front) -> None:
    outcome = await front.back(await front.leave(age=AgeAnswer.ENOUGH), "mia")
    assert isinstance(outcome, NewPerson)
    assert outcome.carried.transaction.identity is not None


async def test_without_an_answer_there_is_no_account(front: Front) -> None:
    """Not even where the rule was made while somebody stood on the last page."""
    front.sign_in = replace(front.sign_in, age=None)
    carried = await front.new_person("mia")
    decided = await front.sign_up.decide(carried, ticked=frozenset(), edits={})
    with pytest.raises(BadRequest):
        await front.sign_up.create(decided, front.form("mia"), session=None, user_agent=AGENT)
    assert await front.durable.accounts.by_identity(decided.transaction.identity.key) is None  # type: ignore[union-attr]


async def test_not_using_a_provider_does_not_ask_again(front: Front) -> None:
    carried = await front.new_person("mia", age=AgeAnswer.ENOUGH)
    fresh = await front.sign_up.refuse(carried)
    assert fresh.age is AgeAnswer.ENOUGH


@pytest.mark.parametrize(
    ("purpose", "answer", "known_browser", "asks"),
    [
        (TransactionPurpose.SIGN_IN, AgeAnswer.NONE, False, True),
        (TransactionPurpose.SIGN_IN, AgeAnswer.UNKNOWN_PERSON, False, True),
        (TransactionPurpose.SIGN_IN, AgeAnswer.NONE, True, False),
        (TransactionPurpose.SIGN_IN, AgeAnswer.HAS_ACCOUNT, False, False),
        (TransactionPurpose.SIGN_IN, AgeAnswer.ENOUGH, False, False),
        (TransactionPurpose.FRESHEN, AgeAnswer.NONE, False, False),
        (TransactionPurpose.LINK, AgeAnswer.NONE, False, False),
    ],
)
def test_who_is_asked_before_the_provider(
    front: Front, purpose: TransactionPurpose, answer: AgeAnswer, known_browser: bool, asks: bool
) -> None:
    transaction = replace(front.transaction(), purpose=purpose, age=answer)
    assert front.sign_in.asks_age(transaction, known_browser=known_browser) is asks


def test_without_a_rule_nobody_is_asked() -> None:
    front = Front()
    assert not front.sign_in.asks_age(front.transaction(), known_browser=False)
    assert front.sign_in.knows_age(None)
