"""Proofs that whoever sends a request holds a key: each one is good once (RFC 9449)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.domain.checks.dpop import Nonces, Shown, check_proof
from broker.domain.ports import Clock, Replay
from broker.errors import InvalidDpopProof, UpstreamInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProofs:
    read: Callable[[str], tuple[str, Mapping[str, Any]]]
    """Thumbprint of the key a proof carries, and the claims it signed; raises `UpstreamInvalid(check)`."""
    nonces: Nonces
    replay: Replay
    clock: Clock
    issuer: str

    async def check(self, proof: str, *, method: str, path: str, token: str | None = None) -> Shown:
        """The key that is shown. `path`: of the endpoint that is asked; `token`: the access token presented with it.

        Raises `InvalidDpopProof`, `UseDpopNonce`; `StoreUnavailable` when nobody can say whether it was used before.
        """
        now = self.clock.now()
        try:
            jkt, claims = self.read(proof)
        except UpstreamInvalid as error:
            raise InvalidDpopProof(detail=f"proof {error.detail}") from error
        once = check_proof(
            claims, jkt, method=method, url=f"{self.issuer}{path}", token=token, nonces=self.nonces, now=now
        )
        if not await self.replay.first_time(once.key, once.until):
            raise InvalidDpopProof(detail="proof used before")
        return Shown(jkt=jkt, has_nonce="nonce" in claims)

    def nonce(self) -> str:
        """What the next proof may hold."""
        return self.nonces.now(self.clock.now())
