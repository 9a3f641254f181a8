"""What every store must do with what went wrong with providers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from broker.domain.failures import KEEP, Failure
from broker.domain.ports import Durable
from broker.domain.values import ProviderId
from tests.support import builders as make
from tests.support.builders import FACEBOOK, NOW


async def add(durable: Durable, *failures: Failure) -> None:
    unit = durable.unit()
    for failure in failures:
        unit.add_failure(failure)
    await unit.commit()


class FailuresContract:
    async def test_the_newest_of_one_provider_come_last_and_one_is_found_by_its_code(self, durable: Durable) -> None:
        kept = [make.failure(id=f"{number}", at=NOW + timedelta(seconds=number)) for number in (1, 2, 3)]
        other = make.failure(id="other", provider=ProviderId("openid"), at=NOW)
        await add(durable, kept[1], kept[2], kept[0], other)
        assert await durable.failures.newest(FACEBOOK, 2) == (kept[1], kept[2])
        assert await durable.failures.newest(FACEBOOK, 9) == tuple(kept)
        assert await durable.failures.newest(ProviderId("nobody"), 9) == ()
        assert await durable.failures.load("other") == other
        assert await durable.failures.load("none") is None

    async def test_a_code_that_comes_twice_keeps_the_first(self, durable: Durable) -> None:
        first = make.failure()
        await add(durable, first)
        await add(durable, replace(first, reason="odd"))
        assert await durable.failures.load(first.id) == first

    async def test_after_a_week_it_is_gone(self, durable: Durable) -> None:
        kept = make.failure(at=NOW)
        await add(durable, kept)
        await durable.purge(NOW + KEEP - timedelta(microseconds=1))
        assert await durable.failures.load(kept.id) == kept
        await durable.purge(NOW + KEEP)
        assert await durable.failures.load(kept.id) is None
