"""A process that is killed: it gets as far as it is told, says so, and waits for the end."""

from __future__ import annotations

import asyncio
import sys
import time

from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import NOW, FixedClock

from broker.domain.values import IdentityKey
from broker.stores import Stores, open_stores
from broker.stores.sql import accounts, ledger
from broker.stores.sql.durable import SqlDurable
from broker.stores.sql.statements import Script, Step


def say(*words: str) -> None:
    print(*words, flush=True)


def for_ever() -> None:
    """In the middle of whatever this thread was doing."""
    while True:
        time.sleep(60)


async def half_a_sign_up(stores: Stores, account_id: str) -> None:
    """Account and receipt are written, the link is not, and nothing is committed."""
    durable = stores.durable
    assert isinstance(durable, SqlDurable)
    account = make.account(account_id)

    def script() -> Script[None]:
        yield Step(accounts.ADD, accounts.account_params(account, durable.ring))
        yield Step(ledger.APPEND_RECEIPT, ledger.receipt_params(make.receipt(account.id)))
        say("half")
        for_ever()

    await durable.driver.run(script)


async def burnt_code(stores: Stores, digest: str) -> None:
    """The code is used up; the tokens were never stored."""
    await stores.durable.grants.consume_code(bytes.fromhex(digest), NOW)
    say("burnt")
    for_ever()


async def many_sign_ups(stores: Stores, prefix: str) -> None:
    """Sign-ups as fast as can be, four at a time; each says its name when it is committed."""

    async def one(number: int) -> None:
        account = make.account(f"{prefix}-{number}", profile={})
        grant = make.grant(account.id, id=f"grant-of-{account.id}")
        unit = stores.durable.unit()
        unit.append_receipt(make.receipt(account.id, id=f"receipt-of-{account.id}"))
        unit.add_account(account)
        unit.add_link(make.link(account, id=f"link-of-{account.id}", key=IdentityKey(issuer="i", subject=account.id)))
        unit.add_grant(grant)
        unit.add_family(make.family(grant, id=f"family-of-{account.id}"))
        unit.append_disclosure(make.disclosure_row(grant))
        unit.enqueue(make.delivery(id=f"delivery-of-{account.id}", payload={"account": account.id}))
        await unit.commit()
        say(str(account.id))

    number = 0
    while True:
        await asyncio.gather(*(one(number + offset) for offset in range(4)))
        number += 4


async def main(database_url: str, work: str, argument: str) -> None:
    stores = await open_stores(
        database_url=database_url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock(), migrate=False
    )
    await {"half_a_sign_up": half_a_sign_up, "burnt_code": burnt_code, "many_sign_ups": many_sign_ups}[work](
        stores, argument
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
