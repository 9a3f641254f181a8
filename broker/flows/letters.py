"""Letters to people: put into the outbox in the unit of work of their cause, to addresses that are known to be theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from broker.domain.account import Account, Places
from broker.domain.claims import EMAIL
from broker.domain.letters import LETTER, Letter
from broker.domain.ports import Clock, Delivery, Entropy, UnitOfWork
from broker.domain.values import ClientId, IdentityKey, ProviderId

WORTH_SENDING: Final = timedelta(days=3)
"""After this a notice that could not be sent is no news any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterWriter:
    clock: Clock
    entropy: Entropy
    is_on: bool
    """Off where no mail server is set up: then nothing is written."""
    places: Places = field(default_factory=Places)

    def naming(self, provider: ProviderId, key: IdentityKey) -> dict[str, str]:
        """A way to sign in, as a letter names it: told from others of its kind."""
        place = self.places.of(provider, key)
        return {"provider": provider, "place": place} if place else {"provider": provider}

    def tell(
        self, unit: UnitOfWork, account: Account, letter: Letter, values: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """To the account's own address, if we know that it is theirs; an unproved one may be a stranger's."""
        email = account.profile.get(EMAIL)
        if email is not None and email.verified:
            self.write(unit, letter, email.value, values=values, locale=account.locale or "")

    def write(
        self,
        unit: UnitOfWork,
        letter: Letter,
        to: str,
        *,
        values: Mapping[str, str],
        locale: str,
        until: datetime | None = None,
    ) -> None:
        """To any address. `until`: after that it is not worth sending."""
        if not self.is_on:
            return
        now = self.clock.now()
        end = until or now + WORTH_SENDING
        unit.enqueue(
            Delivery(
                id=self.entropy.token(12),
                kind=LETTER,
                client=ClientId(""),
                payload={"letter": letter, "to": to, "locale": locale, "until": end.isoformat(), **values},
                created_at=now,
                due_at=now,
            )
        )
