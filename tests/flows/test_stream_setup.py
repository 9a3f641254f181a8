"""A site sets up its stream inside the frame of its admin: what it wants, whether it goes on, and whether there is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.op import FORUM, ISSUER, WIKI
from tests.flows.test_events import PUSH_TO, office, write
from tests.flows.test_outbox import Office
from tests.flows.test_streams import streams_of

from broker.domain.client import Client
from broker.domain.events import CHOICES, POLL, PUSH, URIS, SecurityEvent
from broker.domain.ports import Streams
from broker.domain.stream import Stream, StreamStatus
from broker.domain.values import ClientId
from broker.errors import (
    InvalidRequest,
    NoStreams,
    StreamExists,
    TemporarilyUnavailable,
    TooManyAttempts,
    UnknownStream,
)
from broker.flows.events import FETCHED_WITHIN, EventPolls
from broker.flows.streams import TRIES_PER_MINUTE, EventStreams

__all__ = ["office"]
PURGED, DISABLED = URIS[SecurityEvent.ACCOUNT_PURGED], URIS[SecurityEvent.ACCOUNT_DISABLED]
ALL = tuple(URIS[SecurityEvent(name)] for name in CHOICES)
HEADER = "Bearer of-the-forum"


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


async def fetched(office: Office, *got: str) -> tuple[dict[str, str], bool]:
    polls = EventPolls(durable=office.op.durable, signer=office.op.event_signer)
    sets, more = await polls.poll(office.op.clients[WIKI], got=got, refused={}, most=10)
    return dict(sets), more


async def waits(office: Office, client: ClientId) -> list[str]:
    return [one.payload["event"] for one in await office.op.durable.outbox.pending("stream", client)]


def whole(client: Client, **changes: Any) -> dict[str, Any]:
    pushed = client.security_events_uri
    return {
        "stream_id": client.client_id,
        "iss": ISSUER,
        "aud": client.client_id,
        "events_supported": ALL,
        "events_requested": ALL,
        "events_delivered": ALL,
        "min_verification_interval": 6,
        "delivery": {"method": PUSH if pushed else POLL, "endpoint_url": pushed or f"{ISSUER}/events"},
    } | changes


async def test_a_stream_is_there_as_its_admin_set_it_up(streams: EventStreams, forum: Client, wiki: Client) -> None:
    """SSF 1.0 §8.1.1.2: by its id, and in the list."""
    for client in (forum, wiki):
        assert await streams.read(client, client.client_id) == whole(client)
        assert await streams.all(client) == (whole(client),)
    assert forum.security_events_uri == PUSH_TO
    with pytest.raises(UnknownStream):
        await streams.read(forum, "wiki")
    with pytest.raises(StreamExists):
        await streams.create(forum, {"delivery": {"method": PUSH, "endpoint_url": PUSH_TO}})


async def test_a_site_without_events_has_no_stream_and_gets_none(streams: EventStreams, forum: Client) -> None:
    other = replace(forum, security_events=frozenset())
    assert await streams.all(other) == ()
    with pytest.raises(NoStreams):
        await streams.create(other, {})
    with pytest.raises(UnknownStream):
        await streams.read(other, "forum")


async def test_a_stream_ends_with_what_waits_and_begins_again(
    office: Office, streams: EventStreams, wiki: Client
) -> None:
    """SSF 1.0 §8.1.1.5, §8.1.1.1: nothing of before, or of in between, is told."""
    await streams.set_status(wiki, {"stream_id": "wiki", "status": "paused", "reason": "Holidays."})
    await write(office.op, SecurityEvent.ACCOUNT_PURGED, WIKI)
    await streams.delete(wiki, "wiki")
    assert (await waits(office, WIKI), await streams.all(wiki)) == ([], ())
    for over in (streams.delete(wiki, "wiki"), streams.status(wiki, "wiki"), streams.verify(wiki, "wiki", None)):
        with pytest.raises(UnknownStream):
            await over
    await write(office.op, SecurityEvent.ACCOUNT_PURGED, WIKI)
    assert await fetched(office) == ({}, False)
    told = await streams.create(wiki, {"events_requested": [PURGED, "urn:unknown", PURGED], "description": "New"})
    assert told == whole(wiki, events_requested=(PURGED, "urn:unknown"), events_delivered=(PURGED,), description="New")
    assert await streams.status(wiki, "wiki") == {"stream_id": "wiki", "status": "enabled"}
    assert await fetched(office) == ({}, False)


async def test_no_site_has_events_sent_another_way_than_its_admins(
    streams: EventStreams, forum: Client, wiki: Client
) -> None:
    """Neither elsewhere, nor with another header, nor pushed where they are fetched; a refused one changes nothing."""
    for client in (forum, wiki):
        await streams.delete(client, client.client_id)
    for client, delivery in (
        (forum, {"method": PUSH, "endpoint_url": "https://inside.test/"}),
        (forum, {"method": PUSH, "authorization_header": "Bearer other"}),
        (forum, {"method": POLL}),
        (forum, None),
        (wiki, {"method": PUSH, "endpoint_url": PUSH_TO}),
        (wiki, {"method": POLL, "authorization_header": HEADER}),
    ):
        with pytest.raises(InvalidRequest):
            await streams.create(client, {"delivery": delivery})
    with pytest.raises(InvalidRequest):
        await streams.create(forum, {})  # which asks to fetch (§8.1.1.1)
    assert (await streams.all(forum), await streams.all(wiki)) == ((), ())
    fine = {"method": PUSH, "endpoint_url": PUSH_TO, "authorization_header": HEADER}
    assert (await streams.create(forum, {"delivery": fine}))["delivery"] == {"method": PUSH, "endpoint_url": PUSH_TO}


async def test_an_update_changes_what_it_names_and_a_replacement_all(streams: EventStreams, wiki: Client) -> None:
    """SSF 1.0 §8.1.1.3, §8.1.1.4."""
    first = await streams.update(wiki, {"stream_id": "wiki", "description": "x" * 300}, whole=False)
    assert first == whole(wiki, description="x" * 200)
    second = await streams.update(wiki, {"stream_id": "wiki", "events_requested": [PURGED]}, whole=False)
    assert second == whole(wiki, description="x" * 200, events_requested=(PURGED,), events_delivered=(PURGED,))
    repeated = {**second, "events_requested": [DISABLED], "events_supported": list(ALL), "events_delivered": [PURGED]}
    third = await streams.update(wiki, repeated, whole=True)
    assert third["events_delivered"] == (DISABLED,)
    assert await streams.update(wiki, {"stream_id": "wiki"}, whole=True) == whole(wiki)


@pytest.mark.parametrize(
    "said",
    [
        {"iss": "https://other.test"}, {"aud": ["wiki"]}, {"events_supported": [PURGED]}, {"events_delivered": []},
        {"events_requested": PURGED}, {"events_requested": [1]}, {"events_requested": ["a b"]}, {"events_requested": [""]},
        {"events_requested": ["urn:x"] * 51}, {"description": 1}, {"description": "\0"}, {"stream_id": None},
    ],
)  # fmt: skip
async def test_what_is_not_a_sites_to_say_is_refused(streams: EventStreams, wiki: Client, said: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await streams.update(wiki, {"stream_id": "wiki", **said}, whole=True)
    assert await streams.all(wiki) == (whole(wiki),)


@pytest.mark.parametrize("said", [{}, {"status": "gone"}, {"status": 1}, {"status": "paused", "reason": 1}])
async def test_a_status_is_one_of_three(streams: EventStreams, wiki: Client, said: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await streams.set_status(wiki, {"stream_id": "wiki", **said})
    assert (await streams.status(wiki, "wiki"))["status"] == "enabled"


async def test_what_a_site_does_not_want_never_waits_for_it(
    office: Office, streams: EventStreams, forum: Client, wiki: Client
) -> None:
    """A verification reaches it all the same (§8.1.4)."""
    for client in (forum, wiki):
        await streams.update(client, {"stream_id": client.client_id, "events_requested": [PURGED]}, whole=False)
        for event in (SecurityEvent.ACCOUNT_DISABLED, SecurityEvent.ACCOUNT_PURGED):
            await write(office.op, event, client.client_id)
        await streams.verify(client, client.client_id, "x")
    assert await office.deliverer.once() == 3
    assert len(office.sites.pushed) == 2
    sets, more = await fetched(office)
    assert (len(sets), more) == (2, True)
    assert await waits(office, WIKI) == ["account-purged", "verification"]
    assert await fetched(office, *sets) == ({}, False)


async def test_a_stream_that_is_paused_keeps_events_and_one_that_is_off_drops_them(
    office: Office, streams: EventStreams, wiki: Client
) -> None:
    """SSF 1.0 §8.1.2.1; what was told may still be acknowledged."""
    await write(office.op, SecurityEvent.ACCOUNT_DISABLED, WIKI)
    (first,) = (await fetched(office))[0]
    paused = {"stream_id": "wiki", "status": "paused", "reason": "Holidays."}
    assert await streams.set_status(wiki, paused) == await streams.status(wiki, "wiki") == paused
    await write(office.op, SecurityEvent.ACCOUNT_PURGED, WIKI)
    assert await fetched(office, first) == ({}, False)
    on = {"stream_id": "wiki", "status": "enabled"}
    assert await streams.set_status(wiki, on) == on
    assert await waits(office, WIKI) == ["account-purged"]
    assert len((await fetched(office))[0]) == 1
    await streams.set_status(wiki, {"stream_id": "wiki", "status": "disabled"})
    assert await waits(office, WIKI) == []
    await write(office.op, SecurityEvent.ACCOUNT_PURGED, WIKI)
    await streams.set_status(wiki, on)
    assert await fetched(office) == ({}, False)


async def test_nothing_is_pushed_while_a_stream_is_paused_and_all_of_it_afterwards(
    office: Office, streams: EventStreams, forum: Client
) -> None:
    await streams.set_status(forum, {"stream_id": "forum", "status": "paused"})
    await write(office.op, SecurityEvent.ACCOUNT_PURGED)
    for _ in range(3):
        await office.deliverer.once()
        office.op.move(minutes=10)
    assert (office.sites.pushed, await waits(office, FORUM)) == ([], ["account-purged"])
    ((waiting, _),) = await office.op.durable.outbox.traces("stream", FORUM)
    assert (waiting.attempts, waiting.last_error) == (0, ""), "a pause is no failure"
    await streams.set_status(forum, {"stream_id": "forum", "status": "enabled"})
    await office.deliverer.once()
    assert (len(office.sites.pushed), await waits(office, FORUM)) == (1, [])


async def test_saying_again_that_a_stream_goes_on_hurries_nothing(
    office: Office, streams: EventStreams, forum: Client
) -> None:
    """What waits after a push that failed keeps its time and its tries; and nobody says it without end."""
    await write(office.op, SecurityEvent.ACCOUNT_PURGED)
    ((before, _),) = await office.op.durable.outbox.traces("stream", FORUM)
    later = office.op.clock.now() + timedelta(hours=1)
    await office.op.durable.outbox.retry(before.id, later, "status 500")
    on = {"stream_id": "forum", "status": "enabled"}
    for _ in range(TRIES_PER_MINUTE):
        await streams.set_status(forum, on)
    ((after, _),) = await office.op.durable.outbox.traces("stream", FORUM)
    assert (after.due_at, after.attempts) == (later, before.attempts + 1)
    with pytest.raises(TooManyAttempts):
        await streams.set_status(forum, on)


async def test_nothing_is_pushed_that_happens_while_a_stream_is_off(
    office: Office, streams: EventStreams, forum: Client
) -> None:
    await streams.set_status(forum, {"stream_id": "forum", "status": "disabled"})
    await write(office.op, SecurityEvent.ACCOUNT_PURGED)
    await office.deliverer.once()
    assert (office.sites.pushed, await waits(office, FORUM)) == ([], [])


async def test_a_pause_ends_for_an_event_when_a_week_is_over(
    office: Office, streams: EventStreams, forum: Client
) -> None:
    await streams.set_status(forum, {"stream_id": "forum", "status": "paused"})
    await write(office.op, SecurityEvent.ACCOUNT_PURGED)
    await office.deliverer.once()
    office.op.clock.move(FETCHED_WITHIN + timedelta(seconds=1))
    await office.deliverer.once()
    ((left, is_over),) = await office.op.durable.outbox.traces("stream", FORUM)
    assert (is_over, left.last_error, office.sites.pushed) == (True, "paused for too long", [])


# --- two changes at once ------------------------------------------------------------------------------


class Elsewhere:
    """The streams of a store where another process sets one of them, this often, between what is read and what is put."""

    def __init__(self, real: Streams, times: int, **changes: Any) -> None:
        self.real, self.times, self.changes = real, times, changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def put(self, stream: Stream) -> None:
        if self.times:
            self.times -= 1
            await self.real.put(replace(await self.real.load(stream.client), **self.changes))
        await self.real.put(stream)


def elsewhere(office: Office, times: int, **changes: Any) -> Streams:
    """From now on; what was there before."""
    real = office.op.durable.streams
    office.op.durable.streams = Elsewhere(real, times, **changes)  # type: ignore[assignment]
    return real


async def test_of_two_changes_at_once_both_are_there(office: Office, streams: EventStreams, wiki: Client) -> None:
    elsewhere(office, 2, status=StreamStatus.PAUSED, reason="Holidays.")
    told = await streams.update(wiki, {"stream_id": "wiki", "description": "New"}, whole=False)
    assert told["description"] == "New"
    assert await streams.status(wiki, "wiki") == {"stream_id": "wiki", "status": "paused", "reason": "Holidays."}
    elsewhere(office, 1, description="Newer")
    await streams.set_status(wiki, {"stream_id": "wiki", "status": "enabled"})
    assert (await streams.read(wiki, "wiki"))["description"] == "Newer"


async def test_who_is_overtaken_each_time_is_told_to_come_again(
    office: Office, streams: EventStreams, wiki: Client
) -> None:
    elsewhere(office, 99)
    for change in (
        streams.update(wiki, {"stream_id": "wiki", "description": "New"}, whole=False),
        streams.set_status(wiki, {"stream_id": "wiki", "status": "disabled"}),
        streams.delete(wiki, "wiki"),
    ):
        with pytest.raises(TemporarilyUnavailable):
            await change
    assert await streams.status(wiki, "wiki") == {"stream_id": "wiki", "status": "enabled"}
    assert (await streams.read(wiki, "wiki")) == whole(wiki)


async def test_a_stream_that_ended_meanwhile_is_not_set_and_one_that_began_is_not_begun_again(
    office: Office, streams: EventStreams, wiki: Client
) -> None:
    real = elsewhere(office, 1, deleted=True)
    with pytest.raises(UnknownStream):
        await streams.update(wiki, {"stream_id": "wiki", "description": "New"}, whole=False)
    office.op.durable.streams = real  # type: ignore[assignment]
    elsewhere(office, 1, deleted=False, description="Theirs")
    with pytest.raises(StreamExists):
        await streams.create(wiki, {"description": "Ours"})
    assert (await streams.read(wiki, "wiki"))["description"] == "Theirs"
