"""Somebody is sent here to sign in by a certain provider (OpenID Connect Core §4; oidcc-client-test-3rd-party-init-login).

The provider's module sends a browser to our `initiate_login_uri` and waits for an authorization request. Whoever made the
link may be anybody: so nothing happens until the person chooses, and it leads to us and our sites alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.support.house import (
    DOORWARD_TOML,
    ISSUER,
    PROVIDERS_TOML,
    SITES_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
    query_of,
)

PATH = "/sign-in/with"
SITES = SITES_TOML.replace(
    'backchannel_logout_uri = "https://forum.test/backchannel"',
    'backchannel_logout_uri = "https://forum.test/backchannel"\ninitiate_login_uri = "https://forum.test/start?via=club"',
)
HIDDEN = PROVIDERS_TOML.replace('label = "Club OpenID"', 'label = "Club OpenID"\nstate = "testers"')


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, sites=SITES) as opened:
        yield opened


def link(house: House, **params: str) -> str:
    return f"{PATH}?{urlencode({'iss': house.openid.url, **params})}"


async def asked(house: House) -> list[dict[str, Any]]:
    """The authorization requests that the provider saw."""
    return [line for line in await house.openid.log() if line["path"] == "/authorize"]


def requests_in(browser: Browser, provider: str) -> list[dict[str, list[str]]]:
    """The same as the browser took them along."""
    urls = [str(answer.url) for answer in browser.history]
    return [query_of(url) for url in urls if url.startswith(provider) and "redirect_uri" in query_of(url)]


async def sign_up(browser: Browser, persona: str = "lucas") -> Shown | Arrival:
    """From the chooser to the end."""
    shown = await browser.choose("openid", persona)
    assert isinstance(shown, Shown), shown
    assert shown.path.endswith("/details"), shown.text
    await browser.press("decision=continue")
    return await browser.press("decision=create", fill={"preferred_username": persona})


@pytest.mark.parametrize("method", ["get", "post"])
async def test_oidcc_client_test_3rd_party_init_login(house: House, method: str) -> None:
    """The request that follows is one like any other: by the person's own press, with state, nonce and PKCE."""
    browser, params = house.browser(), {"iss": house.openid.url, "login_hint": "lucas@people.test"}
    if method == "get":
        await browser.open(link(house, login_hint="lucas@people.test"))
    else:
        headers = {"Origin": house.openid.url, "Sec-Fetch-Site": "cross-site"}
        await browser.submit("post", f"{ISSUER}{PATH}", list(params.items()), headers=headers)
    assert browser.page.path.endswith("/sign-in")
    assert "A link sent you here to sign in with Club OpenID." in browser.page.text
    ways = [button.value for form in browser.page.forms for button in form.buttons if button.name == "provider"]
    assert ways == ["openid", "facebook"]
    assert await asked(house) == []
    await sign_up(browser)
    assert browser.page.path == "/me"
    (request,) = requests_in(browser, house.openid.url)
    assert request["login_hint"] == ["lucas@people.test"]
    assert {"state", "nonce", "code_challenge"} <= request.keys()
    assert len(await asked(house)) == 1


async def test_the_hint_is_for_the_provider_of_the_link_alone(house: House) -> None:
    browser = house.browser()
    await browser.open(link(house, login_hint="lucas@people.test"))
    await browser.choose("facebook")
    requests = requests_in(browser, house.facebook.url)
    assert requests
    assert all("login_hint" not in request for request in requests)


@pytest.mark.parametrize("hint", ["x" * 301, "a\r\nb", ""])
async def test_a_hint_that_is_none_is_left_out(house: House, hint: str) -> None:
    browser = house.browser()
    await browser.open(link(house, login_hint=hint))
    await browser.choose("openid", "lucas")
    (request,) = requests_in(browser, house.openid.url)
    assert "login_hint" not in request


async def test_who_is_signed_in_is_asked_and_stays_who_they_are(house: House) -> None:
    """No link changes who somebody is: they go on as who they are, or press for something else (catalogue 97)."""
    browser = house.browser()
    await browser.sign_up(provider="openid", persona="ana", user_name="ana")
    before = len(await asked(house))
    await browser.open(link(house, target_link_uri=f"{ISSUER}/me/devices"))
    assert "You are signed in as Ana" in browser.page.text
    shown = await browser.press("use=current")
    assert isinstance(shown, Shown)
    assert shown.path == "/me/devices"
    assert len(await asked(house)) == before


@pytest.mark.parametrize(
    ("target", "arrives"),
    [
        ("https://forum.test/thread/7?page=2", "https://forum.test/thread/7?page=2"),
        ("https://forum.test", "https://forum.test/"),
    ],
)
async def test_it_leads_on_to_a_site_that_signs_the_person_in(house: House, target: str, arrives: str) -> None:
    """By a page, since the form before it may lead nowhere else; then the site asks us as ever."""
    browser = house.browser()
    await browser.open(link(house, target_link_uri=target))
    end = await sign_up(browser)
    assert isinstance(end, Arrival), end
    assert end.url.startswith("https://forum.test/start?")
    assert query_of(end.url) == {"via": ["club"], "iss": [ISSUER], "target_link_uri": [arrives]}
    last = browser.history[-1]
    assert last.status_code == 200
    assert last.headers["refresh"] == f"0; url={end.url}"


async def test_a_site_that_does_not_know_of_it_is_simply_opened(house: House) -> None:
    browser = house.browser()
    await browser.open(link(house, target_link_uri="https://wiki.test/Page_1"))
    end = await sign_up(browser)
    assert isinstance(end, Arrival)
    assert end.url == "https://wiki.test/Page_1"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.test/", "https://forum.test@evil.test/", "//evil.test/", f"{ISSUER}.evil.test/", f"{ISSUER}//evil.test/",
        f"{ISSUER}/\\evil.test", "https://forum.test//evil.test/", "javascript:alert(1)", "http://forum.test/", "/me",
    ],
)  # fmt: skip
async def test_it_leads_nowhere_else(house: House, target: str) -> None:
    """(catalogue 99)"""
    shown = await house.browser().open(link(house, target_link_uri=target))
    assert (shown.status, shown.headings[0]) == (404, "This link leads to a place that we do not know")
    assert '"reason":"unknown_place"' in house.log.replace(" ", "")
    assert "evil" not in house.log


@pytest.mark.parametrize("issuer", ["", "https://id.elsewhere.test", "openid", "%(known)s/", "%(known)s?"])
async def test_who_is_no_provider_of_ours_is_said_to_be_none(house: House, issuer: str) -> None:
    """To the letter, as everywhere."""
    shown = await house.browser().open(
        link(house, iss=issuer % {"known": house.openid.url} if "%" in issuer else issuer)
    )
    assert (shown.status, shown.headings[0]) == (404, "We do not know the service that sent you here")
    assert await asked(house) == []


async def test_a_parameter_that_comes_twice_is_none(house: House) -> None:
    """(catalogue 8)"""
    shown = await house.browser().open(link(house) + "&iss=" + house.openid.url)
    assert shown.status == 400


async def test_a_provider_for_some_is_unknown_to_all_others(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with open_house(tmp_path, sandboxes, providers=HIDDEN) as house:
        there = await house.browser().open(link(house))
        nowhere = await house.browser().open(link(house, iss="https://id.elsewhere.test"))
        assert there.status == nowhere.status == 404
        assert there.headings == nowhere.headings
        assert "Club OpenID" not in there.text


async def test_the_age_comes_first_as_ever(tmp_path: Path, sandboxes: Sandboxes) -> None:
    rule = DOORWARD_TOML + "\n[age]\nminimum = 16\n"
    async with open_house(tmp_path, sandboxes, doorward=rule) as house:
        browser = house.browser()
        await browser.open(link(house, login_hint="lucas@people.test"))
        shown = await browser.press("provider=openid")
        assert isinstance(shown, Shown)
        assert shown.path.endswith("/age")
        assert await asked(house) == []


# --- a site is opened from My account ------------------------------------------------------------------------


@pytest.fixture
async def member(house: House) -> Browser:
    browser = house.browser()
    arrived = await browser.sign_up(house.site("forum"), provider="openid", persona="ana", user_name="ana")
    assert isinstance(arrived, Arrival)
    return browser


async def test_a_site_is_opened_from_my_account(house: House, member: Browser) -> None:
    """It hears who we are and what is wanted, and asks us: then the person is in without a page."""
    page = await member.open("/me/sites")
    (address,) = [url for text, url in page.links if text == "Open Forum"]
    end = await member.go(address)
    assert isinstance(end, Arrival)
    assert query_of(end.url) == {"via": ["club"], "iss": [ISSUER], "target_link_uri": ["https://forum.test"]}
    assert (await member.arrive(house.site("forum"))).code


async def test_a_site_that_does_not_know_of_it_has_no_such_button(house: House) -> None:
    browser = house.browser()
    arrived = await browser.sign_up(house.site("wiki"), provider="openid", persona="ana", user_name="ana")
    assert isinstance(arrived, Arrival)
    page = await browser.open("/me/sites")
    assert not [text for text, _ in page.links if text.startswith("Open ")]
    assert ("wiki.test", "https://wiki.test") in page.links


@pytest.mark.parametrize(
    "query",
    ["", "site=nobody", "site=forum&to=//evil.test", "site=forum&to=https://evil.test", "site=forum&to=@evil.test", "site=forum&to=/%5Cevil"],
)  # fmt: skip
async def test_no_other_place_is_opened(house: House, member: Browser, query: str) -> None:
    """(catalogue 99)"""
    shown = await member.open(f"/me/sites/open?{query}")
    assert (shown.status, shown.headings[0]) == (404, "There is no page at this address")


async def test_who_is_signed_out_signs_in_first(house: House) -> None:
    shown = await house.browser().open("/me/sites/open?site=forum&to=/thread/7")
    assert shown.path.endswith("/sign-in")
