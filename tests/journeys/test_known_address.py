"""An account already uses the address that came: nothing happens by itself, and both ways on lead somewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.journeys.test_address import letter
from tests.journeys.test_mail_code import MAIL, code_in
from tests.support.house import DOORWARD_TOML, Arrival, Browser, House, Sandboxes, Shown, open_house, peek

ANA = "ana.markovic@people.test"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """The provider says of Lucas that Ana's address is his, and its word counts."""
    async with open_house(tmp_path, sandboxes, doorward=DOORWARD_TOML + MAIL) as house:
        people = house.openid.state.people
        house.openid.state.people = {**people, "lucas": replace(people["lucas"], email=people["ana"].email)}
        yield house
        house.openid.state.people = people


async def ana(house: House) -> tuple[Browser, str]:
    """Her browser, and who she is at the forum."""
    browser, forum = house.browser(), house.site("forum")
    end = await browser.sign_up(forum, provider="openid", persona="ana", user_name="ana", share=("name", "email"))
    assert isinstance(end, Arrival)
    return browser, peek((await forum.redeem(end))["id_token"])["sub"]


async def asked(house: House, url: str | None = None) -> Browser:
    """Another browser, back from the provider as Lucas, at the page about the address."""
    browser = house.browser()
    await browser.open(url or house.site("forum").request_url())
    shown = await browser.choose("openid", "lucas")
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/known")
    assert shown.headings[:1] == [f"An account already uses {ANA}"]
    return browser


def links(house: House) -> list[str]:
    return [link.account for link in house.world.durable.tables.links.values()]  # type: ignore[attr-defined]


async def test_the_page_says_what_the_provider_said_and_no_more(house: House) -> None:
    """Nothing of the account, not how it is opened, and nothing is linked or saved (catalogue 113, 116)."""
    await ana(house)
    browser = await asked(house)
    assert not [word for word in ("Marković", "Lucas", "since", "last") if word in browser.page.text]
    assert [b.text for f in browser.page.forms for b in f.buttons] == [
        "It is mine: sign in to it",
        "It is not mine: use another address",
        "Cancel and go back to Forum",
    ]
    assert "code" in browser.page.text
    assert (await house.accounts(), len(links(house))) == (1, 1)
    base = browser.page.url.rpartition("/")[0]
    for step in ("details", "finish", "continue"):  # nobody gets past it by its address (catalogue 129)
        assert (await browser.open(f"{base}/{step}")).url == f"{base}/known"
    neither = await browser.submit("post", f"{base}/known", [("csrf", browser.page.value("csrf"))])
    assert isinstance(neither, Shown)
    assert neither.status == 400
    for step in ("details", "finish"):
        form = [("csrf", (await browser.open(f"{base}/known")).value("csrf")), ("decision", "create")]
        shown = await browser.submit("post", f"{base}/{step}", form)
        assert isinstance(shown, Shown)
        assert shown.url == f"{base}/known"


async def test_it_is_mine(house: House) -> None:
    """Both are shown in one browser: the way is added, and the waiting site gets who it always knew (catalogue 116)."""
    _, subject = await ana(house)
    forum = house.site("forum")
    browser = await asked(house, forum.request_url())
    base = browser.page.url.rpartition("/")[0]
    chooser = await browser.press("It is mine: sign in to it")
    assert isinstance(chooser, Shown)
    assert chooser.headings[0] == "Sign in to your account to connect Club OpenID"
    assert ANA in chooser.text
    assert "New here?" not in chooser.text
    assert (await browser.open(f"{base}/known")).status == 410
    await browser.open(f"{base}/sign-in")
    end = await browser.choose("openid", "ana")
    assert isinstance(end, Arrival)
    assert peek((await forum.redeem(end))["id_token"])["sub"] == subject
    assert await house.accounts() == 1
    assert len(links(house)) == 2
    assert "A way to sign in was added to your Club Login account" in await letter(house)
    end = await house.browser().sign_in(forum, provider="openid", persona="lucas")
    assert isinstance(end, Arrival)
    assert peek((await forum.redeem(end))["id_token"])["sub"] == subject


async def test_it_is_mine_and_a_code_shows_it(house: House) -> None:
    """Where the owner turned that on; the address is there already (WCAG 3.3.7). Then the account says what was added."""
    browser, _ = await ana(house)
    await browser.open("/me/ways")
    await browser.press("Turn codes by e-mail on")
    elsewhere = await asked(house, "/sign-in")
    await elsewhere.press("It is mine: sign in to it")
    page = await elsewhere.open(elsewhere.page.path.replace("/sign-in", "/code"))
    assert page.value("email") == ANA
    await elsewhere.press("Send me a code")
    end = await elsewhere.press("Sign in with this code", fill={"code": code_in(await letter(house))})
    assert isinstance(end, Shown)
    assert end.path == "/me/ways"
    assert "You can now sign in this way too." in end.text
    assert len(links(house)) == 3


async def test_another_account_is_not_the_one(house: House) -> None:
    """Nobody is signed in and nothing is connected; the right one still can be shown (catalogue 116)."""
    await ana(house)
    await house.browser().sign_up(persona="unverified-leaks", user_name="ben")
    browser = await asked(house, "/sign-in")
    await browser.press("It is mine: sign in to it")
    refused = await browser.choose("facebook", "unverified-leaks")
    assert isinstance(refused, Shown)
    assert (refused.status, refused.headings[0]) == (409, "That is not the account that uses this address")
    assert len(links(house)) == 2
    assert (await browser.open("/me")).path.endswith("/sign-in")
    await browser.open(next(url for text, url in refused.links if text == "Try again"))
    end = await browser.choose("openid", "ana")
    assert isinstance(end, Shown)
    assert "You can now sign in this way too." in end.text


async def test_who_is_signed_in_shows_it_anew(house: House) -> None:
    """An open browser proves nothing: the account that is signed in is not offered, and does not count (catalogue 116)."""
    browser, _ = await ana(house)
    await house.move(minutes=6)
    await browser.open(house.site("forum").request_url(prompt="select_account"))
    await browser.press("Use another account")
    await browser.choose("openid", "lucas")
    chooser = await browser.press("It is mine: sign in to it")
    assert isinstance(chooser, Shown)
    assert "You are signed in as" not in chooser.text
    tried = await browser.submit("post", chooser.url, [("csrf", chooser.value("csrf")), ("use", "current")])
    assert isinstance(tried, Shown)
    assert tried.status == 400
    assert len(links(house)) == 1
    await browser.open(chooser.url)
    assert isinstance(await browser.choose("openid", "ana"), Arrival)
    assert len(links(house)) == 2


async def test_it_is_not_mine(house: House) -> None:
    """The sign-up goes on without that address, says so, and what is typed instead is nobody's word."""
    await ana(house)
    browser = await asked(house)
    details = await browser.press("It is not mine: use another address")
    assert isinstance(details, Shown)
    assert details.path.endswith("/details")
    assert ANA not in details.text
    assert "an account here already uses the one Club OpenID sent" in details.text
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "lucas", "v-email": "lucas@mail.test"})
    assert await house.accounts() == 2
    accounts = house.world.durable.tables.accounts.values()  # type: ignore[attr-defined]
    lucas = next(account for account in accounts if account.claims["preferred_username"] == "lucas")
    assert "email" not in lucas.verified
    assert len(set(links(house))) == 2


async def test_cancelling_keeps_nothing(house: House) -> None:
    await ana(house)
    browser = await asked(house)
    end = await browser.press("Cancel and go back to Forum")
    assert isinstance(end, Arrival)
    assert end.params["error"] == "access_denied"
    assert (await house.accounts(), len(links(house))) == (1, 1)


async def test_an_address_that_was_proved_after_the_preview(house: House) -> None:
    """Between the preview and the last button: the same page, and no half of an account (catalogue 176)."""
    browser = house.browser()
    await browser.open("/sign-in")
    await browser.choose("openid", "lucas")
    finish = await browser.press("decision=continue")
    assert isinstance(finish, Shown)
    await ana(house)
    await browser.open(finish.url)
    shown = await browser.press("decision=create", fill={"preferred_username": "lucas"})
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/known")
    assert await house.accounts() == 1
    again = await browser.press("It is not mine: use another address")
    assert isinstance(again, Shown)
    assert again.path.endswith("/finish")
    await browser.press("decision=create", fill={"preferred_username": "lucas", "v-email": "lucas@mail.test"})
    assert await house.accounts() == 2
