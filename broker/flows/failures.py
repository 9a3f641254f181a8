"""Keep what went wrong with providers: noted at once, written beside the requests, and never so much that it fills a disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.domain.failures import Failure
from broker.domain.ports import Clock, Durable, Entropy
from broker.domain.values import ProviderId
from broker.errors import StoreUnavailable

PER: Final = timedelta(hours=1)
EACH: Final = 60
"""Of one reason and check at one provider in an hour, by each server process: anybody can open an old answer as often as they like."""
MOST_WAITING: Final = 1000
"""While the store is away."""


@dataclass(slots=True, kw_only=True)
class FailureTrace:
    durable: Durable
    clock: Clock
    entropy: Entropy
    _waiting: list[Failure] = field(default_factory=list)
    _counted: Counter[tuple[ProviderId, str, str]] = field(default_factory=Counter)
    _since: datetime | None = None

    def note(self, provider: ProviderId, *, step: str, reason: str, detail: str, reference: str) -> None:
        """To be written soon; nothing where there was more than enough of the same. `reference`: nothing if none was shown."""
        now = self.clock.now()
        if self._since is None or now - self._since >= PER:
            self._since = now
            self._counted.clear()
        self._counted[provider, reason, detail] += 1
        if self._counted[provider, reason, detail] > EACH or len(self._waiting) >= MOST_WAITING:
            return
        id_ = reference or self.entropy.token(12)
        self._waiting.append(Failure(id=id_, provider=provider, at=now, step=step, reason=reason, detail=detail))

    async def flush(self) -> None:
        """Write what was noted. Raises `StoreUnavailable`; then it waits for the next time."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        unit = self.durable.unit()
        for failure in waiting:
            unit.add_failure(failure)
        try:
            await unit.commit()
        except StoreUnavailable:
            self._waiting = (waiting + self._waiting)[:MOST_WAITING]
            raise
