"""The only writer of the audit trail: an entry is written in the unit of work of what it tells, or that is not done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from broker.domain.audit import Act, Action, AuditEntry, first_broken, next_entry
from broker.domain.ports import Clock, Durable, UnitOfWork

_BATCH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTrail:
    durable: Durable
    clock: Clock
    key: bytes
    """What the chain is made under."""

    async def noted(self, unit: UnitOfWork, action: Action, subject: str, act: Act) -> None:
        """Queue the entry. `commit` raises `Conflict("stale")` if another was written meanwhile: see `flows.anew`."""
        (await self.prepared(action, subject, act))(unit)

    async def prepared(self, action: Action, subject: str, act: Act) -> Callable[[UnitOfWork], None]:
        """The same for a unit of work that is made later."""
        last = await self.durable.audit.last()
        entry = next_entry(self.key, last, at=self.clock.now(), action=action, subject=subject, act=act)
        return lambda unit: unit.append_audit(entry)

    async def entries(self) -> AsyncIterator[AuditEntry]:
        """All of them, oldest first."""
        after = 0
        while some := await self.durable.audit.entries(after, _BATCH):
            for entry in some:
                yield entry
            after = some[-1].number

    async def broken_at(self) -> int | None:
        """The number of the first entry that is not as it was written, or is missing; `None`: the chain holds."""
        before = None
        async for entry in self.entries():
            if (number := first_broken(self.key, (entry,), before)) is not None:
                return number
            before = entry
        return None
