"""What we ask providers, as a client of theirs, in a form that proves that we ask it: request objects and client assertions.

Signed with keys of their own, so that nothing made for a provider can be a token to any site (RFC 9101 §10.8). A request left
here for a provider to fetch is kept sealed for as long as it is good. It may be fetched again while that lasts, because people
reload pages: it leads to one answer all the same, by its `state`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from broker.domain import base64url
from broker.domain.client import SigningAlgorithm
from broker.domain.ports import Clock, Entropy, Signer, Transactions
from broker.domain.provider import requests_of
from broker.domain.values import ProviderId
from broker.flows.transactions import Seal

REQUEST_LIFE: Final = timedelta(minutes=5)
"""From the click to the provider's page: it reads the request at once."""
ASSERTION_LIFE: Final = timedelta(minutes=1)
"""It goes from server to server."""
BEHIND: Final = timedelta(seconds=10)
"""How far a provider's clock may be behind ours and take what we made just now."""
REQUEST: Final = "oauth-authz-req+jwt"
"""What says that it is no other kind of token (RFC 9101 §10.8)."""
ASSERTION: Final = "JWT"
UNSIGNED: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequests:
    """Implements `broker.domain.provider.OurRequests`."""

    signer: Signer
    """Of keys for nothing else (`KeyUse.REQUESTS`)."""
    store: Transactions
    seal: Seal
    clock: Clock
    entropy: Entropy
    issuer: str

    def request(self, parameters: Mapping[str, Any], *, client_id: str, provider_issuer: str, algorithm: str) -> str:
        """These parameters as a request object (RFC 9101 §4, OpenID Connect Core §6.1): from us, for that provider alone.

        `algorithm`: of `SigningAlgorithm`, or `none`, which proves nothing but where it was fetched. There is no `sub` in it, so
        that it is no client assertion (RFC 9101 §10.8).
        """
        claims = {**parameters, **self._claims(client_id, provider_issuer, REQUEST_LIFE), "client_id": client_id}
        if algorithm == UNSIGNED:
            return f"{_part({'alg': UNSIGNED, 'typ': REQUEST})}.{_part(claims)}."
        return self.signer.sign(claims, typ=REQUEST, algorithm=SigningAlgorithm(algorithm))

    def assertion(self, *, client_id: str, provider_issuer: str, algorithm: str) -> str:
        """A proof of who we are, for that provider alone and once (RFC 7523 §3, OpenID Connect Core §9)."""
        claims = {**self._claims(client_id, provider_issuer, ASSERTION_LIFE), "sub": client_id}
        return self.signer.sign(claims, typ=ASSERTION, algorithm=SigningAlgorithm(algorithm))

    async def leave(self, provider: ProviderId, request: str) -> str:
        """The address where a request lies from now on (OpenID Connect Core §6.2). Nobody can guess it."""
        reference = self.entropy.token(32)
        name = _name(provider, reference)
        await self.store.save(name, self.seal.seal_text(request, name).encode(), self.clock.now() + REQUEST_LIFE)
        return f"{requests_of(self.issuer, provider)}{reference}"

    async def fetch(self, provider: ProviderId, reference: str) -> str | None:
        """What was left for this provider under this reference; `None` if nothing was, or no more."""
        name = _name(provider, reference)
        sealed = await self.store.load(name, self.clock.now())
        return self.seal.open_text(sealed.decode(), name) if sealed is not None else None

    def _claims(self, client_id: str, provider_issuer: str, life: timedelta) -> dict[str, Any]:
        now = self.clock.now()
        return {
            "iss": client_id,
            "aud": provider_issuer,
            "iat": int(now.timestamp()),
            "nbf": int((now - BEHIND).timestamp()),
            "exp": int((now + life).timestamp()),
            "jti": self.entropy.token(16),
        }


def _name(provider: ProviderId, reference: str) -> str:
    return f"asked:{hashlib.sha256(f'{provider} {reference}'.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _part(value: Mapping[str, Any]) -> str:
    return base64url.encoded(json.dumps(value, separators=(",", ":")).encode())
