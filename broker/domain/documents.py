"""Sites whose id is the address of a document that says what they are (draft-ietf-oauth-client-id-metadata-document).

Nothing here asks anybody: which addresses may be asked at all, and for how long an answer holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from broker.domain.client import is_redirect_uri

SCHEME: Final = "https://"
"""What such ids begin with; ids of no other sites can."""
LONGEST: Final = 200
LEAST: Final = timedelta(minutes=5)
"""However short a site says: one sign-in is answered by one version, and no page asks anew."""
USUAL: Final = timedelta(hours=1)
MOST: Final = timedelta(hours=24)
"""However long it says: a key or an address that was taken out is out a day later."""
LEEWAY: Final = timedelta(hours=24)
"""How long what was read last holds for tokens when it cannot be read anew. No sign-in begins on it."""

KEEP: Final = timedelta(days=90)
"""How long what was read last stays where nobody signs in, no admin looked at it and nothing that was granted is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRules:
    """Whose documents are read."""

    issuer: str
    hosts: frozenset[str]
    """Hosts that the admin listed, with a port where it is not 443."""
    only_listed: bool
    closed: frozenset[str] = frozenset()
    """Hosts inside that we call for what the admin configured, spelled likewise: they have to be listed one by one."""

    def may_be_read(self, client_id: str) -> bool:
        """Whether this is an id whose document may be asked for; it costs nothing to say no."""
        if not is_document_id(client_id) or host_of(client_id) == host_of(self.issuer):
            return False
        if self.is_listed(client_id):
            return True
        return not self.only_listed and host_of(client_id) not in self.closed

    def is_listed(self, client_id: str) -> bool:
        """Whether the admin named the host."""
        return host_of(client_id) in self.hosts


def is_document_id(text: str) -> bool:
    """Whether this can be such an id (§3): https, a path, and one spelling only, as ids are compared letter by letter.

    Without user, fragment, dot segments; and stricter: without query, capitals in the host, needless port or last dot, so
    that nobody has endless ids for one document, and nobody's host looks like another's.
    """
    if len(text) > LONGEST or not text.startswith(SCHEME) or not is_redirect_uri(text) or "?" in text:
        return False
    host = host_of(text)
    name = host.partition(":")[0]
    return host == host.lower() and not host.endswith((":", ":443")) and not name.endswith(".") and _path(text) != ""


def host_of(client_id: str) -> str:
    """The host people see, with a port that is not the usual one."""
    return urlsplit(client_id).netloc


def _path(text: str) -> str:
    return urlsplit(text).path


def mark(document: str) -> bytes:
    """Which document it is: changes with any letter, and is the digest of no token."""
    return hashlib.sha256(b"document\0" + document.encode()).digest()


def fresh_until(headers: Mapping[str, str], now: datetime) -> datetime:
    """Until when an answer with these headers (names in lower case) holds (RFC 9111 §4.2), within our own bounds (§4.3)."""
    return now + min(max(_lifetime(headers, now), LEAST), MOST)


def _lifetime(headers: Mapping[str, str], now: datetime) -> timedelta:
    parts = (part.partition("=") for part in headers.get("cache-control", "").lower().split(","))
    told = {name.strip(): value.strip().strip('"') for name, _, value in parts}
    if {"no-store", "no-cache"} & told.keys():
        return timedelta(0)
    if "max-age" in told:
        return timedelta(seconds=_number(told["max-age"]) - _number(headers.get("age", "0")))
    if "expires" in headers:
        return _moment(headers["expires"], now) - now
    return USUAL


def _number(text: str) -> int:
    """0 for anything that is no plain number of seconds: stale at once (RFC 9111 §4.2.1)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _moment(text: str, now: datetime) -> datetime:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return now
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
