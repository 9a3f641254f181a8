"""What every store must do with what sites have set at their streams."""

from __future__ import annotations

import pytest

from broker.domain.ports import Durable
from broker.domain.stream import Stream, StreamStatus
from broker.domain.values import ClientId

FORUM, WIKI = ClientId("forum"), ClientId("wiki")


class StreamsContract:
    async def test_what_nobody_set_is_as_at_first(self, durable: Durable) -> None:
        await durable.streams.put(Stream(client=WIKI, deleted=True))
        assert await durable.streams.load(FORUM) == Stream(client=FORUM)

    @pytest.mark.parametrize("requested", [None, (), ("urn:one",), ("urn:one", "urn:two")])
    async def test_the_last_that_was_put_is_read_as_it_was(
        self, durable: Durable, requested: tuple[str, ...] | None
    ) -> None:
        await durable.streams.put(Stream(client=FORUM, deleted=True, requested=("urn:three",)))
        last = Stream(
            client=FORUM, status=StreamStatus.PAUSED, reason="Wir ruhen.", requested=requested, description="Zürich"
        )
        await durable.streams.put(last)
        assert await durable.streams.load(FORUM) == last
