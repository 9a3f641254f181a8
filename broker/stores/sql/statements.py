"""Statements: written with SQLAlchemy, turned into text once when a store opens, run by the raw drivers.

Why not SQLAlchemy's own execution: measured per call on this project's bench it costs 241 µs for one SQLite read by key
against 5 µs with `sqlite3`, and 229–302 µs on PostgreSQL against 53 µs with asyncpg. As a compiler at start-up it costs
nothing, and one definition serves both databases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias, TypeVar

from sqlalchemy import BindParameter, Insert, Select, Table, bindparam, insert, literal, select
from sqlalchemy.dialects.postgresql import asyncpg as postgresql
from sqlalchemy.dialects.sqlite import pysqlite as sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.base import Executable

T = TypeVar("T")
Row: TypeAlias = Sequence[Any]
Params: TypeAlias = Mapping[str, Any]
DIALECTS: Final[Mapping[str, Callable[[], Dialect]]] = {
    "sqlite": sqlite.dialect,
    "postgresql": postgresql.dialect,
}


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement, by its definition. Compared by identity: drivers keep their compiled text by it."""

    construct: Executable
    columns: tuple[str, ...] | None = None
    """For plain inserts: the columns that get a parameter each."""
    reads: frozenset[str] = frozenset()
    """Tables it looks at besides the one it writes."""
    writes: str = ""
    barrier: bool = False
    """Whether what follows in the unit must see what was committed while this one waited for its locks."""
    together: bool = False
    """Whether it is read so often that the same read for others may go along: it finds few rows, by an index."""

    @property
    def only_matches(self) -> bool:
        """Whether its parameters are only compared with what is there: one that no row can hold then finds none."""
        return not self.construct.is_insert


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement's text for one database, and the order of its parameters."""

    text: str
    arguments: Callable[[Params], tuple[Any, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One write of a unit of work: what to run, and what its rows must be for the unit to go on."""

    statement: Statement
    params: Params = field(repr=False)
    expect: Literal["rows", "no rows"] | None = None
    conflict: str = ""
    """The `Conflict` to raise when the expectation breaks."""


Script: TypeAlias = Generator[Step, Sequence[Row], T]
"""A transaction as a generator: yields steps, is sent their rows, returns the result. Knows no driver."""

_REGISTRY: Final[list[Statement]] = []


def define(
    construct: Executable,
    *,
    columns: Iterable[str] | None = None,
    reads: Iterable[Table] = (),
    barrier: bool = False,
    together: bool = False,
) -> Statement:
    """A statement known to every store that opens later. Call at import only."""
    table = getattr(construct, "table", None)
    statement = Statement(
        construct,
        columns=None if columns is None else tuple(columns),
        reads=frozenset(table.name for table in reads),
        writes="" if table is None or isinstance(construct, Select) else table.name,
        barrier=barrier,
        together=together,
    )
    _REGISTRY.append(statement)
    return statement


def parameter(column: Any, name: str | None = None) -> BindParameter[Any]:
    """A parameter of a column's type. Names start with `p_` so that they never meet SQLAlchemy's own."""
    return bindparam(name or f"p_{column.name}", type_=column.type)


def define_insert(table: Table, *, leave: Iterable[str] = ()) -> Statement:
    """A plain insert with one parameter `p_<column>` for every column but those in `leave`."""
    columns = [column for column in table.columns if column.name not in set(leave)]
    return define(insert(table).inline().values({column: parameter(column) for column in columns}))


def insert_if(table: Table, source: Select[Any], *, leave: Iterable[str] = ()) -> Insert:
    """An insert that happens once for each row of `source`; its values are the parameters `p_<column>`."""
    columns = [column for column in table.columns if column.name not in set(leave)]
    values = source.with_only_columns(*(parameter(column).label(f"v_{column.name}") for column in columns))
    return insert(table).inline().from_select(columns, values)


def compile_all(dialect_name: str) -> Mapping[Statement, Compiled]:
    """Every defined statement as text for one database: once a process, half a millisecond for each."""
    return _compiled(dialect_name, len(_REGISTRY))


@cache
def _compiled(dialect_name: str, _defined: int) -> Mapping[Statement, Compiled]:
    dialect = DIALECTS[dialect_name]()
    return {statement: _compile(statement, dialect) for statement in _REGISTRY}


def _compile(statement: Statement, dialect: Dialect) -> Compiled:
    compiled: Any = statement.construct.compile(  # type: ignore[attr-defined]  # every Core construct has it
        dialect=dialect, column_keys=statement.columns
    )
    order: list[str] = list(compiled.positiontup or ())
    fixed = {name: bind.value for name, bind in compiled.binds.items() if name in order and bind.value is not None}
    return Compiled(text=str(compiled.string), arguments=_arguments(order, fixed))


def _arguments(order: list[str], fixed: dict[str, Any]) -> Callable[[Params], tuple[Any, ...]]:
    """How to put named parameters in the driver's order; constants of the statement come from `fixed`."""
    if not order:
        return lambda _params: ()
    if fixed:
        return lambda params: tuple(fixed[name] if name in fixed else params[name] for name in order)
    if len(order) == 1:
        only = order[0]
        return lambda params: (params[only],)
    return itemgetter(*order)


PLACEHOLDER: Final = re.compile(r"\$(\d+)")
"""A parameter in PostgreSQL's text."""


def renumbered(text: str, by: int) -> str:
    """PostgreSQL text whose parameters `$1 …` start `by` later: to put several statements into one."""
    return PLACEHOLDER.sub(lambda match: f"${int(match[1]) + by}", text) if by else text


PING: Final = define(select(literal(1)))
