"""Fixtures of the tests of what stores are made of. Migrating takes longer than most of them: it is done once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.servers import PostgresServer

from broker.stores.sql.schema import migrate


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "stores.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def _migrated_database(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create()
    asyncio.run(migrate(url))
    yield url.rsplit("/", 1)[1]
    postgres_server.drop(url)


@pytest.fixture
def migrated_sqlite_url(_migrated_file: Path, tmp_path: Path) -> str:
    """The address of an empty SQLite file at the newest schema."""
    return f"sqlite:///{shutil.copy(_migrated_file, tmp_path / 'stores.db')}"


@pytest.fixture
def migrated_postgres_url(_migrated_database: str, postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty PostgreSQL database at the newest schema."""
    url = postgres_server.create(_migrated_database)
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Both of them, one after the other."""
    address: str = request.getfixturevalue(
        "migrated_sqlite_url" if request.param == "sqlite" else "migrated_postgres_url"
    )
    return address
