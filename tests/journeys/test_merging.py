"""Somebody signed up twice: from the refusal to one account, by way of a page that shows both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from broker.domain.account import user_name_key
from broker.domain.claims import PREFERRED_USERNAME
from broker.domain.picture import Picture
from broker.domain.values import ClientId
from tests.journeys.test_at_once import form_of, send
from tests.support.house import Arrival, Browser, House, Sandboxes, Shown, open_house, peek


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes) as house:
        yield house


@pytest.fixture(params=["sqlite", "postgresql"])
async def stored(request: pytest.FixtureRequest, tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """On the databases that people run it on."""
    sqlite = f"sqlite:///{tmp_path / 'doorward.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with open_house(tmp_path, sandboxes, database_url=url) as house:
        yield house


async def twice(house: House) -> tuple[Browser, str]:
    """Ana by Facebook in this browser; before that as Lucas by OpenID, and known to the forum."""
    forum, elsewhere = house.site("forum"), house.browser()
    end = await elsewhere.sign_up(forum, provider="openid", persona="lucas", user_name="lucas", share=("name", "email"))
    assert isinstance(end, Arrival)
    subject = peek((await forum.redeem(end))["id_token"])["sub"]
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    return browser, subject


async def both(house: House) -> tuple[Browser, Shown, str]:
    """At the page that shows both, from the page that refuses to add the way."""
    browser, subject = await twice(house)
    await browser.open("/me/ways")
    await house.openid.order(persona="lucas")
    refused = await browser.agree_upstream(await browser.press("provider=openid"))
    assert isinstance(refused, Shown)
    start = await browser.open(next(url for text, url in refused.links if text == "Merge two accounts"))
    assert start.headings[0] == "Merge two accounts"
    assert "another account here that Club OpenID opens" in start.text
    chooser = await browser.press("Sign in to the other account")
    assert isinstance(chooser, Shown)
    assert chooser.headings[0] == "Sign in to your other account"
    assert "New here?" not in chooser.text
    assert "Continue as" not in chooser.text
    shown = await browser.choose("openid", "lucas")
    assert isinstance(shown, Shown)
    return browser, shown, subject


async def test_from_the_refusal_to_one_account(house: House) -> None:
    """Both are shown, the page names what is lost, and afterwards both ways open one account (catalogue 116)."""
    browser, shown, subject = await both(house)
    assert shown.headings[0] == "Merge these two accounts?"
    assert "These sites know only this account and go on knowing you: Forum" in shown.text
    assert "Sites that know both" not in shown.text
    for name in ("lucas", "ana"):
        assert f"User name: {name}." in shown.text
    assert await house.accounts() == 2
    again = await browser.press("Merge the two accounts")
    assert isinstance(again, Shown)
    assert (again.status, again.path) == (200, shown.path)  # a redirect: Back asks nothing
    assert "Choose which of the two accounts stays" in again.text
    done = await browser.press("Merge the two accounts", tick=["stays=this", "v-name=other"])
    assert isinstance(done, Shown)
    assert done.path == "/me"
    assert "Your two accounts are one now" in done.text
    assert await house.accounts() == 1
    assert (await browser.open(shown.url)).headings[0] == "You already did this step"
    ways = await browser.open("/me/ways")
    assert "Club OpenID" in ways.text
    assert "Facebook" in ways.text
    known = await browser.open("/me/sites")
    assert "Known from before a merge" in known.text
    assert "You have not used any site yet." not in known.text
    forum = house.site("forum")
    elsewhere = house.browser()
    end = await elsewhere.sign_in(forum, provider="openid", persona="lucas")
    assert isinstance(end, Shown), "the forum asks anew: what it was allowed did not move"
    assert end.path.endswith("/site")
    back = await elsewhere.press("decision=share", tick=("name", "email"))
    assert isinstance(back, Arrival)
    assert peek((await forum.redeem(back))["id_token"])["sub"] == subject, "and sees whom it knew"


async def test_the_other_account_stays_and_this_browser_is_signed_in_to_it(house: House) -> None:
    browser, shown, subject = await both(house)
    assert (await browser.send("GET", f"{shown.url}/picture")).status_code == 404
    unit = house.world.durable.unit()
    accounts = house.world.durable.tables.accounts.values()  # type: ignore[attr-defined]
    other = next(one.id for one in accounts if one.profile[PREFERRED_USERNAME].value == "lucas")
    unit.put_picture(other, Picture(id="x", jpeg=b"drawn"))
    await unit.commit()
    assert (await browser.send("GET", f"{shown.url}/picture")).content == b"drawn"
    done = await browser.press("Merge the two accounts", tick=["stays=other", "v-email=this"])
    assert isinstance(done, Shown)
    assert "Your two accounts are one now" in done.text
    assert "lucas" in (await browser.open("/me/details")).text
    forum = house.site("forum")
    end = await browser.arrive(forum)
    assert peek((await forum.redeem(end))["id_token"])["sub"] == subject


async def test_the_forum_that_knows_both_goes_on_by_the_one_that_was_chosen(stored: House) -> None:
    """On real databases: asked on the page, and a hint of that number is the person's own."""
    forum = stored.site("forum")
    browser, lucas = await twice(stored)
    await browser.open(forum.request_url())
    first = await browser.press("decision=share", tick=("name", "email"))
    assert isinstance(first, Arrival)
    ana = peek((await forum.redeem(first))["id_token"])["sub"]
    assert ana != lucas
    await browser.open("/me/merge")
    await browser.press("Sign in to the other account")
    shown = await browser.choose("openid", "lucas")
    assert isinstance(shown, Shown)
    assert "Sites that know both" in shown.text
    (choice,) = {name for form in shown.forms for name in form.boxes if name.startswith("n-")}
    refused = await browser.press("Merge the two accounts", tick=[f"{choice}=other"])
    assert isinstance(refused, Shown)
    assert refused.status == 200
    done = await browser.press("Merge the two accounts", tick=["stays=this"])
    assert isinstance(done, Shown)
    assert done.path == "/me"
    back = await browser.arrive(forum)  # what the account that stays lets it have stands
    tokens = await forum.redeem(back)
    assert peek(tokens["id_token"])["sub"] == lucas
    assert (await forum.userinfo(tokens["access_token"])).json()["sub"] == lucas
    asked = await browser.open(f"/end-session?{urlencode({'id_token_hint': tokens['id_token']})}")
    assert "Forum asks to sign you out." in asked.text


async def test_both_are_kept_by_a_button_and_nothing_is_left_of_the_try(house: House) -> None:
    browser, shown, _ = await both(house)
    kept = await browser.press("Keep both accounts")
    assert isinstance(kept, Shown)
    assert kept.path == "/me/ways"
    assert await house.accounts() == 2
    assert (await browser.open(shown.url)).status == 409


async def test_the_page_is_for_the_browser_that_showed_both(house: House) -> None:
    """(catalogue 98, 122)"""
    browser, shown, _ = await both(house)
    assert (await house.browser().open(shown.url)).status == 400
    csrf, seen = shown.value("csrf"), shown.value("seen")
    for fields, status in (
        ([("csrf", "x"), ("decision", "merge"), ("stays", "this"), ("seen", seen)], 403),
        ([("csrf", csrf), ("stays", "this"), ("seen", seen)], 400),
        ([("csrf", csrf), ("decision", "merge"), ("stays", "both"), ("seen", seen)], 400),
        ([("csrf", csrf), ("decision", "merge"), ("stays", "this"), ("seen", "of-another-page")], 200),
    ):
        answer = await browser.submit("post", shown.url, fields)
        assert isinstance(answer, Shown)
        assert answer.status == status
    assert await house.accounts() == 2
    base = shown.url.rpartition("/")[0]
    assert (await browser.open(f"{base}/continue")).url == shown.url
    other = await browser.open("/sign-in/again?next=/me&for=ways")
    assert (await browser.open(f"{other.url.rpartition('/')[0]}/merge")).status == 410
    await browser.open("/signout")
    await browser.press("what=everything")
    assert (await browser.open(shown.url)).status == 410


async def test_a_sign_in_that_is_not_fresh_any_more_comes_back_to_the_page(house: House) -> None:
    """To each account it is minutes old at most (catalogue 122)."""
    browser, _ = await twice(house)
    await browser.open("/me/merge")
    await house.move(minutes=4)
    await browser.press("Sign in to the other account")
    shown = await browser.choose("openid", "lucas")
    assert isinstance(shown, Shown)
    await house.move(minutes=7)
    again = await browser.press("Merge the two accounts", tick=["stays=this"])
    assert isinstance(again, Shown)
    assert again.headings[0] == "Sign in again to merge two accounts"
    back = await browser.choose("facebook")
    assert isinstance(back, Shown)
    assert back.url == shown.url
    await house.move(minutes=4)
    late = await browser.press("Merge the two accounts", tick=["stays=this"])
    assert isinstance(late, Shown)
    assert late.status == 410
    await browser.open("/me/merge")
    await house.move(minutes=2)
    begun = await browser.press("Sign in to the other account")
    assert isinstance(begun, Shown)
    assert begun.headings[0] == "Sign in again to merge two accounts"
    assert await house.accounts() == 2


async def test_each_into_the_other_and_twice_at_once_is_one_merge(stored: House) -> None:
    """On real databases: no fault, one account, both ways, and the forum sees whom it knew (catalogue 176)."""
    browser, shown, subject = await both(stored)
    elsewhere = stored.browser()
    await elsewhere.sign_in(provider="openid", persona="lucas")
    await elsewhere.open("/me/merge")
    await elsewhere.press("Sign in to the other account")
    other = await elsewhere.choose("facebook")
    assert isinstance(other, Shown)
    posts = []
    for one, page in ((browser, shown), (elsewhere, other)):
        _, fields = form_of(page, "Merge the two accounts")
        fields += [("stays", "this"), *((f"v-{name}", "other") for name in ("name", "email", "locale"))]
        posts += [(one, page, fields)] * 2
    answers = await asyncio.gather(*(send(stored, one, page.url, fields) for one, page, fields in posts))
    codes = sorted(answer.status_code for answer in answers)
    assert codes[0] == 303, stored.log
    assert set(codes[1:]) <= {303, 401, 409, 410}, stored.log
    assert sum(answer.headers.get("location") == "/me?done=merged" for answer in answers) == 1
    accounts = stored.world.durable.accounts
    found = [await accounts.by_user_name(user_name_key(name)) for name in ("ana", "lucas")]
    (left,) = [account for account in found if account is not None]
    assert {link.provider for link in await accounts.links(left.id)} == {"facebook", "openid"}
    forum = stored.world.clients[ClientId("forum")]
    assert await stored.world.authorize.subject_of(left.id, forum) == subject, "whichever account it is"
    assert await stored.opened.trail.broken_at() is None
