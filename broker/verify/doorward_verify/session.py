"""A verified session: who the person is to this site, and nothing that was not shared."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import SessionError

__all__ = ["Session", "require_session"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a session token says. A field the person did not share is ``None`` (``()`` for groups).

    Key your own records on ``sub``: it never changes and is never given to anybody else.
    Times are seconds since 1970.
    """

    sub: str
    sid: str
    auth_time: int
    issued_at: int
    expires_at: int
    username: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    email_verified: bool | None = field(default=None, repr=False)
    picture: str | None = field(default=None, repr=False)
    locale: str | None = field(default=None, repr=False)
    groups: tuple[str, ...] = field(default=(), repr=False)
    acr: str | None = None
    amr: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def require_recent(self, seconds: int) -> Session:
        """Return the session if the person signed in at most ``seconds`` ago.

        Raises `SessionError` ``needs_recent_login`` (403) otherwise: send the browser to
        ``kit.fresh_url(...)``.
        """
        if time.time() - self.auth_time > seconds:
            raise SessionError("needs_recent_login")
        return self


def require_session(session: Session | None) -> Session:
    """Return the session, or raise `SessionError` ``missing`` (401) for an anonymous visitor."""
    if session is None:
        raise SessionError("missing")
    return session
