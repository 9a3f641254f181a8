"""A site looks after the stream of its security events itself: whose it is, how it fares, and whether events arrive.

There is one stream for each site that its admin gave `security_events`; it bears the site's id (SSF 1.0 §8.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from broker.domain.checks.dpop import Shown, check_nonce, check_token_key
from broker.domain.client import Client
from broker.domain.events import MANAGE, POLL, PUSH, READ
from broker.domain.ports import Durable, Limits
from broker.domain.stream import Stream, StreamStatus, delivered, supported
from broker.domain.subject import named_subject
from broker.domain.values import ClientId, Secret
from broker.errors import (
    Conflict,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    NoStreams,
    Overtaken,
    StreamExists,
    TemporarilyUnavailable,
    TooManyAttempts,
    TooManySubjects,
    UnknownStream,
)
from broker.flows.access import AccessTokens
from broker.flows.anew import anew
from broker.flows.events import EventWriter

LONGEST: Final = 200
"""Characters of a description, a reason or the address of an event type."""
MOST_NAMED: Final = 50
MOST_HELD: Final = 100_000
"""Events of a paused stream that are due at once when it goes on; more of them follow within a day."""
OTHER_WAY: Final = "Events go the way that the admin set up for this site, and no other."
TRIES_PER_MINUTE: Final = 10
"""Verification events that one site may ask for."""
MOST_REMOVED: Final = 10_000
"""People that one site may take out of its stream."""
LONGEST_PROOF: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStreams:
    durable: Durable
    access: AccessTokens
    writer: EventWriter
    limits: Limits
    clients: Mapping[ClientId, Client]
    issuer: str

    async def holder(self, token: str, shown: Shown | None, *, manages: bool) -> Client:
        """The site whose own access token this is. `shown`: the key that it came with; `manages`: else it only reads.

        Raises `InvalidToken`, `InsufficientScope`, `UseDpopNonce`.
        """
        access = self.access.read(token)
        check_token_key(access, shown)
        if access.client is None or (access.audience and self.issuer not in access.audience):
            raise InvalidToken(detail="a person's, or meant for somebody else")
        client = self.clients.get(access.client)
        if client is None or not client.enabled or access.scopes - client.service_scopes:
            raise InvalidToken(detail="client or scope gone or disabled")
        if await self.durable.grants.is_revoked(access.token_id):
            raise InvalidToken(detail="revoked")
        if not access.scopes & ({MANAGE} if manages else {READ, MANAGE}):
            raise InsufficientScope(detail="neither ssf.read nor ssf.manage, or not enough")
        if shown is not None:
            check_nonce(client, shown)
        return client

    async def all(self, client: Client) -> tuple[Mapping[str, Any], ...]:
        """The streams of a site: one, or none (SSF 1.0 §8.1.1.2)."""
        stream = await self.durable.streams.load(client.client_id)
        return () if not client.security_events or stream.deleted else (self._told(client, stream),)

    async def read(self, client: Client, stream: str) -> Mapping[str, Any]:
        """How a stream is set up. Raises `UnknownStream`."""
        return self._told(client, await self._load(client, stream))

    async def create(self, client: Client, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """Begin again after `delete` (SSF 1.0 §8.1.1.1): a site that never deleted its stream has it.

        Raises `NoStreams`, `StreamExists`, `InvalidRequest`.
        """
        if not client.security_events:
            raise NoStreams(detail="site wants no events")
        ended = await self.durable.streams.load(client.client_id)
        if not ended.deleted:
            raise StreamExists(detail="second stream")
        fresh = Stream(client=client.client_id, version=ended.version)
        new = self._changed(client, fresh, {"delivery": {"method": POLL}, **said})
        await self._drop(client)
        try:
            await self.durable.streams.put(new)
        except Conflict as conflict:
            raise StreamExists(detail="begun elsewhere meanwhile") from conflict
        return self._told(client, new)

    async def update(self, client: Client, said: Mapping[str, Any], *, whole: bool) -> Mapping[str, Any]:
        """Change what is named (SSF 1.0 §8.1.1.3), or all that a site may set: what is not named is as at first (§8.1.1.4).

        Raises `UnknownStream`, `InvalidRequest`, `TemporarilyUnavailable`.
        """

        def change(stream: Stream) -> Stream:
            self._check_ours(client, stream, said)
            before = replace(stream, requested=None, description="", proof=None) if whole else stream
            return self._changed(client, before, said)

        _, after = await self._set(client, _text(said, "stream_id"), change)
        return self._told(client, after)

    async def delete(self, client: Client, stream: str) -> None:
        """End a stream, with all that waits (SSF 1.0 §8.1.1.5). Raises `UnknownStream`, `TemporarilyUnavailable`."""
        await self._set(client, stream, lambda found: Stream(client=found.client, deleted=True, version=found.version))
        await self.durable.streams.add_everybody(client.client_id)
        await self._drop(client)

    async def status(self, client: Client, stream: str) -> Mapping[str, str]:
        """How a stream fares (SSF 1.0 §8.1.2.1). Raises `UnknownStream`."""
        return _status(await self._load(client, stream))

    async def set_status(self, client: Client, said: Mapping[str, Any]) -> Mapping[str, str]:
        """Pause a stream, end its telling, or go on (SSF 1.0 §8.1.2.2).

        Raises `UnknownStream`, `InvalidRequest`, `TooManyAttempts`, `TemporarilyUnavailable`.
        """
        stream = _text(said, "stream_id")
        await self._load(client, stream)
        status = _text(said, "status")
        if status not in set(StreamStatus):
            raise InvalidRequest(detail="no such status")
        now = self.writer.clock.now()
        if wait := await self.limits.hit(
            f"stream status:{client.client_id}", limit=TRIES_PER_MINUTE, window=60, now=now
        ):
            raise TooManyAttempts(wait, detail="changes of a stream's status")
        reason = _text(said, "reason", "")[:LONGEST]
        before, after = await self._set(
            client, stream, lambda found: replace(found, status=StreamStatus(status), reason=reason)
        )
        if before.is_over or after.is_over:
            await self._drop(client)
        elif (
            before.status is StreamStatus.PAUSED
            and after.status is StreamStatus.ENABLED
            and client.security_events_uri is not None
        ):
            await self._go_on(client)
        return _status(after)

    async def _set(self, client: Client, stream: str, change: Callable[[Stream], Stream]) -> tuple[Stream, Stream]:
        """Change a stream as it is now, also where it is changed elsewhere at the same moment; before, and after."""

        async def once() -> tuple[Stream, Stream]:
            before = await self._load(client, stream)
            after = change(before)
            await self.durable.streams.put(after)
            return before, after

        try:
            return await anew(once)
        except Overtaken as error:
            raise TemporarilyUnavailable(detail="stream changed elsewhere each time") from error

    async def verify(self, client: Client, stream: str, state: str | None) -> None:
        """Send an event about nobody that holds `state` (SSF 1.0 §8.1.4.2). Raises `UnknownStream`, `TooManyAttempts`."""
        await self._load(client, stream)
        now = self.writer.clock.now()
        if wait := await self.limits.hit(f"verification:{stream}", limit=TRIES_PER_MINUTE, window=60, now=now):
            raise TooManyAttempts(wait, detail="verification events")
        unit = self.durable.unit()
        self.writer.verify(unit, client, state)
        await unit.commit()

    async def add_subject(self, client: Client, said: Mapping[str, Any]) -> None:
        """Hear of somebody again (SSF 1.0 §8.1.3.2). Whoever shares something with the site is in until it takes them out.

        Whoever is named otherwise than our events name people is nobody here: the answer is the same, so that it says of
        nobody whether they are known (§9.1). Raises `UnknownStream`, `InvalidRequest`.
        """
        await self._load(client, _text(said, "stream_id"))
        if not isinstance(said.get("verified", True), bool):
            raise InvalidRequest(detail="verified is neither true nor false")
        subject = self._subject(said)
        if subject is not None:
            await self.durable.streams.add_subject(client.client_id, subject)

    async def remove_subject(self, client: Client, said: Mapping[str, Any]) -> None:
        """Hear of somebody no more, not even of what waits already (SSF 1.0 §8.1.3.3). Answered as in `add_subject`.

        Raises `UnknownStream`, `InvalidRequest`, `TooManySubjects`.
        """
        await self._load(client, _text(said, "stream_id"))
        subject = self._subject(said)
        if subject is None:
            return
        if not await self.durable.streams.remove_subject(client.client_id, subject, MOST_REMOVED):
            raise TooManySubjects(detail="as many as a stream may have")

    def _subject(self, said: Mapping[str, Any]) -> str | None:
        try:
            return named_subject(said.get("subject"), self.issuer)
        except ValueError as error:
            raise InvalidRequest(detail="no such subject") from error

    async def _load(self, client: Client, stream: str) -> Stream:
        if client.security_events and stream == client.client_id:
            found = await self.durable.streams.load(client.client_id)
            if not found.deleted:
                return found
        raise UnknownStream(detail="no such stream for this site")

    def _told(self, client: Client, stream: Stream) -> dict[str, Any]:
        """The configuration of a stream (SSF 1.0 §8.1.1)."""
        told = self._ours(client, stream)
        told["stream_id"] = client.client_id
        told["events_requested"] = supported(client) if stream.requested is None else stream.requested
        method, address = self._way(client)
        told["delivery"] = {"method": method, "endpoint_url": address}
        return told | ({"description": stream.description} if stream.description else {})

    def _ours(self, client: Client, stream: Stream) -> dict[str, Any]:
        """What is ours to say: a site may repeat it, and not change it."""
        return {
            "iss": self.issuer,
            "aud": client.client_id,
            "events_supported": supported(client),
            "events_delivered": delivered(client, stream),
            "min_verification_interval": 60 // TRIES_PER_MINUTE,
        }

    def _check_ours(self, client: Client, stream: Stream, said: Mapping[str, Any]) -> None:
        for name, ours in self._ours(client, stream).items():
            named = said.get(name, ours)
            theirs = tuple(named) if isinstance(named, list) else named
            if theirs != ours:
                raise InvalidRequest(detail=f"{name} is not ours")

    def _way(self, client: Client) -> tuple[str, str]:
        """Method and address: set by the admin, so that no site has events sent to a place that is not its own."""
        pushed_to = client.security_events_uri
        return (PUSH, pushed_to) if pushed_to is not None else (POLL, f"{self.issuer}/events")

    def _changed(self, client: Client, stream: Stream, said: Mapping[str, Any]) -> Stream:
        """A stream with what the site wants of it. Raises `InvalidRequest`."""
        if "delivery" in said:
            stream = replace(stream, proof=self._proof(client, said["delivery"], stream.proof))
        if "events_requested" in said:
            stream = replace(stream, requested=_addresses(said["events_requested"]))
        return replace(stream, description=_text(said, "description", stream.description)[:LONGEST])

    def _proof(self, client: Client, said: object, before: Secret | None) -> Secret | None:
        """The header that the site wants to see where its events are pushed to, if its admin named none (SSF 1.0 §6.1.1).

        Method and address have to be what the admin set. Raises `InvalidRequest`.
        """
        method, address = self._way(client)
        if not isinstance(said, dict) or said.get("method") != method or said.get("endpoint_url", address) != address:
            raise InvalidRequest(detail="delivery is not what the admin set", public=OTHER_WAY)
        if "authorization_header" not in said:
            return before
        header, admins = said["authorization_header"], client.security_events_authorization
        if method != PUSH or (admins is not None and header != admins.reveal()):
            raise InvalidRequest(detail="authorization_header is not what the admin set", public=OTHER_WAY)
        if admins is not None:
            return None
        if not isinstance(header, str) or not 0 < len(header) <= LONGEST_PROOF or not _is_line(header):
            raise InvalidRequest(detail="authorization_header is no line of printable ASCII")
        return Secret(header)

    async def _drop(self, client: Client) -> None:
        """What waits is never told."""
        while waiting := await self.durable.outbox.pending("stream", client.client_id):
            for one in waiting:
                await self.durable.outbox.done(one.id)

    async def _go_on(self, client: Client) -> None:
        """What waited while the stream was paused is due now."""
        for one in await self.durable.outbox.pending("stream", client.client_id, MOST_HELD):
            await self.durable.outbox.put_off(one.id, self.writer.clock.now())


def _status(stream: Stream) -> dict[str, str]:
    told = {"stream_id": str(stream.client), "status": str(stream.status)}
    return told | ({"reason": stream.reason} if stream.reason else {})


def _text(said: Mapping[str, Any], name: str, otherwise: str | None = None) -> str:
    """Raises `InvalidRequest` for anything but text a store can hold; and for nothing, where there is no `otherwise`."""
    value = said.get(name, otherwise)
    if not isinstance(value, str) or "\0" in value:
        raise InvalidRequest(detail=f"{name} is missing, or no text")
    return value


def _addresses(said: object) -> tuple[str, ...]:
    """Event types, known or not: unknown ones are kept and do nothing."""
    if not isinstance(said, list) or len(said) > MOST_NAMED or not all(_is_address(one) for one in said):
        raise InvalidRequest(detail="events_requested is no list of addresses")
    return tuple(dict.fromkeys(said))


def _is_line(value: str) -> bool:
    """Whether it can stand in a header as it is (RFC 9110 §5.5)."""
    return value.isascii() and value.isprintable() and value == value.strip()


def _is_address(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )
