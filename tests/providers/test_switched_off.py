"""A provider that an admin removed or switched off, while people are on their way through it; and starts from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.house import ISSUER, PROVIDERS_TOML, Arrival, Browser, House, Sandboxes, Shown, open_house

OFF = PROVIDERS_TOML.replace('kind = "facebook"', 'kind = "facebook"\nstate = "off"')
GONE = PROVIDERS_TOML.partition("[openid]")[1] + PROVIDERS_TOML.partition("[openid]")[2]
SAME = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}


def assert_off(shown: Shown | Arrival) -> None:
    assert isinstance(shown, Shown), shown
    assert (shown.status, shown.headings[0]) == (404, "This way to sign in is not available")
    assert "Reference:" in shown.text


def moved(browser: Browser, house: House) -> Browser:
    """The same browser, now talking to another house at the same address."""
    other = house.browser()
    other.jar, other.shown = browser.jar, browser.shown
    return other


@pytest.mark.parametrize("providers", [OFF, GONE], ids=["off", "gone"])
async def test_a_provider_that_is_off_cannot_be_chosen(tmp_path: Path, sandboxes: Sandboxes, providers: str) -> None:
    """catalogue 52: it has no button, and asking for it by name leads nowhere."""
    async with open_house(tmp_path, sandboxes, providers=providers) as house:
        browser = house.browser()
        chooser = await browser.open(house.site("forum").request_url())
        assert "Facebook" not in chooser.text
        fields = [("csrf", chooser.value("csrf")), ("provider", "facebook")]
        assert_off(await browser.submit("post", chooser.url, fields))
        assert_off(await browser.go(f"{ISSUER}/callback/facebook?code=c&state=s"))
        assert await house.facebook.log() == []


@pytest.mark.parametrize("providers", [OFF, GONE], ids=["off", "gone"])
async def test_who_is_on_the_way_is_refused_when_they_come_back(
    tmp_path: Path, sandboxes: Sandboxes, providers: str
) -> None:
    """catalogue 52: the answer of a provider that was switched off meanwhile is worth nothing, and is never redeemed."""
    async with open_house(tmp_path / "before", sandboxes) as before:
        await sandboxes.facebook.order(persona="normal", auto=True)
        browser = before.browser()
        chooser = await browser.open(before.site("forum").request_url())
        fields = [("csrf", chooser.value("csrf")), ("provider", "facebook")]
        answer = await browser.send("POST", chooser.url, data=fields, headers=SAME)
        there = answer.headers["refresh"].partition("url=")[2]
        back = (await browser.send("GET", there)).headers["location"]
        assert back.startswith(f"{ISSUER}/callback/facebook?")
        async with open_house(tmp_path / "after", sandboxes, providers=providers) as after:
            assert_off(await moved(browser, after).go(back))
            assert await after.accounts() == 0
    assert not [
        line
        for line in await sandboxes.facebook.log()
        if line["path"].endswith("/oauth/access_token") and line.get("code_ref")
    ]


async def test_who_is_filling_in_the_last_page_gets_no_account(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """catalogue 52: also the step that asks the provider nothing any more looks whether it is still switched on."""
    database = f"sqlite:///{tmp_path / 'house.db'}"
    await sandboxes.facebook.order(auto=True)
    async with open_house(tmp_path / "before", sandboxes, database_url=database) as before:
        browser = before.browser()
        await browser.open(before.site("forum").request_url())
        await browser.choose()
        finish = await browser.press("Continue with these")
        assert isinstance(finish, Shown)
        assert finish.path.endswith("/finish")
    async with open_house(tmp_path / "after", sandboxes, database_url=database, providers=OFF) as after:
        refused = await moved(browser, after).press("Create my account", fill={"preferred_username": "zoe"})
        assert_off(refused)
        assert isinstance(refused, Shown)
        assert [text for text, _ in refused.links if "another way" in text]
    async with open_house(tmp_path / "again", sandboxes, database_url=database) as again:
        names = again.world.durable.accounts
        assert await names.is_user_name_free("zoe")


async def test_a_known_person_is_not_let_in_through_a_way_that_is_off(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """catalogue 52: the link stays, for the day it is switched on again, and opens nothing until then."""
    database = f"sqlite:///{tmp_path / 'house.db'}"
    await sandboxes.facebook.order(auto=True)
    async with open_house(tmp_path / "before", sandboxes, database_url=database) as before:
        assert isinstance(await before.browser().sign_up(before.site("forum"), user_name="zoe"), Arrival)
        signed_in = before.browser()
        assert isinstance(await signed_in.sign_in(before.site("forum")), Arrival)
    async with open_house(tmp_path / "after", sandboxes, database_url=database, providers=OFF) as after:
        browser = after.browser()
        chooser = await browser.open(after.site("forum").request_url())
        fields = [("csrf", chooser.value("csrf")), ("provider", "facebook")]
        assert_off(await browser.submit("post", chooser.url, fields))
        person = moved(signed_in, after)
        ways = await person.open(f"{ISSUER}/me/ways")
        assert ways.status == 200
        assert "Facebook" in ways.text, "the person still sees that it is theirs"
        fields = [("csrf", ways.value("csrf")), ("provider", "facebook")]
        assert_off(await person.submit("post", f"{ISSUER}/me/ways/add", fields))
    async with open_house(tmp_path / "again", sandboxes, database_url=database) as again:
        assert isinstance(await again.browser().sign_in(again.site("forum")), Arrival)


# --- starts from elsewhere ----------------------------------------------------------------------------


async def test_no_address_starts_a_sign_in_at_a_provider(house: House) -> None:
    """catalogue 51: following a link, from anywhere, shows the chooser at most; the person's press of a button leaves."""
    browser = house.browser()
    chooser = await browser.open(house.site("forum").request_url())
    for path in (
        f"{chooser.url}?provider=facebook",
        f"{ISSUER}/sign-in?provider=facebook",
        f"{ISSUER}/callback/facebook",
    ):
        answer = await browser.send("GET", path, headers={"Sec-Fetch-Site": "cross-site"})
        assert "facebook" not in answer.headers.get("location", "").lower()
        assert "refresh" not in answer.headers
    assert [line for line in await house.facebook.log() if "/dialog/" in line["path"]] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://login.test.evil.test"},
    ],
)
@pytest.mark.parametrize("token", ["right", "missing", "wrong"])
async def test_a_form_of_another_page_starts_neither_sign_in_nor_link(
    house: House, headers: dict[str, str], token: str
) -> None:
    """catalogue 51: whatever it sends along; the token alone is not enough either."""
    browser = house.browser()
    await house.facebook.order(auto=True)
    assert isinstance(await browser.sign_up(house.site("forum"), user_name="zoe"), Arrival)
    ways = await browser.open(f"{ISSUER}/me/ways")
    chooser = await browser.open(house.site("wiki").request_url(prompt="login"))
    for url, page in ((f"{ISSUER}/me/ways/add", ways), (chooser.url, chooser)):
        csrf = {"right": [("csrf", page.value("csrf"))], "missing": [], "wrong": [("csrf", "made-up")]}[token]
        answer = await browser.send("POST", url, data=[*csrf, ("provider", "openid")], headers=headers)
        assert answer.status_code == 403
        assert "refresh" not in answer.headers
    assert [line for line in await house.openid.log() if line["path"] == "/authorize"] == []


@pytest.mark.parametrize("token", ["missing", "wrong"])
async def test_our_own_form_without_its_token_starts_nothing(house: House, token: str) -> None:
    """catalogue 51"""
    browser = house.browser()
    chooser = await browser.open(house.site("forum").request_url())
    csrf = [] if token == "missing" else [("csrf", "made-up")]
    answer = await browser.send("POST", chooser.url, data=[*csrf, ("provider", "openid")], headers=SAME)
    assert answer.status_code == 403
    assert [line for line in await house.openid.log() if line["path"] == "/authorize"] == []
