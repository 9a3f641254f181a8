"""Fixtures of the store contracts. Each test module says with `stores` which ones are meant."""

from __future__ import annotations

import pytest

from broker.domain.ports import BrowserMemory, Durable
from broker.stores import Stores
from tests.support.builders import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def durable(stores: Stores) -> Durable:
    return stores.durable


@pytest.fixture
def memory(stores: Stores) -> BrowserMemory:
    return stores.memory
