"""A person takes us out of their account at a provider, and the provider tells us: what it says, and what we keep of it.

Nothing is erased by a provider's word alone. What hung on that way ends at once; whether the account goes, too, people
decide who look at it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from broker.domain.values import AccountId, IdentityKey, ProviderId

APART: Final = timedelta(minutes=1)
"""How far the provider's clock and ours may be apart."""
NOBODY: Final = AccountId("")
"""Whose account a removal is about when the identity opens none."""
MAX_REASON: Final = 500
"""Characters of the words for the person."""


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


@runtime_checkable
class SendsNotices(Protocol):
    """A provider that tells us in signed notices what becomes of its people."""

    async def read_notice(self, text: str) -> Removed | None:
        """Who took us out or is gone, as a notice says; `None` for one about anything else.

        Raises `UpstreamInvalid(check)` unless it is the provider's word, and a recent one; `UpstreamUnavailable` when
        its keys cannot be had.
        """
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


def code_of(key: bytes, identity: IdentityKey, kind: RemovalKind) -> str:
    """The code of a removal: 24 letters and digits, told to the provider and the person.

    Made of the identity under a key of ours: the same request has the same code, and nobody can guess one.
    """
    text = f"{kind}\x00{identity.issuer}\x00{identity.subject}"
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest[:15]).decode("ascii")


def is_news(kept: Removal | None, said: Removed) -> bool:
    """Whether this was not said before: the same word again, or an older one, changes nothing."""
    return kept is None or said.at > kept.asked_at


def was_there(made_at: datetime, said: Removed, *, news: bool) -> bool:
    """Whether something is old enough to be meant by what was said.

    What came after it (a new sign-in, a way added again) is not: a word that is repeated later ends nothing new. The
    first time, the clocks may be a little apart; a repeated word gets no such allowance.
    """
    return made_at <= (said.at + APART if news else said.at)


def taken(
    kept: Removal | None,
    said: Removed,
    *,
    code: str,
    kind: RemovalKind,
    provider: ProviderId,
    account: AccountId,
    now: datetime,
) -> Removal:
    """What is kept of it: a deletion waits for somebody to look at it, unless there is no account. Taking us out is done."""
    asked = Removal(
        code=code, account=account, provider=provider, kind=kind, state=RemovalState.WAITING, asked_at=said.at
    )
    if kept is not None and kept.state is RemovalState.WAITING and kept.account == account:
        return replace(kept, asked_at=said.at)
    if account == NOBODY:
        return replace(asked, state=RemovalState.ERASED, decided_at=now)
    return asked if kind is RemovalKind.DELETION else replace(asked, state=RemovalState.KEPT, decided_at=now)
