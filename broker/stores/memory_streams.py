"""What sites have set at their streams, in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.domain.stream import Stream
from broker.domain.values import ClientId
from broker.errors import Conflict

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable, Tables


class StreamSteps:
    """What a unit of work does to them."""

    _steps: list[Callable[[Tables], object]]

    def add_subject(self, client: ClientId, subject: str) -> None:
        """See the port."""
        self._steps.append(lambda tables: tables.removed_subjects.pop((client, subject), None))


class MemoryStreams:
    """`ports.Streams`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def load(self, client: ClientId) -> Stream:
        return self._store.open_tables().streams.get(client, Stream(client=client))

    async def put(self, stream: Stream) -> None:
        streams = self._store.open_tables().streams
        before = streams.get(stream.client)
        if before is not None and before.version != stream.version:
            raise Conflict("stale")
        streams[stream.client] = replace(stream, version=stream.version + 1)

    async def remove_subject(self, client: ClientId, subject: str, most: int) -> bool:
        removed = self._store.open_tables().removed_subjects
        if (client, subject) not in removed and sum(of == client for of, _ in removed) >= most:
            return False
        removed[client, subject] = None
        return True

    async def add_subject(self, client: ClientId, subject: str) -> None:
        self._store.open_tables().removed_subjects.pop((client, subject), None)

    async def add_everybody(self, client: ClientId) -> None:
        tables = self._store.open_tables()
        tables.removed_subjects = {key: None for key in tables.removed_subjects if key[0] != client}

    async def is_removed(self, client: ClientId, subject: str) -> bool:
        return (client, subject) in self._store.open_tables().removed_subjects
