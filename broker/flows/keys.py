"""Make, rotate and retire signing keys, so that no valid token is ever refused."""

from __future__ import annotations

from dataclasses import dataclass

from broker.domain.client import SigningAlgorithm
from broker.domain.ports import Clock, Entropy, SigningKeys
from broker.errors import Conflict
from broker.signing import PUBLISH_AHEAD, KeyBox, due_for_removal, make_key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFlow:
    keys: SigningKeys
    box: KeyBox
    clock: Clock
    entropy: Entropy

    async def load(self) -> None:
        """Read the keys; make the first of each algorithm if there are none. Raises `ValueError` on a corrupt key."""
        records = await self.keys.all()
        now = self.clock.now()
        have = {record.algorithm for record in records}
        for algorithm in SigningAlgorithm:
            if algorithm not in have:
                # The name holds no chance: of several processes starting at once, one adds it and all use it.
                record = make_key(algorithm, f"{algorithm.value.lower()}-1", now=now, signs_from=now)
                try:
                    await self.keys.add(record)
                except Conflict:
                    pass
        if len(have) < len(SigningAlgorithm):
            records = await self.keys.all()
        self.box.load(records, now)

    async def rotate(self) -> tuple[str, ...]:
        """Publish a new key of each algorithm now; it signs once every cache must have it. The new keys' names."""
        now = self.clock.now()
        made = [
            make_key(algorithm, self.entropy.token(9), now=now, signs_from=now + PUBLISH_AHEAD)
            for algorithm in SigningAlgorithm
        ]
        await self.keys.add(*made)
        await self.tidy()
        return tuple(record.kid for record in made)

    async def tidy(self) -> None:
        """Remove keys whose last token expired long ago, and take over what the store has now."""
        records = await self.keys.all()
        for kid in due_for_removal(records, self.clock.now()):
            await self.keys.remove(kid)
        await self.load()
