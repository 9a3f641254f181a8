"""Fixtures of the tests that start the real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.rig import Folder, Start, starter

from broker.stores.sql import schema


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty database of the newest schema: what a server of before has left behind."""
    data = tmp_path_factory.mktemp("migrated") / "data"
    data.mkdir()
    asyncio.run(schema.migrate(f"sqlite:///{data / 'doorward.db'}"))
    return data


@pytest.fixture
def folder(tmp_path: Path, migrated: Path) -> Folder:
    return Folder(tmp_path / "config", template=migrated)


@pytest.fixture
def start(folder: Folder) -> Iterator[Start]:
    with starter(folder) as start:
        yield start
