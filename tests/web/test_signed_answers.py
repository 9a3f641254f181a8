"""Signed answers on their way to the site: in its address or posted, a code or an error (JARM §2.3)."""

from __future__ import annotations

from typing import Any

import httpx2
import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.support.house import ISSUER, Arrival, Browser, House, Shown, Site
from tests.web.desk import member


async def said(house: House, token: str) -> dict[str, Any]:
    """What the signature of a published key stands for."""
    async with house.client() as client:
        answer: httpx2.Response = await client.get("/jwks")
    claims = dict(jwt.decode(token, KeySet.import_key_set(orjson.loads(answer.content)), algorithms=["RS256"]).claims)
    assert (claims["iss"], claims["aud"]) == (ISSUER, "forum")
    return claims


def carried(end: object, site: Site) -> str:
    """The one parameter of the answer, however it came."""
    if isinstance(end, Arrival):
        assert end.url.startswith(f"{site.redirect_uri}?")
        assert set(end.params) == {"response"}
        return end.params["response"]
    assert isinstance(end, Shown)
    (form,) = end.forms
    assert (form.method, form.action) == ("post", site.redirect_uri)
    ((name, value),) = form.fields
    assert name == "response"
    return value


async def shared(ana: Browser, url: str) -> object:
    end = await ana.go(url)
    return await ana.press("decision=share") if isinstance(end, Shown) and end.path.endswith("/site") else end


@pytest.mark.parametrize("mode", ["jwt", "query.jwt", "form_post.jwt"])
async def test_a_code_comes_signed(house: House, mode: str) -> None:
    """After the share page, and without it."""
    forum, ana = house.site("forum"), await member(house)
    for _ in range(2):
        end = await shared(ana, forum.request_url(response_mode=mode, state="s-1"))
        assert isinstance(end, Shown) is (mode == "form_post.jwt")
        claims = await said(house, carried(end, forum))
        assert claims["state"] == "s-1"
        assert await forum.redeem(Arrival(f"https://forum.test/?code={claims['code']}&state=s-1"))


@pytest.mark.parametrize("mode", ["jwt", "query.jwt", "form_post.jwt"])
async def test_an_error_comes_signed(house: House, mode: str) -> None:
    """Whether or not anybody is signed in (catalogue 9, 13)."""
    forum = house.site("forum")
    for browser in (house.browser(), await member(house)):
        for changes, error in (({"prompt": "none login"}, "invalid_request"), ({"scope": "profile"}, "invalid_scope")):
            end = await browser.go(forum.request_url(response_mode=mode, state="s-1", **changes))
            claims = await said(house, carried(end, forum))
            assert (claims["error"], claims["state"]) == (error, "s-1")
    end = await house.browser().go(forum.request_url(response_mode=mode, prompt="none"))
    assert (await said(house, carried(end, forum)))["error"] == "login_required"
