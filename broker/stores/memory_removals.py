"""Requests to delete, in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.domain.removal import Removal, RemovalState

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable


class MemoryRemovals:
    """`ports.Removals`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def load(self, code: str) -> Removal | None:
        return self._store.open_tables().removals.get(code)

    async def waiting(self, limit: int = 200) -> tuple[Removal, ...]:
        found = [one for one in self._store.open_tables().removals.values() if one.state is RemovalState.WAITING]
        return tuple(sorted(found, key=lambda one: (one.asked_at, one.code))[:limit])
