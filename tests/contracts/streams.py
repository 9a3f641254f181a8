"""What every store must do with what sites have set at their streams."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support import builders as make

from broker.domain.ports import Durable
from broker.domain.stream import Stream, StreamStatus
from broker.domain.values import ClientId, Secret
from broker.errors import Conflict

FORUM, WIKI = ClientId("forum"), ClientId("wiki")
ANA, BEN = "number-of-ana", "number-of-ben"


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
            client=FORUM,
            version=(await durable.streams.load(FORUM)).version,
            status=StreamStatus.PAUSED,
            reason="Wir ruhen.",
            requested=requested,
            description="Zürich",
            proof=Secret("Bearer é"),
        )
        await durable.streams.put(last)
        assert await durable.streams.load(FORUM) == last

    async def test_the_header_is_gone_with_the_next_that_has_none(self, durable: Durable) -> None:
        await durable.streams.put(Stream(client=FORUM, proof=Secret("Bearer one")))
        await durable.streams.put(replace(await durable.streams.load(FORUM), proof=None))
        assert await durable.streams.load(FORUM) == Stream(client=FORUM)

    async def test_it_is_set_over_what_was_read_and_nothing_else(self, durable: Durable) -> None:
        """Of two that read the same, the second has to read again; also where nobody had set anything yet."""
        for _ in range(2):
            read = await durable.streams.load(FORUM)
            await durable.streams.put(replace(read, reason="one"))
            with pytest.raises(Conflict) as stale:
                await durable.streams.put(replace(read, description="two"))
            assert stale.value.what == "stale"
            assert await durable.streams.load(FORUM) == replace(read, reason="one")
            await durable.streams.put(replace(await durable.streams.load(FORUM), description="two"))
            assert await durable.streams.load(FORUM) == Stream(client=FORUM, reason="one", description="two")

    async def test_of_many_changes_at_once_none_is_lost_without_a_word(self, durable: Durable) -> None:
        async def change(name: str) -> bool:
            read = await durable.streams.load(FORUM)
            try:
                await durable.streams.put(replace(read, requested=(*(read.requested or ()), name)))
            except Conflict:
                return False
            return True

        names = [f"urn:{number}" for number in range(8)]
        done = [name for name, is_done in zip(names, await asyncio.gather(*map(change, names)), strict=True) if is_done]
        assert done
        assert sorted((await durable.streams.load(FORUM)).requested or ()) == done

    async def test_whoever_a_site_takes_out_is_out_of_its_stream_alone(self, durable: Durable) -> None:
        assert await durable.streams.remove_subject(FORUM, ANA, 2)
        assert await durable.streams.remove_subject(FORUM, ANA, 2)
        out = [await durable.streams.is_removed(site, who) for site in (FORUM, WIKI) for who in (ANA, BEN)]
        assert out == [True, False, False, False]
        await durable.streams.add_subject(WIKI, ANA)
        await durable.streams.add_subject(FORUM, BEN)
        assert await durable.streams.is_removed(FORUM, ANA)
        await durable.streams.add_subject(FORUM, ANA)
        assert not await durable.streams.is_removed(FORUM, ANA)

    async def test_no_more_are_out_than_the_limit_and_each_site_has_its_own(self, durable: Durable) -> None:
        assert await durable.streams.remove_subject(FORUM, ANA, 1)
        assert not await durable.streams.remove_subject(FORUM, BEN, 1)
        assert await durable.streams.remove_subject(FORUM, ANA, 1), "it is out already"
        assert not await durable.streams.is_removed(FORUM, BEN)
        assert await durable.streams.remove_subject(WIKI, BEN, 1)

    async def test_everybody_is_in_again_at_once(self, durable: Durable) -> None:
        for site, who in ((FORUM, ANA), (FORUM, BEN), (WIKI, ANA)):
            assert await durable.streams.remove_subject(site, who, 9)
        await durable.streams.add_everybody(FORUM)
        out = [await durable.streams.is_removed(site, who) for site in (FORUM, WIKI) for who in (ANA, BEN)]
        assert out == [False, False, True, False]

    async def test_a_unit_of_work_takes_somebody_in_again_or_does_nothing(self, durable: Durable) -> None:
        """With whatever else it does."""
        for who in (ANA, BEN):
            assert await durable.streams.remove_subject(FORUM, who, 9)
        unit = durable.unit()
        unit.add_subject(FORUM, ANA)
        unit.add_subject(WIKI, BEN)
        assert await durable.streams.is_removed(FORUM, ANA)
        await unit.commit()
        assert [await durable.streams.is_removed(FORUM, who) for who in (ANA, BEN)] == [False, True]
        unit = durable.unit()
        unit.add_subject(FORUM, BEN)
        unit.save_account(make.account(make.new_id("never-there"), profile={}))
        with pytest.raises(Conflict):
            await unit.commit()
        assert await durable.streams.is_removed(FORUM, BEN)
