"""From checked bytes to a `Session`: what every session token must say (RFC 8725 §3)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from .errors import SessionError
from .jws import text_claim, time_claim
from .session import Session

__all__ = ["LONGEST_LIFE", "SKEW", "TYP", "check_audience", "check_issuer", "read_session", "read_texts"]

TYP: Final = "session+jwt"
SKEW: Final = 60
"""Seconds the broker's clock may be ahead of ours; ``exp`` gets no grace."""
LONGEST_LIFE: Final = 24 * 3600


def check_issuer(claims: Mapping[str, Any], issuer: str) -> None:
    """Raise ``wrong_issuer`` unless ``iss`` is exactly ``issuer``."""
    if claims.get("iss") != issuer:
        raise SessionError("wrong_issuer")


def check_audience(claims: Mapping[str, Any], audience: str) -> None:
    """Raise ``wrong_audience`` unless ``aud`` is exactly this site, alone."""
    stated = claims.get("aud")
    if not isinstance(stated, str | list) or stated not in (audience, [audience]):
        raise SessionError("wrong_audience")


def read_texts(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """An optional claim that is a list of short strings; ``()`` if it is not there. Raises ``malformed`` otherwise."""
    value = claims.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > 256:
        raise SessionError("malformed")
    if not all(isinstance(item, str) and len(item) <= 256 for item in value):
        raise SessionError("malformed")
    return tuple(value)


def _flag(claims: Mapping[str, Any], name: str) -> bool | None:
    value = claims.get(name)
    if value is not None and not isinstance(value, bool):
        raise SessionError("malformed")
    return value


def read_session(claims: dict[str, Any], *, issuer: str, audience: str, now: float) -> Session:
    """Check the claims of a session token whose signature holds and build the `Session`.

    Raises `SessionError` ``wrong_issuer``, ``wrong_audience``, ``malformed``, ``not_yet_valid`` or
    ``expired``. Not checked: the type header and revocation.
    """
    check_issuer(claims, issuer)
    check_audience(claims, audience)
    sub, sid = text_claim(claims, "sub", longest=255), text_claim(claims, "sid", longest=255)
    if sub is None or sid is None:
        raise SessionError("malformed")
    issued_at, expires_at = time_claim(claims, "iat"), time_claim(claims, "exp")
    auth_time = time_claim(claims, "auth_time")
    if not issued_at < expires_at <= issued_at + LONGEST_LIFE:
        raise SessionError("malformed")
    starts = time_claim(claims, "nbf") if "nbf" in claims else issued_at
    if max(issued_at, starts, auth_time) > now + SKEW:
        raise SessionError("not_yet_valid")
    if expires_at <= now:
        raise SessionError("expired")
    return Session(
        sub=sub,
        sid=sid,
        auth_time=auth_time,
        issued_at=issued_at,
        expires_at=expires_at,
        username=text_claim(claims, "preferred_username"),
        name=text_claim(claims, "name"),
        email=text_claim(claims, "email"),
        email_verified=_flag(claims, "email_verified"),
        picture=text_claim(claims, "picture"),
        locale=text_claim(claims, "locale"),
        groups=read_texts(claims, "groups"),
        acr=text_claim(claims, "acr"),
        amr=read_texts(claims, "amr"),
        claims=MappingProxyType(claims),
    )
