"""Who may get which role."""

from __future__ import annotations

import pytest
from tests.support.builders import NOW

from broker.domain.staff import Circle, Member, Role, change_problem, is_inside, may_act
from broker.domain.values import AccountId

ANA, BEN = AccountId("ana"), AccountId("ben")


def staff(**roles: Role) -> list[Member]:
    return [Member(account=AccountId(name), role=role, since=NOW) for name, role in roles.items()]


@pytest.mark.parametrize(
    ("there", "account", "role", "problem"),
    [
        (staff(), ANA, Role.OWNER, None),
        (staff(), ANA, Role.ADMIN, "no_owner"),
        (staff(ben=Role.ADMIN), BEN, Role.SUPPORT, "no_owner"),
        (staff(ben=Role.ADMIN), BEN, None, None),
        (staff(ana=Role.OWNER), ANA, Role.OWNER, None),
        (staff(ana=Role.OWNER), ANA, Role.ADMIN, "last_owner"),
        (staff(ana=Role.OWNER), ANA, None, "last_owner"),
        (staff(ana=Role.OWNER), BEN, Role.AUDITOR, None),
        (staff(ana=Role.OWNER), BEN, Role.OWNER, None),
        (staff(ana=Role.OWNER, ben=Role.ADMIN), BEN, None, None),
        (staff(ana=Role.OWNER, ben=Role.OWNER), ANA, None, None),
        (staff(ana=Role.OWNER, ben=Role.OWNER), ANA, Role.SUPPORT, None),
    ],
)
def test_there_is_an_owner_first_and_always(
    there: list[Member], account: AccountId, role: Role | None, problem: str | None
) -> None:
    assert change_problem(there, account, role) == problem


def test_the_testers_circle_holds_the_admins_and_nobody_without_such_a_role() -> None:
    inside = {circle: {role for role in (None, *Role) if is_inside(role, circle)} for circle in Circle}
    assert inside == {
        Circle.ADMINS: {Role.OWNER, Role.ADMIN},
        Circle.TESTERS: {Role.OWNER, Role.ADMIN, Role.TESTER},
    }


def test_nothing_is_done_for_who_only_looks() -> None:
    assert {role for role in (None, *Role) if not may_act(role)} == {None, Role.TESTER}
