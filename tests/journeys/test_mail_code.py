"""A code by e-mail opens the account when the provider is gone, and tells nobody who has one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.journeys.test_address import letter
from tests.support.house import (
    DOORWARD_TOML,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    Site,
    open_house,
    peek,
)
from tests.web.test_telling_apart import without_ids

MAIL = "\n[mail]\nsign_in_codes = true\n"
ANA = "ana.markovic@people.test"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, doorward=DOORWARD_TOML + MAIL) as house:
        yield house


def code_in(text: str) -> str:
    found = re.search(r"\b(\d{4}) (\d{4})\b", text)
    assert found is not None, text
    return found[1] + found[2]


async def member(house: House, *, user_name: str = "ana") -> Browser:
    """Somebody whose address the provider proved, connected to the forum, with codes turned on."""
    browser = house.browser()
    end = await browser.sign_up(
        house.site("forum"), provider="openid", persona="ana", user_name=user_name, share=("name", "email")
    )
    assert isinstance(end, Arrival)
    await browser.open("/me/ways")
    done = await browser.press("Turn codes by e-mail on")
    assert isinstance(done, Shown)
    assert "You can now sign in this way too." in done.text
    assert ANA in done.text
    return browser


async def asked(house: House, address: str = ANA, *, forum: Site | None = None) -> Browser:
    """A browser of somebody else, or of the same person elsewhere, at the page for the code."""
    browser = house.browser()
    await browser.open((forum or house.site("forum")).request_url())
    await browser.open(browser.page.path.replace("/sign-in", "/code"))
    shown = await browser.press("Send me a code", fill={"email": address})
    assert isinstance(shown, Shown)
    assert f"We wrote to {address}." in shown.text
    return browser


async def written(house: House) -> int:
    """Letters so far."""
    await letter(house)
    assert house.settings.mail.folder is not None
    return len(list(house.settings.mail.folder.glob("*.eml")))


async def test_a_code_opens_the_account_when_the_provider_is_gone(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """And the waiting site gets the same person, signed in by something that is no provider (catalogue 118)."""
    given = {"doorward": DOORWARD_TOML + MAIL, "database_url": f"sqlite:///{tmp_path}/data.db"}
    async with open_house(tmp_path / "before", sandboxes, **given) as house:  # type: ignore[arg-type]
        browser, forum = await member(house), house.site("forum")
        before = peek((await forum.redeem(await browser.arrive(forum)))["id_token"])
    only_facebook = PROVIDERS_TOML.partition("[openid]")[0]
    async with open_house(tmp_path / "after", sandboxes, providers=only_facebook, **given) as house:  # type: ignore[arg-type]
        assert "Club OpenID" not in (await house.browser().open("/sign-in")).text
        forum = house.site("forum")
        browser = await asked(house, forum=forum)
        code = code_in(await letter(house))
        wrong = await browser.press("Sign in with this code", fill={"code": "1"})
        assert isinstance(wrong, Shown)
        assert (wrong.status, wrong.response.request.method) == (200, "GET")
        assert "This is not the code we sent last" in wrong.text
        end = await browser.press("Sign in with this code", fill={"code": f" {code[:4]} {code[4:]} "})
        assert isinstance(end, Arrival)
        claims = peek((await forum.redeem(end))["id_token"])
        assert (claims["sub"], claims["amr"]) == (before["sub"], ["otp"])
        assert claims["auth_time"] == claims["iat"]
        assert "Somebody signed in to your Club Login account with a code" in await letter(house)
        assert "Signed in with a code by e-mail." in (await browser.open("/me/devices")).text
        assert code not in house.log
        assert ANA not in house.log


async def test_nobody_learns_from_it_who_has_an_account(house: House) -> None:
    """The same pages, as many letters, and no time that tells: known, proved but off, and nobody's (catalogue 127)."""
    await member(house)
    await house.browser().sign_up(provider="openid", persona="lucas", user_name="lucas")
    pages = []
    for address in (ANA, "lucas@people.test", "nobody@people.test"):
        before = await written(house)
        browser = await asked(house, address)
        shown = [without_ids(browser.page)]
        for _ in range(6):
            told = await browser.press("Sign in with this code", fill={"code": "00000000"})
            assert isinstance(told, Shown)
            shown.append(f"{told.status} {without_ids(told)}")
        pages.append([one.replace(address, "ADDRESS") for one in shown])
        assert await written(house) == before + 1
    assert pages[0] == pages[1] == pages[2]


async def test_a_code_typed_elsewhere_signs_nobody_in(house: House) -> None:
    """It belongs to the browser and the sign-in that asked (catalogue 120)."""
    await member(house)
    victim = await asked(house)
    code = code_in(await letter(house))
    other = await asked(house, "stranger@people.test")
    told = await other.press("Sign in with this code", fill={"code": code})
    assert isinstance(told, Shown)
    assert (told.status, told.response.request.method) == (200, "GET")
    assert isinstance(await victim.press("Sign in with this code", fill={"code": code}), Arrival)


async def test_it_makes_a_sign_in_fresh_for_what_is_sensitive(house: House) -> None:
    """To the account's own address, which nobody has to type; and turned off it is off."""
    browser = await member(house)
    house.clock.move(minutes=20)
    await browser.open("/sign-in/again?next=/me/ways&for=ways")
    chooser = browser.page
    assert ("Get a code by e-mail", chooser.path.replace("/sign-in", "/code")) in chooser.links
    await browser.open(chooser.path.replace("/sign-in", "/code"))
    assert f"We send a code to {ANA}." in browser.page.text
    await browser.press("Send me a code")
    code = code_in(await letter(house))
    back = await browser.press("Sign in with this code", fill={"code": code})
    assert isinstance(back, Shown)
    assert back.path == "/me/ways"
    off = await browser.press("Turn codes by e-mail off")
    assert isinstance(off, Shown)
    assert "You can no longer sign in that way." in off.text
    await browser.open("/sign-in/again?next=/me/ways&for=ways")
    assert "Get a code by e-mail" not in browser.page.text


async def test_another_address_ends_it_and_says_so(house: House) -> None:
    browser = await member(house)
    await browser.open("/me/details")
    done = await browser.press("Save: E-mail address", fill={"v-email": "new@people.test"})
    assert isinstance(done, Shown)
    assert "Codes by e-mail let nobody in any more" in done.text
    page = await browser.open("/me/ways")
    assert "Check your e-mail address first" in page.text
    refused = await asked(house)
    assert "No code to sign in to Club Login" in await letter(house)
    assert "8 numbers" in refused.page.text


async def test_an_address_that_is_the_only_way_in_stays(house: House) -> None:
    browser = await member(house)
    await browser.open("/me/ways")
    gone = await browser.press("Remove Club OpenID")
    assert isinstance(gone, Shown)
    assert "This is your only way to sign in." in gone.text
    await browser.open("/me/details")
    told = await browser.press("Save: E-mail address", fill={"v-email": "new@people.test"})
    assert isinstance(told, Shown)
    assert (told.status, told.response.request.method) == (200, "GET")
    assert "codes to this address are your only way to sign in. Add another way first" in told.text


async def test_where_it_is_off_nothing_of_it_is_there(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with open_house(tmp_path, sandboxes) as house:
        browser = house.browser()
        await browser.sign_up(provider="openid", persona="ana", user_name="ana")
        assert "Codes by e-mail" not in (await browser.open("/me/ways")).text
        stranger = house.browser()
        await stranger.open("/sign-in")
        assert "Get a code by e-mail" not in stranger.page.text
        shown = await stranger.open(stranger.page.path.replace("/sign-in", "/code"))
        assert shown.status >= 400


async def test_a_way_that_is_added_is_not_confused_with_a_code(house: House) -> None:
    """Adding a provider began at a page of its own: a code is none of its ways."""
    browser = await member(house)
    await browser.open("/me/ways")
    house.clock.move(seconds=1)  # ids sort by the second in which they were made
    await browser.press("provider=facebook")
    newest = max(name.partition("_tx_")[2] for name in browser.cookies if "_tx_" in name)
    shown = await browser.open(f"/f/{newest}/code")
    assert shown.path == "/me/ways"
