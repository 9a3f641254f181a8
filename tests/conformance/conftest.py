"""Every log is searched for secrets and people at a module's end."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quiet_log(quiet_log: None) -> None:
    """See `tests/support/watch.py`."""
