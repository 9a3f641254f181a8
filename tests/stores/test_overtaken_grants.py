"""What one connection writes while another one ends what it hangs on: a grant ends, too, or never leaves."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from tests.flows.op import FORUM, Op
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import FACEBOOK, NOW

from broker.domain.account import KeptNumber
from broker.domain.consent import Purpose, standing
from broker.domain.ports import Durable, UnitOfWork
from broker.domain.session import Session
from broker.domain.taking_back import TAKE_BACK, payload_of, payloads_ending
from broker.domain.values import AccountId
from broker.errors import Conflict
from broker.flows.answers import Answer
from broker.stores import open_stores

Change = Callable[[Op, Durable, Session], Awaitable[UnitOfWork]]
LONG_ENOUGH = 0.15
"""Seconds in which whoever waits for nobody is done."""


@asynccontextmanager
async def two_connections(url: str) -> AsyncIterator[tuple[Op, Durable]]:
    """A provider on one connection, and another process's way into the same database."""
    op = Op()
    mine, others = [
        await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=op.clock) for _ in range(2)
    ]
    op.durable = mine.durable  # type: ignore[assignment]
    op.authorize = replace(op.authorize, durable=mine.durable)
    try:
        yield op, others.durable
    finally:
        await mine.close()
        await others.close()


@asynccontextmanager
async def held_up(url: str, account: AccountId) -> AsyncIterator[None]:
    """Whoever changes this account is held up; on SQLite, whoever writes anything."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
            file.execute("COMMIT")
        return
    connection: Any = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT id FROM accounts WHERE id = $1 FOR UPDATE", account)
            yield
    finally:
        await connection.close()


async def overtake(url: str, change: Change) -> Answer | BaseException:
    """The change is under way on one connection, and held up before its end; meanwhile the other one issues a code.

    Nothing lives on then that the site could not have been given afterwards. On SQLite, which has one writer, either of the
    two may be the first.
    """
    async with two_connections(url) as (op, others):
        ana, last = await op.person("ana"), await op.person("last")
        await op.share(ana)
        situation = await op.look(ana)
        unit = await change(op, others, ana)
        loaded = await others.accounts.load(last.account)
        assert loaded is not None
        unit.save_account(loaded)
        async with held_up(url, last.account):
            changing = asyncio.ensure_future(unit.commit())
            await asyncio.sleep(LONG_ENOUGH)
            issuing = asyncio.ensure_future(op.authorize.issue(situation))
            await asyncio.wait([issuing], timeout=LONG_ENOUGH)
            assert not changing.done()
        await changing
        (answer,) = await asyncio.gather(issuing, return_exceptions=True)
        living = await others.grants.of_account(ana.account)
        receipts = await others.ledger.receipts(ana.account, Purpose.SHARE_WITH_CLIENT, FORUM)
        account = await others.accounts.load(ana.account)
    number = account.number_at(op.clients[FORUM].subject_sector) if account is not None else None
    assert [one for one in living if one.number_of != number] == []
    assert living == () or standing(receipts).receipt is not None
    return answer


async def merged(op: Op, others: Durable, ana: Session) -> UnitOfWork:
    """What a merge does to the account that stays, where it goes by the other's number from now on."""
    account = await others.accounts.load(ana.account)
    assert account is not None
    kept = {op.clients[FORUM].subject_sector: KeptNumber(of=AccountId("gone"), sites=(FORUM,))}
    unit = others.unit()
    unit.save_account(account)
    unit.revoke_grants(account.id, NOW, client=FORUM)
    unit.save_account(replace(account, kept_numbers=kept, version=account.version + 1))
    return unit


async def withdrawn(op: Op, others: Durable, ana: Session) -> UnitOfWork:
    """What taking a site's connection away does."""
    (receipt,) = await others.ledger.receipts(ana.account, Purpose.SHARE_WITH_CLIENT, FORUM)
    unit = others.unit()
    op.ledger.withdraw(unit, receipt, sid=ana.sid, locale="en", notice_version="")
    unit.revoke_grants(ana.account, NOW, client=FORUM)
    return unit


async def erased(_op: Op, others: Durable, ana: Session) -> UnitOfWork:
    """What becomes of the account that goes."""
    unit = others.unit()
    unit.revoke_grants(ana.account, NOW)
    unit.erase_account(ana.account, NOW)
    return unit


@pytest.mark.parametrize("change", [merged, withdrawn], ids=["a merge", "a withdrawal"])
async def test_a_grant_does_not_outlive_what_ends_it_in_that_moment(url: str, change: Change) -> None:
    """Neither under the number from before, nor without a consent (catalogue 110)."""
    answer = await overtake(url, change)
    assert isinstance(answer, Answer)
    if url.startswith("postgresql"):
        assert answer.params["error"] == "consent_required"


async def test_nothing_is_granted_beside_the_end_of_an_account(url: str) -> None:
    answer = await overtake(url, erased)
    if url.startswith("postgresql"):
        assert isinstance(answer, Conflict)
        assert answer.what == "account"


async def test_a_token_that_is_being_given_back_and_comes_again_is_kept(url: str) -> None:
    """Turning posting off is under way on one connection, and on again on the other: what waits to go back is called off.

    Whichever of the two is the first, no token is on its way back that is in use.
    """
    async with two_connections(url) as (op, others):
        ana, last = await op.person("ana"), await op.person("last")
        tokens = make.upstream_tokens()
        unit = op.durable.unit()
        unit.save_upstream_tokens(ana.account, FACEBOOK, tokens)
        await unit.commit()
        off, on = others.unit(), op.durable.unit()
        off.drop_upstream_tokens(ana.account, FACEBOOK)
        off.enqueue(make.delivery(kind=TAKE_BACK, payload=payload_of(FACEBOOK, tokens)))
        off.revoke_grants(last.account, NOW)  # by itself, after the others
        on.save_upstream_tokens(ana.account, FACEBOOK, tokens)
        for payload in payloads_ending(FACEBOOK, tokens):
            on.call_off(TAKE_BACK, payload, NOW)
        async with held_up(url, last.account):
            ending = asyncio.ensure_future(off.commit())
            await asyncio.sleep(LONG_ENOUGH)
            beginning = asyncio.ensure_future(on.commit())
            await asyncio.wait([beginning], timeout=LONG_ENOUGH)
            assert not ending.done()
            assert not beginning.done()
        await asyncio.gather(ending, beginning)
        held = await others.vault.holds(ana.account, FACEBOOK)
        waits = await others.outbox.pending("access_token", tokens.access_token)
    assert held == (waits == ())
    assert held or url.startswith("sqlite")
