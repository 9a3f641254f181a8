"""Sites that put themselves in: with an invitation (RFC 7591, RFC 7592), or by a document at the address that is their id
(draft-ietf-oauth-client-id-metadata-document). What is kept of both is the same.
"""

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
    """One site. Its metadata is judged again each time it is read: rules that became stricter hold."""

    client_id: ClientId
    invitation: str
    """Empty for a site with a document."""
    metadata: str = field(repr=False)
    """What it said, as JSON."""
    scopes: frozenset[Scope]
    """What its invitation gave away."""
    secret_digest: bytes | None = field(default=None, repr=False)
    token_digest: bytes = field(repr=False)
    """SHA-256 of the registration access token that is good now (RFC 7592 §3); of a document, `domain.documents.mark`."""
    registered_at: datetime
    reviewed_at: datetime | None = None
    """When an admin looked at it; until then people are told that nobody did."""
    fresh_until: datetime | None = None
    """When its document is to be read again; `None`: it has none, it registered."""
    blocked_at: datetime | None = None
    """When an admin shut it out: only of a site with a document, which would come back otherwise."""

    @property
    def has_document(self) -> bool:
        """Whether its id is the address of what it says."""
        return self.fresh_until is not None

    @property
    def version(self) -> str:
        """Changes with whatever it says of itself: what an admin saw, they name by this."""
        return text_version(self.metadata)
