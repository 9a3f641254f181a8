"""Whoever sends a request shows that they hold a key (DPoP, RFC 9449). What such a proof says is checked here.

Its signature was checked before, by the key it carries. What is bound to a key is of no use to whoever only copied it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from broker.domain import base64url
from broker.domain.checks.client import AHEAD, MAX_JTI, STRICT_ALGORITHMS, Once, read_time
from broker.domain.client import Client, DpopUse
from broker.domain.ports import AccessToken
from broker.errors import BoundToken, InvalidDpopProof, InvalidGrant, InvalidRequest, InvalidToken, UseDpopNonce

PROOF_ALGORITHMS: Final = STRICT_ALGORITHMS
PROOF_TYPES: Final = frozenset({"dpop+jwt"})
RECENT: Final = timedelta(seconds=60)
"""How old a proof may be (RFC 9449 §11.1)."""
NONCE_STEP: Final = timedelta(minutes=5)
NONCE_STEPS: Final = 3
"""A nonce is good for ten to fifteen minutes: whoever renews an access token at its end still has one, and asks once."""
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A key that whoever sends this request holds, by its thumbprint (RFC 7638), and whether it was proved with our nonce."""

    jkt: str
    has_nonce: bool


@dataclass(frozen=True, slots=True)
class Nonces:
    """Words of ours that a proof holds to show that it was made just now (RFC 9449 §8): computed, and kept nowhere.

    `key` is 32 bytes derived from the key ring, so that every process takes what any other gave.
    """

    key: bytes = field(repr=False)

    def now(self, now: datetime) -> str:
        """The nonce to hand out."""
        return self._of(_step(now))

    def is_good(self, nonce: object, now: datetime) -> bool:
        """Whether we handed it out lately."""
        if not isinstance(nonce, str) or not nonce.isascii():
            return False
        steps = range(_step(now), _step(now) - NONCE_STEPS, -1)
        return any(hmac.compare_digest(nonce, self._of(step)) for step in steps)

    def _of(self, step: int) -> str:
        digest = hmac.digest(self.key, f"dpop nonce {step}".encode(), hashlib.sha256)
        return base64url.encoded(digest[:18])


def _step(now: datetime) -> int:
    return (now - datetime(1970, 1, 1, tzinfo=UTC)) // NONCE_STEP


def check_proof(
    claims: Mapping[str, Any], jkt: str, *, method: str, url: str, token: str | None, nonces: Nonces, now: datetime
) -> Once:
    """The claims of a proof whose signature was good (RFC 9449 §4.3, 8 to 12). What it may be used for once.

    `method`, `url`: what is asked for, as the outside names it. `token`: the access token beside the proof; `None` where
    none is presented. Raises `InvalidDpopProof` with the check, `UseDpopNonce` for one with a nonce that is over.
    """
    if claims.get("htm") != method:
        raise InvalidDpopProof(detail="proof htm")
    if not _is_same_place(claims.get("htu"), url):
        raise InvalidDpopProof(detail="proof htu")
    made = read_time(claims, "iat")
    if made is None or not now - RECENT <= made <= now + AHEAD:
        raise InvalidDpopProof(detail="proof iat")
    _check_bounds(claims, now)
    if token is not None and not _is_of(claims.get("ath"), token):
        raise InvalidDpopProof(detail="proof ath")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise InvalidDpopProof(detail="proof jti")
    if "nonce" in claims and not nonces.is_good(claims["nonce"], now):
        raise UseDpopNonce(detail="proof nonce")
    digest = hashlib.sha256(jti.encode("utf-8", "surrogatepass")).hexdigest()
    return Once(key=f"proof:{jkt}:{digest}", until=made + RECENT + AHEAD)  # clocks of servers may be apart, too


def _check_bounds(claims: Mapping[str, Any], now: datetime) -> None:
    """`exp` and `nbf`, which no proof needs, count where they stand (RFC 7519 §4.1)."""
    if "exp" in claims and ((ends := read_time(claims, "exp")) is None or ends <= now):
        raise InvalidDpopProof(detail="proof exp")
    if "nbf" in claims and ((begins := read_time(claims, "nbf")) is None or begins > now + AHEAD):
        raise InvalidDpopProof(detail="proof nbf")


def _is_same_place(htu: object, url: str) -> bool:
    """Whether two addresses name one place, whatever query or fragment the first has (RFC 9449 §4.3, RFC 3986 §6.2)."""
    if not isinstance(htu, str):
        return False
    try:
        return _place(htu) == _place(url)
    except ValueError:
        return False


def _place(url: str) -> tuple[str, str | None, str | None, int | None, str]:
    parts = urlsplit(url)
    port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.username, parts.hostname, port, parts.path or "/"


def _is_of(ath: object, token: str) -> bool:
    """Whether this is the hash of that access token (RFC 9449 §4.2)."""
    if not isinstance(ath, str) or not ath.isascii():
        return False
    digest = hashlib.sha256(token.encode("ascii")).digest()
    return hmac.compare_digest(ath, base64url.encoded(digest))


def is_thumbprint(text: str) -> bool:
    """Whether a text can be the SHA-256 thumbprint of a key (RFC 7638), in base64url."""
    return len(text) == 43 and all(ch.isascii() and (ch.isalnum() or ch in "-_") for ch in text)


def check_use(client: Client, shown: Shown | None) -> None:
    """Raises `InvalidDpopProof` or `UseDpopNonce` if the site is held to more than it showed."""
    if shown is None:
        if client.dpop is not DpopUse.OPTIONAL:
            raise InvalidDpopProof(detail="proof missing", public="This site has to send a DPoP proof.")
        return
    check_nonce(client, shown)


def check_nonce(client: Client, shown: Shown) -> None:
    """Raises `UseDpopNonce` if the site's proofs have to hold a nonce of ours, and this one held none."""
    if client.dpop is DpopUse.NONCE and not shown.has_nonce:
        raise UseDpopNonce(detail="proof without nonce")


def check_code_key(wanted: str | None, shown: Shown | None) -> None:
    """Raises `InvalidGrant` unless a code goes to the key it was asked for with, if it was with one (RFC 9449 §10)."""
    if wanted is not None and (shown is None or shown.jkt != wanted):
        raise InvalidGrant(detail="code of another key")


def check_refresh_key(bound: str | None, shown: Shown | None) -> None:
    """Raises `InvalidGrant` unless a refresh token of one key comes with it (RFC 9449 §5)."""
    if bound is not None and (shown is None or shown.jkt != bound):
        raise InvalidGrant(detail="refresh token of another key")


def check_token_key(access: AccessToken, shown: Shown | None) -> None:
    """Raises `InvalidToken` unless an access token comes as it was given: with its key, or without any (RFC 9449 §7)."""
    if access.jkt is None and shown is not None:
        raise InvalidToken(detail="token of no key came with one")
    if access.jkt is not None and (shown is None or shown.jkt != access.jkt):
        raise BoundToken(detail="token without its key")


def with_key(params: Mapping[str, str], shown: Shown | None) -> Mapping[str, str]:
    """A pushed request, tied to the key shown beside it (RFC 9449 §10.1). `InvalidRequest` if it names another one."""
    if shown is None:
        return params
    if params.get("dpop_jkt", shown.jkt) != shown.jkt:
        raise InvalidRequest(
            detail="dpop_jkt is not the key shown", public="The proof is of another key than dpop_jkt."
        )
    return {**params, "dpop_jkt": shown.jkt}
