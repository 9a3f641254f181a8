"""A session: a browser in which somebody is signed in at the broker."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.domain.values import AccountId, ClientId, IdentityKey, ProviderId, Sid

FRESH: Final = timedelta(minutes=5)
"""What a fresh sign-in is, everywhere (decision 26)."""
IDLE_LIFETIME: Final = timedelta(hours=24)
LIFETIME: Final = timedelta(days=14)
TOUCH_EVERY: Final = timedelta(minutes=5)
"""How old `last_seen_at` may grow before it is written again: a write per page would be waste."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signed-in browser. Of its cookie only the digest is kept."""

    sid: Sid
    account: AccountId
    secret_digest: bytes = field(repr=False)
    provider: ProviderId
    key: IdentityKey
    """The identity it was signed in with."""
    auth_time: datetime
    """When the person last proved who they are."""
    amr: tuple[str, ...]
    acr: str | None
    created_at: datetime
    last_seen_at: datetime
    idle_expires_at: datetime
    expires_at: datetime
    device: str = field(default="", repr=False)
    """Browser and system in words, for the person's own list of devices."""
    ended_at: datetime | None = None
    upstream: str | None = field(default=None, repr=False)
    """The provider's session that it began with, as `Identity.session` names it."""
    id_token: str | None = field(default=None, repr=False)
    """The provider's word that it began with, as `Identity.id_token`; gone when the session ends."""


def is_live(session: Session, now: datetime) -> bool:
    """Whether the session still signs anybody in."""
    return session.ended_at is None and now < session.idle_expires_at and now < session.expires_at


def needs_fresh_sign_in(session: Session, now: datetime, within: timedelta = FRESH) -> bool:
    """Whether the person proved who they are too long ago for what they want to do."""
    return now - session.auth_time > within


def needs_touch(session: Session, now: datetime) -> bool:
    """Whether `last_seen_at` is worth writing again."""
    return now - session.last_seen_at >= TOUCH_EVERY


def sid_for(sid: Sid, client: ClientId, key: bytes) -> str:
    """The session's name as one site sees it: different for each, so that sites cannot compare (decision 11)."""
    return hmac.digest(key, f"sid\x00{sid}\x00{client}".encode(), "sha256").hex()[:32]


def device_in_words(user_agent: str) -> str:
    """`Firefox on Android` from a User-Agent header; `A browser` when nothing is recognised."""
    browser = next((name for mark, name in _BROWSERS.items() if mark in user_agent), "A browser")
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser


_BROWSERS: Final[Mapping[str, str]] = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "Firefox": "Firefox",
    "HeadlessChrome": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS: Final[Mapping[str, str]] = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS X": "Mac",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
