"""An issuer's keys, from an address that may itself have to be looked up. A sign-in normally costs no request here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from broker.domain.ports import Clock
from broker.verification import KeySet, VerificationKey, read_set
from providers._http import JSON, UpstreamHTTP, UpstreamResponse, read_success

METADATA_FRESH: Final = (timedelta(minutes=5), timedelta(hours=1), timedelta(hours=24))
"""How long metadata is used: at least, when the issuer does not say, at most."""


class IssuerKeys(KeySet):
    """The keys of one issuer."""

    def __init__(self, http: UpstreamHTTP, address: Callable[[], Awaitable[str]], clock: Clock) -> None:
        async def fetch() -> UpstreamResponse:
            return await http.request("GET", await address(), headers=JSON)

        super().__init__(fetch, _read_set, clock)


def _read_set(response: UpstreamResponse) -> tuple[VerificationKey, ...]:
    return read_set(read_success(response, "jwks"))
