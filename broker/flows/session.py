"""Start, renew and end the sessions of browsers; tell the sites when one ends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from broker.domain.account import Link
from broker.domain.client import Client
from broker.domain.credential import credential_type
from broker.domain.events import SecurityEvent
from broker.domain.grant import Grant
from broker.domain.ports import Clock, Delivery, Durable, Entropy, Sessions, UnitOfWork
from broker.domain.session import IDLE_LIFETIME, LIFETIME, Session, device_in_words, is_live, needs_touch
from broker.domain.values import AccountId, ClientId, IdentityKey, ProviderId, Sid
from broker.flows.events import At, EventWriter, everywhere

LOGOUT_TOKEN = "logout_token"


def digest_of(secret: str) -> bytes:
    """What is kept of a session's cookie."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A session and the secret for its browser: the secret exists nowhere else."""

    session: Session
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSite:
    """A site that was signed in to, and whether it can be told that this is over."""

    client: ClientId
    will_be_told: bool
    """By us, through the outbox; a site with a front-channel address is told by the browser, too."""


class Telling(StrEnum):
    """How far a site was told."""

    DONE = "done"
    """It has confirmed."""
    WAITING = "waiting"
    """On its way for the first time."""
    LATE = "late"
    """It did not confirm yet, and is asked again."""
    FAILED = "failed"
    """It never confirmed, and is not asked again."""
    CANNOT = "cannot"
    """It has no address for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One site, and how far telling it has come."""

    client: ClientId
    state: Telling
    due_at: datetime | None = None
    """`LATE`: when it is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFlow:
    durable: Durable
    sessions: Sessions
    clients: Mapping[ClientId, Client]
    clock: Clock
    entropy: Entropy
    lifetime: timedelta = LIFETIME
    idle_lifetime: timedelta = IDLE_LIFETIME
    events: EventWriter | None = None
    """Who writes security events; `None`: nobody."""

    async def load(self, secret: str) -> Session | None:
        """The live session of a cookie; writes "seen" at most every few minutes."""
        now = self.clock.now()
        session = await self.sessions.by_digest(digest_of(secret), now)
        if session is None or not is_live(session, now):
            return None
        if needs_touch(session, now):
            session = replace(
                session, last_seen_at=now, idle_expires_at=min(now + self.idle_lifetime, session.expires_at)
            )
            await self.sessions.touch(session)
        return session

    async def start(
        self,
        *,
        account: AccountId,
        provider: ProviderId,
        key: IdentityKey,
        auth_time: datetime,
        amr: tuple[str, ...],
        acr: str | None,
        user_agent: str,
        replaces: Session | None,
        upstream: str | None = None,
        id_token: str | None = None,
    ) -> Started:
        """A new session with a new secret; whatever was signed in in this browser before ends (catalogue 93).

        The same person signing in again keeps the `sid`, so that sites still know the session.
        """
        now = self.clock.now()
        sid = Sid(self.entropy.token(16))
        if replaces is not None:
            if replaces.account == account:
                sid = replaces.sid  # saved under the new secret below: the old one opens nothing from then on
            else:
                await self.sign_out(replaces)
        secret = self.entropy.token(32)
        session = Session(
            sid=sid,
            account=account,
            secret_digest=digest_of(secret),
            provider=provider,
            key=key,
            auth_time=auth_time,
            amr=amr,
            acr=acr,
            created_at=now,
            last_seen_at=now,
            idle_expires_at=now + self.idle_lifetime,
            expires_at=now + self.lifetime,
            device=device_in_words(user_agent[:400]),
            upstream=upstream,
            id_token=id_token,
        )
        await self.sessions.save(session)
        return Started(session=session, secret=secret)

    async def sites_of(self, session: Session) -> tuple[ToldSite, ...]:
        """The sites signed in to from this session."""
        grants = await self.durable.grants.of_account(session.account)
        return self._told(grant for grant in grants if grant.sid == session.sid)

    async def told(self, sid: Sid, sites: Iterable[ToldSite]) -> tuple[Told, ...]:
        """How far each of these sites was told by now that the session is over there."""
        traces = {delivery.client: (delivery, over) for delivery, over in await self.durable.outbox.traces("sid", sid)}
        return tuple(_how_far(site, traces.get(site.client)) for site in sites)

    async def sign_out(self, session: Session, *, keep_offline: bool = True) -> tuple[ToldSite, ...]:
        """End one session; then its tokens die and its sites' logout tokens are on their way, in one unit of work.

        The session goes first: what a request of it still adds is seen below, or by that request itself (catalogue 110).
        `keep_offline` spares what the person let a site have while they are away.
        """
        await self.durable.ping()  # what could not be finished is not begun
        await self.sessions.end(session.sid)
        grants = await self.durable.grants.of_account(session.account)
        ours = tuple(grant for grant in grants if grant.sid == session.sid)
        unit = self.durable.unit()
        now = self.clock.now()
        unit.revoke_grants(session.account, now, sid=session.sid, keep_offline=keep_offline)
        await self.tell(unit, ours)
        await unit.commit()
        return self._told(ours)

    async def sign_out_of(self, session: Session, client: ClientId) -> None:
        """End what one site got from this session; the session itself goes on."""
        grants = await self.durable.grants.of_account(session.account, client=client)
        unit = self.durable.unit()
        unit.revoke_grants(session.account, self.clock.now(), client=client, sid=session.sid, keep_offline=True)
        await self.tell(unit, (grant for grant in grants if grant.sid == session.sid))
        await unit.commit()

    async def sign_out_everywhere(self, account: AccountId, *, keep: Sid | None = None) -> None:
        """End all sessions of an account but one, and whatever sites got from any other, long ago or for good.

        Who asks for this wants somebody out: a permission given from their browser does not outlive it (catalogue 110).
        The sessions go first, as in `sign_out`.
        """
        await self.durable.ping()  # what could not be finished is not begun
        await self.sessions.end_all(account, keep=keep)
        now = self.clock.now()
        others = [grant for grant in await self.durable.grants.of_account(account) if grant.sid != keep]
        unit = self.durable.unit()
        for grant in others:
            unit.revoke_grant(grant.id, now)
        await self.tell(unit, others)
        await unit.commit()

    async def tell(self, unit: UnitOfWork, grants: Iterable[Grant]) -> None:
        """Queue one logout token and one event per site and session, in the unit of work that ends them (never on the request path).

        The account whose number it is rides along, so that the subject can be computed when it is sent: signing later keeps
        `exp` honest.
        """
        now, grants = self.clock.now(), tuple(grants)
        if self.events is not None:
            await self.events.sessions_ended(unit, grants)
        for client_id, sid, account in sorted({(grant.client, grant.sid, grant.number_of) for grant in grants}):
            client = self.clients.get(client_id)
            if client is not None and client.backchannel_logout_uri is not None:
                unit.enqueue(
                    Delivery(
                        id=self.entropy.token(12),
                        kind=LOGOUT_TOKEN,
                        client=client_id,
                        payload={"sid": sid, "account": account},
                        created_at=now,
                        due_at=now,
                    )
                )

    async def tell_of_ways(
        self, unit: UnitOfWork, account: AccountId, change: str, *ways: Link, at: At = everywhere
    ) -> None:
        """Queue that ways to sign in were added (`create`), renamed (`update`) or removed (`revoke`): once for each kind of them."""
        for kind in dict.fromkeys(map(credential_type, ways)):
            await self.tell_of(unit, SecurityEvent.CREDENTIAL_CHANGE, account, at=at, change=change, credential=kind)

    async def tell_of(
        self,
        unit: UnitOfWork,
        event: SecurityEvent,
        account: AccountId,
        *,
        at: At = everywhere,
        **more: str,
    ) -> None:
        """Queue an event about an account for every site that may hear of it; see `EventWriter.happened`.

        `at`: the sites that hear of it.
        """
        if self.events is not None:
            self.events.happened(unit, event, await self.events.known_to(account, event, at), **more)

    async def forget(self, unit: UnitOfWork, account: AccountId, at: At = everywhere) -> None:
        """Drop whatever the streams of sites keep about somebody who left them; see `EventWriter.forget`."""
        if self.events is not None:
            await self.events.forget(unit, account, at)

    async def forget_at(self, unit: UnitOfWork, account: AccountId, client: ClientId) -> None:
        """The same of one site."""
        if self.events is not None:
            await self.events.forget_at(unit, account, client)

    def _told(self, grants: Iterable[Grant]) -> tuple[ToldSite, ...]:
        ids = sorted({grant.client for grant in grants})
        return tuple(
            ToldSite(client=id_, will_be_told=self.clients[id_].backchannel_logout_uri is not None)
            for id_ in ids
            if id_ in self.clients
        )


def _how_far(site: ToldSite, trace: tuple[Delivery, bool] | None) -> Told:
    if not site.will_be_told:
        return Told(client=site.client, state=Telling.CANNOT)
    if trace is None:
        return Told(client=site.client, state=Telling.DONE)
    delivery, is_over = trace
    if is_over:
        return Told(client=site.client, state=Telling.FAILED)
    if delivery.attempts:
        return Told(client=site.client, state=Telling.LATE, due_at=delivery.due_at)
    return Told(client=site.client, state=Telling.WAITING)
