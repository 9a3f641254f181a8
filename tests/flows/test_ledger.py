"""The only writer of receipts and disclosures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.flows.front import Front
from tests.support import builders
from tests.support.builders import NOW

from broker.domain.claims import EMAIL, NAME
from broker.domain.consent import Purpose
from broker.domain.disclosure import Disclosure, Via, release
from broker.domain.values import AccountId
from broker.errors import Conflict
from broker.flows import ledger

ME = AccountId("me")
CLIENT = builders.client()
GRANT = builders.grant(ME, claims={ask.claim: ask.version for ask in CLIENT.asks})


def disclosure(via: Via = Via.USERINFO, days: int = 0, **profile: str) -> Disclosure:
    values = {NAME: "Ana", EMAIL: "ana@mail.test"} if not profile else {NAME: profile["name"]}
    return release(GRANT, CLIENT, values, frozenset(), subject="s", via=via, now=NOW + timedelta(days=days))


@pytest.fixture
def front() -> Front:
    return Front()


async def written(front: Front, one: Disclosure) -> bool:
    unit = front.durable.unit()
    is_new = front.ledger.disclosed(unit, one)
    await unit.commit()
    if is_new:
        front.ledger.remember(one)
    return is_new


async def test_a_disclosure_is_written_once_a_day_for_each_way(front: Front) -> None:
    """One row per grant, set of claims, way and day (decision 14)."""
    assert await written(front, disclosure())
    assert not await written(front, disclosure())
    assert await written(front, disclosure(Via.ID_TOKEN))
    assert await written(front, disclosure(days=1))
    assert await written(front, disclosure(name="Ana"))
    assert len(front.durable.tables.disclosures) == 4


async def test_nothing_remembered_means_the_database_decides(front: Front) -> None:
    """After a restart the row is offered again, and there is still one."""
    assert await written(front, disclosure())
    front.ledger._recorded.clear()
    assert await written(front, disclosure())
    assert len(front.durable.tables.disclosures) == 1


async def test_a_release_of_nothing_is_not_written(front: Front) -> None:
    empty = release(replace(GRANT, claims={}), CLIENT, {}, frozenset(), subject="s", via=Via.ID_TOKEN, now=NOW)
    assert not await written(front, empty)
    assert front.durable.tables.disclosures == {}


async def test_what_is_remembered_is_bounded(front: Front) -> None:
    recorded = front.ledger._recorded
    recorded.update({("grant", (NAME,), str(number), NOW.date()): None for number in range(ledger._REMEMBERED)})
    oldest = next(iter(recorded))
    assert await written(front, disclosure())
    assert len(recorded) == ledger._REMEMBERED
    assert oldest not in recorded


async def test_a_receipt_is_written_with_what_it_allows_or_not_at_all(front: Front) -> None:
    """A consent without its grant, or a grant without its consent, cannot be (catalogue 164)."""
    unit = front.durable.unit()
    front.ledger.receipt(
        unit, account=ME, purpose=Purpose.SHARE_WITH_CLIENT, counterparty="forum", shown=(NAME,), accepted=(NAME,),
        refused=(), versions={NAME: "v"}, notice_version="n", preview_digest="d", transaction="t", sid=None, locale="en",
    )  # fmt: skip
    unit.add_grant(GRANT)  # there is no such account
    with pytest.raises(Conflict):
        await unit.commit()
    assert front.durable.tables.receipts == {}
    assert front.durable.tables.grants == {}


async def test_a_withdrawal_names_what_it_withdraws(front: Front) -> None:
    """(catalogue 137)"""
    given = builders.receipt(ME)
    unit = front.durable.unit()
    taken = front.ledger.withdraw(unit, given, sid=None, locale="de", notice_version="n")
    await unit.commit()
    assert (taken.withdraws, taken.accepted, taken.refused) == (given.id, (), given.shown)
    assert (taken.purpose, taken.counterparty, taken.versions) == (given.purpose, given.counterparty, given.versions)
    assert taken.id != given.id
    assert list(front.durable.tables.receipts.values()) == [taken]
