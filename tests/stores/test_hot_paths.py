"""How often the hot paths go to the database: a fixed number of round trips each, on both databases.

Every round trip costs 5 µs on SQLite for a read and 57 for a write, 53–69 on PostgreSQL, and four to eight times that
through SQLAlchemy's async execution (see `broker.stores.sql.statements`): what counts is how many there are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest
from tests.flows.op import FORUM, KIT, WIKI, Op, answered
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make

from broker.domain.account import KeptNumber
from broker.domain.ports import Durable
from broker.domain.session import Session
from broker.domain.tokens import subject_for
from broker.domain.values import AccountId, ClientId
from broker.errors import InvalidGrant, InvalidToken
from broker.flows.session import SessionFlow
from broker.hashing import digest
from broker.stores import Stores, open_stores
from broker.stores.sql.browser import SqlBrowserMemory
from broker.stores.sql.drivers import Driver
from broker.stores.sql.drivers.postgresql import _grouped
from broker.stores.sql.durable import SqlDurable
from broker.stores.sql.statements import Params, Row, Script, Statement, Step

T = TypeVar("T")
COOKIE = "secret of the browser"


class CountingDriver:
    """A driver that counts what goes through it to the real one."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.trips: list[str] = []

    async def read(self, statement: Statement, params: Params) -> Sequence[Row]:
        self.trips.append("read")
        return await self._driver.read(statement, params)

    async def write(self, statement: Statement, params: Params, *, lasting: bool = True) -> Sequence[Row]:
        self.trips.append("write" if lasting else "write that need not last")
        return await self._driver.write(statement, params, lasting=lasting)

    async def commit(self, steps: Sequence[Step]) -> None:
        groups = len(_grouped(steps))
        self.trips.append("unit" if groups == 1 else f"unit of {groups + 2} round trips")
        await self._driver.commit(steps)

    async def run(self, script: Callable[[], Script[T]], *, lasting: bool = True) -> T:
        self.trips.append("script")
        return await self._driver.run(script, lasting=lasting)

    async def close(self) -> None:
        await self._driver.close()


@dataclass
class Counted:
    """The flows of a provider on a real database, and what they ask of it."""

    op: Op
    driver: CountingDriver
    sessions: SessionFlow
    session: Session

    def trips(self) -> list[str]:
        """What happened since the last time."""
        found, self.driver.trips = self.driver.trips, []
        return found


@pytest.fixture
async def counted(url: str) -> AsyncIterator[Counted]:
    op = Op()
    stores: Stores = await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=op.clock)
    assert isinstance(stores.durable, SqlDurable)
    driver = CountingDriver(stores.durable.driver)
    durable: Durable = SqlDurable(driver, stores.ring, op.clock)
    memory = SqlBrowserMemory(driver, stores.ring, op.clock)
    op.durable = durable  # type: ignore[assignment]
    op.releaser = replace(op.releaser, durable=durable)
    op.authorize = replace(op.authorize, durable=durable, sessions=memory.sessions)
    op.exchange = replace(op.exchange, durable=durable, releaser=op.releaser)
    sessions = SessionFlow(
        durable=durable, sessions=memory.sessions, clients=op.clients, clock=op.clock, entropy=op.entropy
    )
    session = replace(await op.person("ana"), secret_digest=digest(COOKIE))
    await memory.sessions.save(session)
    for site in (FORUM, WIKI, KIT):
        await op.code(session, site)  # agreed to once
    counted = Counted(op, driver, sessions, session)
    counted.trips()
    yield counted
    await stores.close()


async def code_for(counted: Counted, site: ClientId = FORUM, **more: str) -> str:
    situation = await counted.op.look(counted.session, site, **more)
    answer = await counted.op.authorize.issue(situation)
    return answered(answer)["code"]


async def test_a_session_check_is_one_read(counted: Counted) -> None:
    assert await counted.sessions.load(COOKIE) == counted.session
    assert counted.trips() == ["read"]


async def test_a_session_is_written_again_at_most_every_few_minutes(counted: Counted) -> None:
    for minutes, trips in ((4, ["read"]), (1, ["read", "write that need not last"]), (1, ["read"])):
        counted.op.move(minutes=minutes)
        await counted.sessions.load(COOKIE)
        assert counted.trips() == trips


async def test_an_authorization_of_somebody_signed_in_is_two_reads_one_unit_and_a_last_look_at_both(
    counted: Counted,
) -> None:
    """The last reads ask whether the session was ended or something withdrawn meanwhile: no read before the unit can know.

    They are two because sessions may be in another store than decisions (catalogue 110).
    """
    session = await counted.sessions.load(COOKIE)
    situation = await counted.op.look(session)
    assert situation.is_covered
    await counted.op.authorize.issue(situation)
    assert counted.trips() == ["read", "read", "unit", "read", "read"]


async def test_a_stranger_costs_the_database_nothing(counted: Counted) -> None:
    """(catalogue 186)"""
    await counted.op.look(None)
    assert counted.trips() == []


async def test_agreeing_on_the_share_page_is_one_read_one_unit_and_a_last_look_at_both(counted: Counted) -> None:
    await counted.op.share(counted.session, FORUM, prompt="consent")
    assert counted.trips() == ["read", "unit", "read", "read"]


async def test_a_code_for_an_id_token_without_claims_is_one_write(counted: Counted) -> None:
    code = await code_for(counted)
    counted.trips()
    await counted.op.redeem(code)
    assert counted.trips() == ["write"]


async def test_a_code_for_claims_in_tokens_is_one_write_one_read_and_one_unit(counted: Counted) -> None:
    for site in (WIKI, KIT):
        code = await code_for(counted, site)
        counted.trips()
        await counted.op.redeem(code, site)
        assert counted.trips() == ["write", "read", "unit"], site


async def test_a_refresh_is_one_write_and_one_read(counted: Counted) -> None:
    tokens = await counted.op.redeem(await code_for(counted, KIT), KIT)
    counted.trips()
    tokens = await counted.op.refresh(tokens["refresh_token"], KIT)
    assert counted.trips() == ["write", "read"]
    counted.op.move(days=1)
    await counted.op.refresh(tokens["refresh_token"], KIT)
    assert counted.trips() == ["write", "read", "unit"], "the first release of another day is recorded"


async def test_introspection_is_one_read(counted: Counted) -> None:
    tokens = await counted.op.redeem(await code_for(counted))
    counted.trips()
    assert await counted.op.is_active(tokens["access_token"])
    assert counted.trips() == ["read"]


async def test_userinfo_is_one_read_and_a_record_for_the_first_of_the_day(counted: Counted) -> None:
    tokens = await counted.op.redeem(await code_for(counted))
    counted.trips()
    for trips in (["read", "unit"], ["read"], ["read"]):
        await counted.op.releaser.userinfo(tokens["access_token"])
        assert counted.trips() == trips


async def test_a_number_kept_by_a_merge_costs_nothing_more(counted: Counted) -> None:
    """The same trips as above for somebody whose account another one was merged into."""
    kept = {f"{site}.test": KeptNumber(of=AccountId("gone"), sites=(site,)) for site in (FORUM, WIKI)}
    await counted.op.change(counted.session.account, kept_numbers=kept)
    subjects = set()
    for site, redeemed in ((FORUM, ["write"]), (WIKI, ["write", "read", "unit"])):
        situation = await counted.op.look(counted.session, site)
        counted.trips()
        answer = await counted.op.authorize.issue(situation)
        assert counted.trips() == ["unit", "read", "read"]
        tokens = await counted.op.redeem(answered(answer)["code"], site)
        assert counted.trips() == redeemed
        described = await counted.op.exchange.introspect(counted.op.clients[site], tokens["access_token"])
        assert counted.trips() == ["read"]
        userinfo = await counted.op.releaser.userinfo(tokens["access_token"])
        assert counted.trips() == ["read", "unit"]
        expected = subject_for(AccountId("gone"), counted.op.clients[site], b"s" * 32)
        assert described["sub"] == userinfo["sub"] == expected
        subjects.add(expected)
    assert len(subjects) == 2


async def test_a_token_that_we_did_not_make_costs_the_database_nothing(counted: Counted) -> None:
    """(catalogue 186)"""
    with pytest.raises(InvalidToken):
        await counted.op.releaser.userinfo("dwa_made-up")
    with pytest.raises(InvalidGrant):
        await counted.op.refresh("dwr_made-up", KIT)
    assert counted.trips() == []


async def test_introspecting_a_made_up_token_takes_as_long_as_another_sites(counted: Counted) -> None:
    """(catalogue 81)"""
    tokens = await counted.op.redeem(await code_for(counted))
    counted.trips()
    assert not await counted.op.is_active("dwa_made-up")
    made_up = counted.trips()
    assert not await counted.op.is_active(tokens["access_token"], WIKI)
    assert counted.trips() == made_up == ["read"]


async def test_a_sign_up_is_one_transaction_however_much_it_records(counted: Counted) -> None:
    account = make.account(profile=make.profile("new"))
    unit = counted.op.durable.unit()
    for _ in range(3):
        unit.append_receipt(make.receipt(account.id))
    unit.add_account(account)
    unit.add_link(make.link(account))
    await unit.commit()
    assert counted.trips() == ["unit of 4 round trips"], "the link asks for the account, so it comes after it"
