"""Security events on their way: written with their cause, signed when they leave, pushed by the outbox or fetched.

A site hears only of people who ever shared something with it, under the number it knows them by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from broker.domain import tokens
from broker.domain.client import Client
from broker.domain.consent import Purpose, standing
from broker.domain.events import EVENT_TOKEN_TYPE, FEDERATED, SECURITY_EVENT, SecurityEvent, event_claims
from broker.domain.grant import Grant
from broker.domain.ports import Clock, Delivery, Durable, Entropy, Signer, UnitOfWork
from broker.domain.session import sid_for
from broker.domain.stream import StreamStatus, is_wanted
from broker.domain.values import AccountId, ClientId, Sid

FETCHED_WITHIN: Final = timedelta(days=7)
"""How long an event waits for a site that fetches."""
MOST_AT_ONCE: Final = 100
REFUSED: Final = "the site refused it"


At = Callable[[ClientId, str], bool]
"""Whether a site is meant, which looks for the person's number at this place (`Account.place_of`)."""


def everywhere(_site: ClientId, _place: str) -> bool:
    """All sites, wherever they look."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWriter:
    """Puts events into the unit of work that makes them true."""

    durable: Durable
    clients: Mapping[ClientId, Client]
    clock: Clock
    entropy: Entropy
    subject_key: bytes = field(repr=False)

    async def known_to(
        self, account: AccountId, event: SecurityEvent, at: At = everywhere
    ) -> Mapping[ClientId, AccountId]:
        """The sites that hear of this person, of those that are meant, and whose number each knows them by.

        Those connected now, and of an erasure all that ever got something, also of an account that was merged into this one
        where its number goes on; none that took them out of its stream (SSF 1.0 §8.1.3.3).
        """
        if not any(client.security_events for client in self.clients.values()):
            return {}
        receipts = await self.durable.ledger.receipts(account, Purpose.SHARE_WITH_CLIENT)
        left_too = event is SecurityEvent.ACCOUNT_PURGED  # what they kept is to go, too (GDPR art. 19)
        got = dict.fromkeys(ClientId(one.counterparty) for one in receipts if not one.denied)
        sites = [
            site
            for site in got
            if left_too or standing(one for one in receipts if one.counterparty == site).receipt is not None
        ]
        numbers = await self._numbers(account, sites, at, kept_too=left_too)
        return {site: number for site, number in numbers.items() if not await self._is_removed(number, site, event)}

    async def _numbers(
        self, account_id: AccountId, sites: Iterable[ClientId], at: At, *, kept_too: bool
    ) -> Mapping[ClientId, AccountId]:
        """Whose number these sites know the person by; without those that are gone here or not meant.

        `kept_too`: also those that knew an account that was merged into this one, where its number goes on.
        """
        account = await self.durable.accounts.load(account_id)
        found: dict[ClientId, AccountId] = {}
        if account is None:
            return found
        kept = [site for one in account.kept_numbers.values() for site in one.sites if kept_too]
        for site in (*sites, *kept):
            client = self.clients.get(site)
            if client is not None and at(site, account.place_of(site, client.subject_sector)):
                found[site] = account.number_for(site, client.subject_sector)
        return found

    async def _is_removed(self, number: AccountId, site: ClientId, event: SecurityEvent) -> bool:
        """Asked of those alone that would hear of it."""
        client = self.clients.get(site)
        if client is None or event not in client.security_events:
            return False
        return await is_removed(self.durable, number, client, self.subject_key)

    async def sessions_ended(self, unit: UnitOfWork, grants: Iterable[Grant]) -> None:
        """One event per site and session, but for people who are out of the site's stream."""
        for client_id, sid, number in sorted({(grant.client, grant.sid, grant.number_of) for grant in grants}):
            if not await self._is_removed(number, client_id, SecurityEvent.SESSION_REVOKED):
                self._write(unit, client_id, SecurityEvent.SESSION_REVOKED, number, session=sid)

    async def forget(self, unit: UnitOfWork, account: AccountId, at: At = everywhere) -> None:
        """All sites that ever had something of this person, of those that are meant, have it no more: nothing is kept
        of whom they took out of their streams.
        """
        receipts = await self.durable.ledger.receipts(account, Purpose.SHARE_WITH_CLIENT)
        sites = [ClientId(one.counterparty) for one in receipts]
        self._forget(unit, await self._numbers(account, sites, at, kept_too=True))

    async def forget_at(self, unit: UnitOfWork, account: AccountId, site: ClientId) -> None:
        """The same of one site."""
        self._forget(unit, await self._numbers(account, (site,), everywhere, kept_too=False))

    def _forget(self, unit: UnitOfWork, numbers: Mapping[ClientId, AccountId]) -> None:
        for site, number in numbers.items():
            unit.add_subject(site, tokens.subject_for(number, self.clients[site], self.subject_key))

    def happened(
        self, unit: UnitOfWork, event: SecurityEvent, known: Mapping[ClientId, AccountId], **more: str
    ) -> None:
        """The same event for each of these sites that wants it; see `known_to`. `more`: `change`, `credential`."""
        for client_id, number in known.items():
            self._write(unit, client_id, event, number, **more)

    def verify(self, unit: UnitOfWork, client: Client, state: str | None = None) -> None:
        """Try the way to a site (SSF 1.0 §8.1.4). `state`: what the site wants to see in it; `None`: it did not ask."""
        unit.enqueue(self._delivery(client, SecurityEvent.VERIFICATION, {} if state is None else {"state": state}))

    def _write(
        self, unit: UnitOfWork, client_id: ClientId, event: SecurityEvent, number: AccountId, **more: str
    ) -> None:
        """`number`: the account whose number the site knows the person by; that is what waits with the event."""
        client = self.clients.get(client_id)
        if client is not None and client.enabled and event in client.security_events:
            unit.enqueue(self._delivery(client, event, {"account": number, **more}))

    def _delivery(self, client: Client, event: SecurityEvent, about: Mapping[str, str]) -> Delivery:
        now = self.clock.now()
        return Delivery(
            id=self.entropy.token(12),
            kind=SECURITY_EVENT,
            client=client.client_id,
            payload={"event": event, "stream": client.client_id, **about},
            created_at=now,
            due_at=now if client.security_events_uri is not None else now + FETCHED_WITHIN,
        )


async def is_removed(durable: Durable, account: AccountId, client: Client, subject_key: bytes) -> bool:
    """Whether a site took this person out of its stream. `account`: whose number it knows them by."""
    subject = tokens.subject_for(account, client, subject_key)
    return await durable.streams.is_removed(client.client_id, subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSigner:
    """Makes tokens of events (RFC 8417): signed as they leave, so that none waits with an old key."""

    signer: Signer
    clock: Clock
    issuer: str
    subject_key: bytes = field(repr=False)
    sid_key: bytes = field(repr=False)

    def sign(self, delivery: Delivery, client: Client) -> str:
        """The same `jti` each time, by which a site knows an event that it had before."""
        about = delivery.payload
        account, session = AccountId(about.get("account", "")), about.get("session", "")
        claims = event_claims(
            SecurityEvent(about["event"]),
            issuer=self.issuer,
            client=client.client_id,
            subject=tokens.subject_for(account, client, self.subject_key),
            sid=sid_for(Sid(session), client.client_id, self.sid_key) if session else "",
            change=about.get("change", ""),
            credential=about.get("credential", FEDERATED),
            state=about.get("state"),
            jti=delivery.id,
            at=delivery.created_at,
            now=self.clock.now(),
        )
        return self.signer.sign(claims, typ=EVENT_TOKEN_TYPE, algorithm=client.signing_algorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPolls:
    """Sites that fetch their events (RFC 8936)."""

    durable: Durable
    signer: EventSigner

    async def poll(
        self, client: Client, *, got: Iterable[str], refused: Mapping[str, str], most: int
    ) -> tuple[Mapping[str, str], bool]:
        """What waits for this site, oldest first, by `jti`, and whether there is more.

        `got` and `refused` name what it had before: that is over. Names that are not its own do nothing.
        """
        # What a site had is among the oldest, so these hold all that it can name, and all that it can be given.
        found = await self.durable.outbox.pending("stream", client.client_id, 2 * MOST_AT_ONCE + 1)
        waiting = {one.id: one for one in found}
        for jti in got:
            if waiting.pop(jti, None) is not None:
                await self.durable.outbox.done(jti)
        for jti, error in refused.items():
            if waiting.pop(jti, None) is not None:
                await self.durable.outbox.give_up(jti, f"{REFUSED}: {error}"[:100])
        stream = await self.durable.streams.load(client.client_id)
        if stream.deleted or stream.status is not StreamStatus.ENABLED:
            return {}, False
        out: dict[str, bool] = {}
        left = []
        for one in waiting.values():
            account = one.payload.get("account", "")
            if account and account not in out:
                out[account] = await is_removed(self.durable, AccountId(account), client, self.signer.subject_key)
            if is_wanted(one.payload["event"], client, stream) and not out.get(account, False):
                left.append(one)
        dropped = waiting.keys() - {one.id for one in left}
        for jti in dropped:
            await self.durable.outbox.done(jti)
        most = min(most, MOST_AT_ONCE)
        return {one.id: self.signer.sign(one, client) for one in left[:most]}, len(left) > most or bool(dropped)
