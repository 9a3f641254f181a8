"""What sites signed, checked against the keys they registered: in the configuration, or at an address of theirs.

Keys at an address are fetched by the guarded client, kept as `broker.verification` says, and looked for once more at
most once a minute when a token names one that nobody knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from joserfc.jwk import OctKey

from broker.domain.checks.client import SECRET_ALGORITHMS
from broker.domain.checks.dpop import PROOF_ALGORITHMS, PROOF_TYPES
from broker.domain.client import Client
from broker.domain.ports import Clock
from broker.domain.values import ClientId
from broker.egress import Egress
from broker.errors import UpstreamInvalid, UpstreamUnavailable
from broker.strict_json import read_json
from broker.verification import Fetched, FixedKeys, KeySet, KeySource, VerificationKey, read_set, self_signed, verified

MAX_TOKEN: Final = 16 * 1024
MAX_PROOF: Final = 4096
SITES_MOST: Final = 1000
"""Whose keys are remembered: sites with documents come without being asked."""
_OK: Final = 200


class SiteTokens:
    """Implements the `ClientTokens` port."""

    def __init__(self, http: Egress, clock: Clock) -> None:
        self._http, self._clock = http, clock
        self._keys: dict[ClientId, tuple[tuple[str, str | None], KeySource]] = {}

    async def claims(
        self, client: Client, token: str, *, algorithms: tuple[str, ...], types: frozenset[str]
    ) -> Mapping[str, Any]:
        """See the port."""
        keys = _secrets(client) if algorithms == SECRET_ALGORITHMS else self._keys_of(client)
        _, claims = await verified(token, keys, algorithms=algorithms, types=types, check="token", max_size=MAX_TOKEN)
        return claims

    async def at(self, address: str) -> str:
        """See the port."""
        answer = await self._http.request("GET", address, headers={"Accept": "application/oauth-authz-req+jwt"})
        if answer.status != _OK:
            raise UpstreamUnavailable(f"status {answer.status} request object")
        return answer.body[: MAX_TOKEN + 1].decode("ascii", "replace").strip()

    def _keys_of(self, client: Client) -> KeySource:
        """Read once, and anew when the site registered others."""
        registered = (client.jwks, client.jwks_uri)
        known = self._keys.get(client.client_id)
        if known is not None and known[0] == registered:
            return known[1]
        while len(self._keys) >= SITES_MOST:
            del self._keys[next(iter(self._keys))]
        keys = self._source(client)
        self._keys[client.client_id] = (registered, keys)
        return keys

    def _source(self, client: Client) -> KeySource:
        if client.jwks:
            return FixedKeys(read_set(json.loads(client.jwks)))
        if client.jwks_uri is None:
            raise UpstreamInvalid("keys", "none registered")
        address = client.jwks_uri

        async def fetch() -> Fetched:
            return await self._http.request("GET", address, headers={"Accept": "application/json"})

        return KeySet(fetch, _read, self._clock)


def read_key_proof(proof: str) -> tuple[str, Mapping[str, Any]]:
    """Thumbprint of the key that a DPoP proof carries, and its claims (RFC 9449 §4.3, 2 to 7). `UpstreamInvalid(check)`."""
    return self_signed(proof, algorithms=PROOF_ALGORITHMS, types=PROOF_TYPES, check="proof", max_size=MAX_PROOF)


def _secrets(client: Client) -> KeySource:
    """The secrets as keys (OpenID Connect Core §10.1): without names, so each of them is tried."""
    return FixedKeys(
        tuple(
            VerificationKey(kid=None, algorithms=frozenset(SECRET_ALGORITHMS), key=OctKey.import_key(secret.reveal()))
            for secret in client.secrets
        ),
        named=False,
    )


def _read(response: Fetched) -> tuple[VerificationKey, ...]:
    if response.status != _OK:
        raise UpstreamUnavailable(f"status {response.status} jwks")
    return read_set(read_json(response.body, "jwks"))
