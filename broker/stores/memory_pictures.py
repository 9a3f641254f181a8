"""Pictures in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.domain.picture import Picture
from broker.domain.values import AccountId

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable


class MemoryPictures:
    """`ports.Pictures`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def load(self, account: AccountId) -> Picture | None:
        return self._store.open_tables().pictures.get(account)
