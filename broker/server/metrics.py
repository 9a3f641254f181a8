"""The process that serves the sum of all workers' numbers on a port of its own. It counts nothing itself."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from broker.telemetry import serve_metrics


def serve(host: str, port: int, folder: Path, lifeline: int) -> int:
    """Until told to stop or until the parent is gone; the exit code."""
    stopped, stop = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(stop, b"."))
    end = serve_metrics(host, port, folder)
    select.select([stopped, lifeline], [], [])
    end()
    return 0
