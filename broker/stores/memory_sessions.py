"""Sessions in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from broker.domain.ports import Clock
from broker.domain.session import Session, is_live
from broker.domain.values import AccountId, Sid
from broker.errors import Conflict


class MemorySessions:
    """`ports.Sessions`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[Sid, Session] = {}

    async def save(self, session: Session) -> None:
        """An ended session stays ended: a page that was on its way must not bring it back."""
        before = self.rows.get(session.sid)
        if before is not None and before.ended_at is not None:
            return
        if any(other.secret_digest == session.secret_digest and sid != session.sid for sid, other in self.rows.items()):
            raise Conflict("session")
        self.rows[session.sid] = session

    async def touch(self, session: Session) -> None:
        before = self.rows.get(session.sid)
        if before is not None and before.ended_at is None and before.secret_digest == session.secret_digest:
            self.rows[session.sid] = session

    async def by_digest(self, secret_digest: bytes, now: datetime) -> Session | None:
        found = (held for held in self.rows.values() if held.secret_digest == secret_digest and is_live(held, now))
        return next(found, None)

    async def of_account(self, account: AccountId, now: datetime) -> tuple[Session, ...]:
        ours = [held for held in self.rows.values() if held.account == account and is_live(held, now)]
        return tuple(sorted(ours, key=lambda held: (held.created_at, held.sid), reverse=True))

    async def of_upstream(self, upstream: str, now: datetime) -> tuple[Session, ...]:
        ours = [held for held in self.rows.values() if held.upstream == upstream and is_live(held, now)]
        return tuple(sorted(ours, key=lambda held: (held.created_at, held.sid), reverse=True))

    async def end(self, sid: Sid) -> Session | None:
        session = self.rows.get(sid)
        if session is None or session.ended_at is not None:
            return None
        self.rows[sid] = replace(session, ended_at=self._clock.now(), id_token=None)
        return session

    async def end_all(self, account: AccountId, *, keep: Sid | None = None) -> tuple[Session, ...]:
        """Newest first."""
        ours = [held for held in self.rows.values() if held.account == account and held.sid != keep]
        ended = [await self.end(held.sid) for held in ours]
        alive = [session for session in ended if session is not None]
        return tuple(sorted(alive, key=lambda held: (held.created_at, held.sid), reverse=True))
