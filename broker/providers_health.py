"""Whether each provider can be used now: found out in the background, so that no request waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.domain.provider import Provider
from broker.domain.values import ProviderId
from broker.errors import UpstreamError

EVERY: Final = 300.0
WHILE_DOWN: Final = 15.0
"""Seconds between two looks at a provider that works, and at one that does not."""


@dataclass(slots=True, kw_only=True)
class ProviderHealth:
    providers: Mapping[ProviderId, Provider]
    _down: set[ProviderId] = field(default_factory=set)

    def state(self, provider: ProviderId) -> str:
        """`ok` or `unavailable`, as of the last look."""
        return "unavailable" if provider in self._down else "ok"

    async def run(self) -> None:
        """Look at every provider, each on its own: one that hangs delays no other."""
        await asyncio.gather(*(self._watch(provider) for provider in self.providers.values()))

    async def _watch(self, provider: Provider) -> None:
        while True:
            try:
                await provider.check()
            except UpstreamError:
                self._down.add(provider.id)
            else:
                self._down.discard(provider.id)
            await asyncio.sleep(WHILE_DOWN if provider.id in self._down else EVERY)
