"""A person takes us out of their account at a provider, and the provider tells us: what it says, and what we keep of it.

Nothing is erased by a provider's word alone. What hung on that way ends at once; whether the account goes, too, people
decide who look at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from broker.domain.values import AccountId, IdentityKey, ProviderId


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What a provider said, proved to be its word: whose identity, and when."""

    key: IdentityKey
    at: datetime


@runtime_checkable
class TellsOfRemoval(Protocol):
    """A provider that tells us when somebody takes us out of their account there."""

    def read_removal(self, form: Mapping[str, str]) -> Removed:
        """What its form says. Raises `UpstreamInvalid(check)` unless it is the provider's word, and a recent one."""
        ...


class RemovalKind(StrEnum):
    APP_REMOVED = "app_removed"
    """The person took us out there."""
    DELETION = "deletion"
    """The person asked there that what we keep is deleted."""


class RemovalState(StrEnum):
    WAITING = "waiting"
    """For somebody to look at it."""
    ERASED = "erased"
    KEPT = "kept"
    """Looked at and not erased, for a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One account whose owner was said to have left: in the queue, or decided."""

    code: str = field(repr=False)
    """What the person can look it up with; made of the identity, so that the same one has the same."""
    account: AccountId
    provider: ProviderId
    kind: RemovalKind
    state: RemovalState
    asked_at: datetime
    decided_at: datetime | None = None
    reason: str = ""
    """Why it was kept, in words for the person."""
