"""What every store must do with those of whom a provider said that they left."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.domain.ports import Durable
from broker.domain.removal import Removal, RemovalKind, RemovalState
from broker.domain.values import AccountId
from broker.errors import Conflict
from tests.contracts.stores import kept_account
from tests.support import builders as make
from tests.support.builders import NOW


async def put(durable: Durable, removal: Removal, over: RemovalState | None = None) -> Removal:
    unit = durable.unit()
    unit.put_removal(removal, over=over)
    await unit.commit()
    return removal


class RemovalsContract:
    async def test_a_removal_is_read_as_it_was_put(self, durable: Durable) -> None:
        bare = await put(durable, make.removal())
        decided = replace(
            make.removal(),
            kind=RemovalKind.APP_REMOVED,
            state=RemovalState.KEPT,
            decided_at=NOW,
            reason="Two ways remain.",
        )
        await put(durable, decided)
        assert await durable.removals.load(bare.code) == bare
        assert await durable.removals.load(decided.code) == decided
        assert await durable.removals.load("nobody") is None

    async def test_a_removal_is_put_over_the_state_that_was_seen_only(self, durable: Durable) -> None:
        """Two who decide, or a provider that says it again meanwhile: one of them gets it."""
        waiting = make.removal()
        with pytest.raises(Conflict, match="removal"):
            await put(durable, waiting, RemovalState.WAITING)
        await put(durable, waiting)
        with pytest.raises(Conflict, match="removal"):
            await put(durable, waiting)
        erased = replace(waiting, state=RemovalState.ERASED, decided_at=NOW)
        await put(durable, erased, RemovalState.WAITING)
        with pytest.raises(Conflict, match="removal"):
            await put(durable, replace(erased, state=RemovalState.KEPT), RemovalState.WAITING)
        assert await durable.removals.load(waiting.code) == erased

    async def test_those_that_wait_are_listed_oldest_first(self, durable: Durable) -> None:
        later = await put(durable, make.removal(asked_at=NOW + timedelta(seconds=1)))
        first = await put(durable, make.removal())
        await put(durable, make.removal(state=RemovalState.KEPT, decided_at=NOW))
        assert await durable.removals.waiting() == (first, later)
        assert await durable.removals.waiting(1) == (first,)

    async def test_what_was_said_of_one_account_is_said_of_the_one_it_became(self, durable: Durable) -> None:
        owner, other = make.removal(), make.removal()
        told = [owner, replace(make.removal(), account=owner.account, kind=RemovalKind.APP_REMOVED), other]
        for one in told:
            await put(durable, one)
        unit = durable.unit()
        unit.move_removals(owner.account, AccountId("stays"))
        await unit.commit()
        found = [await durable.removals.load(one.code) for one in told]
        assert found == [*(replace(one, account=AccountId("stays")) for one in told[:2]), other]

    async def test_a_removal_outlives_its_account(self, durable: Durable) -> None:
        """The person can still look up what became of it."""
        owner, _ = await kept_account(durable)
        kept = await put(durable, make.removal(account=owner.id))
        unit = durable.unit()
        unit.erase_account(owner.id, NOW)
        await unit.commit()
        assert await durable.removals.load(kept.code) == kept
