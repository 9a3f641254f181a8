"""A process beside the test's: opens the stores it is told of, and does what it is told, line by line.

The test writes one JSON object a line and reads one back. `at` is a moment of the machine's steady clock to wait for, so
that several processes begin together.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from tests.support import builders as make
from tests.support.builders import FACEBOOK, FORUM, NOW, FixedClock

from broker.domain.grant import Rotated
from broker.domain.posting import PostState
from broker.domain.values import AccountId, GrantId, IdentityKey, Sid
from broker.errors import Conflict
from broker.stores import Stores, open_stores

MASTER_KEY = b"k" * 32
_added: list[str] = []


def unique(kind: str) -> str:
    """An id that no other process makes."""
    return f"{make.new_id(kind)}-of-{os.getpid()}"


async def redeem_code(stores: Stores, digest: str) -> object:
    return await stores.durable.grants.consume_code(bytes.fromhex(digest), NOW)


async def refresh(stores: Stores, family: str, generation: int) -> object:
    got = await stores.durable.grants.rotate(family, generation, FORUM, NOW)
    return "Retried" if isinstance(got, Rotated) and got.family.retried else got


async def delete_transaction(stores: Stores, transaction: str) -> object:
    return await stores.memory.transactions.delete(transaction)


async def move_posting(stores: Stores, posting: str) -> object:
    unit = stores.durable.unit()
    unit.move_posting(posting, expected=PostState.ASKED, state=PostState.SENDING, now=NOW)
    await unit.commit()
    return None


async def claim_tokens(stores: Stores, account: str) -> object:
    unit = stores.durable.unit()
    unit.claim_upstream_tokens(AccountId(account), FACEBOOK, since=NOW, given_up=NOW - timedelta(minutes=2))
    await unit.commit()
    return None


async def first_time(stores: Stores, key: str) -> object:
    return await stores.memory.replay.first_time(key, NOW + timedelta(seconds=60))


async def end_session(stores: Stores, sid: str) -> object:
    return await stores.memory.sessions.end(Sid(sid))


async def sign_up(stores: Stores, subject: str) -> object:
    account = make.account(unique("account"), profile={})
    unit = stores.durable.unit()
    unit.add_account(account)
    unit.add_link(
        make.link(account, id=f"link-{account.id}", key=IdentityKey(issuer="https://i.example", subject=subject))
    )
    await unit.commit()
    return None


async def hit(stores: Stores, key: str) -> object:
    return await stores.memory.limits.hit(key, limit=7, window=60, now=NOW) == 0


async def claim(stores: Stores) -> object:
    return " ".join(delivery.id for delivery in await stores.durable.outbox.claim(NOW, 3)) or None


async def add_family(stores: Stores, grant: str) -> object:
    family = make.family(make.grant(AccountId("somebody"), id=GrantId(grant)), id=unique("family"))
    unit = stores.durable.unit()
    unit.add_family(family)
    _added.append(family.id)
    await unit.commit()
    return None


async def refreshable(stores: Stores, grant: str) -> object:
    """How many families of those that `add_family` made can still be refreshed."""
    found = [await stores.durable.grants.load_family(family) for family in _added]
    return sum(family is not None and family.grant == grant and family.revoked_at is None for family in found)


OPERATIONS: dict[str, Callable[..., Awaitable[object]]] = {
    work.__name__: work
    for work in (
        redeem_code, refresh, delete_transaction, move_posting, claim_tokens, first_time, end_session, sign_up, hit, claim, add_family,
        refreshable,
    )
}  # fmt: skip


def in_words(outcome: object) -> Any:
    """What a taker got, fit for a line: texts, numbers and truths as they are, anything else by the name of its class."""
    if isinstance(outcome, Conflict):
        return f"Conflict {outcome.what}"
    if isinstance(outcome, BaseException):
        return f"{type(outcome).__name__}: {outcome}"
    return outcome if isinstance(outcome, str | int | bool | None) else type(outcome).__name__


async def work(stores: Stores, order: dict[str, Any]) -> list[Any]:
    """`takers` at once do `operation`."""
    await asyncio.sleep(max(0.0, order["at"] - time.monotonic()))
    operation = OPERATIONS[order["operation"]]
    takers = [operation(stores, *order["arguments"]) for _ in range(order["takers"])]
    return [in_words(outcome) for outcome in await asyncio.gather(*takers, return_exceptions=True)]


async def main(database_url: str, redis_url: str) -> None:
    stores = await open_stores(
        database_url=database_url, redis_url=redis_url or None, master_key=MASTER_KEY, clock=FixedClock()
    )
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await work(stores, json.loads(line))), flush=True)
    await stores.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
