"""What servers that people name gave us when we registered there: sealed, in browser memory, under names that say nothing.

Losing it loses nothing but a registration, which is made again by whoever comes next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from broker.domain.ports import Clock, Transactions
from broker.flows.transactions import Seal

_READ = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamApps:
    """Implements `broker.domain.provider.Kept`."""

    store: Transactions
    seal: Seal
    clock: Clock

    async def load(self, name: str) -> Mapping[str, str] | None:
        """`None` if there is nothing, or nothing that we sealed under this name."""
        place = _place(name)
        sealed = await self.store.load(place, self.clock.now())
        text = self.seal.open_text(sealed.decode(), place) if sealed is not None else None
        return _READ(text.encode()) if text is not None else None

    async def save(self, name: str, values: Mapping[str, str], until: datetime) -> None:
        """In the place of what was there."""
        place = _place(name)
        text = msgspec.json.encode(dict(values)).decode()
        await self.store.save(place, self.seal.seal_text(text, place).encode(), until)

    async def drop(self, name: str) -> None:
        """Nothing if there is none."""
        await self.store.delete(_place(name))


def _place(name: str) -> str:
    """A digest: which servers our people come from is nobody's business who reads the store."""
    return f"app-{hashlib.sha256(name.encode()).hexdigest()}"
