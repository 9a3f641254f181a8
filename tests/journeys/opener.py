"""Open everything a server keeps, as somebody could who has all of its disks, dumps and keys.

    opener = await Opener.of(house, redis_url)
    for place, text in opener.everything(): …

Each value is tried with each key the server holds, whatever place it was sealed for: AES-GCM without its tag is AES in
counter mode, so no associated data protects anything here. What stays closed needs a key that the server does not have.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import redis as redis_client
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from tests.support.house import House

from broker.stores.sql.schema import sqlite_path
from broker.stores.vault import Wrapper, ring_of_master

PURPOSES = (
    "subjects",
    "sids",
    "handles",
    "transactions",
    "cookies",
    "statuses",
    "browser states",
    "removals",
    "user codes",
    "trials",
    "proof nonces",
    "pictures",
    "verifiers of forums",
    "audit",
)
"""What the program derives keys for; a test of its own keeps this list whole."""
NONCES = (0, 9)
"""Where a nonce may stand: in front, or behind a version and a key id."""
NONCE, TAG = 12, 16


@dataclass
class Cell:
    place: str
    value: bytes


@dataclass
class Opener:
    keys: dict[str, bytes]
    cells: list[Cell]

    @classmethod
    async def of(cls, house: House, redis_url: str | None = None) -> Opener:
        """Every row of every table, every value in Redis, and every key the server holds."""
        url = house.settings.broker.database_url
        tables = sqlite_tables(sqlite_path(url)) if url.startswith("sqlite") else await postgres_tables(url)
        cells = [
            Cell(f"{table}.{column}", as_bytes(value))
            for table, rows in tables.items()
            for row in rows
            for column, value in row.items()
            if value is not None
        ]
        if redis_url is not None:
            cells += redis_cells(redis_url)
        return cls(keys=keys_of(house, tables), cells=cells)

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Each value as it lies there, and as each key opens it."""
        for cell in self.cells:
            yield cell.place, cell.value
            for name, key in self.keys.items():
                for start in NONCES:
                    if len(cell.value) >= start + NONCE + TAG:
                        yield f"{cell.place}, opened with {name}", counter_mode(cell.value[start:], key)


def counter_mode(sealed: bytes, key: bytes) -> bytes:
    """What AES-GCM hides, without asking whether it was altered or moved."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(sealed[:NONCE] + b"\x00\x00\x00\x02"))
    return cipher.decryptor().update(sealed[NONCE:-TAG])


def keys_of(house: House, tables: dict[str, list[dict[str, Any]]]) -> dict[str, bytes]:
    """The master key, what it wraps, and all that is derived."""
    master = house.settings.broker.master_key_bytes
    wrapper = Wrapper(master)
    keys = {"the master key": master[:32]}
    keys |= {f"data key {row['id']}": wrapper.unwrap(row["wrapped"], row["id"]) for row in tables["data_keys"]}
    keys |= {f"the key for {purpose}": house.opened.stores.derive(purpose) for purpose in PURPOSES}
    keys |= {f"{purpose} of the master key": ring_of_master(master).blind("derive", purpose) for purpose in PURPOSES}
    return keys


def as_bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()


def sqlite_tables(path: Path | str) -> dict[str, list[dict[str, Any]]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')] for name in names}
    finally:
        connection.close()


async def postgres_tables(url: str) -> dict[str, list[dict[str, Any]]]:
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row[0]: [dict(one) for one in await connection.fetch(f'SELECT * FROM "{row[0]}"')] for row in found}
    finally:
        await connection.close()


def redis_cells(url: str) -> list[Cell]:
    client: Any = redis_client.Redis.from_url(url)
    cells: list[Cell] = []
    try:
        for key in client.scan_iter():
            kind = client.type(key).decode()
            cells.append(Cell(f"redis key {kind}", key))
            cells += [Cell(f"redis {kind}", value) for value in _redis_values(client, kind, key)]
    finally:
        client.close()
    return cells


def _redis_values(client: Any, kind: str, key: bytes) -> list[bytes]:
    if kind == "string":
        return [client.get(key)]
    if kind == "hash":
        return [part for pair in client.hgetall(key).items() for part in pair]
    if kind == "zset":
        return list(client.zrange(key, 0, -1))
    raise AssertionError(f"nothing here is kept in a {kind}")
