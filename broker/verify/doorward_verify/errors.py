"""The one error a site sees, with codes that never change.

```
SessionError(code)          401  missing malformed wrong_type unknown_key bad_signature wrong_issuer
                                 wrong_audience expired not_yet_valid revoked
                                 invalid_dpop_proof use_dpop_nonce wrong_key
                            403  needs_recent_login insufficient_scope
                            503  keys_unavailable too_busy
```

An outage of the broker is 503, never 401: it must not look like "signed out".
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["ALGORITHMS", "MESSAGES", "STATUS", "ConfigurationError", "NeedsNetwork", "SessionError"]

ALGORITHMS: Final = ("ES256", "PS256", "Ed25519")
"""What a DPoP proof may be signed with; challenges say so."""

STATUS: Final = MappingProxyType(
    {
        "missing": 401,
        "malformed": 401,
        "wrong_type": 401,
        "unknown_key": 401,
        "bad_signature": 401,
        "wrong_issuer": 401,
        "wrong_audience": 401,
        "expired": 401,
        "not_yet_valid": 401,
        "revoked": 401,
        "invalid_dpop_proof": 401,
        "use_dpop_nonce": 401,
        "wrong_key": 401,
        "needs_recent_login": 403,
        "insufficient_scope": 403,
        "keys_unavailable": 503,
        "too_busy": 503,
    }
)

MESSAGES: Final = MappingProxyType(
    {
        "missing": "Sign in first.",
        "malformed": "The token cannot be read.",
        "wrong_type": "This is not a token of the kind that is needed here.",
        "unknown_key": "The token was signed with an unknown key.",
        "bad_signature": "The signature of the token does not fit.",
        "wrong_issuer": "The token comes from somebody else.",
        "wrong_audience": "The token is meant for another site.",
        "expired": "The session has expired. Sign in again.",
        "not_yet_valid": "The token is from the future. Check the clock of this server.",
        "revoked": "You have signed out.",
        "invalid_dpop_proof": "The DPoP proof is missing, malformed, used before, or for something else.",
        "use_dpop_nonce": "The DPoP proof has to hold the nonce that this answer gives.",
        "wrong_key": "The access token belongs to another key than the one that was shown.",
        "needs_recent_login": "Confirm that it is you: sign in again to do this.",
        "insufficient_scope": "This token does not allow that.",
        "keys_unavailable": "The sign-in service cannot be reached. You are still signed in; try again shortly.",
        "too_busy": "Too many requests at once. Try again shortly.",
    }
)


Scheme = Literal["Bearer", "DPoP", "Bearer of two", "none"]
"""How an access token came: where bearer tokens alone are taken, or, at `Verifier.verify_request`, as either or not at all."""


class SessionError(Exception):
    """A session or access token was refused. ``code`` is one of `STATUS`; ``status`` is its HTTP status.

    ``detail`` says which check of a DPoP proof failed, and is empty elsewhere; ``nonce`` is for ``use_dpop_nonce``.
    """

    def __init__(self, code: str, detail: str = "", *, scheme: Scheme = "Bearer", nonce: str | None = None) -> None:
        if code not in STATUS:
            raise ValueError("unknown session error code")
        super().__init__(code)
        self.code = code
        self.status = STATUS[code]
        self.message = MESSAGES[code]
        self.detail, self.scheme, self.nonce = detail, scheme, nonce

    def problem(self) -> bytes:
        """The error as `application/problem+json` (RFC 9457)."""
        body = {"type": "about:blank", "title": self.message, "status": self.status, "code": self.code}
        return json.dumps(body | ({"detail": self.detail} if self.detail else {})).encode()

    @property
    def challenge(self) -> str:
        """What stands behind `WWW-Authenticate` where access tokens are taken (RFC 6750 §3, RFC 9449 §7.1)."""
        algorithms = f'algs="{" ".join(ALGORITHMS)}"'
        if self.scheme == "none":
            return f"Bearer, DPoP {algorithms}"
        if self.scheme == "DPoP":
            return f'DPoP error="{self._error()}", {algorithms}'
        plain = "Bearer" if self.code == "missing" else f'Bearer error="{self._error()}"'
        return f"{plain}, DPoP {algorithms}" if self.scheme == "Bearer of two" else plain

    def _error(self) -> str:
        if self.code in {"invalid_dpop_proof", "use_dpop_nonce"}:
            return self.code
        return "insufficient_scope" if self.status == 403 else "invalid_token"

    @property
    def headers(self) -> dict[str, str]:
        """All headers the answer needs where access tokens are taken; for an outage, when to come again."""
        if self.status == 503:
            return {"Retry-After": "5"}
        return {"WWW-Authenticate": self.challenge} | ({"DPoP-Nonce": self.nonce} if self.nonce else {})


class ConfigurationError(ValueError):
    """The site's own settings are wrong; raised while it starts, never during a request."""


class NeedsNetwork(Exception):
    """The answer needs a call to the broker and the caller said it may not block."""
