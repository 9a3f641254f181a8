"""Signing keys: made at the first start, published before they sign, kept until the last token is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.flows.op import CountingEntropy
from tests.support.builders import NOW, FixedClock, signing_key

from broker.domain.client import SigningAlgorithm
from broker.domain.ports import KeyUse, SigningKeyRecord
from broker.domain.session import LIFETIME
from broker.errors import Conflict
from broker.flows.keys import CACHED_FOR, KEEP_AFTER, PUBLISH_AHEAD, KeyFlow, due_for_removal
from broker.stores.memory import MemoryDurable

RS, ES = SigningAlgorithm.RS256, SigningAlgorithm.ES256


@dataclass
class Box:
    """Takes down what it is given. `broken`: cannot read this key."""

    loaded: list[str] = field(default_factory=list)
    broken: str = ""

    def make(self, algorithm: SigningAlgorithm, kid: str, *, now: datetime, signs_from: datetime) -> SigningKeyRecord:
        return signing_key(kid=kid, algorithm=algorithm, created_at=now, signs_from=signs_from, retires_at=None)

    def load(self, records: Iterable[SigningKeyRecord], now: datetime) -> None:
        kids = [record.kid for record in records]
        if self.broken in kids:
            raise ValueError(self.broken)
        self.loaded = kids


class House:
    def __init__(self) -> None:
        self.clock = FixedClock()
        self.durable = MemoryDurable(self.clock)
        self.entropy = CountingEntropy()

    def process(self, box: Box | None = None, use: KeyUse = KeyUse.TOKENS) -> KeyFlow:
        """One more process on the same store."""
        return KeyFlow(keys=self.durable.keys, box=box or Box(), clock=self.clock, entropy=self.entropy, use=use)

    async def kids(self) -> set[str]:
        return {record.kid for record in await self.durable.keys.all()}


@pytest.fixture
def house() -> House:
    return House()


async def test_the_first_start_makes_one_key_of_each_algorithm(house: House) -> None:
    box = Box()
    await house.process(box).load()
    records = await house.durable.keys.all()
    assert sorted(box.loaded) == ["es256-1", "rs256-1"]
    assert {(record.algorithm, record.signs_from) for record in records} == {(RS, NOW), (ES, NOW)}


async def test_a_second_start_finds_them(house: House) -> None:
    for _ in range(2):
        await house.process().load()
        house.clock.move(timedelta(days=400))
    assert await house.kids() == {"es256-1", "rs256-1"}


async def test_no_key_is_for_sites_and_for_providers(house: House) -> None:
    """What we sign for a provider must be no token to any site: each use has keys, rotations and ends of its own."""
    tokens, requests = Box(), Box()
    flow = house.process(requests, KeyUse.REQUESTS)
    for one in (house.process(tokens), flow):
        await one.load()
    assert sorted(tokens.loaded) == ["es256-1", "rs256-1"]
    assert sorted(requests.loaded) == ["requests-es256-1", "requests-rs256-1"]
    made = await flow.rotate()
    assert {record.use for record in await house.durable.keys.all() if record.kid in made} == {KeyUse.REQUESTS}
    house.clock.move(PUBLISH_AHEAD + KEEP_AFTER)
    await house.process(tokens).load()
    await flow.load()
    assert sorted(tokens.loaded) == ["es256-1", "rs256-1"], "another's rotation ends none of them"
    assert sorted(requests.loaded) == sorted(made)


async def test_processes_that_start_together_use_the_same_keys(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One adds, the others read what it added."""
    other, box = house.process(), Box()
    read, first = house.durable.keys.all, True

    async def late() -> Any:
        nonlocal first
        records = await read()
        if first:
            first = False
            await other.load()
        return records

    monkeypatch.setattr(house.durable.keys, "all", late)
    await house.process(box).load()
    assert sorted(box.loaded) == ["es256-1", "rs256-1"]


async def test_a_rotated_key_is_published_before_any_cache_can_miss_it(house: House) -> None:
    """Published at once, used later than every cached copy lives (catalogue 166)."""
    flow = house.process()
    await flow.load()
    made = await flow.rotate()
    records = {record.kid: record for record in await house.durable.keys.all()}
    assert {records[kid].algorithm for kid in made} == {RS, ES}
    assert all(records[kid].signs_from - house.clock.now() == PUBLISH_AHEAD for kid in made)
    assert CACHED_FOR + timedelta(minutes=2) < PUBLISH_AHEAD


async def test_a_superseded_key_outlives_every_token_and_hint(house: House) -> None:
    """Sites hint with the ID token of a sign-in as old as the session (catalogue 166)."""
    assert KEEP_AFTER > LIFETIME
    flow = house.process()
    await flow.load()
    made = await flow.rotate()
    house.clock.move(PUBLISH_AHEAD + KEEP_AFTER - timedelta(seconds=1))
    await flow.load()
    assert await house.kids() == {"rs256-1", "es256-1", *made}
    house.clock.move(timedelta(seconds=1))
    box = Box()
    await house.process(box).load()
    assert await house.kids() == set(made)
    assert sorted(box.loaded) == sorted(made)


async def test_rotating_again_and_again_never_leaves_a_gap(house: House) -> None:
    """At every moment some key of each algorithm signs, and every key that signed in the last day is there."""
    flow = house.process()
    await flow.load()
    for _ in range(6):
        await flow.rotate()
        house.clock.move(timedelta(minutes=7))
        await flow.load()
        records = await house.durable.keys.all()
        now = house.clock.now()
        for algorithm in SigningAlgorithm:
            assert any(one.signs_from <= now for one in records if one.algorithm is algorithm)
    assert {"rs256-1", "es256-1"} <= await house.kids()


async def test_a_corrupt_key_stops_the_load_and_removes_nothing(house: House) -> None:
    """Whoever loads keeps what it had (catalogue 167)."""
    flow = house.process()
    await flow.load()
    await flow.rotate()
    house.clock.move(PUBLISH_AHEAD + KEEP_AFTER)
    before = await house.kids()
    newest = next(kid for kid in before if kid not in {"rs256-1", "es256-1"})
    with pytest.raises(ValueError):
        await house.process(Box(broken=newest)).load()
    assert await house.kids() == before


async def test_a_name_that_is_taken_is_a_conflict_and_adds_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = house.process()
    await flow.load()
    monkeypatch.setattr(CountingEntropy, "token", lambda _self, _nbytes: "same")
    with pytest.raises(Conflict):
        await flow.rotate()
    assert await house.kids() == {"rs256-1", "es256-1"}


@pytest.mark.parametrize(
    ("ages", "gone"),
    [
        ([16], []),
        ([40, 16], [40]),
        ([40, 14], []),
        ([90, 40, 16, 1], [90, 40]),
        ([40, 0], []),
    ],
)
def test_a_key_goes_when_its_successor_has_signed_long_enough(ages: list[int], gone: list[int]) -> None:
    """`ages`: for how many days each has signed. The newest never goes."""
    records = [signing_key(kid=str(age), algorithm=ES, signs_from=NOW - timedelta(days=age)) for age in ages]
    other = signing_key(kid="other", algorithm=RS, signs_from=NOW - timedelta(days=300))
    assert due_for_removal([other, *records], NOW) == tuple(str(age) for age in gone)
