"""A real `doorward serve` in production mode, its processes, its log, and what may stand between it and its stores.

def test_…(start: Start) -> None:
    server = start(workers=2)
    assert server.get("/readyz").status == 200
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from tests.support.servers import free_port, program
from tests.support.source import ROOT

HOST: Final = "login.test"
FORUM_SECRET: Final = "forum-secret-0123456789abcdef0123"
LIMIT: Final = 90.0
"""Seconds that anything may take on a machine shared with others."""

DOORWARD: Final = """
[broker]
public_url = "https://login.test"
brand = "{brand}"
operator_name = "The Club"
operator_contact = "help@club.test"
master_key = {{ file = "master.key" }}
trusted_proxies = ["127.0.0.1"]
port = {port}
workers = {workers}
stop_seconds = 10
{more}

[fields.name]
use = "needed"
audience = "everyone"
purpose = "Shown next to your posts."

[terms.1]
effective_from = 2026-01-01

[privacy.1]
effective_from = 2026-01-01
"""
PROVIDERS: Final = """
[idp]
kind = "openid_connect"
issuer = "https://idp.test"
client_id = "doorward"
client_secret = { file = "idp.secret" }
"""
SITES: Final = """
[forum]
name = "Forum"
url = "https://forum.test/"
redirect_uris = ["https://forum.test/callback"]
client_secret = { file = "forum.secret" }
device_grant = true

[forum.asks.name]
use = "needed"
why = "Shown beside your posts."
"""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Folder:
    """A configuration folder of its own."""

    path: Path
    port: int = field(default_factory=free_port)
    brand: str = "First Brand"
    workers: int = 1
    more: str = ""
    limits: str = ""
    template: Path | None = None
    """A data folder to begin with, so that not every test waits for the same migration."""

    def write(self, **changes: Any) -> None:
        """Write the files anew with these values changed."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.path.mkdir(exist_ok=True)
        text = DOORWARD.format(brand=self.brand, port=self.port, workers=self.workers, more=self.more)
        (self.path / "doorward.toml").write_text(text + self.limits)
        (self.path / "providers.toml").write_text(PROVIDERS)
        (self.path / "sites.toml").write_text(SITES)
        self.secret("idp.secret", "idp-secret-0123456789abcdef01234")
        self.secret("forum.secret", FORUM_SECRET)
        if not (self.path / "master.key").exists():
            self.secret("master.key", base64.b64encode(secrets.token_bytes(32)).decode())
            if self.template is not None:
                shutil.copytree(self.template, self.path / "data")

    def secret(self, name: str, text: str) -> None:
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(f"{text}\n")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "broker", *words]


@dataclass
class Server:
    """One running `doorward serve`."""

    folder: Folder
    process: subprocess.Popen[bytes]
    lines: list[str] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)

    # --- asking -----------------------------------------------------------------------------------------

    def ask(
        self, method: str, path: str, *, body: bytes | str | None = None, headers: Mapping[str, str] | None = None,
        timeout: float = LIMIT,
    ) -> Answer:  # fmt: skip
        """One request on a connection of its own. Raises `OSError` if nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.folder.port, timeout=timeout)
        try:
            connection.request(method, path, body, {"Host": HOST, **(headers or {})})
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except http.client.HTTPException as error:  # not an OSError, although nothing else means it
            raise OSError(f"no whole answer: {type(error).__name__}") from error
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def token_request(self, secret: str = FORUM_SECRET, **form: str) -> Answer:
        """A refresh with a token that was never one: 400."""
        return self.ask("POST", "/token", body=token_form(**form), headers=token_headers(secret))

    def wrong_secret(self) -> Answer:
        """401, and counted where all processes count: in Redis, or without it in the database."""
        return self.token_request("wrong-secret-0123456789abcdefgh")

    # --- waiting ----------------------------------------------------------------------------------------

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + LIMIT
        while not done():
            if time.monotonic() > end:
                last = "\n".join(self.lines[-40:])
                raise AssertionError(f"{what} did not happen within {LIMIT:.0f} s\n{last}")
            time.sleep(0.05)

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}\n{self.log}"
            return self.status("/readyz") == 200

        self.wait_for(ready, "becoming ready")
        workers = int(self.wait_for_log("server_started")["workers"])
        self.wait_for(lambda: len(self.events("worker_ready")) >= workers, "all processes being ready")

    def status(self, path: str) -> int:
        """The status, or 0 if nobody listens."""
        try:
            return self.get(path).status
        except OSError:
            return 0

    def wait_for_log(self, event: str, times: int = 1) -> dict[str, Any]:
        """The newest of that many such lines."""
        self.wait_for(lambda: len(self.events(event)) >= times, f"the log line {event}")
        return self.events(event)[-1]

    # --- looking ----------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def events(self, event: str) -> list[dict[str, Any]]:
        parsed = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in parsed if line["event"] == event]

    @property
    def children(self) -> list[int]:
        """Process ids of the parent's children, none of them ended."""
        out = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.process.pid and fields[0] != "Z":
                    out.append(int(stat.parent.name))
        return sorted(out)

    # --- telling ----------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def reload(self) -> None:
        """Read the configuration again, and wait until that is done."""
        done = len(self.events("reloaded"))
        self.hang_up()
        self.wait_for_log("reloaded", done + 1)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it as an operator does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(LIMIT)
        for reader in self._readers:
            reader.join(5)
        return code

    def read_output(self) -> None:
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
            reader.start()
            self._readers.append(reader)

    def _read(self, pipe: Any) -> None:
        with pipe:
            for line in pipe:
                self.lines.append(line.decode().rstrip("\n"))


Start = Callable[..., Server]


@contextmanager
def starter(folder: Folder) -> Iterator[Start]:
    """Starts servers of one folder; all are gone at the end."""
    servers: list[Server] = []

    def start(
        *, ready: bool = True, words: tuple[str, ...] = (), environ: Mapping[str, str] | None = None, **changes: Any
    ) -> Server:
        folder.write(**changes)
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DOORWARD", "NOTIFY", "CREDENTIALS"))
        }
        process = subprocess.Popen(
            [program("setpriv"), "--pdeathsig", "TERM", *command("serve", "--config", str(folder.path), *words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env={**own, **(environ or {})},
        )  # fmt: skip
        server = Server(folder, process)
        server.read_output()
        servers.append(server)
        if ready:
            server.wait_until_ready()
        return server

    try:
        yield start
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.process.terminate()
                try:
                    server.process.wait(20)
                except subprocess.TimeoutExpired:
                    server.process.kill()
            server.wait()


def token_form(**form: str) -> str:
    return "&".join(
        f"{name}={value}" for name, value in ({"grant_type": "refresh_token", "refresh_token": "none"} | form).items()
    )


def token_headers(secret: str = FORUM_SECRET) -> dict[str, str]:
    basic = base64.b64encode(f"forum:{secret}".encode()).decode()
    return {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}


class Half:
    """A token request of which half has been sent: it is running, and ends when the rest comes."""

    def __init__(self, port: int) -> None:
        body = token_form().encode()
        lines = [b"POST /token HTTP/1.1", b"Host: " + HOST.encode(), b"Content-Length: " + str(len(body)).encode()]
        lines += [f"{name}: {value}".encode() for name, value in token_headers().items()]
        self._rest = body[10:]
        self._connection = socket.create_connection(("127.0.0.1", port), LIMIT)
        self._connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body[:10])

    def finish(self) -> tuple[int, bytes]:
        """Status and body; status 0 if the connection was cut."""
        with self._connection:
            try:
                self._connection.sendall(self._rest)
                response = http.client.HTTPResponse(self._connection)
                response.begin()
                return response.status, response.read()
            except (OSError, http.client.HTTPException):
                return 0, b""


class Valve:
    """A wire between the server and a store: open, cut, or open and silent."""

    def __init__(self, target: int) -> None:
        self.port, self._target = free_port(), target
        self._selector = selectors.DefaultSelector()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._listener: socket.socket | None = None
        self.silent = False
        self._ended = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(5)
        self.cut()

    def open(self) -> None:
        """Let everything through from now on."""
        with self._lock:
            self.silent = False
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                self._listener.setblocking(False)
                self._selector.register(self._listener, selectors.EVENT_READ)

    def cut(self) -> None:
        """Refuse connections, and end those that are."""
        with self._lock:
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
            for end in list(self._pairs):
                self._drop(end)

    def _run(self) -> None:
        while not self._ended:
            with self._lock:
                ready = self._selector.select(0) if self._selector.get_map() else []
                for key, _ in ready:
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    self._accept() if end is self._listener else self._pass_on(end)
            if not ready:
                time.sleep(0.002)

    def _accept(self) -> None:
        assert self._listener is not None
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            near.close()
            return
        self._pairs[near], self._pairs[far] = far, near
        for end in (near, far):
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        if end not in self._pairs:
            return
        try:
            data = end.recv(65536)
            if data and not self.silent:
                self._pairs[end].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        other = self._pairs.pop(end, None)
        for one in (end, other):
            if one is not None:
                self._pairs.pop(one, None)
                with suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()


@contextmanager
def valve(target: int) -> Iterator[Valve]:
    with Valve(target) as made:
        made.open()
        yield made
