"""People whom a site takes out of its stream, and takes in again: who is told of whom, and what the site learns by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.flows.front import ACT, OPENID, Front
from tests.flows.op import FORUM, ISSUER, WIKI
from tests.flows.test_events import ANA, connected, events, front, office, read, write
from tests.flows.test_outbox import Office
from tests.flows.test_stream_setup import fetched, waits
from tests.flows.test_streams import streams_of

from broker.domain import tokens
from broker.domain.client import Client
from broker.domain.events import SecurityEvent
from broker.domain.session import Session
from broker.domain.stream import Stream
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import AccountId, Secret
from broker.errors import InvalidRequest, TooManySubjects, UnknownStream
from broker.flows import streams as module
from broker.flows.streams import EventStreams
from broker.flows.support import AccountSupport

__all__ = ["front", "office"]
KEY = b"s" * 32
BEN = AccountId("account-ben")


def named(account: AccountId, client: Client, **more: object) -> dict[str, Any]:
    subject = {"format": "iss_sub", "iss": ISSUER, "sub": tokens.subject_for(account, client, KEY)}
    return {"stream_id": client.client_id, "subject": subject, **more}


@pytest.fixture
def streams(office: Office) -> EventStreams:
    return streams_of(office.op)


@pytest.fixture
def forum(office: Office) -> Client:
    """Pushed to."""
    return office.op.clients[FORUM]


@pytest.fixture
def wiki(office: Office) -> Client:
    """Fetches."""
    return office.op.clients[WIKI]


# --- what goes out --------------------------------------------------------------------------------------


async def about(office: Office, account: AccountId, client: Client) -> None:
    unit = office.op.durable.unit()
    writer = streams_of(office.op).writer
    writer.happened(unit, SecurityEvent.ACCOUNT_DISABLED, {client.client_id: account})
    await unit.commit()


async def test_whoever_is_taken_out_is_told_of_no_more_and_everybody_else_is(
    office: Office, streams: EventStreams, wiki: Client
) -> None:
    """SSF 1.0 §8.1.3.3, §8.1.3.2; also what waited already is never told."""
    await about(office, ANA, wiki)
    await streams.remove_subject(wiki, named(ANA, wiki))
    await streams.remove_subject(wiki, named(ANA, wiki))
    await about(office, ANA, wiki)
    await about(office, BEN, wiki)
    await about(office, BEN, wiki)
    sets, more = await fetched(office)
    told = [read(office.op, token)[1]["sub_id"]["sub"] for token in sets.values()]
    assert (told, more) == ([tokens.subject_for(BEN, wiki, KEY)] * 2, True)
    assert await fetched(office, *sets) == ({}, False)
    await streams.add_subject(wiki, named(ANA, wiki, verified=True))
    await about(office, ANA, wiki)
    assert len((await fetched(office))[0]) == 1


async def test_nothing_is_pushed_about_whoever_is_taken_out(
    office: Office, streams: EventStreams, forum: Client
) -> None:
    """And a verification, which is about nobody, is."""
    await about(office, ANA, forum)
    await about(office, BEN, forum)
    await streams.verify(forum, FORUM, None)
    await streams.remove_subject(forum, named(ANA, forum))
    await office.deliverer.once()
    told = [read(office.op, token)[1]["sub_id"] for _, token, _ in office.sites.pushed]
    expected = [tokens.subject_for(BEN, forum, KEY), {"format": "opaque", "id": FORUM}]
    assert [one.get("sub", one) for one in told] == expected
    assert await waits(office, FORUM) == []


async def test_one_site_takes_nobody_out_of_anothers_stream(
    office: Office, streams: EventStreams, forum: Client, wiki: Client
) -> None:
    """Not even where both know the person by one number; nor may it touch a stream of that name."""
    office.op.clients[WIKI] = wiki = replace(wiki, sector="one")
    office.op.clients[FORUM] = forum = replace(forum, sector="one")
    assert named(ANA, forum)["subject"] == named(ANA, wiki)["subject"]
    await streams.remove_subject(forum, named(ANA, forum))
    await about(office, ANA, wiki)
    assert len((await fetched(office))[0]) == 1
    for change in (streams.add_subject, streams.remove_subject):
        with pytest.raises(UnknownStream):
            await change(forum, named(ANA, wiki))


async def test_a_stream_that_begins_again_has_everybody_in_it(
    office: Office, streams: EventStreams, forum: Client, wiki: Client
) -> None:
    """SSF 1.0 §7.1: what `default_subjects` says, of a new stream."""
    await streams.remove_subject(wiki, named(ANA, wiki))
    await streams.remove_subject(forum, named(ANA, forum))
    await streams.delete(wiki, WIKI)
    await streams.create(wiki, {})
    await about(office, ANA, wiki)
    assert len((await fetched(office))[0]) == 1
    assert list(office.op.durable.tables.removed_subjects) == [(FORUM, named(ANA, forum)["subject"]["sub"])]


# --- what a site learns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject",
    [
        {"format": "iss_sub", "iss": ISSUER, "sub": "A" * 43},
        {"format": "iss_sub", "iss": ISSUER, "sub": "nobody"},
        {"format": "email", "email": "ana@canary.test"},
        {"format": "opaque", "id": "forum"},
    ],
)
async def test_the_answer_says_of_nobody_whether_they_are_known(
    office: Office, streams: EventStreams, wiki: Client, subject: dict[str, str]
) -> None:
    """SSF 1.0 §9.1: known or not, by us or by the site, by this name or another."""
    for change in (streams.remove_subject, streams.add_subject):
        assert await change(wiki, {"stream_id": WIKI, "subject": subject}) is None  # type: ignore[func-returns-value]
    assert office.op.durable.tables.removed_subjects == {}


async def test_nobody_is_kept_whom_our_events_do_not_name(office: Office, streams: EventStreams, wiki: Client) -> None:
    for subject in ({"format": "email", "email": "ana@canary.test"}, {"format": "iss_sub", "iss": ISSUER, "sub": "x"}):
        await streams.remove_subject(wiki, {"stream_id": WIKI, "subject": subject})
    assert office.op.durable.tables.removed_subjects == {}


@pytest.mark.parametrize("said", [{}, {"subject": "ana"}, {"subject": {"format": "name"}}, {"stream_id": 1}])
async def test_what_is_no_subject_is_refused(streams: EventStreams, wiki: Client, said: dict[str, Any]) -> None:
    for change in (streams.add_subject, streams.remove_subject):
        with pytest.raises(InvalidRequest):
            await change(wiki, {"stream_id": WIKI, **said})


async def test_whether_somebody_was_checked_is_said_with_yes_or_no(streams: EventStreams, wiki: Client) -> None:
    with pytest.raises(InvalidRequest):
        await streams.add_subject(wiki, named(ANA, wiki, verified="yes"))


async def test_a_stream_keeps_no_more_people_out_than_we_bear(
    office: Office, streams: EventStreams, wiki: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REMOVED", 1)
    await streams.remove_subject(wiki, named(ANA, wiki))
    with pytest.raises(TooManySubjects):
        await streams.remove_subject(wiki, named(BEN, wiki))
    await streams.remove_subject(wiki, named(ANA, wiki))
    await streams.add_subject(wiki, named(ANA, wiki))
    await streams.remove_subject(wiki, named(BEN, wiki))


# --- what people do -------------------------------------------------------------------------------------


async def removed(front: Front, session: Session) -> None:
    """The forum takes this person out."""
    forum = front.clients[FORUM]
    assert await front.durable.streams.remove_subject(FORUM, tokens.subject_for(session.account, forum, KEY), 9)


async def test_nothing_is_written_about_whoever_is_taken_out(front: Front) -> None:
    """Signing out, a new way, a hold, a release, and erasure; of somebody else all is told."""
    for name in ("anna", "bea"):
        session = await connected(front, name, FORUM)
        await front.grant(session, FORUM)
        if name == "anna":
            await removed(front, session)
        await front.back(await front.leave(OPENID, TransactionPurpose.LINK, session), name, session=session)
        support = AccountSupport(durable=front.durable, sessions=front.sessions, trail=front.trail)
        await support.hold(await support.find(name), ACT)
        await support.release(await support.find(name), ACT)
        await front.account.erase(session.account)
        told = [event for _, event, _ in events(front)]
        assert bool(told) is (name == "bea"), told
    assert set(told) == {
        "credential-change", "session-revoked", "account-disabled", "account-enabled", "account-purged"
    }  # fmt: skip
    assert front.durable.tables.removed_subjects == {}


async def test_nothing_is_kept_of_somebody_who_left_the_site(front: Front) -> None:
    """The site is not told of that either; who shares with it again is in its stream again."""
    session = await connected(front, "anna", FORUM)
    await front.grant(session, FORUM)
    await removed(front, session)
    await front.account.disconnect(session, FORUM, locale="en")
    assert (events(front), front.durable.tables.removed_subjects) == ([], {})


async def test_a_site_that_is_gone_holds_up_no_erasure(front: Front) -> None:
    session = await connected(front, "anna", FORUM, WIKI)
    del front.clients[FORUM]
    await front.account.close(session)
    assert await front.durable.accounts.load(session.account) is None


# --- the header that a site wants to see ----------------------------------------------------------------


async def test_a_site_chooses_the_header_where_its_admin_named_none(
    office: Office, streams: EventStreams, forum: Client
) -> None:
    """SSF 1.0 §6.1.1: sent with each event, told to nobody, kept by an update and gone with a replacement."""
    office.op.clients[FORUM] = forum = replace(forum, security_events_authorization=None)
    push = {"method": "urn:ietf:rfc:8935", "endpoint_url": forum.security_events_uri}
    await streams.delete(forum, FORUM)
    told = await streams.create(forum, {"delivery": {**push, "authorization_header": "Bearer one"}})
    assert told["delivery"] == push
    for said, whole, expected in (
        ({"description": "x"}, False, "Bearer one"),
        ({"delivery": push}, False, "Bearer one"),
        ({"delivery": {**push, "authorization_header": "Bearer two"}}, False, "Bearer two"),
        ({"delivery": push}, True, None),
    ):
        await streams.update(forum, {"stream_id": FORUM, **said}, whole=whole)
        await write(office.op, SecurityEvent.ACCOUNT_PURGED)
        await office.deliverer.once()
        assert office.sites.pushed[-1][2].get("Authorization") == expected


@pytest.mark.parametrize("header", [1, "", " x", "x\r\nEvil: 1", "x\0", "é", "x" * 2001])
async def test_a_header_is_one_line(office: Office, streams: EventStreams, forum: Client, header: object) -> None:
    office.op.clients[FORUM] = forum = replace(forum, security_events_authorization=None)
    delivery = {"method": "urn:ietf:rfc:8935", "authorization_header": header}
    with pytest.raises(InvalidRequest):
        await streams.update(forum, {"stream_id": FORUM, "delivery": delivery}, whole=False)
    assert (await office.op.durable.streams.load(FORUM)).proof is None


async def test_the_admins_header_stays(office: Office, streams: EventStreams, forum: Client) -> None:
    """Whatever the site had chosen before the admin named one."""
    await office.op.durable.streams.put(Stream(client=FORUM, proof=Secret("Bearer old")))
    await write(office.op, SecurityEvent.ACCOUNT_PURGED)
    await office.deliverer.once()
    assert office.sites.pushed[-1][2]["Authorization"] == "Bearer of-the-forum"
    fine = {"method": "urn:ietf:rfc:8935", "authorization_header": "Bearer of-the-forum"}
    await streams.update(forum, {"stream_id": FORUM, "delivery": fine}, whole=False)
    assert (await office.op.durable.streams.load(FORUM)).proof is None
