"""Give grants their places in the status lists, and make the lists that say which of them have ended.

A place costs a round trip once in a few hundred grants, and nothing when tokens are refreshed: it stays in the grant.
The lists are made from what this process remembers; it asks the store for what is new, at most every few seconds, and
only while somebody asks for a list.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.domain.client import SigningAlgorithm
from broker.domain.grant import CLOCK_SKEW, StatusPlace
from broker.domain.ports import Clock, Signer, Statuses
from broker.domain.status import KEEP, RENEW, STATUS_LIST_TYPE, list_claims, list_name, lists_for, place_of

BLOCK: Final = 256
"""Numbers taken at once. What a process has left when it stops is never used, and costs 32 bytes of zeros."""
LOOK_EVERY: Final = timedelta(seconds=3)
"""How old what a list says may be: the store is asked no more often than this."""
OVERLAP: Final = CLOCK_SKEW + timedelta(seconds=15)
"""How far back each look goes behind the last: what was written by a slower clock, or committed late, is not missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusList:
    """One signed list, ready to send."""

    token: bytes = field(repr=False)
    etag: str
    version: int
    """Goes up whenever other bits are set."""
    made_at: datetime


@dataclass(slots=True, kw_only=True)
class StatusLists:
    """All lists of this house, as one process knows them."""

    statuses: Statuses
    signer: Signer
    clock: Clock
    issuer: str
    key: bytes = field(repr=False)
    _next: int = 0
    _end: int = 0
    _looked_at: datetime | None = None
    _names: dict[str, int] = field(default_factory=dict)
    _ended: dict[str, dict[int, datetime]] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)
    _made: dict[str, StatusList] = field(default_factory=dict, repr=False)
    _drawing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def draw(self) -> StatusPlace:
        """A place for a new grant: nobody had it before, and nobody gets it again."""
        if self._next == self._end:
            async with self._drawing:
                await self._refill()
        number = self._next
        self._next += 1
        return place_of(number, self.key)

    async def _refill(self) -> None:
        """Take numbers; whoever waited for another that did finds them there."""
        if self._next == self._end:
            self._next = await self.statuses.reserve(BLOCK)
            self._end = self._next + BLOCK

    async def current(self, name: str) -> StatusList | None:
        """The list of this name as it is now; `None` if there is none."""
        now = self.clock.now()
        await self._look(now)
        if name not in self._names:
            return None
        made, version = self._made.get(name), self._versions.get(name, 0)
        if made is None or made.version != version or now - made.made_at >= RENEW:
            made = self._made[name] = self._make(name, version, now)
        return made

    def _make(self, name: str, version: int, now: datetime) -> StatusList:
        claims = list_claims(issuer=self.issuer, name=name, indexes=self._ended.get(name, {}), now=now)
        token = self.signer.sign(claims, typ=STATUS_LIST_TYPE, algorithm=SigningAlgorithm.RS256).encode("ascii")
        etag = f'"{hashlib.sha256(token).hexdigest()[:32]}"'
        return StatusList(token=token, etag=etag, version=version, made_at=now)

    async def _look(self, now: datetime) -> None:
        """Ask the store for what has ended since the last look; whoever comes meanwhile waits for that one."""
        async with self._looking:
            if self._looked_at is not None and now - self._looked_at < LOOK_EVERY:
                return
            oldest = now - KEEP
            after = oldest if self._looked_at is None else max(oldest, self._looked_at - OVERLAP)
            self._take(await self.statuses.ended(after, now + CLOCK_SKEW), oldest)
            for which in range(len(self._names), lists_for(await self.statuses.reserved())):
                self._names[list_name(which, self.key)] = which
            self._looked_at = now

    def _take(self, found: Iterable[tuple[StatusPlace, datetime]], oldest: datetime) -> None:
        new: dict[str, dict[int, datetime]] = {}
        for place, at in found:
            new.setdefault(place.list, {})[place.index] = at
        for name in self._ended.keys() | new.keys():
            before = self._ended.get(name, {})
            after = {index: at for index, at in (before | new.get(name, {})).items() if at > oldest}
            if after.keys() != before.keys():
                self._versions[name] = self._versions.get(name, 0) + 1
            self._ended[name] = after
