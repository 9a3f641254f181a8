"""`make demo`: start everything, say where, stop cleanly."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Final

from broker.demo.layout import BLOCK, DEFAULT_PORT, Layout

READY_WITHIN: Final = 90.0
"""Seconds that all parts get together; a slow machine needs a good part of it at the first start."""
FOLDER: Final = Path(".demo")
LOWEST: Final = 1024
HIGHEST: Final[int] = 65535 - BLOCK


def main() -> int:
    """Exit code 0 after Ctrl-C; 1 if a port is taken or a part does not start."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--port", default=str(DEFAULT_PORT), help="the first port of the block")
    parser.add_argument("--reset", action="store_true", help="throw the demo's data away instead of starting it")
    arguments = parser.parse_args()
    text: str = arguments.port
    if not (text.isascii() and text.isdigit() and LOWEST <= int(text) <= HIGHEST):
        print(f"PORT={text} does not work: choose a number from {LOWEST} to {HIGHEST}, such as make demo PORT=9000")
        return 1
    layout = Layout(port=int(text), folder=FOLDER / str(int(text)))
    taken = [layout.port_of(name) for name in layout.names if _is_taken(layout.port_of(name))]
    if arguments.reset:
        return _reset(layout, running=bool(taken))
    if taken:
        which, verb = ", ".join(str(port) for port in taken), "is" if len(taken) == 1 else "are"
        print(
            f"Port{'' if len(taken) == 1 else 's'} {which} {verb} taken by another program (or by a demo that runs already)."
            f" Move the whole demo: make demo PORT={_elsewhere(layout.port)}"
        )
        return 1
    layout.prepare()
    return _Running(layout).run()


def _reset(layout: Layout, *, running: bool) -> int:
    if running and layout.folder.exists():
        print(f"The demo on port {layout.port} is running. Stop it with Ctrl-C, then run make demo-reset again.")
        return 1
    kept = layout.clear() if layout.folder.is_dir() else []
    others = sorted(path.name for path in FOLDER.iterdir() if path != layout.folder) if FOLDER.is_dir() else []
    if FOLDER.is_dir() and not any(FOLDER.iterdir()):
        FOLDER.rmdir()
    print("The demo's data is gone. The next `make demo` starts afresh.")
    if others:
        print(f"Demos at other ports keep theirs: {', '.join(f'make demo-reset PORT={port}' for port in others)}")
    if kept:
        print(f"Kept, because they are yours: {', '.join(str(path) for path in kept)}")
    return 0


def _elsewhere(port: int) -> int:
    """The first port of a block that is free."""
    for base in itertools.chain(range(port + 1000, HIGHEST, 1000), range(9000, port, 1000)):
        layout = Layout(port=base, folder=FOLDER / str(base))
        if not any(_is_taken(layout.port_of(name)) for name in layout.names):
            return base
    return DEFAULT_PORT


class _Running:
    """The demo's processes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = False

    def run(self) -> int:
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)
        try:
            for name, command in commands(self._layout).items():
                self._start(name, command)
            failed = self._wait_until_ready()
            if failed is not None:
                return self._say_failed(failed)
            print(table(self._layout), flush=True)
            return self._watch()
        finally:
            self._end()

    def _start(self, name: str, command: list[str]) -> None:
        print(f"Starting {name} …", flush=True)
        log = (self._layout.folder / f"{name}.log").open("ab")
        environment = {**os.environ, "DOORWARD_MODE": "development", "PYTHONUNBUFFERED": "1"}
        # A session of its own: Ctrl-C reaches this program alone, which then stops the parts in order.
        self._processes[name] = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )

    def _wait_until_ready(self) -> str | None:
        """The part that did not start, if any."""
        end = time.monotonic() + READY_WITHIN
        for name, process in self._processes.items():
            path = "/readyz" if name == "broker" else "/"
            while not self._stopping and not _answers(self._layout.url(name) + path):
                if process.poll() is not None or time.monotonic() > end:
                    return name
                time.sleep(0.1)
        return None

    def _watch(self) -> int:
        while not self._stopping:
            for name, process in self._processes.items():
                if process.poll() is not None and not self._stopping:
                    return self._say_failed(name)
            time.sleep(0.3)
        print("\nStopping. Your demo data is kept; `make demo-reset` clears it.", flush=True)
        return 0

    def _say_failed(self, name: str) -> int:
        log = self._layout.folder / f"{name}.log"
        last = b"\n".join(log.read_bytes().splitlines()[-15:]).decode("utf-8", "replace")
        print(f"The {name} did not start or stopped by itself. The end of {log}:\n{last}", flush=True)
        return 1

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _end(self) -> None:
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def commands(layout: Layout) -> dict[str, list[str]]:
    """How each part is started; the providers first, then the broker, then the sites."""
    python, folder, issuer = sys.executable, layout.folder, layout.url("broker")

    def site(name: str) -> list[str]:
        return [
            python, "-m", f"broker.demo.sites.{name}", "--port", str(layout.port_of(name)), "--issuer", issuer,
            "--client-id", name, "--client-secret-file", str(folder / f"{name}.secret"),
        ]  # fmt: skip

    return {
        "facebook": [
            python, "-m", "providers.sandbox.facebook", "--port", str(layout.port_of("facebook")),
            "--app-id", "1000000000000001", "--app-secret-file", str(folder / "facebook.secret"),
            "--redirect-uri", f"{issuer}/callback/facebook",
            "--deauthorize-url", f"{issuer}/hooks/facebook/deauthorize",
            "--deletion-url", f"{issuer}/hooks/facebook/deletion",
            "--privacy-url", f"{issuer}/privacy",
        ],
        "openid": [
            python, "-m", "providers.sandbox.openid_connect", "--port", str(layout.port_of("openid")),
            "--client-id", "doorward", "--client-secret-file", str(folder / "openid.secret"),
            "--redirect-uri", f"{issuer}/callback/openid",
        ],
        "broker": [python, "-m", "broker", "serve", "--config", str(layout.config)],
        "forum": site("forum"),
        "wiki": site("wiki"),
        "tracker": site("tracker"),
    }  # fmt: skip


def table(layout: Layout) -> str:
    """Addresses and what to try."""
    rows = [
        ("Forum", "forum", "start here: press Sign in, choose Facebook (sandbox), be one of the first three"),
        ("Wiki", "wiki", "then here: no provider needed again, only its own share page"),
        ("Issue tracker", "tracker", "the same with plain OpenID Connect and no kit"),
        ("My account", "broker", "what is known, who got it, and every way to stop it"),
        ("Facebook (sandbox)", "facebook", "not the real Facebook: invented people"),
        ("OpenID (sandbox)", "openid", "a second way to sign in"),
    ]
    lines = [f"  {label:<19} {layout.url(name):<24} {what}" for label, name, what in rows]
    return "\n".join(["", "Doorward demo is running.", "", *lines, "", "Ctrl-C stops it; your data is kept.", ""])


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status) < 500
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
