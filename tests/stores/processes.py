"""Processes beside the test's own, told what to do line by line; see `worker`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
BEGIN_TOGETHER: Final = 0.05
"""Seconds until all have read their order."""


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process running one of our modules, with pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    """The next line of the process. Raises `RuntimeError` if it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the process ended with {process.wait(10)}")
    return line.rstrip("\n")


def end(process: subprocess.Popen[str]) -> int:
    """Let the process finish; its exit code."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        return process.wait(20)
    finally:
        process.stdout.close()


class Workers:
    """Several processes on the same stores."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def do(self, operation: str, *arguments: Any, takers: int = 20) -> list[Any]:
        """What `takers`, shared out among the processes and beginning together, got."""
        order = {
            "operation": operation,
            "arguments": arguments,
            "takers": takers // len(self._processes),
            "at": time.monotonic() + BEGIN_TOGETHER,
        }
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        return [outcome for process in self._processes for outcome in json.loads(said(process))]


@contextmanager
def workers(database_url: str, redis_url: str | None = None, count: int = 2) -> Iterator[Workers]:
    """`count` processes with these stores open."""
    processes = [start("tests.stores.worker", database_url, redis_url or "") for _ in range(count)]
    try:
        for process in processes:
            assert said(process) == "ready"
        yield Workers(processes)
    finally:
        for process in processes:
            end(process)
