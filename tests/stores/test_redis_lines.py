"""Commands that travel together: each gets its own answer, and what befalls one befalls no other."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.servers import RedisServer, running_redis

from broker.errors import StoreUnavailable
from broker.stores.redis_lines import AT_ONCE, LINES, TIMEOUT, Lines


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
async def lines(server: RedisServer) -> AsyncIterator[Lines]:
    server.clear()
    lines = Lines(server.url)
    yield lines
    await lines.close()


async def written(lines: Lines) -> int:
    """How many times Redis read from a connection of ours so far."""
    report = await lines.ask("INFO", "stats")
    return int(report.split(b"total_reads_processed:")[1].split()[0])


async def test_what_is_asked_in_one_turn_goes_out_in_one_write(lines: Lines) -> None:
    before = await written(lines)
    answers = await asyncio.gather(*(lines.ask("ECHO", str(number)) for number in range(100)))
    after = await written(lines)
    assert answers == [str(number).encode() for number in range(100)]
    assert after - before == 2, "one for the hundred, and one for the question itself"


async def test_more_than_one_write_may_carry_is_answered_in_order_all_the_same(lines: Lines) -> None:
    many = AT_ONCE * (LINES + 2) + 1
    answers = await asyncio.gather(*(lines.ask("ECHO", str(number)) for number in range(many)))
    assert answers == [str(number).encode() for number in range(many)]
    assert (await lines.ask("CLIENT", "LIST")).count(b"name=doorward") == LINES


async def test_a_refused_command_spoils_only_its_own_answer(lines: Lines) -> None:
    await lines.ask("SET", "text", "one")
    commands = [("GET", "text"), ("HGET", "text", "field"), ("GET", "text")]
    answers = await asyncio.gather(*(lines.ask(*words) for words in commands), return_exceptions=True)
    assert answers[::2] == [b"one", b"one"]
    assert isinstance(answers[1], StoreUnavailable)


async def test_what_is_no_text_is_the_error_of_who_asked(lines: Lines) -> None:
    asked = asyncio.gather(
        lines.ask("ECHO", "one"), lines.ask("ECHO", "\ud800"), lines.ask("ECHO", "two"), return_exceptions=True
    )
    one, none, two = await asyncio.wait_for(asked, 2 * TIMEOUT)
    assert (one, two) == (b"one", b"two")
    assert isinstance(none, UnicodeEncodeError)


async def test_what_answers_like_no_redis_is_a_missing_one() -> None:
    """(catalogue 161)"""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b":no number\r\n")
        writer.close()

    impostor = await asyncio.start_server(answer, "127.0.0.1", 0)
    lines = Lines(f"redis://127.0.0.1:{impostor.sockets[0].getsockname()[1]}/0")
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(lines.ask("PING"), 2 * TIMEOUT)
    await lines.close()
    impostor.close()


async def test_a_script_that_redis_forgot_is_sent_again_beside_what_it_knows(lines: Lines) -> None:
    known, forgotten = "return ARGV[1]", "return {KEYS[1], ARGV[1]}"
    assert await lines.script(known, [], "here") == b"here"
    await lines.ask("SCRIPT", "FLUSH")
    assert await lines.script(known, [], "again") == b"again"
    both = await asyncio.gather(lines.script(known, [], "one"), lines.script(forgotten, ["key"], "two"))
    assert tuple(both) == (b"one", [b"key", b"two"])


async def test_a_script_that_fails_is_not_run_twice(lines: Lines) -> None:
    failing = "redis.call('INCR', KEYS[1]); return redis.call('HGET', KEYS[1], 'field')"
    with pytest.raises(StoreUnavailable):
        await lines.script(failing, ["counted"])
    assert await lines.ask("GET", "counted") == b"1"


async def test_who_gives_up_takes_nobody_along(lines: Lines) -> None:
    staying = asyncio.ensure_future(lines.ask("ECHO", "staying"))
    going = asyncio.ensure_future(lines.ask("ECHO", "going"))
    await asyncio.sleep(0)
    going.cancel()
    assert await staying == b"staying"
    with pytest.raises(asyncio.CancelledError):
        await going
    assert await lines.ask("ECHO", "later") == b"later"


async def test_connections_that_redis_closed_meanwhile_are_opened_again(lines: Lines, server: RedisServer) -> None:
    await asyncio.gather(*(lines.ask("ECHO", str(number)) for number in range(3)))
    other = Lines(server.url)
    try:
        await other.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    finally:
        await other.close()
    assert await lines.ask("ECHO", "back") == b"back"


async def test_who_asks_while_redis_is_silent_waits_no_longer_than_those_before(
    lines: Lines, server: RedisServer
) -> None:
    """(catalogue 161)"""
    assert await lines.ask("PING")
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        asked = []
        for _ in range(3 * LINES):  # one write each
            asked.append(asyncio.ensure_future(lines.ask("ECHO", "anybody")))
            await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        waited = time.monotonic() - begun
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert waited < 2 * TIMEOUT
    assert await lines.ask("ECHO", "back") == b"back"
