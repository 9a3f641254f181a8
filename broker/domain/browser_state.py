"""What a site's page may watch to notice that a browser's session changed (OpenID Connect Session Management 1.0 §3.2).

The browser keeps one value for each session, which opens nothing and names nobody; a site gets only a hash of it, made
for its own origin.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from broker.domain.client import Client
from broker.domain.values import ClientId, Sid


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserStates:
    """Makes the values; there is one only where the admin switched session management on."""

    key: bytes = field(repr=False)

    def of(self, sid: Sid) -> str:
        """What the browser keeps for this session."""
        return hmac.new(self.key, f"browser state\x00{sid}".encode(), hashlib.sha256).hexdigest()[:32]

    def for_site(self, client: ClientId, redirect_uri: str, sid: Sid, salt: str) -> str:
        """`session_state` of an answer: the frame at the browser compares with it."""
        return f"{_hash(client, origin_of(redirect_uri), self.of(sid), salt)}.{salt}"


def origin_of(address: str) -> str:
    """The origin as browsers name it: a port that is the scheme's own is left out (RFC 6454 §6.2)."""
    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    own = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if parts.port in {None, own} else f":{parts.port}")


def askers(clients: Iterable[Client]) -> tuple[str, ...]:
    """Whom the frame answers: a digest of each site's id with each origin it is at, so that the list names no site."""
    pairs = {(c.client_id, origin_of(uri)) for c in clients if c.enabled for uri in c.redirect_uris}
    return tuple(sorted(_hash(*pair) for pair in pairs))


def _hash(*words: str) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()
