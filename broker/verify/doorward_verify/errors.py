"""The one error a site sees, with codes that never change.

```
SessionError(code)          401  missing malformed wrong_type unknown_key bad_signature wrong_issuer
                                 wrong_audience expired not_yet_valid revoked
                            403  needs_recent_login insufficient_scope
                            503  keys_unavailable
```

An outage of the broker is 503, never 401: it must not look like "signed out".
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Final

__all__ = ["MESSAGES", "STATUS", "ConfigurationError", "NeedsNetwork", "SessionError"]

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
        "needs_recent_login": 403,
        "insufficient_scope": 403,
        "keys_unavailable": 503,
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
        "needs_recent_login": "Confirm that it is you: sign in again to do this.",
        "insufficient_scope": "This token does not allow that.",
        "keys_unavailable": "The sign-in service cannot be reached. You are still signed in; try again shortly.",
    }
)


class SessionError(Exception):
    """A session or access token was refused. ``code`` is one of `STATUS`; ``status`` is its HTTP status."""

    def __init__(self, code: str) -> None:
        if code not in STATUS:
            raise ValueError("unknown session error code")
        super().__init__(code)
        self.code = code
        self.status = STATUS[code]
        self.message = MESSAGES[code]

    def problem(self) -> bytes:
        """The error as `application/problem+json` (RFC 9457)."""
        body = {"type": "about:blank", "title": self.message, "status": self.status, "code": self.code}
        return json.dumps(body).encode()

    @property
    def challenge(self) -> str:
        """What stands behind `WWW-Authenticate` where access tokens are taken (RFC 6750 §3)."""
        if self.code == "missing":
            return "Bearer"
        return f'Bearer error="{"insufficient_scope" if self.status == 403 else "invalid_token"}"'


class ConfigurationError(ValueError):
    """The site's own settings are wrong; raised while it starts, never during a request."""


class NeedsNetwork(Exception):
    """The answer needs a call to the broker and the caller said it may not block."""
