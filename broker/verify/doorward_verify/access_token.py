"""A verified access token: who may do what at an interface of this site (RFC 9068)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from .claims import LONGEST_LIFE, SKEW, check_issuer, read_texts
from .errors import SessionError
from .jws import text_claim, time_claim
from .proof_key import is_thumbprint

__all__ = ["TYPES", "AccessToken", "read_access_token"]

TYPES: Final = ("at+jwt", "application/at+jwt")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What an access token says. ``person`` is somebody's number at the site ``client_id``, or ``None`` for the site itself.

    ``jkt`` is the thumbprint of the key it is bound to (RFC 9449 §6.1), which the request showed; ``None`` for a bearer token.
    Times are seconds since 1970. What a token may do is in ``scopes``; whether this person may do it is yours to say.
    """

    sub: str
    client_id: str
    scopes: frozenset[str]
    token_id: str
    issued_at: int
    expires_at: int
    auth_time: int | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    jkt: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def person(self) -> str | None:
        """The number to key your own records on; ``None`` where nobody stands behind the token but the site."""
        return None if self.sub == self.client_id else self.sub

    def require_scope(self, *scopes: str) -> AccessToken:
        """Return the token if it holds all of them. Raises `SessionError` ``insufficient_scope`` (403) otherwise."""
        if not self.scopes.issuperset(scopes):
            raise SessionError("insufficient_scope", scheme="DPoP" if self.jkt else "Bearer")
        return self


def read_access_token(claims: dict[str, Any], *, issuer: str, audience: str, now: float) -> AccessToken:
    """Check the claims of an access token whose signature holds (RFC 9068 §4).

    Raises `SessionError` ``wrong_issuer``, ``wrong_audience``, ``malformed``, ``not_yet_valid`` or ``expired``.
    ``wrong_type`` for one that is bound to something else than a key (``cnf``). Not checked: the type header, revocation,
    and whether whoever brings it holds that key.
    """
    check_issuer(claims, issuer)
    stated = claims.get("aud")
    if stated != audience and not (isinstance(stated, list) and audience in stated):
        raise SessionError("wrong_audience")
    jkt = _read_binding(claims)
    sub, client_id = text_claim(claims, "sub", longest=255), text_claim(claims, "client_id", longest=255)
    token_id, scope = text_claim(claims, "jti", longest=255), text_claim(claims, "scope")
    if sub is None or client_id is None or token_id is None:
        raise SessionError("malformed")
    issued_at, expires_at = time_claim(claims, "iat"), time_claim(claims, "exp")
    auth_time = time_claim(claims, "auth_time") if "auth_time" in claims else None
    if not issued_at < expires_at <= issued_at + LONGEST_LIFE:
        raise SessionError("malformed")
    starts = time_claim(claims, "nbf") if "nbf" in claims else issued_at
    if max(issued_at, starts, auth_time or 0) > now + SKEW:
        raise SessionError("not_yet_valid")
    if expires_at <= now:
        raise SessionError("expired")
    return AccessToken(
        sub=sub,
        client_id=client_id,
        scopes=frozenset((scope or "").split()),
        token_id=token_id,
        issued_at=issued_at,
        expires_at=expires_at,
        auth_time=auth_time,
        acr=text_claim(claims, "acr"),
        amr=read_texts(claims, "amr"),
        jkt=jkt,
        claims=MappingProxyType(claims),
    )


def _read_binding(claims: Mapping[str, Any]) -> str | None:
    """The thumbprint in ``cnf``, alone: what else may stand there nobody here can check (RFC 7800 §3.1)."""
    if "cnf" not in claims:
        return None
    stated = claims["cnf"]
    if not isinstance(stated, dict) or stated.keys() != {"jkt"} or not is_thumbprint(stated["jkt"]):
        raise SessionError("wrong_type")
    return str(stated["jkt"])
