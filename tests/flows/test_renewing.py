"""Tokens of an opt-in that have run out are had anew: once, by one process, and kept before they are used."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.test_posting import FACEBOOK, MASTODON, TOKEN, Person, Room
from tests.support import builders as make
from tests.support.builders import FORUM

from broker.domain.consent import Purpose
from broker.domain.posting import LASTING_WORDING, POST, WORDING, PostingPermit, PostState, permit_to_take_back
from broker.domain.provider import PostUnknown, UpstreamTokens
from broker.errors import (
    GrantOver,
    NotRenewed,
    PostingNotPermitted,
    StoreUnavailable,
    TokenOver,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamUnavailable,
)
from broker.flows.renewing import GIVEN_UP, LOOKS, Renewing

HOUR = timedelta(hours=1)


@pytest.fixture
def room() -> Room:
    return Room()


async def opted_in(room: Room, *, expires: timedelta | None = HOUR, refresh: str | None = "refresh-0") -> Person:
    """Somebody whose access token runs out in an hour."""
    ana = await room.person()
    now = room.clock.now()
    tokens = replace(TOKEN, refresh_token=refresh, expires_at=now + expires if expires else None)
    await room.gate.allow(room.fresh(ana), MASTODON, FORUM, tokens=tokens, pressed_at=now, transaction="t", locale="en")
    return ana


async def held(room: Room, ana: Person) -> UpstreamTokens | None:
    found: UpstreamTokens | None = await room.durable.vault.open(make.posting_permit(ana.account.id, provider=MASTODON))
    return found


async def is_claimed(room: Room, ana: Person) -> bool:
    return (ana.account.id, MASTODON) in room.durable.tables.renewing


def used(room: Room) -> list[str | None]:
    """The access tokens that the network saw."""
    return [one.token for one in room.mastodon.sent]


class Refusing:
    """Says no to the first tokens it sees, as a network does whose access tokens run out unsaid."""

    def __init__(self, room: Room, *, times: int = 1) -> None:
        self.room, self.left = room, times

    async def __call__(self) -> None:
        self.room.mastodon.outcome = TokenOver("status 401") if self.left > 0 else None
        self.left -= 1


async def test_a_token_that_ran_out_is_had_anew_and_the_post_goes_out(room: Room) -> None:
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    sent = await room.post(ana, await room.ask(ana))
    assert (sent.posting.state, sent.problem) == (PostState.POSTED, None)
    assert room.renewed == [(MASTODON, "refresh-0")]
    assert used(room) == ["renewed-1"]
    kept = await held(room, ana)
    assert kept is not None
    assert (kept.access_token, kept.refresh_token) == ("renewed-1", "refresh-1")
    assert not await is_claimed(room, ana)


async def test_a_token_that_is_good_is_left_alone(room: Room) -> None:
    for ana in (await opted_in(room), await opted_in(room, expires=None)):
        await room.post(ana, await room.ask(ana))
    assert room.renewed == []
    assert used(room) == ["token-to-post", "token-to-post"]


async def test_what_is_kept_is_kept_before_it_is_used(room: Room) -> None:
    """The network is handed only what is in the vault: a crash while posting costs the post, never the opt-in."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    seen: list[str] = []

    async def look() -> None:
        kept = await held(room, ana)
        seen.append(kept.access_token if kept else "")

    room.mastodon.before = look
    await room.post(ana, await room.ask(ana))
    assert seen == used(room) == ["renewed-1"]


async def test_a_token_that_the_network_knows_no_more_is_renewed_once(room: Room) -> None:
    """RFC 6750 §3.1: it runs out earlier than was said, or nothing was said at all."""
    ana = await opted_in(room, expires=None)
    room.mastodon.before = Refusing(room)
    sent = await room.post(ana, await room.ask(ana))
    assert sent.posting.state is PostState.POSTED
    assert used(room) == ["token-to-post", "renewed-1"]


async def test_a_new_token_that_is_refused_too_ends_the_opt_in(room: Room) -> None:
    """And nobody tries again and again (catalogue 193)."""
    ana = await opted_in(room, expires=None)
    room.mastodon.before = Refusing(room, times=9)
    sent = await room.post(ana, await room.ask(ana))
    assert sent.posting.state is PostState.FAILED
    assert isinstance(sent.problem, TokenOver)
    assert used(room) == ["token-to-post", "renewed-1"]
    assert await room.gate.switches(ana.account.id) == ()
    assert await held(room, ana) is None


async def test_without_a_refresh_token_it_ends_as_it_always_did(room: Room) -> None:
    ana = await opted_in(room, expires=None, refresh=None)
    room.mastodon.before = Refusing(room, times=9)
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.FAILED
    assert (room.renewed, used(room)) == ([], ["token-to-post"])
    assert await room.gate.switches(ana.account.id) == ()


async def test_what_the_person_did_not_grant_is_not_asked_for_anew(room: Room) -> None:
    """403: another token would say no more than this one."""
    ana = await opted_in(room)
    room.mastodon.outcome = PostingNotPermitted("status 403")
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.FAILED
    assert room.renewed == []
    assert await room.gate.switches(ana.account.id) == ()
    assert room.revoked == [(MASTODON, "token-to-post")], "the refresh token is erased here and ends there"


async def test_a_refresh_token_that_is_good_no_more_ends_the_opt_in(room: Room) -> None:
    """Taken back there, or used in a try that was cut off: the person turns it on anew (catalogue 193)."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    room.answer = GrantOver("token invalid_grant")
    sent = await room.post(ana, await room.ask(ana))
    assert (sent.posting.state, sent.problem) == (PostState.FAILED, room.answer)
    assert room.sent() == []
    assert await room.gate.switches(ana.account.id) == ()
    assert await held(room, ana) is None
    assert room.revoked == []


async def test_tokens_that_nobody_could_renew_are_taken_back(room: Room) -> None:
    """They end here because nobody is named by them, or nobody renews them: over there they may be good still."""
    for reason in ("nobody was named", "no refresh token", "provider renews no tokens"):
        ana = await opted_in(room, refresh=f"refresh {reason}")
        room.clock.move(2 * HOUR)
        room.answer = NotRenewed(reason)
        room.forget()
        sent = await room.post(ana, await room.ask(ana))
        assert (sent.posting.state, sent.problem) == (PostState.FAILED, room.answer)
        assert await room.gate.switches(ana.account.id) == ()
        assert await held(room, ana) is None
        assert room.revoked == [(MASTODON, "token-to-post")]


@pytest.mark.parametrize(
    "problem",
    [UpstreamUnavailable("status 503 token"), UpstreamRejected("token invalid_client"), UpstreamInvalid("renewed_sub")],
    ids=lambda problem: problem.code,
)
async def test_a_provider_that_is_down_or_wrong_loses_nothing(room: Room, problem: BaseException) -> None:
    """Nothing went out, everything stays, and the next post goes out."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    before = await held(room, ana)
    room.answer = problem
    sent = await room.post(ana, await room.ask(ana))
    assert (sent.posting.state, sent.problem) == (PostState.FAILED, problem)
    assert room.sent() == []
    assert await held(room, ana) == before
    room.answer = None
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.POSTED
    assert room.renewed == [(MASTODON, "refresh-0")] * 2


async def test_cut_off_while_asking_the_next_one_may_try(room: Room) -> None:
    """Nothing says whether it was answered: the old refresh token is tried, and says."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    room.answer = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await room.post(ana, await room.ask(ana))
    assert not await is_claimed(room, ana)
    assert room.sent() == []
    room.answer = None
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.POSTED


async def test_a_store_that_fails_after_the_answer_leaves_the_old_tokens(room: Room) -> None:
    """The one gap: what the provider gave is lost. The claim is given up in its time, and the old token is tried."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    real, left = room.durable.unit, {"renew_upstream_tokens": 1}

    def failing() -> object:
        unit = real()
        renew = unit.renew_upstream_tokens

        def broken(*args: object, **more: object) -> None:
            if left["renew_upstream_tokens"]:
                left["renew_upstream_tokens"] = 0
                raise StoreUnavailable("disk")
            renew(*args, **more)

        unit.renew_upstream_tokens = broken
        return unit

    room.durable.unit = failing
    with pytest.raises(StoreUnavailable):
        await room.post(ana, await room.ask(ana))
    assert await is_claimed(room, ana)
    assert room.sent() == []
    room.clock.move(GIVEN_UP)
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.POSTED
    assert room.renewed == [(MASTODON, "refresh-0")] * 2


async def test_two_at_once_ask_the_provider_once(room: Room) -> None:
    """A refresh token that comes twice ends the grant at most providers (RFC 9700 §2.2.2): whoever is second waits."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    asked = [await room.ask(ana) for _ in range(4)]

    async def slow() -> None:
        await asyncio.sleep(0.05)

    room.before_answer = slow
    sent = await asyncio.gather(*(room.post(ana, posting) for posting in asked))
    assert {one.posting.state for one in sent} == {PostState.POSTED}
    assert room.renewed == [(MASTODON, "refresh-0")]
    assert set(used(room)) == {"renewed-1"}


async def test_who_waits_gives_up_in_the_end_and_loses_nothing(room: Room) -> None:
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    unit = room.durable.unit()
    now = room.clock.now()
    unit.claim_upstream_tokens(ana.account.id, MASTODON, since=now, given_up=now - GIVEN_UP)
    await unit.commit()
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    (opted,) = await room.gate.switches(ana.account.id)
    renewing = Renewing(durable=room.durable, clock=room.clock, renew=room.renew, revoke=room.revoke, pause=pause)
    with pytest.raises(UpstreamUnavailable):
        await renewing.usable(permit_to_take_back(opted, ana.account.id, now))
    assert len(waited) == LOOKS - 1
    assert sum(waited) > 5
    assert room.renewed == []
    assert await held(room, ana) is not None


async def test_turned_off_while_tokens_are_renewed_nothing_goes_out_and_nothing_is_left(room: Room) -> None:
    """The new ones are taken back over there, as the old ones were (catalogue 190)."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    room.before_answer = lambda: room.off(ana)
    posting = await room.ask(ana)
    with pytest.raises(PostingNotPermitted):
        await room.post(ana, posting)
    assert await room.state(posting) is PostState.CANCELLED
    assert room.sent() == []
    assert await held(room, ana) is None
    assert sorted(room.revoked) == [(MASTODON, "renewed-1"), (MASTODON, "token-to-post")]


class Held:
    """A vault whose next look is known, and is acted on only when somebody says so."""

    def __init__(self, vault: Any) -> None:
        self.vault, self.looked, self.go_on = vault, asyncio.Event(), asyncio.Event()

    async def open(self, permit: PostingPermit) -> UpstreamTokens | None:
        found: UpstreamTokens | None = await self.vault.open(permit)
        if not self.looked.is_set():
            self.looked.set()
            await self.go_on.wait()
        return found


async def test_turned_off_while_new_tokens_come_between_the_look_and_the_end(room: Room) -> None:
    """What came then is taken back, too: it would live on over there, where nobody could end it from here (catalogue 190)."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    vault, slow = room.durable.vault, Held(room.durable.vault)
    ending: list[asyncio.Task[None]] = []

    async def begin_to_end() -> None:
        room.durable.vault = slow
        ending.append(asyncio.ensure_future(room.off(ana)))
        await slow.looked.wait()

    room.before_answer = begin_to_end
    posting = await room.ask(ana)
    await room.post(ana, posting)
    slow.go_on.set()
    await asyncio.gather(*ending, return_exceptions=True)
    room.durable.vault = vault
    assert await held(room, ana) is None
    assert not await room.gate.switches(ana.account.id)
    assert {token for _, token in room.revoked} == {"token-to-post", "renewed-1"}
    assert room.sent() == [] or used(room) == ["renewed-1"]


async def test_turned_off_while_somebody_else_renews_them(room: Room) -> None:
    ana = await opted_in(room)
    old = await held(room, ana)
    assert old is not None
    (opted,) = await room.gate.switches(ana.account.id)
    key = permit_to_take_back(opted, ana.account.id, room.clock.now())
    await room.off(ana)
    renewing = Renewing(durable=room.durable, clock=room.clock, renew=room.renew, revoke=room.revoke)
    assert await renewing.anew(key, old) is None
    assert room.renewed == []


async def test_turned_on_anew_while_tokens_are_renewed_the_new_opt_in_stands(room: Room) -> None:
    """What it brought is used and kept; what was being renewed for the old one never replaces it."""
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)

    async def again() -> None:
        await room.off(ana)
        await room.allow(ana)

    room.before_answer = again
    sent = await room.post(ana, await room.ask(ana))
    assert sent.posting.state is PostState.POSTED
    assert used(room) == ["token-to-post"]
    assert await held(room, ana) == TOKEN


async def test_what_somebody_else_got_meanwhile_is_used(room: Room) -> None:
    """Found once the claim is ours: it is given back, and the provider is not asked."""
    ana = await opted_in(room)
    old = await held(room, ana)
    assert old is not None
    unit = room.durable.unit()
    unit.save_upstream_tokens(ana.account.id, MASTODON, replace(TOKEN, access_token="of another process"))
    await unit.commit()
    (opted,) = await room.gate.switches(ana.account.id)
    renewing = Renewing(durable=room.durable, clock=room.clock, renew=room.renew, revoke=room.revoke)
    found = await renewing.anew(permit_to_take_back(opted, ana.account.id, room.clock.now()), old)
    assert found is not None
    assert found.access_token == "of another process"
    assert (room.renewed, await is_claimed(room, ana)) == ([], False)


async def test_what_somebody_else_got_is_used_while_they_renew_once_more(room: Room) -> None:
    """Other tokens than those that were refused are there, and that they are being renewed is nobody's hindrance."""
    ana = await opted_in(room)
    old = await held(room, ana)
    assert old is not None
    now = room.clock.now()
    unit = room.durable.unit()
    unit.save_upstream_tokens(ana.account.id, MASTODON, replace(TOKEN, access_token="of another process"))
    unit.claim_upstream_tokens(ana.account.id, MASTODON, since=now, given_up=now - GIVEN_UP)
    await unit.commit()
    (opted,) = await room.gate.switches(ana.account.id)
    renewing = Renewing(durable=room.durable, clock=room.clock, renew=room.renew, revoke=room.revoke)
    found = await renewing.anew(permit_to_take_back(opted, ana.account.id, now), old)
    assert found is not None
    assert found.access_token == "of another process"
    assert (room.renewed, await is_claimed(room, ana)) == ([], True)


async def test_a_lost_answer_is_no_reason_to_renew(room: Room) -> None:
    """It may be there: it is never posted a second time (catalogue 192)."""
    ana = await opted_in(room)
    room.mastodon.outcome = PostUnknown(reason="timeout")
    assert (await room.post(ana, await room.ask(ana))).posting.state is PostState.UNKNOWN
    assert (room.renewed, len(used(room))) == ([], 1)


async def test_deleting_a_post_renews_what_has_run_out(room: Room) -> None:
    ana = await opted_in(room)
    posting = await room.ask(ana)
    await room.post(ana, posting)
    room.clock.move(2 * HOUR)
    assert await room.gate.undo(ana.session, posting.id)
    assert room.renewed == [(MASTODON, "refresh-0")]


@pytest.mark.parametrize("problem", [GrantOver("token invalid_grant"), UpstreamUnavailable("timeout")])
async def test_a_post_that_cannot_be_deleted_for_want_of_a_token_stays(room: Room, problem: BaseException) -> None:
    ana = await opted_in(room)
    posting = await room.ask(ana)
    await room.post(ana, posting)
    room.clock.move(2 * HOUR)
    room.answer = problem
    assert not await room.gate.undo(ana.session, posting.id)
    assert await room.state(posting) is PostState.POSTED


async def test_turning_it_off_takes_back_what_is_kept_by_then(room: Room) -> None:
    ana = await opted_in(room)
    room.clock.move(2 * HOUR)
    await room.post(ana, await room.ask(ana))
    await room.off(ana)
    assert room.revoked == [(MASTODON, "renewed-1")]
    assert await held(room, ana) is None


def test_what_is_asked_for_there_is_what_posting_needs_and_what_makes_it_last(room: Room) -> None:
    room.mastodon.lasting = ("offline_access",)
    assert room.gate.asks(MASTODON) == ("write:statuses", "offline_access")
    assert room.gate.scopes(MASTODON) == ("write:statuses",)
    assert room.gate.asks(FACEBOOK) == ()
    assert (room.gate.lasts(MASTODON), room.gate.lasts(FACEBOOK)) == (True, False)


@pytest.mark.parametrize(("asked", "words"), [((), WORDING), (("offline_access",), LASTING_WORDING)])
async def test_the_receipt_keeps_whether_the_page_said_that_the_permission_lasts(
    room: Room, asked: tuple[str, ...], words: str
) -> None:
    room.mastodon.lasting = asked
    ana = await opted_in(room)

    (receipt,) = await room.durable.ledger.receipts(ana.account.id, Purpose.POST_UPSTREAM)

    assert receipt.versions == {POST: words}
    await room.post(ana, await room.ask(ana))  # and it is good for posting
    assert used(room) == [TOKEN.access_token]
