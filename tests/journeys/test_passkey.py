"""A passkey opens the account when the provider is gone, over HTTP: the script's part is done by an authenticator in software.

What Chromium makes of the same pages is in tests/browser/test_passkey.py.
"""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    open_house,
    peek,
)
from tests.support.passkeys import SoftKey
from tests.web.test_telling_apart import without_ids

from broker.domain.account import AccountStatus
from broker.domain.values import ProviderId

ON = DOORWARD_TOML.replace("[broker]\n", "[broker]\npasskeys = true\n")
REFUSED = "This passkey did not let you in"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, doorward=ON) as house:
        yield house


def given(page: Shown, name: str) -> str:
    """What the page hands to its script."""
    found = re.search(rf'data-{name}="([^"]*)"', page.response.text)
    assert found is not None, page.url
    return html.unescape(found[1])


async def make(browser: Browser, key: SoftKey, name: str = "My key", **wrong: Any) -> Shown:
    page = await browser.open("/me/ways/passkey")
    answer = key.make(given(page, "challenge"), given(page, "owner"), **wrong)
    done = await browser.press("Make the passkey", fill={"name": name, **answer})
    assert isinstance(done, Shown)
    return done


async def use(browser: Browser, key: SoftKey, **wrong: Any) -> Shown | Arrival:
    """On the chooser that the browser shows."""
    challenge = wrong.pop("challenge", None) or given(browser.page, "challenge")
    return await browser.press("Use a passkey", fill=key.use(challenge, **wrong))


async def member(house: House, key: SoftKey, *, user_name: str = "ana", persona: str = "ana") -> Browser:
    """Somebody whose address the provider proved, connected to the forum, with a passkey."""
    browser = house.browser()
    end = await browser.sign_up(
        house.site("forum"), provider="openid", persona=persona, user_name=user_name, share=("name", "email")
    )
    assert isinstance(end, Arrival)
    done = await make(browser, key)
    assert "You can now sign in this way too." in done.text
    assert "My key" in done.text
    return browser


async def test_a_passkey_is_named_like_any_other_way_on_the_page_that_shows_two_accounts(house: House) -> None:
    """At the beginning of a line, so with a capital; inside a sentence without."""
    await member(house, SoftKey(), user_name="lucas", persona="lucas")
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await browser.open("/me/ways")
    await house.openid.order(persona="lucas")
    refused = await browser.agree_upstream(await browser.press("provider=openid"))
    assert isinstance(refused, Shown)
    await browser.open(next(url for text, url in refused.links if text == "Merge two accounts"))
    await browser.press("Sign in to the other account")
    shown = await browser.choose("openid", "lucas")
    assert isinstance(shown, Shown)
    assert "A passkey, My key" in shown.text


async def test_a_passkey_opens_the_account_when_the_provider_is_gone(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """And the waiting site gets the same person, signed in by something that is no provider (catalogue 118)."""
    key = SoftKey()
    more: Any = {"doorward": ON, "database_url": f"sqlite:///{tmp_path}/data.db"}
    async with open_house(tmp_path / "before", sandboxes, **more) as house:
        browser, forum = await member(house, key), house.site("forum")
        before = peek((await forum.redeem(await browser.arrive(forum)))["id_token"])
        told = await letter(house)
        assert "From now on, a passkey opens your account too." in told
    only_facebook = PROVIDERS_TOML.partition("[openid]")[0]
    async with open_house(tmp_path / "after", sandboxes, providers=only_facebook, **more) as house:
        assert "Club OpenID" not in (await house.browser().open("/sign-in")).text
        forum, browser = house.site("forum"), house.browser()
        await browser.open(forum.request_url())
        end = await use(browser, key)
        assert isinstance(end, Arrival)
        claims = peek((await forum.redeem(end))["id_token"])
        assert (claims["sub"], claims["amr"]) == (before["sub"], ["hwk", "user"])
        assert claims["auth_time"] == claims["iat"]
        assert "Signed in with a passkey." in (await browser.open("/me/devices")).text
        for secret in key.use("x").values():
            assert secret not in house.log


async def test_whatever_is_wrong_the_page_says_the_same_and_leads_on(house: House) -> None:
    """Nothing tells which passkeys there are, nor what was wrong with one; the log names the check."""
    key, stranger = SoftKey(), SoftKey()
    await member(house, key)
    stranger.owner = key.owner
    browser = house.browser()
    pages = []
    for whose, wrong, check in (
        (stranger, {}, "unknown"),
        (key, {"signature": b"forged"}, "signature"),
        (key, {"origin": "https://evil.test"}, "origin"),
        (key, {"host": "evil.test"}, "party"),
        (key, {"verified": False}, "verification"),
        (key, {"owner": b"another"}, "owner"),
        (key, {"counter": 1}, "counter"),
        (key, {"challenge": "another browser's"}, "challenge of another browser, or none of ours"),
    ):
        await browser.open(house.site("forum").request_url())
        told = await use(browser, whose, **wrong)
        assert isinstance(told, Shown)
        assert (told.status, told.headings[0]) == (403, REFUSED)
        assert f"passkey: {check}" in house.log
        pages.append(re.sub(r"[A-Z0-9]{4}-[A-Z0-9]{4}", "REFERENCE", without_ids(told)))
        again = next(url for text, url in told.links if text == "Try again")
        assert (await browser.open(again)).headings[0] == "Sign in to Forum"
    assert len(set(pages)) == 1
    assert isinstance(await use(browser, key), Arrival)


async def test_an_answer_signs_in_the_browser_that_asked_and_no_other(house: House) -> None:
    """Neither with the answer of somebody else's browser, nor by going back to its own (catalogue 120)."""
    key = SoftKey(counts=False)
    await member(house, key)
    victim, thief = house.browser(), house.browser()
    await victim.open(house.site("forum").request_url())
    await thief.open(house.site("forum").request_url())
    answer = key.use(given(victim.page, "challenge"))
    told = await thief.press("Use a passkey", fill=answer)
    assert isinstance(told, Shown)
    assert told.headings[0] == REFUSED
    chooser = victim.page
    assert isinstance(await victim.press("Use a passkey", fill=answer), Arrival)
    back = await victim.submit(
        "post", f"https://login.test{chooser.path.replace('/sign-in', '/passkey')}",
        [("csrf", chooser.value("csrf")), *answer.items()],
    )  # fmt: skip
    assert isinstance(back, Shown)
    assert back.headings[0] == "You already did this step"


async def test_a_page_that_waited_too_long_asks_anew(house: House) -> None:
    key = SoftKey()
    await member(house, key)
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    house.clock.move(minutes=11)
    told = await use(browser, key)
    assert isinstance(told, Shown)
    assert (told.status, told.response.request.method) == (200, "GET")
    assert told.title.startswith("Error: ")
    assert "This page waited for more than 10 minutes. Try once more" in told.text
    assert isinstance(await use(browser, key), Arrival)


async def test_it_makes_a_sign_in_fresh_for_what_is_sensitive(house: House) -> None:
    """And only for those who have one; removed it is gone, everywhere else too."""
    key = SoftKey()
    browser = await member(house, key)
    elsewhere = house.browser()
    await elsewhere.open("/sign-in")
    await use(elsewhere, key)
    assert elsewhere.page.path == "/me"
    house.clock.move(minutes=20)
    page = await browser.open("/me/ways")
    again = next(url for text, url in page.links if text == "Add a passkey")
    assert again == "/sign-in/again?next=/me/ways/passkey&for=ways"
    refused = await browser.press("Remove passkey")
    assert isinstance(refused, Shown)
    assert refused.headings[0] == "Sign in again to change your ways to sign in"
    await browser.open(again)
    back = await use(browser, key)
    assert isinstance(back, Shown)
    assert back.path == "/me/ways/passkey"
    await browser.open("/me/ways")
    gone = await browser.press("Remove passkey")
    assert isinstance(gone, Shown)
    assert "This passkey no longer signs you in." in gone.text
    assert "a passkey does not open your account any more." in await letter(house)
    assert (await elsewhere.open("/me")).path.endswith("/sign-in")
    told = await use(elsewhere, key)
    assert isinstance(told, Shown)
    assert told.headings[0] == REFUSED
    await browser.open("/sign-in/again?next=/me/ways&for=ways")
    assert "Use a passkey" not in browser.page.text


async def test_somebody_elses_passkey_is_no_way_of_this_account(house: House) -> None:
    """Neither to a fresh sign-in, nor to be added to it (catalogue 122)."""
    mine, theirs = SoftKey(), SoftKey()
    browser = await member(house, mine)
    await member(house, theirs, user_name="lucas", persona="lucas")
    await browser.open("/sign-in/again?next=/me/ways&for=ways")
    told = await use(browser, theirs)
    assert isinstance(told, Shown)
    assert told.status == 409
    again = await make(browser, theirs)
    assert (again.status, again.response.request.method) == (200, "GET")
    assert "This passkey is in use already." in again.text


async def test_a_passkey_is_made_with_a_fresh_sign_in_alone(house: House) -> None:
    key = SoftKey()
    browser = await member(house, key)
    made = await browser.open("/me/ways/passkey")
    house.clock.move(minutes=11)
    refused = await browser.open("/me/ways/passkey")
    assert refused.headings[0] == "Sign in again to change your ways to sign in"
    answer = SoftKey().make(given(made, "challenge"), given(made, "owner"))
    late = await browser.submit(
        "post", "https://login.test/me/ways/passkey", [("csrf", made.value("csrf")), ("name", "x"), *answer.items()]
    )
    assert isinstance(late, Shown)
    assert late.headings[0] == "Sign in again to change your ways to sign in"


async def test_what_could_not_be_used_is_told_and_tried_again(house: House) -> None:
    """The name that was typed stays."""
    browser = await member(house, SoftKey())
    told = await make(browser, SoftKey(), "My old phone", verified=False)
    assert (told.status, told.value("name")) == (200, "My old phone")
    assert "We could not use what your browser made." in told.text
    assert "My old phone" in (await make(browser, SoftKey(), "My old phone")).text


async def test_an_account_on_hold_stays_so(house: House) -> None:
    key = SoftKey()
    await member(house, key)
    tables: Any = house.world.durable.tables  # type: ignore[attr-defined]
    (account,) = tables.accounts.values()
    tables.accounts[account.id] = replace(account, status=AccountStatus.HELD)
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    told = await use(browser, key)
    assert isinstance(told, Shown)
    assert (told.status, told.headings[0]) == (403, "This account is on hold")


async def test_ten_are_enough(house: House) -> None:
    browser = await member(house, SoftKey())
    for number in range(9):
        assert (await make(browser, SoftKey(), f"Key {number}")).path == "/me/ways"
    assert "You have 10 passkeys, and there cannot be more." in browser.page.text
    full = await browser.open("/me/ways/passkey")
    assert "You have 10 passkeys already. Remove one first" in full.text
    assert "Make the passkey" not in full.text


async def test_who_is_too_young_for_an_account_makes_none_by_a_passkey(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Where age is asked, an unknown passkey is still nobody's, and a known one is asked nothing (decision 24)."""
    key = SoftKey()
    more: Any = {"database_url": f"sqlite:///{tmp_path}/data.db"}
    async with open_house(tmp_path / "before", sandboxes, doorward=ON, **more) as house:
        await member(house, key)
    asking = ON + "\n[age]\nminimum = 16\n"
    async with open_house(tmp_path / "after", sandboxes, doorward=asking, **more) as house:
        browser, stranger = house.browser(), SoftKey()
        stranger.owner = b"o" * 32
        await browser.open(house.site("forum").request_url())
        told = await use(browser, stranger)
        assert isinstance(told, Shown)
        assert told.headings[0] == REFUSED
        await browser.open(house.site("forum").request_url())
        assert isinstance(await use(browser, key), Arrival)


async def test_a_way_that_is_added_is_not_confused_with_a_passkey(house: House) -> None:
    """Adding a provider began at a page of its own: a passkey is none of its ways, and is not even looked at."""
    key = SoftKey()
    browser = await member(house, key)
    await browser.open("/me/ways")
    house.clock.move(seconds=1)  # ids sort by the second in which they were made
    await browser.press("provider=facebook")
    newest = max(name.partition("_tx_")[2] for name in browser.cookies if "_tx_" in name)
    form = [("csrf", house.world.cookies.form_token(f"f:{newest}")), *key.use("challenge").items()]
    shown = await browser.submit("post", f"https://login.test/f/{newest}/passkey", form)
    assert isinstance(shown, Shown)
    assert (shown.status, shown.path) == (200, "/me/ways")


async def test_where_they_are_off_nothing_of_them_is_there(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with open_house(tmp_path, sandboxes) as house:
        browser = house.browser()
        await browser.sign_up(provider="openid", persona="ana", user_name="ana")
        assert "passkey" not in (await browser.open("/me/ways")).response.text.lower()
        assert (await browser.open("/me/ways/passkey")).status == 404
        stranger = house.browser()
        chooser = await stranger.open("/sign-in")
        assert "passkey" not in chooser.response.text.lower()
        form = [("csrf", chooser.value("csrf")), *SoftKey().use("challenge", owner=b"o").items()]
        path = chooser.path.replace("/sign-in", "/passkey")
        shown = await stranger.submit("post", f"https://login.test{path}", form)
        assert isinstance(shown, Shown)
        assert (shown.status, shown.headings[0]) == (404, "This way to sign in is not available")


async def test_a_way_that_is_switched_off_is_said_to_be_and_is_no_other_way(house: House) -> None:
    """Whoever removed the last one that is on would be locked out (catalogue 124)."""
    browser = await member(house, SoftKey())
    rows = house.world.durable.tables.links  # type: ignore[attr-defined]
    facebook, passkey = rows.values()
    rows[facebook.id] = replace(facebook, provider=ProviderId("gone"))
    shown = await browser.open("/me/ways")
    assert "This way is switched off here at present: it does not sign you in." in shown.text
    assert "This is your only way to sign in." in shown.text
    form = [("csrf", shown.value("csrf")), ("link", passkey.id)]
    stays = await browser.submit("post", "https://login.test/me/ways/remove", form)
    assert isinstance(stays, Shown)
    assert stays.headings[0] == "This is your only way to sign in"
    await browser.open("/me/ways")
    gone = await browser.press("Remove gone")
    assert isinstance(gone, Shown)
    assert [link.id for link in house.world.durable.tables.links.values()] == [passkey.id]  # type: ignore[attr-defined]
