"""The `DPoP` header: who sends a request shows a key (RFC 9449 §4.1)."""

from __future__ import annotations

from typing import Final

from broker.domain.checks.dpop import Shown
from broker.errors import InvalidDpopProof, TooManyAttempts
from broker.web.call import Call

PROOFS_PER_MINUTE: Final = 300
"""From one address, for sites that prove nothing: each proof is remembered for a while, whoever made it."""


async def shown_key(call: Call, *, token: str | None = None) -> Shown | None:
    """The key that this request shows; `None` if it shows none. From here on the answer carries a nonce.

    `token`: the access token presented. Raises `InvalidDpopProof`, `UseDpopNonce`, `TooManyAttempts`.
    """
    proofs = call.request.headers.getlist("dpop")
    if not proofs:
        return None
    call.shows_key = True
    if len(proofs) > 1:
        raise InvalidDpopProof(detail="more than one proof")
    if token is None and call.authenticated.is_public:
        await _count(call)
    scope = call.request.scope
    return await call.world.proofs.check(proofs[0], method=scope["method"], path=scope["path"], token=token)


async def _count(call: Call) -> None:
    world = call.world
    now = world.clock.now()
    if wait := await world.limits.hit(f"proofs:{call.address}", limit=PROOFS_PER_MINUTE, window=60, now=now):
        raise TooManyAttempts(wait, detail="proofs for a public client")
