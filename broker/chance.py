"""The system's clock and randomness: the only module that reads either."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

READ_ALOUD: Final = "23456789ABCDEFGHJKMNPQRTUVWXYZ"
"""No 0/O, 1/I/L, S/5 pairs: what is read over the telephone arrives (references only, never secrets)."""


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SystemClock:
    """The wall clock, except that it never goes back while the process lives.

    A wall clock that is set back would make codes, tokens and sessions valid again that have expired, and let replay
    marks be forgotten before what they mark. So time here follows the wall clock forward, and where that falls behind it
    runs on steadily. A start takes the wall clock over as it is.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        """Both in nanoseconds; `steady` from any start, and never set."""
        self._wall = wall
        self._steady = steady
        self._lead = wall() - steady()

    def now(self) -> datetime:
        """Aware UTC."""
        wall = self._wall()  # first: to be interrupted between the two must not look like a jump forward
        steady = self._steady()
        self._lead = max(self._lead, wall - steady)
        return _EPOCH + timedelta(microseconds=(steady + self._lead) // 1000)


class SystemEntropy:
    """The operating system's random numbers."""

    def token(self, nbytes: int = 32) -> str:
        """URL-safe text of `nbytes` bytes of entropy."""
        return secrets.token_urlsafe(nbytes)

    def bytes(self, nbytes: int) -> bytes:
        """`nbytes` random bytes."""
        return secrets.token_bytes(nbytes)

    def reference(self) -> str:
        """A code such as `K7Q2-91XM` to find a log line by: 40 bits, to be read aloud."""
        letters = [secrets.choice(READ_ALOUD) for _ in range(8)]
        return f"{''.join(letters[:4])}-{''.join(letters[4:])}"
