"""The system's clock and randomness: the only module that reads either."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Final

READ_ALOUD: Final = "23456789ABCDEFGHJKMNPQRTUVWXYZ"
"""No 0/O, 1/I/L, S/5 pairs: what is read over the telephone arrives (references only, never secrets)."""


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


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
