"""SQLite locked, full, read-only, damaged: 503, nothing half done, and then on again."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.stores import kept_account, kept_grant
from tests.stores.probes import Probe, all_come_to, durable_probes, memory_probes, outcomes
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import NOW, FixedClock

from broker.domain.values import AccountId
from broker.errors import Conflict, StoreUnavailable
from broker.stores import Stores, open_stores
from broker.stores.sql.browser import SqlBrowserMemory
from broker.stores.sql.drivers.sqlite import SqliteDriver
from broker.stores.sql.durable import SqlDurable
from broker.stores.sql.statements import PING, Script, Step

READINGS = frozenset(
    {
        "accounts.load", "accounts.links", "accounts.by_identity", "accounts.is_user_name_free", "accounts.with_receipts",
        "ledger.receipts", "ledger.disclosures", "grants.load", "grants.with_account", "grants.of_account",
        "grants.load_family", "postings.load", "postings.recent", "vault.open", "vault.holds", "outbox.claim",
        "outbox.pending", "outbox.traces", "outbox.failing", "removals.load", "removals.waiting", "keys.all", "ping",
        "staff.all", "staff.role", "streams.load", "streams.is_removed", "audit.last", "audit.entries", "accounts.by_email",
        "failures.newest", "failures.load",
        "registrations.invitation", "registrations.invitations", "registrations.load", "registrations.after",
        "logos.load", "logos.after", "logos.shown",
    }
)  # fmt: skip
"""What a writer elsewhere never holds up. Claiming looks first, and there is nothing to claim."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stores.db"


@pytest.fixture
async def stores(path: Path) -> AsyncIterator[Stores]:
    stores = await open_stores(
        database_url=f"sqlite:///{path}", redis_url=None, master_key=MASTER_KEY, clock=FixedClock()
    )
    yield stores
    await stores.close()


@pytest.fixture
async def impatient(path: Path, stores: Stores) -> AsyncIterator[SqlDurable]:
    """The same file through a driver that waits a tenth of a second for others' locks."""
    driver = SqliteDriver(str(path), busy_timeout=0.1)
    yield SqlDurable(driver, stores.ring, FixedClock())
    await driver.close()


async def test_while_another_process_writes_readers_read_and_writers_get_a_503_in_time(
    path: Path, impatient: SqlDurable
) -> None:
    """(catalogue 162)"""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    found = await outcomes(durable_probes(impatient))
    assert time.monotonic() - begun < 5
    assert {name for name, outcome in found.items() if outcome == "answered"} == READINGS
    assert set(found.values()) == {"answered", "StoreUnavailable"}
    other.execute("ROLLBACK")
    other.close()
    await all_come_to("answered", durable_probes(impatient))


async def test_a_lock_of_a_moment_is_waited_for(path: Path, stores: Stores) -> None:
    account, _ = await kept_account(stores.durable)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    unit = stores.durable.unit()
    unit.append_receipt(make.receipt(account.id))
    committing = asyncio.create_task(unit.commit())
    await asyncio.sleep(0.3)
    assert not committing.done()
    other.execute("COMMIT")
    await committing
    other.close()


def fill_up(driver: SqliteDriver) -> Callable[[], object]:
    """Makes the disk full for this driver; gives back how to make room."""
    used = driver._writer.execute("PRAGMA page_count").fetchone()[0]
    driver._writer.execute(f"PRAGMA max_page_count={used}")
    return lambda: driver._writer.execute("PRAGMA max_page_count=1000000")


async def test_a_full_disk_is_a_503_undoes_the_unit_and_is_over_when_there_is_room(stores: Stores) -> None:
    """(catalogue 162)"""
    durable = stores.durable
    assert isinstance(durable, SqlDurable)
    assert isinstance(durable.driver, SqliteDriver)
    account, link = await kept_account(durable)
    make_room = fill_up(durable.driver)

    async def much(number: int) -> None:
        unit = durable.unit()
        unit.append_receipt(make.receipt(account.id, locale="x" * 20_000))
        unit.touch_link(link.id, NOW)
        await unit.commit()

    got = await asyncio.gather(*(much(number) for number in range(5)), return_exceptions=True)
    assert {type(outcome) for outcome in got} == {StoreUnavailable}
    assert await durable.ledger.receipts(account.id) == ()
    assert await durable.accounts.links(account.id) == (link,)
    make_room()
    await much(6)
    assert len(await durable.ledger.receipts(account.id)) == 1


async def test_a_read_only_database_writes_nothing_and_still_reads(stores: Stores) -> None:
    """(catalogue 162)"""
    durable = stores.durable
    assert isinstance(durable, SqlDurable)
    assert isinstance(durable.driver, SqliteDriver)
    account, _ = await kept_account(durable)
    durable.driver._writer.execute("PRAGMA query_only=ON")
    unit = durable.unit()
    unit.append_receipt(make.receipt(account.id))
    with pytest.raises(StoreUnavailable, match="READONLY"):
        await unit.commit()
    assert await durable.accounts.load(account.id) == account
    durable.driver._writer.execute("PRAGMA query_only=OFF")
    assert await durable.ledger.receipts(account.id) == ()


async def test_units_that_share_a_commit_fail_alone(stores: Stores) -> None:
    """(catalogue 162)"""
    durable = stores.durable
    account, link = await kept_account(durable)
    received = [make.receipt(account.id) for _ in range(30)]

    async def unit_of(number: int) -> None:
        unit = durable.unit()
        unit.append_receipt(received[number])
        if number % 3 == 0:
            unit.add_link(make.link(account, key=link.key))
        await unit.commit()

    got = await asyncio.gather(*(unit_of(number) for number in range(30)), return_exceptions=True)
    assert [isinstance(outcome, Conflict) for outcome in got] == [number % 3 == 0 for number in range(30)]
    kept = {receipt.id for receipt in await durable.ledger.receipts(account.id)}
    assert kept == {receipt.id for number, receipt in enumerate(received) if number % 3}


async def test_a_step_that_breaks_in_an_unexpected_way_is_told_to_its_own_unit_only(stores: Stores) -> None:
    durable = stores.durable
    assert isinstance(durable, SqlDurable)

    def broken() -> Script[None]:
        yield Step(PING, {})
        msg = "a bug"
        raise LookupError(msg)

    account = make.account()
    unit = durable.unit()
    unit.add_account(account)
    broke, kept = await asyncio.gather(
        durable.driver.run(broken),
        unit.commit(),
        return_exceptions=True,
    )
    assert isinstance(broke, LookupError)
    assert kept is None
    assert await durable.accounts.load(account.id) == account


async def test_a_cancelled_request_leaves_a_whole_unit_or_none_and_holds_up_nobody(stores: Stores) -> None:
    """(catalogue 162)"""
    durable = stores.durable
    accounts = [make.account() for _ in range(40)]

    async def sign_up(number: int) -> None:
        unit = durable.unit()
        unit.add_account(accounts[number])
        unit.add_link(make.link(accounts[number]))
        await unit.commit()

    tasks = [asyncio.create_task(sign_up(number)) for number in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await durable.accounts.load(accounts[0].id)
    await durable.outbox.done("the writer has come past all of them")
    for number, account in enumerate(accounts):
        there = await durable.accounts.load(account.id)
        assert (there is None) == (await durable.accounts.links(account.id) == ())
        assert there == account or number % 2 == 0


async def test_what_is_in_the_file_is_for_its_owner_only(path: Path, stores: Stores) -> None:
    """(catalogue 168)"""
    await kept_account(stores.durable)
    files = list(path.parent.glob("stores.db*"))
    assert {file.name for file in files} == {"stores.db", "stores.db-wal", "stores.db-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_damaged_record_is_a_503_and_never_another_error(path: Path, stores: Stores) -> None:
    """(catalogue 162)"""
    durable = stores.durable
    account, link = await kept_account(durable)
    grant = await kept_grant(durable, account.id)
    posting, delivery, session = make.posting(account.id), make.delivery(), make.session(account.id)
    unit = durable.unit()
    unit.add_posting(posting)
    unit.enqueue(delivery)
    await unit.commit()
    await stores.memory.sessions.save(session)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE grants SET body = substr(body, 1, 20)")
        for table in ("accounts", "links", "postings", "deliveries", "sessions"):
            other.execute(f"UPDATE {table} SET sealed = substr(sealed, 1, length(sealed) - 1) || x'00'")
    other.close()
    await all_come_to(
        "StoreUnavailable",
        {
            "account": lambda: durable.accounts.load(account.id),
            "link": lambda: durable.accounts.by_identity(link.key),
            "links": lambda: durable.accounts.links(account.id),
            "grant": lambda: durable.grants.load(grant.id),
            "grants": lambda: durable.grants.of_account(account.id),
            "posting": lambda: durable.postings.load(posting.id),
            "delivery": lambda: durable.outbox.pending("sub", "pairwise-1"),
            "session": lambda: stores.memory.sessions.by_digest(session.secret_digest, NOW),
        },
    )


async def test_a_damaged_delivery_is_given_up_and_holds_back_no_other(path: Path, stores: Stores) -> None:
    damaged, whole = make.delivery(), make.delivery()
    unit = stores.durable.unit()
    unit.enqueue(damaged)
    unit.enqueue(whole)
    await unit.commit()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE deliveries SET sealed = x'00' WHERE id = ?", [damaged.id])
    other.close()
    assert await stores.durable.outbox.claim(NOW, 10) == (whole,)
    with sqlite3.connect(path) as other:
        found = other.execute("SELECT given_up, last_error FROM deliveries WHERE id = ?", [damaged.id]).fetchall()
    other.close()
    assert found == [(1, "does not open")]


async def test_what_must_outlive_a_power_cut_is_on_disk_before_it_is_answered(stores: Stores) -> None:
    """Browser memory need not: a power cut signs somebody out at worst."""
    durable = stores.durable
    assert isinstance(durable, SqlDurable)
    assert isinstance(durable.driver, SqliteDriver)
    writer = durable.driver._writer
    normal, full = [(1,)], [(2,)]

    async def synchronous_after(probe: Probe) -> list[Any]:
        await probe()
        return writer.execute("PRAGMA synchronous").fetchall()

    lasting = {
        "grants.consume_code",
        "grants.rotate",
        "outbox.done",
        "keys.add",
        "unit of one step",
        "unit of many steps",
    }
    for name, probe in durable_probes(durable).items():
        if name in lasting:
            await stores.memory.transactions.delete("none")
            assert await synchronous_after(probe) == full, name
    for name, probe in memory_probes(stores.memory).items():
        if name.endswith(("save", "delete", "first_time", "hit")):
            await durable.outbox.done("none")
            assert await synchronous_after(probe) == normal, name


async def test_one_that_must_last_makes_the_whole_commit_last(stores: Stores) -> None:
    durable = stores.durable
    assert isinstance(durable, SqlDurable)
    assert isinstance(durable.driver, SqliteDriver)
    await stores.memory.transactions.delete("none")
    await asyncio.gather(*(stores.memory.transactions.delete("none") for _ in range(20)), durable.outbox.done("none"))
    assert durable.driver._writer.execute("PRAGMA synchronous").fetchall() == [(2,)]


async def test_a_closed_store_is_a_503(stores: Stores) -> None:
    await stores.close()
    unit = stores.durable.unit()
    unit.append_receipt(make.receipt(AccountId("late")))
    with pytest.raises(StoreUnavailable):
        await unit.commit()
    with pytest.raises(StoreUnavailable):
        await stores.durable.accounts.load(AccountId("late"))


async def test_what_no_row_can_hold_is_not_found(stores: Stores) -> None:
    assert isinstance(stores.memory, SqlBrowserMemory)
    for impossible in ("\x00", "a\x00b", "\ud800", "x" * 100_000):
        assert await stores.durable.accounts.load(AccountId(impossible)) is None
        assert await stores.memory.transactions.load(impossible, NOW) is None
        assert await stores.memory.transactions.delete(impossible) is False
        assert await stores.durable.grants.rotate(impossible, 2**70, make.FORUM, NOW) is None


async def test_browser_memory_in_the_same_file_answers_and_fails_with_it(path: Path, impatient: SqlDurable) -> None:
    """(catalogue 161)"""
    memory = SqlBrowserMemory(impatient.driver, impatient.ring, FixedClock())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    found = await outcomes(memory_probes(memory))
    assert found["replay.first_time"] == found["limits.hit"] == "StoreUnavailable", (
        "what must stop somebody fails closed"
    )
    assert found["sessions.by_digest"] == "answered"
    other.execute("ROLLBACK")
    other.close()
    await all_come_to("answered", memory_probes(memory))
