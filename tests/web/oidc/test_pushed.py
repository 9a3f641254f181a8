"""`/par` over HTTP, and what a browser does with the reference it gave (RFC 9126)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from tests.support.house import ISSUER, Arrival, Browser, House, Sandboxes, Shown, Site, site_secret
from tests.web.desk import MORE_SITES, member, wide_house

PUSHING = """
[pushing]
name = "Pushing Site"
url = "https://pushing.test"
redirect_uris = ["https://pushing.test/callback"]
client_secret = { env = "PUSHING_SECRET" }
par_required = true

[pushing.asks.preferred_username]
use = "needed"
why = { en = "To greet you.", fr = "Pour vous saluer." }
"""


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    secrets = {name: site_secret(name.partition("_")[0].lower()) for name in ("OLD_SECRET", "PUSHING_SECRET")}
    async with wide_house(tmp_path, sandboxes, sites=MORE_SITES + PUSHING, environ=secrets) as opened:
        yield opened


@pytest.fixture
def forum(house: House) -> Site:
    return house.site("forum")


async def pushed(site: Site, **changes: str | None) -> httpx2.Response:
    """What the endpoint answers to a good request of this site, changed like that."""
    form = dict(parse_qsl(urlsplit(site.request_url(**changes)).query))
    return await site.post("/par", form)


async def reference(site: Site, **changes: str | None) -> str:
    answer = await pushed(site, **changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["request_uri"])


def url_of(site: Site, request_uri: str, **more: str) -> str:
    return f"{ISSUER}/authorize?{urlencode({'client_id': site.name, 'request_uri': request_uri, **more})}"


async def shared(browser: Browser, url: str) -> Arrival:
    await browser.open(url)
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)
    return end


async def test_a_pushed_request_leads_to_a_code(house: House, forum: Site) -> None:
    """201, a reference for a minute, and nobody may store the answer (RFC 9126 §2.2)."""
    answer = await pushed(forum)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert set(told) == {"request_uri", "expires_in"}
    assert told["expires_in"] == 60
    assert told["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")
    arrival = await shared(await member(house), url_of(forum, told["request_uri"]))
    assert "id_token" in await forum.redeem(arrival)


async def test_nothing_that_the_browser_brings_beside_it_counts(house: House, forum: Site) -> None:
    """Neither another address nor another scope, state or prompt (RFC 9126 §4)."""
    request_uri = await reference(forum, scope="openid", state="the-sites-own")
    more = {
        "redirect_uri": "https://evil.test/",
        "scope": "openid email",
        "state": "x",
        "prompt": "none",
        "request": "y",
    }
    arrival = await shared(await member(house), url_of(forum, request_uri, **more))
    assert arrival.params["state"] == "the-sites-own"
    assert (await forum.redeem(arrival))["scope"] == "openid"


async def test_a_page_may_be_loaded_again_until_there_is_an_answer(house: House, forum: Site) -> None:
    """Then the reference is over: a page of ours, and nobody is sent anywhere."""
    ana, url = await member(house), url_of(forum, await reference(forum))
    await ana.open(url)
    await shared(ana, url)
    over = await ana.go(url)
    assert isinstance(over, Shown)
    assert over.status == 410
    assert "location" not in over.response.headers
    assert "https://forum.test" in over.response.text


async def test_two_tabs_with_one_reference_get_one_code(house: House, forum: Site) -> None:
    """The other one's site hears an error with its own state."""
    ana, url = await member(house), url_of(forum, await reference(forum))
    await ana.open(url)
    first = ana.page
    await ana.open(url)
    assert isinstance(await ana.press("decision=share"), Arrival)
    ana.shown = first
    end = await ana.press("decision=share")
    assert isinstance(end, Arrival)
    assert end.params["error"] == "invalid_request"
    assert end.params["iss"] == ISSUER


async def test_a_reference_that_is_over_or_another_sites_is_refused_by_a_page(house: House, forum: Site) -> None:
    request_uri = await reference(forum)
    others = [url_of(house.site("wiki"), request_uri), url_of(forum, request_uri + "x")]
    house_browser = await member(house)
    for url in others:
        end = await house_browser.go(url)
        assert isinstance(end, Shown)
        assert (end.status, end.headings[0]) == (410, "The site has to send you again")
    house.clock.move(seconds=60)
    end = await house_browser.go(url_of(forum, request_uri))
    assert isinstance(end, Shown)
    assert (end.status, end.headings[0]) == (410, "The site has to send you again")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": "https://evil.test/cb"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
        ({"request_uri": "https://forum.test/request"}, "invalid_request"),
    ],
)
async def test_what_is_wrong_is_told_the_server_at_once(forum: Site, changes: dict[str, Any], error: str) -> None:
    """RFC 9126 §2.3, as JSON, before anybody's browser is sent."""
    answer = await pushed(forum, **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_only_the_site_itself_can_push(house: House, forum: Site) -> None:
    form = dict(parse_qsl(urlsplit(forum.request_url()).query))
    async with house.client() as client:
        for headers in ({}, {"Authorization": "Basic Zm9ydW06d3Jvbmc="}):
            answer = await client.post("/par", data=form, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        answer = await client.post("/par", data=form | {"client_id": "wiki"}, headers=forum.auth)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert (await client.get("/par")).status_code == 405


async def test_a_site_without_a_secret_can_push_too(house: House) -> None:
    """By its name alone, so many times a minute (RFC 9126 §2)."""
    app = house.site("app")
    form = dict(parse_qsl(urlsplit(app.request_url(redirect_uri="https://app.test/cb")).query))
    answers = [await app.post("/par", form, auth=False) for _ in range(61)]
    assert [answer.status_code for answer in answers] == [201] * 60 + [429]


async def test_a_site_that_pushes_only_is_asked_in_no_other_way(house: House) -> None:
    """What a browser brings alone is refused, at the verified address (RFC 9126 §6)."""
    pushing, ana = house.site("pushing"), await member(house)
    end = await ana.go(pushing.request_url())
    assert isinstance(end, Arrival)
    assert end.params["error"] == "invalid_request"
    assert "pushed" in end.params["error_description"]
    assert "code" in (await shared(ana, url_of(pushing, await reference(pushing)))).params


async def test_a_posted_reference_works_too(house: House, forum: Site) -> None:
    """OpenID Connect Core §3.1.2.1: POST is as good as GET."""
    ana, request_uri = await member(house), await reference(forum)
    fields = [("client_id", "forum"), ("request_uri", request_uri)]
    shown = await ana.submit("post", f"{ISSUER}/authorize", fields)
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/site")
