"""What every store must do with logos."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.logo import DrawnLogo, Logo
from broker.domain.ports import Durable
from broker.errors import Conflict
from tests.contracts.registrations import document, invite, register, registration
from tests.support.builders import NOW

PNG = b"\x89PNG\x00 pixels"


def drawn(owner: str = "forum", digest: str = "a" * 64, *, png: bytes = PNG, is_shown: bool = True) -> DrawnLogo:
    logo = Logo(owner=owner, source=f"https://{owner}.test/x", digest=digest, size=len(png), is_shown=is_shown)
    return DrawnLogo(logo=logo, png=png)


async def put(durable: Durable, *logos: DrawnLogo) -> None:
    unit = durable.unit()
    for logo in logos:
        unit.put_logo(logo)
    await unit.commit()


class LogosContract:
    async def test_a_logo_is_read_as_it_was_put_last(self, durable: Durable) -> None:
        await put(durable, drawn())
        other = drawn(digest="b" * 64, png=b"another", is_shown=False)
        await put(durable, other, drawn("wiki"))
        assert await durable.logos.load("forum") == other
        assert await durable.logos.load("nobody") is None
        assert await durable.logos.after("") == (other.logo, drawn("wiki").logo)
        assert await durable.logos.after("", 1) == (other.logo,)
        assert await durable.logos.after("forum") == (drawn("wiki").logo,)

    async def test_only_one_that_is_shown_is_found_by_what_it_is(self, durable: Durable) -> None:
        await put(durable, drawn("first", is_shown=False))
        assert await durable.logos.shown("a" * 64) is None
        await put(durable, drawn("second"))
        assert await durable.logos.shown("a" * 64) == PNG
        assert await durable.logos.shown("b" * 64) is None

    async def test_a_logo_that_changed_meanwhile_is_not_shown_unseen(self, durable: Durable) -> None:
        hidden = drawn(is_shown=False)
        await put(durable, hidden)
        for owner, digest in (("forum", "b" * 64), ("wiki", "a" * 64)):
            unit = durable.unit()
            unit.show_logo(owner, digest)
            with pytest.raises(Conflict, match="logo"):
                await unit.commit()
        assert await durable.logos.load("forum") == hidden
        unit = durable.unit()
        unit.show_logo("forum", "a" * 64)
        await unit.commit()
        assert await durable.logos.load("forum") == replace(hidden, logo=replace(hidden.logo, is_shown=True))

    async def test_a_dropped_logo_is_gone(self, durable: Durable) -> None:
        await put(durable, drawn(), drawn("wiki"))
        for _ in range(2):
            unit = durable.unit()
            unit.drop_logo("forum")
            await unit.commit()
        assert await durable.logos.after("") == (drawn("wiki").logo,)

    async def test_a_logo_goes_with_the_site_that_put_itself_in(self, durable: Durable) -> None:
        await invite(durable)
        kept, blocked = await register(durable, registration()), document()
        await put(durable, drawn(kept.client_id), drawn(blocked.client_id))
        unit = durable.unit()
        unit.remove_registration(kept.client_id, NOW)
        unit.block_document(blocked, NOW)
        await unit.commit()
        assert await durable.logos.after("") == ()
