"""The list of connections: never more than its size, first come first served, nothing lost to whoever gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from broker.stores.sql.drivers import connections as module
from broker.stores.sql.drivers.connections import UNUSED, Connections


class Line:
    """What the list needs of a connection."""

    def __init__(self) -> None:
        self.open = True

    def is_closed(self) -> bool:
        return not self.open

    def terminate(self) -> None:
        self.open = False

    async def close(self, timeout: float) -> None:
        assert timeout > 0
        self.open = False


class Lines:
    """Opens lines, and knows which are open."""

    def __init__(self, fails: Callable[[], bool] = lambda: False) -> None:
        self.made: list[Line] = []
        self.most = 0
        self.fails = fails

    async def connect(self) -> Line:
        await asyncio.sleep(0)
        if self.fails():
            raise OSError("refused")
        line = Line()
        self.made.append(line)
        self.most = max(self.most, sum(one.open for one in self.made))
        return line


async def test_there_are_never_more_than_its_size_and_everybody_gets_one() -> None:
    lines = Lines()
    held = Connections(lines.connect, 3)

    async def use(number: int) -> int:
        line = await held.take()
        await asyncio.sleep(0)
        held.give_back(line, usable=number % 5 != 0)
        return number

    assert await asyncio.gather(*(use(number) for number in range(100))) == list(range(100))
    assert lines.most == 3
    assert sum(line.open for line in lines.made) <= 3


async def test_who_comes_first_is_served_first() -> None:
    held = Connections(Lines().connect, 1)
    line = await held.take()
    served: list[int] = []

    async def use(number: int) -> None:
        mine = await held.take()
        served.append(number)
        held.give_back(mine, usable=True)

    waiting = [asyncio.create_task(use(number)) for number in range(5)]
    await asyncio.sleep(0)
    held.give_back(line, usable=True)
    await asyncio.gather(*waiting)
    assert served == list(range(5))


async def test_one_that_broke_is_closed_and_replaced() -> None:
    lines = Lines()
    held = Connections(lines.connect, 1)
    first = await held.take()
    held.give_back(first, usable=False)
    second = await held.take()
    assert (first.open, second.open) == (False, True)
    second.open = False  # the server closed it while it was idle
    held.give_back(second, usable=True)
    third = await held.take()
    held.give_back(third, usable=True)
    third.open = False
    assert (await held.take()).open
    assert len(lines.made) == 4


async def test_one_not_used_for_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert UNUSED == 300
    monkeypatch.setattr(module, "UNUSED", -1.0)
    lines = Lines()
    held = Connections(lines.connect, 1)
    line = await held.take()
    held.give_back(line, usable=True)
    assert await held.take() is not line
    assert not line.open


async def test_whoever_gives_up_leaves_the_turn_to_the_next() -> None:
    held = Connections(Lines().connect, 1)
    line = await held.take()
    waiting = [asyncio.create_task(held.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    held.give_back(line, usable=True)
    waiting[1].cancel()  # just when it is given the line
    assert await waiting[2] is line
    assert waiting[0].cancelled()
    assert waiting[1].cancelled()


async def test_whoever_gives_up_on_the_place_of_a_broken_one_leaves_it_to_the_next() -> None:
    lines = Lines()
    held = Connections(lines.connect, 1)
    line = await held.take()
    waiting = [asyncio.create_task(held.take()) for _ in range(2)]
    await asyncio.sleep(0)
    held.give_back(line, usable=False)
    waiting[0].cancel()
    assert (await waiting[1]).open
    assert lines.most == 1


async def test_nobody_waits_longer_than_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """(catalogue 162)"""
    monkeypatch.setattr(module, "ACQUIRE_TIMEOUT", 0.02)
    held = Connections(Lines().connect, 1)
    line = await held.take()
    with pytest.raises(TimeoutError):
        await held.take()
    held.give_back(line, usable=True)
    assert await held.take() is line


async def test_a_server_that_refuses_refuses_everybody_and_serves_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """(catalogue 162)"""
    monkeypatch.setattr(module, "ACQUIRE_TIMEOUT", 0.5)
    away = True
    lines = Lines(lambda: away)
    held = Connections(lines.connect, 2)
    got = await asyncio.gather(*(held.take() for _ in range(50)), return_exceptions=True)
    assert {type(one) for one in got} == {OSError}
    away = False
    taken = await asyncio.gather(held.take(), held.take())
    assert all(line.open for line in taken)
    assert lines.most == 2


async def test_a_closed_list_closes_what_it_has_and_what_comes_back() -> None:
    lines = Lines()
    held = Connections(lines.connect, 2)
    lent, idle = await held.take(), await held.take()
    waiting = asyncio.create_task(held.take())
    await asyncio.sleep(0)
    held.give_back(idle, usable=False)
    held.give_back(await waiting, usable=True)
    late = asyncio.create_task(held.take())
    later = asyncio.create_task(held.take())
    await asyncio.sleep(0)
    await held.close()
    with pytest.raises(asyncpg.InterfaceError):
        await later
    held.give_back(await late, usable=True)
    held.give_back(lent, usable=True)
    assert not any(line.open for line in lines.made)
    with pytest.raises(asyncpg.InterfaceError):
        await held.take()
