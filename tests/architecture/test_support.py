"""The tests' own tools do what they say: a search that cannot find, or a browser that trusts everything, proves nothing."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from tests.support.canaries import Canaries
from tests.support.servers import PostgresServer, RedisServer

CANARY = "canary-Zoë+7f3a@mail.test"


@pytest.mark.parametrize(
    "stored",
    [
        CANARY.encode(),
        b"x" + quote(CANARY).encode(),
        base64.b64encode(b"a" + CANARY.encode() + b"tail"),
        base64.urlsafe_b64encode(b"ab" + CANARY.encode() + b"tail"),
        base64.b64encode(CANARY.encode()),
        CANARY.encode().hex().encode(),
        CANARY.encode("utf-16-le"),
    ],
)
def test_a_canary_is_found_in_every_form(stored: bytes) -> None:
    canaries = Canaries({"email": CANARY})
    with pytest.raises(AssertionError, match="the place contains email"):
        canaries.check_bytes("the place", b"before" + stored + b"after")


def test_what_holds_no_canary_passes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"nothing to see")
    assert Canaries({"email": CANARY}).check_files(tmp_path) == 1


def test_a_canary_in_a_database_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.db-wal").write_bytes(b"\0\1" + CANARY.encode() + b"\2")
    with pytest.raises(AssertionError, match="a.db-wal contains email"):
        Canaries({"email": CANARY}).check_files(tmp_path)


@pytest.mark.database
async def test_each_test_gets_a_database_of_its_own(
    new_database: Iterator[str], postgres_server: PostgresServer
) -> None:
    first, second = new_database(), new_database()  # type: ignore[operator]
    assert first != second
    connection = await asyncpg.connect(first)
    try:
        await connection.execute("CREATE TABLE words (word text)")
        await connection.execute("INSERT INTO words VALUES ($1)", CANARY)
    finally:
        await connection.close()
    dumped = await asyncio.to_thread(postgres_server.dump, first)
    with pytest.raises(AssertionError, match="contains email"):
        Canaries({"email": CANARY}).check_bytes("the dump", dumped)


def test_redis_is_empty_and_can_be_searched(redis_url: str, redis_server: RedisServer) -> None:
    assert redis_server.say("DBSIZE") == b":0\r\n"
    redis_server.say("SET", "key", "canary-0123456789" * 8)
    with pytest.raises(AssertionError, match="contains secret"):
        Canaries({"secret": "canary-0123456789"}).check_bytes("Redis", redis_server.dump())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import pytest\n@pytest.mark.skip\ndef test_a(): pass\n", "skipped: "),
        ("import pytest\ndef test_a(): pytest.skip('later')\n", "skipped: "),
        ("import pytest\n@pytest.mark.xfail\ndef test_a(): assert 0\n", "expected to fail: "),
        ("import pytest\npytest.importorskip('no_such_module')\ndef test_a(): pass\n", "not collected: "),
    ],
)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_test_left_out_fails_the_suite(tmp_path: Path, body: str, words: str, workers: str) -> None:
    (tmp_path / "test_inner.py").write_text(body)
    command = [
        sys.executable, "-m", "pytest", "-p", "tests.support.strict", "-p", "no:randomly", "-p", "no:cacheprovider",
        "-n", workers, "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode != 0, done.stdout
    assert words in done.stdout, done.stdout
