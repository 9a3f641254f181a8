"""What sites have set at their streams, in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.domain.stream import Stream
from broker.domain.values import ClientId

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable


class MemoryStreams:
    """`ports.Streams`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def load(self, client: ClientId) -> Stream:
        return self._store.open_tables().streams.get(client, Stream(client=client))

    async def put(self, stream: Stream) -> None:
        self._store.open_tables().streams[stream.client] = stream
