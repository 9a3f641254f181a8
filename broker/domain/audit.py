"""What the people who run the service did: who, what, to whom and why, in a chain that shows where it was changed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from broker.domain.claims import clean_text

MAX_WHY: Final = 500
MAX_BY: Final = 200
"""Characters that are kept."""


class Action(StrEnum):
    ROLE_GIVEN = "role_given"
    ROLE_TAKEN = "role_taken"
    ACCOUNT_HELD = "account_held"
    ACCOUNT_RELEASED = "account_released"
    ACCOUNTS_MERGED = "accounts_merged"
    """The first stays, the second went into it."""
    DELETION_APPROVED = "deletion_approved"
    DELETION_DISMISSED = "deletion_dismissed"
    SITE_INVITED = "site_invited"
    INVITATION_ENDED = "invitation_ended"
    SITE_REVIEWED = "site_reviewed"
    SITE_REMOVED = "site_removed"
    SITE_BLOCKED = "site_blocked"
    SITE_UNBLOCKED = "site_unblocked"
    PASSKEY_REFUSED = "passkey_refused"
    """Its counter went back, so there may be a copy of it. The only entry about what nobody did on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who does something, and why."""

    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was done."""

    number: int
    """From 1, without gaps."""
    at: datetime
    by: str
    action: Action
    subject: str
    """Whom or what it was done to: an account's id, and what more there is to say."""
    why: str
    digest: str
    """Of this entry and the one before it, under a key that is not in the database."""


def next_entry(
    key: bytes, last: AuditEntry | None, *, at: datetime, action: Action, subject: str, act: Act
) -> AuditEntry:
    """The entry that follows `last`; `None`: the first."""
    number = 1 if last is None else last.number + 1
    by, why = clean_text(act.by, limit=MAX_BY), clean_text(act.why, limit=MAX_WHY)
    digest = _digest(key, last.digest if last is not None else "", number, at, by, action, subject, why)
    return AuditEntry(number=number, at=at, by=by, action=action, subject=subject, why=why, digest=digest)


def first_broken(key: bytes, entries: Iterable[AuditEntry], before: AuditEntry | None = None) -> int | None:
    """The number of the first entry that is not as it was written, or is missing; `None`: the chain holds.

    `before`: the one before the first of them. That the newest were taken away shows in nothing that is left: compare with
    a copy elsewhere.
    """
    for entry in entries:
        number = 1 if before is None else before.number + 1
        if entry.number != number:
            return number
        digest = before.digest if before is not None else ""
        told = (entry.number, entry.at, entry.by, entry.action, entry.subject, entry.why)
        if not hmac.compare_digest(_digest(key, digest, *told), entry.digest):
            return number
        before = entry
    return None


def _digest(key: bytes, before: str, number: int, at: datetime, by: str, action: Action, subject: str, why: str) -> str:
    told = json.dumps([before, number, at.isoformat(timespec="microseconds"), by, action.value, subject, why])
    return hmac.new(key, told.encode(), hashlib.sha256).hexdigest()
