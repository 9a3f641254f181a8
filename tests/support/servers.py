"""Private PostgreSQL and Redis servers for the tests: started once a test process, on loopback, in a temporary folder.

A server that is not there is a failure, never a skip. `make test` installs both.

    def test_…(postgres_url: str) -> None      a fresh, empty database
    def test_…(redis_url: str) -> None         an empty Redis
    def test_…(new_database: NewDatabase)      as many fresh databases as wanted
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

START_LIMIT = 60.0  # seconds; several suites may share a small machine
NewDatabase = Callable[[], str]


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def held(*ports: int) -> Iterator[None]:
    """Inside, nobody else is given these free ports, while something slow is prepared for them."""
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
        yield


def program(name: str, *folders: str) -> str:
    """Where `name` is. Raises RuntimeError with the command that installs everything."""
    for folder in folders:
        for place in sorted(Path("/").glob(f"{folder.strip('/')}/{name}"), key=_version, reverse=True):
            return str(place)
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing; `make test` installs what the tests need")
    return found


def _version(place: Path) -> float:
    number = place.parent.parent.name
    return float(number) if number.replace(".", "", 1).isdigit() else 0.0


def _dies_with_us(account: str | None = None) -> list[str]:
    """A prefix that ends the server with the test process, however that ends; PostgreSQL refuses to run as root."""
    command = [program("setpriv"), "--pdeathsig", "INT"]
    if account is not None and os.geteuid() == 0:
        command += [f"--reuid={account}", f"--regid={pwd.getpwnam(account).pw_gid}", "--clear-groups"]
    return command


@dataclass
class PostgresServer:
    """A cluster of our own. `url(name)` is the address of one of its databases."""

    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PGPASSWORD": self.password, "LC_ALL": "C", "PGTZ": "UTC"}

    def start(self) -> None:
        bin_folder = str(Path(program("initdb", "usr/lib/postgresql/*/bin", "usr/local/pgsql/bin")).parent)
        word = self.folder / "word"
        word.write_text(self.password)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            for place in (self.folder, word):
                os.chown(place, account.pw_uid, account.pw_gid)
        prefix = _dies_with_us("postgres")
        subprocess.run(
            [*prefix, f"{bin_folder}/initdb", "-D", str(self.folder / "data"), "-U", "doorward", "-E", "UTF8", "--locale=C", "--no-sync",
             "--auth=scram-sha-256", f"--pwfile={word}"],
            check=True, capture_output=True, env=self._environment, cwd=self.folder,
        )  # fmt: skip
        self.launch()

    def launch(self) -> None:
        """Start the server on the data that is there: at first, and after `stop` or `kill`."""
        bin_folder = str(Path(program("initdb", "usr/lib/postgresql/*/bin", "usr/local/pgsql/bin")).parent)
        data, prefix = self.folder / "data", _dies_with_us("postgres")
        # No fsync: what is committed survives the death of the server, which tests cause, not that of the machine.
        settings = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder),
            "fsync": "off", "full_page_writes": "off", "max_connections": "200",
            "shared_buffers": "64MB", "timezone": "UTC",
        }  # fmt: skip
        command = [*prefix, f"{bin_folder}/postgres", "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, cwd=self.folder)
        log.close()
        self._wait(bin_folder)

    def _wait(self, bin_folder: str) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_LIMIT
        ready = [f"{bin_folder}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start:\n" + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.1)

    def url(self, name: str) -> str:
        return f"postgresql://doorward:{self.password}@127.0.0.1:{self.port}/{name}"

    def run(self, sql: str, database: str = "postgres") -> str:
        """Run one statement with psql; gives its output, unaligned. Raises CalledProcessError."""
        done = subprocess.run(
            [program("psql", "usr/lib/postgresql/*/bin"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
             "-p", str(self.port), "-U", "doorward", "-d", database, "-c", sql],
            check=True, capture_output=True, env=self._environment, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def create(self, template: str = "template0") -> str:
        """A fresh database, as a copy of another; gives its address."""
        name = f"t{secrets.token_hex(8)}"
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        self.run(f'DROP DATABASE IF EXISTS "{url.rsplit("/", 1)[1]}" WITH (FORCE)')

    def dump(self, url: str) -> bytes:
        """Every row of a database as text, for canary searches."""
        command = [program("pg_dump", "usr/lib/postgresql/*/bin"), "--data-only", "--inserts", "--dbname", url]
        return subprocess.run(command, check=True, capture_output=True, env=self._environment).stdout

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(2)  # SIGINT: fast shutdown
            _end(self.process)


@dataclass
class RedisServer:
    """A Redis of our own that writes nothing to disk by itself."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [
            *_dies_with_us(), program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
            "--save", "", "--appendonly", "no", "--dir", str(self.folder), "--daemonize", "no",
        ]  # fmt: skip
        log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                self.say("PING")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("Redis did not start:\n" + (self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def say(self, *words: str) -> bytes:
        """Send one command; gives the first part of the raw answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.recv(65536)

    def clear(self) -> None:
        self.say("FLUSHALL")

    def dump(self) -> bytes:
        """The whole memory as an RDB file, uncompressed, for canary searches."""
        self.say("CONFIG", "SET", "rdbcompression", "no")
        self.say("SAVE")
        return (self.folder / "dump.rdb").read_bytes()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            _end(self.process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(prefix="doorward-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), free_port())
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """A Redis of one's own, to stop and start again."""
    with tempfile.TemporaryDirectory(prefix="doorward-redis-", ignore_cleanup_errors=True) as folder:
        server = RedisServer(Path(folder), free_port())
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def new_database(postgres_server: PostgresServer) -> Iterator[NewDatabase]:
    """Makes fresh databases that are dropped after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(postgres_server.create())
        return made[-1]

    yield make
    for url in made:
        postgres_server.drop(url)


@pytest.fixture
def postgres_url(new_database: NewDatabase) -> str:
    """The address of a fresh, empty database."""
    return new_database()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """The address of an empty Redis. Each test process has a server of its own, so nobody else writes there."""
    redis_server.clear()
    yield redis_server.url
    redis_server.clear()
