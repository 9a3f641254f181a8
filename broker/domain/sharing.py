"""Which fields a provider sent, and which of them a person lets us keep: the preview and the decision about it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from broker.domain.account import ProfileValue, Source, from_provider
from broker.domain.claims import EMAIL, PICTURE, read_typed, words_of
from broker.domain.policy import FieldPolicy, Use
from broker.domain.provider import Identity, OfferedField
from broker.domain.values import ClaimName


class FieldStatus(StrEnum):
    RECEIVED = "received"
    DECLINED = "declined"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldShare:
    """One row of the preview."""

    claim: ClaimName
    value: str | None = field(repr=False)
    status: FieldStatus
    verified: bool
    required: bool
    policy: FieldPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingDecision:
    """What the person chose on the preview. `kept` is all that may ever be stored."""

    preview_digest: str
    accepted: tuple[ClaimName, ...]
    edited: tuple[ClaimName, ...]
    refused: tuple[ClaimName, ...]
    kept: Mapping[ClaimName, ProfileValue] = field(repr=False)
    decided_at: datetime


def preview(
    identity: Identity, offers: Iterable[OfferedField], fields: Mapping[ClaimName, FieldPolicy]
) -> tuple[FieldShare, ...]:
    """The rows to show: every field the provider may tell us that the admin has switched on, in the provider's order."""
    rows = []
    for offer in offers:
        policy = fields.get(offer.claim)
        if policy is None or policy.use is Use.NEVER:
            continue
        value = identity.claims.get(offer.claim)
        declined = offer.claim in identity.declined
        status = FieldStatus.RECEIVED if value else FieldStatus.DECLINED if declined else FieldStatus.ABSENT
        rows.append(
            FieldShare(
                claim=offer.claim,
                value=value,
                status=status,
                verified=bool(value) and offer.claim in identity.verified,
                required=policy.use is Use.NEEDED,
                policy=policy,
            )
        )
    return tuple(rows)


def preview_digest(shares: Iterable[FieldShare], notice: str) -> str:
    """Fingerprint of what was shown: names, statuses, purposes and versions, never values (decision 15)."""
    parts = [f"{share.claim}:{share.status}:{share.required}:{share.policy.version}" for share in shares]
    return hashlib.sha256("\n".join([notice, *parts]).encode()).hexdigest()


def decide(
    shares: Sequence[FieldShare],
    *,
    ticked: frozenset[ClaimName],
    edits: Mapping[ClaimName, str],
    identity: Identity,
    digest: str,
    now: datetime,
) -> tuple[SharingDecision, dict[ClaimName, str]]:
    """What the person's form means, and problems per field.

    An edit counts only where the field is editable and it is needed or ticked: browsers also post closed text boxes.
    An edited value loses the provider's word for it. Whatever is neither needed nor ticked is refused.
    Problems: `bad_value` (an edit that is no such claim). A needed value that is missing is asked for on the next page.
    """
    kept: dict[ClaimName, ProfileValue] = {}
    edited: list[ClaimName] = []
    refused: list[ClaimName] = []
    problems: dict[ClaimName, str] = {}
    for share in shares:
        if not (share.required or share.claim in ticked):
            refused.append(share.claim)
            continue
        typed = edits.get(share.claim, "").strip() if share.policy.editable else ""
        if typed and typed != words_of(share.claim, share.value or ""):
            value = read_typed(share.claim, typed)
            if value is None:
                problems[share.claim] = "bad_value"
                continue
            if not _same_address(share, value):
                kept[share.claim] = ProfileValue(value=value, source=Source.PERSON)
                edited.append(share.claim)
                continue
        if share.value is not None:
            source = from_provider(identity.provider)
            kept[share.claim] = ProfileValue(value=share.value, source=source, verified=share.verified)
    decision = SharingDecision(
        preview_digest=digest,
        accepted=tuple(kept),
        edited=tuple(edited),
        refused=tuple(refused),
        kept=kept,
        decided_at=now,
    )
    return decision, problems


def _same_address(share: FieldShare, value: str) -> bool:
    return share.claim == EMAIL and share.value is not None and share.value.casefold() == value.casefold()


def missing(fields: Mapping[ClaimName, FieldPolicy], kept: Mapping[ClaimName, ProfileValue]) -> tuple[ClaimName, ...]:
    """Needed fields that nothing was kept for: the only ones the sign-up form asks (WCAG 3.3.7).

    A picture cannot be typed: who has none goes on without.
    """
    return tuple(
        name for name, policy in fields.items() if policy.use is Use.NEEDED and name not in kept and name != PICTURE
    )
