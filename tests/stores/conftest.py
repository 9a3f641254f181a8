"""Fixtures of the tests of what stores are made of."""

from __future__ import annotations

import pytest
from tests.support.builders import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()
