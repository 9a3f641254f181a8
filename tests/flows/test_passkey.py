"""A passkey opens the account it was made for, in the browser that asked, once; and tells nobody which there are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.front import AGENT, FACEBOOK, Front, request, stale
from tests.flows.test_address import letters
from tests.support.passkeys import SoftKey

from broker.domain.account import AccountStatus, Link
from broker.domain.audit import Action
from broker.domain.claims import EMAIL
from broker.domain.credential import credential_type
from broker.domain.letters import Letter
from broker.domain.passkey import AT_MOST, BY_PASSKEY, GOOD_FOR, passkeys_of
from broker.domain.session import FRESH, Session, device_in_words
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import IdentityKey
from broker.errors import (
    AccountHeld,
    Conflict,
    FormInvalid,
    FreshSignInRequired,
    IdentityTaken,
    LastLink,
    PasskeyRefused,
    ProviderOff,
    SignInRequired,
)
from broker.flows.passkey import ANSWER, Making
from broker.flows.sign_in import SignedIn
from broker.flows.transactions import Carried


@pytest.fixture
def front() -> Front:
    return Front()


async def add(
    front: Front, session: Session, key: SoftKey, making: Making | None = None, name: str = "My key", **wrong: Any
) -> Link:
    begun = making or await front.passkeys.begin(session)
    answer = key.make(begun.challenge, begun.owner, **wrong)
    return await front.passkeys.add(session, answer, name=name, user_agent=AGENT, locale="en")


async def member(front: Front, key: SoftKey, name: str = "ana") -> Session:
    """Somebody with a passkey."""
    session = (await front.person(name)).started.session
    await add(front, session, key)
    return session


async def ask(
    front: Front, purpose: TransactionPurpose = TransactionPurpose.SIGN_IN, session: Session | None = None, **more: Any
) -> Carried:
    return await front.box.hold(front.transaction(purpose, session, **more))


async def enter(
    front: Front, key: SoftKey, asked: Carried | None = None, session: Session | None = None, **wrong: Any
) -> SignedIn:
    """By a challenge of this very sign-in, or by the one that is given."""
    carried = asked or await ask(front)
    challenge = wrong.pop("challenge", None) or front.passkeys.challenge(carried.transaction)
    outcome = await front.passkeys.enter(carried, key.use(challenge, **wrong), session=session, user_agent=AGENT)
    assert isinstance(outcome, SignedIn)
    return outcome


async def refused(what: Awaitable[Any]) -> str:
    """Which check said no, for the log; the person hears the same of each."""
    with pytest.raises(PasskeyRefused) as error:
        await what
    assert error.value.public == PasskeyRefused.public
    return error.value.detail.removeprefix("passkey: ")


async def problem(what: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(FormInvalid) as error:
        await what
    return error.value.fields[ANSWER], error.value.detail.removeprefix("passkey: ")


async def kinds(front: Front) -> list[str]:
    return [one.payload["letter"] for one in await letters(front)]


def kept(front: Front) -> Link:
    (link,) = passkeys_of(front.links)
    return link


# --- in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [-7, -8, -257])
async def test_who_lost_the_provider_gets_back_in(front: Front, algorithm: int) -> None:
    """As the same account, proved in this moment, by nobody's word but the key's (catalogue 118)."""
    key = SoftKey(algorithm=algorithm)
    session = await member(front, key)
    front.clock.move(timedelta(days=3))
    signed_in = await enter(front, key)
    found = signed_in.started.session
    assert (found.account, found.provider) == (session.account, BY_PASSKEY)
    assert (found.auth_time, found.amr, found.acr) == (front.clock.now(), ("hwk", "user"), None)
    assert kept(front).last_used_at == front.clock.now()


async def test_a_key_that_can_be_copied_is_said_to_be_one(front: Front) -> None:
    """And whether it is copied right now is kept up to date."""
    key = SoftKey(copies=True, counts=False)
    session = await member(front, key)
    assert (await enter(front, key, copied=False)).started.session.amr == ("swk", "user")
    passkey = kept(front).passkey
    assert passkey is not None
    assert (passkey.counter, passkey.can_be_copied, passkey.is_copied) == (0, True, False)
    assert session.account == kept(front).account


async def test_what_a_key_says_of_itself_is_written_when_it_is_news(front: Front) -> None:
    """A write at each sign-in would be waste."""
    key = SoftKey(counts=False)
    await member(front, key)
    begun = kept(front).last_used_at
    front.clock.move(timedelta(minutes=59))
    await enter(front, key)
    assert kept(front).last_used_at == begun
    front.clock.move(timedelta(minutes=2))
    await enter(front, key)
    assert kept(front).last_used_at == front.clock.now()


async def test_a_passkey_works_for_as_long_as_its_account_wants_it(front: Front) -> None:
    key = SoftKey()
    session = await member(front, key)
    await front.account.unlink(session, kept(front).id)
    assert await refused(enter(front, key)) == "unknown"
    assert await kinds(front) == [Letter.WAY_ADDED, Letter.WAY_REMOVED]
    assert {one.payload.get("provider") for one in await letters(front)} == {BY_PASSKEY}


async def test_the_last_way_in_stays(front: Front) -> None:
    """catalogue 124"""
    session = await member(front, SoftKey())
    await front.account.unlink(session, next(one.id for one in front.links if one.provider == FACEBOOK))
    with pytest.raises(LastLink):
        await front.account.unlink(session, kept(front).id)


async def test_a_closed_account_leaves_nothing_of_its_passkeys(front: Front) -> None:
    key = SoftKey()
    session = await member(front, key)
    await front.account.close(session)
    assert front.links == []
    assert await refused(enter(front, key)) == "unknown"


async def test_taking_a_changed_address_back_takes_the_passkey_of_whoever_changed_it(front: Front) -> None:
    """And leaves those that were there before (catalogue 116, 117)."""
    mine, theirs = SoftKey(), SoftKey()
    session = await member(front, mine)
    front.clock.move(timedelta(minutes=1))
    await front.account.change(session.account, EMAIL, "thief@mail.test")
    front.clock.move(timedelta(minutes=1))
    await add(front, session, theirs)
    changed = [one for one in await letters(front) if one.payload["letter"] == Letter.ADDRESS_CHANGED]
    await front.address.undo_change(changed[0].payload["token"])
    assert await refused(enter(front, theirs)) == "unknown"
    assert (await enter(front, mine)).started.session.account == session.account


# --- whose answer it is --------------------------------------------------------------------------------------------


async def test_an_answer_is_good_once(front: Front) -> None:
    """Caught on its way and brought again by another or the same browser."""
    key = SoftKey(counts=False)
    await member(front, key)
    asked = await ask(front)
    answer = key.use(front.passkeys.challenge(asked.transaction))
    await front.passkeys.enter(asked, answer, session=None, user_agent=AGENT)
    again = front.passkeys.enter(asked, answer, session=None, user_agent=AGENT)
    assert await refused(again) == "challenge used before"


async def test_of_two_at_once_with_one_answer_one_gets_in(front: Front) -> None:
    key = SoftKey(counts=False)
    await member(front, key)
    asked = await ask(front)
    answer = key.use(front.passkeys.challenge(asked.transaction))
    both = await asyncio.gather(
        *(front.passkeys.enter(asked, answer, session=None, user_agent=AGENT) for _ in range(2)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in both) == ["PasskeyRefused", "SignedIn"]


async def test_an_answer_is_for_the_sign_in_that_asked(front: Front) -> None:
    """Somebody else's browser has its own (catalogue 120)."""
    key = SoftKey()
    session = await member(front, key)
    theirs = front.passkeys.challenge((await ask(front)).transaction)
    none_of_ours = "challenge of another browser, or none of ours"
    assert await refused(enter(front, key, challenge=theirs)) == none_of_ours
    assert await refused(enter(front, key, challenge="made up")) == none_of_ours
    assert await refused(enter(front, key, challenge="\N{SNOWMAN}")) == none_of_ours
    adding = (await front.passkeys.begin(session)).challenge
    assert await refused(enter(front, key, challenge=adding)) == none_of_ours


async def test_a_page_waits_for_minutes_and_then_asks_anew(front: Front) -> None:
    key = SoftKey()
    await member(front, key)
    asked = await ask(front)
    challenge = front.passkeys.challenge(asked.transaction)
    front.clock.move(GOOD_FOR - timedelta(seconds=1))
    await enter(front, key, asked, challenge=challenge)
    late = front.passkeys.challenge(asked.transaction)
    front.clock.move(GOOD_FOR)
    assert (await problem(enter(front, key, asked, challenge=late)))[0] == "over"


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ({"origin": "https://login.test.evil.example"}, "origin"),
        ({"origin": "https://forum.test"}, "origin"),
        ({"host": "test"}, "party"),
        ({"host": "forum.test"}, "party"),
        ({"framed": True}, "framed"),
        ({"framed": "no"}, "framed"),
        ({"present": False}, "presence"),
        ({"verified": False}, "verification"),
        ({"copied": True}, "backup flags"),
        ({"copies": True}, "backup flags"),
        ({"said": {"type": "webauthn.create"}}, "kind"),
        ({"said": {"type": "payment.get"}}, "kind"),
        ({"owner": b"another"}, "owner"),
        ({"counter": 1}, "counter"),
        ({"counter": 0}, "counter"),
        ({"signature": b"forged"}, "signature"),
        ({"owner": b""}, "unreadable"),
        ({"owner": b"x" * 100}, "unreadable"),
        ({"said": {"challenge": 7}}, "unreadable"),
    ],
    ids=str,
)
async def test_whatever_is_wrong_with_it_nobody_gets_in(front: Front, wrong: dict[str, Any], check: str) -> None:
    """And the person hears the same of each; after it an honest answer still opens the account."""
    key = SoftKey()
    await member(front, key)
    assert await refused(enter(front, key, **wrong)) == check
    key.counter += 1
    assert (await enter(front, key)).started.session.account == kept(front).account


async def test_a_passkey_that_counts_less_than_before_is_told_to_its_owner(front: Front) -> None:
    """WebAuthn §6.1.1: there may be a copy. In a letter and in the audit trail, once a day, and by a good signature alone."""
    key, forger = SoftKey(), SoftKey()
    session = await member(front, key)
    front.durable.tables.deliveries.clear()
    forger.id, forger.owner = key.id, key.owner
    assert await refused(enter(front, forger, counter=0)) == "signature"
    assert await kinds(front) == []
    for _ in range(3):
        assert await refused(enter(front, key, counter=0)) == "counter"
    (letter,) = await letters(front)
    assert (letter.payload["letter"], letter.payload["passkey"]) == (Letter.PASSKEY_REFUSED, "My key")
    assert letter.payload["device"] == device_in_words(AGENT)
    noted = [entry async for entry in front.trail.entries()]
    assert [(one.by, one.action, one.subject) for one in noted] == [
        ("the server", Action.PASSKEY_REFUSED, f"{session.account} {kept(front).id}")
    ]
    front.clock.move(timedelta(days=1, seconds=1))
    assert await refused(enter(front, key, counter=0)) == "counter"
    assert len(await letters(front)) == 2


async def test_a_passkey_that_is_removed_in_that_moment_is_told_of_no_more(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SoftKey()
    session = await member(front, key)
    front.durable.tables.deliveries.clear()
    by_identity, seen = front.durable.accounts.by_identity, []

    async def gone_at_the_second_look(name: IdentityKey) -> Any:
        seen.append(name)
        return await by_identity(name) if len(seen) == 1 else None

    monkeypatch.setattr(front.durable.accounts, "by_identity", gone_at_the_second_look)
    assert await refused(enter(front, key, counter=0)) == "counter"
    assert (await kinds(front), session.account) == ([], kept(front).account)


async def test_a_signature_of_another_key_opens_nothing(front: Front) -> None:
    """The id of somebody's passkey is no secret."""
    key, forger = SoftKey(), SoftKey()
    await member(front, key)
    forger.id, forger.owner, forger.counter = key.id, key.owner, 50
    assert await refused(enter(front, forger)) == "signature"


async def test_an_answer_for_one_account_does_not_open_another(front: Front) -> None:
    """Bea's own good answer under the name of Ana's passkey, and with Ana's user handle."""
    hers, his = SoftKey(), SoftKey()
    await member(front, hers)
    await member(front, his, "bea")
    asked = await ask(front)
    answer = his.use(front.passkeys.challenge(asked.transaction)) | {"credential": hers.use("x")["credential"]}
    assert await refused(front.passkeys.enter(asked, answer, session=None, user_agent=AGENT)) == "signature"
    assert await refused(enter(front, his, owner=hers.owner)) == "owner"


async def test_an_unknown_passkey_makes_no_account(front: Front) -> None:
    stranger = SoftKey()
    assert await refused(enter(front, stranger, owner=b"o" * 32)) == "unknown"
    assert front.accounts == {}


async def test_another_kind_of_identity_is_no_passkey(front: Front) -> None:
    """Even if it were kept under the name of one."""
    key = SoftKey()
    await member(front, key)
    link = kept(front)
    front.durable.tables.links[link.id] = replace(link, passkey=None)
    assert await refused(enter(front, key)) == "unknown"


@pytest.mark.parametrize("status", [AccountStatus.HELD, AccountStatus.CLOSED])
async def test_an_account_on_hold_stays_so(front: Front, status: AccountStatus) -> None:
    key = SoftKey()
    session = await member(front, key)
    await front.save(replace(await front.account.load(session.account), status=status))
    with pytest.raises(AccountHeld):
        await enter(front, key)


class Removed:
    """A store in which the passkey is removed after it was found `times` times."""

    def __init__(self, front: Front, times: int) -> None:
        self.front, self.left = front, times
        self.accounts = self

    async def by_identity(self, key: Any) -> Any:
        found = await self.front.durable.accounts.by_identity(key)
        self.left -= 1
        if self.left == 0:
            link = kept(self.front)
            del self.front.durable.tables.links[link.id]
        return found

    def unit(self) -> Any:
        return self.front.durable.unit()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.front.durable.accounts, name)


@pytest.mark.parametrize("counts", [True, False])
async def test_a_passkey_that_is_removed_in_this_very_moment_lets_nobody_in(front: Front, counts: bool) -> None:
    """Between the look and the write, and between that and the session (catalogue 110)."""
    key = SoftKey(counts=counts)
    session = await member(front, key)
    store: Any = Removed(front, 1)
    front.passkeys = replace(front.passkeys, durable=store, sign_in=replace(front.sign_in, durable=store))
    assert await refused(enter(front, key)) == ("unknown" if counts else "removed meanwhile")
    live = await front.memory.sessions.of_account(session.account, front.clock.now())
    assert [one.sid for one in live] == [session.sid]


class Raced:
    """A store in which two look at a passkey before either writes what it said."""

    def __init__(self, front: Front) -> None:
        self.front, self.both, self.looks = front, asyncio.Event(), 0
        self.accounts = self

    async def by_identity(self, key: Any) -> Any:
        found = await self.front.durable.accounts.by_identity(key)
        self.looks += 1
        if self.looks == 2:
            self.both.set()
        await self.both.wait()
        return found

    def unit(self) -> Any:
        return self.front.durable.unit()


@pytest.mark.parametrize(("counters", "entered"), [((7, 7), 1), ((8, 7), 2)])
async def test_of_two_uses_at_once_the_later_is_judged_by_the_earlier(
    front: Front, counters: tuple[int, int], entered: int
) -> None:
    """A copy of the key that is used in the very moment of the key itself is found out (WebAuthn §7.2 step 22)."""
    key = SoftKey()
    await member(front, key)
    store: Any = Raced(front)
    front.passkeys = replace(front.passkeys, durable=store)
    both = await asyncio.gather(*(enter(front, key, counter=one) for one in counters), return_exceptions=True)
    assert [type(one).__name__ for one in both].count("SignedIn") == entered
    assert [one.detail for one in both if isinstance(one, PasskeyRefused)] == ["passkey: counter"] * (2 - entered)
    passkey = kept(front).passkey
    assert passkey is not None
    assert passkey.counter == max(counters)


# --- a fresh sign-in -------------------------------------------------------------------------------------------


async def test_it_makes_a_sign_in_fresh(front: Front) -> None:
    """The session is the same (decision 26)."""
    key = SoftKey()
    session = await member(front, key)
    front.clock.move(timedelta(minutes=30))
    outcome = await enter(front, key, await ask(front, TransactionPurpose.FRESHEN, session), session)
    assert outcome.is_renewed
    found = outcome.started.session
    assert (found.sid, found.auth_time, found.amr) == (session.sid, front.clock.now(), ("hwk", "user"))


async def test_somebody_elses_passkey_makes_no_sign_in_fresh(front: Front) -> None:
    key, other = SoftKey(), SoftKey()
    session = await member(front, key)
    await member(front, other, "bea")
    with pytest.raises(IdentityTaken):
        await enter(front, other, await ask(front, TransactionPurpose.FRESHEN, session), session)


async def test_a_site_that_wants_a_new_sign_in_gets_one(front: Front) -> None:
    """`max_age` is met by the time of the answer, whatever the session was."""
    key = SoftKey()
    session = stale(await member(front, key), timedelta(hours=3))
    outcome = await enter(front, key, await ask(front, request=request(max_age=60)), session)
    assert outcome.started.session.auth_time == front.clock.now()


# --- adding one ------------------------------------------------------------------------------------------------


async def test_a_passkey_is_kept_under_its_name_and_told(front: Front) -> None:
    """What we keep of it opens nothing; the same user handle stands for all of an account's (WebAuthn §5.4.3)."""
    first, second = SoftKey(), SoftKey()
    session = (await front.person("ana")).started.session
    making = await front.passkeys.begin(session)
    assert (making.others, making.is_full) == ((), False)
    link = await add(front, session, first, making, name="  My\n phone ")
    assert (link.hint, link.provider, link.account) == ("My phone", BY_PASSKEY, session.account)
    assert await kinds(front) == [Letter.WAY_ADDED]
    again = await front.passkeys.begin(session)
    assert (again.owner, again.others) == (making.owner, (link.key.subject,))
    assert (await add(front, session, second, again, name="")).hint == "Firefox on Linux"
    assert len((await add(front, session, SoftKey(), name="x" * 90)).hint or "") == 60


async def test_sites_hear_that_a_way_in_was_added(front: Front) -> None:
    """Those that asked to (CAEP credential-change): of which kind (§3.3.1), and not which one."""
    told: list[tuple[Any, ...]] = []

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return getattr(front.sessions, name)

        async def tell_of_ways(self, _unit: Any, account: Any, change: str, *ways: Link) -> None:
            told.append((account, change, *map(credential_type, ways)))

    listening: Any = Listening()
    session = (await front.person("ana")).started.session
    front.passkeys = replace(front.passkeys, sign_in=replace(front.sign_in, sessions=listening))
    for attachment, kind in (("platform", "fido2-platform"), ("cross-platform", "fido2-roaming")):
        making = await front.passkeys.begin(session)
        answer = SoftKey().make(making.challenge, making.owner) | {"attachment": attachment}
        await front.passkeys.add(session, answer, name="", user_agent=AGENT, locale="en")
        assert told.pop() == (session.account, "create", kind)


async def test_it_takes_a_fresh_sign_in(front: Front) -> None:
    session = (await front.person("ana")).started.session
    with pytest.raises(FreshSignInRequired):
        await front.passkeys.begin(stale(session, FRESH + timedelta(seconds=1)))


async def test_a_passkey_is_for_the_session_that_began_it_in_time_and_once(front: Front) -> None:
    """Nobody plants theirs in another's account (catalogue 122)."""
    ana = (await front.person("ana")).started.session
    bea = (await front.person("bea")).started.session
    making = await front.passkeys.begin(ana)
    code, check = await problem(add(front, bea, SoftKey(), making))
    assert (code, check) == ("refused", "challenge of another browser, or none of ours")
    chosen = front.passkeys.challenge((await ask(front)).transaction)
    assert (await problem(add(front, ana, SoftKey(), replace(making, challenge=chosen))))[0] == "refused"
    await add(front, ana, SoftKey(), making)
    assert await problem(add(front, ana, SoftKey(), making)) == ("refused", "challenge used before")
    late = await front.passkeys.begin(ana)
    front.clock.move(GOOD_FOR)
    assert (await problem(add(front, ana, SoftKey(), late)))[0] == "over"
    assert len(passkeys_of(front.links)) == 1


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ({"origin": "https://evil.test"}, "origin"),
        ({"host": "evil.test"}, "party"),
        ({"framed": True}, "framed"),
        ({"present": False}, "presence"),
        ({"verified": False}, "verification"),
        ({"copied": True}, "backup flags"),
        ({"said": {"type": "webauthn.get"}}, "kind"),
        ({"id": b"another id"}, "unreadable"),
        ({"said": {"origin": None}}, "unreadable"),
        ({"said": {"topOrigin": "https://evil.test"}}, "framed"),
    ],
    ids=str,
)
async def test_what_is_not_made_on_our_page_is_not_kept(front: Front, wrong: dict[str, Any], check: str) -> None:
    session = (await front.person("ana")).started.session
    assert await problem(add(front, session, SoftKey(), **wrong)) == ("refused", check)
    assert passkeys_of(front.links) == ()


async def test_a_passkey_belongs_to_one_account(front: Front) -> None:
    """One whose id is known already, whosever it is (WebAuthn §7.1 step 26)."""
    key = SoftKey()
    await member(front, key)
    bea = (await front.person("bea")).started.session
    assert (await problem(add(front, bea, key)))[0] == "there"


async def test_there_is_an_end_of_passkeys(front: Front) -> None:
    session = (await front.person("ana")).started.session
    for _ in range(AT_MOST):
        making = await front.passkeys.begin(session)
        assert not making.is_full
        await add(front, session, SoftKey(), making)
    full = await front.passkeys.begin(session)
    assert full.is_full
    assert (await problem(add(front, session, SoftKey(), full)))[0] == "too_many"


async def test_two_added_at_once_are_counted_both(front: Front) -> None:
    session = (await front.person("ana")).started.session
    for _ in range(AT_MOST - 1):
        await add(front, session, SoftKey())
    making = [await front.passkeys.begin(session) for _ in range(2)]
    both = await asyncio.gather(*(add(front, session, SoftKey(), one) for one in making), return_exceptions=True)
    assert sorted(type(one).__name__ for one in both) == ["FormInvalid", "Link"]


async def test_an_account_that_is_gone_gets_none(front: Front) -> None:
    session = (await front.person("ana")).started.session
    making = await front.passkeys.begin(session)
    await front.account.close(session)
    with pytest.raises(SignInRequired):
        await add(front, session, SoftKey(), making)


async def test_a_session_that_is_ended_meanwhile_adds_nothing(front: Front) -> None:
    """Whoever signed it out from elsewhere wanted it out."""
    session = (await front.person("ana")).started.session
    making = await front.passkeys.begin(session)
    await front.sessions.sign_out(session)
    with pytest.raises(SignInRequired):
        await add(front, session, SoftKey(), making)
    assert passkeys_of(front.links) == ()


async def test_a_store_that_says_no_is_not_talked_over(front: Front) -> None:
    session = (await front.person("ana")).started.session

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(front.durable, name)

        def unit(self) -> Any:
            unit = front.durable.unit()

            async def commit() -> None:
                raise Conflict("account")

            unit.commit = commit  # type: ignore[method-assign]
            return unit

    store: Any = Full()
    front.passkeys = replace(front.passkeys, durable=store)
    with pytest.raises(Conflict, match="account"):
        await add(front, session, SoftKey())


async def test_where_they_are_off_nothing_of_them_works(front: Front) -> None:
    """Also for who had one before."""
    key = SoftKey()
    session = await member(front, key)
    making, asked = await front.passkeys.begin(session), await ask(front)
    front.passkeys = replace(front.passkeys, is_on=False)
    with pytest.raises(ProviderOff):
        await front.passkeys.begin(session)
    with pytest.raises(ProviderOff):
        await add(front, session, SoftKey(), making)
    with pytest.raises(ProviderOff):
        await enter(front, key, asked)
