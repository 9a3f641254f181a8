"""Tokens of a posting opt-in, had anew when they have run out: by one process at a time, and kept before they are used.

Most providers take a refresh token once and give another with the answer (RFC 9700 §2.2.2), and end the grant if it comes a
second time. So it is claimed first, in the durable store; whoever comes second waits for what the first one gets. One gap
no order of steps can close: a crash, or a lost answer, between the provider's giving new tokens and our keeping them. The
claim is given up then after `GIVEN_UP`, the old refresh token is tried, and a provider that took it already says no: the
opt-in ends, as if it had been taken back there, and the person turns it on anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from broker.domain.ports import Clock, Durable
from broker.domain.posting import PostingPermit
from broker.domain.provider import UpstreamTokens
from broker.domain.values import ProviderId
from broker.errors import Conflict, UpstreamUnavailable

GIVEN_UP: Final = timedelta(minutes=2)
"""Longer than any call upstream may take: what was claimed before this was cut off."""
STOPPED_FOR: Final = timedelta(seconds=10)
"""Longer than it takes to commit an end: whoever was cut off before that keeps nobody from renewing for longer."""
LOOKS: Final = 30
BETWEEN: Final = 0.25
"""Seconds between two looks at whether somebody else got new tokens; all of them outlast a call upstream."""

Renew = Callable[[ProviderId, UpstreamTokens], Awaitable[UpstreamTokens]]
"""Ask the provider. Raises `GrantOver` and what else `Renews.renew` does."""
Revoke = Callable[[ProviderId, UpstreamTokens | None], Awaitable[None]]
Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Tokens that nobody else renews or ends until they are dropped or replaced, or this is over."""

    permit: PostingPermit
    since: datetime
    tokens: UpstreamTokens | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewing:
    durable: Durable
    clock: Clock
    renew: Renew
    revoke: Revoke
    pause: Pause = asyncio.sleep

    async def usable(self, permit: PostingPermit) -> UpstreamTokens | None:
        """The tokens of the opt-in, had anew if they have run out; `None` if there are none, or none can be had.

        Raises `GrantOver` if the provider takes them no more, and other `UpstreamError`s, after which they are kept as
        they were.
        """
        held = await self.durable.vault.open(permit)
        if held is None or not held.over(self.clock.now()):
            return held
        return await self.anew(permit, held)

    async def anew(self, permit: PostingPermit, old: UpstreamTokens) -> UpstreamTokens | None:
        """Others than `old`, which are good no more: our own, or what somebody else got meanwhile. Raises as `usable` does."""
        if old.refresh_token is None:
            return None
        for look in range(LOOKS):
            if look:
                await self.pause(BETWEEN)
            since = await self._claim(permit)
            held = await self.durable.vault.open(permit)
            if held is None:
                return None
            if held.access_token != old.access_token:
                if since is not None:
                    await self._release(permit, since)
                return held
            if since is not None:
                return await self._renew(permit, held, since)
        raise UpstreamUnavailable("somebody else renews these tokens")

    async def held(self, permit: PostingPermit) -> UpstreamTokens | None:
        """The tokens of the opt-in as they are, good or not."""
        return await self.durable.vault.open(permit)

    async def _claim(self, permit: PostingPermit) -> datetime | None:
        """When it began to be ours to renew them; `None` if it is somebody else's."""
        since = self.clock.now()
        unit = self.durable.unit()
        unit.claim_upstream_tokens(permit.account, permit.provider, since=since, given_up=since - GIVEN_UP)
        try:
            await unit.commit()
        except Conflict:
            return None
        return since

    async def stop(self, permit: PostingPermit) -> Stopped:
        """The tokens as they will stay until they are dropped: whoever renews them from here on, or does so now, keeps nothing.

        Without it what was kept between our looking and our dropping would be taken back nowhere.
        """
        now = self.clock.now()
        unit = self.durable.unit()
        # The moment of nobody who renews, and so long ago that it is given up soon if nothing is dropped in the end.
        since = now - GIVEN_UP + STOPPED_FOR + timedelta(microseconds=1)
        unit.claim_upstream_tokens(permit.account, permit.provider, since=since, given_up=now + GIVEN_UP)
        with suppress(Conflict):  # there are none
            await unit.commit()
        return Stopped(permit=permit, since=since, tokens=await self.durable.vault.open(permit))

    async def take(self, permit: PostingPermit) -> Stopped:
        """The same for whoever replaces them: once nobody else renews or ends them, unless that takes too long."""
        for _ in range(LOOKS):
            since = await self._claim(permit)
            held = await self.durable.vault.open(permit)
            if since is not None or held is None:
                return Stopped(permit=permit, since=since or self.clock.now(), tokens=held)
            await self.pause(BETWEEN)
        return await self.stop(permit)

    async def go_on(self, stopped: Stopped) -> None:
        """Nothing was dropped or replaced in the end: whoever needs them may renew them at once."""
        await self._release(stopped.permit, stopped.since)

    async def _release(self, permit: PostingPermit, since: datetime) -> None:
        unit = self.durable.unit()
        unit.release_upstream_tokens(permit.account, permit.provider, since=since)
        await unit.commit()

    async def _renew(self, permit: PostingPermit, held: UpstreamTokens, since: datetime) -> UpstreamTokens | None:
        try:
            fresh = await self.renew(permit.provider, held)
        except BaseException:
            await self._release(permit, since)
            raise
        unit = self.durable.unit()
        unit.renew_upstream_tokens(permit.account, permit.provider, fresh, since=since)
        try:
            await unit.commit()
        except Conflict:  # it is turned off, or just being so; or on again, and then what it got stands
            standing = await self.durable.vault.open(permit)
            if not fresh.lives_on_in(standing):
                await self.revoke(permit.provider, fresh)
            return None if standing == held else standing
        return fresh
