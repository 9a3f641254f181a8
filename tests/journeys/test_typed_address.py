"""Somebody signs in with an OpenID 2.0 address that they type: the whole way, without a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import (
    DOORWARD_TOML,
    ISSUER,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
)

TYPED = """
[address]
kind = "openid2"
label = "OpenID 2.0"
brand = "openid"
sandbox = true
discovery = "hosts"
hosts = ["127.0.0.1", "localhost"]
fields = ["name", "email", "picture", "locale", "zoneinfo"]
order = 3
"""


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, providers=PROVIDERS_TOML + TYPED) as opened:
        yield opened


async def type_in(browser: Browser, address: str) -> Shown:
    shown = await browser.press("provider=address", fill={"identifier": address})
    assert isinstance(shown, Shown), shown
    return shown


async def be(browser: Browser, persona: str) -> Shown:
    """On the sandbox's page: this person."""
    shown = await browser.press(f"persona={persona}")
    assert isinstance(shown, Shown), shown
    return shown


async def visits(house: House) -> int:
    """How often the addresses of people were asked."""
    return len([one for one in await house.openid.log() if one["path"].startswith("/people")])


async def test_a_typed_address_is_a_way_to_an_account_and_back_in(house: House) -> None:
    """What arrives is shown like any other provider's; the next time the same address leads to the same account."""
    forum, browser = house.site("forum"), house.browser()
    address = f"{house.openid.url}/people/ana"
    await browser.open(forum.request_url())
    asks = await type_in(browser, address)
    assert "Are you Ana Marković?" in asks.text
    preview = await be(browser, "ana")
    assert preview.path.endswith("/details")
    assert "ana.markovic@people.test" in preview.text
    await browser.press("decision=continue", tick=("picture",))
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    end = await browser.press("decision=share", tick=("email",))
    assert isinstance(end, Arrival)
    claims = await forum.claims((await forum.redeem(end))["access_token"])
    assert (claims["email"], claims["email_verified"]) == ("ana.markovic@people.test", False)

    again = house.browser()
    await again.open(forum.request_url())
    await type_in(again, house.openid.url)  # the provider's own address: who it is is chosen there
    back = await again.press("persona=ana")
    assert isinstance(back, Arrival)
    assert (await forum.claims((await forum.redeem(back))["access_token"]))["sub"] == claims["sub"]
    assert await house.accounts() == 1


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "Type the address of your OpenID"),
        ("=ana", "do not work any more"),
        ("ana marković", "This is no address of an OpenID"),
        ("https://elsewhere.test/ana", "cannot be used here"),
        ("{openid}/people/nobody", "There is no OpenID at this address"),
        ("127.0.0.1:1/ana", "does not answer"),
    ],
)
async def test_what_leads_nowhere_is_said_beside_the_box_and_kept_in_it(house: House, typed: str, words: str) -> None:
    browser = house.browser()
    await browser.open("/sign-in")
    address = typed.format(openid=house.openid.url)
    shown = await type_in(browser, address)
    assert (shown.status, shown.path.endswith("/sign-in")) == (422, True)
    assert shown.text.count(words) == 2, "in the summary and beside the box"
    assert shown.value("identifier") == address
    assert "elsewhere.test" not in house.log
    assert '"check":"' in house.log
    asks = await type_in(browser, f"{house.openid.url}/people/ana")  # and it can be put right
    assert "Are you Ana" in asks.text


async def test_saying_no_there_leads_back_to_the_chooser(house: House) -> None:
    browser = house.browser()
    await browser.open("/sign-in")
    await type_in(browser, f"{house.openid.url}/people/ana")
    shown = await browser.press("Cancel")
    assert isinstance(shown, Shown)
    assert "You did not let OpenID 2.0 tell us who you are" in shown.text
    assert await house.accounts() == 0


async def test_an_address_can_be_added_to_an_account_and_proves_its_owner_anew(house: House) -> None:
    browser = house.browser()
    await browser.open("/sign-in")
    await browser.sign_up(provider="facebook")
    ways = await browser.open("/me/ways")
    wrong = await type_in(browser, "=ana")
    assert (wrong.status, wrong.path) == (422, "/me/ways/add")
    assert "do not work any more" in wrong.text
    assert wrong.value("identifier") == "=ana"
    await type_in(browser, f"{house.openid.url}/people/ana")
    ways = await be(browser, "ana")
    assert ways.path == "/me/ways"
    assert "You can now sign in this way too." in ways.text

    await house.move(minutes=20)
    step_up = await browser.open("/sign-in/again?next=/me/ways&for=ways")
    assert "Your address at OpenID 2.0" in step_up.text
    asks = await type_in(browser, house.openid.url)
    assert "Sign in as" in asks.text, "signed in there already, but asked anew (PAPE)"


async def test_an_address_waits_for_the_question_of_age(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Nothing is asked anywhere before it is answered; then the address that was typed is gone to, or said to be wrong."""
    doorward = DOORWARD_TOML + "\n[age]\nminimum = 16\n"
    async with open_house(tmp_path, sandboxes, doorward=doorward, providers=PROVIDERS_TOML + TYPED) as house:
        for address, path in (
            (f"{house.openid.url}/people/ana", "/openid2"),
            (f"{house.openid.url}/people/nobody", "/age"),
        ):
            browser = house.browser()
            await browser.open("/sign-in")
            before = await visits(house)
            await type_in(browser, address)
            assert await visits(house) == before
            shown = await browser.press("use=answer", fill={"birth_month": "3", "birth_year": "1990"})
            assert isinstance(shown, Shown)
            assert shown.path.endswith(path)
            if path == "/age":
                assert shown.value("identifier") == address


async def test_whoever_came_by_an_address_keeps_the_account_when_the_provider_moves_on(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """By OpenID Connect they are the same person: nothing is asked again, and the old way in is renamed to the new one."""
    moved = PROVIDERS_TOML.replace(
        "trusts_email = true", 'trusts_email = true\nopenid2_realm = "https://login.test/"', 1
    )
    async with open_house(tmp_path, sandboxes, providers=moved + TYPED) as house:
        browser = house.browser()
        await browser.open("/sign-in")
        await type_in(browser, f"{house.openid.url}/people/ana")
        await be(browser, "ana")
        await browser.press("decision=continue")
        await browser.press("decision=create", fill={"preferred_username": "ana"})

        again = house.browser()
        there = await again.sign_in(provider="openid", persona="ana")
        assert isinstance(there, Shown)
        assert there.path == "/me"
        ways = await again.open("/me/ways")
        assert "Club OpenID" in ways.text
        assert "This is your only way to sign in." in ways.text
        assert await house.accounts() == 1

        other = house.browser()
        stranger = await other.sign_in(provider="openid", persona="lucas")
        assert isinstance(stranger, Shown)
        assert stranger.path.endswith("/details"), "nobody we know by either name"


async def test_a_provider_may_look_up_where_people_come_back_to(
    house: House, tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """Named by the page of our realm (§13); nothing of it where nobody speaks OpenID 2.0."""
    browser = house.browser()
    there = (await browser.send("GET", f"{ISSUER}/")).headers["x-xrds-location"]
    assert there == f"{ISSUER}/openid2/return-addresses"
    document = await browser.send("GET", there)
    assert document.headers["content-type"].startswith("application/xrds+xml")
    assert document.text.count("<URI>") == 1
    assert f"<URI>{ISSUER}/callback/address</URI>" in document.text
    async with open_house(tmp_path / "other", sandboxes) as other:
        bare = other.browser()
        assert "x-xrds-location" not in (await bare.send("GET", f"{ISSUER}/")).headers
        assert (await bare.send("GET", there)).status_code == 404


async def test_somebody_elses_software_finds_our_return_address(house: House) -> None:
    """python3-openid's server looks, as a provider does before it sends anybody back."""
    from openid import fetchers
    from openid.server import trustroot

    browser = house.browser()
    pages = {url: await browser.send("GET", url) for url in (f"{ISSUER}/", f"{ISSUER}/openid2/return-addresses")}

    class Fetched(fetchers.HTTPFetcher):  # type: ignore[misc]  # no types there
        def fetch(self, url: str, body: Any = None, headers: Any = None) -> Any:
            page = pages[url]
            return fetchers.HTTPResponse(url, page.status_code, dict(page.headers), page.content)

    fetchers.setDefaultFetcher(Fetched(), wrap_exceptions=False)
    try:
        assert trustroot.verifyReturnTo(f"{ISSUER}/", f"{ISSUER}/callback/address?state=s")
        assert not trustroot.verifyReturnTo(f"{ISSUER}/", f"{ISSUER}/callback/facebook?state=s")
        assert not trustroot.verifyReturnTo(f"{ISSUER}/", "https://evil.test/callback/address")
    finally:
        fetchers.setDefaultFetcher(None)
