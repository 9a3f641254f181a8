"""What a provider that never answers costs the people of another one.

`python -m tests.bench.hanging [--people 200] [--rounds 3]`: so many people wait for a provider that hangs, and meanwhile
known people sign in through another: their latency beside what it is without. Exit code 1 if the 99th percentile of a
round in the middle is more than twice its normal.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from tests.bench import meter
from tests.bench.client import Broken, Connections
from tests.bench.flows import CLIENT, REDIRECT, Target, Visit, perform, prepare, read_form
from tests.bench.servers import CLIENT_CORE, Missing, doorward, upstream

WINDOW: Final = 4.0
"""Seconds of one measure: a call to a provider is given up after five."""
SETTLED: Final = 0.5
MOST: Final = 2.0


@dataclass(frozen=True)
class Round:
    """Latencies of whole sign-ins, in seconds, in order."""

    alone: list[float]
    beside: list[float]
    hung: int
    """How many were waiting all the while: as many as we let wait for one host; the others were told at once."""

    @property
    def ratio(self) -> float:
        return percentile(self.beside, 99) / percentile(self.alone, 99)


def percentile(taken: list[float], share: int) -> float:
    """Of the sorted latencies, the first that is no less than this share of them."""
    return taken[min(len(taken) - 1, len(taken) * share // 100)]


async def _on_the_way_back(target: Target, number: int) -> tuple[Visit, str]:
    """Somebody whom the slow provider just sent back to us, and the address they are about to open."""
    visit = Visit(target, Connections(), f"slow{number}")
    request = {
        "client_id": CLIENT, "redirect_uri": REDIRECT, "response_type": "code", "scope": "openid", "state": "s",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
    }  # fmt: skip
    answer = await visit.browser.get(f"{target.metadata['authorization_endpoint']}?{urlencode(request)}")
    for _ in range(10):
        to = visit.browser.target(answer)
        if to is None:
            form = read_form(answer, ("provider", "slow"), {})
            answer = await visit.browser.post(form.action, form.fields)
        elif "/callback/" in to:
            return visit, to
        else:
            answer = await visit.browser.get(to)
    raise Broken("the slow provider sent nobody back")


async def _sign_ins(visit: Visit, seconds: float) -> list[float]:
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        await perform("login", visit, visit.who)
        taken.append(time.perf_counter() - start)
    return sorted(taken)


async def _round(target: Target, people: int) -> Round:
    await target.discover()
    visit = await prepare("login", target, Connections(), "1")
    await _sign_ins(visit, 1.0)  # caches, lazy imports, compiled code
    alone = await _sign_ins(visit, WINDOW)
    back = [await _on_the_way_back(target, number) for number in range(people)]
    waiting = [asyncio.create_task(visit.browser.get(to)) for visit, to in back]
    await asyncio.sleep(SETTLED)
    beside = await _sign_ins(visit, WINDOW - SETTLED)
    hung = sum(not one.done() for one in waiting)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for somebody, _ in back:
        somebody.connections.close()
    visit.connections.close()
    return Round(alone, beside, hung)


@contextmanager
def _servers() -> Iterator[Target]:
    with upstream() as port, upstream("--hangs") as slow, doorward("sqlite", port, "ES256", slow) as running:
        yield running.target


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hanging", description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = []
    try:
        for _ in range(options.rounds):
            with _servers() as target:
                meter.pin(CLIENT_CORE)
                rounds.append(asyncio.run(_round(target, options.people)))
                meter.pin(None)
    except (Missing, Broken) as problem:
        print(f"The measure cannot be taken: {problem}")
        return 1
    print(f"{options.people} people wait for a provider that hangs; whole sign-ins through another, milliseconds")
    print(f"{'':10}{'alone p50':>12}{'p99':>8}{'beside p50':>13}{'p99':>8}{'ratio of p99':>15}{'still waiting':>15}")
    for number, one in enumerate(rounds, 1):
        figures = [percentile(taken, share) * 1000 for taken in (one.alone, one.beside) for share in (50, 99)]
        print(
            f"round {number:<4}{figures[0]:12.1f}{figures[1]:8.1f}{figures[2]:13.1f}{figures[3]:8.1f}"
            f"{one.ratio:15.2f}{one.hung:15}"
        )
    middle = statistics.median(one.ratio for one in rounds)
    print(f"ratio in the middle: {middle:.2f} (at most {MOST:.0f})")
    return 0 if middle <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
