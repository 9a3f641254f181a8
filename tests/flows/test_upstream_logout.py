"""Somebody signed out at a provider: what they began here with that sign-in ends, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.flows.front import FACEBOOK, OPENID, Front

from broker.domain.provider import Once, SignedOut, session_name
from broker.domain.removal import APART
from broker.domain.session import Session
from broker.domain.values import IdentityKey, Sid
from broker.errors import UpstreamInvalid, UpstreamUnavailable
from broker.flows.upstream_logout import HINT_LIFE, UpstreamLogout

HERE, ELSEWHERE = "session-over-there", "another-session-over-there"


class Desk:
    def __init__(self) -> None:
        self.front = Front()
        self.flow = UpstreamLogout(
            durable=self.front.durable,
            sessions=self.front.sessions,
            replay=self.front.memory.replay,
            clock=self.front.clock,
            store=self.front.memory.transactions,
            seal=self.front.box.seal,
        )

    async def person(self, name: str) -> Session:
        return (await self.front.person(name)).started.session

    async def live(self, session: Session) -> set[str]:
        now = self.front.clock.now()
        return {one.sid for one in await self.front.sessions.sessions.of_account(session.account, now)}

    async def another(self, like: Session, *, upstream: str | None, key: IdentityKey | None = None) -> Session:
        """One more device of the same person."""
        started = await self.front.sessions.start(
            account=like.account,
            provider=like.provider,
            key=key or like.key,
            auth_time=self.front.clock.now(),
            amr=like.amr,
            acr=like.acr,
            user_agent="",
            replaces=None,
            upstream=upstream,
        )
        return started.session

    async def leave(self, sid: Sid = Sid("sid"), *, error: Exception | None = None) -> str | None:
        return await self.flow.address_of(Ending(error), sid, back="back", state="s-1", locale="fr")

    def said(self, about: Session, session: str | None = None, *, name: str = "1") -> SignedOut:
        now = self.front.clock.now()
        return SignedOut(key=about.key, session=session, at=now, once=Once(key=name, until=now + timedelta(minutes=11)))


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_session_that_is_named_ends_and_the_others_stay(desk: Desk) -> None:
    """Signing out on the desk leaves the phone alone; a session of which nothing is known ends to be safe."""
    ana, bo = await desk.person("ana"), await desk.person("ben")
    named = await desk.another(ana, upstream=HERE)
    other = await desk.another(ana, upstream=ELSEWHERE)
    assert ana.upstream is None
    assert await desk.flow.take(desk.said(ana, HERE)) == 2
    assert await desk.live(ana) == {other.sid}
    assert named.sid not in await desk.live(ana)
    assert await desk.live(bo) == {bo.sid}


async def test_without_a_name_all_end_that_began_by_that_way(desk: Desk) -> None:
    ana = await desk.person("ana")
    await desk.another(ana, upstream=HERE)
    by_another_way = await desk.another(
        ana, upstream=HERE, key=IdentityKey(issuer=f"https://{OPENID}.example", subject="x")
    )
    assert await desk.flow.take(desk.said(ana)) == 2
    assert await desk.live(ana) == {by_another_way.sid}


async def test_the_same_word_again_ends_nothing_that_began_after_it(desk: Desk) -> None:
    ana = await desk.person("ana")
    said = desk.said(ana)
    assert await desk.flow.take(said) == 1
    desk.front.clock.move(timedelta(seconds=5))
    back = await desk.another(ana, upstream=None)
    assert await desk.flow.take(said) == 0
    assert await desk.live(ana) == {back.sid}


async def test_what_the_first_try_did_not_end_the_second_does(desk: Desk) -> None:
    """A provider repeats what we did not answer."""
    ana = await desk.person("ana")
    said = desk.said(ana)
    await desk.flow.replay.first_time(f"signed out: {said.once.key}", said.once.until)
    assert await desk.flow.take(said) == 1


async def test_clocks_may_be_a_little_apart_once(desk: Desk) -> None:
    ana = await desk.person("ana")
    said = desk.said(ana)
    assert await desk.flow.take(replace(said, at=ana.created_at - APART - timedelta(seconds=1))) == 0
    other = replace(said, at=ana.created_at - APART, once=replace(said.once, key="2"))
    assert await desk.flow.take(other) == 1


async def test_who_has_no_account_here_ends_nothing(desk: Desk) -> None:
    ana = await desk.person("ana")
    stranger = replace(desk.said(ana), key=IdentityKey(issuer=f"https://{FACEBOOK}.example", subject="nobody"))
    assert await desk.flow.take(stranger) == 0
    assert await desk.live(ana) == {ana.sid}


class Ending:
    """A provider with a page for signing out, or none."""

    ends_sessions = keeps_hints = True

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def sign_out_url(self, *, back: str, state: str, locale: str, hint: str | None = None) -> str:
        if self.error is not None:
            raise self.error
        return f"https://idp.test/bye?{back}&{state}&{locale}" + (f"&{hint}" if hint else "")


@pytest.mark.parametrize(
    ("error", "address"),
    [
        (None, "https://idp.test/bye?back&s-1&fr"),
        (UpstreamUnavailable("timeout idp.test"), None),
        (UpstreamInvalid("discovery_end_session"), None),
    ],
)
async def test_a_provider_that_is_away_keeps_nobody_from_having_signed_out(
    desk: Desk, error: Exception | None, address: str | None
) -> None:
    assert await desk.leave(error=error) == address


async def test_the_word_that_a_session_began_with_goes_along_once(desk: Desk) -> None:
    """From the end of the session for half an hour, sealed; a provider that is away uses nothing up."""
    ana = await desk.person("ana")
    ended = replace(ana, id_token="canary.of.token")
    await desk.flow.keep_hint(ana)
    assert await desk.leave(ana.sid) == "https://idp.test/bye?back&s-1&fr", "none was kept"
    await desk.flow.keep_hint(ended)
    rows = desk.front.memory.transactions.rows
    assert not any(b"canary" in sealed or ana.sid in name for name, (_, sealed) in rows.items())
    assert await desk.leave(Sid("another")) == "https://idp.test/bye?back&s-1&fr"
    assert await desk.leave(ana.sid, error=UpstreamUnavailable("timeout idp.test")) is None
    assert await desk.leave(ana.sid) == "https://idp.test/bye?back&s-1&fr&canary.of.token"
    assert await desk.leave(ana.sid) == "https://idp.test/bye?back&s-1&fr"
    await desk.flow.keep_hint(ended)
    desk.front.clock.move(HINT_LIFE)
    assert await desk.leave(ana.sid) == "https://idp.test/bye?back&s-1&fr"


async def test_a_session_that_is_over_has_no_word_of_the_provider(desk: Desk) -> None:
    ana = await desk.person("ana")
    store = desk.front.sessions.sessions
    await store.save(replace(ana, id_token="canary"))
    await desk.front.sessions.sign_out(ana)
    assert [one.id_token for one in desk.front.memory.sessions.rows.values()] == [None]


def test_what_is_kept_of_a_session_over_there_names_it_and_nothing_else() -> None:
    """Two providers may call theirs the same; and nobody can be asked for it by its own name."""
    name = session_name("https://one.test", "s-1")
    assert name == session_name("https://one.test", "s-1")
    assert name not in {session_name("https://two.test", "s-1"), session_name("https://one.test", "s-2")}
    assert "s-1" not in name


async def test_a_frame_ends_what_began_with_the_session_it_names(desk: Desk) -> None:
    """And what another provider calls the same, or nothing is known of, stays."""
    ana, ben = await desk.person("ana"), await desk.person("ben")
    named, again = await desk.another(ana, upstream=HERE), await desk.another(ana, upstream=HERE)
    foreign = replace(await desk.another(ben, upstream=HERE), provider=OPENID)
    await desk.front.sessions.sessions.save(foreign)
    assert await desk.flow.take_frame(ana.provider, ELSEWHERE) == 0
    assert await desk.flow.take_frame(ana.provider, HERE) == 2
    assert await desk.live(ana) == {ana.sid}
    assert {named.sid, again.sid}.isdisjoint(await desk.live(ana))
    assert await desk.live(ben) == {ben.sid, foreign.sid}
    assert await desk.flow.take_frame(ana.provider, HERE) == 0
