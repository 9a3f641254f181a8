"""Sessions of browsers: started anew, kept alive, ended, and the sites told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.flows.front import AGENT, Front
from tests.flows.op import FORUM, WIKI

from broker.domain.grant import OFFLINE_ACCESS
from broker.domain.session import IDLE_LIFETIME, LIFETIME, TOUCH_EVERY, Session
from broker.domain.values import AccountId, ClientId, IdentityKey, ProviderId, Scope
from broker.flows.session import Started, Telling, Told, ToldSite, digest_of

MOMENT = timedelta(microseconds=1)


@pytest.fixture
def front() -> Front:
    return Front()


async def start(front: Front, account: AccountId, replaces: Session | None = None) -> Started:
    return await front.sessions.start(
        account=account,
        provider=ProviderId("facebook"),
        key=IdentityKey(issuer="https://facebook.example", subject="1"),
        auth_time=front.clock.now(),
        amr=("fed",),
        acr=None,
        user_agent=AGENT,
        replaces=replaces,
    )


async def test_a_session_is_opened_by_its_secret_alone(front: Front) -> None:
    started = (await front.person("ana")).started
    assert await front.sessions.load(started.secret) == started.session
    for wrong in ("", started.secret + "x", started.session.sid, started.session.secret_digest.hex(), "\ud800"):
        assert await front.sessions.load(wrong) is None


async def test_only_a_digest_of_the_secret_is_kept(front: Front) -> None:
    """(catalogue 168)"""
    started = (await front.person("ana")).started
    kept = repr([(held, held.secret_digest) for held in front.memory.sessions.rows.values()])
    assert started.secret not in kept
    assert started.session.secret_digest == digest_of(started.secret)
    assert started.session.device == "Firefox on Linux"


async def test_seen_is_written_every_few_minutes_at_most(front: Front) -> None:
    started = (await front.person("ana")).started
    began = front.clock.now()
    front.clock.move(TOUCH_EVERY - MOMENT)
    assert await front.sessions.load(started.secret) == started.session
    front.clock.move(MOMENT)
    seen = await front.sessions.load(started.secret)
    assert seen is not None
    assert seen.last_seen_at == began + TOUCH_EVERY
    assert seen.idle_expires_at == began + TOUCH_EVERY + IDLE_LIFETIME
    assert await front.sessions.load(started.secret) == seen


async def test_a_session_ends_when_it_is_left_alone(front: Front) -> None:
    started = (await front.person("ana")).started
    front.clock.move(IDLE_LIFETIME)
    assert await front.sessions.load(started.secret) is None


async def test_a_session_ends_however_busy_it_is(front: Front) -> None:
    started = (await front.person("ana")).started
    for _ in range(LIFETIME // timedelta(hours=12) - 1):
        front.clock.move(timedelta(hours=12))
        assert await front.sessions.load(started.secret) is not None
    front.clock.move(timedelta(hours=12))
    assert await front.sessions.load(started.secret) is None


# --- started anew -------------------------------------------------------------------------------------


async def test_signing_in_anew_makes_a_new_secret_and_ends_the_old(front: Front) -> None:
    """Nobody goes on with a secret from before; sites still know the session (catalogue 93)."""
    first = (await front.person("ana")).started
    again = await start(front, first.session.account, first.session)
    assert again.secret != first.secret
    assert again.session.sid == first.session.sid
    assert await front.sessions.load(first.secret) is None
    assert await front.sessions.load(again.secret) == again.session


async def test_signing_in_anew_keeps_what_sites_have(front: Front) -> None:
    first = (await front.person("ana")).started
    grant = await front.grant(first.session)
    await start(front, first.session.account, first.session)
    assert await front.is_standing(grant)
    assert front.told() == []


async def test_somebody_else_in_the_same_browser_ends_the_session_before(front: Front) -> None:
    """(catalogue 93, 110)"""
    ana, ben = (await front.person("ana")).started, (await front.person("ben")).started
    grant = await front.grant(ana.session)
    new = await start(front, ben.session.account, ana.session)
    assert new.session.sid not in {ana.session.sid, ben.session.sid}
    assert await front.sessions.load(ana.secret) is None
    assert not await front.is_standing(grant)
    assert front.told() == [(FORUM, ana.session.sid)]


async def test_two_sign_ins_never_share_a_secret_or_an_id(front: Front) -> None:
    """(catalogue 93)"""
    account = (await front.person("ana")).started.session.account
    several = [await start(front, account) for _ in range(5)]
    assert len({one.secret for one in several}) == len({one.session.sid for one in several}) == 5


# --- ended --------------------------------------------------------------------------------------------


async def test_signing_out_ends_what_this_session_gave_and_nothing_else(front: Front) -> None:
    here = (await front.person("ana")).started
    there = await start(front, here.session.account)
    mine, theirs = await front.grant(here.session), await front.grant(there.session)
    told = await front.sessions.sign_out(here.session)
    assert not await front.is_standing(mine)
    assert await front.is_standing(theirs)
    assert await front.sessions.load(here.secret) is None
    assert await front.sessions.load(there.secret) is not None
    assert [(site.client, site.will_be_told) for site in told] == [(FORUM, True)]
    assert front.told() == [(FORUM, here.session.sid)]


async def test_what_a_site_may_do_while_the_person_is_away_outlives_a_sign_out(front: Front) -> None:
    started = (await front.person("ana")).started
    passing = await front.grant(started.session)
    lasting = await front.grant(started.session, scopes=frozenset({Scope("openid"), OFFLINE_ACCESS}))
    await front.sessions.sign_out(started.session)
    assert not await front.is_standing(passing)
    assert await front.is_standing(lasting)


async def test_signing_out_of_one_site_leaves_the_others(front: Front) -> None:
    started = (await front.person("ana")).started
    forum, wiki = await front.grant(started.session), await front.grant(started.session, WIKI)
    await front.sessions.sign_out_of(started.session, WIKI)
    assert (await front.is_standing(forum), await front.is_standing(wiki)) == (True, False)
    assert await front.sessions.load(started.secret) is not None
    await front.sessions.sign_out_of(started.session, FORUM)
    assert front.told() == [(FORUM, started.session.sid)]


@pytest.mark.parametrize("keeps", [False, True])
async def test_signing_out_everywhere_ends_every_session_but_the_kept_one(front: Front, keeps: bool) -> None:
    """Other people's sessions go on; every site of an ended session is told (catalogue 110)."""
    here = (await front.person("ana")).started
    others = [await start(front, here.session.account) for _ in range(3)]
    stranger = (await front.person("ben")).started
    for one in (here, *others, stranger):
        await front.grant(one.session)
    await front.sessions.sign_out_everywhere(here.session.account, keep=here.session.sid if keeps else None)
    assert (await front.sessions.load(here.secret) is not None) == keeps
    assert [await front.sessions.load(one.secret) for one in others] == [None] * 3
    assert await front.sessions.load(stranger.secret) is not None
    ended = {one.session.sid for one in others} | (set() if keeps else {here.session.sid})
    assert {sid for _, sid in front.told()} == ended


async def test_signing_out_everywhere_ends_what_others_got_for_good(front: Front) -> None:
    """Also what a site may do while nobody is there, and what hangs on a session long over (catalogue 110)."""
    here = (await front.person("ana")).started
    there = await start(front, here.session.account)
    away = frozenset({Scope("openid"), OFFLINE_ACCESS})
    mine = await front.grant(here.session, scopes=away)
    theirs, old = await front.grant(there.session, scopes=away), await front.grant(there.session, WIKI, scopes=away)
    await front.memory.sessions.end(there.session.sid)
    await front.sessions.sign_out_everywhere(here.session.account, keep=here.session.sid)
    assert await front.is_standing(mine)
    assert not await front.is_standing(theirs)
    assert not await front.is_standing(old)
    assert front.told() == [(FORUM, there.session.sid)]


# --- telling the sites --------------------------------------------------------------------------------


async def test_each_site_is_told_once_about_each_session(front: Front) -> None:
    """(catalogue 105)"""
    started = (await front.person("ana")).started
    for _ in range(3):
        await front.grant(started.session)
    await front.grant(started.session, WIKI)
    await front.sessions.sign_out(started.session)
    assert front.told() == [(FORUM, started.session.sid)]
    delivery = next(iter(front.durable.tables.deliveries.values()))
    assert delivery.payload == {"sid": started.session.sid, "account": started.session.account}
    assert delivery.due_at == front.clock.now()


async def test_a_site_that_is_gone_is_told_nothing(front: Front) -> None:
    started = (await front.person("ana")).started
    await front.grant(started.session, ClientId("gone"))
    told = await front.sessions.sign_out(started.session)
    assert told == ()
    assert front.told() == []


async def test_the_list_says_who_cannot_be_told(front: Front) -> None:
    started = (await front.person("ana")).started
    await front.grant(started.session, WIKI)
    await front.grant(started.session)
    sites = await front.sessions.sites_of(started.session)
    assert [(site.client, site.will_be_told) for site in sites] == [(FORUM, True), (WIKI, False)]


async def test_how_far_each_site_was_told_is_known_when_the_session_is_gone(front: Front) -> None:
    """Confirmed, on its way, late, given up, or without an address for it: by the session's id alone (catalogue 105)."""
    ana = await front.person("ana")
    sid = ana.started.session.sid
    for client in (FORUM, WIKI):
        front.clients[client] = replace(front.clients[client], backchannel_logout_uri=f"https://{client}.test/out")
        await front.grant(ana.started.session, client)
    sites = await front.sessions.sign_out(ana.started.session)
    assert sites == (ToldSite(client=FORUM, will_be_told=True), ToldSite(client=WIKI, will_be_told=True))
    other = ToldSite(client=ClientId("app"), will_be_told=False)

    async def states() -> list[Told]:
        return list(await front.sessions.told(sid, (*sites, other)))

    cannot = Told(client=ClientId("app"), state=Telling.CANNOT)
    waiting = Told(client=WIKI, state=Telling.WAITING)
    assert await states() == [Told(client=FORUM, state=Telling.WAITING), waiting, cannot]
    forum, wiki = await front.durable.outbox.pending("sid", sid)
    assert (forum.client, wiki.client) == (FORUM, WIKI)
    later = front.clock.now() + timedelta(seconds=2)
    await front.durable.outbox.retry(forum.id, later, "status 500")
    assert await states() == [Told(client=FORUM, state=Telling.LATE, due_at=later), waiting, cannot]
    await front.durable.outbox.give_up(forum.id, "status 404")
    await front.durable.outbox.done(wiki.id)
    assert await states() == [
        Told(client=FORUM, state=Telling.FAILED),
        Told(client=WIKI, state=Telling.DONE),
        cannot,
    ]
