"""The second site, and a site that asks for more: what is asked again, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.house import DOORWARD_TOML, SITES_TOML, Arrival, Browser, House, Sandboxes, Shown, open_house

MORE = (
    SITES_TOML
    + """
[wiki.asks.email]
use = "optional"
why = { en = "To send you what changed.", fr = "Pour vous dire." }
"""
)
NEEDED_MORE = MORE.replace('[wiki.asks.email]\nuse = "optional"', '[wiki.asks.email]\nuse = "needed"')


def database(folder: Path) -> str:
    """What outlives a restart with another configuration."""
    return f"sqlite:///{folder / 'doorward.db'}"


def again(browser: Browser, house: House) -> Browser:
    """The same browser, at the server that started anew."""
    browser.house = house
    return browser


async def test_consent_is_asked_once_for_each_site(house: House) -> None:
    """(catalogue 133)"""
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    await browser.sign_up(forum, user_name="zoe")
    shown = await browser.open(wiki.request_url())
    assert "Share these with Wiki?" in shown.headings
    assert not shown.path.endswith("/sign-in")
    assert "Edits" not in shown.text
    assert isinstance(await browser.press("decision=share"), Arrival)
    for _ in range(2):
        await browser.arrive(wiki)
        await browser.arrive(forum)
    dialogs = [entry for entry in await house.facebook.log() if "dialog/oauth" in str(entry["path"])]
    assert len(dialogs) == 1


async def test_refusing_to_share_is_an_answer(house: House) -> None:
    """The site hears `access_denied`, gets nothing, and may ask again another time (catalogue 56)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url(state="s-1"))
    await browser.choose()
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "zoe"})
    end = await browser.press("decision=refuse")
    assert isinstance(end, Arrival)
    assert end.params == {"error": "access_denied", "state": "s-1", "iss": "https://login.test"}
    assert await house.accounts() == 1
    again = await browser.open(forum.request_url())
    assert "Share these with Forum?" in again.headings
    shown = await browser.open("/me/history")
    assert "Forum" in shown.text
    assert isinstance(await browser.open("/me/sites"), Shown)
    assert "You have not used any site yet." in browser.page.text


async def test_a_site_that_asks_for_more_gets_three_answers(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Share these too, keep what I share now, do not share: equal buttons, and each is remembered (decision 13)."""
    async with open_house(tmp_path, sandboxes, database_url=database(tmp_path)) as house:
        browser = house.browser()
        end = await browser.sign_up(house.site("wiki"), user_name="zoe")
        assert isinstance(end, Arrival)
    async with open_house(tmp_path, sandboxes, database_url=database(tmp_path), sites=MORE) as house:
        wiki = house.site("wiki")
        shown = await again(browser, house).open(wiki.request_url())
        assert "Share more with Wiki?" in shown.headings
        assert [b.value for f in shown.forms for b in f.buttons] == ["share", "keep", "refuse"]
        assert "To send you what changed." in shown.text
        assert "Shared already" in shown.text
        refused = await browser.press("decision=refuse")
        assert isinstance(refused, Arrival)
        assert refused.params["error"] == "access_denied"
        await browser.open(wiki.request_url())
        kept = await browser.press("decision=keep")
        assert isinstance(kept, Arrival)
        claims = await wiki.claims((await wiki.redeem(kept))["access_token"])
        assert set(claims) == {"sub", "preferred_username"}
        once_more = await browser.arrive(wiki)
        assert set(await wiki.claims((await wiki.redeem(once_more))["access_token"])) == {"sub", "preferred_username"}


async def test_sharing_more_adds_and_leaves_the_old_token_as_it_was(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Tokens already given keep the old scope (decision 13; catalogue 132, 135)."""
    async with open_house(tmp_path, sandboxes, database_url=database(tmp_path)) as house:
        browser = house.browser()
        wiki = house.site("wiki")
        end = await browser.sign_up(wiki, user_name="zoe")
        assert isinstance(end, Arrival)
    async with open_house(tmp_path, sandboxes, database_url=database(tmp_path), sites=NEEDED_MORE) as house:
        wiki = house.site("wiki")
        silent = await again(browser, house).go(wiki.request_url(prompt="none"))
        assert isinstance(silent, Arrival)
        assert silent.params["error"] == "consent_required"
        shown = await browser.open(wiki.request_url())
        assert "Share more with Wiki?" in shown.headings
        kept = await browser.press("decision=keep")
        assert isinstance(kept, Arrival)
        old = (await wiki.redeem(kept))["access_token"]
        await browser.open(wiki.request_url())
        more = await browser.press("decision=share")
        assert isinstance(more, Arrival)
        new = (await wiki.redeem(more))["access_token"]
        assert "email" in await wiki.claims(new)
        assert "email" not in await wiki.claims(old)


@pytest.mark.parametrize(
    "changed",
    [
        SITES_TOML.replace("Your edits are signed with it.", "To sell it."),
        SITES_TOML.replace('name = "Wiki"', 'name = "Encyclopedia"'),
        SITES_TOML.replace('run_by = "The Club"\nredirect_uris = ["https://wiki.test/callback"]',
                           'run_by = "The Club"\npolicy_uri = "https://wiki.test/policy"\n'
                           'redirect_uris = ["https://wiki.test/callback"]'),
    ],
    ids=["another purpose", "another name", "another policy"],
)  # fmt: skip
async def test_what_changed_is_asked_again_and_stays_here_until_then(
    tmp_path: Path, sandboxes: Sandboxes, changed: str
) -> None:
    """A purpose in other words, or a site that looks different; the old token gets what was agreed (catalogue 133)."""
    assert changed != SITES_TOML
    async with open_house(tmp_path, sandboxes, database_url=database(tmp_path)) as house:
        browser = house.browser()
        wiki = house.site("wiki")
        end = await browser.sign_up(wiki, user_name="zoe")
        assert isinstance(end, Arrival)
        tokens = await wiki.redeem(end)
    async with open_house(tmp_path, sandboxes, database_url=database(tmp_path), sites=changed) as house:
        wiki = house.site("wiki")
        claims = await wiki.claims(tokens["access_token"])
        is_purpose = "To sell it." in changed
        assert ("preferred_username" in claims) is not is_purpose
        shown = await again(browser, house).open(wiki.request_url())
        assert shown.path.endswith("/site")
        end = await browser.press("decision=share")
        assert isinstance(end, Arrival)
        claims = await wiki.claims((await wiki.redeem(end))["access_token"])
        assert claims["preferred_username"] == "zoe"
        await browser.arrive(wiki)


async def test_a_changed_policy_is_agreed_to_before_anything_goes_on(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The page says what is different; until then nothing new is shared."""
    changed = DOORWARD_TOML + ('\n[terms.4]\neffective_from = 2026-11-20\nchanges = ["We ask for less."]\n')
    async with open_house(tmp_path, sandboxes, database_url=database(tmp_path)) as house:
        browser = house.browser()
        await browser.sign_up(house.site("forum"), user_name="zoe")
    async with open_house(tmp_path, sandboxes, database_url=database(tmp_path), doorward=changed) as house:
        forum = house.site("forum")
        silent = await again(browser, house).go(forum.request_url(prompt="none"))
        assert isinstance(silent, Arrival)
        assert silent.params["error"] == "interaction_required"
        shown = await browser.open(forum.request_url())
        assert "Our rules changed" in shown.headings
        assert "We ask for less." in shown.text
        end = await browser.press("decision=agree")
        assert isinstance(end, Arrival)
        assert "code" in end.params
        await browser.arrive(forum)


async def test_what_a_site_needs_and_nobody_gave_is_asked_on_its_page(house: House) -> None:
    """(catalogue 121)"""
    tracker, browser = house.site("tracker"), house.browser()
    await browser.open("/sign-in")
    await browser.choose("facebook", "no-email")
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "tomas", "v-email": "tomas@mail.test"})
    shown = await browser.open(tracker.request_url())
    assert shown.path.endswith("/site")
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)
    claims = await tracker.claims((await tracker.redeem(end))["access_token"])
    assert claims["email"] == "tomas@mail.test"


async def test_a_refused_claim_cannot_come_back(house: House) -> None:
    """Not by scope, not by a claims parameter, not in the ID token, not by refreshing (catalogue 135)."""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(
        forum, user_name="zoe", share=("name", "offline_access"),
        url=forum.request_url(scope="openid profile email offline_access", prompt="consent"),
    )  # fmt: skip
    assert isinstance(end, Arrival)
    tokens = await forum.redeem(end)
    wanted = '{"userinfo":{"email":{"essential":true}},"id_token":{"email":{"essential":true}}}'
    again = await browser.go(forum.request_url(claims=wanted))
    assert isinstance(again, Arrival)
    refreshed = (await forum.refresh(tokens["refresh_token"])).json()
    for access_token in (tokens["access_token"], refreshed["access_token"]):
        assert "email" not in await forum.claims(access_token)
        assert "email" not in await forum.introspect(access_token)
    assert "ana.markovic" not in str(tokens) + str(refreshed)
