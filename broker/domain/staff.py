"""Who runs the service: accounts with a role, and what a role lets its owner see before everybody else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from broker.domain.values import AccountId


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    SUPPORT = "support"
    AUDITOR = "auditor"
    TESTER = "tester"
    """Sees what is not for everybody yet, and may do nothing."""


class Circle(StrEnum):
    """Who may use a provider before everybody else does."""

    ADMINS = "admins"
    TESTERS = "testers"


_INSIDE: Final = {
    Circle.ADMINS: frozenset({Role.OWNER, Role.ADMIN}),
    Circle.TESTERS: frozenset({Role.OWNER, Role.ADMIN, Role.TESTER}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One account that has a role."""

    account: AccountId
    role: Role
    since: datetime


def is_inside(role: Role | None, circle: Circle) -> bool:
    """Whether who has this role, or none, belongs to it. The testers' circle holds the admins' too: it only ever grows."""
    return role in _INSIDE[circle]


def may_act(role: Role | None) -> bool:
    """Whether anything can be done here for somebody with this role: a tester only looks."""
    return role is not None and role is not Role.TESTER


def change_problem(staff: Iterable[Member], account: AccountId, role: Role | None) -> str | None:
    """Why this account cannot get this role, or none (`None`), as a code that whoever asks words.

    `last_owner`: the only owner would be gone. `no_owner`: the first role that anybody gets is an owner's.
    """
    owners = {member.account for member in staff if member.role is Role.OWNER}
    if role is Role.OWNER:
        return None
    if owners == {account}:
        return "last_owner"
    return "no_owner" if not owners and role is not None else None
