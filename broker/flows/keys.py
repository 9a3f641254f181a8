"""Make, rotate and retire signing keys, so that no valid token is ever refused."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from broker.domain.client import SigningAlgorithm
from broker.domain.ports import Clock, Entropy, KeyUse, SigningKeyRecord, SigningKeys
from broker.domain.session import LIFETIME
from broker.errors import Conflict

CACHED_FOR: Final = timedelta(minutes=10)
"""How long anybody may cache the key set."""
PUBLISH_AHEAD: Final = 3 * CACHED_FOR
"""A new key is published this long before it signs: every cache has turned over twice by then (catalogue 166)."""
KEEP_AFTER: Final = LIFETIME + timedelta(days=1)
"""A superseded key stays this long: far beyond the last token it signed, and for as long as a session may last, since
sites hint with their old ID token when a person signs out."""


class KeyBox(Protocol):
    """Makes keys and signs with them; see `broker.signing`."""

    def make(
        self, algorithm: SigningAlgorithm, kid: str, *, now: datetime, signs_from: datetime
    ) -> SigningKeyRecord: ...
    def load(self, records: Iterable[SigningKeyRecord], now: datetime) -> None: ...


def due_for_removal(records: Iterable[SigningKeyRecord], now: datetime) -> tuple[str, ...]:
    """Keys that a newer one of the same algorithm took over from more than `KEEP_AFTER` ago."""
    records = tuple(records)
    gone = []
    for record in records:
        successors = [
            other.signs_from
            for other in records
            if other.algorithm is record.algorithm and other.signs_from > record.signs_from
        ]
        if successors and min(successors) + KEEP_AFTER <= now:
            gone.append(record.kid)
    return tuple(gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFlow:
    keys: SigningKeys
    box: KeyBox
    clock: Clock
    entropy: Entropy
    use: KeyUse = KeyUse.TOKENS

    async def load(self) -> None:
        """Read the keys of this use; make the first of each algorithm, and remove those whose time is over.

        Raises `ValueError` on a corrupt key; then the keys read before stay in use.
        """
        records = await self._all()
        now = self.clock.now()
        have = {record.algorithm for record in records}
        for algorithm in SigningAlgorithm:
            if algorithm not in have:
                # The name holds no chance: of several processes starting at once, one adds it and all use it.
                before = "" if self.use is KeyUse.TOKENS else f"{self.use}-"
                record = self._made(algorithm, f"{before}{algorithm.value.lower()}-1", now)
                with suppress(Conflict):
                    await self.keys.add(record)
        if len(have) < len(SigningAlgorithm):
            records = await self._all()
        over = due_for_removal(records, now)
        self.box.load([record for record in records if record.kid not in over], now)
        for kid in over:
            await self.keys.remove(kid)

    async def rotate(self) -> tuple[str, ...]:
        """Publish a new key of each algorithm now; it signs once every cache must have it. The new keys' names."""
        now = self.clock.now()
        made = [
            self._made(algorithm, self.entropy.token(9), now, signs_from=now + PUBLISH_AHEAD)
            for algorithm in SigningAlgorithm
        ]
        await self.keys.add(*made)
        await self.load()
        return tuple(record.kid for record in made)

    async def _all(self) -> tuple[SigningKeyRecord, ...]:
        return tuple(record for record in await self.keys.all() if record.use is self.use)

    def _made(
        self, algorithm: SigningAlgorithm, kid: str, now: datetime, *, signs_from: datetime | None = None
    ) -> SigningKeyRecord:
        return replace(self.box.make(algorithm, kid, now=now, signs_from=signs_from or now), use=self.use)
