"""What a run starts and stops: Doorward on either kind of stores, the peer, the upstream provider."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import meter
from tests.bench.flows import CLIENT, REDIRECT, SECRET, SERVICE_SCOPE, Target, answer_doorward, answer_peer
from tests.support.servers import PostgresServer, RedisServer, free_port

ROOT: Final = Path(__file__).resolve().parents[2]
SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1
START_LIMIT: Final = 60.0

DOORWARD_TOML: Final = """
[broker]
public_url = "http://127.0.0.1:{port}"
mode = "development"
operator_name = "Bench"
operator_contact = "bench@example.org"
port = {port}
data_dir = "data"
log_level = "warning"
{more}
[limits]
sign_ins_per_minute = 10000
sign_ups_per_hour = 10000

[egress."127.0.0.1:{upstream}"]

[fields.name]
use = "needed"
audience = "everyone"
purpose = {{ en = "Shown next to your posts." }}

[fields.email]
use = "needed"
audience = "admins"
purpose = {{ en = "So that we can reach you." }}

[fields.picture]
use = "optional"
audience = "everyone"
purpose = {{ en = "Shown next to your posts." }}

[terms.1]
effective_from = 2026-01-01

[privacy.1]
effective_from = 2026-01-01
"""

PROVIDERS_TOML: Final = """
[up]
kind = "openid_connect"
label = "Upstream"
issuer = "http://127.0.0.1:{upstream}"
client_id = "doorward"
client_secret = {{ env = "UPSTREAM_SECRET" }}
fields = ["name", "email", "picture"]
"""

SLOW_TOML: Final = """
[egress."127.0.0.1:{slow}"]
"""
SLOW_PROVIDER_TOML: Final = """
[slow]
kind = "openid_connect"
label = "Slow"
issuer = "http://127.0.0.1:{slow}"
client_id = "doorward"
client_secret = {{ env = "UPSTREAM_SECRET" }}
fields = ["name", "email", "picture"]
"""

SITES_TOML: Final = """
[{client}]
name = "Bench"
url = "http://127.0.0.1:9"
redirect_uris = ["{redirect}"]
client_secret = {{ env = "SITE_SECRET" }}
signing_algorithm = "{algorithm}"
service_scopes = ["{service_scope}"]

[{client}.asks.preferred_username]
use = "needed"
why = {{ en = "Your posts are signed with it." }}

[{client}.asks.name]
use = "needed"
why = {{ en = "Shown beside your posts." }}

[{client}.asks.email]
use = "optional"
why = {{ en = "To tell you about answers." }}
"""


class Missing(Exception):
    """Something cannot be had on this machine; the text says what and how to get it."""


@dataclass
class Running:
    """Processes of one target. `counted` are the servers whose CPU is measured."""

    name: str
    target: Target
    counted: dict[str, int]
    start_seconds: float = 0.0
    idle_mib: float = 0.0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def roots(self) -> list[int]:
        return list(self.counted.values())


def _spawn(
    command: list[str], log: Path, core: int, more: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.Popen[bytes]:
    out = log.open("wb")
    try:
        return subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **(more or {})}, stdout=out, stderr=out, start_new_session=True,
            preexec_fn=lambda: meter.pin(core),
        )  # fmt: skip
    finally:
        out.close()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> float:
    """Seconds until the first good answer. Raises `Missing` with the end of the log if none comes."""
    start = time.monotonic()
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return time.monotonic() - start
        if process.poll() is not None or time.monotonic() - start > START_LIMIT:
            raise Missing(f"no answer at {url}; the end of the log:\n{log.read_text()[-1500:]}")
        time.sleep(0.005)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@contextlib.contextmanager
def upstream(*more: str) -> Iterator[int]:
    """The provider that approves at once, on the client's core; gives its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="doorward-bench-") as folder:
        log = Path(folder) / "log"
        process = _spawn([sys.executable, "-m", "tests.bench.upstream", "--port", str(port), *more], log, CLIENT_CORE)
        try:
            _wait(f"http://127.0.0.1:{port}/jwks", process, log)
            yield port
        finally:
            _stop(process)


@contextlib.contextmanager
def redis() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        raise Missing("redis-server is missing; `make test` installs it, or: sudo apt-get install -y redis-server")
    with tempfile.TemporaryDirectory(prefix="doorward-bench-redis-", ignore_cleanup_errors=True) as folder:
        server = RedisServer(Path(folder), free_port())
        server.start()
        try:
            assert server.process is not None
            os.sched_setaffinity(server.process.pid, {SERVER_CORE})
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def postgres() -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(prefix="doorward-bench-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), free_port())
        try:
            server.start()
        except RuntimeError as error:
            raise Missing(f"PostgreSQL: {error}") from error
        try:
            assert server.process is not None
            for pid in meter.tree([server.process.pid]):
                os.sched_setaffinity(pid, {SERVER_CORE})
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def doorward(kind: str, upstream_port: int, algorithm: str, slow_port: int | None = None) -> Iterator[Running]:
    """`sqlite` or `postgresql`; the latter with Redis for browser memory. `slow_port`: where a second provider is."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doorward-bench-")))
        port, more, counted = free_port(), "", {}
        secrets = {"UPSTREAM_SECRET": "upstream-secret-0123456789", "SITE_SECRET": SECRET}
        if kind == "postgresql":
            database, memory = stack.enter_context(postgres()), stack.enter_context(redis())
            assert database.process is not None and memory.process is not None
            counted = {"postgres": database.process.pid, "redis": memory.process.pid}
            secrets |= {"DATABASE_URL": database.create(), "REDIS_URL": memory.url}
            more = 'database_url = { env = "DATABASE_URL" }\nredis_url = { env = "REDIS_URL" }\n'
        values = {
            "port": port, "upstream": upstream_port, "more": more, "client": CLIENT, "redirect": REDIRECT,
            "algorithm": algorithm, "service_scope": SERVICE_SCOPE, "slow": slow_port,
        }  # fmt: skip
        slow = ("", "") if slow_port is None else (SLOW_TOML, SLOW_PROVIDER_TOML)
        for name, text in (
            ("doorward.toml", DOORWARD_TOML + slow[0]), ("providers.toml", PROVIDERS_TOML + slow[1]),
            ("sites.toml", SITES_TOML),
        ):  # fmt: skip
            (folder / name).write_text(text.format(**values))
        log = folder / "log"
        command = [sys.executable, "-m", "broker", "serve", "--config", str(folder)]
        process = _spawn(command, log, SERVER_CORE, secrets)
        stack.callback(_stop, process)
        _wait(f"http://127.0.0.1:{port}/readyz", process, log)
        _stop(process)  # the first start made keys and tables; the second is the one that is measured
        process = _spawn(command, log, SERVER_CORE, secrets)
        stack.callback(_stop, process)
        seconds = _wait(f"http://127.0.0.1:{port}/readyz", process, log)
        name = "Doorward, SQLite" if kind == "sqlite" else "Doorward, PostgreSQL + Redis"
        running = Running(
            name, Target(f"http://127.0.0.1:{port}", answer_doorward), {"broker": process.pid, **counted}, seconds
        )
        running.idle_mib = meter.rss_mib([process.pid])
        yield running


@contextlib.contextmanager
def peer(algorithm: str) -> Iterator[Running]:
    """oidc-provider on a Redis of its own."""
    place = Path(__file__).parent / "peer"
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            raise Missing(f"{name} is missing; `make test` installs it, or: sudo apt-get install -y nodejs npm")
    if not _is_installed(place):
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"], cwd=place, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise Missing(f"npm could not install the peer (is the network there?):\n{done.stderr[-800:]}")
    with redis() as memory, tempfile.TemporaryDirectory(prefix="doorward-bench-") as folder:
        assert memory.process is not None
        port, log = free_port(), Path(folder) / "log"
        more = {"PORT": str(port), "ALG": algorithm, "REDIS_URL": memory.url, "NODE_ENV": "production"}
        process = _spawn(["node", "server.mjs"], log, SERVER_CORE, more, place)
        try:
            seconds = _wait(f"http://127.0.0.1:{port}/.well-known/openid-configuration", process, log)
            counted = {"node": process.pid, "redis": memory.process.pid}
            running = Running("oidc-provider, Redis", Target(
                f"http://127.0.0.1:{port}", answer_peer, {"prompt": "consent"}
            ), counted, seconds)  # fmt: skip
            running.idle_mib = meter.rss_mib([process.pid])
            yield running
        finally:
            _stop(process)


def _is_installed(place: Path) -> bool:
    wanted = json.loads((place / "package.json").read_text())["dependencies"]
    return all(
        (found := place / "node_modules" / name / "package.json").exists()
        and json.loads(found.read_text())["version"] == version
        for name, version in wanted.items()
    )
