"""Tells systemd how it goes (sd_notify(3)): one datagram to the socket that `NOTIFY_SOCKET` names, if it names one."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send `READY=1` and the like. Without systemd, or with one that does not listen, nothing happens."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall("\n".join(lines).encode())


def reloading() -> tuple[str, str]:
    """What `Type=notify-reload` wants to hear: that a reload began, and when by the clock that never jumps."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
