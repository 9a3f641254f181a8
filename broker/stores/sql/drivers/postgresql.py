"""PostgreSQL through asyncpg: prepared statements, and as few round trips as a unit of work allows.

Measured: asyncpg costs 53 µs per select and 69 per insert at 8 in flight; SQLAlchemy's async execution 229–302 and
400–494. Two things matter beyond that. asyncpg's own pool costs as much again as the statement (see `connections`). And a
unit of work whose statements do not look at one another's tables is sent as *one* statement with data-modifying CTEs,
which commits by itself: one round trip instead of BEGIN, n statements and COMMIT.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import asyncpg

from broker.errors import Conflict, StoreUnavailable
from broker.stores.sql.drivers.conflicts import check, conflict_of_constraint
from broker.stores.sql.drivers.connections import ACQUIRE_TIMEOUT, Connections
from broker.stores.sql.drivers.gathered import READS_IN_FLIGHT, WRITES_IN_FLIGHT, Gathered, for_many
from broker.stores.sql.statements import PLACEHOLDER, Params, Row, Script, Statement, Step, compile_all, renumbered

T = TypeVar("T")

STATEMENT_TIMEOUT: Final = 5.0
"""Seconds; longer than this and the person gets a page that says so (catalogue 162)."""
AT_ONCE: Final = 64
"""Statements that go together at most."""
UNITS_AT_ONCE: Final = 8
"""Units that do: each number of them is a text of its own, which each connection prepares."""
REFUSED: Final = "DW001"
"""The SQLSTATE of `doorward_refuse(what)`: an expectation of a unit of work broke."""
_INSERT: Final = re.compile(r"(INSERT INTO [^()]+\([^()]+\) VALUES )(\([^()]+\))( ON CONFLICT DO NOTHING)?")
"""A plain insert, cut so that its row can be repeated."""


class PostgresDriver:
    """One process's access to one database."""

    def __init__(self, url: str, *, size: int = 10) -> None:
        """Connects at first use, and again whenever a connection was lost: a restart of the server needs none of ours."""
        self._compiled = compile_all("postgresql")
        self._many_rows = {
            statement: found.groups("")
            for statement, compiled in self._compiled.items()
            if (found := _INSERT.fullmatch(compiled.text)) is not None
        }
        self._joined: dict[tuple[Any, ...], str] = {}
        self._for_many = {one: for_many(self._compiled[one].text) for one in self._compiled if one.together}
        self._reads = Gathered(self._run_all, at_once=AT_ONCE, in_flight=READS_IN_FLIGHT)
        self._steps = Gathered(self._run_all, at_once=AT_ONCE, in_flight=WRITES_IN_FLIGHT)
        self._units = Gathered(self._commit_all, at_once=UNITS_AT_ONCE, in_flight=WRITES_IN_FLIGHT, by_powers=True)
        self._url = url
        self._connections = Connections(self._connect, size)
        self._closed = False

    async def read(self, statement: Statement, params: Params) -> Sequence[Row]:
        if statement.together:
            gathered = self._steps if statement.writes else self._reads
            return await gathered.ask(statement, self._compiled[statement].arguments(params))
        return await self._on_connection(lambda connection: self._rows(connection, statement, params))

    async def write(self, statement: Statement, params: Params, *, lasting: bool = True) -> Sequence[Row]:
        # Here everything lasts: switching synchronous_commit off would cost a round trip of its own.
        del lasting
        return await self.read(statement, params)

    async def commit(self, steps: Sequence[Step]) -> None:
        if all(step.statement.construct.is_insert and not step.statement.barrier for step in steps):
            shape = tuple((step.statement, step.expect, step.conflict) for step in steps)
            await self._units.ask(shape, steps)
        else:
            await self._commit(steps)

    async def _commit(self, steps: Sequence[Step]) -> None:
        groups = _grouped(steps)

        async def work(connection: Any) -> None:
            if len(groups) == 1:
                await self._execute(connection, groups[0])
                return
            async with connection.transaction():
                for group in groups:
                    await self._execute(connection, group)

        async def once_more(connection: Any) -> None:
            """Steps that go together lock rows in an order of their own: of two who wait for each other one is undone."""
            try:
                await work(connection)
            except asyncpg.DeadlockDetectedError:
                await work(connection)

        await self._on_connection(once_more)

    async def _commit_all(self, _shape: object, units: Sequence[Sequence[Step]]) -> Sequence[None] | None:
        """Several units as one; `None` if not all of them could be, and nothing was done."""
        if len(units) == 1:
            await self._commit(units[0])
            return (None,)
        groups = _grouped([step for unit in units for step in unit])
        if len(groups) > 1:
            return None

        async def work(connection: Any) -> Sequence[None] | None:
            try:
                await self._execute(connection, groups[0])
            except asyncpg.PostgresError as error:
                if _is_undone(error):
                    return None
                raise
            return (None,) * len(units)

        return await self._on_connection(work)

    async def run(self, script: Callable[[], Script[T]], *, lasting: bool = True) -> T:
        del lasting

        async def work(connection: Any) -> T:
            async with connection.transaction():
                running = script()
                try:
                    step = next(running)
                    while True:
                        rows = await self._rows(connection, step.statement, step.params)
                        check(step, rows)
                        step = running.send(rows)
                except StopIteration as stop:
                    result: T = stop.value
                    return result

        return await self._on_connection(work)

    async def close(self) -> None:
        for gathered in (self._reads, self._steps, self._units):
            await gathered.close()
        self._closed = True
        await self._connections.close()

    async def _run_all(self, statement: Statement, asked: Sequence[tuple[Any, ...]]) -> Sequence[Sequence[Row]] | None:
        """The rows for each of `asked`, in one round trip; `None` if the server, or asyncpg, did not take one of them."""
        if len(asked) == 1:
            (one,) = asked
            return (await self._on_connection(lambda connection: self._fetch(connection, statement, one)),)
        text, columns = self._for_many[statement], list(zip(*asked, strict=True))

        async def work(connection: Any) -> Sequence[Row] | None:
            try:
                rows: Sequence[Row] = await connection.fetch(text, *columns)
            except asyncpg.PostgresError as error:
                if _is_undone(error):
                    return None
                raise
            return rows

        rows = await self._on_connection(work)
        if rows is None:
            return None
        found: list[list[Row]] = [[] for _ in asked]
        for row in rows:
            found[row[-1] - 1].append(row[:-1])
        return found

    async def _rows(self, connection: Any, statement: Statement, params: Params) -> Sequence[Row]:
        return await self._fetch(connection, statement, self._compiled[statement].arguments(params))

    async def _fetch(self, connection: Any, statement: Statement, arguments: tuple[Any, ...]) -> Sequence[Row]:
        try:
            rows: Sequence[Row] = await connection.fetch(self._compiled[statement].text, *arguments)
        except asyncpg.DataError:
            if statement.only_matches:  # NUL, half a character, a number of 65 bits: nothing kept is like that
                return []
            raise
        return rows

    async def _execute(self, connection: Any, group: Sequence[Step]) -> None:
        bundles = self._bundled(group)
        arguments = [
            value
            for bundle in bundles
            for step in bundle
            for value in self._compiled[step.statement].arguments(step.params)
        ]
        if len(bundles) == 1:
            (bundle,) = bundles
            text = self._text(bundle[0].statement, len(bundle))
            check(bundle[0], await connection.fetch(text, *arguments))
        else:
            await connection.fetch(self._join(bundles), *arguments)

    def _bundled(self, group: Sequence[Step]) -> list[list[Step]]:
        """The group with all rows for one table together: they go into one INSERT, which keeps their order.

        Beside one another in a WITH they would not: PostgreSQL runs its parts in any order, and the numbers of two
        receipts of one unit would say that the second was decided first.
        """
        bundles: list[list[Step]] = []
        rows: dict[Statement, list[Step]] = {}
        for step in group:
            if step.expect is None and step.statement in self._many_rows:
                if step.statement in rows:
                    rows[step.statement].append(step)
                    continue
                rows[step.statement] = bundle = [step]
                bundles.append(bundle)
            else:
                bundles.append([step])
        return bundles

    def _text(self, statement: Statement, rows: int) -> str:
        """The statement's text; an INSERT with as many rows as said."""
        if rows == 1:
            return self._compiled[statement].text
        key = (statement, rows)
        text = self._joined.get(key)
        if text is None:
            start, row, end = self._many_rows[statement]
            width = len(set(PLACEHOLDER.findall(row)))
            text = self._joined[key] = start + ", ".join(renumbered(row, n * width) for n in range(rows)) + end
        return text

    def _join(self, bundles: Sequence[Sequence[Step]]) -> str:
        """The bundles as one statement. A broken expectation raises inside it, so that nothing of it stays."""
        key = tuple((bundle[0].statement, len(bundle), bundle[0].expect, bundle[0].conflict) for bundle in bundles)
        text = self._joined.get(key)
        if text is None:
            parts, checks, offset = [], ["1"], 0
            for number, bundle in enumerate(bundles):
                step = bundle[0]
                parts.append(f"w{number} AS ({renumbered(self._text(step.statement, len(bundle)), offset)})")
                offset += len(bundle) * len(self._compiled[step.statement].arguments(step.params))
                if step.expect is not None:
                    exists = "EXISTS" if step.expect == "rows" else "NOT EXISTS"
                    refuse = f"doorward_refuse('{step.conflict}')"  # the conflict's name is a word of ours
                    found = f"{exists} (SELECT 1 FROM w{number})"  # noqa: S608
                    checks.append(f"CASE WHEN {found} THEN 1 ELSE {refuse} END")
            text = self._joined[key] = f"WITH {', '.join(parts)} SELECT {', '.join(checks)}"
        return text

    async def _connect(self) -> Any:
        return await asyncpg.connect(
            self._url,
            timeout=ACQUIRE_TIMEOUT,
            command_timeout=STATEMENT_TIMEOUT,
            statement_cache_size=400,
            max_cached_statement_lifetime=0,
            server_settings={
                "application_name": "doorward",
                "idle_in_transaction_session_timeout": "15s",
                "lock_timeout": "4s",
                "statement_timeout": "10s",  # for what we have given up on, so that it does not pile up there
                "jit": "off",  # compiling a plan costs more than any of our statements
            },
        )

    async def _on_connection(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """The result of `work`. What goes wrong in it becomes `Conflict` or `StoreUnavailable`.

        Server messages quote values, so only the SQLSTATE goes on.
        """
        if self._closed:
            raise StoreUnavailable("store closed")
        try:
            connection = await self._connections.take()
            try:
                result = await work(connection)
            except BaseException as error:
                self._connections.give_back(connection, usable=_is_usable(connection, error))
                raise
            self._connections.give_back(connection, usable=True)
        except asyncpg.UniqueViolationError as error:
            raise conflict_of_constraint(error.constraint_name) or StoreUnavailable("postgresql 23505") from None
        except asyncpg.PostgresError as error:
            if error.sqlstate == REFUSED:
                raise Conflict(str(error.args[0])) from None
            raise StoreUnavailable(f"postgresql {error.sqlstate}") from None
        except _LOST as error:
            raise StoreUnavailable(f"postgresql {type(error).__name__}") from None
        return result


_LOST: Final = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What says that a connection, or the way to it, is gone or out of step."""


_UNKNOWN: Final = ("08", "40003", "53", "57", "58", "XX")
"""How an SQLSTATE begins where the server, or the way to it, is in trouble: a connection that is lost has one of these."""


def _is_undone(error: asyncpg.PostgresError) -> bool:
    """Whether a statement was refused for what it is, and left nothing: then, and only then, it may be tried another way.

    One whose connection was lost may be committed. Asked for again, a code that was redeemed for its owner would look
    stolen, and a unit that was written would be told as a conflict with itself.
    """
    return error.sqlstate is not None and not error.sqlstate.startswith(_UNKNOWN)


def _is_usable(connection: Any, error: BaseException) -> bool:
    """Whether a connection can be lent again after an error: the server said no, or a step was not as expected.

    After a cancellation or a timeout it may still be at work, and what it answers would be taken for the next answer.
    """
    return isinstance(error, Exception) and not isinstance(error, _LOST) and not connection.is_in_transaction()


def _grouped(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps in order, put together where one may run beside the other.

    Statements inside one WITH all see the database as it was before it, so a step starts a new group if it looks at,
    or writes, a table that the group has written; inserts of further rows into one table go together.
    """
    groups: list[list[Step]] = []
    written: dict[str, bool] = {}  # table -> only inserts so far
    for step in steps:
        statement = step.statement
        insert = statement.construct.is_insert and not statement.barrier
        beside = bool(groups) and not statement.barrier and not groups[-1][-1].statement.barrier
        beside = beside and not (statement.reads & written.keys()) and bool(statement.writes)
        beside = beside and (statement.writes not in written or (insert and written[statement.writes]))
        if not beside:
            groups.append([])
            written = {}
        groups[-1].append(step)
        if statement.writes:
            written[statement.writes] = insert and written.get(statement.writes, True)
    return groups
