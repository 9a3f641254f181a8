"""Places in the status lists: numbers given out once, and the places of grants that have ended."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, bindparam, select
from sqlalchemy.dialects.postgresql import insert

from broker.domain.grant import StatusPlace
from broker.stores.records import micros, moment
from broker.stores.sql.drivers import Driver
from broker.stores.sql.grants import read_place
from broker.stores.sql.statements import define, parameter
from broker.stores.sql.tables import counters, ended_statuses

_STATUSES: Final = "statuses"
"""The counter's name."""

_first: Final = insert(counters).values({column: parameter(column) for column in counters.columns})
_RESERVE: Final = define(
    _first.inline()
    .on_conflict_do_update(index_elements=["name"], set_={"given": counters.c.given + _first.excluded.given})
    .returning(counters.c.given)
)
_RESERVED: Final = define(select(counters.c.given).where(counters.c.name == parameter(counters.c.name)))
_ENDED: Final = define(
    select(ended_statuses.c.place, ended_statuses.c.ended_at).where(
        ended_statuses.c.ended_at > bindparam("p_after", type_=BigInteger),
        ended_statuses.c.ended_at <= bindparam("p_now", type_=BigInteger),
    )
)


class SqlStatuses:
    """`ports.Statuses`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def reserve(self, count: int) -> int:
        rows = await self._driver.write(_RESERVE, {"p_name": _STATUSES, "p_given": count})
        return int(rows[0][0]) - count

    async def reserved(self) -> int:
        rows = await self._driver.read(_RESERVED, {"p_name": _STATUSES})
        return int(rows[0][0]) if rows else 0

    async def ended(self, after: datetime, until: datetime) -> tuple[tuple[StatusPlace, datetime], ...]:
        rows = await self._driver.read(_ENDED, {"p_after": micros(after), "p_now": micros(until)})
        return tuple((read_place(place), moment(at)) for place, at in rows)
