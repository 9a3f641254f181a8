"""A code by e-mail opens an account: for who turned it on, in the browser that asked, once; and tells nobody who has one."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.front import AGENT, FACEBOOK, OPENID, Front, identity, stale
from tests.flows.test_address import letters

from broker.domain.account import AccountStatus, ProfileValue
from broker.domain.claims import EMAIL
from broker.domain.letters import Letter
from broker.domain.mail_code import BY_MAIL, GOOD_FOR, mail_link
from broker.domain.policy import Use
from broker.domain.session import Session
from broker.domain.transaction import TransactionPurpose
from broker.errors import (
    AccountHeld,
    FormInvalid,
    IdentityTaken,
    LastLink,
    ProviderOff,
    SignInRequired,
    TooManyAttempts,
)
from broker.flows.address import CODE
from broker.flows.mail_code import LETTERS_FROM, LETTERS_TO, LETTERS_TO_FROM, TRIES
from broker.flows.sign_in import SignedIn
from broker.flows.transactions import Carried

ANA, NETWORK = "ana@mail.test", "192.0.2.1"


@pytest.fixture
def front() -> Front:
    return Front()


async def member(front: Front, name: str = "ana") -> Session:
    """Somebody who turned codes by e-mail on."""
    session = (await front.person(name)).started.session
    await front.mail_code.add(session, locale="en")
    return session


async def ask(
    front: Front,
    address: str = ANA,
    *,
    purpose: TransactionPurpose = TransactionPurpose.SIGN_IN,
    session: Session | None = None,
    network: str = NETWORK,
) -> Carried:
    carried = await front.box.hold(front.transaction(purpose, session))
    return await front.mail_code.send(carried, address, session=session, network=network)


async def code_of(front: Front) -> str:
    found = [one for one in await letters(front) if one.payload["letter"] == Letter.SIGN_IN_CODE]
    return found[-1].payload["code"]


async def redeem(front: Front, carried: Carried, code: str, session: Session | None = None) -> SignedIn:
    outcome = await front.mail_code.redeem(carried, code, session=session, user_agent=AGENT)
    assert isinstance(outcome, SignedIn)
    return outcome


async def problem(what: Awaitable[Any]) -> dict[str, str]:
    with pytest.raises(FormInvalid) as refused:
        await what
    return dict(refused.value.fields)


async def kinds(front: Front) -> list[str]:
    return [one.payload["letter"] for one in await letters(front)]


async def test_who_lost_the_provider_gets_back_in(front: Front) -> None:
    """As the same account, proved in this moment, by something that is no provider's word; and is told of it."""
    session = await member(front)
    front.clock.move(timedelta(days=3))
    asked = await ask(front, " ANA@mail.test ")
    assert asked.transaction.code_to == "ANA@mail.test"
    letter = next(one for one in await letters(front) if one.payload["letter"] == Letter.SIGN_IN_CODE)
    assert letter.payload["to"] == ANA
    front.clock.move(GOOD_FOR - timedelta(seconds=1))
    outcome = await redeem(front, asked, letter.payload["code"])
    got = outcome.started.session
    assert (got.account, got.provider, got.amr, got.acr) == (session.account, BY_MAIL, ("otp",), None)
    assert got.auth_time == front.clock.now()
    assert (outcome.transaction.sid, outcome.transaction.account) == (got.sid, session.account)
    assert outcome.transaction.code_to is None
    told = [one for one in await letters(front) if one.payload["letter"] == Letter.SIGNED_IN_BY_CODE]
    assert [(one.payload["to"], one.payload["device"]) for one in told] == [(ANA, "Firefox on Linux")]


async def test_nobody_gets_in_who_did_not_turn_it_on(front: Front) -> None:
    """A proved address is no way in by itself (decision 18; catalogue 116)."""
    await front.person("ana")
    asked = await ask(front)
    assert await kinds(front) == [Letter.NO_SIGN_IN_CODE]
    assert await problem(redeem(front, asked, "12345678")) == {CODE: "wrong"}


async def test_a_code_is_good_once_and_for_ten_minutes(front: Front) -> None:
    """Nor after a newer one was asked for."""
    await member(front)
    asked = await ask(front)
    code = await code_of(front)
    await redeem(front, asked, code)
    assert await problem(redeem(front, asked, code)) == {CODE: "over"}
    late = await ask(front)
    code = await code_of(front)
    front.clock.move(GOOD_FOR)
    assert await problem(redeem(front, late, code)) == {CODE: "over"}


async def test_of_two_who_type_it_at_once_one_gets_in(front: Front) -> None:
    await member(front)
    asked = await ask(front)

    class Taken:
        async def delete(self, place: str) -> bool:
            return False

        def __getattr__(self, name: str) -> Any:
            return getattr(front.memory.transactions, name)

    store: Any = Taken()
    front.mail_code = replace(front.mail_code, proofs=store)
    assert await problem(redeem(front, asked, await code_of(front))) == {CODE: "over"}


async def test_asking_again_ends_the_code_before(front: Front) -> None:
    await member(front)
    first = await ask(front)
    old = await code_of(front)
    again = await front.mail_code.send(first, ANA, session=None, network=NETWORK)
    new = [one.payload["code"] for one in await letters(front) if one.payload["letter"] == Letter.SIGN_IN_CODE]
    assert len(new) == 2
    assert await problem(redeem(front, again, old)) == {CODE: "wrong"}
    await redeem(front, again, next(code for code in new if code != old))


async def test_a_code_is_for_the_sign_in_that_asked(front: Front) -> None:
    """Whoever is told the code, or asks at the same time, signs nobody in elsewhere (catalogue 120)."""
    await member(front)
    await ask(front)
    code = await code_of(front)
    other = await ask(front, "stranger@mail.test")
    assert await problem(redeem(front, other, code)) == {CODE: "wrong"}
    nothing_sent = await front.box.hold(front.transaction())
    assert await problem(redeem(front, nothing_sent, code)) == {CODE: "over"}


async def test_guesses_cost_the_guessers_code_and_nobody_elses(front: Front) -> None:
    """After five the code is over, the right one too; its owner's own, asked for elsewhere, is good (catalogue 128)."""
    await member(front)
    guesser = await ask(front)
    right = await code_of(front)
    for _ in range(TRIES):
        assert await problem(redeem(front, guesser, "00000000")) == {CODE: "wrong"}
    assert await problem(redeem(front, guesser, right)) == {CODE: "over"}
    assert await problem(redeem(front, guesser, right)) == {CODE: "over"}
    front.clock.move(timedelta(seconds=1))
    owner = await ask(front, network="198.51.100.7")
    assert (await redeem(front, owner, await code_of(front))).started.session.provider == BY_MAIL


async def test_nobody_is_told_whether_an_address_opens_an_account(front: Front) -> None:
    """One letter, one proof, the same store calls, the same words: known, proved but not turned on, or nobody's
    (catalogue 127)."""
    await member(front)
    await front.person("bea")
    seen = []
    for address in (ANA, "bea@mail.test", "nobody@mail.test"):
        before, calls = len(await letters(front)), Calls(front)
        watched = replace(front.mail_code, durable=calls)
        carried = await front.box.hold(front.transaction())
        asked = await watched.send(carried, address, session=None, network=address)
        assert len(await letters(front)) == before + 1
        assert (asked.transaction.code_to, len(asked.cookie) > 0) == (address, True)
        words = [await problem(redeem(front, asked, "00000000")) for _ in range(TRIES + 2)]
        seen.append((calls.made, words))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0] == ["by_email", "links", "unit"]


class Calls:
    """What is asked of the store, by name."""

    def __init__(self, front: Front) -> None:
        self.front, self.made = front, list[str]()

    def unit(self) -> Any:
        self.made.append("unit")
        return self.front.durable.unit()

    @property
    def accounts(self) -> Any:
        return self

    async def by_email(self, key: str) -> Any:
        self.made.append("by_email")
        return await self.front.durable.accounts.by_email(key)

    async def links(self, account: Any) -> Any:
        self.made.append("links")
        return await self.front.durable.accounts.links(account)

    def __getattr__(self, name: str) -> Any:
        self.made.append(name)
        return getattr(self.front.durable, name)


async def test_the_letter_goes_to_the_address_that_the_account_has(front: Front) -> None:
    """Not to another spelling that counts as the same: that may be somebody else's letter box (catalogue 121)."""
    front.facebook.people["ana"] = identity("ana", claims={EMAIL: "strasse@mail.test"})
    front.fields = {EMAIL: front.fields[EMAIL]}
    front.sign_up = replace(front.sign_up, fields=front.fields)
    await member(front)
    await ask(front, "stra\N{LATIN SMALL LETTER SHARP S}e@mail.test")
    letter = next(one for one in await letters(front) if one.payload["letter"] == Letter.SIGN_IN_CODE)
    assert letter.payload["to"] == "strasse@mail.test"


@pytest.mark.parametrize(("typed", "code"), [("", "missing"), (" ", "missing"), ("ana", "bad_value")])
async def test_what_is_no_address_is_said(front: Front, typed: str, code: str) -> None:
    assert await problem(ask(front, typed)) == {EMAIL: code}
    assert await letters(front) == []


async def test_letters_are_counted_by_where_they_come_from_and_go_to(front: Front) -> None:
    """One network fills no letter box and locks no owner out; whether anybody has the address changes nothing
    (catalogue 127, 128)."""
    await member(front)
    for address in (ANA, "nobody@mail.test"):
        for _ in range(LETTERS_TO_FROM):
            await ask(front, address)
        with pytest.raises(TooManyAttempts):
            await ask(front, address.upper())
    await ask(front, ANA, network="198.51.100.7")
    for number in range(LETTERS_FROM - 2 * (LETTERS_TO_FROM + 1)):
        await ask(front, f"a{number}@mail.test")
    with pytest.raises(TooManyAttempts):
        await ask(front, "last@mail.test")
    front.clock.move(timedelta(hours=1))
    for number in range(LETTERS_TO):
        await ask(front, ANA, network=f"2001:db8::{number}")
    with pytest.raises(TooManyAttempts):
        await ask(front, ANA, network="198.51.100.8")


async def test_it_is_off_unless_whoever_runs_this_turns_it_on(front: Front) -> None:
    session = await member(front)
    asked = await ask(front)
    front.mail_code = off = replace(front.mail_code, is_on=False)
    with pytest.raises(ProviderOff):
        await off.add(session, locale="en")
    with pytest.raises(ProviderOff):
        await ask(front)
    with pytest.raises(ProviderOff):
        await redeem(front, asked, await code_of(front))


# --- turning it on and off --------------------------------------------------------------------------------


async def test_turning_it_on_adds_a_way_in_and_tells_the_person(front: Front) -> None:
    """Twice is once. Nothing in the link says which address it is."""
    session = await member(front)
    link = mail_link(await front.durable.accounts.links(session.account))
    assert link is not None
    assert await front.mail_code.add(session, locale="en") == link
    assert [one.provider for one in front.links] == [FACEBOOK, BY_MAIL]
    told = [one.payload for one in await letters(front)]
    assert [(one["letter"], one["provider"], one["to"]) for one in told] == [(Letter.WAY_ADDED, BY_MAIL, ANA)]
    assert link.hint is None
    assert "ana" not in link.key.subject
    receipts = await front.durable.ledger.receipts(session.account, counterparty=BY_MAIL)
    assert [(one.id, one.sid, one.accepted) for one in receipts] == [(link.receipt, session.sid, ())]


@pytest.mark.parametrize("email", [None, ProfileValue(value="typed@mail.test", source="person")])
async def test_an_address_that_nobody_proved_lets_nobody_in(front: Front, email: ProfileValue | None) -> None:
    """Also where it was somebody else who typed it (catalogue 116, 119)."""
    session = (await front.person("ana")).started.session
    account = await front.account.load(session.account)
    profile = {name: held for name, held in account.profile.items() if name != EMAIL}
    await front.save(replace(account, profile=profile if email is None else {**profile, EMAIL: email}))
    assert await problem(front.mail_code.add(session, locale="en")) == {EMAIL: "not_checked"}
    await ask(front, "typed@mail.test")
    assert await kinds(front) == [Letter.NO_SIGN_IN_CODE]


async def test_a_closed_account_turns_nothing_on(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await front.account.close(session)
    with pytest.raises(SignInRequired):
        await front.mail_code.add(session, locale="en")


async def test_who_is_signed_out_meanwhile_turns_nothing_on(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await front.sessions.sign_out(session)
    with pytest.raises(SignInRequired):
        await front.mail_code.add(session, locale="en")
    assert [one.provider for one in front.links] == [FACEBOOK]


async def test_turning_it_off_ends_the_codes_that_are_on_their_way(front: Front) -> None:
    """And who got in by one (catalogue 110)."""
    session = await member(front)
    inside = (await redeem(front, await ask(front), await code_of(front))).started.session
    front.clock.move(timedelta(seconds=1))
    asked = await ask(front)
    code = await code_of(front)
    link = mail_link(front.links)
    assert link is not None
    await front.account.unlink(session, link.id)
    assert await problem(redeem(front, asked, code)) == {CODE: "over"}
    assert await front.memory.sessions.by_digest(inside.secret_digest, front.clock.now()) is None
    assert Letter.WAY_REMOVED in await kinds(front)


async def test_it_stays_when_the_provider_is_removed_and_is_then_the_last(front: Front) -> None:
    session = await member(front)
    facebook, codes = front.links
    await front.account.unlink(session, facebook.id)
    with pytest.raises(LastLink):
        await front.account.unlink(session, codes.id)


@pytest.mark.parametrize("text", ["other@mail.test", ""])
async def test_another_address_ends_it(front: Front, text: str) -> None:
    """Whoever gets at an open account and changes the address has no way in by that (catalogue 118)."""
    session = await member(front)
    front.fields[EMAIL] = replace(front.fields[EMAIL], use=Use.OPTIONAL)
    asked = await ask(front)
    code = await code_of(front)
    assert not await front.account.change(session.account, EMAIL, ANA)
    assert await front.account.change(session.account, EMAIL, text)
    assert [one.provider for one in front.links] == [FACEBOOK]
    assert await problem(redeem(front, asked, code)) == {CODE: "over"}
    assert not await front.account.change(session.account, EMAIL, "third@mail.test")


async def test_an_address_that_is_the_only_way_in_stays(front: Front) -> None:
    session = await member(front)
    await front.account.unlink(session, front.links[0].id)
    assert await problem(front.account.change(session.account, EMAIL, "other@mail.test")) == {EMAIL: "only_way"}
    assert (await front.account.load(session.account)).profile[EMAIL].value == ANA


async def change_back(front: Front) -> None:
    changed = [one for one in await letters(front) if one.payload["letter"] == Letter.ADDRESS_CHANGED]
    await front.address.undo_change(changed[0].payload["token"])


async def test_taking_a_change_back_lets_codes_in_again_to_the_old_address_alone(front: Front) -> None:
    """The thief proved an address of their own and turned codes on for it: both are gone (catalogue 116, 118)."""
    session = await member(front)
    await front.account.change(session.account, EMAIL, "thief@mail.test")
    account = await front.account.load(session.account)
    held = replace(account.profile[EMAIL], verified=True)
    await front.save(replace(account, profile={**account.profile, EMAIL: held}))
    await front.mail_code.add(session, locale="en")
    thief = await ask(front, "thief@mail.test")
    code = await code_of(front)
    await change_back(front)
    assert await problem(redeem(front, thief, code)) == {CODE: "over"}
    front.clock.move(timedelta(seconds=1))
    owner = await ask(front)
    assert (await redeem(front, owner, await code_of(front))).started.session.account == session.account
    assert sorted(one.provider for one in front.links) == [BY_MAIL, FACEBOOK]


async def test_taking_a_change_back_turns_nothing_on_that_was_off(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await front.account.change(session.account, EMAIL, "thief@mail.test")
    await change_back(front)
    assert [one.provider for one in front.links] == [FACEBOOK]


async def test_taking_a_change_back_takes_the_codes_that_the_thief_turned_on(front: Front) -> None:
    """Where they were off before: they go to the owner now, so that the account keeps a way in that is theirs."""
    session = (await front.person("ana")).started.session
    await front.account.change(session.account, EMAIL, "thief@mail.test")
    account = await front.account.load(session.account)
    held = replace(account.profile[EMAIL], verified=True)
    await front.save(replace(account, profile={**account.profile, EMAIL: held}))
    await front.mail_code.add(session, locale="en")
    await front.account.unlink(session, front.links[0].id)
    await change_back(front)
    await ask(front, "thief@mail.test")
    assert (await kinds(front))[-1] == Letter.NO_SIGN_IN_CODE
    front.clock.move(timedelta(seconds=1))
    owner = await ask(front)
    assert (await redeem(front, owner, await code_of(front))).started.session.account == session.account


async def test_taking_a_change_back_gives_the_old_mailbox_no_way_that_it_never_had(front: Front) -> None:
    """The owner moved to another address and turned codes on there: what is older than the move still opens the account
    (catalogue 116, 118)."""
    session = (await front.person("ana")).started.session
    await front.account.change(session.account, EMAIL, "moved@mail.test")
    account = await front.account.load(session.account)
    held = replace(account.profile[EMAIL], verified=True)
    await front.save(replace(account, profile={**account.profile, EMAIL: held}))
    front.clock.move(timedelta(days=2))
    again = await front.back(await front.leave(FACEBOOK), "ana")
    assert isinstance(again, SignedIn)
    await front.mail_code.add(again.started.session, locale="en")
    await change_back(front)
    assert [one.provider for one in front.links] == [FACEBOOK]
    front.clock.move(timedelta(seconds=1))
    await ask(front)
    assert (await kinds(front))[-1] == Letter.NO_SIGN_IN_CODE


async def added(front: Front, session: Session, name: str = "thief") -> None:
    """Whoever is in the account adds a way of their own."""
    left = await front.leave(OPENID, TransactionPurpose.LINK, session)
    await front.back(left, name, session=session)


async def test_taking_a_change_back_takes_the_ways_that_were_added_since(front: Front) -> None:
    """Else whoever changed the address would come in again by their own (catalogue 116, 117)."""
    session = (await front.person("ana")).started.session
    await front.account.change(session.account, EMAIL, "thief@mail.test")
    front.clock.move(timedelta(minutes=1))
    await added(front, session)
    assert [one.provider for one in front.links] == [FACEBOOK, OPENID]
    await change_back(front)
    assert [one.provider for one in front.links] == [FACEBOOK]


async def test_what_was_there_before_the_change_stays(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await added(front, session, "ana")
    front.clock.move(timedelta(minutes=1))
    await front.account.change(session.account, EMAIL, "thief@mail.test")
    await change_back(front)
    assert [one.provider for one in front.links] == [FACEBOOK, OPENID]


@pytest.mark.parametrize("codes_open", [True, False])
async def test_the_last_way_in_stays_until_another_opens_the_account(front: Front, codes_open: bool) -> None:
    """The thief removed all others; with codes on, the address that came back opens it and theirs goes."""
    front.address = replace(front.address, codes_open=codes_open)
    session = await member(front)
    await front.account.change(session.account, EMAIL, "thief@mail.test")
    front.clock.move(timedelta(minutes=1))
    await added(front, session)
    await front.account.unlink(session, front.links[0].id)
    await change_back(front)
    assert sorted(one.provider for one in front.links) == ([BY_MAIL] if codes_open else [BY_MAIL, OPENID])


# --- whose account it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [AccountStatus.HELD, AccountStatus.CLOSED])
async def test_an_account_on_hold_stays_so(front: Front, status: AccountStatus) -> None:
    session = await member(front)
    asked = await ask(front)
    code = await code_of(front)
    await front.save(replace(await front.account.load(session.account), status=status))
    with pytest.raises(AccountHeld):
        await redeem(front, asked, code)


async def test_a_way_that_ends_in_this_very_moment_lets_nobody_in(front: Front) -> None:
    """Between the code and the session (catalogue 110)."""
    await member(front)
    asked = await ask(front)
    code = await code_of(front)
    found = front.durable.accounts.by_identity
    answers = [await found(next(one.key for one in front.links if one.provider == BY_MAIL)), None]

    class Ending:
        async def by_identity(self, key: Any) -> Any:
            return answers.pop(0)

        def __getattr__(self, name: str) -> Any:
            return getattr(front.durable.accounts, name)

    class Store:
        accounts = Ending()

        def __getattr__(self, name: str) -> Any:
            return getattr(front.durable, name)

    store: Any = Store()
    flow = replace(front.mail_code, durable=store, sign_in=replace(front.sign_in, durable=store))
    assert await problem(flow.redeem(asked, code, session=None, user_agent=AGENT)) == {CODE: "over"}


async def test_a_fresh_sign_in_by_a_code_is_for_the_same_person(front: Front) -> None:
    """To their own address, whatever was typed; the session is the same, and fresh again (decision 26)."""
    session = await member(front)
    old = stale(session, timedelta(hours=2))
    front.clock.move(timedelta(minutes=30))
    asked = await ask(front, "other@mail.test", purpose=TransactionPurpose.FRESHEN, session=old)
    assert asked.transaction.code_to == ANA
    outcome = await redeem(front, asked, await code_of(front), old)
    assert outcome.is_renewed
    assert (outcome.started.session.sid, outcome.started.session.auth_time) == (session.sid, front.clock.now())
    assert Letter.SIGNED_IN_BY_CODE not in await kinds(front)


async def test_somebody_elses_code_makes_no_sign_in_fresh(front: Front) -> None:
    """The account changed hands in this browser between asking and typing."""
    session = await member(front)
    other = (await front.person("bea", OPENID)).started.session
    asked = await ask(front, purpose=TransactionPurpose.FRESHEN, session=session)
    moved = replace(asked, transaction=replace(asked.transaction, account=other.account, sid=other.sid))
    with pytest.raises(IdentityTaken):
        await redeem(front, moved, await code_of(front), other)


async def test_a_fresh_sign_in_without_a_session_or_an_address_writes_nothing(front: Front) -> None:
    session = await member(front)

    def asking(who: Session | None) -> Awaitable[Carried]:
        return ask(front, purpose=TransactionPurpose.FRESHEN, session=who)

    assert await problem(asking(None)) == {EMAIL: "missing"}
    account = await front.account.load(session.account)
    await front.save(replace(account, profile={k: v for k, v in account.profile.items() if k != EMAIL}))
    assert await problem(asking(session)) == {EMAIL: "missing"}
    await front.account.close(session)
    assert await problem(asking(session)) == {EMAIL: "missing"}
