"""Which proofs were taken already: each is good once (RFC 9449 §11.1).

`MemoryReplays` serves one process. A site that runs several gives its own object with the same one method: a proof that
one process took could be used again at another one otherwise.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from threading import Lock
from typing import Protocol

from .errors import SessionError

__all__ = ["MemoryReplays", "ReplayRegister"]


class ReplayRegister(Protocol):
    """What the kit needs to remember of proofs. Called from several threads; may block."""

    def remember(self, name: str, until: float, /) -> bool:
        """Keep a name until that time (seconds since 1970); ``False`` if it is already there. To be one step, not two."""


class MemoryReplays:
    """A bounded register in the memory of this process: about 200 bytes for each proof of the last two minutes."""

    def __init__(self, *, most: int = 100_000, clock: Callable[[], float] = time.time) -> None:
        self._most, self._clock = most, clock
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def remember(self, name: str, until: float, /) -> bool:
        """Keep a name. A full register refuses rather than forgets: `SessionError` ``too_busy`` (503)."""
        digest, now = sha256(name.encode()).digest()[:16], self._clock()
        with self._lock:
            # All are kept for about the same time, so the oldest are over first.
            while self._seen and next(iter(self._seen.values())) <= now:
                self._seen.popitem(last=False)
            if self._seen.get(digest, 0.0) > now:
                return False
            if len(self._seen) >= self._most:
                raise SessionError("too_busy")
            self._seen[digest] = until
            self._seen.move_to_end(digest)
            return True
