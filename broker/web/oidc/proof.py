"""The `DPoP` header: who sends a request shows a key (RFC 9449 §4.1)."""

from __future__ import annotations

from broker.domain.checks.dpop import Shown
from broker.errors import InvalidDpopProof
from broker.web.call import Call


async def shown_key(call: Call, *, token: str | None = None) -> Shown | None:
    """The key that this request shows; `None` if it shows none. From here on the answer carries a nonce.

    `token`: the access token presented. Raises `InvalidDpopProof`, `UseDpopNonce`.
    """
    proofs = call.request.headers.getlist("dpop")
    if not proofs:
        return None
    call.shows_key = True
    if len(proofs) > 1:
        raise InvalidDpopProof(detail="more than one proof")
    scope = call.request.scope
    return await call.world.proofs.check(proofs[0], method=scope["method"], path=scope["path"], token=token)
