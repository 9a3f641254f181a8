"""What went wrong is noted at once, written later, and bounded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.flows.front import FACEBOOK, OPENID, Front

from broker.domain.failures import KEEP, SHOWN
from broker.domain.values import ProviderId
from broker.errors import StoreUnavailable
from broker.flows.failures import EACH, MOST_WAITING, PER, FailureTrace


@pytest.fixture
def front() -> Front:
    return Front()


@pytest.fixture
def trace(front: Front) -> FailureTrace:
    return FailureTrace(durable=front.durable, clock=front.clock, entropy=front.entropy)


def note(trace: FailureTrace, provider: ProviderId = FACEBOOK, **more: Any) -> None:
    trace.note(provider, **({"step": SHOWN, "reason": "odd", "detail": "kid", "reference": ""} | more))


async def kept(front: Front, provider: ProviderId = FACEBOOK) -> list[tuple[str, str]]:
    return [(one.reason, one.reference) for one in await front.durable.failures.newest(provider, 10_000)]


async def test_what_is_noted_is_written_with_the_code_that_was_shown(front: Front, trace: FailureTrace) -> None:
    await trace.flush()
    note(trace, reference="K7Q2-91XM")
    note(trace, step="provider_state", reason="dns")
    assert await kept(front) == []
    await trace.flush()
    assert sorted(await kept(front)) == [("dns", ""), ("odd", "K7Q2-91XM")]
    found = await front.durable.failures.load("K7Q2-91XM")
    assert found is not None
    assert (found.provider, found.at, found.detail) == (FACEBOOK, front.clock.now(), "kid")
    await trace.flush()
    assert len(await kept(front)) == 2
    await front.durable.purge(front.clock.now() + KEEP)
    assert await kept(front) == []


async def test_more_than_enough_of_the_same_in_an_hour_is_left_out(front: Front, trace: FailureTrace) -> None:
    for _ in range(EACH + 5):
        note(trace)
    note(trace, reason="other")
    note(trace, detail="other")
    note(trace, OPENID)
    await trace.flush()
    assert len(await kept(front)) == EACH + 2
    assert len(await kept(front, OPENID)) == 1
    front.clock.move(PER - timedelta(microseconds=1))
    note(trace)
    await trace.flush()
    assert len(await kept(front)) == EACH + 2
    front.clock.move(timedelta(microseconds=1))
    note(trace)
    await trace.flush()
    assert len(await kept(front)) == EACH + 3


async def test_while_the_store_is_away_it_waits_and_what_waits_is_bounded(front: Front, trace: FailureTrace) -> None:
    away = Front()
    await away.durable.close()
    trace.durable = away.durable
    for number in range(MOST_WAITING + 5):
        note(trace, reason=f"{number}")
    with pytest.raises(StoreUnavailable):
        await trace.flush()
    trace.durable = front.durable
    await trace.flush()
    assert len(await kept(front)) == MOST_WAITING
