"""Access tokens: made and read in one place, whatever they look like and whoever they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from broker.domain.grant import ACCESS_TOKEN_LIFETIME, CLOCK_SKEW, Grant
from broker.domain.ports import AccessToken, Clock, Entropy, Handles
from broker.domain.values import Scope
from broker.errors import InvalidToken

BEARER: Final = "Bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokens:
    handles: Handles
    clock: Clock
    entropy: Entropy

    def on(self, grant: Grant, scopes: frozenset[Scope]) -> AccessToken:
        """What a new access token on this grant stands for."""
        now = self.clock.now()
        return AccessToken(
            grant=grant.id,
            token_id=self.entropy.token(9),
            scopes=frozenset(scopes),
            issued_at=now,
            expires_at=now + ACCESS_TOKEN_LIFETIME,
        )

    def text(self, access: AccessToken) -> str:
        """The token itself."""
        return self.handles.access_token(access)

    def own(self, token: str) -> AccessToken | None:
        """What a token of ours says about itself, expired or not; `None` for anything else."""
        return self.handles.read_access_token(token)

    def read(self, token: str) -> AccessToken:
        """The same of one that is good now. Raises `InvalidToken` if we did not make it, or for another time."""
        access, now = self.own(token), self.clock.now()
        if access is None or not access.issued_at - CLOCK_SKEW <= now < access.expires_at:
            raise InvalidToken(detail="not ours, malformed, expired or from the future")
        return access
