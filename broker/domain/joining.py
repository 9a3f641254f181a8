"""An account that already uses the address that came: whose it is, and what joins the new identity to it.

An address points at an account and never opens one (decision 18). What is added, is added because the person showed both:
this identity by its provider's answer, and the account by signing in to it, in one browser (catalogue 116).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from broker.domain.account import Account
from broker.domain.claims import EMAIL, email_key
from broker.domain.provider import Identity
from broker.domain.sharing import SharingDecision

JOIN_WITHIN: Final = timedelta(minutes=30)
"""From the provider's answer to the sign-in to the account: time to find out how one came in before, not more."""


class Address(StrEnum):
    """What is known about the address that came."""

    SETTLED = "settled"
    """Nobody else has it, or it is not used."""
    ASKED = "asked"
    """An account has it, and the person did not say whose that is."""
    ANOTHERS = "anothers"
    """The person said that it is somebody else's: it is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """A provider's answer that waits for its account. Of what was sent, only the address is left."""

    identity: Identity = field(repr=False)
    address: str = field(repr=False)
    answered_at: datetime


def checked_address(identity: Identity, decision: SharingDecision | None) -> str | None:
    """The address that came and that we may vouch for, as far as it is still to be used; `None` if there is none."""
    if decision is not None:
        held = decision.kept.get(EMAIL)
        return held.value if held is not None and held.verified else None
    return identity.claims.get(EMAIL) if EMAIL in identity.verified else None


def joining_of(identity: Identity, address: str, answered_at: datetime) -> Joining:
    """ "It is mine": everything else that was sent is gone."""
    hint = identity.account_hint if identity.account_hint == address else None
    bare = replace(identity, claims={}, verified=frozenset(), account_hint=hint, session=None)
    return Joining(identity=bare, address=address, answered_at=answered_at)


def without_address(identity: Identity) -> Identity:
    """ "It is not mine", on the way to the preview."""
    claims = {name: value for name, value in identity.claims.items() if name != EMAIL}
    hint = identity.account_hint if identity.account_hint in claims.values() else None
    return replace(identity, claims=claims, verified=identity.verified - {EMAIL}, account_hint=hint)


def decided_without_address(decision: SharingDecision) -> SharingDecision:
    """The same after the preview: what was kept of the address is refused now."""
    return replace(
        decision,
        kept={name: held for name, held in decision.kept.items() if name != EMAIL},
        accepted=tuple(name for name in decision.accepted if name != EMAIL),
        refused=(*decision.refused, EMAIL),
    )


def is_meant(joining: Joining, account: Account) -> bool:
    """Whether this is the account that was pointed at: it has that address, checked, at this moment."""
    held = account.profile.get(EMAIL)
    return held is not None and held.verified and email_key(held.value) == email_key(joining.address)


def is_over(joining: Joining, now: datetime) -> bool:
    """Whether the provider's answer is too old to be added to anything."""
    return now - joining.answered_at > JOIN_WITHIN
