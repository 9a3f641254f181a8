"""An e-mail address that somebody typed becomes one we vouch for, and an address that was changed comes back."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from pathlib import Path

import pytest
from tests.support.house import DOORWARD_TOML, ISSUER, Arrival, Browser, House, Sandboxes, Shown, open_house

from broker.domain.letters import LETTER


async def member(house: House, *, user_name: str = "petra", address: str = "Petra@Mail.test") -> Browser:
    """Somebody whose provider told no address, with one typed at sign-up, connected to the forum."""
    browser = house.browser()
    end = await browser.sign_up(
        house.site("forum"),
        persona="declines-email",
        user_name=user_name,
        fill={"v-email": address},
        share=("name", "email"),
    )
    assert isinstance(end, Arrival)
    return browser


async def letter(house: House) -> str:
    """The newest letter in the development mailbox, as the page shows it."""
    house.clock.move(seconds=1)  # newer than what was sent before, whose clock stood
    await house.opened.deliverer.once()
    page = await house.browser().open("/mailbox")
    assert page.status == 200
    return page.text


def code_in(text: str) -> str:
    found = re.search(r"\b(\d{3}) (\d{3})\b", text)
    assert found is not None, text
    return found[1] + found[2]


def link_in(text: str, what: str = "check") -> str:
    found = re.search(rf"https://login\.test(/mail/{what}\?token=[\w-]+)", text)
    assert found is not None, text
    return found[1]


async def email_of(house: House, browser: Browser) -> dict[str, object]:
    forum = house.site("forum")
    claims = await forum.claims((await forum.redeem(await browser.arrive(forum)))["access_token"])
    return {name: claims.get(name) for name in ("email", "email_verified")}


async def test_a_typed_address_is_proved_by_its_code(house: House) -> None:
    """The site hears that we vouch for it from then on, and not a moment before (catalogue 119)."""
    browser = await member(house)
    assert (await email_of(house, browser))["email_verified"] is False
    overview = await browser.open("/me")
    assert "Your e-mail address is not checked." in overview.text
    await browser.open("/me/address")
    shown = await browser.press("Send me a code")
    assert isinstance(shown, Shown)
    assert "We sent a code and a link to" in shown.text
    code = code_in(await letter(house))
    assert code not in house.log
    wrong = await browser.press("Check the code", fill={"code": "x"})
    assert isinstance(wrong, Shown)
    assert (wrong.status, wrong.response.request.method) == (200, "GET")
    assert "This is not the code we sent last" in wrong.text
    done = await browser.press("Check the code", fill={"code": code})
    assert isinstance(done, Shown)
    assert "Your e-mail address is checked." in done.text
    assert await email_of(house, browser) == {"email": "Petra@mail.test", "email_verified": True}
    assert "Your e-mail address is checked." in (await browser.open("/me")).text


async def test_the_link_proves_it_elsewhere_and_signs_nobody_in(house: House) -> None:
    """Opening it does nothing: programs open every link. The button does, in any browser (catalogue 120)."""
    browser = await member(house)
    await browser.open("/me/details")
    await browser.press("Check this address")
    link = link_in(await letter(house))
    other = house.browser()
    page = await other.open(link)
    assert "Is this address yours?" in page.text
    assert (await email_of(house, browser))["email_verified"] is False
    done = await other.press("Yes, this address is mine")
    assert isinstance(done, Shown)
    assert "Nobody was signed in by this." in done.text
    assert (await other.open("/me")).path.endswith("/sign-in")
    assert (await email_of(house, browser))["email_verified"] is True
    again = await other.go(link)
    assert isinstance(again, Shown)
    assert again.status == 410
    assert "This link does not work any more" in again.text


async def test_a_letters_link_goes_on_in_the_language_that_is_chosen_on_its_page(house: House) -> None:
    """The page is read in French, and the button there still proves the address."""
    browser = await member(house)
    await browser.open("/me/details")
    await browser.press("Check this address")
    other = house.browser()
    await other.open(link_in(await letter(house)))
    page = await other.open(dict(other.page.links)["Français"])
    assert (page.status, page.path) == (200, "/mail/check")
    assert '<html lang="fr"' in page.response.text
    await other.press("Oui, cette adresse est la mienne")
    assert (await email_of(house, browser))["email_verified"] is True


async def test_an_address_of_another_account_links_nothing(house: House) -> None:
    """Said to whoever reads that box, and to nobody else (decision 18; catalogue 113)."""
    await member(house)
    first = await member_with(house, "petra-two", "openid", "Petra@Mail.test")
    await prove(house, first)
    second = await member_with(house, "petra-three", "openid-two", "Petra@Mail.test")
    await second.open("/me/address")
    await second.press("Send me a code")
    link = link_in(await letter(house))
    other = house.browser()
    await other.open(link)
    told = await other.press("Yes, this address is mine")
    assert isinstance(told, Shown)
    assert told.status == 200
    assert "&again=" in told.url, "a redirect: a reload sends nothing again"
    assert "Another account proved this address before" in told.text
    assert "Another account proved this address before" in (await other.open(told.url)).text
    assert not any(form.action == "/mail/check" for form in told.forms), (
        "the proof is used up: the button would do nothing"
    )
    elsewhere = await other.open(re.sub(r"token=[^&]+", "token=none", told.url))
    assert elsewhere.status == 410, "it is said of that link alone"


async def member_with(house: House, user_name: str, persona: str, address: str) -> Browser:
    """Somebody with an account of their own and this address, typed later."""
    personas = {"openid": ("openid", "ana"), "openid-two": ("facebook", "normal")}
    provider, who = personas[persona]
    browser = house.browser()
    await browser.sign_up(provider=provider, persona=who, user_name=user_name)
    await browser.open("/me/details")
    await browser.press("Save: E-mail address", fill={"v-email": address})
    return browser


async def prove(house: House, browser: Browser) -> None:
    await browser.open("/me/address")
    await browser.press("Send me a code")
    await browser.open("/me/address")
    code = code_in(await letter(house))
    await browser.press("Check the code", fill={"code": code})


async def test_a_changed_address_is_taken_back_by_its_owner(house: House) -> None:
    """Whoever sat at the open account is out, and the old address is vouched for as before (catalogue 118)."""
    browser = await member(house)
    await prove(house, browser)
    await browser.open("/me/details")
    await browser.press("Save: E-mail address", fill={"v-email": "thief@mail.test"})
    text = await letter(house)
    assert "thief@mail.test" not in text
    owner = house.browser()
    page = await owner.open(link_in(text, "changed"))
    assert "Take the change back?" in page.text
    assert (await owner.open(dict(page.links)["Français"])).find("Ce n’était pas moi")
    page = await owner.open(dict(owner.page.links)["English"])
    done = await owner.press("That was not me: take it back")
    assert isinstance(done, Shown)
    assert "everybody is signed out of it" in done.text
    again = await owner.open(link_in(text, "changed"))
    assert (again.status, any(form.action == "/mail/changed" for form in again.forms)) == (410, False), (
        "it is used up: the button would do nothing"
    )
    assert (await browser.open("/me")).path.endswith("/sign-in")
    back = house.browser()
    await back.sign_in(persona="declines-email")
    details = await back.open("/me/details")
    assert "Petra@mail.test" in details.text
    assert "thief@mail.test" not in details.text


async def test_taking_a_change_back_leaves_somebody_else_in_that_browser_signed_in(house: House) -> None:
    """One computer, two people: the letter's link ends the sessions of its own account only."""
    browser = await member(house)
    await prove(house, browser)
    await browser.open("/me/details")
    await browser.press("Save: E-mail address", fill={"v-email": "thief@mail.test"})
    text = await letter(house)
    other = house.browser()
    await other.sign_up(house.site("wiki"), persona="emoji", user_name="zoe")
    await other.open(link_in(text, "changed"))
    await other.press("That was not me: take it back")
    assert (await other.open("/me")).path.endswith("/me")


async def test_there_is_nothing_to_send_where_nothing_is_to_check(house: House) -> None:
    """A second press in another tab changes nothing."""
    browser = await member(house)
    await browser.open("/me/details")
    form, _ = browser.page.find("Check this address")
    await prove(house, browser)
    shown = await browser.submit("post", f"{ISSUER}{form.action}", list(form.fields))
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/me/details")


@pytest.mark.parametrize("path", ["/mail/check?token=x", "/mail/check"])
async def test_a_link_that_is_not_ours_says_so(house: House, path: str) -> None:
    shown = await house.browser().go(path)
    assert isinstance(shown, Shown)
    assert shown.status == 410
    assert "This link does not work any more" in shown.text


async def test_a_mail_server_that_says_nothing_holds_nobody_up(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The page answers, and the letter waits for the server: one, however long that takes (catalogue 171)."""
    held: list[asyncio.StreamWriter] = []

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)  # and not a word

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mail = f'\n[mail]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\nsender = "doorward@club.test"\n'
    async with server, open_house(tmp_path, sandboxes, doorward=DOORWARD_TOML + mail) as house:
        browser = await member(house)
        await browser.open("/me/address")
        begun = time.monotonic()
        shown = await browser.press("Send me a code")
        sending = asyncio.create_task(house.opened.deliverer.once())
        while not held:
            await asyncio.sleep(0.01)
            assert time.monotonic() - begun < 10
        hanging = time.monotonic()
        again = await browser.press("Send another letter")
        took = time.monotonic() - hanging
        assert isinstance(shown, Shown)
        assert isinstance(again, Shown)
        assert "We sent a code and a link to" in again.text
        assert took < 2, f"{took:.1f} s while the mail server hangs"
        letters = [one for one in house.world.durable.tables.deliveries.values() if one.kind == LETTER]  # type: ignore[attr-defined]
        assert len(letters) == 2, "one for each press, and each of them once"
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        for writer in held:
            writer.close()
