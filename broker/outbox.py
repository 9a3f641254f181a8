"""Deliver what must reach others: written with its cause, sent later, retried, never lost, never on a request's path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from broker.domain import tokens
from broker.domain.client import Client
from broker.domain.events import EVENT_TOKEN_TYPE, SECURITY_EVENT
from broker.domain.letters import LETTER
from broker.domain.ports import Clock, Delivery, Durable, Entropy, Signer
from broker.domain.provider import UpstreamTokens
from broker.domain.session import sid_for
from broker.domain.stream import StreamStatus, is_wanted
from broker.domain.taking_back import TAKE_BACK, tokens_of
from broker.domain.values import AccountId, ClientId, ProviderId, Secret, Sid
from broker.errors import BrokerError, ProviderOff, StoreUnavailable
from broker.flows.events import FETCHED_WITHIN, EventSigner, is_removed
from broker.mail import NotSent

RETRIES: Final = tuple(
    timedelta(seconds=seconds) for seconds in (2, 10, 30, 120, 600, 1800, 3600, 3600 * 4, 3600 * 12, 3600 * 24)
)
"""When to try again after each failure; after the last the site is listed as not told."""
LOOK_AGAIN: Final = timedelta(days=1)
"""How often an event is looked at whose stream is paused; going on makes it due at once."""
BATCH: Final = 20
IDLE: Final = 1.0
"""Seconds between two looks at an empty outbox."""


class Post(Protocol):
    """One bounded POST; see `broker.egress`."""

    async def post_form(self, url: str, form: Mapping[str, str]) -> int:
        """The status. Raises an `UpstreamError` if nobody answered or the address is refused."""
        ...

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The same for any body."""
        ...


class Letters(Protocol):
    """Sends one letter; see `broker.mail`."""

    async def send(self, payload: Mapping[str, str]) -> None:
        """Raises `broker.mail.NotSent`."""
        ...


TakeBack = Callable[[ProviderId, UpstreamTokens], Awaitable[None]]
"""Raises `ProviderOff` for a provider that is not in the settings, and an `UpstreamError`."""


class Log(Protocol):
    def event(self, name: str, /, **facts: str | float | None) -> None: ...


def _count_nothing(_site: str, _outcome: str) -> None:
    """Nobody asked for numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliverer:
    """Sends logout tokens (OpenID Connect Back-Channel Logout §2.5), security events, letters, and tokens of providers back.

    Signs when it sends, so nothing waits stale.
    """

    durable: Durable
    clients: Mapping[ClientId, Client]
    http: Post
    signer: Signer
    clock: Clock
    entropy: Entropy
    log: Log
    issuer: str
    subject_key: bytes
    sid_key: bytes
    events: EventSigner
    take_back: TakeBack
    """Ends tokens at the provider that gave them."""
    letters: Letters | None = None
    """`None`: nobody is written to."""
    count: Callable[[str, str], None] = _count_nothing
    """Told the site and what became of one try: `delivered`, `delayed` or `given_up`."""

    async def run(self) -> None:
        """Until cancelled. A database that is away is waited for, and no delivery that breaks stops the others."""
        while True:
            busy = 0
            try:
                busy = await self.once()
            except StoreUnavailable:
                pass
            except Exception as error:
                self.log.event("outbox_broken", error=type(error).__name__)
            if not busy:
                await asyncio.sleep(IDLE)

    async def once(self) -> int:
        """Deliver what is due now; how many were tried. Raises, once all were, what went wrong with noting one.

        What was sent and could not be noted is sent again when its claim runs out: twice rather than never.
        """
        claimed = await self.durable.outbox.claim(self.clock.now(), BATCH)
        noted = await asyncio.gather(*(self._deliver(delivery) for delivery in claimed), return_exceptions=True)
        for problem in noted:
            if problem is not None:
                raise problem
        return len(claimed)

    async def _deliver(self, delivery: Delivery) -> None:
        if delivery.kind == LETTER:
            await self._letter(delivery)
            return
        if delivery.kind == TAKE_BACK:
            await self._take_back(delivery)
            return
        client = self.clients.get(delivery.client)
        if delivery.kind == SECURITY_EVENT:
            await self._event(delivery, client)
            return
        if client is None or client.backchannel_logout_uri is None:
            await self.durable.outbox.give_up(delivery.id, "site is gone")
            return
        error = await self._send(delivery, client, client.backchannel_logout_uri)
        outcome = await self._note(delivery, "logout_token", "delivered", error, client=client.client_id)
        self.count(client.client_id, outcome)

    async def _event(self, delivery: Delivery, client: Client | None) -> None:
        """One security event, pushed (RFC 8935); one that was to be fetched is due only when its time is over."""
        outbox = self.durable.outbox
        if client is None or not client.security_events:
            await outbox.give_up(delivery.id, "site is gone, or wants no events any more")
            return
        stream, now = await self.durable.streams.load(client.client_id), self.clock.now()
        is_paused = stream.status is StreamStatus.PAUSED
        if not is_wanted(delivery.payload["event"], client, stream) or await self._is_out(delivery, client):
            await outbox.done(delivery.id)
        elif client.security_events_uri is None or (is_paused and now >= delivery.created_at + FETCHED_WITHIN):
            await outbox.give_up(delivery.id, "not fetched in time" if not is_paused else "paused for too long")
        elif is_paused:
            await outbox.put_off(delivery.id, now + LOOK_AGAIN)
        else:
            proof = client.security_events_authorization or stream.proof
            error = await self._push(delivery, client, client.security_events_uri, proof)
            await self._note(delivery, "security_event", "delivered", error, client=client.client_id)

    async def _is_out(self, delivery: Delivery, client: Client) -> bool:
        """Whether the site took the person out of its stream since this was written."""
        account = delivery.payload.get("account", "")
        return bool(account) and await is_removed(self.durable, AccountId(account), client, self.subject_key)

    async def _push(self, delivery: Delivery, client: Client, address: str, proof: Secret | None) -> str:
        """What went wrong, in a word or two; nothing if the site has it: 202, and what some answer instead."""
        headers = {"Content-Type": f"application/{EVENT_TOKEN_TYPE}", "Accept": "application/json"}
        if proof is not None:
            headers["Authorization"] = proof.reveal()

        async def post() -> int:
            return await self.http.post(address, self.events.sign(delivery, client).encode(), headers)

        return await _error_of(post, good=(200, 202, 204))

    async def _letter(self, delivery: Delivery) -> None:
        """One letter; one that is late is of no use any more."""
        error, is_final = "too late", True
        if self.letters is not None and self.clock.now() < datetime.fromisoformat(delivery.payload["until"]):
            try:
                await self.letters.send(delivery.payload)
                error = ""
            except NotSent as problem:
                error, is_final = problem.reason, problem.is_final
            except Exception as problem:  # a bug of ours, or of a library: this one waits, the others go out
                error, is_final = type(problem).__name__, False
        await self._note(
            delivery, "letter", "sent", error, is_final=is_final, letter=delivery.payload.get("letter", "")
        )

    async def _take_back(self, delivery: Delivery) -> None:
        """End tokens at their provider (RFC 7009). What was given up is not kept: it is good for nobody here."""
        provider, error, is_final = ProviderId(delivery.payload["provider"]), "", False
        try:
            await self.take_back(provider, tokens_of(delivery.payload))
        except ProviderOff:
            error, is_final = "provider is gone", True
        except BrokerError as problem:
            error = problem.code
        except Exception as problem:  # a bug of ours, or of a library: this one waits, the others go out
            error = type(problem).__name__
        await self._note(
            delivery, "upstream_token", "taken_back", error, is_final=is_final, is_kept=False, provider=provider
        )

    async def _note(
        self,
        delivery: Delivery,
        thing: str,
        done: str,
        error: str,
        *,
        is_final: bool = False,
        is_kept: bool = True,
        **facts: str,
    ) -> str:
        """Keep what became of one try, and say so: `done`, `given_up` or `delayed`, which is also the answer.

        `error` is empty where it arrived; `is_final`: trying again would be of no use; `is_kept`: also when it is given up.
        """
        outbox, tries = self.durable.outbox, delivery.attempts + 1
        if not error:
            await outbox.done(delivery.id)
            self.log.event(f"{thing}_{done}", **facts, attempts=tries)
            return done
        if is_final or delivery.attempts >= len(RETRIES):
            await (outbox.give_up(delivery.id, error) if is_kept else outbox.done(delivery.id))
            self.log.event(f"{thing}_given_up", **facts, reason=error)
            return "given_up"
        await outbox.retry(delivery.id, self.clock.now() + RETRIES[delivery.attempts], error)
        self.log.event(f"{thing}_delayed", **facts, reason=error, attempts=tries)
        return "delayed"

    async def _send(self, delivery: Delivery, client: Client, address: str) -> str:
        """What went wrong, in a word or two; nothing if the site has it."""

        async def post() -> int:
            return await self.http.post_form(address, {"logout_token": self._logout_token(delivery, client)})

        return await _error_of(post, good=(200, 204))

    def _logout_token(self, delivery: Delivery, client: Client) -> str:
        account, sid = AccountId(delivery.payload["account"]), Sid(delivery.payload["sid"])
        payload = tokens.logout_token(
            issuer=self.issuer,
            client=client.client_id,
            subject=tokens.subject_for(account, client, self.subject_key),
            sid=sid_for(sid, client.client_id, self.sid_key),
            jti=self.entropy.token(16),
            now=self.clock.now(),
        )
        return self.signer.sign(payload, typ=tokens.LOGOUT_TOKEN_TYPE, algorithm=client.signing_algorithm)


async def _error_of(post: Callable[[], Awaitable[int]], *, good: tuple[int, ...]) -> str:
    """What went wrong with one call, in a word or two; nothing if its status is one of `good`."""
    try:
        status = await post()
    except BrokerError as problem:
        return problem.code
    except Exception as error:  # a bug of ours, or of a library: this one waits, the others go out
        return type(error).__name__
    return "" if status in good else f"status {status}"
