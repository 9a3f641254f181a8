"""A person's picture on its way: shown before it is kept, kept by us, shown at sites under an address of their own."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from tests.support.house import ISSUER, SITES_TOML, Arrival, Browser, House, Sandboxes, Shown, Site, open_house

ASKS = """
[{site}.asks.picture]
use = "optional"
audience = "everyone"
why = {{ en = "Shown beside your posts.", fr = "Affichée à côté." }}
"""
WITH_PICTURES = SITES_TOML + ASKS.format(site="forum") + ASKS.format(site="wiki")
POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


@pytest.fixture
async def club(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    url = f"sqlite:///{tmp_path / 'doorward.db'}"
    async with open_house(tmp_path, sandboxes, database_url=url, sites=WITH_PICTURES) as house:
        yield house


async def fetched(house: House) -> list[str]:
    """Which pictures the provider was asked for."""
    return [str(entry["path"]) for entry in await house.facebook.log() if "profilepic" in str(entry["path"])]


def portraits(page: Shown) -> list[tuple[str, str]]:
    """Where the page's pictures are, and what they are called instead."""
    return re.findall(r'<img class="portrait" src="([^"]+)" alt="([^"]+)"', page.response.text)


async def image(browser: Browser, address: str) -> Image.Image:
    answer = await browser.send("GET", address if address.startswith("http") else f"{ISSUER}{address}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == POLICY
    assert "set-cookie" not in answer.headers
    return Image.open(io.BytesIO(answer.content))


async def sign_up(forum: Site, persona: str = "normal", *, keep: bool = True) -> tuple[Browser, Shown]:
    """Somebody new on the page where they share with the forum."""
    browser = forum.house.browser()
    await browser.open(forum.request_url())
    await browser.choose("facebook", persona)
    await browser.press("decision=continue", tick=("picture",) if keep else ())
    share = await browser.press("decision=create", fill={"preferred_username": persona.replace("-", "")})
    assert isinstance(share, Shown)
    assert share.path.endswith("/site")
    return browser, share


async def shared(browser: Browser, site: Site) -> str:
    """The address that the site gets, the person having ticked the picture."""
    end = await browser.press("decision=share", tick=("picture",))
    assert isinstance(end, Arrival)
    tokens = await site.redeem(end)
    return str((await site.claims(tokens["access_token"]))["picture"])


async def test_the_picture_is_seen_before_it_is_kept_and_its_host_sees_nobody(club: House) -> None:
    """Fetched once by us; every page shows our own copy (catalogue 141)."""
    browser = club.browser()
    await browser.open(club.site("forum").request_url())
    preview = await browser.choose("facebook", "normal")
    assert isinstance(preview, Shown)
    ((address, words),) = portraits(preview)
    assert words == "Picture Facebook sent"
    assert preview.path.replace("/details", "/picture") == address
    assert (await image(browser, address)).size == (256, 256)
    assert (await club.browser().send("GET", f"{ISSUER}{address}")).status_code != 200, "another browser"
    finish = await browser.press("decision=continue", tick=("picture",))
    assert isinstance(finish, Shown)
    assert portraits(finish) == [(address, "Your picture")]
    share = await browser.press("decision=create", fill={"preferred_username": "ana"})
    assert isinstance(share, Shown)
    assert portraits(share) == [("/me/picture", "Your picture")]
    assert (await image(browser, "/me/picture")).size == (256, 256)
    assert len(await fetched(club)) == 1
    for page in (preview, finish, share):
        assert "profilepic" not in page.response.text


async def test_a_picture_that_is_not_kept_is_gone(club: House) -> None:
    """(catalogue 141)"""
    browser, share = await sign_up(club.site("forum"), keep=False)
    assert portraits(share) == []
    assert (await browser.send("GET", f"{ISSUER}/me/picture")).status_code == 404
    assert "You have not given us this yet." in share.text


@pytest.mark.parametrize("persona", ["dead-picture", "silhouette"])
async def test_without_a_picture_the_sign_up_goes_on_and_says_so(club: House, persona: str) -> None:
    """(catalogue 141)"""
    browser = club.browser()
    await browser.open(club.site("forum").request_url())
    preview = await browser.choose("facebook", persona)
    assert isinstance(preview, Shown)
    assert portraits(preview) == []
    failed = "Facebook named a picture that we could not get. Nothing else is affected: you go on without one."
    assert (failed in preview.text) is (persona == "dead-picture")
    assert ("Facebook did not send one." in preview.text) is (persona == "silhouette")
    assert ("no_picture" in club.log) is (persona == "dead-picture")
    await browser.press("decision=continue")
    share = await browser.press("decision=create", fill={"preferred_username": "ana"})
    assert isinstance(share, Shown)
    assert share.path.endswith("/site")


async def test_each_site_gets_an_address_of_its_own_that_anybody_may_open(club: House) -> None:
    """Pages of sites show it to whoever reads them, without a cookie (decision 11)."""
    forum, wiki = club.site("forum"), club.site("wiki")
    browser, _ = await sign_up(forum)
    at_forum = await shared(browser, forum)
    await browser.open(wiki.request_url())
    at_wiki = await shared(browser, wiki)
    assert at_forum != at_wiki
    assert len({urlsplit(one).path.rpartition("/")[0] for one in (at_forum, at_wiki)}) == 1
    reader = club.browser()
    for address in (at_forum, at_wiki):
        assert (await image(reader, address)).size == (256, 256)
        answer = await reader.send("GET", address)
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["cache-control"] == "private, max-age=3600"
    altered = at_forum[:-6] + ("A" if at_forum[-6] != "A" else "B") + at_forum[-5:]
    assert (await reader.send("GET", altered)).status_code == 404


async def test_an_address_is_dead_once_the_sharing_ends(club: House) -> None:
    """One site's alone; and with the picture, the account or a hold, every site's."""
    forum, wiki = club.site("forum"), club.site("wiki")
    browser, _ = await sign_up(forum)
    at_forum = await shared(browser, forum)
    await browser.open(wiki.request_url())
    at_wiki = await shared(browser, wiki)
    sites = await browser.open("/me/sites")
    form = next(
        form for form in sites.forms
        if form.action.endswith("/stop") and {("client", "forum"), ("claim", "picture")} <= {*form.fields, *((b.name, b.value) for b in form.buttons)}
    )  # fmt: skip
    data = [*form.fields, *((button.name, button.value) for button in form.buttons if button.value == "picture")]
    await browser.send("POST", f"{ISSUER}{form.action}", data=data, headers={"Origin": ISSUER})
    reader = club.browser()
    assert (await reader.send("GET", at_forum)).status_code == 404
    assert (await reader.send("GET", at_wiki)).status_code == 200
    details = await browser.open("/me/details")
    assert portraits(details) == [("/me/picture", "Your picture")]
    form = next(form for form in details.forms if ("v-picture", "") in form.fields)
    await browser.send("POST", f"{ISSUER}{form.action}", data=form.fields, headers={"Origin": ISSUER})
    assert (await reader.send("GET", at_wiki)).status_code == 404
    assert (await browser.send("GET", f"{ISSUER}/me/picture")).status_code == 404
    assert portraits(await browser.open("/me/details")) == []


async def test_a_picture_address_that_leads_inside_is_not_followed(club: House) -> None:
    """What a provider names is an address like any stranger's (catalogue 138, 139): sign-up goes on without."""
    state = club.openid.state
    people = dict(state.people)
    try:
        for number, address in enumerate(("http://127.0.0.1:1/x.png", "https://127.0.0.1/x.png", "file:///etc/passwd")):
            ana = people["ana"]
            state.people = {**people, "ana": replace(ana, profile={**ana.profile, "picture": address})}
            browser = club.browser()
            await browser.open("/sign-in")
            preview = await browser.choose("openid", "ana")
            assert isinstance(preview, Shown)
            assert preview.path.endswith("/details"), number
            assert portraits(preview) == []
    finally:
        state.people = people
