"""What a network gave us for posting is taken back there as soon as nobody holds it here any more, and never what is held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.test_posting import FACEBOOK, MASTODON, TOKEN, Person, Room, connect
from tests.flows.test_renewing import HOUR, held, is_claimed, opted_in
from tests.support.builders import FORUM, WIKI

from broker.domain.account import Account
from broker.domain.posting import PostState, permit_to_take_back
from broker.domain.provider import UpstreamTokens
from broker.domain.taking_back import TAKE_BACK
from broker.domain.values import AccountId, ClientId
from broker.errors import (
    Conflict,
    FreshSignInRequired,
    LastLink,
    PostingNotPermitted,
    SignInRequired,
    StoreUnavailable,
    UpstreamUnavailable,
    WayMissing,
)
from broker.flows.renewing import GIVEN_UP, LOOKS, STOPPED_FOR, Renewing

FIRST = replace(TOKEN, refresh_token="refresh-0")
SECOND = replace(TOKEN, access_token="second", refresh_token="refresh-second")


@pytest.fixture
def room() -> Room:
    return Room()


async def allow(room: Room, ana: Person, tokens: UpstreamTokens, client: ClientId = FORUM) -> None:
    now = room.clock.now()
    await room.gate.allow(
        room.fresh(ana), MASTODON, client, tokens=tokens, pressed_at=now, transaction="t", locale="en"
    )


class Failing:
    """A store whose next commit fails that does `at`."""

    def __init__(self, room: Room, problem: BaseException, *, at: str) -> None:
        self.real, self.at = room.durable.unit, at
        self.problem: BaseException | None = problem

    def __call__(self) -> Any:
        unit = self.real()
        step, commit = getattr(unit, self.at), unit.commit
        is_it: list[bool] = []

        def noted(*args: object, **more: object) -> None:
            is_it.append(True)
            step(*args, **more)

        async def fails() -> None:
            if not is_it or self.problem is None:
                await commit()
                return
            problem, self.problem = self.problem, None
            raise problem

        setattr(unit, self.at, noted)
        unit.commit = fails
        return unit


# --- a second opt-in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [FORUM, WIKI])
async def test_what_a_second_opt_in_replaces_is_taken_back(room: Room, client: ClientId) -> None:
    ana = await room.person()
    await allow(room, ana, FIRST)
    await allow(room, ana, SECOND, client)
    assert await held(room, ana) == SECOND
    assert room.revoked == [(MASTODON, "token-to-post")]
    assert not await is_claimed(room, ana)
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.POSTED
    assert [one.token for one in room.mastodon.sent] == ["second"]


@pytest.mark.parametrize(
    "again",
    [FIRST, replace(FIRST, access_token="second"), replace(SECOND, access_token=FIRST.access_token)],
    ids=["the same", "the same grant", "the same access token"],
)
async def test_a_network_that_gives_the_same_again_loses_nothing(room: Room, again: UpstreamTokens) -> None:
    """Taking back the first would end the second."""
    ana = await room.person()
    await allow(room, ana, FIRST)
    await allow(room, ana, again)
    assert await held(room, ana) == again
    assert room.revoked == []


async def test_what_is_kept_is_not_taken_back_because_it_came_once_more_for_nothing(room: Room) -> None:
    """A second opt-in that is refused takes back what it brought, unless it brought what is kept (catalogue 189)."""
    ana = await room.person()
    await allow(room, ana, FIRST)
    stale = replace(ana.session, auth_time=room.clock.now() - HOUR)
    for tokens, taken in ((FIRST, []), (SECOND, [(MASTODON, "second")])):
        with pytest.raises(FreshSignInRequired):
            await room.gate.allow(
                stale, MASTODON, WIKI, tokens=tokens, pressed_at=room.clock.now(), transaction="t", locale="en"
            )
        assert await held(room, ana) == FIRST
        assert room.revoked == taken


@pytest.mark.parametrize("is_first", [True, False])
async def test_of_opt_ins_at_once_one_is_kept_and_all_others_are_taken_back(room: Room, *, is_first: bool) -> None:
    ana = await room.person()
    if not is_first:
        await allow(room, ana, FIRST)
    brought = [replace(SECOND, access_token=f"at-{n}", refresh_token=f"r-{n}") for n in range(3)]
    await asyncio.gather(*(allow(room, ana, tokens) for tokens in brought))
    kept = await held(room, ana)
    assert kept in brought
    gone = {one.access_token for one in brought if one != kept} | ({FIRST.access_token} if not is_first else set())
    assert sorted(token for _, token in room.revoked) == sorted(gone)


async def test_an_opt_in_that_cannot_be_kept_takes_back_what_it_brought(room: Room) -> None:
    ana = await room.person()
    await allow(room, ana, FIRST)
    room.durable.unit = Failing(room, StoreUnavailable("disk"), at="save_upstream_tokens")
    with pytest.raises(StoreUnavailable):
        await allow(room, ana, SECOND)
    assert await held(room, ana) == FIRST
    assert room.revoked == [(MASTODON, "second")]
    assert not await is_claimed(room, ana), "and what is kept can be renewed at once"


async def test_an_opt_in_of_whom_nobody_can_tell_what_is_kept(room: Room) -> None:
    """The store is away for all that comes after, too: what nobody knows to be kept goes back."""
    ana = await room.person()
    await allow(room, ana, FIRST)
    links = room.durable.accounts.links

    async def away(_account: object) -> None:
        raise StoreUnavailable("disk")

    room.durable.accounts.links = away
    receipts, room.durable.ledger.receipts = room.durable.ledger.receipts, lambda *_a: away(_a)
    with pytest.raises(StoreUnavailable):
        await allow(room, ana, SECOND)
    room.durable.accounts.links, room.durable.ledger.receipts = links, receipts
    assert room.revoked == [(MASTODON, "second")]
    assert await held(room, ana) == FIRST


async def test_an_account_that_is_closed_meanwhile_keeps_no_token(room: Room) -> None:
    ana = await room.person()
    load = room.durable.accounts.load

    async def closing(account: AccountId) -> Account | None:
        room.durable.accounts.load = load
        await room.accounts.close(room.fresh(ana))
        return await load(account)  # type: ignore[no-any-return]

    room.durable.accounts.load = closing
    with pytest.raises(SignInRequired):
        await allow(room, ana, SECOND)
    assert room.revoked == [(MASTODON, "second")]


async def test_an_account_that_is_closed_before_it_is_kept_keeps_no_token(room: Room) -> None:
    ana = await room.person()
    overtake(room, lambda: room.accounts.close(room.fresh(ana)))
    with pytest.raises(SignInRequired):
        await allow(room, ana, SECOND)
    assert room.revoked == [(MASTODON, "second")]


async def test_a_way_that_is_removed_before_the_account_is_looked_at_turns_nothing_on(room: Room) -> None:
    """Between the look at the ways and the keeping (catalogue 189)."""
    ana = await room.person()
    links = room.durable.accounts.links

    async def removing(account: AccountId) -> Any:
        found = await links(account)
        room.durable.accounts.links = links
        await removed(room, ana)
        return found

    room.durable.accounts.links = removing
    with pytest.raises(WayMissing):
        await allow(room, ana, FIRST)
    assert room.revoked == [(MASTODON, "token-to-post")]
    assert await room.gate.switches(ana.account.id) == ()


async def test_what_is_being_renewed_is_replaced_when_it_came(room: Room) -> None:
    """Both end there: the one that was renewed, and what came for it."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    again: list[asyncio.Task[None]] = []

    async def begin() -> None:
        again.append(asyncio.ensure_future(allow(room, ana, SECOND)))
        await asyncio.sleep(0.01)
        assert await held(room, ana) == replace(FIRST, expires_at=room.clock.now() - HOUR), "it waits"

    room.before_answer = begin
    sent = await room.post(ana, await room.ask(ana))
    await asyncio.gather(*again)
    assert sent.posting.state is PostState.POSTED
    assert await held(room, ana) == SECOND
    assert room.revoked == [(MASTODON, "renewed-1")]


async def test_who_replaces_them_waits_for_nobody_for_ever(room: Room) -> None:
    """A renewal that was cut off; and what it brings if it was not is taken back by itself."""
    ana = await opted_in(room)
    (opted,) = await room.gate.switches(ana.account.id)
    key = permit_to_take_back(opted, ana.account.id, room.clock.now())
    now, waited = room.clock.now(), []
    unit = room.durable.unit()
    unit.claim_upstream_tokens(ana.account.id, MASTODON, since=now, given_up=now - GIVEN_UP)
    await unit.commit()

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    patient = Renewing(durable=room.durable, clock=room.clock, renew=room.renew, revoke=room.revoke, pause=pause)
    stopped = await patient.take(key)
    assert stopped.tokens == await held(room, ana)
    assert (len(waited), sum(waited) < 10) == (LOOKS, True)


async def test_new_tokens_for_an_opt_in_that_was_replaced_are_taken_back(room: Room) -> None:
    """Turned off and on again while the network was asked: what was asked for is nobody's."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)

    async def again() -> None:
        await room.off(ana)
        await allow(room, ana, SECOND)

    room.before_answer = again
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.POSTED
    assert await held(room, ana) == SECOND
    assert {token for _, token in room.revoked} == {"token-to-post", "renewed-1"}


# --- two at once ---------------------------------------------------------------------------------------


def overtake(room: Room, happens: Callable[[], Awaitable[None]]) -> None:
    """Something happens, to its end, right before the next commit."""
    begin = room.durable.unit

    def overtaken() -> Any:
        unit = begin()
        commit = unit.commit

        async def late() -> None:
            room.durable.unit = begin
            await happens()
            await commit()

        unit.commit = late
        return unit

    room.durable.unit = overtaken


@pytest.mark.parametrize("way", ["off", "disconnect"])
async def test_of_sites_that_are_turned_off_in_one_moment_the_last_takes_the_token_back(room: Room, way: str) -> None:
    """Each of them finds the other one standing, and leaves the token to it: none is left that nobody holds (catalogue 194)."""
    ana = await room.person()
    await connect(room, ana, FORUM)
    for client in (FORUM, WIKI):
        await allow(room, ana, FIRST, client)
    overtake(room, lambda: room.off(ana, client=WIKI))
    await (room.off(ana) if way == "off" else room.accounts.disconnect(ana.session, FORUM, locale="en"))
    assert room.revoked == [(MASTODON, "token-to-post")]
    assert await room.gate.switches(ana.account.id) == ()
    assert not room.durable.tables.upstream_tokens
    assert not await is_claimed(room, ana)


@pytest.mark.parametrize("way", ["unlink", "close"])
async def test_what_is_turned_on_while_its_way_or_its_account_ends_is_taken_back(room: Room, way: str) -> None:
    """No token lives on there that nobody holds here (catalogue 194)."""
    ana = await room.person()
    overtake(room, lambda: allow(room, ana, FIRST))
    if way == "unlink":
        await room.accounts.unlink(room.fresh(ana), ana.links[MASTODON].id)
    else:
        await room.accounts.close(room.fresh(ana))
    assert room.revoked == [(MASTODON, "token-to-post")]
    assert not room.durable.tables.upstream_tokens
    assert await room.gate.switches(ana.account.id) == ()


async def test_an_account_that_is_closed_in_another_tab_meanwhile_is_closed_once(room: Room) -> None:
    ana = await room.person()
    await allow(room, ana, FIRST)
    for _ in range(2):
        await room.accounts.close(room.fresh(ana))
    assert room.revoked == [(MASTODON, "token-to-post")]


async def test_a_way_that_is_removed_in_that_moment_turns_nothing_on(room: Room) -> None:
    """What the network gave for it goes back (catalogue 194)."""
    ana = await room.person()
    overtake(room, lambda: removed(room, ana))
    with pytest.raises(WayMissing):
        await allow(room, ana, FIRST)
    assert room.revoked == [(MASTODON, "token-to-post")]
    assert await room.gate.switches(ana.account.id) == ()


async def removed(room: Room, ana: Person) -> None:
    await room.accounts.unlink(room.fresh(ana), ana.links[MASTODON].id)


async def test_a_site_that_is_turned_on_while_the_last_one_is_turned_off_keeps_its_token(room: Room) -> None:
    ana = await room.person()
    await allow(room, ana, FIRST)
    stop = Renewing.stop
    joined: list[bool] = []

    async def overtaken(self: Renewing, permit: Any) -> Any:
        if not joined:
            joined.append(True)
            await allow(room, ana, FIRST, WIKI)
        return await stop(self, permit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Renewing, "stop", overtaken)
        await room.off(ana)
    assert joined
    assert await held(room, ana) == FIRST
    assert room.revoked == []
    assert not await is_claimed(room, ana)


# --- an end that was not committed --------------------------------------------------------------------


@pytest.mark.parametrize("way", ["off", "unlink", "disconnect", "close", "refused there"])
async def test_after_an_end_that_was_not_committed_tokens_are_renewed_at_once(room: Room, way: str) -> None:
    """Nobody waits for a claim that nobody holds."""
    ana = await opted_in(room)
    await connect(room, ana, FORUM)
    posting = await room.ask(ana)
    room.durable.unit = Failing(room, StoreUnavailable("disk"), at="drop_upstream_tokens")
    ends: dict[str, Callable[[], Awaitable[object]]] = {
        "off": lambda: room.off(ana),
        "unlink": lambda: room.accounts.unlink(room.fresh(ana), ana.links[MASTODON].id),
        "disconnect": lambda: room.accounts.disconnect(ana.session, FORUM, locale="en"),
        "close": lambda: room.accounts.close(room.fresh(ana)),
        "refused there": lambda: room.post(ana, posting),
    }
    room.mastodon.outcome = PostingNotPermitted("status 403") if way == "refused there" else None
    with pytest.raises(StoreUnavailable):
        await ends[way]()
    room.mastodon.outcome = None
    assert room.revoked == []
    assert not await is_claimed(room, ana)
    room.clock.move(2 * HOUR)
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.POSTED
    assert room.renewed == [(MASTODON, "refresh-0")]


async def test_a_way_in_that_must_stay_does_not_stop_renewing(room: Room) -> None:
    """Two removals at once: the second one is refused, and changes nothing."""
    ana = await opted_in(room)
    room.durable.unit = Failing(room, Conflict("last_link"), at="drop_upstream_tokens")
    with pytest.raises(LastLink):
        await room.accounts.unlink(room.fresh(ana), ana.links[MASTODON].id)
    assert not await is_claimed(room, ana)


async def test_a_refusal_that_another_wrote_down_leaves_renewing_free(room: Room) -> None:
    """The post was settled by somebody else in that moment, who ends the opt-in or has no reason to."""
    ana = await opted_in(room)
    posting = await room.ask(ana)
    room.mastodon.outcome = PostingNotPermitted("status 403")
    room.durable.unit = Failing(room, Conflict("posting"), at="drop_upstream_tokens")
    await room.post(ana, posting)
    assert room.revoked == []
    assert await held(room, ana) is not None
    assert not await is_claimed(room, ana)


async def test_an_end_that_was_cut_off_keeps_nobody_waiting_for_long(room: Room) -> None:
    """A crash between looking and dropping: after some seconds, not minutes, tokens can be renewed."""
    ana = await opted_in(room)
    (opted,) = await room.gate.switches(ana.account.id)
    key = permit_to_take_back(opted, ana.account.id, room.clock.now())
    stopping = Renewing(durable=room.durable, clock=room.clock, renew=room.renew, revoke=room.revoke)
    await stopping.stop(key)
    assert await is_claimed(room, ana)
    assert timedelta(seconds=10) >= STOPPED_FOR
    room.clock.move(STOPPED_FOR)
    unit = room.durable.unit()
    now = room.clock.now()
    unit.claim_upstream_tokens(ana.account.id, MASTODON, since=now, given_up=now - GIVEN_UP)
    with pytest.raises(Conflict):
        await unit.commit()
    room.clock.move(timedelta(seconds=1))
    assert (await stopping.take(key)).since == room.clock.now()


async def test_an_end_takes_over_from_whoever_renews_whatever_their_clock_says(room: Room) -> None:
    ana = await opted_in(room)
    ahead = room.clock.now() + timedelta(seconds=30)
    unit = room.durable.unit()
    unit.claim_upstream_tokens(ana.account.id, MASTODON, since=ahead, given_up=ahead)
    await unit.commit()
    (opted,) = await room.gate.switches(ana.account.id)
    stopping = Renewing(durable=room.durable, clock=room.clock, renew=room.renew, revoke=room.revoke)
    stopped = await stopping.stop(permit_to_take_back(opted, ana.account.id, room.clock.now()))
    assert room.durable.tables.renewing[ana.account.id, MASTODON] == stopped.since
    await stopping.go_on(stopped)
    assert not await is_claimed(room, ana)


async def test_a_grant_that_stays_is_not_ended_with_what_was_renewed_for_it(room: Room) -> None:
    """Turned on again while the network was asked, and it gave the refresh token that it had given before."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    old = await held(room, ana)
    assert old is not None
    again = replace(old, access_token="again", expires_at=None)

    async def replaced() -> None:
        unit = room.durable.unit()
        unit.save_upstream_tokens(ana.account.id, MASTODON, again)
        await unit.commit()

    room.before_answer = replaced
    room.answer = replace(old, access_token="renewed", expires_at=None)
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.POSTED
    assert (await held(room, ana), room.revoked) == (again, [])
    assert [one.token for one in room.mastodon.sent] == ["again"]


async def test_what_is_on_its_way_back_is_written_with_its_end(room: Room) -> None:
    """In one unit of work: neither a crash nor a network that is away leaves it alive for good."""
    ana = await opted_in(room)
    room.durable.unit = Failing(room, StoreUnavailable("disk"), at="enqueue")
    with pytest.raises(StoreUnavailable):
        await room.off(ana)
    assert (room.revoked, await held(room, ana) is None) == ([], False)
    await room.off(ana)
    (sent,) = room.durable.tables.deliveries.values()
    assert (sent.kind, sent.due_at) == (TAKE_BACK, room.clock.now())
    assert sent.payload == {"provider": MASTODON, "access_token": "token-to-post", "refresh_token": "refresh-0"}
    assert await held(room, ana) is None


# --- what waits to go back, and comes again -----------------------------------------------------------


def waiting(room: Room) -> list[str]:
    """The access tokens that are on their way back."""
    return [one.payload["access_token"] for one in room.durable.tables.deliveries.values() if one.kind == TAKE_BACK]


@pytest.mark.parametrize(
    "again",
    [FIRST, replace(SECOND, access_token=FIRST.access_token), replace(FIRST, access_token="second")],
    ids=["the same", "the same access token", "the same grant"],
)
async def test_what_waits_to_go_back_stays_where_it_is_in_use_again(room: Room, again: UpstreamTokens) -> None:
    """The network is away for two days, and gives the same when the person turns it on again: it is not ended (catalogue 189)."""
    ana = await room.person()
    await allow(room, ana, FIRST)
    await room.off(ana)
    assert waiting(room) == ["token-to-post"]
    await allow(room, ana, again)
    assert waiting(room) == []
    assert await held(room, ana) == again


async def test_another_token_calls_nothing_off(room: Room) -> None:
    """Nor does the same one of another network, nor an opt-in that is not kept."""
    ana = await room.person()
    await allow(room, ana, FIRST)
    await room.off(ana)
    await allow(room, ana, SECOND)
    assert waiting(room) == ["token-to-post"]
    await room.off(ana)
    stale = replace(ana.session, auth_time=room.clock.now() - HOUR)
    now = room.clock.now()
    with pytest.raises(FreshSignInRequired):
        await room.gate.allow(stale, MASTODON, FORUM, tokens=FIRST, pressed_at=now, transaction="t", locale="en")
    assert waiting(room) == ["token-to-post", "second"]


async def test_a_token_comes_again_at_another_account_of_the_person(room: Room) -> None:
    ana, ben = await room.person(), await room.person()
    await allow(room, ana, FIRST)
    await room.off(ana)
    await allow(room, ben, FIRST)
    assert waiting(room) == []
    assert await held(room, ben) == FIRST


async def under_way(room: Room, settled: Callable[[str], Awaitable[None]]) -> Person:
    """Somebody whose tokens go back in this very moment; whoever waits for that finds it `settled`."""
    ana = await room.person()
    await allow(room, ana, FIRST)
    await room.off(ana)
    (sent,) = await room.durable.outbox.claim(room.clock.now(), 9)

    async def pause(_seconds: float) -> None:
        await settled(sent.id)

    room.gate = replace(room.gate, pause=pause)
    return ana


async def test_what_could_not_be_taken_back_after_all_is_kept(room: Room) -> None:
    """Whoever turns it on meanwhile waits for what becomes of it."""

    async def in_vain(sent: str) -> None:
        await room.durable.outbox.retry(sent, room.clock.now() + HOUR, "connect")

    ana = await under_way(room, in_vain)
    await allow(room, ana, FIRST)
    assert (waiting(room), room.at_once) == ([], [])
    assert await held(room, ana) == FIRST
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.POSTED


@pytest.mark.parametrize("ends", [True, False], ids=["taken back", "cut off"])
async def test_what_was_taken_back_in_that_moment_is_not_kept(room: Room, *, ends: bool) -> None:
    """It is good for nothing any more, and the person can turn it on anew; so where nobody says what became of it."""
    looks: list[str] = []

    async def settled(sent: str) -> None:
        looks.append(sent)
        if ends:
            await room.durable.outbox.done(sent)

    ana = await under_way(room, settled)
    with pytest.raises(UpstreamUnavailable):
        await allow(room, ana, FIRST)
    assert len(looks) == (1 if ends else LOOKS)
    assert await held(room, ana) is None
    assert await room.gate.switches(ana.account.id) == ()
    assert room.at_once == [(MASTODON, "token-to-post")]
    assert not await is_claimed(room, ana)
    await allow(room, ana, SECOND)
    assert await held(room, ana) == SECOND


async def test_a_network_with_its_own_window_has_nothing_to_take_back(room: Room) -> None:
    """What is wrong there is said at once, whatever it is called."""
    ana = await room.person()
    room.durable.unit = Failing(room, Conflict("under_way"), at="append_receipt")
    now = room.clock.now()
    with pytest.raises(Conflict):
        await room.gate.allow(
            room.fresh(ana), FACEBOOK, FORUM, tokens=None, pressed_at=now, transaction="t", locale="en"
        )
