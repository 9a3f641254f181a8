"""Which tokens ended before their time, without asking for each: the issuer's status lists (Token Status List).

A token says in which list its bit is. A list is fetched once a minute, and only if it changed; all tokens of the site
share it. The rule for each request:

| the copy of the list | the request |
|---|---|
| at most a minute old | goes by it, without a call |
| older, and the broker answers | goes by the new one |
| older, and the broker does not answer | goes by the copy for ten minutes since it was good, then 503 |
| none yet, and the broker does not answer | 503: nobody is let in, nobody is signed out |
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from .errors import NeedsNetwork, SessionError
from .fetch import Fetcher, Unreachable
from .jws import Parsed, decode_segment, parse, time_claim

__all__ = ["StatusLists", "read_reference"]

TYP: Final = "statuslist+jwt"
MEDIA_TYPE: Final = "application/statuslist+jwt"
FRESH: Final = 60.0
"""Seconds a copy is gone by; less if the list says so."""
STALE: Final = 600.0
"""Seconds a copy is gone by in an outage, since it was last known to be good. The life of a token."""
PAUSE: Final = 10.0
"""Seconds between two tries in an outage."""
LONGEST: Final = 500_000
"""Letters of a list token."""
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of an unpacked list: sixteen million places. What unpacks to more is a bomb."""
MOST_LISTS: Final = 64


class Check(Protocol):
    """Checks type, signature, issuer and times of a token of the issuer; gives its claims."""

    def __call__(self, parsed: Parsed) -> dict[str, Any]: ...


def read_reference(claims: Mapping[str, Any], issuer: str) -> tuple[str, int] | None:
    """Where a token's status is: list and place. ``None`` if it has none. Raises ``malformed``."""
    status = claims.get("status")
    if status is None:
        return None
    found = status.get("status_list") if isinstance(status, dict) else None
    if not isinstance(found, dict):
        raise SessionError("malformed")
    uri, place = found.get("uri"), found.get("idx")
    if not isinstance(uri, str) or type(place) is not int or place < 0 or len(uri) > 2048:
        raise SessionError("malformed")
    # The list is at the issuer's own address: nobody makes us call anywhere else.
    ours, theirs = urlsplit(issuer), urlsplit(uri)
    if (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc):
        raise SessionError("malformed")
    return uri, place


@dataclass(slots=True)
class _Copy:
    """A list as it was last seen."""

    bits: bytes
    etag: str
    fresh_for: float
    expires_at: int
    good_at: float
    failed_at: float = float("-inf")


class StatusLists:
    """The lists of one issuer. Thread-safe; at most one call to the broker at a time."""

    def __init__(
        self,
        issuer: str,
        fetcher: Fetcher,
        check: Check,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer, self._fetcher, self._check = issuer, fetcher, check
        self._wall, self._clock = wall, clock
        self._copies: dict[str, _Copy] = {}
        self._failed: dict[str, float] = {}
        self._lock = Lock()

    def is_ended(self, reference: tuple[str, int], *, network: bool = True) -> bool:
        """Whether the bit of this place is set.

        Raises `SessionError` ``keys_unavailable`` where nobody can say, ``malformed`` for a place outside the list;
        `NeedsNetwork` when a call is needed and ``network`` is false.
        """
        uri, place = reference
        copy = self._copies.get(uri)
        if copy is None or not self._is_fresh(copy):
            copy = self._renew(uri, copy, network=network)
        if place >> 3 >= len(copy.bits):
            raise SessionError("malformed")
        return bool(copy.bits[place >> 3] >> (place & 7) & 1)

    def _is_fresh(self, copy: _Copy) -> bool:
        """Young enough, or just tried in vain and good enough for the pause."""
        now = self._clock()
        if now - copy.good_at < copy.fresh_for:
            return self._wall() < copy.expires_at
        return now - copy.failed_at < PAUSE and self._is_usable(copy)

    def _is_usable(self, copy: _Copy) -> bool:
        return self._clock() - copy.good_at < STALE and self._wall() < copy.expires_at

    def _renew(self, uri: str, copy: _Copy | None, *, network: bool) -> _Copy:
        usable = copy is not None and self._is_usable(copy)
        if not usable:
            self._give_up_soon(uri)
        if not network:
            raise NeedsNetwork
        # Readers that have a usable copy do not wait for the one who fetches.
        if not self._lock.acquire(blocking=not usable) and copy is not None:
            return copy
        try:
            # Whoever waited for the lock finds the work done, or tried in vain.
            copy = self._copies.get(uri)
            if copy is not None and self._is_fresh(copy):
                return copy
            if copy is None or not self._is_usable(copy):
                self._give_up_soon(uri)
            return self._fetch(uri, copy)
        finally:
            self._lock.release()

    def _give_up_soon(self, uri: str) -> None:
        """Raise ``keys_unavailable`` where a try failed a moment ago."""
        if self._clock() - self._failed.get(uri, float("-inf")) < PAUSE:
            raise SessionError("keys_unavailable")

    def _fetch(self, uri: str, copy: _Copy | None) -> _Copy:
        now = self._clock()
        try:
            found = self._fetcher.load_text(uri, accept=MEDIA_TYPE, etag=copy.etag if copy else "")
            if found.text is None and copy is not None:
                if self._wall() >= copy.expires_at:
                    raise Unreachable
                copy.good_at = now
                return copy
            fresh = self._read(found.text or "", uri, found.etag, now)
        except (Unreachable, SessionError):
            # A list that does not verify says nothing, like one that did not come.
            if copy is not None and self._is_usable(copy):
                copy.failed_at = now
                return copy
            self._failed = {uri: now, **{name: at for name, at in self._failed.items() if now - at < PAUSE}}
            raise SessionError("keys_unavailable") from None
        self._failed.pop(uri, None)
        while len(self._copies) >= MOST_LISTS and uri not in self._copies:
            del self._copies[next(iter(self._copies))]
        self._copies[uri] = fresh
        return fresh

    def _read(self, token: str, uri: str, etag: str, now: float) -> _Copy:
        """Check a list token (§8.3): its type, signature, issuer, address and times, and unpack it."""
        claims = self._check(parse(token, longest=LONGEST))
        expires_at = time_claim(claims, "exp")
        ttl = claims.get("ttl", int(FRESH))
        found = claims.get("status_list")
        if claims.get("sub") != uri or type(ttl) is not int or ttl <= 0 or not isinstance(found, dict):
            raise SessionError("malformed")
        lst = found.get("lst")
        if type(found.get("bits")) is not int or found["bits"] != 1 or not isinstance(lst, str):
            raise SessionError("malformed")
        return _Copy(_unpacked(lst), etag, min(float(ttl), FRESH), expires_at, now)


def _unpacked(lst: str) -> bytes:
    """Inflate no further than a list can reach."""
    packed = decode_segment(lst)
    inflater = zlib.decompressobj()
    try:
        bits = inflater.decompress(packed, MOST_BYTES + 1)
    except zlib.error:
        raise SessionError("malformed") from None
    if len(bits) > MOST_BYTES or not inflater.eof or inflater.unused_data:
        raise SessionError("malformed")
    return bits
