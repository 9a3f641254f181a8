"""What many ask of PostgreSQL at once goes together, and everybody gets what they would have got alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.contracts.stores import conflict_of, kept_account, kept_family, kept_grant
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import FORUM, NOW, FixedClock

from broker.domain.grant import AlreadyRedeemed, Redeemed, Reused, Rotated
from broker.domain.values import GrantId
from broker.errors import Conflict, StoreUnavailable
from broker.stores import Stores, open_stores
from broker.stores.sql.drivers.gathered import Gathered, for_many
from broker.stores.sql.statements import PLACEHOLDER, compile_all


class Run:
    """Answers each with its own word, when told to."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, list[str]]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.bad = ""
        self.error: Exception | None = None

    async def __call__(self, kind: str, asked: Sequence[str]) -> Sequence[str] | None:
        self.runs.append((kind, list(asked)))
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        if self.bad in asked:
            if len(asked) > 1:
                return None
            raise Conflict(self.bad)
        return [f"{kind} {what}" for what in asked]


async def test_one_turn_is_one_run_for_each_kind() -> None:
    run = Run()
    gathered = Gathered(run, at_once=8, in_flight=2)
    answers = await asyncio.gather(*(gathered.ask(kind, what) for kind, what in ("a1", "b2", "a3")))
    assert answers == ["a 1", "b 2", "a 3"]
    assert run.runs == [("a", ["1", "3"]), ("b", ["2"])]


async def test_as_many_go_together_as_there_are_up_to_the_limit() -> None:
    run = Run()
    gathered = Gathered(run, at_once=4, in_flight=1)
    answers = await asyncio.gather(*(gathered.ask("a", str(number)) for number in range(11)))
    assert answers == [f"a {number}" for number in range(11)]
    assert [len(asked) for _, asked in run.runs] == [4, 4, 3]


async def test_where_each_number_costs_who_goes_together_is_a_power_of_two_up_to_the_limit_in_their_order() -> None:
    run = Run()
    gathered = Gathered(run, at_once=4, in_flight=2, by_powers=True)
    answers = await asyncio.gather(*(gathered.ask("a", str(number)) for number in range(15)))
    assert answers == [f"a {number}" for number in range(15)]
    assert [len(asked) for _, asked in run.runs] == [4, 4, 4, 2, 1]


async def test_while_enough_is_under_way_the_rest_is_gathered() -> None:
    run = Run()
    gathered = Gathered(run, at_once=8, in_flight=2)
    run.may_answer.clear()
    waiting = []
    for number in range(6):
        waiting.append(gathered.ask("a", str(number)))
        await asyncio.sleep(0.001)
    assert len(run.runs) == 2
    run.may_answer.set()
    await asyncio.gather(*waiting)
    assert [len(asked) for _, asked in run.runs] == [1, 1, 4]


async def test_what_cannot_go_together_is_asked_one_by_one_and_fails_alone() -> None:
    run = Run()
    run.bad = "2"
    gathered = Gathered(run, at_once=8, in_flight=2)
    answers = await asyncio.gather(*(gathered.ask("a", what) for what in "1234"), return_exceptions=True)
    assert [answers[place] for place in (0, 2, 3)] == ["a 1", "a 3", "a 4"]
    assert isinstance(answers[1], Conflict)
    assert answers[1].what == "2"


async def test_what_cannot_go_together_waits_at_the_same_time() -> None:
    turns = asyncio.Barrier(3)

    async def run(_kind: str, asked: Sequence[str]) -> Sequence[str] | None:
        if len(asked) > 1:
            return None
        await turns.wait()
        return asked

    gathered = Gathered(run, at_once=8, in_flight=1)
    asked = [gathered.ask("a", "1"), gathered.ask("a", "2")]
    async with asyncio.timeout(1):
        await turns.wait()
        assert [await answer for answer in asked] == ["1", "2"]


async def test_an_error_of_all_is_an_error_of_its_own_for_each() -> None:
    run = Run()
    run.error = StoreUnavailable("postgresql 57P01")
    gathered = Gathered(run, at_once=8, in_flight=2)
    one, other = await asyncio.gather(gathered.ask("a", "1"), gathered.ask("a", "2"), return_exceptions=True)
    assert isinstance(one, StoreUnavailable)
    assert isinstance(other, StoreUnavailable)
    assert one is not other
    assert str(one) == str(other) == str(run.error)
    run.error = None
    assert await gathered.ask("a", "3") == "a 3"


async def test_who_asks_while_the_server_is_silent_waits_no_longer_than_those_before() -> None:
    """(catalogue 162)"""
    run = Run()
    run.error = StoreUnavailable("postgresql TimeoutError")
    run.may_answer.clear()
    gathered = Gathered(run, at_once=8, in_flight=1)
    before = gathered.ask("a", "1")
    await asyncio.sleep(0.001)
    after, other = gathered.ask("a", "2"), gathered.ask("b", "3")
    await asyncio.sleep(0.001)
    run.may_answer.set()
    answers = await asyncio.gather(before, after, other, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert run.runs == [("a", ["1"]), ("b", ["3"])]


async def test_who_stops_waiting_stops_nobody() -> None:
    run = Run()
    gathered = Gathered(run, at_once=8, in_flight=2)
    run.may_answer.clear()
    going, staying = gathered.ask("a", "1"), gathered.ask("a", "2")
    await asyncio.sleep(0.001)
    going.cancel()
    closing = asyncio.ensure_future(gathered.close())
    await asyncio.sleep(0.001)
    assert not closing.done()
    run.may_answer.set()
    assert await staying == "a 2"
    await closing


def test_every_parameter_of_what_goes_together_is_named_with_its_type() -> None:
    texts = [for_many(compiled.text) for one, compiled in compile_all("postgresql").items() if one.together]
    assert len(texts) > 8
    for text in texts:
        assert len(set(PLACEHOLDER.findall(text))) == text.count("[]"), text


# --- The database -------------------------------------------------------------------------------------


@pytest.fixture
async def stores(migrated_postgres_url: str) -> AsyncIterator[Stores]:
    stores = await open_stores(
        database_url=migrated_postgres_url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock()
    )
    yield stores
    await stores.close()


async def test_everybody_reads_their_own(stores: Stores) -> None:
    kept = [await kept_grant(stores.durable) for _ in range(10)]
    unknown = GrantId("nobody's")
    asked = [grant.id for grant in kept] + [unknown] + [grant.id for grant in kept]
    found = await asyncio.gather(*(stores.durable.grants.load(one) for one in asked))
    assert found == [*kept, None, *kept]


async def test_several_rows_keep_their_order_for_each(stores: Stores) -> None:
    accounts = [(await kept_account(stores.durable))[0] for _ in range(4)]
    receipts = {}
    for account in accounts:
        receipts[account.id] = [make.receipt(account.id) for _ in range(3)]
    for turn in range(3):
        for account in accounts:
            unit = stores.durable.unit()
            unit.append_receipt(receipts[account.id][turn])
            await unit.commit()
    counterparty = receipts[accounts[0].id][0].counterparty
    purpose = receipts[accounts[0].id][0].purpose
    found = await asyncio.gather(
        *(stores.durable.accounts.with_receipts(account.id, purpose, counterparty) for account in accounts)
    )
    for account, pair in zip(accounts, found, strict=True):
        assert pair is not None
        assert pair[0] == account
        assert list(pair[1]) == receipts[account.id]


async def test_what_no_row_can_hold_keeps_nobody_else_from_theirs(stores: Stores) -> None:
    grant = await kept_grant(stores.durable)
    asked = [grant.id, GrantId("\0"), GrantId("\ud800"), grant.id]
    assert await asyncio.gather(*(stores.durable.grants.load(one) for one in asked)) == [grant, None, None, grant]


async def test_a_code_taken_twice_in_one_turn_is_redeemed_once(stores: Stores) -> None:
    """(catalogue 5)"""
    codes = []
    for _ in range(4):
        grant = await kept_grant(stores.durable)
        code = make.code(grant)
        unit = stores.durable.unit()
        unit.add_code(code)
        await unit.commit()
        codes.append(code)
    asked = [code.digest for code in codes for _ in range(4)]
    outcomes = await asyncio.gather(*(stores.durable.grants.consume_code(one, NOW) for one in asked))
    for place in range(0, 16, 4):
        kinds = [type(outcome) for outcome in outcomes[place : place + 4]]
        assert sorted(kind.__name__ for kind in kinds) == ["AlreadyRedeemed"] * 3 + ["Redeemed"]
    assert {Redeemed, AlreadyRedeemed} == {type(outcome) for outcome in outcomes}


async def test_families_step_once_each_in_one_turn(stores: Stores) -> None:
    """(catalogue 12)"""
    families = [await kept_family(stores.durable, await kept_grant(stores.durable)) for _ in range(4)]
    asked = [family for family in families for _ in range(2)]
    outcomes = await asyncio.gather(
        *(stores.durable.grants.rotate(family.id, family.generation, FORUM, NOW) for family in asked)
    )
    for place, family in enumerate(families):
        pair = outcomes[2 * place : 2 * place + 2]
        assert sum(isinstance(outcome, Rotated) for outcome in pair) >= 1
        assert all(isinstance(outcome, Rotated | Reused) for outcome in pair)
        kept = await stores.durable.grants.load_family(family.id)
        assert kept is not None
        assert kept.generation == family.generation + 1


async def test_of_units_that_go_together_the_one_that_breaks_a_rule_fails_alone(stores: Stores) -> None:
    owners = [(await kept_account(stores.durable))[0].id for _ in range(5)]
    taken = await kept_grant(stores.durable, owners[0])
    grants = [make.grant(owner) for owner in owners]
    grants[2] = replace(grants[2], id=taken.id)  # there is one of that id
    units = []
    for grant in grants:
        unit = stores.durable.unit()
        unit.add_grant(grant)
        unit.add_code(make.code(grant))
        units.append(unit)
    failures = await asyncio.gather(*(unit.commit() for unit in units), return_exceptions=True)
    assert [type(failure) for place, failure in enumerate(failures) if place != 2] == [type(None)] * 4
    assert isinstance(failures[2], Conflict | StoreUnavailable)
    kept = await asyncio.gather(*(stores.durable.grants.load(grant.id) for grant in grants))
    assert kept == [*grants[:2], taken, *grants[3:]]


async def test_a_unit_of_nobody_s_is_told_so_among_others(stores: Stores) -> None:
    owner = (await kept_account(stores.durable))[0].id
    unit, orphan = stores.durable.unit(), stores.durable.unit()
    unit.add_grant(make.grant(owner))
    orphan.add_grant(make.grant(make.account().id))
    kept, conflict = await asyncio.gather(unit.commit(), conflict_of(orphan.commit()))
    assert kept is None
    assert conflict == "account"


async def test_a_person_who_gives_up_stops_no_other_unit(stores: Stores) -> None:
    owners = [(await kept_account(stores.durable))[0].id for _ in range(4)]
    grants = [make.grant(owner) for owner in owners]
    commits = []
    for grant in grants:
        unit = stores.durable.unit()
        unit.add_grant(grant)
        commits.append(asyncio.ensure_future(unit.commit()))
    await asyncio.sleep(0)
    commits[1].cancel()
    for place, commit in enumerate(commits):
        if place != 1:
            await commit
        else:
            with suppress(asyncio.CancelledError):
                await commit
    kept = await asyncio.gather(*(stores.durable.grants.load(grant.id) for grant in grants))
    assert [kept[place] for place in (0, 2, 3)] == [grants[place] for place in (0, 2, 3)]


async def test_a_unit_that_waits_for_those_who_wait_for_it_is_written_after_them(
    stores: Stores, migrated_postgres_url: str
) -> None:
    """Whoever ends all that a site has ends it, however many of its tokens are renewed together in that moment."""
    owner = (await kept_account(stores.durable))[0].id
    grant = await kept_grant(stores.durable, owner)
    family = await kept_family(stores.durable, grant)
    other = await asyncpg.connect(migrated_postgres_url)
    try:
        renewing = other.transaction()
        await renewing.start()
        await other.execute("UPDATE refresh_families SET retried = retried WHERE id = $1", family.id)
        unit = stores.durable.unit()
        unit.revoke_grants(owner, NOW)
        ending = asyncio.ensure_future(unit.commit())
        while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        await other.execute("UPDATE grants SET body = body WHERE id = $1", grant.id)
        await renewing.commit()
        await ending
    finally:
        await other.close()
    kept, ended = await stores.durable.grants.load(grant.id), await stores.durable.grants.load_family(family.id)
    assert kept is not None
    assert ended is not None
    assert None not in (kept.revoked_at, ended.revoked_at)


class Way:
    """What stands between us and the database: it can lose the answer to the next statement, and the connection with it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.loses_an_answer = False
        self.lost = 0

    async def open(self) -> str:
        """Where to connect instead."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return self._url.replace(f":{urlsplit(self._url).port}/", f":{port}/")

    def close(self) -> None:
        self._server.close()

    async def _serve(self, ours: asyncio.StreamReader, to_us: asyncio.StreamWriter) -> None:
        at = urlsplit(self._url)
        theirs, to_them = await asyncio.open_connection(at.hostname, at.port)

        async def out() -> None:
            with suppress(OSError):
                while said := await ours.read(65536):
                    to_them.write(said)
            to_them.close()

        async def back() -> None:
            with suppress(OSError):
                while said := await theirs.read(65536):
                    # `CommandComplete` and `ReadyForQuery`: it is committed.
                    if self.loses_an_answer and b"C\0\0\0" in said and said.endswith(b"Z\0\0\0\5I"):
                        self.loses_an_answer = False
                        self.lost += 1
                        break
                    to_us.write(said)
            to_us.transport.abort()

        await asyncio.gather(out(), back())


@pytest.fixture
async def way(migrated_postgres_url: str) -> AsyncIterator[Way]:
    way = Way(migrated_postgres_url)
    yield way
    way.close()


@pytest.fixture
async def far(way: Way) -> AsyncIterator[Stores]:
    stores = await open_stores(database_url=await way.open(), redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    yield stores
    await stores.close()


async def test_codes_whose_answer_was_lost_are_not_asked_for_again_and_called_stolen(far: Stores, way: Way) -> None:
    """(catalogue 5)"""
    for lose in (False, True):  # the first time everything is prepared
        codes = []
        for _ in range(2):
            code = make.code(await kept_grant(far.durable))
            unit = far.durable.unit()
            unit.add_code(code)
            await unit.commit()
            codes.append(code)
        way.loses_an_answer = lose
        outcomes = await asyncio.gather(
            *(far.durable.grants.consume_code(code.digest, NOW) for code in codes), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable if lose else Redeemed] * 2
    assert way.lost == 1


async def test_a_family_whose_answer_was_lost_steps_once(far: Stores, way: Way) -> None:
    """(catalogue 12)"""
    for lose in (False, True):
        families = [await kept_family(far.durable, await kept_grant(far.durable)) for _ in range(2)]
        way.loses_an_answer = lose
        outcomes = await asyncio.gather(
            *(far.durable.grants.rotate(one.id, one.generation, FORUM, NOW) for one in families), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable if lose else Rotated] * 2
    assert way.lost == 1


async def test_units_whose_answer_was_lost_are_not_written_again_and_told_as_a_conflict(far: Stores, way: Way) -> None:
    owner = (await kept_account(far.durable))[0].id
    for lose in (False, True):
        grants = [make.grant(owner) for _ in range(2)]
        units = []
        for grant in grants:
            unit = far.durable.unit()
            unit.add_grant(grant)
            unit.add_code(make.code(grant))
            units.append(unit)
        way.loses_an_answer = lose
        outcomes = await asyncio.gather(*(unit.commit() for unit in units), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable if lose else type(None)] * 2
        assert await asyncio.gather(*(far.durable.grants.load(grant.id) for grant in grants)) == grants
    assert way.lost == 1
