"""From a provider's own words to standard claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME, SCOPES, normalise
from broker.domain.provider import OfferedField
from broker.domain.values import ClaimName

SCOPE_OF: Final[Mapping[ClaimName, str]] = {claim: str(scope) for scope, claims in SCOPES.items() for claim in claims}
"""Which scope an OpenID provider is asked for a claim (OpenID Connect Core §5.4)."""


def offers_of(fields: Iterable[ClaimName], scope_of: Mapping[ClaimName, str]) -> tuple[OfferedField, ...]:
    """The promised fields with what must be asked for each, in the given order."""
    return tuple(OfferedField(claim=claim, scope=scope_of[claim]) for claim in fields if claim in scope_of)


def scopes_for(offers: Iterable[OfferedField], *always: str) -> tuple[str, ...]:
    """What to ask at sign-in: no more than the promised fields need."""
    return tuple(dict.fromkeys([*always, *(offer.scope for offer in offers)]))


def read_claims(raw: Mapping[str, object], offers: Iterable[OfferedField]) -> dict[ClaimName, str]:
    """The promised claims that are there and usable, normalised. Everything else is dropped unread."""
    found = {offer.claim: normalise(offer.claim, raw.get(offer.claim)) for offer in offers}
    return {claim: value for claim, value in found.items() if value is not None}


def is_true(raw: object) -> bool:
    """`true`, or the text some providers send for it. Anything else, also 1 and "True ", is not."""
    return raw is True or raw == "true"


def hint(claims: Mapping[ClaimName, str]) -> str | None:
    """How the person would recognise this identity on their own account page."""
    return claims.get(EMAIL) or claims.get(PREFERRED_USERNAME) or claims.get(NAME)
