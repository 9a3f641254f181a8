"""The contracts of browser memory on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from broker.stores import Stores, open_stores
from tests.contracts.conftest import MASTER_KEY
from tests.contracts.stores import (
    LimitsContract,
    MemoryPurgeContract,
    ReplayContract,
    SessionsContract,
    TransactionsContract,
)
from tests.support.builders import FixedClock


@pytest.fixture
async def stores(redis_url: str, clock: FixedClock) -> AsyncGenerator[Stores, None]:
    stores = await open_stores(database_url="memory://", redis_url=redis_url, master_key=MASTER_KEY, clock=clock)
    yield stores
    await stores.close()


class TestTransactions(TransactionsContract):
    pass


class TestSessions(SessionsContract):
    pass


class TestReplay(ReplayContract):
    pass


class TestLimits(LimitsContract):
    pass


class TestMemoryPurge(MemoryPurgeContract):
    pass
