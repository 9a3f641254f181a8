"""Which sessions have ended before their token did.

Fed by the back-channel logout endpoint of the kit. `MemoryRegister` serves one process; a site that
runs several gives its own object with the same three methods (a table of its database will do).
"""

from __future__ import annotations

import time
from threading import Lock
from typing import Final, Protocol

from .session import Session

__all__ = ["MemoryRegister", "RevocationRegister"]

KEEP: Final = 24 * 3600
"""Seconds an entry is kept: no session token may live longer."""


class RevocationRegister(Protocol):
    """What the kit needs to remember. Methods are called from several threads."""

    def end(self, *, sid: str | None, sub: str | None, issued_until: int) -> None:
        """Refuse tokens of this session or person that were issued at or before ``issued_until``."""

    def is_ended(self, session: Session) -> bool:
        """Whether `end` covers this session."""

    def remember(self, jti: str, until: float) -> bool:
        """Keep a logout token's id until that time; ``False`` if it is already there."""


class MemoryRegister:
    """A bounded register in the memory of this process."""

    def __init__(self, *, most: int = 50_000) -> None:
        self._most = most
        self._ended: dict[tuple[str, str], tuple[int, float]] = {}
        self._seen: dict[str, float] = {}
        self._lock = Lock()

    def end(self, *, sid: str | None, sub: str | None, issued_until: int) -> None:
        """Refuse tokens of this session (or of this person, if no session is named)."""
        key = ("sid", sid) if sid is not None else ("sub", sub or "")
        now = time.time()
        with self._lock:
            before = self._ended.pop(key, (0, 0.0))[0]
            self._ended[key] = (max(before, issued_until), now + KEEP)
            while self._ended and (len(self._ended) > self._most or next(iter(self._ended.values()))[1] < now):
                del self._ended[next(iter(self._ended))]

    def is_ended(self, session: Session) -> bool:
        """Whether the session was ended after its token was made."""
        if not self._ended:
            return False
        for key in (("sid", session.sid), ("sub", session.sub)):
            entry = self._ended.get(key)
            if entry is not None and session.issued_at <= entry[0]:
                return True
        return False

    def remember(self, jti: str, until: float) -> bool:
        """Keep a logout token's id; a full register refuses rather than forgets (fails closed)."""
        now = time.time()
        with self._lock:
            if len(self._seen) >= self._most:
                self._seen = {key: end for key, end in self._seen.items() if end > now}
            if len(self._seen) >= self._most or self._seen.get(jti, 0.0) > now:
                return False
            self._seen[jti] = until
            return True
