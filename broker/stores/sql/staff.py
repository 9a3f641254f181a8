"""Roles, and the audit trail, in SQL. Triggers in both databases refuse to change or delete an entry (migration 0009)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from broker.domain.audit import Action, AuditEntry
from broker.domain.staff import Member, Role
from broker.domain.values import AccountId
from broker.stores.records import micros, moment
from broker.stores.sql.accounts import standing_account
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, define, parameter
from broker.stores.sql.tables import accounts, audit, staff

_MEMBERS: Final = define(select(*staff.columns).order_by(staff.c.given_at, staff.c.account))
_ROLE: Final = define(select(staff.c.role).where(staff.c.account == parameter(staff.c.account)))
_put = insert(staff).from_select(
    [column.name for column in staff.columns],
    standing_account().with_only_columns(*(parameter(column).label(f"v_{column.name}") for column in staff.columns)),
)
PUT: Final = define(
    _put.on_conflict_do_update(
        index_elements=["account"], set_={"role": _put.excluded.role, "given_at": _put.excluded.given_at}
    ).returning(staff.c.account),
    reads=[accounts],
)
DROP: Final = define(delete(staff).where(staff.c.account == bindparam("p_account")))

_COLUMNS: Final = tuple(audit.columns)
_LAST: Final = define(select(*_COLUMNS).where(audit.c.number > 0).order_by(audit.c.number.desc()).limit(1))
_ENTRIES: Final = define(
    select(*_COLUMNS)
    .where(audit.c.number > bindparam("p_after", type_=BigInteger))
    .order_by(audit.c.number)
    .limit(bindparam("p_limit", type_=Integer))
)
# Two who add at once: the second finds the number taken, and has to look again at what it follows.
APPEND: Final = define(
    insert(audit)
    .inline()
    .values({column: parameter(column) for column in _COLUMNS})
    .on_conflict_do_nothing(index_elements=["number"])
    .returning(audit.c.number)
)


def member_params(member: Member) -> Params:
    return {"p_account": member.account, "p_role": member.role.value, "p_given_at": micros(member.since)}


def entry_params(entry: AuditEntry) -> Params:
    return {
        "p_number": entry.number,
        "p_at": micros(entry.at),
        "p_by": entry.by,
        "p_action": entry.action.value,
        "p_subject": entry.subject,
        "p_why": entry.why,
        "p_digest": entry.digest,
    }


def _entry(row: Row) -> AuditEntry:
    number, at, by, action, subject, why, digest = row
    return AuditEntry(
        number=number, at=moment(at), by=by, action=Action(action), subject=subject, why=why, digest=digest
    )


class SqlStaff:
    """`ports.Staff`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def all(self) -> tuple[Member, ...]:
        rows = await self._driver.read(_MEMBERS, {})
        return tuple(
            Member(account=AccountId(account), role=Role(role), since=moment(given_at))
            for account, role, given_at in rows
        )

    async def role(self, account: AccountId) -> Role | None:
        rows = await self._driver.read(_ROLE, {"p_account": account})
        return Role(rows[0][0]) if rows else None


class SqlAudit:
    """`ports.Audit`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def last(self) -> AuditEntry | None:
        rows = await self._driver.read(_LAST, {})
        return _entry(rows[0]) if rows else None

    async def entries(self, after: int, limit: int) -> tuple[AuditEntry, ...]:
        rows = await self._driver.read(_ENTRIES, {"p_after": after, "p_limit": limit})
        return tuple(map(_entry, rows))
