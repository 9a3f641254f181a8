"""What many ask of PostgreSQL in one turn of the loop goes there as one statement.

Measured, CPU for a read by key: 50 µs here and 43 in the server each by itself; 16 and 8 among eight. A statement says
that it is like that with `together`; units of work that do the same go together too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from broker.errors import StoreUnavailable
from broker.stores.sql.statements import PLACEHOLDER

K = TypeVar("K")
A = TypeVar("A")
R = TypeVar("R")

READS_IN_FLIGHT: Final = 1
"""Of one kind under way at most: what comes meanwhile is gathered. Reads wait for no lock."""
WRITES_IN_FLIGHT: Final = 2
"""One that waits for a lock does not hold up everybody."""
_TYPED: Final = re.compile(r"\$(\d+)::([A-Z]+)")


class Gathered(Generic[K, A, R]):
    """Who asks the same at the same time. Knows no connection: `run` does it, for any number of askers."""

    def __init__(
        self,
        run: Callable[[K, Sequence[A]], Awaitable[Sequence[R] | None]],
        *,
        at_once: int,
        in_flight: int,
        by_powers: bool = False,
    ) -> None:
        """`run` answers each of what was asked, in that order; or `None`: nothing was done, ask each by itself.

        `at_once`: how many go together at most. `by_powers`: always 1, 2, 4, 8 …, for a `run` that prepares something for
        each number.
        """
        self._run = run
        self._at_once = at_once
        self._in_flight = in_flight
        self._by_powers = by_powers
        self._waiting: dict[K, list[tuple[A, asyncio.Future[R]]]] = {}
        self._under_way: dict[K, int] = {}
        self._called = False
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, kind: K, what: A) -> asyncio.Future[R]:
        """The answer, or what `run` raised. Whoever stops waiting stops nothing: it is done all the same."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.setdefault(kind, []).append((what, answer))
        if not self._called:
            self._called = True
            loop.call_soon(self._go)
        return answer

    async def close(self) -> None:
        """Waits for what is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _go(self) -> None:
        self._called = False
        for kind in list(self._waiting):
            self._begin(kind)

    def _begin(self, kind: K) -> None:
        while (asked := self._waiting.get(kind)) and self._under_way.get(kind, 0) < self._in_flight:
            count = min(self._at_once, len(asked))
            if self._by_powers:
                count = 1 << count.bit_length() - 1
            if count < len(asked):
                asked, self._waiting[kind] = asked[:count], asked[count:]
            else:
                del self._waiting[kind]
            self._under_way[kind] = self._under_way.get(kind, 0) + 1
            self._start(self._answer(kind, asked))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, kind: K, asked: Sequence[tuple[A, asyncio.Future[R]]]) -> None:
        try:
            await self._try(kind, asked)
        finally:
            self._under_way[kind] -= 1
            if not self._under_way[kind]:
                del self._under_way[kind]
            self._begin(kind)

    async def _try(self, kind: K, asked: Sequence[tuple[A, asyncio.Future[R]]]) -> None:
        try:
            found = await self._run(kind, [what for what, _ in asked])
        except asyncio.CancelledError:
            for _, answer in asked:
                answer.cancel()
            raise
        except Exception as error:
            if isinstance(error, StoreUnavailable) and error.detail.endswith("TimeoutError"):
                # Nobody waits two times as long because others waited first.
                asked = [*asked, *self._waiting.pop(kind, ())]
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(_again(error))
            return
        if found is None:
            # At the same time: where each waits for a lock until it is told no, the last would wait for all before it.
            await asyncio.gather(*(self._try(kind, [one]) for one in asked))
            return
        for (_, answer), result in zip(asked, found, strict=True):
            if not answer.done():  # whoever asked may have gone
                answer.set_result(result)


def _again(error: Exception) -> Exception:
    """The error for one of several who wait: each raises, and adds to, one of its own."""
    return StoreUnavailable(error.detail) if isinstance(error, StoreUnavailable) else error


def for_many(text: str) -> str:
    """A statement by `$1::TYPE …` as one whose parameters are arrays: its rows, each with its place in them behind it.

    A SELECT with an ORDER BY is run for each place by itself, and its rows keep that order. An UPDATE changes a row once,
    for one of those who asked for it, however many did: the others find nothing, as if they had come later.
    """
    types = {int(number): kind for number, kind in _TYPED.findall(text)}
    numbers = range(1, max(types) + 1)
    # As sub-selects they are of unknown length to the planner, so that it keeps its plan: a new one costs 180 µs each time.
    arrays = ", ".join(f"(SELECT ${number}::{types[number]}[])" for number in numbers)
    asked = f"unnest({arrays}) WITH ORDINALITY AS _asked({', '.join(f'a{number}' for number in numbers)}, place)"
    one = PLACEHOLDER.sub(lambda match: f"_asked.a{match[1]}", text)
    if text.startswith("UPDATE "):
        change, condition = re.split(r"\sWHERE\s", one, maxsplit=1)
        return f"{change} FROM {asked} WHERE {condition}, _asked.place"
    return f"SELECT _found.*, _asked.place FROM {asked} CROSS JOIN LATERAL ({one}) AS _found"  # noqa: S608 - all ours
