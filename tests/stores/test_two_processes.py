"""Twenty takers in two processes: one wins, on every store that several processes can share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from tests.contracts.stores import kept_account, kept_family, kept_grant
from tests.stores.processes import BEGIN_TOGETHER, Workers, workers
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import FACEBOOK, NOW, FixedClock
from tests.support.servers import PostgresServer, RedisServer

from broker.domain.grant import AlreadyRedeemed
from broker.domain.values import AccountId, IdentityKey
from broker.stores import Stores, open_stores
from broker.stores.sql.schema import migrate


@dataclass(frozen=True, slots=True)
class Shared:
    """Where the processes' stores are, and the processes."""

    database_url: str
    redis_url: str | None
    processes: Workers


def shared_by_two(url: str, redis_url: str | None = None) -> Iterator[Shared]:
    asyncio.run(migrate(url))
    with workers(url, redis_url) as processes:
        yield Shared(url, redis_url, processes)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    yield from shared_by_two(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'stores.db'}")


@pytest.fixture(scope="module")
def on_postgresql(postgres_server: PostgresServer) -> Iterator[Shared]:
    url = postgres_server.create()
    yield from shared_by_two(url)
    postgres_server.drop(url)


@pytest.fixture(scope="module")
def on_redis(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Shared]:
    """Browser memory in Redis; the keys that seal it come from one database, as in production."""
    yield from shared_by_two(f"sqlite:///{tmp_path_factory.mktemp('redis') / 'stores.db'}", redis_server.url)
    redis_server.clear()


@pytest.fixture(params=["on_sqlite", "on_postgresql"])
def durably(request: pytest.FixtureRequest) -> Shared:
    """Two processes on each durable store."""
    shared: Shared = request.getfixturevalue(request.param)
    return shared


@pytest.fixture(params=["on_sqlite", "on_postgresql", "on_redis"])
def remembering(request: pytest.FixtureRequest) -> Shared:
    """Two processes on each browser memory."""
    shared: Shared = request.getfixturevalue(request.param)
    return shared


@asynccontextmanager
async def opened(shared: Shared) -> AsyncIterator[Stores]:
    """The same stores in this process."""
    stores = await open_stores(
        database_url=shared.database_url, redis_url=shared.redis_url, master_key=MASTER_KEY, clock=FixedClock()
    )
    try:
        yield stores
    finally:
        await stores.close()


async def test_one_of_twenty_takers_of_a_code_in_two_processes_redeems_it(durably: Shared) -> None:
    """(catalogue 21)"""
    async with opened(durably) as stores:
        grant = await kept_grant(stores.durable)
        code = make.code(grant)
        unit = stores.durable.unit()
        unit.add_code(code)
        await unit.commit()
        got = durably.processes.do("redeem_code", code.digest.hex())
        assert sorted(got) == ["AlreadyRedeemed"] * 19 + ["Redeemed"]
        assert await stores.durable.grants.consume_code(code.digest, NOW) == AlreadyRedeemed(grant=grant.id)


async def test_one_of_twenty_refreshes_in_two_processes_steps_the_family(durably: Shared) -> None:
    """(catalogue 88) One steps, one is the allowed retry, the third shows the reuse, and all others find it dead."""
    async with opened(durably) as stores:
        grant = await kept_grant(stores.durable)
        family = await kept_family(stores.durable, grant)
        got = durably.processes.do("refresh", family.id, family.generation)
        assert sorted(got, key=str) == [None] * 17 + ["Retried", "Reused", "Rotated"]
        after = await stores.durable.grants.load_family(family.id)
        assert after is not None
        assert (after.generation, after.revoked_at) == (family.generation + 1, NOW)
        assert (await stores.durable.grants.load(grant.id) or grant).revoked_at == NOW


async def test_no_family_grows_in_another_process_on_a_grant_that_is_being_revoked(durably: Shared) -> None:
    """(catalogue 20, 83)"""
    async with opened(durably) as stores:
        grant = await kept_grant(stores.durable)
        families = asyncio.to_thread(durably.processes.do, "add_family", grant.id)
        revoking = stores.durable.unit()
        revoking.revoke_grant(grant.id, NOW)

        async def revoke() -> None:
            await asyncio.sleep(BEGIN_TOGETHER)
            await revoking.commit()

        got, _ = await asyncio.gather(families, revoke())
        assert set(got) <= {None, "Conflict grant"}
        assert durably.processes.do("refreshable", grant.id, takers=2) == [0, 0]


async def test_one_of_twenty_movers_in_two_processes_moves_the_posting(durably: Shared) -> None:
    """(catalogue 192)"""
    async with opened(durably) as stores:
        account, _ = await kept_account(stores.durable)
        posting = make.posting(account.id)
        unit = stores.durable.unit()
        unit.add_posting(posting)
        await unit.commit()
        got = durably.processes.do("move_posting", posting.id)
        assert sorted(got, key=str) == ["Conflict posting"] * 19 + [None]


async def test_one_of_twenty_in_two_processes_renews_the_tokens(durably: Shared) -> None:
    """A refresh token that comes twice ends the grant at most providers (RFC 9700 §2.2.2)."""
    async with opened(durably) as stores:
        account, _ = await kept_account(stores.durable)
        unit = stores.durable.unit()
        unit.save_upstream_tokens(account.id, FACEBOOK, make.upstream_tokens())
        await unit.commit()
        got = durably.processes.do("claim_tokens", account.id)
        assert sorted(got, key=str) == ["Conflict tokens"] * 19 + [None]


async def test_twenty_first_sign_ins_of_one_person_in_two_processes_make_one_account(durably: Shared) -> None:
    """(catalogue 176)"""
    subject = make.new_id("subject")
    got = durably.processes.do("sign_up", subject)
    assert sorted(got, key=str) == ["Conflict link"] * 19 + [None]
    async with opened(durably) as stores:
        found = await stores.durable.accounts.by_identity(IdentityKey(issuer="https://i.example", subject=subject))
        assert found is not None
        account, link = found
        assert await stores.durable.accounts.links(account.id) == (link,)


async def test_a_delivery_is_claimed_by_one_of_two_processes(durably: Shared) -> None:
    async with opened(durably) as stores:
        unit = stores.durable.unit()
        waiting = [make.delivery() for _ in range(40)]
        for delivery in waiting:
            unit.enqueue(delivery)
        await unit.commit()
        got = durably.processes.do("claim")
        claimed = [delivery for some in got if some for delivery in some.split()]
        assert len(claimed) == len(set(claimed)) > 0
        rest = [delivery.id for delivery in await stores.durable.outbox.claim(NOW, 40)]
        assert sorted(claimed + rest) == sorted(delivery.id for delivery in waiting)
        for delivery in waiting:
            await stores.durable.outbox.done(delivery.id)


async def test_one_of_twenty_takers_of_a_transaction_in_two_processes_gets_it(remembering: Shared) -> None:
    async with opened(remembering) as stores:
        transaction = make.new_id("transaction")
        await stores.memory.transactions.save(transaction, b"sealed", NOW + timedelta(minutes=30))
        got = remembering.processes.do("delete_transaction", transaction)
        assert sorted(got) == [False] * 19 + [True]
        assert await stores.memory.transactions.load(transaction, NOW) is None


async def test_one_of_twenty_sees_a_key_for_the_first_time_in_two_processes(remembering: Shared) -> None:
    got = remembering.processes.do("first_time", make.new_id("state"))
    assert sorted(got) == [False] * 19 + [True]


async def test_one_of_twenty_enders_in_two_processes_gets_the_session(remembering: Shared) -> None:
    """(catalogue 84)"""
    async with opened(remembering) as stores:
        session = make.session(AccountId(make.new_id("account")))
        await stores.memory.sessions.save(session)
        got = remembering.processes.do("end_session", session.sid)
        assert sorted(got, key=str) == [None] * 19 + ["Session"]
        await stores.memory.sessions.save(session)
        assert await stores.memory.sessions.by_digest(session.secret_digest, NOW) is None


async def test_tries_in_two_processes_are_counted_together(remembering: Shared) -> None:
    got = remembering.processes.do("hit", make.new_id("limit"))
    assert got.count(True) == 7
