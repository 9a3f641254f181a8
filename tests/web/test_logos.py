"""Logos on pages: beside the name, from here, and never of a site that nobody looked at."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

from PIL import Image
from tests.support.house import PROVIDERS_TOML, SITES_TOML, Arrival, House, Sandboxes, Shown, open_house
from tests.web.desk import member

from broker.domain.values import ClientId, ProviderId

POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


def logo(path: Path, colour: str) -> Path:
    """A wide one that is see-through on its left."""
    image = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    image.paste(colour, (200, 0, 400, 200))
    image.save(path)
    return path


async def there(house: House) -> None:
    """The background work has drawn them."""
    forum, logos = house.settings.clients[ClientId("forum")], house.world.logos
    for _ in range(200):
        if logos.of_provider(ProviderId("openid")) and logos.of_site(forum):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(house.log)


def logos_of(page: Shown) -> list[str]:
    """Where the page's logos are; nothing calls them anything, as the name stands beside each."""
    found = re.findall(r'<img [^>]*src="([^"]+)" alt=""', page.response.text)
    assert len(found) == page.response.text.count("<img ")
    return found


async def test_a_logo_stands_beside_the_name_and_comes_from_here(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """(catalogue 141)"""
    forum, club = logo(tmp_path / "forum.png", "red"), logo(tmp_path / "club.png", "blue")
    async with open_house(
        tmp_path,
        sandboxes,
        sites=SITES_TOML.replace("[forum]\n", f'[forum]\nlogo = "{forum}"\n'),
        providers=PROVIDERS_TOML.replace("[openid]\n", f'[openid]\nlogo = "{club}"\n').replace(
            "[facebook]\n", f'[facebook]\nlogo = "{club}"\n'
        ),
    ) as house:
        await there(house)
        site = house.site("forum")
        chooser = await house.browser().open(site.request_url())
        of_forum, of_club = logos_of(chooser)
        ana = await member(house)
        share = await ana.open(site.request_url())
        assert logos_of(share) == [of_forum]
        assert isinstance(await ana.press("decision=share"), Arrival)
        assert logos_of(await ana.open("/me/sites")) == [of_forum]
        assert logos_of(await house.browser().open(house.site("wiki").request_url())) == [of_club]

        async with house.client() as client:
            answer = await client.get(of_forum)
            gone = await client.get(of_forum.replace("/logo/", "/logo/0"))
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "set-cookie" not in answer.headers
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (128, 64))
        assert [image.getpixel((10, 30)), image.getpixel((120, 30))] == [(0, 0, 0, 0), (255, 0, 0, 255)]
    assert gone.status_code == 404
    assert "img-src 'self' data:;" in chooser.response.headers["content-security-policy"]
