"""Versions of the terms, the privacy notice and each field's purpose: which are in force and who must agree again.

A consent covers exactly what was shown, in the version that was shown (promise P6). The version of a purpose is
derived from its words and audience, so changing the words is changing the version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from broker.domain.values import ClaimName


class Audience(StrEnum):
    """Who will see a field, in the words of the preview page."""

    ONLY_YOU = "only_you"
    ADMINS = "admins"
    MEMBERS = "members"
    EVERYONE = "everyone"


class Use(StrEnum):
    """Whether a field is needed, a person's choice, or never kept."""

    NEEDED = "needed"
    OPTIONAL = "optional"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPolicy:
    """What one field of the profile is for. A field without purpose and audience cannot be switched on."""

    claim: ClaimName
    use: Use
    audience: Audience
    purpose: Mapping[str, str]
    """The purpose in words, by language tag; `en` is always there."""
    editable: bool = True
    retention: str = "until_closed"
    """How long it is kept: `until_closed` or a number of days as text, shown in the notice."""

    @property
    def version(self) -> str:
        """Changes whenever the purpose's words or its audience change."""
        return text_version(self.audience.value, *(f"{tag}={text}" for tag, text in sorted(self.purpose.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One published version of the terms or the privacy notice."""

    version: str
    effective_from: date
    changes: tuple[str, ...] = ()
    """What is different from the version before, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """All published versions; the newest that has taken effect is in force."""

    terms: tuple[PolicyVersion, ...]
    privacy: tuple[PolicyVersion, ...]


def text_version(*parts: str) -> str:
    """A short version name for words: the first 12 hex digits of their SHA-256."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]


def in_force(versions: Iterable[PolicyVersion], today: date) -> PolicyVersion | None:
    """The newest version whose effective date has come."""
    taken_effect = [version for version in versions if version.effective_from <= today]
    return max(taken_effect, key=lambda version: version.effective_from, default=None)


def notice_version(policies: Policies, today: date) -> str:
    """The one text a receipt keeps: which terms and which privacy notice were in force."""
    terms, privacy = in_force(policies.terms, today), in_force(policies.privacy, today)
    return f"terms:{terms.version if terms else '-'} privacy:{privacy.version if privacy else '-'}"


def needs_agreement(agreed: str | None, policies: Policies, today: date) -> bool:
    """Whether an account that last agreed to `agreed` has to see the policy page again."""
    return agreed != notice_version(policies, today)
