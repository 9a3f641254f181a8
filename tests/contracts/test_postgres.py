"""The contracts on a real PostgreSQL, browser memory included."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from broker.stores import Stores, open_stores
from tests.contracts.conftest import MASTER_KEY
from tests.contracts.failures import FailuresContract
from tests.contracts.logos import LogosContract
from tests.contracts.pictures import PicturesContract
from tests.contracts.registrations import RegistrationsContract
from tests.contracts.removals import RemovalsContract
from tests.contracts.staff import AuditContract, StaffContract
from tests.contracts.streams import StreamsContract
from tests.contracts.stores import (
    AccountsContract,
    GrantsContract,
    LedgerContract,
    LimitsContract,
    MemoryPurgeContract,
    OutboxContract,
    PostingsContract,
    PurgeContract,
    ReplayContract,
    SessionsContract,
    SigningKeysContract,
    StatusesContract,
    TransactionsContract,
)
from tests.support.builders import FixedClock


@pytest.fixture
async def stores(emptied_postgres_url: str, clock: FixedClock) -> AsyncGenerator[Stores, None]:
    stores = await open_stores(database_url=emptied_postgres_url, redis_url=None, master_key=MASTER_KEY, clock=clock)
    yield stores
    await stores.close()


class TestAccounts(AccountsContract):
    pass


class TestLedger(LedgerContract):
    pass


class TestGrants(GrantsContract):
    pass


class TestStatuses(StatusesContract):
    pass


class TestPostings(PostingsContract):
    pass


class TestFailures(FailuresContract):
    pass


class TestLogos(LogosContract):
    pass


class TestPictures(PicturesContract):
    pass


class TestRemovals(RemovalsContract):
    pass


class TestStreams(StreamsContract):
    pass


class TestStaff(StaffContract):
    pass


class TestAudit(AuditContract):
    pass


class TestRegistrations(RegistrationsContract):
    pass


class TestOutbox(OutboxContract):
    pass


class TestSigningKeys(SigningKeysContract):
    pass


class TestPurge(PurgeContract):
    pass


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
