"""A process's connections to Redis: what one turn of the loop asks goes out in one write, and is answered in one read.

Measured, CPU of this process: a command costs 75 µs through redis-py's client and pool; here 55 alone, and 14 among eight
that were asked at the same time. The connections are redis-py's own. Commands wait for the end of the turn in which they
were asked or, when every connection is busy, for the first that is free again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LineBroken
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as LineSilent

from broker.errors import StoreUnavailable

TIMEOUT: Final = 1.0
"""Seconds to connect, and to wait for all answers to one write: a slow Redis is a missing one (catalogue 161)."""
LINES: Final = 2
"""Connections. Few, since each carries what many ask: what finds none free goes out together with what comes after it."""
AT_ONCE: Final = 512
"""Commands in one write at most: what is behind them would otherwise wait for an answer of megabytes."""

Word = bytes | str | float


class Lines:
    """Connects at first use, and again whenever a connection was lost."""

    def __init__(self, url: str) -> None:
        """`url` as redis-py reads it: `redis://`, `rediss://` or `unix://`, with user, password and database."""
        self._pool: Any = ConnectionPool.from_url(
            url,
            socket_timeout=None,  # the whole exchange has one
            socket_connect_timeout=TIMEOUT,
            # Trying again is for the exchange, which knows what it sent.
            retry=Retry(NoBackoff(), 0),
            client_name="doorward",
        )
        self._free: list[Any] = []
        self._open = 0
        self._waiting: list[tuple[tuple[Word, ...], asyncio.Future[Any]]] = []
        self._called = False
        self._exchanges: set[asyncio.Task[None]] = set()
        self._digests: dict[str, str] = {}

    async def ask(self, *words: Word) -> Any:
        """The answer to one command. Raises `StoreUnavailable` for redis-py's errors and the sockets' below it."""
        try:
            return await self._answer(words)
        except ResponseError as error:
            raise _unavailable(error) from None

    async def script(self, text: str, keys: Sequence[str], *arguments: Word) -> Any:
        """Runs a script: by its digest, sent whole only to a Redis that does not know it. Raises as `ask` does."""
        digest = self._digests.get(text)
        if digest is None:
            digest = self._digests[text] = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self._answer(("EVALSHA", digest, len(keys), *keys, *arguments))
        except NoScriptError:
            return await self.ask("EVAL", text, len(keys), *keys, *arguments)
        except ResponseError as error:
            raise _unavailable(error) from None

    async def close(self) -> None:
        """Waits for what was sent, and hangs up."""
        if self._exchanges:
            await asyncio.wait(self._exchanges)
        free, self._free = self._free, []
        self._open -= len(free)
        for line in free:
            await line.disconnect()

    def _answer(self, words: tuple[Word, ...]) -> asyncio.Future[Any]:
        # Here, and not where all are packed: what is no text is the error of who asked, and of nobody beside them.
        encoded = tuple([word.encode() if isinstance(word, str) else word for word in words])
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((encoded, answer))
        if not self._called:
            self._called = True
            loop.call_soon(self._send)
        return answer

    def _send(self) -> None:
        """Everything that waits, on the connection that was used last; it stays waiting if all are busy."""
        self._called = False
        if not self._waiting or not (self._free or self._open < LINES):
            return
        if self._free:
            line = self._free.pop()
        else:
            line = self._pool.make_connection()
            self._open += 1
        asked, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        exchange = asyncio.get_running_loop().create_task(self._exchange(line, asked))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)
        if self._waiting:
            self._send()

    async def _exchange(self, line: Any, asked: Sequence[tuple[tuple[Word, ...], asyncio.Future[Any]]]) -> None:
        try:
            packed = line.pack_commands([words for words, _ in asked])
            async with asyncio.timeout(TIMEOUT):
                answers = await self._try_twice(line, packed, len(asked))
        except (
            Exception
        ) as error:  # redis-py's, the sockets', or what an answer that is none leads to: nobody waits for ever
            self._fail(asked, error)
            if isinstance(error, TimeoutError | LineSilent):
                # Nobody waits two times as long because the line was busy with silence.
                waiting, self._waiting = self._waiting, []
                self._fail(waiting, error)
        else:
            for (_, future), answer in zip(asked, answers, strict=True):
                if future.done():  # whoever asked has gone
                    continue
                if isinstance(answer, ResponseError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        finally:
            self._free.append(line)
            self._send()

    async def _try_twice(self, line: Any, packed: Sequence[bytes], count: int) -> list[Any]:
        """One more try at once: a connection that Redis closed while it was idle is no outage. More would be a storm."""
        try:
            return await _talk(line, packed, count)
        except LineBroken:
            await line.disconnect(nowait=True)
            return await _talk(line, packed, count)

    def _fail(self, asked: Sequence[tuple[tuple[Word, ...], asyncio.Future[Any]]], error: Exception) -> None:
        for _, future in asked:
            if not future.done():
                future.set_exception(_unavailable(error))


async def _talk(line: Any, packed: Sequence[bytes], count: int) -> list[Any]:
    """Answers in their order; those that are refusals stand among them. All are read, or the connection is closed."""
    await line.send_packed_command(packed)
    answers: list[Any] = []
    try:
        for _ in range(count):
            try:
                answers.append(await line.read_response())
            except ResponseError as refusal:
                answers.append(refusal)
    except BaseException:
        await line.disconnect(nowait=True)
        raise
    return answers


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"redis {type(error).__name__}")
