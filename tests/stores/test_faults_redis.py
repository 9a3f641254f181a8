"""Redis away, restarted, silent, flushed, full, read-only: what must stop somebody stops everybody, and nothing durable goes."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contracts.stores import kept_account, kept_family, kept_grant
from tests.stores.probes import all_come_to, durable_probes, memory_probes, outcomes
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import FORUM, NOW, FixedClock
from tests.support.servers import RedisServer, running_redis

from broker.domain.grant import AlreadyRedeemed, Rotated
from broker.errors import StoreUnavailable
from broker.stores import Stores, open_stores
from broker.stores.redis_lines import TIMEOUT


@pytest.fixture(scope="module")
def _server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    """A server of this module's own, to stop and start: running, empty, with nothing switched on."""
    if _server.process is None or _server.process.poll() is not None:
        _server.start()
    _server.clear()
    return _server


@pytest.fixture
async def stores(server: RedisServer, tmp_path: Path) -> AsyncIterator[Stores]:
    """Browser memory in Redis, everything else in SQLite."""
    stores = await open_stores(
        database_url=f"sqlite:///{tmp_path / 'stores.db'}",
        redis_url=server.url,
        master_key=MASTER_KEY,
        clock=FixedClock(),
    )
    yield stores
    await stores.close()


def crash(server: RedisServer) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait(20)


async def test_without_redis_every_check_that_needs_it_fails_closed_and_records_are_still_read(
    server: RedisServer, stores: Stores
) -> None:
    """(catalogue 161)"""
    await all_come_to("answered", memory_probes(stores.memory))
    crash(server)
    begun = time.monotonic()
    await all_come_to("StoreUnavailable", memory_probes(stores.memory))
    assert time.monotonic() - begun < 5
    await all_come_to("answered", durable_probes(stores.durable))
    server.start()
    await all_come_to("answered", memory_probes(stores.memory))


async def test_a_redis_that_is_silent_is_a_redis_that_is_away(server: RedisServer, stores: Stores) -> None:
    """(catalogue 161)"""
    await all_come_to("answered", memory_probes(stores.memory))
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        await all_come_to("StoreUnavailable", memory_probes(stores.memory))
        waited = time.monotonic() - begun
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert waited < 4 * TIMEOUT, "one more try, and then a page that says so"
    await all_come_to("answered", memory_probes(stores.memory))


async def test_a_restart_of_redis_signs_people_out_and_loses_nothing_else(server: RedisServer, stores: Stores) -> None:
    """(catalogue 161)"""
    durable = stores.durable
    account, link = await kept_account(durable)
    grant, withdrawn = await kept_grant(durable, account.id), await kept_grant(durable, account.id)
    family = await kept_family(durable, grant)
    code, receipt = make.code(grant), make.receipt(account.id)
    unit = durable.unit()
    unit.add_code(code)
    unit.append_receipt(receipt)
    unit.append_disclosure(make.disclosure_row(grant))
    unit.revoke_grant(withdrawn.id, NOW)
    unit.revoke_access_token("token-1", NOW + timedelta(minutes=10))
    await unit.commit()
    await durable.grants.consume_code(code.digest, NOW)
    await durable.grants.rotate(family.id, family.generation, FORUM, NOW)
    session = make.session(account.id)
    await stores.memory.sessions.save(session)
    await stores.memory.transactions.save("begun", b"sealed", NOW + timedelta(minutes=30))
    assert await stores.memory.sessions.by_digest(session.secret_digest, NOW) == session

    crash(server)
    server.start()

    assert await stores.memory.sessions.by_digest(session.secret_digest, NOW) is None
    assert await stores.memory.sessions.of_account(account.id, NOW) == ()
    assert await stores.memory.transactions.load("begun", NOW) is None
    assert await durable.accounts.by_identity(link.key) == (account, link)
    assert await durable.ledger.receipts(account.id) == (receipt,)
    assert len(await durable.ledger.disclosures(account.id)) == 1
    assert await durable.grants.consume_code(code.digest, NOW) == AlreadyRedeemed(grant=grant.id)
    assert await durable.grants.load(withdrawn.id) == replace(withdrawn, revoked_at=NOW)
    assert await durable.grants.with_account(grant.id, "token-1") is None
    assert isinstance(await durable.grants.rotate(family.id, family.generation + 1, FORUM, NOW), Rotated)


async def test_an_emptied_redis_opens_no_door(server: RedisServer, stores: Stores) -> None:
    """(catalogue 161) Nobody is signed in, a transaction is not finished twice, and one that ended does not go on."""
    session = make.session(make.account().id)
    await stores.memory.sessions.save(session)
    await stores.memory.transactions.save("begun", b"sealed", NOW + timedelta(minutes=30))
    server.clear()
    assert await stores.memory.sessions.by_digest(session.secret_digest, NOW) is None
    assert await stores.memory.sessions.end(session.sid) is None
    assert await stores.memory.transactions.load("begun", NOW) is None
    assert await stores.memory.transactions.delete("begun") is False


async def test_scripts_that_a_restarted_redis_has_forgotten_are_sent_again(server: RedisServer, stores: Stores) -> None:
    """(catalogue 161)"""
    session = make.session(make.account().id)
    await stores.memory.sessions.save(session)
    server.say("SCRIPT", "FLUSH")
    assert await stores.memory.sessions.end(session.sid) == session
    server.say("SCRIPT", "FLUSH")
    got = await asyncio.gather(*(stores.memory.limits.hit("key", limit=3, window=60, now=NOW) for _ in range(20)))
    assert got.count(0) == 3


async def test_a_redis_that_is_full_or_read_only_refuses_what_it_cannot_remember(
    server: RedisServer, stores: Stores
) -> None:
    """(catalogue 161)"""
    session = make.session(make.account().id)
    await stores.memory.sessions.save(session)
    writing = {"transactions.save", "sessions.save", "replay.first_time", "limits.hit"}
    for on, off in (
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ):
        server.say(*on)
        try:
            found = await outcomes(memory_probes(stores.memory))
            assert {name for name in writing if found[name] != "StoreUnavailable"} == set(), on
            assert found["sessions.by_digest"] == "answered"
            assert await stores.memory.sessions.by_digest(session.secret_digest, NOW) == session
        finally:
            server.say(*off)
        await all_come_to("answered", memory_probes(stores.memory))


async def test_a_hundred_requests_on_a_redis_that_is_away_are_no_storm(server: RedisServer, stores: Stores) -> None:
    """(catalogue 161)"""
    crash(server)
    begun = time.monotonic()
    got = await asyncio.gather(
        *(stores.memory.sessions.by_digest(b"none", NOW) for _ in range(100)), return_exceptions=True
    )
    assert {type(outcome) for outcome in got} == {StoreUnavailable}
    assert time.monotonic() - begun < 5


async def test_everything_in_redis_ends_by_itself(server: RedisServer, stores: Stores) -> None:
    """(catalogue 186)"""
    session = make.session(make.account().id)
    await stores.memory.sessions.save(session)
    await stores.memory.sessions.end(session.sid)
    await stores.memory.sessions.save(make.session(session.account))
    await stores.memory.transactions.save("begun", b"sealed", NOW + timedelta(minutes=30))
    await stores.memory.replay.first_time("seen", NOW + timedelta(minutes=1))
    await stores.memory.limits.hit("key", limit=1, window=60, now=NOW)
    keys = [name for name in server.say("KEYS", "*").split(b"\r\n") if name.startswith(b"dw:")]
    assert len(keys) == 7
    for key in keys:
        life = int(server.say("PTTL", key.decode()).strip().removeprefix(b":"))
        assert 0 < life <= timedelta(days=14) / timedelta(milliseconds=1), key[:5]
