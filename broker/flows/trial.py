"""Try a provider before people see it: a whole sign-in, after which nobody is signed in and nothing is kept.

The way in is a link that the command line prints: good once and for a quarter of an hour. It opens nothing but the trial,
and what the page shows is of whoever signs in at the provider themselves.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from broker.domain import base64url
from broker.domain.account import AccountStatus
from broker.domain.policy import FieldPolicy
from broker.domain.ports import Clock, Durable, Entropy, Replay
from broker.domain.provider import Identified, Provider, UpstreamTokens
from broker.domain.trial import (
    Exchange,
    Signed,
    Trial,
    Verdict,
    answers_of,
    failure_of,
    is_disbelieved,
    proposals,
)
from broker.domain.values import ClaimName, ProviderId
from broker.errors import SignInCancelled, TrialOver, UpstreamError
from broker.flows.sign_in import Leaving, SignInFlow
from broker.flows.transactions import Carried

GOOD_FOR: Final = timedelta(minutes=15)
_MOST: Final = 300
"""Characters of a link that was made here are fewer."""

Watch = Callable[[], AbstractContextManager[list[Exchange]]]
"""What is exchanged with providers by whoever enters it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a link says."""

    provider: ProviderId
    id: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLinks:
    """Makes and reads links. `key` is derived from the key ring, so that the command line and the server agree."""

    key: bytes
    clock: Clock
    entropy: Entropy

    def make(self, provider: ProviderId) -> str:
        """A new link's token for this provider."""
        until = int((self.clock.now() + GOOD_FOR).timestamp())
        said = f"{provider}.{until}.{self.entropy.token(12)}"
        return f"{said}.{self._mac(said)}"

    def read(self, token: str) -> Ticket:
        """Raises `TrialOver` for one that is over or was not made here."""
        said, _, mac = token.rpartition(".")
        if len(token) > _MOST or not hmac.compare_digest(mac.encode(), self._mac(said).encode()):
            raise TrialOver(detail="link to a trial is not ours")
        provider, until, id_ = said.split(".")
        ticket = Ticket(provider=ProviderId(provider), id=id_, until=datetime.fromtimestamp(int(until), UTC))
        if self.clock.now() >= ticket.until:
            raise TrialOver(detail="link to a trial is over its time")
        return ticket

    def _mac(self, said: str) -> str:
        digest = hmac.new(self.key, said.encode(), hashlib.sha256).digest()
        return base64url.encoded(digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFlow:
    durable: Durable
    replay: Replay
    links: TrialLinks
    sign_in: SignInFlow
    """As everybody's, but that it also knows the providers in state `test`."""
    fields: Mapping[ClaimName, FieldPolicy]
    watch: Watch
    clock: Clock
    signed: Mapping[ProviderId, Signed] = field(default_factory=dict)
    """Providers that something goes to under a signature of ours."""

    @property
    def providers(self) -> Mapping[ProviderId, Provider]:
        """Those that are on, and those in state `test`."""
        return self.sign_in.providers

    def provider(self, id_: ProviderId) -> Provider:
        """One that is on, or in state `test`. Raises `ProviderOff`."""
        return self.sign_in.provider(id_)

    async def opened(self, token: str) -> Provider:
        """Whom a link is for, while it can still be used. Raises `TrialOver`, `ProviderOff`."""
        return self.provider(self.links.read(token).provider)

    async def begin(self, token: str, carried: Carried, *, typed: str | None) -> Leaving | Trial:
        """Send the browser there, and use the link up; or say why it cannot be sent: then the link stays good.

        Raises `TrialOver`, `ProviderOff`, `FormInvalid` for what was `typed`.
        """
        ticket = self.links.read(token)
        with self.watch() as seen:
            try:
                leaving = await self.sign_in.begin(carried, ticket.provider, typed=typed)
            except UpstreamError as error:
                return _failed(ticket.provider, error.detail, seen, {})
        if not await self.replay.first_time(f"trial:{ticket.id}", ticket.until):
            raise TrialOver(detail="link to a trial was used")
        return leaving

    async def complete(
        self, carried: Carried, provider_id: ProviderId, params: Mapping[str, str], *, place: str = ""
    ) -> Trial:
        """What came back, and what would have come of it. Raises `WrongBrowser`, `SignInFinished`, `ProviderOff`."""
        started = carried.transaction.started_at or self.clock.now()
        away = round((self.clock.now() - started).total_seconds())
        with self.watch() as seen:
            try:
                identified = await self.sign_in.identified(carried, provider_id, params, place=place)
            except (UpstreamError, SignInCancelled) as error:
                return _failed(provider_id, error.detail, seen, params, away=away)
            return await self._read(identified, seen, params, away)

    async def _read(self, identified: Identified, seen: list[Exchange], params: Mapping[str, str], away: int) -> Trial:
        identity, provider = identified.identity, self.provider(identified.identity.provider)
        answers = answers_of(seen, params)
        arrived = frozenset(name for answer in answers for name in answer.names)
        proposed, left_out = proposals(identity, provider.offers, self.fields, arrived)
        disbelieved = is_disbelieved(identity, seen)
        verdict = await self._verdict(identified)
        is_revoked = verdict is Verdict.NEW and await self._give_back(provider, identified.tokens)
        return Trial(
            provider=identity.provider,
            verdict=verdict,
            away=away,
            came_back=tuple(params),
            steps=tuple(seen),
            answers=answers,
            proposed=proposed,
            left_out=left_out,
            disbelieved=disbelieved,
            is_revoked=is_revoked,
        )

    async def _verdict(self, identified: Identified) -> Verdict:
        known = await self.durable.accounts.by_identity(identified.identity.key)
        if known is None:
            return Verdict.NEW
        return Verdict.KNOWN if known[0].status is AccountStatus.ACTIVE else Verdict.HELD

    @staticmethod
    async def _give_back(provider: Provider, tokens: UpstreamTokens | None) -> bool:
        """Take back what was granted, so that the next trial is like somebody's first time. Not from who has an account here."""
        if tokens is None:
            return False
        try:
            await provider.revoke(tokens)
        except UpstreamError:
            return False
        return True


def _failed(
    provider: ProviderId, detail: str, seen: list[Exchange], params: Mapping[str, str], *, away: int = 0
) -> Trial:
    return Trial(
        provider=provider,
        verdict=Verdict.FAILED,
        failure=failure_of(detail),
        detail=detail,
        away=away,
        came_back=tuple(params),
        steps=tuple(seen),
        answers=answers_of(seen, params),
    )
