"""Security events: who hears of what, under which number, and that each arrives once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from joserfc import jwk, jwt
from tests.flows.front import ACT, FACEBOOK, OPENID, Front
from tests.flows.op import FORUM, ISSUER, WIKI, Op
from tests.flows.test_outbox import Office
from tests.support.builders import receipt

from broker.domain import tokens
from broker.domain.consent import Purpose
from broker.domain.events import CHOICES, SECURITY_EVENT, URIS, SecurityEvent
from broker.domain.ports import Delivery
from broker.domain.session import Session, sid_for
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import AccountId, ClientId, Secret, Sid
from broker.errors import UpstreamUnavailable
from broker.flows.events import FETCHED_WITHIN, MOST_AT_ONCE, EventPolls, EventWriter
from broker.flows.support import AccountSupport

ANA = AccountId("account-ana")
PUSH_TO = "https://forum.test/events"


# --- who hears of what --------------------------------------------------------------------------------


@pytest.fixture
def front() -> Front:
    front = Front()
    front.clients[FORUM] = replace(front.clients[FORUM], security_events=frozenset(CHOICES))
    return front


async def connected(front: Front, name: str = "anna", *sites: ClientId, denied: bool = False) -> Session:
    """Somebody who shared something with these sites, or said no."""
    session = (await front.person(name)).started.session
    unit = front.durable.unit()
    for site in sites or (FORUM, WIKI):
        kept = receipt(
            session.account,
            id=f"{name}-{site}",
            purpose=Purpose.SHARE_WITH_CLIENT,
            counterparty=site,
            denied=denied,
            withdraws=None,
        )
        unit.append_receipt(kept)
    await unit.commit()
    return session


def events(front: Front) -> list[tuple[str, str, Mapping[str, str]]]:
    """Site, event and what else is kept of it."""
    found: list[tuple[str, str, Mapping[str, str]]] = []
    for one in front.durable.tables.deliveries.values():
        if one.kind == SECURITY_EVENT:
            more = {name: text for name, text in one.payload.items() if name not in {"event", "stream", "account"}}
            found.append((str(one.client), one.payload["event"], more))
    return found


async def test_a_session_that_ends_is_told_to_the_sites_it_was_used_at(front: Front) -> None:
    session = await connected(front)
    await front.grant(session, FORUM)
    await front.grant(session, WIKI)
    await front.sessions.sign_out(session)
    assert events(front) == [("forum", "session-revoked", {"session": session.sid})]


async def test_a_way_that_comes_or_goes_is_told_without_its_name(front: Front) -> None:
    session = await connected(front)
    await front.back(await front.leave(OPENID, TransactionPurpose.LINK, session), "anna", session=session)
    assert events(front) == [("forum", "credential-change", {"change": "create", "credential": "federated"})]
    link = next(link for link in front.links if link.provider == FACEBOOK)
    await front.account.unlink(session, link.id)
    assert events(front)[1:] == [("forum", "credential-change", {"change": "revoke", "credential": "federated"})]
    await front.mail_code.add(session, locale="en")
    assert events(front)[2:] == [("forum", "credential-change", {"change": "create", "credential": "email"})]


async def test_an_account_on_hold_and_its_release_are_told(front: Front) -> None:
    session = await connected(front)
    support = AccountSupport(durable=front.durable, sessions=front.sessions, trail=front.trail)
    account = await support.find("anna")
    await support.hold(account, ACT)
    await support.release(account, ACT)
    assert [event for _, event, _ in events(front)] == ["account-disabled", "account-enabled"]
    assert session.account == account.id


async def test_an_erased_account_is_told_to_every_site_that_ever_got_something(front: Front) -> None:
    """Also to one that was disconnected since: it may keep something (GDPR art. 19)."""
    session = await connected(front)
    front.clients[WIKI] = replace(front.clients[WIKI], security_events=frozenset({"account-purged"}))
    await front.account.disconnect(session, WIKI, locale="en")
    await front.account.close(session)
    assert sorted(events(front)) == [("forum", "account-purged", {}), ("wiki", "account-purged", {})]


async def test_a_site_that_was_disconnected_hears_of_nothing_but_erasure(front: Front) -> None:
    """Who left it told it nothing more: neither new ways nor a hold."""
    session = await connected(front, "anna", FORUM)
    await front.account.disconnect(session, FORUM, locale="en")
    await front.back(await front.leave(OPENID, TransactionPurpose.LINK, session), "anna", session=session)
    support = AccountSupport(durable=front.durable, sessions=front.sessions, trail=front.trail)
    await support.release(await support.find("anna"), ACT)
    await support.hold(await support.find("anna"), ACT)
    assert events(front) == []


async def test_a_site_that_got_nothing_hears_of_nobody(front: Front) -> None:
    """Neither one that the person turned away, nor one they never saw; nor a site that is off or gone."""
    session = await connected(front, "anna", FORUM, denied=True)
    other = await connected(front, "bea", WIKI, ClientId("gone"))
    third = await connected(front, "cleo", FORUM)
    front.clients[FORUM] = replace(front.clients[FORUM], enabled=False)
    for one in (session, other, third):
        await front.account.close(one)
    assert events(front) == []


async def test_a_site_hears_of_what_it_wants_and_of_nothing_else(front: Front) -> None:
    session = await connected(front)
    front.clients[FORUM] = replace(front.clients[FORUM], security_events=frozenset({"account-purged"}))
    await front.grant(session, FORUM)
    await front.account.close(session)
    assert [event for _, event, _ in events(front)] == ["account-purged"]


async def test_of_an_account_that_is_gone_nobody_hears_more(front: Front) -> None:
    session = await connected(front)
    writer = front.sessions.events
    assert writer is not None
    assert await writer.known_to(session.account, SecurityEvent.ACCOUNT_DISABLED) == dict.fromkeys(
        (FORUM, WIKI), session.account
    )
    await front.account.close(session)
    assert await writer.known_to(session.account, SecurityEvent.ACCOUNT_DISABLED) == {}
    assert await writer.known_to(session.account, SecurityEvent.ACCOUNT_PURGED) == {}


async def test_where_no_site_wants_any_nothing_is_looked_up(front: Front) -> None:
    session = await connected(front)
    front.clients[FORUM] = replace(front.clients[FORUM], security_events=frozenset())
    writer = front.sessions.events
    assert writer is not None
    assert await writer.known_to(session.account, SecurityEvent.ACCOUNT_PURGED) == {}
    await front.account.close(session)
    assert events(front) == []


# --- what it says -------------------------------------------------------------------------------------


@pytest.fixture
def office() -> Office:
    office = Office()
    forum = office.op.clients[FORUM]
    office.op.clients[FORUM] = replace(
        forum,
        security_events=frozenset(CHOICES),
        security_events_uri=PUSH_TO,
        security_events_authorization=Secret("Bearer of-the-forum"),
    )
    office.op.clients[WIKI] = replace(office.op.clients[WIKI], security_events=frozenset(CHOICES))
    return office


def writer_of(op: Op) -> EventWriter:
    return EventWriter(
        durable=op.durable, clients=op.clients, clock=op.clock, entropy=op.entropy, subject_key=b"s" * 32
    )


async def write(op: Op, event: SecurityEvent, client: ClientId = FORUM, **more: str) -> None:
    unit = op.durable.unit()
    writer_of(op).happened(unit, event, {client: ANA}, **more)
    await unit.commit()


def read(op: Op, token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims, by software that is none of ours."""
    decoded = jwt.decode(token, jwk.KeySet.import_key_set(json.loads(op.box.jwks)), algorithms=["RS256", "ES256"])
    return decoded.header, decoded.claims


async def test_an_event_is_pushed_as_the_specification_says(office: Office) -> None:
    """RFC 8935 §2, RFC 8417 §2.2: type, one event, no `sub` and no `exp`; the number is that of this site."""
    op = office.op
    await write(op, SecurityEvent.ACCOUNT_PURGED)
    happened = op.clock.now()
    op.move(seconds=3)
    assert await office.deliverer.once() == 1
    ((url, token, headers),) = office.sites.pushed
    assert url == PUSH_TO
    assert headers == {
        "Content-Type": "application/secevent+jwt",
        "Accept": "application/json",
        "Authorization": "Bearer of-the-forum",
    }
    header, claims = read(op, token)
    assert (header["typ"], header["alg"]) == ("secevent+jwt", "RS256")
    subject = tokens.subject_for(ANA, op.clients[FORUM], b"s" * 32)
    assert claims == {
        "iss": ISSUER,
        "aud": FORUM,
        "jti": claims["jti"],
        "iat": int((happened + timedelta(seconds=3)).timestamp()),
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": subject},
        "events": {URIS[SecurityEvent.ACCOUNT_PURGED]: {}},
    }
    assert await op.durable.outbox.pending("stream", FORUM) == ()
    assert office.events.names == ["security_event_delivered"]


async def test_a_session_is_named_as_the_site_knows_it(office: Office) -> None:
    """CAEP 1.0 §3.1: who, which session, and when it happened."""
    op = office.op
    await write(op, SecurityEvent.SESSION_REVOKED, session="session-1")
    happened = op.clock.now()
    op.move(hours=1)
    await office.deliverer.once()
    _, claims = read(op, office.sites.pushed[0][1])
    sid = sid_for(Sid("session-1"), FORUM, b"i" * 32)
    assert claims["sub_id"]["format"] == "complex"
    assert claims["sub_id"]["session"] == {"format": "opaque", "id": sid}
    assert claims["sub_id"]["user"]["format"] == "iss_sub"
    assert claims["events"] == {URIS[SecurityEvent.SESSION_REVOKED]: {"event_timestamp": int(happened.timestamp())}}


async def test_a_credential_is_said_to_be_one_and_no_more(office: Office) -> None:
    op = office.op
    await write(op, SecurityEvent.CREDENTIAL_CHANGE, change="create")
    await office.deliverer.once()
    _, claims = read(op, office.sites.pushed[0][1])
    (said,) = claims["events"].values()
    assert said == {
        "credential_type": "federated",
        "change_type": "create",
        "event_timestamp": int(op.clock.now().timestamp()),
    }


async def test_an_admin_tries_the_way_to_a_site(office: Office) -> None:
    """SSF 1.0 §8.1.4: about the stream, and nobody."""
    op, unit = office.op, office.op.durable.unit()
    writer_of(op).verify(unit, op.clients[FORUM])
    await unit.commit()
    await office.deliverer.once()
    _, claims = read(op, office.sites.pushed[0][1])
    assert claims["sub_id"] == {"format": "opaque", "id": "forum"}
    assert claims["events"] == {URIS[SecurityEvent.VERIFICATION]: {}}


# --- pushed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (500, "status 500"),
        (400, "status 400"),
        (UpstreamUnavailable("down"), "upstream_unavailable"),
        (ValueError(), "ValueError"),
    ],
)
async def test_a_push_that_fails_is_tried_again_as_the_same_event(
    office: Office, answer: int | Exception, error: str
) -> None:
    op = office.op
    office.sites.answers[PUSH_TO] = [answer]
    await write(op, SecurityEvent.ACCOUNT_PURGED)
    await office.deliverer.once()
    (left,) = await op.durable.outbox.pending("stream", FORUM)
    assert (left.attempts, left.last_error) == (1, error)
    op.move(seconds=2)
    await office.deliverer.once()
    assert await op.durable.outbox.pending("stream", FORUM) == ()
    first, second = (read(op, token)[1]["jti"] for _, token, _ in office.sites.pushed)
    assert first == second == left.id


async def test_a_site_without_a_token_of_its_own_is_pushed_to_without_one(office: Office) -> None:
    office.op.clients[FORUM] = replace(office.op.clients[FORUM], security_events_authorization=None)
    await write(office.op, SecurityEvent.ACCOUNT_PURGED)
    await office.deliverer.once()
    assert "Authorization" not in office.sites.pushed[0][2]


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_site_that_is_gone_or_wants_none_any_more_gets_none(office: Office, is_gone: bool) -> None:
    await write(office.op, SecurityEvent.ACCOUNT_PURGED)
    if is_gone:
        del office.op.clients[FORUM]
    else:
        office.op.clients[FORUM] = replace(office.op.clients[FORUM], security_events=frozenset())
    assert await office.deliverer.once() == 1
    assert office.sites.pushed == []
    assert await office.op.durable.outbox.pending("stream", FORUM) == ()


# --- fetched ------------------------------------------------------------------------------------------


def polls(office: Office) -> EventPolls:
    return EventPolls(durable=office.op.durable, signer=office.op.event_signer)


async def fetch(
    office: Office, *got: str, most: int = 10, refused: Mapping[str, str] = MappingProxyType({})
) -> tuple[Mapping[str, str], bool]:
    return await polls(office).poll(office.op.clients[WIKI], got=got, refused=refused, most=most)


async def waiting(office: Office) -> tuple[Delivery, ...]:
    return await office.op.durable.outbox.pending("stream", WIKI)


async def test_an_event_waits_until_the_site_says_it_has_it(office: Office) -> None:
    """RFC 8936 §2.4: sent as often as it is asked for, with the same `jti`; and pushed to nobody."""
    await write(office.op, SecurityEvent.ACCOUNT_PURGED, WIKI)
    assert await office.deliverer.once() == 0
    first, more = await fetch(office)
    assert not more
    again, _ = await fetch(office)
    assert list(first) == list(again)
    ((jti, token),) = first.items()
    header, claims = read(office.op, token)
    assert (header["alg"], claims["jti"], claims["aud"]) == ("ES256", jti, WIKI)
    assert await fetch(office, jti) == ({}, False)
    assert await waiting(office) == ()
    assert await fetch(office, jti) == ({}, False)


async def test_events_come_oldest_first_and_no_more_than_asked_for(office: Office) -> None:
    for _ in range(3):
        await write(office.op, SecurityEvent.ACCOUNT_ENABLED, WIKI)
        office.op.move(seconds=1)
    order = [one.id for one in await waiting(office)]
    found, more = await fetch(office, most=2)
    assert (list(found), more) == (order[:2], True)
    found, more = await fetch(office, *found, most=2)
    assert (list(found), more) == (order[2:], False)
    assert await fetch(office, most=0) == ({}, True)


async def test_no_answer_is_larger_than_we_bear(office: Office) -> None:
    for _ in range(MOST_AT_ONCE + 1):
        await write(office.op, SecurityEvent.ACCOUNT_ENABLED, WIKI)
    found, more = await fetch(office, most=10**9)
    assert (len(found), more) == (MOST_AT_ONCE, True)


async def test_who_stayed_away_long_catches_up(office: Office) -> None:
    """Nothing is lost or told twice, however much waits; and there is more until there is none."""
    count = 3 * MOST_AT_ONCE + 7
    for _ in range(count):
        await write(office.op, SecurityEvent.ACCOUNT_ENABLED, WIKI)
        office.op.move(seconds=1)
    order = [one.id for one in await waiting(office)]
    told: list[str] = []
    found: Mapping[str, str] = {}
    for left in range(count - MOST_AT_ONCE, -MOST_AT_ONCE, -MOST_AT_ONCE):
        found, more = await fetch(office, *found, most=10**9)
        told += found
        assert more == (left > 0)
    assert told == order
    assert await fetch(office, *found) == ({}, False)


async def test_an_event_that_a_site_refuses_is_not_sent_again(office: Office) -> None:
    await write(office.op, SecurityEvent.ACCOUNT_PURGED, WIKI)
    (one,) = await waiting(office)
    assert await fetch(office, refused={one.id: "jwtParse", "unknown": "x"}) == ({}, False)
    ((left, is_over),) = await office.op.durable.outbox.traces("stream", WIKI)
    assert is_over
    assert left.last_error == "the site refused it: jwtParse"


async def test_nobody_fetches_or_ends_what_is_another_sites(office: Office) -> None:
    await write(office.op, SecurityEvent.ACCOUNT_PURGED, FORUM)
    (theirs,) = await office.op.durable.outbox.pending("stream", FORUM)
    assert await fetch(office, theirs.id, refused={theirs.id: "x"}) == ({}, False)
    assert await office.op.durable.outbox.pending("stream", FORUM) == (theirs,)


async def test_an_event_nobody_fetches_is_given_up_after_a_week(office: Office) -> None:
    await write(office.op, SecurityEvent.ACCOUNT_PURGED, WIKI)
    office.op.clock.move(FETCHED_WITHIN - timedelta(seconds=1))
    assert await office.deliverer.once() == 0
    office.op.move(seconds=1)
    assert await office.deliverer.once() == 1
    ((left, is_over),) = await office.op.durable.outbox.traces("stream", WIKI)
    assert (is_over, left.last_error) == (True, "not fetched in time")
    assert await fetch(office) == ({}, False)
