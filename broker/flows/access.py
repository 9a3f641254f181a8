"""Access tokens: made and read in one place, whatever they look like and whoever they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from broker.domain import tokens
from broker.domain.checks.dpop import Shown
from broker.domain.client import AccessTokenFormat, Client
from broker.domain.disclosure import Disclosure
from broker.domain.grant import ACCESS_TOKEN_LIFETIME, CLOCK_SKEW, Grant
from broker.domain.ports import AccessToken, Clock, Entropy, Handles, Signer
from broker.domain.values import GrantId, Scope
from broker.errors import InvalidToken

BEARER: Final = "Bearer"
DPOP: Final = "DPoP"


def type_of(access: AccessToken) -> str:
    """How an access token is to be presented: by itself, or with its key (RFC 6750, RFC 9449 §5)."""
    return BEARER if access.jkt is None else DPOP


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokens:
    handles: Handles
    signer: Signer
    clock: Clock
    entropy: Entropy
    issuer: str

    def on(self, grant: Grant, scopes: frozenset[Scope], shown: Shown | None = None) -> AccessToken:
        """What a new access token on this grant stands for, as far as `checks.resource` and the scopes leave it.

        `shown`: the key it will be bound to.
        """
        now = self.clock.now()
        return AccessToken(
            grant=grant.id,
            token_id=self.entropy.token(9),
            scopes=frozenset(scopes),
            issued_at=now,
            expires_at=now + ACCESS_TOKEN_LIFETIME,
            audience=grant.resources,
            jkt=None if shown is None else shown.jkt,
        )

    def of(
        self, client: Client, scopes: frozenset[Scope], audience: tuple[str, ...], shown: Shown | None = None
    ) -> AccessToken:
        """What a new access token stands for that a site has for itself."""
        now = self.clock.now()
        return AccessToken(
            grant=GrantId(""),
            client=client.client_id,
            token_id=self.entropy.token(9),
            scopes=frozenset(scopes),
            issued_at=now,
            expires_at=now + ACCESS_TOKEN_LIFETIME,
            audience=audience,
            jkt=None if shown is None else shown.jkt,
        )

    def text(self, access: AccessToken, client: Client, disclosure: Disclosure | None) -> str:
        """The token itself, in the format of this site. `disclosure`: whose it is; `None` for the site's own."""
        if client.access_tokens is AccessTokenFormat.OPAQUE:
            return self.handles.access_token(access)
        if disclosure is None:
            claims = tokens.service_token(access, issuer=self.issuer)
        else:
            claims = tokens.access_token(disclosure, access, issuer=self.issuer)
        return self.signer.sign(claims, typ=tokens.ACCESS_TOKEN_TYPE, algorithm=client.signing_algorithm)

    def own(self, token: str) -> AccessToken | None:
        """What a token of ours says about itself, expired or not; `None` for anything else.

        Both formats, whatever the site has now: tokens outlive a change of the configuration.
        """
        access = self.handles.read_access_token(token)
        if access is not None:
            return access
        claims = self.signer.own(token, typ=tokens.ACCESS_TOKEN_TYPE, now=self.clock.now())
        return None if claims is None else tokens.read_access_token(claims)

    def read(self, token: str) -> AccessToken:
        """The same of one that is good now. Raises `InvalidToken` if we did not make it, or for another time."""
        access, now = self.own(token), self.clock.now()
        if access is None or not access.issued_at - CLOCK_SKEW <= now < access.expires_at:
            raise InvalidToken(detail="not ours, malformed, expired or from the future")
        return access
