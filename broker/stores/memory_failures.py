"""What went wrong with providers, in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.domain.failures import Failure
from broker.domain.values import ProviderId

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable


class MemoryFailures:
    """`ports.Failures`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def newest(self, provider: ProviderId, limit: int) -> tuple[Failure, ...]:
        found = [one for one in self._store.open_tables().failures.values() if one.provider == provider]
        return tuple(sorted(found, key=lambda one: one.at)[-limit:])

    async def load(self, id_: str) -> Failure | None:
        return self._store.open_tables().failures.get(id_)
