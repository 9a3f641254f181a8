"""A provider says that somebody left: what ends at once, what waits for people, and that saying it again does nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from tests.flows.front import FACEBOOK, OPENID, Front, identity
from tests.flows.op import FORUM
from tests.support import builders

from broker.domain.account import ProfileValue
from broker.domain.audit import Act, Action
from broker.domain.claims import EMAIL
from broker.domain.consent import Purpose
from broker.domain.letters import Letter
from broker.domain.merging import Choice, Side
from broker.domain.posting import PostState, counterparty
from broker.domain.provider import UpstreamTokens
from broker.domain.removal import NOBODY, Removal, RemovalKind, RemovalState, Removed
from broker.domain.session import Session
from broker.domain.transaction import TransactionPurpose
from broker.errors import FormInvalid, NotFound
from broker.flows.sign_in import OtherShown

DELETION, APP_REMOVED = RemovalKind.DELETION, RemovalKind.APP_REMOVED
BOTH = pytest.mark.parametrize("kind", [DELETION, APP_REMOVED])
HOUR = timedelta(hours=1)


@pytest.fixture
def front() -> Front:
    return Front()


def act(why: str) -> Act:
    return Act(by="deploy", why=why)


def said(front: Front, name: str = "ana", at: datetime | None = None) -> Removed:
    return Removed(key=identity(name).key, at=at or front.clock.now())


async def sign_up(front: Front, name: str = "ana") -> Session:
    session = (await front.person(name)).started.session
    front.clock.move(HOUR)
    return session


async def add_way(front: Front, session: Session) -> None:
    front.openid.people["ana"] = identity("ana", provider=OPENID)
    fresh = replace(session, auth_time=front.clock.now())
    await front.back(await front.leave(OPENID, TransactionPurpose.LINK, fresh), "ana", session=fresh)


async def merge_ben_into(front: Front, mine: Session) -> None:
    outcome = await front.back(await front.leave(OPENID, TransactionPurpose.MERGE, mine), "ben", session=mine)
    assert isinstance(outcome, OtherShown)
    both = await front.merging.look(outcome.carried.transaction, mine)
    chosen = Choice(stays=Side.THIS, fields={}, ways=frozenset(), seen=both.seen)
    await front.merging.merge(outcome.carried.transaction, mine, chosen, user_agent="", locale="en")


async def test_what_is_asked_for_in_the_moment_of_a_merge_reaches_the_account_that_lives_on(front: Front) -> None:
    """catalogue 110: the account was there when it was looked for, and had become the other one when it was written."""
    await sign_up(front)
    bens = (await front.person("ben", OPENID)).started.session
    fresh = replace(bens, auth_time=front.clock.now())
    await front.back(await front.leave(FACEBOOK, TransactionPurpose.LINK, fresh), "ben", session=fresh)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front, "ben"))
    mine, real, merged = await sign_in(front), front.durable, list[bool]()

    class Late:
        """Another is merged before this one is committed."""

        def __init__(self, unit: Any) -> None:
            self.unit = unit

        def __getattr__(self, name: str) -> Any:
            return getattr(self.unit, name)

        async def commit(self) -> None:
            if not merged:
                merged.append(True)
                await merge_ben_into(front, mine)
            await self.unit.commit()

    class Durable:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def unit(self) -> Late:
            return Late(real.unit())

    front.clock.move(timedelta(minutes=1))
    late = replace(front.removals, durable=cast("Any", Durable()))
    code = await late.take(FACEBOOK, DELETION, said(front, "ben"))
    assert merged
    assert front.durable.tables.removals[code].account == mine.account
    assert (await front.removals.look_up(code)).state is RemovalState.WAITING


async def test_what_is_asked_for_by_a_way_that_was_taken_away_reaches_the_account_it_was_merged_into(
    front: Front,
) -> None:
    """catalogue 110: Facebook says first that somebody took us out. What they ask for afterwards is meant for what is theirs."""
    mine, bens = await sign_up(front), (await front.person("ben", OPENID)).started.session
    fresh = replace(bens, auth_time=front.clock.now())
    await front.back(await front.leave(FACEBOOK, TransactionPurpose.LINK, fresh), "ben", session=fresh)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front, "ben"))
    assert [link.provider for link in front.links if link.account == bens.account] == [OPENID]
    mine = await sign_in(front)
    await merge_ben_into(front, mine)
    front.clock.move(HOUR)
    code = await front.removals.take(FACEBOOK, DELETION, said(front, "ben"))
    assert (await front.removals.look_up(code)).state is RemovalState.WAITING
    (waiting,) = await front.removals.waiting()
    assert waiting.account is not None
    assert waiting.account.id == mine.account
    assert waiting.ways == len(front.links) > 0, "and its own ways stand"


async def sign_in(front: Front, name: str = "ana") -> Session:
    return (await front.back(await front.leave(), name)).started.session  # type: ignore[union-attr]


async def live(front: Front, session: Session) -> set[str]:
    found = await front.memory.sessions.of_account(session.account, front.clock.now())
    return {one.sid for one in found}


async def prove_address(front: Front, session: Session) -> None:
    account = await front.account.load(session.account)
    held = ProfileValue(value="ana@mail.test", source="person", verified=True)
    await front.save(replace(account, profile={**account.profile, EMAIL: held}))


async def letters(front: Front) -> list[tuple[str, dict[str, str]]]:
    found = [one for letter in Letter for one in await front.durable.outbox.pending("letter", letter)]
    return [(one.payload["letter"], dict(one.payload)) for one in found]


async def allow_posting(front: Front, session: Session) -> None:
    """An opt-in through Facebook, with what Facebook gave for it."""
    unit = front.durable.unit()
    unit.append_receipt(replace(builders.posting_receipt(session.account), withdraws=None))
    unit.save_upstream_tokens(session.account, FACEBOOK, UpstreamTokens(access_token="of-facebook"))
    await unit.commit()


async def may_post(front: Front, session: Session) -> bool:
    receipts = await front.durable.ledger.receipts(
        session.account, Purpose.POST_UPSTREAM, counterparty(FACEBOOK, FORUM)
    )
    return not any(receipt.withdraws for receipt in receipts)


@BOTH
async def test_what_hung_on_the_way_ends_and_the_way_with_it(front: Front, kind: RemovalKind) -> None:
    """Posting, what the provider gave us, its sessions and what sites got from them; others go on (catalogue 110, 194)."""
    mine = await sign_up(front)
    await add_way(front, mine)
    other = (await front.back(await front.leave(OPENID), "ana")).started.session  # type: ignore[union-attr]
    grant, others = await front.grant(mine), await front.grant(other)
    await allow_posting(front, mine)
    waiting = await front.posting(mine, provider=FACEBOOK)
    await front.removals.take(FACEBOOK, kind, said(front))
    assert await live(front, mine) == {other.sid}
    assert [link.provider for link in front.links] == [OPENID]
    assert (await front.is_standing(grant), await front.is_standing(others)) == (False, True)
    assert front.told() == [(FORUM, mine.sid)]
    assert front.durable.tables.upstream_tokens == {}
    assert front.durable.tables.postings[waiting.id].state is PostState.CANCELLED
    assert not await may_post(front, mine)
    assert mine.account in front.accounts
    assert front.facebook.revoked == []
    assert await front.going_back() == [], "it ended over there"


@BOTH
async def test_the_only_way_stays_for_whoever_comes_back(front: Front, kind: RemovalKind) -> None:
    """An account that nobody can open would be as good as deleted (catalogue 124)."""
    session = await sign_up(front)
    await front.removals.take(FACEBOOK, kind, said(front))
    assert await live(front, session) == set()
    front.clock.move(HOUR)
    assert (await sign_in(front)).account == session.account


async def test_no_account_is_erased_by_a_providers_word(front: Front) -> None:
    """It waits until somebody has looked at it (catalogue 130)."""
    session = await sign_up(front)
    at = front.clock.now()
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    assert session.account in front.accounts
    found = await front.removals.look_up(code)
    assert (found.state, found.account, found.provider, found.asked_at) == (
        RemovalState.WAITING, session.account, FACEBOOK, at,
    )  # fmt: skip
    assert [one.removal for one in await front.removals.waiting()] == [found]


async def test_taking_us_out_asks_for_no_erasure(front: Front) -> None:
    await sign_up(front)
    code = await front.removals.take(FACEBOOK, APP_REMOVED, said(front))
    assert await front.removals.waiting() == ()
    with pytest.raises(NotFound):
        await front.removals.look_up(code)


@BOTH
async def test_the_same_word_again_changes_nothing(front: Front, kind: RemovalKind) -> None:
    """Whoever recorded it can end nothing that came after it: session, posting, a way added again (catalogue 50)."""
    session = await sign_up(front)
    await add_way(front, session)
    word = said(front)
    code = await front.removals.take(FACEBOOK, kind, word)
    front.clock.move(timedelta(seconds=5))
    other = (await front.back(await front.leave(OPENID), "ana")).started.session  # type: ignore[union-attr]
    fresh = replace(other, auth_time=front.clock.now())
    await front.back(await front.leave(FACEBOOK, TransactionPurpose.LINK, fresh), "ana", session=fresh)
    again = await sign_in(front)
    await allow_posting(front, again)
    before = (front.links, front.durable.tables.upstream_tokens.copy(), await letters(front))
    assert await front.removals.take(FACEBOOK, kind, word) == code
    assert (front.links, front.durable.tables.upstream_tokens, await letters(front)) == before
    assert await live(front, session) == {other.sid, again.sid}
    assert await may_post(front, again)


async def test_an_older_word_than_the_last_changes_nothing(front: Front) -> None:
    await sign_up(front)
    now = front.clock.now()
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    await front.removals.dismiss(code, act("The person wrote to us."))
    assert await front.removals.take(FACEBOOK, DELETION, said(front, at=now - HOUR / 2)) == code
    assert (await front.removals.look_up(code)).state is RemovalState.KEPT


async def test_what_was_cut_short_is_finished_by_the_next_try(front: Front) -> None:
    """Kept, and then the sessions could not be ended: the same word ends them."""
    session = await sign_up(front)
    word = said(front)
    real = front.sessions

    class Broken:
        sessions = real.sessions

        async def sign_out(self, *_: Any, **__: Any) -> None:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await replace(front.removals, sessions=cast("Any", Broken())).take(FACEBOOK, DELETION, word)
    assert await live(front, session) == {session.sid}
    await front.removals.take(FACEBOOK, DELETION, word)
    assert await live(front, session) == set()


async def test_a_way_that_came_after_the_word_is_not_meant(front: Front) -> None:
    """A letter that was long on its way: who signed up since did not ask for it."""
    session = await sign_up(front)
    code = await front.removals.take(FACEBOOK, DELETION, said(front, at=front.clock.now() - 2 * HOUR))
    assert await live(front, session) == {session.sid}
    found = await front.removals.look_up(code)
    assert (found.state, found.account) == (RemovalState.ERASED, NOBODY)


async def test_of_somebody_unknown_only_the_code_is_kept(front: Front) -> None:
    code = await front.removals.take(FACEBOOK, DELETION, said(front, "nobody"))
    found = await front.removals.look_up(code)
    assert (found.state, found.account) == (RemovalState.ERASED, NOBODY)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front, "nobody"))
    assert len(front.durable.tables.removals) == 1
    assert await letters(front) == []


async def test_a_later_request_waits_anew_whatever_was_decided_before(front: Front) -> None:
    session = await sign_up(front)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    await front.removals.dismiss(code, act("They came back."))
    front.clock.move(HOUR)
    assert await front.removals.take(FACEBOOK, DELETION, said(front)) == code
    assert (await front.removals.look_up(code)).state is RemovalState.WAITING
    assert session.account in front.accounts


@pytest.mark.parametrize("first", [DELETION, APP_REMOVED])
async def test_a_deletion_is_meant_for_the_account_whose_way_went_before(front: Front, first: RemovalKind) -> None:
    """Facebook says first that somebody took us out, or asks twice: the request waits all the same (catalogue 124, 130)."""
    session = await sign_up(front)
    await prove_address(front, session)
    await add_way(front, session)
    await front.removals.take(FACEBOOK, first, said(front))
    assert [link.provider for link in front.links] == [OPENID]
    front.clock.move(HOUR)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    found = await front.removals.look_up(code)
    assert (found.state, found.account, found.asked_at) == (RemovalState.WAITING, session.account, front.clock.now())
    assert [one.removal for one in await front.removals.waiting()] == [found]
    assert session.account in front.accounts
    assert [letter for letter, _ in await letters(front)].count(Letter.DELETION_ASKED) == 1
    await front.removals.approve(code, act("Asked for."))
    assert session.account not in front.accounts


async def test_a_deletion_that_was_refused_is_asked_anew_for_the_same_account(front: Front) -> None:
    """And the person is told anew, though the way is gone."""
    session = await sign_up(front)
    await prove_address(front, session)
    await add_way(front, session)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    await front.removals.dismiss(code, act("They came back."))
    front.clock.move(HOUR)
    await front.removals.take(FACEBOOK, DELETION, said(front))
    found = await front.removals.look_up(code)
    assert (found.state, found.account) == (RemovalState.WAITING, session.account)
    assert [letter for letter, _ in await letters(front)].count(Letter.DELETION_ASKED) == 2


async def test_taken_out_twice_is_told_once(front: Front) -> None:
    session = await sign_up(front)
    await prove_address(front, session)
    await add_way(front, session)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front))
    before = await letters(front)
    front.clock.move(HOUR)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front))
    assert await letters(front) == before


async def test_whose_way_went_and_who_closed_since_left_nothing_to_delete(front: Front) -> None:
    session = await sign_up(front)
    await add_way(front, session)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front))
    await front.account.close(replace(session, auth_time=front.clock.now()))
    front.clock.move(HOUR)
    found = await front.removals.look_up(await front.removals.take(FACEBOOK, DELETION, said(front)))
    assert (found.state, found.account) == (RemovalState.ERASED, NOBODY)


async def test_what_was_cut_short_after_the_way_went_is_finished_by_the_next_try(front: Front) -> None:
    """The way is gone already, and the sessions that began with it are ended all the same (catalogue 110)."""
    session = await sign_up(front)
    await add_way(front, session)
    word, real = said(front), front.sessions

    class Broken:
        sessions = real.sessions
        tell_of_ways = real.tell_of_ways

        async def sign_out(self, *_: Any, **__: Any) -> None:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await replace(front.removals, sessions=cast("Any", Broken())).take(FACEBOOK, DELETION, word)
    assert [link.provider for link in front.links] == [OPENID]
    assert await live(front, session) == {session.sid}
    await front.removals.take(FACEBOOK, DELETION, word)
    assert await live(front, session) == set()


# --- letters ------------------------------------------------------------------------------------------


async def test_the_person_is_told_where_an_address_is_proved_and_once(front: Front) -> None:
    session = await sign_up(front)
    await prove_address(front, session)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    [(letter, payload)] = await letters(front)
    assert letter == Letter.DELETION_ASKED
    assert (payload["to"], payload["provider"], payload["token"]) == ("ana@mail.test", FACEBOOK, code)
    front.clock.move(HOUR)
    await front.removals.take(FACEBOOK, DELETION, said(front))
    assert len(await letters(front)) == 1


async def test_an_address_that_nobody_proved_is_told_nothing(front: Front) -> None:
    session = await sign_up(front)
    await add_way(front, session)
    account = await front.account.load(session.account)
    unproved = replace(account.profile[EMAIL], verified=False)
    await front.save(replace(account, profile={**account.profile, EMAIL: unproved}))
    before = await letters(front)
    for kind in (APP_REMOVED, DELETION):
        await front.removals.take(FACEBOOK, kind, said(front))
    assert await letters(front) == before


async def test_who_took_us_out_reads_what_is_left(front: Front) -> None:
    """Another way: as when it was removed here. The only one: how to come back, or to close the account."""
    session = await sign_up(front)
    await prove_address(front, session)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front))
    assert [letter for letter, _ in await letters(front)] == [Letter.LEFT_THERE]
    front.clock.move(HOUR)
    await add_way(front, await sign_in(front))
    front.clock.move(HOUR)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front))
    told = [letter for letter, _ in await letters(front)]
    assert sorted(told) == sorted([Letter.LEFT_THERE, Letter.WAY_ADDED, Letter.WAY_REMOVED])


# --- looking at it ------------------------------------------------------------------------------------


async def test_approved_the_account_is_erased_as_by_its_owner(front: Front) -> None:
    """Sites are told, the person reads it, and the page says so (catalogue 130)."""
    session = await sign_up(front)
    await prove_address(front, session)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    front.clock.move(HOUR)
    back = await sign_in(front)
    grant = await front.grant(back)
    [waiting] = await front.removals.waiting()
    assert (waiting.ways, waiting.came_back) == (1, True)
    assert waiting.account is not None
    decided = await front.removals.approve(code, act("Asked for."))
    last = await front.durable.audit.last()
    assert last is not None
    assert (last.action, last.subject) == (Action.DELETION_APPROVED, f"{session.account} facebook")
    assert (decided.state, decided.decided_at) == (RemovalState.ERASED, front.clock.now())
    assert front.accounts == {}
    assert front.links == []
    assert await live(front, back) == set()
    assert not await front.is_standing(grant)
    assert (FORUM, back.sid) in front.told()
    assert await front.removals.look_up(code) == decided
    assert [letter for letter, _ in await letters(front)] == [Letter.DELETION_ASKED, Letter.DELETION_DONE]
    with pytest.raises(NotFound):
        await front.removals.approve(code, act("Asked for."))


async def test_dismissed_the_account_stays_and_the_person_reads_why(front: Front) -> None:
    session = await sign_up(front)
    await prove_address(front, session)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    [waiting] = await front.removals.waiting()
    assert not waiting.came_back
    for nothing in ("", " \n "):
        with pytest.raises(FormInvalid):
            await front.removals.dismiss(code, act(nothing))
    await front.removals.dismiss(code, act("You wrote\nthat you want to stay."))
    found = await front.removals.look_up(code)
    last = await front.durable.audit.last()
    assert last is not None
    assert (last.action, last.why) == (Action.DELETION_DISMISSED, "You wrote that you want to stay.")
    assert (found.state, found.reason) == (RemovalState.KEPT, "You wrote that you want to stay.")
    assert session.account in front.accounts
    assert [letter for letter, _ in await letters(front)] == [Letter.DELETION_ASKED, Letter.DELETION_REFUSED]
    with pytest.raises(NotFound):
        await front.removals.dismiss(code, act("Again."))


async def test_what_its_owner_closed_meanwhile_is_deleted_as_asked(front: Front) -> None:
    session = await sign_up(front)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    await front.account.close(replace(session, auth_time=front.clock.now()))
    found = await front.removals.look_up(code)
    assert (found.state, found.decided_at) == (RemovalState.ERASED, None)
    [waiting] = await front.removals.waiting()
    assert (waiting.account, waiting.ways, waiting.came_back) == (None, 0, False)
    assert (await front.removals.approve(code, act("Asked for."))).state is RemovalState.ERASED
    assert await front.removals.waiting() == ()


async def test_nobody_decides_what_is_not_there(front: Front) -> None:
    for look in (
        front.removals.approve("none", act("Asked for.")),
        front.removals.dismiss("none", act("why")),
        front.removals.look_up("none"),
    ):
        with pytest.raises(NotFound):
            await look


# --- at the same moment -------------------------------------------------------------------------------


async def test_said_twice_at_once_it_is_one_request(front: Front) -> None:
    session = await sign_up(front)
    await prove_address(front, session)
    word = said(front)
    codes = await asyncio.gather(*(front.removals.take(FACEBOOK, DELETION, word) for _ in range(3)))
    assert len(set(codes)) == 1
    assert len(await front.removals.waiting()) == 1
    assert len(await letters(front)) == 1


async def test_of_two_who_decide_at_once_one_does(front: Front) -> None:
    await sign_up(front)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    seen = await front.durable.removals.load(code)
    await front.removals.approve(code, act("Asked for."))

    class Behind:
        async def load(self, _code: str) -> Removal | None:
            return seen

    class Store:
        accounts = front.durable.accounts
        removals = Behind()
        unit = staticmethod(front.durable.unit)

    with pytest.raises(NotFound):
        await replace(front.removals, durable=cast("Any", Store())).dismiss(code, act("Too late."))
    assert (await front.removals.look_up(code)).state is RemovalState.ERASED


async def test_a_decision_is_made_over_when_another_entry_was_written_meanwhile(front: Front) -> None:
    await sign_up(front)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    real, first = front.trail, iter([True])

    class Overtaken:
        async def prepared(self, action: Action, subject: str, act: Act) -> object:
            noted = await real.prepared(action, subject, act)
            if next(first, False):
                unit = front.durable.unit()
                await real.noted(unit, Action.ROLE_GIVEN, "ana owner", act)
                await unit.commit()
            return noted

    await replace(front.removals, trail=cast("Any", Overtaken())).dismiss(code, act("They stay."))
    assert (await front.removals.look_up(code)).state is RemovalState.KEPT
    assert [entry.action async for entry in real.entries()] == [Action.ROLE_GIVEN, Action.DELETION_DISMISSED]


async def test_a_way_that_goes_at_the_same_moment_is_looked_at_anew(front: Front) -> None:
    """The store has the last word on the last way (catalogue 124)."""
    session = await sign_up(front)
    await add_way(front, session)
    both = await front.durable.accounts.links(session.account)
    others = next(link for link in both if link.provider == OPENID)
    unit = front.durable.unit()
    unit.remove_link(session.account, others.id)
    await unit.commit()
    real = front.durable.accounts
    seen = [both]

    class Once:
        load, by_identity = staticmethod(real.load), staticmethod(real.by_identity)

        async def links(self, account: Any) -> Any:
            return seen.pop() if seen else await real.links(account)

    class Store:
        accounts = Once()
        unit = staticmethod(front.durable.unit)
        removals = front.durable.removals

    await replace(front.removals, durable=cast("Any", Store())).take(FACEBOOK, APP_REMOVED, said(front))
    assert seen == []
    assert [link.provider for link in front.links] == [FACEBOOK]


async def test_who_signed_up_after_the_word_is_not_meant_by_it(front: Front) -> None:
    """What was left behind is looked for among accounts that were there when it was said."""
    mine = await sign_up(front)
    await add_way(front, mine)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front))
    account = await front.account.load(mine.account)
    front.clock.move(HOUR)
    await front.save(replace(account, created_at=front.clock.now() + HOUR))
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    assert (await front.removals.look_up(code)).account == NOBODY


async def test_a_request_about_an_account_that_is_gone_is_about_nobody(front: Front) -> None:
    mine = await sign_up(front)
    await add_way(front, mine)
    await front.removals.take(FACEBOOK, APP_REMOVED, said(front))
    await front.account.close(replace(mine, auth_time=front.clock.now()))
    front.clock.move(HOUR)
    code = await front.removals.take(FACEBOOK, DELETION, said(front))
    removal = await front.removals.look_up(code)
    assert (removal.state, removal.account) == (RemovalState.ERASED, NOBODY)
