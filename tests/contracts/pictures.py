"""What every store must do with pictures of people."""

from __future__ import annotations

import pytest

from broker.domain.picture import Picture
from broker.domain.ports import Durable
from broker.domain.values import AccountId
from broker.errors import Conflict
from tests.contracts.stores import kept_account
from tests.support.builders import NOW

PICTURE = Picture(id="picture-1", jpeg=b"\xff\xd8\x00 jpeg \xff\xd9")


async def put(durable: Durable, account: AccountId, picture: Picture = PICTURE) -> None:
    unit = durable.unit()
    unit.put_picture(account, picture)
    await unit.commit()


class PicturesContract:
    async def test_a_picture_is_read_as_it_was_put(self, durable: Durable) -> None:
        ana, _ = await kept_account(durable)
        ben, _ = await kept_account(durable)
        await put(durable, ana.id)
        assert await durable.pictures.load(ana.id) == PICTURE
        assert await durable.pictures.load(ben.id) is None

    async def test_another_picture_takes_the_place_of_the_one_before(self, durable: Durable) -> None:
        ana, _ = await kept_account(durable)
        await put(durable, ana.id)
        other = Picture(id="picture-2", jpeg=b"another jpeg")
        await put(durable, ana.id, other)
        assert await durable.pictures.load(ana.id) == other

    async def test_a_dropped_picture_is_gone_and_another_can_follow(self, durable: Durable) -> None:
        ana, _ = await kept_account(durable)
        for number in range(2):
            picture = Picture(id=f"picture-{number}", jpeg=b"jpeg")
            await put(durable, ana.id, picture)
            assert await durable.pictures.load(ana.id) == picture
            for _ in range(2):
                unit = durable.unit()
                unit.drop_picture(ana.id)
                await unit.commit()
            assert await durable.pictures.load(ana.id) is None

    async def test_a_picture_goes_with_its_account_and_comes_to_none_that_is_gone(self, durable: Durable) -> None:
        """(catalogue 130)"""
        ana, _ = await kept_account(durable)
        await put(durable, ana.id)
        unit = durable.unit()
        unit.erase_account(ana.id, NOW)
        await unit.commit()
        assert await durable.pictures.load(ana.id) is None
        with pytest.raises(Conflict, match="account"):
            await put(durable, ana.id)
