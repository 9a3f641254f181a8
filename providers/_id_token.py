"""ID tokens: from text that anybody could have written to claims that the issuer signed for us, now, for this attempt.

`broker.verification` checks the signature. Everything around it is spelled out here, because every library leaves some
of it to its caller (protocols.md §3.2; catalogue 38, 42-48, 70-76). `VerifiedClaims` cannot be built anywhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from broker.domain import base64url
from broker.errors import UpstreamInvalid
from broker.verification import KeySource, verified

_MINT: Final = object()

SKEW: Final = timedelta(seconds=60)
OLDEST_ISSUE: Final = timedelta(minutes=10)
FRESH: Final = timedelta(minutes=5)
"""What counts as a fresh sign-in (decision 26)."""
MAX_SUBJECT: Final = 255
_LAST_SECOND: Final = 253402300799
"""The end of the year 9999, the last a datetime can hold."""

TENANT: Final = "{tenantid}"
"""The gap in the issuer of a service that has many (Microsoft): filled by the token's own `tid`, which is signed too."""

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TYPES: Final = frozenset({"jwt", "application/jwt"})
_DIGESTS: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512, "519": hashlib.sha512}
"""Hash of `at_hash` by the last three characters of `alg`; Ed25519 hashes with SHA-512."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the token has to say. All of it is ours: nothing here was read from the token."""

    issuer: str
    client_id: str
    nonce: str | None = field(repr=False)
    """What the attempt asked to be repeated; `None` for an issuer that repeats nothing."""
    algorithms: tuple[str, ...]
    access_token: str | None = field(default=None, repr=False)
    trusted_audiences: tuple[str, ...] = ()
    fresh: bool = False
    also: tuple[str, ...] = ()
    """Other names of the same issuer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedClaims:
    """The claims of an ID token that passed every check."""

    issuer: str
    subject: str = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    auth_time: datetime | None
    amr: tuple[str, ...]
    acr: str | None
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            msg = "VerifiedClaims are made by verify_id_token() only"
            raise TypeError(msg)


async def verify_id_token(token: str, expected: Expected, keys: KeySource, now: datetime) -> VerifiedClaims:
    """Check an ID token as OpenID Connect Core §3.1.3.7 has it, and more strictly where it leaves room.

    Raises `UpstreamInvalid(check)`; `UpstreamUnavailable` when the issuer's keys cannot be had at all.
    """
    algorithm, claims = await verified(token, keys, algorithms=expected.algorithms, types=_TYPES, check="id_token")
    issuer = _check_issuer(claims, expected)
    _check_audience(claims, expected)
    subject = read_subject(claims.get("sub"), "sub")
    _check_times(claims, now)
    _check_nonce(claims, expected.nonce)
    _check_at_hash(claims, algorithm, expected.access_token)
    return VerifiedClaims(
        issuer=issuer,
        subject=subject,
        claims=claims,
        auth_time=_auth_time(claims, now, fresh=expected.fresh),
        amr=_amr(claims.get("amr")),
        acr=_acr(claims.get("acr")),
        mint=_MINT,
    )


def is_tenant(raw: object) -> bool:
    """Whether this is a tenant's id, in the one spelling that issuers have."""
    return isinstance(raw, str) and _GUID.fullmatch(raw) is not None


def _check_issuer(claims: Mapping[str, Any], expected: Expected) -> str:
    """Who signed, by name: ours to the last character, its gap filled."""
    issuer, named = expected.issuer, claims.get("iss")
    if isinstance(named, str) and named in expected.also:
        return named
    if TENANT in issuer:
        if not is_tenant(claims.get("tid")):
            raise UpstreamInvalid("tid")
        issuer = issuer.replace(TENANT, claims["tid"])
    if named != issuer or not isinstance(named, str):
        raise UpstreamInvalid("iss")
    return issuer


def _check_audience(claims: Mapping[str, Any], expected: Expected) -> None:
    """`aud` holds us and nobody we do not trust; `azp` is us if there, and is there when others are."""
    raw = claims.get("aud")
    audience = [raw] if isinstance(raw, str) else raw
    if not isinstance(audience, list) or not all(isinstance(item, str) for item in audience):
        raise UpstreamInvalid("aud")
    others = set(audience) - {expected.client_id}
    if expected.client_id not in audience or not others <= set(expected.trusted_audiences):
        raise UpstreamInvalid("aud")
    if (others and "azp" not in claims) or claims.get("azp", expected.client_id) != expected.client_id:
        raise UpstreamInvalid("azp")


def read_subject(raw: object, check: str) -> str:
    """A subject: 1 to 255 characters of text, none of them a control character. Kept as it is, never as a number."""
    if not isinstance(raw, str) or not 0 < len(raw) <= MAX_SUBJECT or not raw.isprintable() or not raw.strip():
        raise UpstreamInvalid(check)
    return raw


def read_time(claims: Mapping[str, Any], name: str, *, needed: bool = True) -> datetime | None:
    """A NumericDate (RFC 7519 §2), fractions allowed. Raises `UpstreamInvalid(name)` for text, 1e308 and the like."""
    raw = claims.get(name)
    if raw is None and not needed and name not in claims:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= _LAST_SECOND:
        raise UpstreamInvalid(name)
    return datetime.fromtimestamp(raw, UTC)


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    expires, issued = read_time(claims, "exp"), read_time(claims, "iat")
    not_before = read_time(claims, "nbf", needed=False)
    if expires is None or now >= expires + SKEW:
        raise UpstreamInvalid("exp")
    if issued is None or not now - OLDEST_ISSUE - SKEW <= issued <= now + SKEW:
        raise UpstreamInvalid("iat")
    if not_before is not None and not_before > now + SKEW:
        raise UpstreamInvalid("nbf")


def _check_nonce(claims: Mapping[str, Any], nonce: str | None) -> None:
    if nonce is None:
        return
    raw = claims.get("nonce")
    if not nonce or not isinstance(raw, str) or not hmac.compare_digest(raw.encode("utf-8", "replace"), nonce.encode()):
        raise UpstreamInvalid("nonce")


def _check_at_hash(claims: Mapping[str, Any], algorithm: str, access_token: str | None) -> None:
    """The access token is the one the ID token was made with (OpenID Connect Core §3.1.3.8), if it says."""
    if "at_hash" not in claims or access_token is None:
        return
    digest = _DIGESTS[algorithm[-3:]](access_token.encode("ascii")).digest()
    wanted = base64url.encoded(digest[: len(digest) // 2])
    raw = claims["at_hash"]
    if not isinstance(raw, str) or not hmac.compare_digest(raw.rstrip("=").encode("utf-8", "replace"), wanted.encode()):
        raise UpstreamInvalid("at_hash")


def _auth_time(claims: Mapping[str, Any], now: datetime, *, fresh: bool) -> datetime | None:
    """When the person proved who they are; has to be there and recent if a fresh sign-in was asked for."""
    when = read_time(claims, "auth_time", needed=fresh)
    if when is not None and when > now + SKEW:
        raise UpstreamInvalid("auth_time")
    if fresh and (when is None or when < now - FRESH - SKEW):
        raise UpstreamInvalid("auth_time")
    return when


def _amr(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list):
        return ()
    return tuple(item for item in raw[:16] if isinstance(item, str) and 0 < len(item) <= 64 and item.isprintable())


def _acr(raw: object) -> str | None:
    return raw if isinstance(raw, str) and 0 < len(raw) <= 255 and raw.isprintable() else None
