"""Sites that register by themselves (RFC 7591, RFC 7592): the invitation they need, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker.domain.policy import text_version
from broker.domain.values import ClientId, Scope

PREFIX: Final = "r-"
"""What ids of registered sites begin with: no configured site may have such an id, so that none is looked up for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An initial access token (RFC 7591 §1.2): who holds it may register a few sites for a while."""

    id: str
    digest: bytes = field(repr=False)
    """SHA-256 of the token; the token itself is kept nowhere."""
    scopes: frozenset[Scope]
    uses_left: int
    created_at: datetime
    expires_at: datetime
    note: str = ""
    """Whom the admin gave it to, in the admin's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One site that registered. Its metadata is judged again each time it is read: rules that became stricter hold."""

    client_id: ClientId
    invitation: str
    metadata: str = field(repr=False)
    """What it said, as JSON."""
    scopes: frozenset[Scope]
    """What its invitation gave away."""
    secret_digest: bytes | None = field(default=None, repr=False)
    token_digest: bytes = field(repr=False)
    """SHA-256 of the registration access token that is good now (RFC 7592 §3)."""
    registered_at: datetime
    reviewed_at: datetime | None = None
    """When an admin looked at it; until then people are told that nobody did."""

    @property
    def version(self) -> str:
        """Changes with whatever it says of itself: what an admin saw, they name by this."""
        return text_version(self.metadata)
