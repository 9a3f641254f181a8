"""What every store must do with roles and with the audit trail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.domain.audit import AuditEntry
from broker.domain.ports import Durable
from broker.domain.staff import Member, Role
from broker.domain.values import AccountId
from broker.errors import Conflict
from tests.contracts.stores import TAKERS, kept_account, outcomes
from tests.support import builders as make
from tests.support.builders import NOW


async def put(durable: Durable, member: Member) -> Member:
    unit = durable.unit()
    unit.put_member(member)
    await unit.commit()
    return member


async def append(durable: Durable, *entries: AuditEntry) -> None:
    for entry in entries:
        unit = durable.unit()
        unit.append_audit(entry)
        await unit.commit()


class StaffContract:
    async def test_an_account_has_the_role_it_was_given_last(self, durable: Durable) -> None:
        ana, ben = (await kept_account(durable))[0].id, (await kept_account(durable))[0].id
        assert await durable.staff.role(ana) is None
        await put(durable, Member(account=ana, role=Role.SUPPORT, since=NOW))
        first = await put(durable, Member(account=ana, role=Role.OWNER, since=NOW + timedelta(microseconds=1)))
        second = await put(durable, Member(account=ben, role=Role.AUDITOR, since=NOW + timedelta(seconds=1)))
        assert await durable.staff.role(ana) is Role.OWNER
        assert [one for one in await durable.staff.all() if one.account in {ana, ben}] == [first, second]
        unit = durable.unit()
        unit.drop_member(ben)
        unit.drop_member(AccountId("nobody"))
        await unit.commit()
        assert await durable.staff.role(ben) is None

    async def test_an_account_that_is_gone_has_no_role(self, durable: Durable) -> None:
        ana = (await kept_account(durable))[0].id
        await put(durable, Member(account=ana, role=Role.OWNER, since=NOW))
        unit = durable.unit()
        unit.erase_account(ana, NOW)
        await unit.commit()
        assert await durable.staff.role(ana) is None
        for gone in (ana, AccountId("nobody")):
            with pytest.raises(Conflict, match="account"):
                await put(durable, Member(account=gone, role=Role.OWNER, since=NOW))
        assert await durable.staff.all() == ()


class AuditContract:
    async def test_entries_are_read_in_order_as_they_were_written(self, durable: Durable) -> None:
        assert await durable.audit.last() is None
        entries = tuple(make.audit_entry(number=number) for number in range(1, 6))
        await append(durable, *entries)
        assert await durable.audit.last() == entries[-1]
        assert await durable.audit.entries(0, 100) == entries
        assert await durable.audit.entries(1, 2) == entries[1:3]
        assert await durable.audit.entries(5, 2) == ()

    async def test_of_many_who_write_the_same_number_one_does(self, durable: Durable) -> None:
        """And what would have come with an entry that is not written does not come either."""
        await append(durable, make.audit_entry(number=1))
        ana = (await kept_account(durable))[0].id

        async def take(number: int) -> None:
            unit = durable.unit()
            unit.put_member(Member(account=ana, role=Role.OWNER, since=NOW + timedelta(seconds=number)))
            unit.append_audit(replace(make.audit_entry(number=2), why=str(number)))
            await unit.commit()

        got = await outcomes([lambda number=number: take(number) for number in range(TAKERS)])  # type: ignore[misc]
        assert sorted(str(one) for one in got).count("None") == 1
        last = await durable.audit.last()
        assert last is not None
        (member,) = [one for one in await durable.staff.all() if one.account == ana]
        assert member.since == NOW + timedelta(seconds=int(last.why))
