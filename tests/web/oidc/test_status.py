"""The status list endpoint, over HTTP."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from tests.support.house import House, Site, open_house, peek
from tests.web.desk import connect, member

from broker.domain.status import SIZE


async def session_token(house: House, forum: Site, name: str = "ana") -> Any:
    """A person's browser, and the claims of what the forum got."""
    browser = await member(house, name)
    tokens = await forum.redeem(await connect(browser, forum))
    return browser, peek(tokens["session_token"])["status"]["status_list"]


def marked(token: str, index: int) -> bool:
    lst = peek(token)["status_list"]["lst"]
    data = zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))
    assert len(data) * 8 == SIZE
    return bool(data[index >> 3] >> (index & 7) & 1)


async def test_a_list_is_sent_with_its_type_and_how_long_it_may_be_kept(house: House) -> None:
    """Token Status List §8.1: anybody may read it, and it names nobody."""
    _, status = await session_token(house, house.site("forum"))
    async with house.client() as client:
        answer = await client.get(status["uri"])
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/statuslist+jwt"
        assert answer.headers["cache-control"] == "public, max-age=3"
        assert answer.headers["access-control-allow-origin"] == "*"
        claims = peek(answer.text)
        assert (claims["iss"], claims["sub"]) == (house.settings.broker.public_url, status["uri"])
        assert not marked(answer.text, status["idx"])
        again = await client.get(status["uri"], headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])


@pytest.mark.parametrize("end", ["sign-out", "disconnect", "withdraw", "close"])
async def test_what_ends_a_session_is_in_the_list_within_seconds(house: House, end: str) -> None:
    """catalogue 83"""
    browser, status = await session_token(house, house.site("forum"))
    _, other = await session_token(house, house.site("forum"), "ben")
    page, button = {
        "sign-out": ("/signout", "what=everything"),
        "disconnect": ("/me/sites", "Disconnect Forum"),
        "withdraw": ("/me/sites", "Stop sharing User name"),
        "close": ("/me/close", "decision=close"),
    }[end]
    async with house.client() as client:
        before = (await client.get(status["uri"])).headers["etag"]
        await browser.open(page)
        await browser.press(button)
        house.clock.move(seconds=3)
        answer = await client.get(status["uri"], headers={"If-None-Match": before})
    assert marked(answer.text, status["idx"])
    assert not marked(answer.text, other["idx"])


@pytest.mark.parametrize("name", ["x", "AAAAAAAAAAAAAAAA", "%2e%2e", "0", "a" * 5000, "%00"])
async def test_a_list_that_is_not_there_is_not_found(house: House, name: str) -> None:
    await session_token(house, house.site("forum"))
    async with house.client() as client:
        assert (await client.get(f"/status/{name}")).status_code == 404


async def test_a_house_may_do_without(tmp_path: Any, sandboxes: Any) -> None:
    async with open_house(tmp_path, sandboxes, change={"status_lists": False}) as house:
        forum = house.site("forum")
        tokens = await forum.redeem(await connect(await member(house, "ana"), forum))
        assert "status" not in peek(tokens["session_token"])
