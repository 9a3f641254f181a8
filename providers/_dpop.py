"""Proofs that whoever sends a request holds a key (DPoP, RFC 9449), as a client makes them.

The key of an attempt is made from a secret of it that nobody else ever hears: so it is the same when the person comes back,
and lies nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from cryptography.hazmat.primitives.asymmetric import ec

from broker.domain import base64url
from broker.errors import UpstreamInvalid
from providers._http import UpstreamHTTP, UpstreamResponse, post_form, read_object
from providers._signed import sign_as

MAX_NONCE: Final = 1024
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (FIPS 186-4, D.1.2.3)."""
_WANTS_NONCE: Final = frozenset({400, 401})


@dataclass(frozen=True, slots=True)
class ProofKey:
    """An ES256 key that proves who sends a request."""

    secret: str = field(repr=False)

    def proof(
        self, method: str, url: str, now: datetime, nonce: str = "", *, form: Mapping[str, str] | None = None
    ) -> str:
        """A proof for one request (RFC 9449 §4.2); `nonce`: what the server gave for it (§8).

        `form`: what is sent with it, so that two requests within a second are not taken for one that is replayed.
        """
        key = self._key()
        numbers = key.public_key().public_numbers()
        jwk = {
            "kty": "EC",
            "crv": "P-256",
            "x": base64url.encoded(numbers.x.to_bytes(32, "big")),
            "y": base64url.encoded(numbers.y.to_bytes(32, "big")),
        }
        at = int(now.timestamp())
        claims: dict[str, Any] = {
            "jti": base64url.encoded(
                hashlib.sha256(
                    f"{self.secret} {method} {url} {at} {nonce} {sorted((form or {}).items())}".encode()
                ).digest()[:18]
            ),
            "htm": method,
            "htu": urlunsplit(urlsplit(url)._replace(query="", fragment="")),
            "iat": at,
        }
        return sign_as(
            key, {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}, claims | ({"nonce": nonce} if nonce else {})
        )

    def _key(self) -> ec.EllipticCurvePrivateKey:
        number = int.from_bytes(hashlib.sha512(f"dpop {self.secret}".encode()).digest(), "big")
        return ec.derive_private_key(number % (_ORDER - 1) + 1, ec.SECP256R1())

    async def post(self, http: UpstreamHTTP, url: str, form: Mapping[str, str], now: datetime) -> UpstreamResponse:
        """`POST` a form with a proof; once more where the server wants its nonce in it (§8). Nothing was done by then."""
        response = await post_form(http, url, form, {"DPoP": self.proof("POST", url, now, form=form)})
        nonce = response.headers.get("dpop-nonce", "")
        if response.status not in _WANTS_NONCE or read_object(response, "dpop").get("error") != "use_dpop_nonce":
            return response
        if not 0 < len(nonce) <= MAX_NONCE or not nonce.isascii() or not nonce.isprintable():
            raise UpstreamInvalid("dpop_nonce")
        return await post_form(http, url, form, {"DPoP": self.proof("POST", url, now, nonce, form=form)})
