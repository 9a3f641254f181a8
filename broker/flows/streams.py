"""A site looks after the stream of its security events itself: whose it is, how it fares, and whether events arrive.

There is one stream for each site that its admin gave `security_events`; it bears the site's id (SSF 1.0 §8.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from broker.domain.checks.dpop import Shown, check_nonce, check_token_key
from broker.domain.client import Client
from broker.domain.events import MANAGE, READ
from broker.domain.ports import Durable, Limits
from broker.domain.values import ClientId
from broker.errors import InsufficientScope, InvalidToken, TooManyAttempts, UnknownStream
from broker.flows.access import AccessTokens
from broker.flows.events import EventWriter

ENABLED: Final = "enabled"
TRIES_PER_MINUTE: Final = 10
"""Verification events that one site may ask for."""


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

    def status(self, client: Client, stream: str) -> Mapping[str, str]:
        """How a stream fares (SSF 1.0 §8.1.2.1): what the admin set up is on. Raises `UnknownStream`."""
        self._check(client, stream)
        return {"stream_id": stream, "status": ENABLED}

    async def verify(self, client: Client, stream: str, state: str | None) -> None:
        """Send an event about nobody that holds `state` (SSF 1.0 §8.1.4.2). Raises `UnknownStream`, `TooManyAttempts`."""
        self._check(client, stream)
        now = self.writer.clock.now()
        if wait := await self.limits.hit(f"verification:{stream}", limit=TRIES_PER_MINUTE, window=60, now=now):
            raise TooManyAttempts(wait, detail="verification events")
        unit = self.durable.unit()
        self.writer.verify(unit, client, state)
        await unit.commit()

    @staticmethod
    def _check(client: Client, stream: str) -> None:
        if not client.security_events or stream != client.client_id:
            raise UnknownStream(detail="no such stream for this site")
