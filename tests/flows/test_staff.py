"""Roles are given and taken with who did it and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.flows.front import Front

from broker.domain.audit import Act, Action
from broker.domain.ports import UnitOfWork
from broker.domain.staff import Role
from broker.domain.values import AccountId
from broker.errors import Conflict, FormInvalid, LastOwner, NotFound
from broker.flows.audit import AuditTrail
from broker.flows.staff import StaffFlow

ACT = Act(by="deploy", why="They help.")


@pytest.fixture
def front() -> Front:
    return Front()


def staff_of(front: Front) -> StaffFlow:
    return StaffFlow(durable=front.durable, trail=front.trail, clock=front.clock)


async def person(front: Front, name: str) -> AccountId:
    return (await front.person(name)).started.session.account


async def test_an_account_has_one_role_and_each_step_is_told(front: Front) -> None:
    ana, ben, staff = await person(front, "anna"), await person(front, "benn"), staff_of(front)
    assert await staff.give(ana, Role.OWNER, ACT)
    assert await staff.give(ben, Role.SUPPORT, ACT)
    assert await staff.give(ben, Role.ADMIN, ACT)
    assert not await staff.give(ben, Role.ADMIN, ACT)
    assert [(one.account, one.role) for one in await front.durable.staff.all()] == [
        (ana, Role.OWNER),
        (ben, Role.ADMIN),
    ]
    assert await front.durable.staff.role(ben) is Role.ADMIN
    assert await staff.take(ben, ACT) is Role.ADMIN
    assert await front.durable.staff.role(ben) is None
    entries = [entry async for entry in front.trail.entries()]
    assert [(entry.number, entry.action, entry.subject, entry.by, entry.why) for entry in entries] == [
        (1, Action.ROLE_GIVEN, f"{ana} owner", "deploy", "They help."),
        (2, Action.ROLE_GIVEN, f"{ben} support", "deploy", "They help."),
        (3, Action.ROLE_GIVEN, f"{ben} admin", "deploy", "They help."),
        (4, Action.ROLE_TAKEN, f"{ben} admin", "deploy", "They help."),
    ]
    assert await front.trail.broken_at() is None


async def test_the_last_owner_stays_one(front: Front) -> None:
    ana, ben, staff = await person(front, "anna"), await person(front, "benn"), staff_of(front)
    with pytest.raises(FormInvalid) as none_yet:
        await staff.give(ben, Role.ADMIN, ACT)
    assert none_yet.value.fields == {"role": "no_owner"}
    await staff.give(ana, Role.OWNER, ACT)
    for refused in (staff.take(ana, ACT), staff.give(ana, Role.ADMIN, ACT)):
        with pytest.raises(FormInvalid) as only:
            await refused
        assert only.value.fields == {"role": "last_owner"}
    with pytest.raises(NotFound):
        await staff.take(ben, ACT)
    assert await front.durable.staff.role(ana) is Role.OWNER


async def test_of_two_owners_who_take_each_other_away_one_stays(front: Front) -> None:
    ana, ben, staff = await person(front, "anna"), await person(front, "benn"), staff_of(front)
    await staff.give(ana, Role.OWNER, ACT)
    await staff.give(ben, Role.OWNER, ACT)
    done = await asyncio.gather(staff.take(ana, ACT), staff.take(ben, ACT), return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["FormInvalid", "Role"]
    assert len(await front.durable.staff.all()) == 1


async def test_an_account_that_is_gone_gets_no_role_and_keeps_none(front: Front) -> None:
    session, staff = (await front.person("anna")).started.session, staff_of(front)
    with pytest.raises(Conflict, match="account"):
        await staff.give(AccountId("nobody"), Role.OWNER, ACT)
    await staff.give(session.account, Role.OWNER, ACT)
    with pytest.raises(LastOwner):
        await front.account.close(session)
    assert session.account in front.accounts
    benn = (await front.person("benn")).started.session
    await staff.give(benn.account, Role.OWNER, ACT)
    await front.account.close(session)
    assert [member.account for member in await front.durable.staff.all()] == [benn.account]
    told = [entry async for entry in front.trail.entries()][-1]
    assert (told.action, told.subject) == (Action.ROLE_TAKEN, f"{session.account} owner")
    assert (told.by, told.why) == (f"{session.account} (owner)", "closed their account")


async def test_of_two_owners_who_close_their_accounts_one_stays(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other's account goes just after this one had a look, and before anything was written."""
    anna, benn = [(await front.person(name)).started.session for name in ("anna", "benn")]
    staff, prepared = staff_of(front), AuditTrail.prepared
    for one in (anna, benn):
        await staff.give(one.account, Role.OWNER, ACT)

    async def overtaken(trail: AuditTrail, action: Action, subject: str, act: Act) -> Callable[[UnitOfWork], None]:
        note = await prepared(trail, action, subject, act)
        if benn.account in front.accounts and subject.startswith(anna.account):
            await front.account.close(benn)
        return note

    monkeypatch.setattr(AuditTrail, "prepared", overtaken)
    with pytest.raises(LastOwner):
        await front.account.close(anna)
    assert [member.account for member in await front.durable.staff.all()] == [anna.account]
    assert anna.account in front.accounts


async def test_of_two_owners_who_take_roles_at_once_one_stays(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, by commands."""
    anna, benn = await person(front, "anna"), await person(front, "benn")
    staff, prepared = staff_of(front), AuditTrail.prepared
    for one in (anna, benn):
        await staff.give(one, Role.OWNER, ACT)

    async def overtaken(trail: AuditTrail, action: Action, subject: str, act: Act) -> Callable[[UnitOfWork], None]:
        note = await prepared(trail, action, subject, act)
        if subject.startswith(anna) and await front.durable.staff.role(benn) is not None:
            await staff.take(benn, ACT)
        return note

    monkeypatch.setattr(AuditTrail, "prepared", overtaken)
    with pytest.raises(FormInvalid):
        await staff.take(anna, ACT)
    assert [member.account for member in await front.durable.staff.all()] == [anna]


async def test_an_entry_that_somebody_changed_is_named(front: Front) -> None:
    """Wherever it stands in the chain."""
    ana, staff = await person(front, "anna"), staff_of(front)
    for role in (Role.OWNER, Role.OWNER):
        await staff.give(ana, role, ACT)
    await staff.give(await person(front, "benn"), Role.AUDITOR, ACT)
    assert await front.trail.broken_at() is None
    del front.durable.tables.audit[1]
    assert await front.trail.broken_at() == 1
