"""What sites have set at their streams of security events, in SQL. Nothing in it is about people."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from broker.domain.stream import Stream, StreamStatus
from broker.domain.values import ClientId
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import define, parameter
from broker.stores.sql.tables import streams

_LOAD: Final = define(select(*streams.columns).where(streams.c.client == parameter(streams.c.client)))
_put = insert(streams).values({column: parameter(column) for column in streams.columns})
_PUT: Final = define(
    _put.inline()
    .on_conflict_do_update(
        index_elements=["client"],
        set_={column.name: _put.excluded[column.name] for column in streams.columns if not column.primary_key},
    )
    .returning(streams.c.client)
)


class SqlStreams:
    """`ports.Streams`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def load(self, client: ClientId) -> Stream:
        rows = await self._driver.read(_LOAD, {"p_client": client})
        if not rows:
            return Stream(client=client)
        _, status, reason, requested, description, deleted = rows[0]
        return Stream(
            client=client,
            status=StreamStatus(status),
            reason=reason,
            requested=None if requested is None else tuple(requested.split()),
            description=description,
            deleted=bool(deleted),
        )

    async def put(self, stream: Stream) -> None:
        await self._driver.write(
            _PUT,
            {
                "p_client": stream.client,
                "p_status": stream.status.value,
                "p_reason": stream.reason,
                "p_requested": None if stream.requested is None else " ".join(stream.requested),
                "p_description": stream.description,
                "p_deleted": stream.deleted,
            },
        )
