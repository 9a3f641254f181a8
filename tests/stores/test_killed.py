"""A process that is killed at the worst moment leaves nothing half-written, and holds nobody up."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from tests.contracts.stores import kept_account, kept_grant
from tests.stores.processes import said, start
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import NOW, FixedClock

from broker.domain.grant import AlreadyRedeemed
from broker.domain.values import AccountId, GrantId, IdentityKey
from broker.stores import Stores, open_stores

ENOUGH = 24
"""Sign-ups to wait for before the kill."""


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    stores = await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    yield stores
    await stores.close()


@contextmanager
def doomed(url: str, work: str, argument: str) -> Iterator[subprocess.Popen[str]]:
    """A process at work; killed with SIGKILL when the block ends, if not before."""
    process = start("tests.stores.doomed", url, work, argument)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


async def test_a_process_killed_in_the_middle_of_a_unit_leaves_nothing_of_it(url: str, stores: Stores) -> None:
    """(catalogue 164)"""
    account = AccountId("half-made")
    with doomed(url, "half_a_sign_up", account) as process:
        assert await asyncio.to_thread(said, process) == "half"
        assert await stores.durable.accounts.load(account) is None
    assert await stores.durable.accounts.load(account) is None
    assert await stores.durable.ledger.receipts(account) == ()
    whole = make.account(account)
    link = make.link(whole)
    unit = stores.durable.unit()
    unit.add_account(whole)
    unit.add_link(link)
    await unit.commit()
    assert await stores.durable.accounts.by_identity(link.key) == (whole, link)


async def test_a_code_used_up_by_a_process_that_was_killed_is_dead_and_led_to_nothing(url: str, stores: Stores) -> None:
    """(catalogue 163)"""
    account, _ = await kept_account(stores.durable)
    grant = await kept_grant(stores.durable, account.id)
    code = make.code(grant)
    unit = stores.durable.unit()
    unit.add_code(code)
    await unit.commit()
    with doomed(url, "burnt_code", code.digest.hex()) as process:
        assert await asyncio.to_thread(said, process) == "burnt"
    again = await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    try:
        assert await again.durable.grants.consume_code(code.digest, NOW) == AlreadyRedeemed(grant=grant.id)
        assert await again.durable.ledger.disclosures(account.id) == ()
        assert await again.durable.grants.load(grant.id) == grant
    finally:
        await again.close()


async def test_of_sign_ups_under_way_at_a_kill_each_is_whole_or_not_there(url: str, stores: Stores) -> None:
    """(catalogue 163, 164)"""
    with doomed(url, "many_sign_ups", "racing") as process:
        acknowledged = [await asyncio.to_thread(said, process) for _ in range(ENOUGH)]
        process.kill()
        assert process.stdout is not None
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    await asyncio.sleep(0.2)  # PostgreSQL hears of the death from the closed connection
    for number in range(len(acknowledged) + 8):
        account = AccountId(f"racing-{number}")
        parts = await parts_of(stores, account)
        if str(account) in acknowledged:
            assert parts == WHOLE, f"{account} was said to be kept"
        else:
            assert parts in (WHOLE, frozenset()), f"{account} is half there"


WHOLE = frozenset({"account", "link", "receipt", "grant", "family", "disclosure", "delivery"})


async def parts_of(stores: Stores, account: AccountId) -> frozenset[str]:
    """What is there of one sign-up."""
    durable = stores.durable
    found = {
        "account": await durable.accounts.load(account),
        "link": await durable.accounts.by_identity(IdentityKey(issuer="i", subject=account)),
        "receipt": await durable.ledger.receipts(account),
        "grant": await durable.grants.load(GrantId(f"grant-of-{account}")),
        "family": await durable.grants.load_family(f"family-of-{account}"),
        "disclosure": await durable.ledger.disclosures(account),
        "delivery": await durable.outbox.pending("account", account),
    }
    return frozenset(name for name, value in found.items() if value)
