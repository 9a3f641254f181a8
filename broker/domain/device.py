"""Signing in on a device that has no browser of its own (RFC 8628): what it asked, and the code people type."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.domain.values import ClientId, Scope

LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no code is a word, and nothing that looks like a digit (RFC 8628 §6.1)."""
LENGTH: Final = 8
"""20^8: with `GUESSES` an address finds one of a thousand open codes once in some ten years."""
LIFETIME: Final = timedelta(minutes=10)
INTERVAL: Final = timedelta(seconds=5)
"""What a device has to wait between two questions (RFC 8628 §3.2)."""
EARLY: Final = timedelta(seconds=1)
"""How much sooner a question may come: clocks of small devices run as they like."""
KEPT: Final = timedelta(minutes=10)
"""How long a device is still told that its time is over, and not that nobody knows it."""
ANSWER_PATH: Final = "/device/answer"
"""Where a browser brings the answer: we are the site that asked, for the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """A device that waits, by a name that opens nothing."""

    name: str
    client_id: ClientId
    scopes: frozenset[Scope]
    created_at: datetime
    resources: tuple[str, ...]
    """Interfaces that it wants tokens for (RFC 8707)."""
    typed: str
    """Where it is found by what people type."""
    code_verifier: str = field(repr=False)
    """Ours alone: a code that comes by a browser is worth nothing without it."""

    @property
    def expires_at(self) -> datetime:
        """When its time is over."""
        return self.created_at + LIFETIME


def make_user_code(random: bytes) -> str:
    """A code of `LENGTH` letters, each as likely as any other, of at least 64 random bits."""
    number, letters = int.from_bytes(random, "big"), []
    for _ in range(LENGTH):
        number, at = divmod(number, len(LETTERS))
        letters.append(LETTERS[at])
    return "".join(letters)


def spelled(user_code: str) -> str:
    """As a device shows it: `WDJB-MJHT`."""
    return f"{user_code[:4]}-{user_code[4:]}"


def read_user_code(text: str) -> str | None:
    """What a person typed, in small letters and with whatever between them (RFC 8628 §6.1); `None` for what is no code."""
    if len(text) > 100:
        return None
    letters = "".join(letter for letter in text.upper() if letter.isalnum())
    return letters if len(letters) == LENGTH and set(letters) <= set(LETTERS) else None
