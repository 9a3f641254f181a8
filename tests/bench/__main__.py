"""`make bench`, or `python -m tests.bench [--ops login,refresh] [--seconds 3] [--rounds 3] [--only sqlite,postgresql,peer]`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing as mp
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.bench import local, meter
from tests.bench.client import Broken, Connections
from tests.bench.flows import OPERATIONS, Target, Visit, perform, prepare
from tests.bench.servers import CLIENT_CORE, Missing, Running, doorward, peer, upstream

WORDS: Final = {
    "login": "federated login of a known person",
    "first": "first sign-in",
    "repeat": "repeat login, session and consent stand",
    "refresh": "refresh with rotation",
    "introspect": "introspection",
    "userinfo": "userinfo",
    "service": "client credentials",
    "jwks": "JWKS",
    "discovery": "discovery",
}
TARGETS: Final = ("sqlite", "postgresql", "peer")
LOST_ERRORS: Final = 20


@dataclass
class Row:
    """What one operation cost one target, over all rounds."""

    operations: int = 0
    errors: list[str] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Milliseconds of server CPU for one operation, a figure for each round."""
    requests: float = 0.0
    p50: float = 0.0
    foreign: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.cpu) if self.cpu else float("nan")


async def _drive(
    target: Target, operation: str, workers: int, seconds: float, base: int, signals: Any
) -> dict[str, Any]:
    """Closed loops until the time is over; latencies in seconds."""
    ready, go = signals
    await target.discover()
    pools = [Connections() for _ in range(workers)]
    visits: list[Visit] = [
        await prepare(operation, target, pool, str(base + number)) for number, pool in enumerate(pools)
    ]
    for pool in pools:
        pool.requests = 0
    ready.set()
    while not go.is_set():
        await asyncio.sleep(0.002)
    taken: list[float] = []
    errors: list[str] = []
    fresh = [base + workers]
    end = time.perf_counter() + seconds

    async def work(visit: Visit) -> None:
        while time.perf_counter() < end and len(errors) < LOST_ERRORS:
            fresh[0] += 1
            start = time.perf_counter()
            try:
                await perform(operation, visit, str(fresh[0]))
            except (Broken, OSError, TimeoutError, KeyError, ValueError) as error:
                errors.append(f"{type(error).__name__}: {error}")
                visit.connections.close()
            else:
                taken.append(time.perf_counter() - start)

    await asyncio.gather(*(work(visit) for visit in visits))
    requests = sum(pool.requests for pool in pools)
    for pool in pools:
        pool.close()
    return {"taken": taken, "errors": errors, "requests": requests}


def _client(
    target: Target, operation: str, workers: int, seconds: float, base: int, signals: Any, answers: Any
) -> None:
    meter.pin(CLIENT_CORE)
    try:
        import uvloop

        answers.put(uvloop.run(_drive(target, operation, workers, seconds, base, signals)))
    except Exception as error:
        signals[0].set()
        answers.put({"taken": [], "errors": [f"before the start: {type(error).__name__}: {error}"], "requests": 0})


def measure(running: Running, operation: str, workers: int, seconds: float, base: int, row: Row) -> None:
    """One round of one operation."""
    context = mp.get_context("fork")
    ready, go, answers = context.Event(), context.Event(), context.Queue()
    process = context.Process(
        target=_client, args=(running.target, operation, workers, seconds, base, (ready, go), answers)
    )
    process.start()
    ready.wait(120)
    cpu, busy, ours = meter.cpu_ms(running.roots), meter.busy_ms(), meter.cpu_ms([process.pid or 0])
    start = time.perf_counter()
    go.set()
    answer = answers.get(timeout=seconds + 120)
    wall = (time.perf_counter() - start) * 1000
    used = meter.cpu_ms(running.roots) - cpu
    other = meter.busy_ms() - busy - used - (meter.cpu_ms([process.pid or 0]) - ours)
    process.join(30)
    done = len(answer["taken"])
    row.errors += answer["errors"]
    row.operations += done
    if done:
        row.cpu.append(used / done)
        row.requests = answer["requests"] / done
        row.p50 = statistics.median(answer["taken"]) * 1000
        row.foreign = max(row.foreign, other / wall * 100)


@contextlib.contextmanager
def _start(name: str, upstream_port: int, algorithm: str) -> Iterator[Running]:
    with peer(algorithm) if name == "peer" else doorward(name, upstream_port, algorithm) as running:
        yield running


@dataclass
class Result:
    """One target, and what it cost."""

    running: Running
    rows: dict[str, Row]
    loaded: float = 0.0
    """MiB after the load."""


def run(options: argparse.Namespace, names: Sequence[str], upstream_port: int) -> list[Result]:
    """All operations on all targets. They take turns at each operation, so that a slow minute slows all of them alike."""
    with contextlib.ExitStack() as stack:
        results = []
        for name in names:
            running = stack.enter_context(_start(name, upstream_port, options.algorithm))
            results.append(Result(running, {operation: Row() for operation in options.ops}))
            print(f"  {running.name} …", flush=True)
        base = 1
        for operation in options.ops:  # caches, lazy imports, compiled code
            for result in results:
                measure(result.running, operation, 4, min(1.0, options.seconds), base, Row())
                base += 20_000
        for number in range(options.rounds):
            for operation in options.ops:
                for result in results if number % 2 == 0 else reversed(results):
                    measure(result.running, operation, options.workers, options.seconds, base, result.rows[operation])
                    base += 20_000
        for result in results:
            result.loaded = meter.rss_mib([result.running.roots[0]])
    return results


def ratio(one: Row, other: Row) -> float:
    """The median over the rounds of what the one cost for each that the other did in the same round."""
    if len(one.cpu) != len(other.cpu) or not one.cpu:
        return float("nan")  # a round without any operation done
    return statistics.median(mine / its for mine, its in zip(one.cpu, other.cpu, strict=True))


def table(results: list[Result], options: argparse.Namespace) -> list[str]:
    """The figures, with the ratio to the peer where there is one."""
    against = next((result.rows for result in results if result.running.name.startswith("oidc")), None)
    names = [result.running.name for result in results]
    lines = [
        "",
        f"Server CPU, milliseconds for one operation ({options.algorithm}; medians of {options.rounds} rounds, taken in turns)",
        "",
    ]
    lines.append(f"{'':42}" + "".join(f"{name:>30}" for name in names))
    for operation in options.ops:
        cells = []
        for result in results:
            row = result.rows[operation]
            if operation == "login" and result.rows is against:
                note = "no upstream leg"
            elif against is not None and result.rows is not against:
                note = f"{ratio(row, against[operation]):.2f} ×"
            else:
                note = ""
            cells.append(f"{row.median:13.3f}  {note:>15}")
        lines.append(f"{WORDS[operation]:42}" + "".join(cells))
    for words, values in (
        ("memory of the server when idle, MiB", [result.running.idle_mib for result in results]),
        ("memory of the server after load, MiB", [result.loaded for result in results]),
        ("from process start to first answer, s", [result.running.start_seconds for result in results]),
    ):
        lines.append(f"{words:42}" + "".join(f"{value:13.2f}  {'':>15}" for value in values))
    return lines


def local_table() -> list[str]:
    """Verification inside a site."""
    lines = ["", "Verification inside a site, microseconds of CPU for one token", ""]
    lines.append(f"{'':42}{'never seen':>12}{'seen before':>13}{'joserfc':>12}")
    for algorithm in ("RS256", "ES256"):
        one = local.measure(algorithm)
        lines.append(f"{algorithm:42}{one.cold:12.1f}{one.seen:13.2f}{one.library:12.1f}")
    return lines


def _details(results: list[Result], operations: list[str]) -> list[str]:
    lines = ["", "Requests for one operation, operations done, median latency at the load, CPU that was not ours", ""]
    for result in results:
        for operation in operations:
            row = result.rows[operation]
            spread = f"{min(row.cpu):.3f}–{max(row.cpu):.3f}" if row.cpu else "–"
            lines.append(
                f"{result.running.name:30}{operation:12}{row.requests:6.1f}{row.operations:8}{row.p50:9.2f} ms"
                f"{row.foreign:6.0f} %   {spread}"
            )
    return lines


def main() -> int:
    """Exit code 1 where something is missing or an operation failed."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--ops", default=",".join(OPERATIONS))
    parser.add_argument("--only", default=",".join(TARGETS), help="sqlite, postgresql, peer")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--algorithm", default="ES256", choices=("ES256", "RS256"))
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    options.ops, wanted = options.ops.split(","), options.only.split(",")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {python}, fixed loop {meter.pace_ms():.1f} ms")
    try:
        with upstream() as port:
            results = run(options, [name for name in TARGETS if name in wanted], port)
    except Missing as missing:
        print(f"The benchmark cannot run: {missing}")
        return 1
    lines = [*table(results, options), *local_table(), *_details(results, options.ops)]
    print("\n".join(lines))
    failed = [
        f"{result.running.name}, {operation}: {len(row.errors)} failed, the first: {row.errors[0][:200]}"
        for result in results
        for operation, row in result.rows.items()
        if row.errors or not row.operations
    ]
    if options.json:
        options.json.write_text(
            json.dumps({r.running.name: {o: row.median for o, row in r.rows.items()} for r in results}, indent=1)
        )
    for line in failed:
        print(f"FAILED  {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
