"""The data keys: made once, wrapped under the master key, rotated without stopping anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, LargeBinary, Table, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from broker.stores.records import micros
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Row, Script, Statement, Step, define, parameter
from broker.stores.sql.tables import SEALED, data_keys
from broker.stores.vault import PREFIX, KeyRing, Wrapper, new_key

INDEX_KEY: Final = "index"
BATCH: Final = 200
KEEP_REPLACED: Final = timedelta(days=15)
"""How long a replaced key is kept when no row needs it: sessions in Redis live 14 days under the key they were made with."""

_ALL: Final = define(
    select(data_keys.c.id, data_keys.c.wrapped, data_keys.c.replaced_at).order_by(
        data_keys.c.created_at, data_keys.c.id
    )
)
_ADD: Final = define(
    insert(data_keys)
    .inline()
    .values({column: parameter(column) for column in data_keys.columns})
    .on_conflict_do_nothing()
    .returning(data_keys.c.id)
)
_REPLACE_OTHERS: Final = define(
    update(data_keys)
    .where(data_keys.c.id != INDEX_KEY, data_keys.c.id != parameter(data_keys.c.id), data_keys.c.replaced_at.is_(None))
    .values(replaced_at=bindparam("p_now", type_=BigInteger))
)
_FORGET: Final = define(
    delete(data_keys).where(
        data_keys.c.id == parameter(data_keys.c.id), data_keys.c.replaced_at < bindparam("p_before", type_=BigInteger)
    )
)


@dataclass(frozen=True, slots=True)
class _Cells:
    """One sealed column: where its cells are bound to, and how to find and change those under another key."""

    table: str
    column: str
    bound: tuple[int, ...]
    """Positions, in a row of `find`, of the columns that the cells are bound to."""
    keys: tuple[str, ...]
    find: Statement
    """The first rows whose cell is under another key: primary key, bound columns, cell."""
    find_more: Statement
    """The same, behind a row: `p_after_<key>`."""
    store: Statement

    def place(self, row: Row) -> str:
        """The place name of a row's cell: the same words the stores seal with."""
        return f"{self.table}/{' '.join(row[position] for position in self.bound)}/{self.column}"


def _cells(table: Table, column: str, bound: tuple[str, ...]) -> _Cells:
    cell, keys = table.c[column], list(table.primary_key.columns)
    names = [key.name for key in keys]
    further = [table.c[name] for name in bound if name not in names]
    positions = [*names, *(named.name for named in further)]
    prefix = func.substr(cell, 1, PREFIX, type_=LargeBinary)
    find = (
        select(*keys, *further, cell)
        .where(cell.is_not(None), prefix != bindparam("p_prefix", type_=LargeBinary))
        .order_by(*keys)
        .limit(bindparam("p_limit", type_=Integer))
    )
    after = tuple_(*keys) > tuple_(*(bindparam(f"p_after_{key.name}", type_=key.type) for key in keys))
    here: list[Any] = [key == bindparam(f"p_key_{key.name}", type_=key.type) for key in keys]
    store = update(table).where(*here, cell == bindparam("p_old", type_=LargeBinary))
    return _Cells(
        table=table.name,
        column=column,
        bound=tuple(positions.index(name) for name in bound),
        keys=tuple(names),
        find=define(find),
        find_more=define(find.where(after)),
        store=define(store.values({cell: bindparam("p_new", type_=LargeBinary)})),
    )


_CELLS: Final = tuple(_cells(*sealed) for sealed in SEALED)


async def load_or_make_keyring(driver: Driver, master_key: bytes, now: datetime) -> KeyRing:
    """The ring of this database. Raises `WrongMasterKey`; makes the first keys in an empty database."""
    wrapper = Wrapper(master_key)
    rows = await driver.read(_ALL, {})
    if not rows:
        await driver.run(lambda: _first_keys(wrapper, micros(now)))
        rows = await driver.read(_ALL, {})
    index_key, keys, current = _unwrapped(rows, wrapper)

    async def reload() -> None:
        _, fresh, now_current = _unwrapped(await driver.read(_ALL, {}), wrapper)
        ring.learn(fresh, now_current)

    ring = KeyRing(keys, current, index_key, reload)
    return ring


def _unwrapped(rows: Sequence[Row], wrapper: Wrapper) -> tuple[bytes, dict[str, bytes], str]:
    keys = {row[0]: wrapper.unwrap(row[1], row[0]) for row in rows}
    current = next(row[0] for row in reversed(rows) if row[0] != INDEX_KEY and row[2] is None)
    return keys.pop(INDEX_KEY), keys, current


def _first_keys(wrapper: Wrapper, now: int) -> Script[None]:
    """Of several processes the one whose index key is taken makes the data key too; the others read both."""
    _, index_key = new_key()
    made = yield Step(_ADD, _key_params(INDEX_KEY, index_key, wrapper, now))
    if made:
        key_id, key = new_key()
        yield Step(_ADD, _key_params(key_id, key, wrapper, now))


def _key_params(key_id: str, key: bytes, wrapper: Wrapper, now: int) -> dict[str, Any]:
    wrapped = wrapper.wrap(key, key_id)
    return {"p_id": key_id, "p_wrapped": wrapped, "p_created_at": now, "p_replaced_at": None}


async def rotate_data_key(driver: Driver, ring: KeyRing, master_key: bytes, now: datetime, *, new: bool = True) -> int:
    """Makes a new data key current and seals every cell again under it; how many cells were.

    Other processes learn of the key when they first meet it. Interrupted, it goes on with `new=False`: what is left to
    do is what does not carry the current key's id. Replaced keys stay until nothing can need them.
    """
    wrapper = Wrapper(master_key)
    if new:
        key_id, key = new_key()
        await driver.commit(
            [
                Step(_ADD, _key_params(key_id, key, wrapper, micros(now))),
                Step(_REPLACE_OTHERS, {"p_id": key_id, "p_now": micros(now)}),
            ]
        )
    if ring.reload is not None:
        await ring.reload()
    sealed = 0
    for cells in _CELLS:
        # What is sealed meanwhile by a process that has not heard of the new key lies behind us: go round again.
        while count := await _reseal_column(driver, ring, cells):
            sealed += count
    await _forget_unused(driver, ring, now)
    return sealed


async def _reseal_column(driver: Driver, ring: KeyRing, cells: _Cells) -> int:
    """One walk through the table in the order of its primary key; how many cells were sealed again."""
    sealed, after = 0, None
    while True:
        rows = await _old_cells(driver, ring, cells, after)
        if not rows:
            return sealed
        await driver.commit([_resealed(ring, cells, row) for row in rows])
        sealed, after = sealed + len(rows), rows[-1]
        await asyncio.sleep(0)  # requests go first


async def _old_cells(driver: Driver, ring: KeyRing, cells: _Cells, after: Row | None) -> Sequence[Row]:
    params: dict[str, Any] = {"p_prefix": ring.prefix, "p_limit": BATCH}
    if after is None:
        return await driver.read(cells.find, params)
    params |= {f"p_after_{name}": value for name, value in zip(cells.keys, after, strict=False)}
    return await driver.read(cells.find_more, params)


def _resealed(ring: KeyRing, cells: _Cells, row: Row) -> Step:
    """Only if the cell is still what was read: a change meanwhile wins, and is met again if it needs to be."""
    old, place = bytes(row[-1]), cells.place(row)
    params = {f"p_key_{name}": value for name, value in zip(cells.keys, row, strict=False)}
    return Step(cells.store, {**params, "p_old": old, "p_new": ring.seal(ring.open(old, place), place)})


async def _forget_unused(driver: Driver, ring: KeyRing, now: datetime) -> None:
    """Every cell carries the current key by now; what was replaced long ago opens nothing any more."""
    for key_id in ring.key_ids - {ring.current}:
        await driver.write(_FORGET, {"p_id": key_id, "p_before": micros(now - KEEP_REPLACED)})
