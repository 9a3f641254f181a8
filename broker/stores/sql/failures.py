"""What went wrong with providers, in SQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Integer, bindparam, select
from sqlalchemy.dialects.postgresql import insert

from broker.domain.failures import Failure
from broker.domain.values import ProviderId
from broker.stores.records import micros, moment
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, define, parameter
from broker.stores.sql.tables import failures

_COLUMNS: Final = tuple(failures.columns)
_NEWEST: Final = define(
    select(*_COLUMNS)
    .where(failures.c.provider == parameter(failures.c.provider))
    .order_by(failures.c.at.desc())
    .limit(bindparam("p_limit", type_=Integer))
)
_ONE: Final = define(select(*_COLUMNS).where(failures.c.id == parameter(failures.c.id)))
ADD: Final = define(
    insert(failures)
    .inline()
    .values({column: parameter(column) for column in _COLUMNS})
    .on_conflict_do_nothing(index_elements=["id"])
)


def failure_params(failure: Failure) -> Params:
    return {
        "p_id": failure.id,
        "p_provider": failure.provider,
        "p_at": micros(failure.at),
        "p_step": failure.step,
        "p_reason": failure.reason,
        "p_detail": failure.detail,
    }


def _failure(row: Row) -> Failure:
    id_, provider, at, step, reason, detail = row
    return Failure(id=id_, provider=ProviderId(provider), at=moment(at), step=step, reason=reason, detail=detail)


class SqlFailures:
    """`ports.Failures`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def newest(self, provider: ProviderId, limit: int) -> tuple[Failure, ...]:
        rows = await self._driver.read(_NEWEST, {"p_provider": provider, "p_limit": limit})
        return tuple(map(_failure, reversed(rows)))

    async def load(self, id_: str) -> Failure | None:
        rows = await self._driver.read(_ONE, {"p_id": id_})
        return _failure(rows[0]) if rows else None
