"""CPU time and memory of whole process trees, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> tuple[int, int]:
    """Parent, and ticks of CPU used by the process and by its children that ended."""
    text = Path(f"/proc/{pid}/stat").read_bytes()
    fields = text[text.rindex(b")") + 2 :].split()
    return int(fields[1]), sum(int(fields[place]) for place in (11, 12, 13, 14))


def tree(roots: Iterable[int]) -> list[int]:
    """These processes and all below them."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(_stat(int(entry))[0], []).append(int(entry))
            except (OSError, ValueError):
                continue
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting += children.get(pid, [])
    return found


def cpu_ms(roots: Iterable[int]) -> float:
    """Milliseconds of CPU that the trees have used so far."""
    ticks = 0
    for pid in tree(roots):
        try:
            ticks += _stat(pid)[1]
        except OSError:
            continue
    return ticks * 1000.0 / TICK


def rss_mib(roots: Iterable[int]) -> float:
    """Resident memory of the trees, MiB."""
    total = 0
    for pid in tree(roots):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def busy_ms() -> float:
    """CPU milliseconds that everything on the machine has used, to say how much of a run was not ours."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(int(fields[place]) for place in (0, 1, 2, 5, 6)) * 1000.0 / TICK


def pace_ms() -> float:
    """CPU milliseconds of a fixed loop, best of five: how fast the core is right now."""
    best = float("inf")
    for _ in range(5):
        start, value = time.process_time(), 0
        for number in range(200_000):
            value = (value * 31 + number) & 0xFFFFFFFF
        best = min(best, (time.process_time() - start) * 1000)
    return best


def pin(core: int | None) -> None:
    """Keep this process, and what it starts, on one core; nothing where there is only one."""
    if core is not None and core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})
