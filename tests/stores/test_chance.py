"""The clock and the dice."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from broker.chance import READ_ALOUD, SystemClock, SystemEntropy
from broker.domain.session import is_live
from broker.stores.memory import MemoryReplay
from tests.support import builders as make

SECOND = 1_000_000_000
START = int(datetime(2026, 6, 30, 23, 59, 58, tzinfo=UTC).timestamp()) * SECOND


class Machine:
    """A machine's two clocks, set by hand."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 17 * SECOND

    def run(self, seconds: float) -> None:
        self.wall += int(seconds * SECOND)
        self.steady += int(seconds * SECOND)

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.wall, lambda: self.steady)


def test_the_clock_is_the_systems() -> None:
    clock = SystemClock()
    before = datetime.now(UTC)
    now = clock.now()
    assert now.tzinfo is UTC
    assert timedelta(0) <= now - before < timedelta(seconds=5)
    time.sleep(0.01)
    assert clock.now() > now


def test_the_clock_follows_the_wall_clock_forward() -> None:
    """(catalogue 165) A machine that slept, or was set right, is believed: what expired meanwhile has expired."""
    machine = Machine()
    clock = machine.clock()
    machine.run(10)
    assert clock.now() == datetime(2026, 7, 1, 0, 0, 8, tzinfo=UTC)
    machine.wall += 300 * SECOND
    assert clock.now() == datetime(2026, 7, 1, 0, 5, 8, tzinfo=UTC)


@pytest.mark.parametrize("back", [0.000_001, 1, 300, 3600, 86_400 * 365])
def test_the_clock_never_goes_back_and_never_stands_still(back: float) -> None:
    """(catalogue 165) Neither a leap second nor a wrong hand makes what has expired valid again."""
    machine = Machine()
    clock = machine.clock()
    machine.run(60)
    before = clock.now()
    machine.wall -= int(back * SECOND)
    assert clock.now() == before
    machine.run(30)
    assert clock.now() == before + timedelta(seconds=30)
    assert machine.clock().now() < clock.now(), "a new process believes the wall clock"


def test_the_clock_follows_again_when_the_wall_clock_has_caught_up() -> None:
    """(catalogue 165)"""
    machine = Machine()
    clock = machine.clock()
    machine.wall -= 60 * SECOND
    machine.run(10)
    ahead = clock.now()
    machine.wall += 61 * SECOND
    assert clock.now() == ahead + timedelta(seconds=1)


async def test_neither_a_session_nor_a_used_state_is_valid_again_after_a_jump_back() -> None:
    """(catalogue 165)"""
    machine = Machine()
    clock = machine.clock()
    replay = MemoryReplay(clock)
    session = make.session(make.account().id, now=clock.now(), idle_expires_at=clock.now() + timedelta(minutes=30))
    assert await replay.first_time("state", clock.now() + timedelta(minutes=5))
    machine.run(31 * 60)
    assert not is_live(session, clock.now())
    machine.wall -= 3600 * SECOND
    assert not is_live(session, clock.now())
    assert await replay.first_time("another state", clock.now() + timedelta(minutes=5))
    assert not await replay.first_time("another state", clock.now() + timedelta(minutes=5))


def test_random_values_are_as_long_as_asked_and_never_the_same() -> None:
    entropy = SystemEntropy()
    assert len({entropy.token(16) for _ in range(1000)}) == 1000
    assert len({entropy.bytes(16) for _ in range(1000)}) == 1000
    assert len(entropy.bytes(32)) == 32
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", entropy.token())


def test_a_reference_can_be_read_aloud() -> None:
    references = {SystemEntropy().reference() for _ in range(500)}
    assert len(references) > 490
    assert all(re.fullmatch(rf"[{READ_ALOUD}]{{4}}-[{READ_ALOUD}]{{4}}", one) for one in references)
    assert not set("01IO") & set(READ_ALOUD)
