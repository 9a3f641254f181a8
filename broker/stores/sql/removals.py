"""Who was said by a provider to have left, in SQL. Nothing in it is personal: ids, times and the operator's words."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Integer, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from broker.domain.removal import Removal, RemovalKind, RemovalState
from broker.domain.values import AccountId, ProviderId
from broker.stores.records import micros, micros_or_none, moment, moment_or_none
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, define, parameter
from broker.stores.sql.tables import removals

_COLUMNS: Final = tuple(removals.columns)
_LOAD: Final = define(select(*_COLUMNS).where(removals.c.code == parameter(removals.c.code)))
_WAITING: Final = define(
    select(*_COLUMNS)
    .where(removals.c.state == RemovalState.WAITING.value)
    .order_by(removals.c.asked_at, removals.c.code)
    .limit(bindparam("p_limit", type_=Integer))
)
ADD: Final = define(
    insert(removals)
    .inline()
    .values({column: parameter(column) for column in _COLUMNS})
    .on_conflict_do_nothing(index_elements=["code"])
    .returning(removals.c.code)
)
SAVE: Final = define(
    update(removals)
    .where(removals.c.code == parameter(removals.c.code), removals.c.state == bindparam("p_over"))
    .values({column: parameter(column) for column in _COLUMNS if column is not removals.c.code})
    .returning(removals.c.code)
)

MOVE: Final = define(
    update(removals).where(removals.c.account == bindparam("p_goes")).values(account=parameter(removals.c.account))
)


def removal_params(removal: Removal) -> Params:
    """What its row holds."""
    return {
        "p_code": removal.code,
        "p_account": removal.account,
        "p_provider": removal.provider,
        "p_kind": removal.kind.value,
        "p_state": removal.state.value,
        "p_asked_at": micros(removal.asked_at),
        "p_decided_at": micros_or_none(removal.decided_at),
        "p_reason": removal.reason,
    }


def _read(row: Row) -> Removal:
    code, account, provider, kind, state, asked_at, decided_at, reason = row
    return Removal(
        code=code,
        account=AccountId(account),
        provider=ProviderId(provider),
        kind=RemovalKind(kind),
        state=RemovalState(state),
        asked_at=moment(asked_at),
        decided_at=moment_or_none(decided_at),
        reason=reason,
    )


class SqlRemovals:
    """`ports.Removals`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def load(self, code: str) -> Removal | None:
        rows = await self._driver.read(_LOAD, {"p_code": code})
        return _read(rows[0]) if rows else None

    async def waiting(self, limit: int = 200) -> tuple[Removal, ...]:
        return tuple(map(_read, await self._driver.read(_WAITING, {"p_limit": limit})))
