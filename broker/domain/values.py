"""The small values everything else is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType, TypeAlias

AccountId = NewType("AccountId", str)
ClientId = NewType("ClientId", str)
ProviderId = NewType("ProviderId", str)
Sid = NewType("Sid", str)
GrantId = NewType("GrantId", str)
ReceiptId = NewType("ReceiptId", str)
ClaimName = NewType("ClaimName", str)
Scope = NewType("Scope", str)

ClaimValue: TypeAlias = str | bool | int | Mapping[str, str]
"""What a claim may hold once normalised: text, truth, a number, or the address object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityKey:
    """Who a person is at a provider: `(issuer, subject)`, never an e-mail address (OpenID Connect Core §5.7)."""

    issuer: str
    subject: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that never shows itself in a log, a traceback or a repr."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """The text itself. Every call of this is a place to look at."""
        return self._value

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)
