"""Whether each provider can be used now: found out in the background, so that no request waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.domain.provider import Provider
from broker.domain.values import ProviderId
from broker.errors import UpstreamError

EVERY: Final = 300.0
WHILE_DOWN: Final = 15.0
"""Seconds between two looks at a provider that works, and at one that does not."""
WORKS: Final = "ok"


def _nobody(provider: ProviderId, reason: str) -> None:
    """Nobody wants to know."""


@dataclass(slots=True, kw_only=True)
class ProviderHealth:
    """Looks at every provider again and again. What it finds is a word on a button and never stops anything."""

    providers: Mapping[ProviderId, Provider]
    report: Callable[[ProviderId, str], None] = _nobody
    """Told when a provider starts or stops working: `ok`, or why not."""
    every: float = EVERY
    while_down: float = WHILE_DOWN
    _down: set[ProviderId] = field(default_factory=set)

    def state(self, provider: ProviderId) -> str:
        """`ok` or `unavailable`, as of the last look; `ok` before the first one."""
        return "unavailable" if provider in self._down else WORKS

    async def run(self) -> None:
        """Look at every provider, each on its own: one that hangs delays no other."""
        await asyncio.gather(*(self._watch(provider) for provider in self.providers.values()))

    async def _watch(self, provider: Provider) -> None:
        while True:
            self._note(provider.id, await self._look(provider))
            await asyncio.sleep(self.while_down if provider.id in self._down else self.every)

    @staticmethod
    async def _look(provider: Provider) -> str:
        """`ok`, or the reason why not. A mistake in one kind of provider must not end the watch over the others."""
        try:
            await provider.check()
        except UpstreamError as error:
            return error.detail or error.code
        except Exception as error:
            return type(error).__name__
        return WORKS

    def _note(self, provider: ProviderId, reason: str) -> None:
        was_down = provider in self._down
        if reason == WORKS:
            self._down.discard(provider)
        else:
            self._down.add(provider)
        if was_down != (reason != WORKS):
            self.report(provider, reason)
