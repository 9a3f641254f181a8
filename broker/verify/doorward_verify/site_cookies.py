"""The cookies of one site: their names, how they are set and how they are cleared.

``__Host-`` on https; plain names on http (this machine only), where all ports share one cookie jar:
the client id in the name keeps several sites on localhost apart.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from .wire import Request

__all__ = ["SiteCookies"]

LARGEST: Final = 4096
"""Browsers drop a cookie whose name and value are longer than this together."""


class SiteCookies:
    """Names and attributes of the cookies of one client."""

    def __init__(self, client_id: str, *, secure: bool) -> None:
        readable = re.sub(r"[^A-Za-z0-9]", "", client_id)[:20]
        stem = f"{readable}_{sha256(client_id.encode()).hexdigest()[:8]}"
        prefix = "__Host-" if secure else ""
        self._attributes = "Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        self.session = f"{prefix}{stem}_session"
        self.handle = f"{prefix}{stem}_handle"
        self.notice = f"{prefix}{stem}_notice"
        self.transaction_stem = f"{prefix}{stem}_tx_"

    def transaction(self, state: str) -> str:
        """The cookie of one sign-in: one for each tab."""
        return self.transaction_stem + state[:12]

    def set(self, name: str, value: str, *, seconds: int | None = None) -> str:
        """A ``Set-Cookie`` value; without ``seconds`` the cookie ends with the browser session."""
        life = "" if seconds is None else f"; Max-Age={seconds}"
        return f"{name}={value}; {self._attributes}{life}"

    def clear(self, name: str) -> str:
        """A ``Set-Cookie`` value that removes the cookie."""
        return f"{name}=; {self._attributes}; Max-Age=0"

    def clear_session(self) -> tuple[str, ...]:
        """Remove the session token and the handle."""
        return (self.clear(self.session), self.clear(self.handle))

    def fits(self, name: str, value: str) -> bool:
        """Whether a browser will keep this cookie."""
        return len(name) + len(value) < LARGEST

    def drop_oldest(self, request: Request, most: int) -> list[str]:
        """Clear transaction cookies until there is room for one more (browsers send the oldest first)."""
        names = dict.fromkeys(name for name in request.cookie_names() if self.is_transaction(name))
        surplus = len(names) - most + 1
        return [self.clear(name) for name in list(names)[: max(0, surplus)]]

    def is_transaction(self, name: str) -> bool:
        """Whether this is a transaction cookie of ours, by name."""
        return re.fullmatch(re.escape(self.transaction_stem) + r"[A-Za-z0-9_-]{12}", name) is not None
