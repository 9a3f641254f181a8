"""No statement looks at a whole table that grows: every one, on both databases, with very many rows in each table.

Row n of every table holds n in every column (`000500`, 500), so each parameter of a statement meets one row. What has
expired by the fifth microsecond is five rows.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy import Boolean, Column, LargeBinary, String, Table
from tests.support.servers import PostgresServer

import broker.stores.sql.browser
import broker.stores.sql.durable  # noqa: F401 - both define every statement there is
from broker.stores.sql.drivers.gathered import for_many
from broker.stores.sql.drivers.sqlite import connect
from broker.stores.sql.keyring import _CELLS
from broker.stores.sql.schema import migrate
from broker.stores.sql.statements import DIALECTS, Statement, compile_all
from broker.stores.sql.tables import data_keys, metadata, signing_keys, staff

ROWS: Final = 100_000
FEW: Final = 1_000
ENOUGH: Final = 20_000
"""On PostgreSQL, where plans are chosen by cost: from here on looking at every row costs ten times any of our plans."""
SMALL: Final = frozenset({data_keys.name, signing_keys.name, staff.name})
"""A handful of rows, for good."""
GROWING: Final = tuple(table for table in metadata.sorted_tables if table.name not in SMALL)
WALKS: Final = frozenset(statement for cells in _CELLS for statement in (cells.find, cells.find_more))
"""A rotation of data keys walks through a table in the order of its primary key, a batch at a time."""
PARTIAL: Final = frozenset(
    index.name for table in GROWING for index in table.indexes if index.dialect_options["sqlite"]["where"] is not None
)
"""Indexes that hold the wanted rows and no others: SQLite calls it a scan to begin at their start."""
OWNERS: Final = frozenset({"p_account", "p_grant_id"})
SIZES: Final = {"p_limit": 20, "p_offset": 0, "p_since": 0, "p_until": ROWS, "p_now": 5, "p_before": 5}


def statements() -> list[Statement]:
    return list(compile_all("sqlite"))


def parameters(statement: Statement, dialect: str) -> list[Any]:
    """Values that meet row 500; of an insert, values for a new row that belongs to account or grant 500."""
    compiled: Any = statement.construct.compile(dialect=DIALECTS[dialect](), column_keys=statement.columns)  # type: ignore[attr-defined]
    new = statement.construct.is_insert
    return [
        value_for(name, compiled.binds[name], "999999" if new and name not in OWNERS else "000500")
        for name in compiled.positiontup or ()
    ]


def value_for(name: str, bind: Any, text: str) -> Any:
    if name in SIZES:
        return SIZES[name]
    if bind.value is not None:
        return bind.value
    if isinstance(bind.type, LargeBinary):
        return text.encode()
    if isinstance(bind.type, Boolean):
        return False
    return text if isinstance(bind.type, String) else 500


def filled(table: Table, text: str, number: str) -> str:
    """The columns of row `number`, as expressions: `text` is the number in six digits."""

    def cell(column: Column[Any]) -> str:
        if isinstance(column.type, LargeBinary):
            return f"CAST({text} AS {'BLOB' if 'printf' in text else 'BYTEA'})"
        if isinstance(column.type, Boolean):
            return "FALSE"
        if isinstance(column.type, String):
            return text
        return "NULL" if column.nullable else number

    return ", ".join(cell(column) for column in table.columns)


# --- SQLite -------------------------------------------------------------------------------------------


def sqlite_with(path: Path, rows: int) -> sqlite3.Connection:
    asyncio.run(migrate(f"sqlite:///{path}"))
    connection = connect(str(path))
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("BEGIN")
    for table in GROWING:
        connection.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows}) "
            f"INSERT INTO {table.name} SELECT {filled(table, chr(39).join(('printf(', '%06d', ', n)')), 'n')} FROM numbers"
        )
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=MEMORY")
    return connection


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    with closing(sqlite_with(tmp_path_factory.mktemp("many") / "stores.db", ROWS)) as connection:
        yield connection


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    with closing(sqlite_with(tmp_path_factory.mktemp("few") / "stores.db", FEW)) as connection:
        yield connection


def plan(connection: sqlite3.Connection, statement: Statement) -> list[str]:
    text = compile_all("sqlite")[statement].text
    rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters(statement, "sqlite")).fetchall()
    return [row[3] for row in rows]


def steps(connection: sqlite3.Connection, statement: Statement) -> int:
    """How many steps of SQLite's virtual machine the statement takes."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM accounts LIMIT 1").fetchall()  # reads the schema, which would be counted too
    connection.set_progress_handler(tick, 1)
    try:
        connection.execute(compile_all("sqlite")[statement].text, parameters(statement, "sqlite")).fetchall()
    finally:
        connection.set_progress_handler(None, 1)
        connection.execute("ROLLBACK")
    return count


def test_every_statement_on_sqlite_finds_its_rows_by_an_index(many: sqlite3.Connection) -> None:
    tables = {table.name for table in GROWING} | {"other"}
    scans = [
        f"{compile_all('sqlite')[statement].text}: {line}"
        for statement in statements()
        if statement not in WALKS
        for line in plan(many, statement)
        if line.startswith("SCAN ") and line.split()[1] in tables and line.split()[-1] not in PARTIAL
    ]
    assert scans == []


def test_a_rotation_walks_along_the_primary_key_on_sqlite(many: sqlite3.Connection) -> None:
    for cells in _CELLS:
        assert not [line for line in plan(many, cells.find) if "TEMP B-TREE" in line]
        assert plan(many, cells.find_more)[0].startswith("SEARCH ")


def test_no_statement_on_sqlite_does_more_with_a_hundred_times_the_rows(
    many: sqlite3.Connection, few: sqlite3.Connection
) -> None:
    grown = {
        compile_all("sqlite")[statement].text: (before, after)
        for statement in statements()
        if (after := steps(many, statement)) > (before := steps(few, statement)) * 1.1 + 5
    }
    assert grown == {}


def test_a_statement_that_scans_is_found_out(many: sqlite3.Connection) -> None:
    """The two tests above can fail: without its index, a statement looks at everything."""
    many.execute("BEGIN")
    many.execute("DROP INDEX ix_links_account")
    lines = [row[3] for row in many.execute("EXPLAIN QUERY PLAN SELECT id FROM links WHERE account = ?", ["000500"])]
    many.execute("ROLLBACK")
    assert lines == ["SCAN links"]


# --- PostgreSQL ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many_on_postgresql(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create()
    asyncio.run(migrate(url))
    postgres_server.run(
        # Unlogged, for the time it saves: plans are the same.
        "; ".join(f"ALTER TABLE {table.name} SET UNLOGGED" for table in GROWING)
        + "; "
        + "; ".join(
            f"INSERT INTO {table.name} SELECT {filled(table, 'to_char(n, $$FM000000$$)', 'n')} "
            f"FROM generate_series(1, {ENOUGH}) AS numbers(n)"
            for table in GROWING
        )
        + "; ANALYZE",
        url.rsplit("/", 1)[1],
    )
    yield url
    postgres_server.drop(url)


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    if isinstance(plan, list):
        for one in plan:
            yield from nodes(one)
    elif isinstance(plan, dict):
        if "Node Type" in plan:
            yield plan
        for value in plan.values():
            yield from nodes(value)


async def test_every_statement_on_postgresql_finds_its_rows_by_an_index(many_on_postgresql: str) -> None:
    tables = {table.name for table in GROWING}
    connection = await asyncpg.connect(many_on_postgresql)
    scans = []
    try:
        for statement, compiled in compile_all("postgresql").items():
            arguments = parameters(statement, "postgresql")
            found = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {compiled.text}", *arguments)
            scans += [
                f"{compiled.text}: {node['Node Type']} on {node['Relation Name']}"
                for node in nodes(json.loads(found))
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] in tables and statement not in WALKS
            ]
    finally:
        await connection.close()
    assert scans == []


async def test_what_goes_together_finds_its_rows_by_an_index_with_a_plan_that_the_server_keeps(
    many_on_postgresql: str,
) -> None:
    tables = {table.name for table in GROWING}
    connection = await asyncpg.connect(many_on_postgresql)
    scans, made_anew = [], []
    try:
        for statement, compiled in compile_all("postgresql").items():
            if not statement.together:
                continue
            text = for_many(compiled.text)
            arguments = [[one] * 4 for one in parameters(statement, "postgresql")]
            async with connection.transaction():
                prepared = await connection.prepare(text)
                for _ in range(8):  # the server tries five plans for these parameters before one for any
                    await prepared.fetch(*arguments)
                kept = "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1"
                if await connection.fetchval(kept, text) == 0:
                    made_anew.append(text)
            nothing = ", ".join(["NULL"] * len(arguments))
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            await connection.execute(f"PREPARE together AS {text}")
            found = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE together({nothing})")
            await connection.execute("DEALLOCATE together")
            await connection.execute("RESET plan_cache_mode")
            scans += [
                f"{text}: {node['Node Type']} on {node['Relation Name']}"
                for node in nodes(json.loads(found))
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] in tables
            ]
    finally:
        await connection.close()
    assert scans == []
    assert made_anew == []
    assert sum(statement.together for statement in statements()) > 8
