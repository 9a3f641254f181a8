"""What the status lists cost: bytes and CPU for 10 thousand and a million tokens, and reckoned up for 100 million.

    .venv/bin/python -m tests.bench.status_lists

The first two sizes are whole houses: every list is made, signed, checked and unpacked. The third has 96 lists; two of
them are measured, and what adds up (bytes, CPU, memory) is multiplied. `ended` is the share of all tokens that ended
within the twelve minutes for which a bit stays set: one in a thousand, kept up for a day, is every eighth person.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from doorward_verify import Verifier
from tests.flows.op import KIT, Op, signing_keys
from tests.support.builders import NOW

from broker.domain.client import SigningAlgorithm
from broker.domain.status import SIZE, STATUS_LIST_TYPE, TTL, list_claims, list_name, lists_for, place_of
from broker.signing import KeyBox

KEY: Final = b"k" * 32
ISSUER: Final = "https://login.example.org"
SAMPLES: Final = 2
"""Lists that are measured where there are many."""
ROUNDS: Final = 5
REFRESHES: Final = 400


@dataclass(frozen=True, slots=True)
class House:
    """One row of the table."""

    tokens: int
    ended: int
    lists: int
    reckoned: bool
    list_bytes: float
    make_ms: float
    read_ms: float
    kept_bytes: float
    """In the memory of one server process, for the marks of all lists."""

    @property
    def site_minute(self) -> float:
        """Bytes that one site with tokens in every list fetches in a minute in which every list changed."""
        return self.lists * self.list_bytes


def measure(tokens: int, share: float, box: KeyBox) -> House:
    """A house with that many tokens, of which this share ended just now, anywhere."""
    lists = lists_for(tokens)
    sample = min(lists, SAMPLES)
    used = min(tokens, sample * SIZE)
    chosen = random.Random(1).sample(range(used), int(used * share))
    marks: dict[str, list[int]] = {list_name(which, KEY): [] for which in range(sample)}
    for number in chosen:
        place = place_of(number, KEY)
        marks[place.list].append(place.index)
    made = [_timed(partial(_signed, box, name, indexes, NOW)) for name, indexes in marks.items()]
    verifier = Verifier(ISSUER, "forum", keys=_public(box), mode="status", clock=NOW.timestamp)
    read = [
        _timed(partial(verifier.statuses._read, token, f"{ISSUER}/status/{name}", "", 0.0))
        for name, (token, _) in zip(marks, made, strict=True)
    ]
    return House(
        tokens=tokens,
        ended=int(tokens * share),
        lists=lists,
        reckoned=lists > sample,
        list_bytes=statistics.mean(len(token) for token, _ in made),
        make_ms=statistics.mean(ms for _, ms in made),
        read_ms=statistics.mean(ms for _, ms in read),
        kept_bytes=_memory(marks, NOW) * tokens / used,
    )


def _signed(box: KeyBox, name: str, indexes: list[int], now: datetime) -> str:
    claims = list_claims(issuer=ISSUER, name=name, indexes=indexes, now=now)
    return box.sign(claims, typ=STATUS_LIST_TYPE, algorithm=SigningAlgorithm.RS256)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and the median CPU of a few runs in milliseconds."""
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        result = work()
        spent.append((time.process_time() - start) * 1000)
    return result, statistics.median(spent)


def _memory(marks: dict[str, list[int]], now: datetime) -> int:
    """What a process keeps: each marked place with the moment it ended."""
    tracemalloc.start()
    kept = {name: {index + 0: now + timedelta(microseconds=index) for index in held} for name, held in marks.items()}
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.keys() == marks.keys()
    return size


def _public(box: KeyBox) -> Any:
    return json.loads(box.jwks)


async def refresh_cost(*, with_places: bool) -> float:
    """Microseconds of CPU for a refresh at a site with session tokens: flow, memory stores and signatures."""
    op = Op()
    if not with_places:
        op.authorize = replace(op.authorize, statuses=None)
    tokens = await op.tokens(await op.person("ana"), KIT)
    start = time.process_time()
    for _ in range(REFRESHES):
        tokens = await op.refresh(tokens["refresh_token"], KIT)
    return (time.process_time() - start) * 1e6 / REFRESHES


def main() -> None:
    box = KeyBox()
    box.load(signing_keys(), NOW)
    print(f"Lists of {SIZE:,} places, {SIZE // 8:,} bytes unpacked; fetched every {TTL.total_seconds():.0f} s.\n")
    print(
        "| tokens | ended | lists | one list | a site, per minute | make and sign | check and unpack | kept by a process |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for tokens in (10_000, 1_000_000, 100_000_000):
        for share in (0.0, 0.001, 0.01):
            one = measure(tokens, share, box)
            mark = "≈ " if one.reckoned else ""
            print(
                f"| {one.tokens:,} | {one.ended:,} | {one.lists} | {_size(one.list_bytes)} | {mark}{_size(one.site_minute)} "
                f"| {one.make_ms:.1f} ms | {one.read_ms:.1f} ms | {mark}{_size(one.kept_bytes)} |"
            )
    rounds = [[asyncio.run(refresh_cost(with_places=placed)) for placed in (False, True)] for _ in range(ROUNDS)]
    without, with_places = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"\nA refresh: {without:.0f} µs of CPU without a place, {with_places:.0f} µs with one; no further round trip."
    )


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


if __name__ == "__main__":
    main()
