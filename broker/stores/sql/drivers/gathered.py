"""Reads that are asked in one turn of the loop go to PostgreSQL as one.

Measured on userinfo with 8 callers, CPU of all processes for each read by key: alone 98 µs, half of it the server's;
among four 45. Only statements that say `together` are gathered: short ones, which find a row or a few by an index.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from broker.errors import StoreUnavailable
from broker.stores.sql.statements import PLACEHOLDER, Row, Statement

Arguments: TypeAlias = tuple[Any, ...]
Answer: TypeAlias = "asyncio.Future[Sequence[Row]]"

IN_FLIGHT: Final = 2
"""Reads of one statement that are under way at most: what comes meanwhile is gathered, and one that waits holds up few."""
AT_ONCE: Final = 100
_TYPED: Final = re.compile(r"\$(\d+)::([A-Z]+)")


class Gathered:
    """Who asks the same at the same time. Knows no connection: `read` does it, for any number of askers."""

    def __init__(self, read: Callable[[Statement, Sequence[Arguments]], Awaitable[Sequence[Sequence[Row]]]]) -> None:
        """`read` answers each arguments' rows in the order of the arguments."""
        self._read = read
        self._waiting: dict[Statement, list[tuple[Arguments, Answer]]] = {}
        self._under_way: dict[Statement, int] = {}
        self._called = False
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, statement: Statement, arguments: Arguments) -> Answer:
        """The rows for these arguments. Fails with what `read` raised."""
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        self._waiting.setdefault(statement, []).append((arguments, answer))
        if not self._called:
            self._called = True
            loop.call_soon(self._go)
        return answer

    def _go(self) -> None:
        self._called = False
        for statement in list(self._waiting):
            self._begin(statement)

    def _begin(self, statement: Statement) -> None:
        while (asked := self._waiting.get(statement)) and self._under_way.get(statement, 0) < IN_FLIGHT:
            self._under_way[statement] = self._under_way.get(statement, 0) + 1
            if len(asked) > AT_ONCE:
                asked, self._waiting[statement] = asked[:AT_ONCE], asked[AT_ONCE:]
            else:
                del self._waiting[statement]
            task = asyncio.get_running_loop().create_task(self._answer(statement, asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, statement: Statement, asked: Sequence[tuple[Arguments, Answer]]) -> None:
        try:
            found = await self._read(statement, [arguments for arguments, _ in asked])
        except StoreUnavailable as error:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(StoreUnavailable(*error.args))
        except BaseException as error:
            # Shutdown, or a mistake of ours: nobody is left waiting for it.
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error) if isinstance(error, Exception) else answer.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            for (_, answer), rows in zip(asked, found, strict=True):
                if not answer.done():  # whoever asked may have gone
                    answer.set_result(rows)
        finally:
            self._under_way[statement] -= 1
            self._begin(statement)


def for_many(text: str) -> str:
    """A SELECT by `$1::TYPE …` as one whose parameters are arrays: its rows, each with the place of its arguments behind it.

    Rows of one place keep the order that the SELECT gives them: one with an ORDER BY is run for each place by itself.
    """
    types = {int(number): kind for number, kind in _TYPED.findall(text)}
    count = max(types)
    arrays = ", ".join(f"${number}::{types[number]}[]" for number in range(1, count + 1))
    names = ", ".join(f"a{number}" for number in range(1, count + 1))
    one = PLACEHOLDER.sub(lambda match: f"_asked.a{match[1]}", text)
    return (  # our own statements, compiled
        f"SELECT _found.*, _asked.place FROM unnest({arrays}) WITH ORDINALITY AS _asked({names}, place)"  # noqa: S608
        f" CROSS JOIN LATERAL ({one}) AS _found"
    )
