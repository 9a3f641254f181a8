"""What libraries logged is searched after each test; the town's own log when it closes."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quiet_log(quiet_log: None) -> None:
    """See `tests/support/watch.py`."""
