"""SQLite: one writer thread with a connection of its own, and a second connection for reads in the loop.

Measured (Python 3.11, SQLite 3.40): a whole unit of work by one hop to the writer costs 57 µs of CPU against 84 µs
through aiosqlite's hop per statement; a read by key costs 5 µs here in the loop and 37 µs by a hop. So reads block the
loop, on purpose: they are by key, from a file the machine has in memory. Under WAL they never wait for a writer.

Durability: `synchronous=FULL` for everything a token, a receipt or a revocation hangs on, because with NORMAL a power cut
forgets the last commits: an already used code would be new again, a revoked grant would stand, claims would have left
without a record. Browser memory (sessions, transactions, replay marks, limits) is written with NORMAL: a power cut signs
somebody out at worst. Either survives the death of the process. Waiting units share one commit, and so one `fsync`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from broker.errors import StoreUnavailable
from broker.stores.sql.drivers.conflicts import check, conflict_of_columns
from broker.stores.sql.statements import Params, Row, Script, Statement, Step, compile_all

T = TypeVar("T")

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for another process's write before giving up with 503."""
_BATCH: Final = 64
"""As many units of work are enough for one commit."""


def connect(path: str, *, busy_timeout: float = BUSY_TIMEOUT) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are begun and ended by us alone."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # SQLite gives -wal and -shm the same mode
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=400
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA secure_delete=ON")  # what is erased is overwritten, not only unlinked
    return connection


@contextmanager
def translated() -> Generator[None, None, None]:
    """Turns sqlite3's errors into ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _ours(error) from None


def _ours(error: sqlite3.Error | OSError) -> Exception:
    """What an error means to us. Its text can hold values, so only its name goes on."""
    if isinstance(error, sqlite3.IntegrityError):
        unique = error.sqlite_errorname in {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
        conflict = conflict_of_columns(str(error)) if unique else None
        return conflict or StoreUnavailable(f"sqlite {error.sqlite_errorname}")
    return StoreUnavailable(f"sqlite {getattr(error, 'sqlite_errorname', type(error).__name__)}")


@dataclass(slots=True)
class _Job:
    """Something for the writer to do inside a transaction, and who waits for it."""

    work: Callable[[sqlite3.Connection], Any]
    lasting: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = field(default=None)

    def settle(self) -> None:
        """Tells who waits, in their loop."""
        if self.future.done():  # the caller gave up waiting; what was committed stays committed
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


class SqliteDriver:
    """One process's access to one file. Several processes on one machine may each have one (decision 30)."""

    def __init__(self, path: str, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        """Opens the file, making it if there is none. Raises `StoreUnavailable`."""
        self._compiled = compile_all("sqlite")
        with translated():
            self._reader = connect(path, busy_timeout=busy_timeout)
            self._reader.execute("PRAGMA query_only=ON")
            self._writer = connect(path, busy_timeout=busy_timeout)
            self._writer.execute("PRAGMA synchronous=FULL")
        self._full = True
        self._gathered: list[_Job] = []
        self._jobs: SimpleQueue[list[_Job] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_jobs, name="doorward-sqlite-writer", daemon=True)
        self._thread.start()
        self._closed = False

    async def read(self, statement: Statement, params: Params) -> Sequence[Row]:
        try:  # not `with translated()`: that would be a quarter of what a read costs
            return self._execute(self._reader, statement, params)
        except sqlite3.Error as error:
            raise _ours(error) from None

    async def write(self, statement: Statement, params: Params, *, lasting: bool = True) -> Sequence[Row]:
        return await self._submit(lambda connection: self._execute(connection, statement, params), lasting=lasting)

    async def commit(self, steps: Sequence[Step]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            for step in steps:
                check(step, self._execute(connection, step.statement, step.params))

        await self._submit(work, lasting=True)

    async def run(self, script: Callable[[], Script[T]], *, lasting: bool = True) -> T:
        def work(connection: sqlite3.Connection) -> T:
            running = script()
            try:
                step = next(running)
                while True:
                    rows = self._execute(connection, step.statement, step.params)
                    check(step, rows)
                    step = running.send(rows)
            except StopIteration as stop:
                result: T = stop.value
                return result

        return await self._submit(work, lasting=lasting)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._hand_over()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._reader.close()
        self._writer.close()

    def _execute(self, connection: sqlite3.Connection, statement: Statement, params: Params) -> list[Row]:
        compiled = self._compiled[statement]
        try:
            return connection.execute(compiled.text, compiled.arguments(params)).fetchall()
        except (UnicodeEncodeError, OverflowError):
            if statement.only_matches:  # half a character, or a number of 65 bits: nothing kept is like that
                return []
            raise

    async def _submit(self, work: Callable[[sqlite3.Connection], T], *, lasting: bool) -> T:
        if self._closed:
            raise StoreUnavailable("store closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        # All that one round of the loop has to write goes to the writer together: one waking, one commit, one answer.
        if self._gathered and self._gathered[0].loop is not loop:
            self._hand_over()
        if not self._gathered:
            loop.call_soon(self._hand_over)
        self._gathered.append(_Job(work, lasting, loop, future))
        return await future

    def _hand_over(self) -> None:
        if self._gathered:
            self._jobs.put(self._gathered)
            self._gathered = []

    # --- in the writer thread -----------------------------------------------------------------------------

    def _write_jobs(self) -> None:
        while (handed := self._jobs.get()) is not None:
            jobs, stop = handed, False
            while len(jobs) < _BATCH:
                try:
                    more = self._jobs.get_nowait()
                except Empty:
                    break
                if more is None:
                    stop = True
                    break
                jobs += more
            self._commit_together(jobs)
            for loop, done in groupby(jobs, key=lambda job: job.loop):
                with suppress(RuntimeError):  # a loop that has gone needs no answer
                    loop.call_soon_threadsafe(_settle, list(done))
            if stop:
                return

    def _commit_together(self, jobs: list[_Job]) -> None:
        """All jobs in one transaction; one that fails is undone alone (SAVEPOINT) and the others go on."""
        try:
            with translated():
                self._set_durability(any(job.lasting for job in jobs))
                self._writer.execute("BEGIN IMMEDIATE")
                if len(jobs) == 1:
                    self._do_alone(jobs[0])
                else:
                    for job in jobs:
                        self._do_beside_others(job)
                if self._writer.in_transaction:
                    self._writer.execute("COMMIT")
        except BaseException as error:
            for job in jobs:
                job.error = job.error or error
            with suppress(sqlite3.Error):
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def _do_alone(self, job: _Job) -> None:
        try:
            with translated():
                job.result = job.work(self._writer)
        except BaseException as error:
            job.error = error
            if self._writer.in_transaction:  # some failures (a full disk) have already undone it
                self._writer.execute("ROLLBACK")

    def _do_beside_others(self, job: _Job) -> None:
        self._writer.execute("SAVEPOINT unit")
        try:
            with translated():
                job.result = job.work(self._writer)
        except BaseException as error:
            job.error = error
            if not self._writer.in_transaction:
                raise StoreUnavailable("sqlite transaction lost") from None
            self._writer.execute("ROLLBACK TO unit")
        self._writer.execute("RELEASE unit")

    def _set_durability(self, lasting: bool) -> None:
        if lasting is not self._full:
            self._writer.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
            self._full = lasting
