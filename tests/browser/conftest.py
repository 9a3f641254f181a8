"""The town of every browser test, where a site beside it is, and a look into every log."""

from __future__ import annotations

import pytest
from tests.browser.town import stranger, town

__all__ = ["stranger", "town"]


@pytest.fixture(autouse=True)
def _quiet_log(quiet_log: None) -> None:
    """What libraries logged is searched after each test; the town's own log when it closes (tests/support/watch.py)."""
