"""Roles and the audit trail in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.domain.audit import AuditEntry
from broker.domain.staff import Member, Role
from broker.domain.values import AccountId

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable


class MemoryStaff:
    """`ports.Staff`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def all(self) -> tuple[Member, ...]:
        staff = self._store.open_tables().staff.values()
        return tuple(sorted(staff, key=lambda member: (member.since, member.account)))

    async def role(self, account: AccountId) -> Role | None:
        member = self._store.open_tables().staff.get(account)
        return None if member is None else member.role


class MemoryAudit:
    """`ports.Audit`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def last(self) -> AuditEntry | None:
        return max(self._store.open_tables().audit.values(), key=lambda entry: entry.number, default=None)

    async def entries(self, after: int, limit: int) -> tuple[AuditEntry, ...]:
        found = [entry for number, entry in sorted(self._store.open_tables().audit.items()) if number > after]
        return tuple(found[:limit])
