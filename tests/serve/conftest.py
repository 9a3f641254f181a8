"""Fixtures of the tests that start the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.rig import Folder, Start, starter


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "config")


@pytest.fixture
def start(folder: Folder) -> Iterator[Start]:
    with starter(folder) as start:
        yield start
