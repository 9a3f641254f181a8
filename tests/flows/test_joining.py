"""An account already uses the address that came: whose it is, and joining the new way to it by showing both."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.front import AGENT, FACEBOOK, OPENID, Front, identity, request

from broker.domain.account import AccountStatus
from broker.domain.claims import EMAIL, NAME
from broker.domain.consent import Purpose
from broker.domain.joining import Address
from broker.domain.session import needs_fresh_sign_in
from broker.domain.values import ProviderId
from broker.errors import (
    AccountHeld,
    IdentityTaken,
    NotThatAccount,
    SignInExpired,
    SignInRequired,
)
from broker.flows.sign_in import Leaving, NewPerson, SignedIn
from broker.flows.sign_up import AddressTaken
from broker.flows.transactions import Carried

TWIN = identity("twin", provider=OPENID, claims=identity("ana").claims, account_hint="ana@mail.test")


@pytest.fixture
async def front() -> Front:
    """Ana has an account by Facebook; at OpenID somebody's address is the same."""
    opened = Front()
    opened.openid.people["twin"] = TWIN
    return opened


async def asked(front: Front, **more: Any) -> Carried:
    """Back from OpenID, with the address of Ana's account."""
    carried = await front.new_person("twin", OPENID, **more)
    assert carried.transaction.address is Address.ASKED
    return carried


async def leave(front: Front, carried: Carried, provider: ProviderId = FACEBOOK) -> Leaving:
    """ "It is mine", and on the way to show it."""
    return await front.sign_in.begin(await front.sign_up.is_mine(carried), provider)


async def joined(front: Front, carried: Carried, name: str = "ana") -> SignedIn:
    outcome = await front.back(await leave(front, carried), name)
    assert isinstance(outcome, SignedIn)
    return outcome


@pytest.mark.parametrize("verified", [frozenset(), frozenset({NAME})])
async def test_an_address_that_nobody_vouches_for_asks_nothing(front: Front, verified: frozenset[Any]) -> None:
    """And tells nobody that there is an account (catalogue 113, 114)."""
    await front.person("ana")
    front.openid.people["twin"] = replace(TWIN, verified=verified)
    assert (await front.new_person("twin", OPENID)).transaction.address is Address.SETTLED


async def test_an_address_that_no_account_has_checked_asks_nothing(front: Front) -> None:
    front.facebook.people["ana"] = identity("ana", verified=frozenset())
    await front.person("ana")
    assert (await front.new_person("twin", OPENID)).transaction.address is Address.SETTLED


async def test_it_is_named_to_whom_the_provider_named_it(front: Front) -> None:
    await front.person("ana")
    carried = await asked(front)
    assert front.sign_up.address(carried.transaction) == "ana@mail.test"
    assert await front.durable.accounts.by_identity(TWIN.key) is None
    for other in (front.transaction(), (await front.new_person("ben")).transaction):
        with pytest.raises(SignInExpired):
            front.sign_up.address(other)


async def test_nothing_of_what_came_is_left_while_it_waits(front: Front) -> None:
    await front.person("ana")
    waiting = (await front.sign_up.is_mine(await asked(front))).transaction
    assert (waiting.identity, waiting.tokens, waiting.picture, waiting.decision) == (None, None, None, None)
    assert waiting.joining is not None
    assert waiting.joining.identity.claims == {}
    assert "Marković".encode() not in front.seal._encoder.encode(waiting)


async def test_who_shows_both_has_both(front: Front) -> None:
    """The provider's answer and a fresh sign-in to the account, in one attempt of one browser (catalogue 116)."""
    ana = await front.person("ana")
    account = ana.started.session.account
    left = await leave(front, await asked(front, request=request()))
    assert front.facebook.attempts[-1].fresh
    outcome = await front.back(left, "ana")
    assert isinstance(outcome, SignedIn)
    assert outcome.started.session.account == account
    assert not needs_fresh_sign_in(outcome.started.session, front.clock.now())
    assert (outcome.transaction.joining, outcome.transaction.request) == (None, request())
    links = await front.durable.accounts.links(account)
    assert {link.key for link in links} == {identity("ana").key, TWIN.key}
    assert next(link for link in links if link.key == TWIN.key).hint == "ana@mail.test"
    receipts = await front.durable.ledger.receipts(account, Purpose.PREFILL_SIGN_UP)
    assert [receipt.counterparty for receipt in receipts] == [FACEBOOK, OPENID]
    assert [one.payload["letter"] for one in front.durable.tables.deliveries.values() if "letter" in one.payload] == [
        "way_added"
    ]
    known = await front.back(await front.leave(OPENID), "twin")
    assert isinstance(known, SignedIn)
    assert known.started.session.account == account
    assert len(front.accounts) == 1


@pytest.mark.parametrize(
    ("before", "after"), [("/me", "/me/ways?done=added"), ("/me/sites", "/me/sites")], ids=["told", "on the way"]
)
async def test_the_person_is_told_unless_they_were_on_their_way(front: Front, before: str, after: str) -> None:
    await front.person("ana")
    assert (await joined(front, await asked(front, return_to=before))).transaction.return_to == after


async def test_a_code_by_e_mail_shows_the_account_too(front: Front) -> None:
    """Where its owner turned that on."""
    ana = await front.person("ana")
    await front.mail_code.add(ana.started.session, locale="en")
    waiting = await front.sign_up.is_mine(await asked(front))
    sent = await front.mail_code.send(waiting, "ana@mail.test", session=None, network="192.0.2.1")
    code = next(
        one.payload["code"]
        for one in front.durable.tables.deliveries.values()
        if one.payload.get("letter") == "sign_in_code"
    )
    outcome = await front.mail_code.redeem(sent, code, session=None, user_agent=AGENT)
    assert isinstance(outcome, SignedIn)
    assert outcome.started.session.account == ana.started.session.account
    assert await front.durable.accounts.by_identity(TWIN.key) is not None


async def test_another_account_is_not_joined_and_not_signed_in_to(front: Front) -> None:
    """(catalogue 116)"""
    await front.person("ana")
    ben = await front.person("ben")
    with pytest.raises(NotThatAccount):
        await front.back(await leave(front, await asked(front)), "ben")
    assert await front.durable.accounts.by_identity(TWIN.key) is None
    assert len(await front.sessions.sessions.of_account(ben.started.session.account, front.clock.now())) == 1


async def test_a_second_stranger_is_not_joined_to_anything(front: Front) -> None:
    """Nobody known came back: no new account is made of them on the way, and their grant is taken back."""
    await front.person("ana")
    with pytest.raises(NotThatAccount):
        await front.back(await leave(front, await asked(front)), "nobody")
    assert front.facebook.tokens["nobody"] in front.facebook.revoked
    assert len(front.accounts) == len(front.links) == 1


async def test_the_address_has_to_be_the_accounts_still(front: Front) -> None:
    ana = await front.person("ana")
    left = await leave(front, await asked(front))
    await front.account.change(ana.started.session.account, EMAIL, "new@mail.test")
    with pytest.raises(NotThatAccount):
        await front.back(left, "ana")


async def test_the_answer_waits_half_an_hour(front: Front) -> None:
    await front.person("ana")
    waiting = await front.sign_up.is_mine(await asked(front))
    front.clock.move(timedelta(minutes=29))
    left = await front.sign_in.begin(waiting, FACEBOOK)
    front.clock.move(timedelta(minutes=2))
    with pytest.raises(SignInExpired):
        await front.back(left, "ana")
    assert len(front.links) == 1


async def test_an_account_on_hold_is_joined_to_nothing(front: Front) -> None:
    ana = await front.person("ana")
    left = await leave(front, await asked(front))
    await front.save(replace(front.accounts[ana.started.session.account], status=AccountStatus.HELD))
    with pytest.raises(AccountHeld):
        await front.back(left, "ana")
    assert len(front.links) == 1


async def test_the_same_in_two_tabs_is_added_once(front: Front) -> None:
    """(catalogue 176)"""
    await front.person("ana")
    one, two = await leave(front, await asked(front)), await leave(front, await asked(front))
    for left in (one, two):
        assert isinstance(await front.back(left, "ana"), SignedIn)
    assert len(front.links) == 2


async def test_what_another_account_took_meanwhile_is_not_added(front: Front) -> None:
    """And the sign-in that was for that ends with it."""
    ana = await front.person("ana")
    carried = await asked(front)
    left = await leave(front, carried)
    front.openid.people["twin"] = replace(TWIN, claims={**TWIN.claims, EMAIL: "eve@mail.test"})
    await front.person("twin", OPENID)
    with pytest.raises(IdentityTaken):
        await front.back(left, "ana")
    assert len(await front.sessions.sessions.of_account(ana.started.session.account, front.clock.now())) == 1


async def test_signed_out_meanwhile_nothing_is_added(front: Front) -> None:
    """Whoever ends all sessions in that moment wants everybody out (catalogue 110)."""
    ana = await front.person("ana")
    left = await leave(front, await asked(front))
    flow = front.sign_in
    tell_of_ways = flow.sessions.tell_of_ways

    async def told(*args: Any, **more: Any) -> None:
        await tell_of_ways(*args, **more)
        await front.memory.sessions.end_all(ana.started.session.account)

    sessions = _Told(flow.sessions, told)
    front.sign_in = replace(flow, sessions=sessions)  # type: ignore[arg-type]
    with pytest.raises(SignInRequired):
        await front.back(left, "ana")
    assert {link.key for link in front.links} == {identity("ana").key}


class _Told:
    """Sessions with another way to tell."""

    def __init__(self, sessions: Any, tell_of_ways: Any) -> None:
        self._sessions, self.tell_of_ways = sessions, tell_of_ways

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sessions, name)


# --- not mine -----------------------------------------------------------------------------------------


async def test_who_says_it_is_not_theirs_signs_up_without_it(front: Front) -> None:
    await front.person("ana")
    carried = await front.sign_up.is_anothers(await asked(front))
    assert carried.transaction.address is Address.ANOTHERS
    rows = {row.claim: row.value for row in front.sign_up.rows(carried.transaction)}
    assert (rows[EMAIL], rows[NAME]) == (None, "Ana Marković")
    decided = await front.sign_up.decide(carried, ticked=frozenset(), edits={})
    assert front.sign_up.to_ask(decided.transaction) == (EMAIL,)
    form = front.form("eve", typed={EMAIL: "eve@mail.test"})
    outcome = await front.sign_up.create(decided, form, session=None, user_agent=AGENT)
    assert isinstance(outcome, SignedIn)
    assert front.accounts[outcome.started.session.account].verified == frozenset()
    assert len(front.accounts) == 2


async def test_an_address_that_was_taken_after_the_preview_is_asked_about_then(front: Front) -> None:
    carried = await front.new_person("twin", OPENID)
    decided = await front.sign_up.decide(carried, ticked=frozenset(), edits={})
    await front.person("ana")
    taken = await front.sign_up.create(decided, front.form("eve"), session=None, user_agent=AGENT)
    assert isinstance(taken, AddressTaken)
    assert front.sign_up.address(taken.carried.transaction) == "ana@mail.test"
    without = await front.sign_up.is_anothers(taken.carried)
    assert front.sign_up.to_ask(without.transaction) == (EMAIL,)


async def test_an_address_that_was_taken_after_the_preview_can_be_mine(front: Front) -> None:
    carried = await front.new_person("twin", OPENID)
    decided = await front.sign_up.decide(carried, ticked=frozenset(), edits={})
    await front.person("ana")
    taken = await front.sign_up.create(decided, front.form("eve"), session=None, user_agent=AGENT)
    assert isinstance(taken, AddressTaken)
    await joined(front, taken.carried)
    assert len(front.accounts) == 1
    assert len(front.links) == 2


async def test_another_provider_begins_anew(front: Front) -> None:
    """Nothing is asked about an address that is not there any more."""
    await front.person("ana")
    left = await front.sign_in.begin(await asked(front), FACEBOOK)
    assert left.carried.transaction.address is Address.SETTLED
    outcome = await front.back(left, "ben")
    assert isinstance(outcome, NewPerson)
    assert outcome.carried.transaction.address is Address.SETTLED
