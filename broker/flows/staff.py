"""Give an account a role, and take it away: each with who did it and why, and never the last owner's."""

from __future__ import annotations

from dataclasses import dataclass

from broker.domain.audit import Act, Action
from broker.domain.ports import Clock, Durable
from broker.domain.staff import Member, Role, change_problem
from broker.domain.values import AccountId
from broker.errors import FormInvalid, NotFound
from broker.flows.anew import anew
from broker.flows.audit import AuditTrail


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffFlow:
    durable: Durable
    trail: AuditTrail
    clock: Clock

    async def give(self, account: AccountId, role: Role, act: Act) -> bool:
        """This role instead of any other. Whether it had another one, or none, before.

        Raises `FormInvalid` with `role`: `last_owner`, `no_owner` (`domain.staff.change_problem`); `Conflict("account")`.
        """
        return await anew(lambda: self._give(account, role, act))

    async def _give(self, account: AccountId, role: Role, act: Act) -> bool:
        # The entry comes before the look at who there is: of two who change roles at once, one is overtaken and looks again.
        note = await self.trail.prepared(Action.ROLE_GIVEN, f"{account} {role}", act)
        staff = await self.durable.staff.all()
        if any(member.account == account and member.role is role for member in staff):
            return False
        _check(staff, account, role)
        unit = self.durable.unit()
        unit.put_member(Member(account=account, role=role, since=self.clock.now()))
        note(unit)
        await unit.commit()
        return True

    async def take(self, account: AccountId, act: Act) -> Role:
        """No role any more; the one that it had. Raises `NotFound` if it has none, `FormInvalid` as `give`."""
        return await anew(lambda: self._take(account, act))

    async def _take(self, account: AccountId, act: Act) -> Role:
        role = await self.durable.staff.role(account)
        if role is None:
            raise NotFound(detail="no role")
        note = await self.trail.prepared(Action.ROLE_TAKEN, f"{account} {role}", act)
        _check(await self.durable.staff.all(), account, None)
        unit = self.durable.unit()
        unit.drop_member(account)
        note(unit)
        await unit.commit()
        return role


def _check(staff: tuple[Member, ...], account: AccountId, role: Role | None) -> None:
    problem = change_problem(staff, account, role)
    if problem is not None:
        raise FormInvalid({"role": problem})
