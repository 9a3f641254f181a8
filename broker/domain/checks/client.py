"""Who sends a request to an endpoint for servers, checked (RFC 6749 §2.3, RFC 7523 §3, OpenID Connect Core §9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from broker.domain import base64url
from broker.domain.client import AuthMethod, Client
from broker.errors import InvalidClient, InvalidRequest

Params = Mapping[str, str]
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_TYPES: Final = frozenset({"jwt", "client-authentication+jwt", "application/client-authentication+jwt"})
"""`typ` of an assertion, in lower case: no other kind of token proves who somebody is (RFC 8725 §3.11)."""
CLIENT_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519")
"""What sites may sign with."""
STRICT_ALGORITHMS: Final = ("PS256", "ES256", "Ed25519")
"""FAPI 2.0 Security Profile §5.4.1."""
SECRET_ALGORITHMS: Final = ("HS256",)
LONGEST: Final = timedelta(minutes=5)
"""How far ahead an assertion's end may lie (catalogue 55)."""
AHEAD: Final = timedelta(seconds=30)
"""How far a site's clock may be ahead of ours."""
MAX_JTI: Final = 255
_LAST_SECOND: Final = 253402300799
"""The end of the year 9999, the last a datetime can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a request brings to show which site it is from. Nothing of it is believed yet."""

    method: AuthMethod
    client_id: str
    secret: str = field(default="", repr=False)
    assertion: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """What may be taken once, and until when that has to be remembered."""

    key: str
    until: datetime


def read_proof(basic: tuple[str, str] | None, params: Params) -> Proof:
    """The one proof of a request: an `Authorization` header already read, a secret, an assertion, or just a name.

    Raises `InvalidRequest` for more than one (RFC 6749 §2.3) and `InvalidClient` for an assertion that names nobody, or
    somebody else than `client_id` (RFC 7521 §4.2).
    """
    has_assertion = not params.keys().isdisjoint({"client_assertion", "client_assertion_type"})
    if (basic is not None) + ("client_secret" in params) + has_assertion > 1:
        raise InvalidRequest(detail="more than one client authentication")
    if basic is not None:
        if params.get("client_id", basic[0]) != basic[0]:
            raise InvalidRequest(detail="client_id differs from the authenticated one")
        return Proof(method=AuthMethod.BASIC, client_id=basic[0], secret=basic[1])
    if has_assertion:
        return _asserted(params)
    client_id, secret = params.get("client_id", ""), params.get("client_secret")
    if secret is None:
        return Proof(method=AuthMethod.NONE, client_id=client_id)
    return Proof(method=AuthMethod.POST, client_id=client_id, secret=secret)


def _asserted(params: Params) -> Proof:
    if params.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidClient(detail="client_assertion_type unknown")
    assertion = params.get("client_assertion", "")
    algorithm, client_id = _says(assertion)
    if not client_id or params.get("client_id", client_id) != client_id:
        raise InvalidClient(detail="client_assertion names nobody, or another site")
    method = AuthMethod.SECRET_JWT if algorithm in SECRET_ALGORITHMS else AuthMethod.PRIVATE_KEY_JWT
    return Proof(method=method, client_id=client_id, assertion=assertion)


def _says(token: str) -> tuple[object, str]:
    """Algorithm and subject as an unchecked JWS has them: enough to know whose keys to check it with."""
    try:
        header, payload = (_object(part) for part in token.split(".")[:2])
    except (ValueError, RecursionError):
        return None, ""
    subject = payload.get("sub")
    return header.get("alg"), subject if isinstance(subject, str) else ""


def _object(part: str) -> Mapping[str, Any]:
    found = json.loads(base64url.decoded_loosely(part))
    return found if isinstance(found, dict) else {}


def algorithms_of(client: Client) -> tuple[str, ...]:
    """What this client may sign an assertion with. Never what the assertion would like."""
    if client.auth_method is AuthMethod.SECRET_JWT:
        return SECRET_ALGORITHMS
    return STRICT_ALGORITHMS if client.strict_jwt else CLIENT_ALGORITHMS


def check_assertion(
    claims: Mapping[str, Any], client: Client, *, issuer: str, endpoints: frozenset[str], now: datetime
) -> Once:
    """The claims of an assertion whose signature was good (RFC 7523 §3). What it may be used for once.

    `endpoints`: addresses that stand for us beside our issuer, for clients that are not held to the issuer alone.
    Raises `InvalidClient` with the check.
    """
    if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
        raise InvalidClient(detail="client_assertion iss or sub")
    if not is_for_us(
        claims.get("aud"), issuer, frozenset() if client.strict_jwt else endpoints, alone=client.strict_jwt
    ):
        raise InvalidClient(detail="client_assertion aud")
    expires = read_time(claims, "exp")
    if expires is None or not now < expires <= now + LONGEST + AHEAD:
        raise InvalidClient(detail="client_assertion exp")
    for name in ("iat", "nbf"):
        if name in claims and ((begins := read_time(claims, name)) is None or begins > now + AHEAD):
            raise InvalidClient(detail=f"client_assertion {name}")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise InvalidClient(detail="client_assertion jti")
    digest = hashlib.sha256(jti.encode("utf-8", "surrogatepass")).hexdigest()
    return Once(key=f"assertion:{client.client_id}:{digest}", until=expires + AHEAD)


def is_for_us(audience: object, issuer: str, others: frozenset[str], *, alone: bool) -> bool:
    """Whether an audience is us and nobody else; with `alone`, our issuer as one text (RFC 7523bis, CVE-2025-27370)."""
    if alone:
        return isinstance(audience, str) and audience == issuer
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not named:
        return False
    return all(isinstance(one, str) and (one == issuer or one in others) for one in named)


def read_time(claims: Mapping[str, Any], name: str) -> datetime | None:
    """A NumericDate (RFC 7519 §2), fractions allowed; `None` if it is missing or no moment at all."""
    raw = claims.get(name)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= _LAST_SECOND:
        return None
    return datetime.fromtimestamp(raw, UTC)
