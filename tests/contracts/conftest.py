"""Fixtures of the store contracts. Each test module says with `stores` which ones are meant.

Migrating takes longer than most of these tests: it is done once for a test process, and each test gets a copy of the
file, or the database with every row gone.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from tests.support.builders import FixedClock
from tests.support.servers import PostgresServer

from broker.domain.ports import BrowserMemory, Durable
from broker.stores import Stores
from broker.stores.sql.schema import migrate
from broker.stores.sql.tables import metadata

MASTER_KEY: Final = b"k" * 32


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def durable(stores: Stores) -> Durable:
    return stores.durable


@pytest.fixture
def memory(stores: Stores) -> BrowserMemory:
    return stores.memory


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "stores.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(_migrated_file: Path, tmp_path: Path) -> str:
    """The address of an empty SQLite file at the newest schema."""
    return f"sqlite:///{shutil.copy(_migrated_file, tmp_path / 'stores.db')}"


@pytest.fixture(scope="session")
def _migrated_database(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create()
    asyncio.run(migrate(url))
    yield url
    postgres_server.drop(url)


@pytest.fixture
async def emptied_postgres_url(_migrated_database: str) -> AsyncGenerator[str, None]:
    """The address of a PostgreSQL database at the newest schema. Only its keys outlive a test."""
    yield _migrated_database
    connection = await asyncpg.connect(_migrated_database)
    try:
        # As a replica applies changes: without the triggers that would refuse to delete receipts.
        await connection.execute("SET session_replication_role = replica")
        kept = {"data_keys"}
        await connection.execute("; ".join(f"DELETE FROM {name}" for name in metadata.tables if name not in kept))
    finally:
        await connection.close()
