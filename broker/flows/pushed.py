"""Authorization requests that a site's server left with us before it sent the browser (RFC 9126).

Kept sealed, for a minute, under a digest of the reference that the server got. A reference may be opened again while
that minute lasts, because people reload pages; it leads to one answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from broker.domain.checks.authorization import check_pushed
from broker.domain.checks.dpop import Shown, check_nonce, with_key
from broker.domain.checks.request_object import check_signed
from broker.domain.client import Client
from broker.domain.ports import Clock, Entropy, Limits, Replay, Transactions
from broker.domain.transaction import AT_MOST
from broker.errors import RequestOver, TooManyAttempts
from broker.flows.request_objects import RequestObjects
from broker.flows.transactions import Seal

PREFIX: Final = "urn:ietf:params:oauth:request_uri:"
LIFETIME: Final = timedelta(seconds=60)
_BRINGS: Final = "brings somebody"
"""No parameter that a request can send has this name."""
STRANGERS_PER_MINUTE: Final = 60
"""From one address, for sites that prove nothing: nobody fills our store through them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A pushed request, and the name under which its one answer is remembered."""

    name: str
    params: Mapping[str, str]
    brings: bool = False
    """Whether an app pushed it together with who it is: see `flows.app_sign_in`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedRequests:
    objects: RequestObjects
    store: Transactions
    seal: Seal
    replay: Replay
    limits: Limits
    clock: Clock
    entropy: Entropy

    async def push(self, client: Client, params: Mapping[str, str], *, address: str, shown: Shown | None = None) -> str:
        """Check a request as if a browser had brought it, and keep it: its `request_uri`.

        `params`: as `read_params` gives them; `shown`: a key that its code will be bound to. Raises a `ProtocolError` for what the server has to put right, and
        `TooManyAttempts`.
        """
        params = await self.checked(client, params, address=address, shown=shown)
        return await self.keep(client, params, self.entropy.token(32))

    async def checked(
        self, client: Client, params: Mapping[str, str], *, address: str, shown: Shown | None = None
    ) -> Mapping[str, str]:
        """The request as it will be kept. Raises what `push` does."""
        has_signed = "request" in params
        if has_signed:
            params = await self.objects.opened(client, params)
        check_signed(client, is_signed=has_signed)
        params = with_key(params, shown)
        if shown is not None:
            check_nonce(client, shown)
        check_pushed(params, client)
        if client.is_public:
            wait = await self.limits.hit(
                f"pushed:{address}", limit=STRANGERS_PER_MINUTE, window=60, now=self.clock.now()
            )
            if wait:
                raise TooManyAttempts(wait, detail="pushed requests of a public client")
        return params

    async def keep(self, client: Client, params: Mapping[str, str], reference: str, *, brings: bool = False) -> str:
        """Keep a checked request under a reference that nobody can guess: its `request_uri`."""
        kept = json.dumps({**params, "client_id": client.client_id} | ({_BRINGS: "yes"} if brings else {}))
        name = _name(reference)
        await self.store.save(name, self.seal.seal_text(kept, name).encode(), self.clock.now() + LIFETIME)
        return f"{PREFIX}{reference}"

    async def open(self, request_uri: str, client: Client) -> Opened:
        """What stands behind a reference. Raises `RequestOver` if it is over, used, unknown or another site's."""
        name = _name(request_uri.removeprefix(PREFIX))
        sealed = await self.store.load(name, self.clock.now())
        text = self.seal.open_text(sealed.decode(), name) if sealed is not None else None
        params: Mapping[str, str] = json.loads(text) if text is not None else {}
        if params.get("client_id") != client.client_id:
            raise RequestOver(detail="pushed request over, unknown or of another site")
        return Opened(name=name, params=params, brings=_BRINGS in params)

    async def spend(self, name: str) -> bool:
        """Whether this is its first answer. Remembered for longer than any sign-in that began with it can last."""
        is_first = await self.replay.first_time(name, self.clock.now() + AT_MOST + LIFETIME)
        await self.store.delete(name)
        return is_first


def _name(reference: str) -> str:
    return f"pushed:{hashlib.sha256(reference.encode('utf-8', 'surrogatepass')).hexdigest()}"
