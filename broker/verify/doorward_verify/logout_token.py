"""Logout tokens: OpenID Connect Back-Channel Logout 1.0 §2.6."""

from __future__ import annotations

import time
from typing import Final

from .errors import SessionError
from .jws import text_claim, time_claim
from .revocation import RevocationRegister
from .verifier import Verifier

__all__ = ["take_logout_token"]

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LONGEST_LIFE: Final = 120


def take_logout_token(token: str, verifier: Verifier, register: RevocationRegister) -> None:
    """Check a logout token and end the sessions it names. Raises `SessionError`."""
    claims = verifier.verify_signed(token, types=("logout+jwt",))
    verifier.check_times(claims)
    issued_at, expires_at = time_claim(claims, "iat"), time_claim(claims, "exp")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise SessionError("wrong_type")
    sub, sid = text_claim(claims, "sub", longest=255), text_claim(claims, "sid", longest=255)
    jti = text_claim(claims, "jti", longest=255)
    if "nonce" in claims or jti is None or (sub is None and sid is None):
        raise SessionError("malformed")
    if not 0 < expires_at - issued_at <= LONGEST_LIFE:
        raise SessionError("malformed")
    if not register.remember(jti, time.time() + LONGEST_LIFE + 60):
        raise SessionError("revoked")
    register.end(sid=sid, sub=sub, issued_until=issued_at)
