"""PostgreSQL away, restarted, read-only, locked, slow, full of connections: 503, nothing half done, and then on again."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.contracts.stores import kept_account, kept_grant
from tests.stores.probes import all_come_to, durable_probes, memory_probes
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import FORUM, NOW, FixedClock
from tests.support.servers import PostgresServer, free_port

from broker.domain.account import Account
from broker.domain.grant import AlreadyRedeemed
from broker.domain.values import AccountId
from broker.errors import Conflict, StoreUnavailable
from broker.stores import Stores, open_stores
from broker.stores.sql import grants
from broker.stores.sql.drivers.connections import ACQUIRE_TIMEOUT
from broker.stores.sql.drivers.postgresql import STATEMENT_TIMEOUT, PostgresDriver
from broker.stores.sql.durable import SqlDurable
from broker.stores.sql.schema import migrate
from broker.stores.sql.statements import PING, Script, Step


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own, to stop and start. Here a commit is on disk when it is answered."""
    with tempfile.TemporaryDirectory(prefix="doorward-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), free_port())
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def url(server: PostgresServer) -> str:
    """One database for all tests here: none counts what others left."""
    url = server.create()
    server.run(f'ALTER DATABASE "{url.rsplit("/", 1)[1]}" SET synchronous_commit = on')
    asyncio.run(migrate(url))
    return url


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    stores = await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    yield stores
    await stores.close()


def crash(server: PostgresServer) -> None:
    """As a crash: no checkpoint, every connection cut."""
    assert server.process is not None
    server.process.send_signal(signal.SIGQUIT)
    server.process.wait(20)


@asynccontextmanager
async def another_client(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_server_that_crashed_is_a_503_until_it_is_back_and_then_nothing_is_missing(
    server: PostgresServer, stores: Stores
) -> None:
    """(catalogue 162)"""
    durable = stores.durable
    account, link = await kept_account(durable)
    grant = await kept_grant(durable, account.id)
    code, receipt, session = make.code(grant), make.receipt(account.id), make.session(account.id)
    unit = durable.unit()
    unit.add_code(code)
    unit.append_receipt(receipt)
    await unit.commit()
    await durable.grants.consume_code(code.digest, NOW)
    await stores.memory.sessions.save(session)
    revoking = durable.unit()
    revoking.revoke_grant(grant.id, NOW)
    await revoking.commit()

    crash(server)
    try:
        begun = time.monotonic()
        await all_come_to("StoreUnavailable", {**durable_probes(durable), **memory_probes(stores.memory)})
        assert time.monotonic() - begun < ACQUIRE_TIMEOUT + STATEMENT_TIMEOUT
        with pytest.raises(StoreUnavailable):
            await open_stores(
                database_url=server.url("any"), redis_url=None, master_key=MASTER_KEY, clock=FixedClock(), migrate=False
            )
    finally:
        server.launch()

    await all_come_to("answered", {**durable_probes(durable), **memory_probes(stores.memory)})
    assert await durable.accounts.by_identity(link.key) == (account, link)
    assert (await durable.grants.load(grant.id) or grant).revoked_at == NOW
    assert await durable.grants.consume_code(code.digest, NOW) == AlreadyRedeemed(grant=grant.id)
    assert await durable.ledger.receipts(account.id) == (receipt,)
    assert await stores.memory.sessions.by_digest(session.secret_digest, NOW) == session


async def test_a_unit_under_way_when_the_server_crashes_is_whole_or_not_there(
    server: PostgresServer, stores: Stores
) -> None:
    """(catalogue 162, 164)"""
    durable = stores.durable

    kept: dict[int, bool] = {}

    async def sign_up(number: int) -> None:
        account = make.account(f"crashed-{number}", profile={})
        unit = durable.unit()
        unit.add_account(account)
        unit.add_link(make.link(account))
        unit.append_receipt(make.receipt(account.id))
        try:
            await unit.commit()
        except StoreUnavailable:
            kept[number] = False
        else:
            kept[number] = True

    async def sign_ups(first: int) -> None:
        for number in range(first, first + 100):
            await sign_up(number)

    for attempt in range(10):  # whom the crash finds between two sign-ups is lucky; never everybody, ten times over
        going = [asyncio.create_task(sign_ups(1000 * attempt + 100 * person)) for person in range(4)]
        await asyncio.sleep(0.15)
        crash(server)
        server.launch()
        await asyncio.gather(*going)
        if set(kept.values()) == {True, False}:
            break
    assert set(kept.values()) == {True, False}
    for number, answered in kept.items():
        account = AccountId(f"crashed-{number}")
        there = (
            await durable.accounts.load(account) is not None,
            bool(await durable.accounts.links(account)),
            bool(await durable.ledger.receipts(account)),
        )
        assert there in ({(True,) * 3} if answered else {(True,) * 3, (False,) * 3}), account


async def test_a_read_only_database_writes_nothing_and_still_reads(url: str, stores: Stores) -> None:
    """(catalogue 162)"""
    account, _ = await kept_account(stores.durable)
    async with another_client(url) as admin:
        await admin.execute(f'ALTER DATABASE "{url.rsplit("/", 1)[1]}" SET default_transaction_read_only = on')
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doorward'"
        )
        await asyncio.sleep(0.1)
        unit = stores.durable.unit()
        unit.append_receipt(make.receipt(account.id))
        with pytest.raises(StoreUnavailable, match="25006"):
            await unit.commit()
        assert await stores.durable.accounts.load(account.id) == account
        assert await stores.durable.ledger.receipts(account.id) == ()
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute(f'ALTER DATABASE "{url.rsplit("/", 1)[1]}" RESET default_transaction_read_only')
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doorward'"
        )
    await asyncio.sleep(0.1)
    unit = stores.durable.unit()
    unit.append_receipt(make.receipt(account.id))
    await unit.commit()


async def test_a_lock_that_is_held_too_long_is_a_503_and_leaves_nothing(url: str, stores: Stores) -> None:
    """(catalogue 162)"""
    account, link = await kept_account(stores.durable)
    async with another_client(url) as other, other.transaction():
        await other.execute("SELECT * FROM accounts WHERE id = $1 FOR UPDATE", account.id)
        unit = stores.durable.unit()
        unit.append_receipt(make.receipt(account.id))
        unit.remove_link(account.id, link.id)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="55P03"):
            await unit.commit()
        assert time.monotonic() - begun < STATEMENT_TIMEOUT + 1
    assert await stores.durable.ledger.receipts(account.id) == ()
    assert await stores.durable.accounts.links(account.id) == (link,)


async def test_a_deadlock_costs_one_side_a_second_try_and_the_other_nothing(url: str, stores: Stores) -> None:
    """(catalogue 162)"""
    first, _ = await kept_account(stores.durable)
    second, _ = await kept_account(stores.durable)
    driver = stores.durable
    assert isinstance(driver, SqlDurable)
    async with another_client(url) as other:
        await other.execute("SET deadlock_timeout = '10s'")  # ours finds it first
        async with other.transaction():
            await other.execute("SELECT * FROM accounts WHERE id = $1 FOR UPDATE", second.id)
            unit = stores.durable.unit()
            unit.erase_account(first.id, NOW)
            unit.erase_account(second.id, NOW)
            erasing = asyncio.create_task(unit.commit())
            await asyncio.sleep(0.3)
            await other.execute("SELECT * FROM accounts WHERE id = $1 FOR UPDATE", first.id)
            assert not erasing.done(), "it was undone, and waits its turn"
            assert await other.fetchval("SELECT sealed IS NOT NULL FROM accounts WHERE id = $1", first.id)
        await erasing
    assert await stores.durable.accounts.load(first.id) is None
    assert await stores.durable.accounts.load(second.id) is None


async def test_a_family_waits_for_a_revocation_under_way_and_is_refused(url: str, stores: Stores) -> None:
    """(catalogue 20, 83)"""
    grant = await kept_grant(stores.durable)
    family = make.family(grant)
    unit = stores.durable.unit()
    unit.add_family(family)
    async with another_client(url) as other:
        async with other.transaction():
            await other.execute("UPDATE grants SET revoked_at = 1 WHERE id = $1", grant.id)
            adding = asyncio.create_task(unit.commit())
            await asyncio.sleep(0.2)
            assert not adding.done()
        with pytest.raises(Conflict, match="grant"):
            await adding
    assert await stores.durable.grants.load_family(family.id) is None


async def test_a_revocation_waits_for_a_family_under_way_and_reaches_it(url: str, stores: Stores) -> None:
    """(catalogue 20, 83)"""
    durable = stores.durable
    assert isinstance(durable, SqlDurable)
    grant = await kept_grant(durable)
    family = make.family(grant)
    added, go_on = threading.Event(), threading.Event()

    def slowly() -> Script[None]:
        yield Step(grants.ADD_FAMILY, grants.family_params(family), "rows", "grant")
        added.set()
        assert go_on.wait(5)

    def add_in_another_process() -> None:
        async def add() -> None:
            driver = PostgresDriver(url, size=1)
            await driver.run(slowly)
            await driver.close()

        asyncio.run(add())

    adding = asyncio.create_task(asyncio.to_thread(add_in_another_process))
    assert await asyncio.to_thread(added.wait, 5)
    unit = durable.unit()
    unit.revoke_grant(grant.id, NOW)
    revoking = asyncio.create_task(unit.commit())
    await asyncio.sleep(0.2)
    assert not revoking.done()
    go_on.set()
    await asyncio.gather(adding, revoking)
    assert (await durable.grants.load_family(family.id) or family).revoked_at == NOW


async def test_a_server_that_hangs_and_a_used_up_pool_are_each_a_503_in_time(url: str, stores: Stores) -> None:
    """(catalogue 162)"""
    driver = PostgresDriver(url, size=2)
    durable = SqlDurable(driver, stores.ring, FixedClock())
    async with another_client(url) as admin:
        before = await backends(admin)
        await asyncio.gather(durable.ping(), durable.ping())
        hanging = await backends(admin) - before
    assert len(hanging) == 2
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()

        async def waiting_for_an_answer() -> float:
            with pytest.raises(StoreUnavailable, match="TimeoutError"):
                await durable.ping()
            return time.monotonic() - begun

        async def waiting_for_a_connection() -> float:
            await asyncio.sleep(0.2)
            await all_come_to("StoreUnavailable", durable_probes(durable))
            return time.monotonic() - begun

        *answers, connections = await asyncio.gather(
            waiting_for_an_answer(), waiting_for_an_answer(), waiting_for_a_connection()
        )
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
    assert connections < min(answers) <= max(answers) < STATEMENT_TIMEOUT + 2
    assert connections < ACQUIRE_TIMEOUT + 1.5
    await all_come_to("answered", durable_probes(durable))
    await driver.close()


async def test_a_connection_whose_answer_nobody_waited_for_is_not_lent_again(url: str) -> None:
    """What it would answer next is the answer to another's question."""
    driver = PostgresDriver(url, size=1)
    async with another_client(url) as admin:
        before = await backends(admin)
        await driver.read(PING, {})
        (first,) = await backends(admin) - before
        os.kill(first, signal.SIGSTOP)
        try:
            asking = asyncio.create_task(driver.read(PING, {}))
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert [tuple(row) for row in await driver.read(PING, {})] == [(1,)]
        finally:
            os.kill(first, signal.SIGCONT)
        (second,) = await backends(admin) - before - {first}
    assert second != first
    await driver.close()


async def backends(admin: Any) -> set[int]:
    """The server's processes that serve us."""
    rows = await admin.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'doorward'")
    return {row[0] for row in rows}


async def test_a_transaction_that_breaks_half_way_gives_its_connection_back(url: str) -> None:
    driver = PostgresDriver(url, size=1)

    def script() -> Script[None]:
        yield Step(PING, {})
        raise Conflict("something")

    for _ in range(3):
        with pytest.raises(Conflict):
            await driver.run(script)
    assert await driver.read(PING, {})
    await driver.close()


async def test_a_cancelled_request_leaves_nothing_half_written(stores: Stores) -> None:
    """(catalogue 162)"""
    durable = stores.durable
    accounts = [make.account(f"cancelled-{number}", profile={}) for number in range(40)]

    async def sign_up(account: Account) -> None:
        unit = durable.unit()
        unit.append_receipt(make.receipt(account.id))
        unit.add_account(account)
        unit.add_link(make.link(account))
        await unit.commit()

    tasks = [asyncio.create_task(sign_up(account)) for account in accounts]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for account in accounts:
        there = (await durable.accounts.load(account.id), *await durable.accounts.links(account.id))
        receipts = await durable.ledger.receipts(account.id)
        assert (there[0] is None) == (len(there) == 1) == (receipts == ())


async def test_what_no_row_can_hold_is_not_found(stores: Stores) -> None:
    for impossible in ("\x00", "a\x00b", "\ud800", "x" * 100_000):
        assert await stores.durable.accounts.load(AccountId(impossible)) is None
        assert await stores.durable.postings.load(impossible) is None
        assert await stores.memory.transactions.load(impossible, NOW) is None
        assert await stores.memory.transactions.delete(impossible) is False
        assert await stores.durable.grants.rotate(impossible, 1, FORUM, NOW) is None
    assert await stores.durable.grants.rotate("family", 2**70, FORUM, NOW) is None
