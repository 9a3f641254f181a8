"""An unattended or stolen browser: what one click there must not do, and what throwing it out must end."""

from __future__ import annotations

from typing import Any

from tests.support.house import Arrival, Browser, House, Shown


async def add_openid(browser: Browser, house: House) -> Shown | Arrival:
    await browser.open("/me/ways")
    await house.openid.order(persona="lucas")
    return await browser.agree_upstream(await browser.press("provider=openid"))


async def test_a_silent_answer_of_the_provider_is_no_fresh_sign_in(house: House) -> None:
    """Who is signed in already is not fresh because the provider answered without asking (catalogue 122)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(forum, user_name="ana")
    await house.move(hours=1)
    await browser.open(forum.request_url(prompt="select_account"))
    await browser.press("use=another")
    end = await browser.choose("facebook")
    assert isinstance(end, Arrival)
    refused = await add_openid(browser, house)
    assert isinstance(refused, Shown)
    assert "Sign in again to change your ways to sign in" in refused.headings


async def test_an_ordinary_sign_in_in_a_browser_of_its_own_is_fresh(house: House) -> None:
    await house.browser().sign_up(user_name="ana")
    await house.move(hours=1)
    browser = house.browser()
    await browser.sign_in()
    added = await add_openid(browser, house)
    assert isinstance(added, Shown)
    assert added.path == "/me/ways"
    assert added.status == 200


async def test_a_way_is_not_added_by_a_session_that_was_ended_meanwhile(house: House, monkeypatch: Any) -> None:
    """The owner signs all others out while a thief's answer is on its way: it links nothing (catalogue 122)."""
    owner, thief = house.browser(), house.browser()
    await owner.sign_up(user_name="ana")
    await thief.sign_in()
    provider: Any = house.world.sign_in.providers["openid"]  # type: ignore[index]
    identify = provider.identify

    async def identify_slowly(*given: Any) -> Any:
        found = await identify(*given)
        shown = await owner.open("/me/devices")
        await owner.submit("post", "https://login.test/me/devices/end", [("csrf", shown.value("csrf")), ("all", "1")])
        return found

    monkeypatch.setattr(provider, "identify", identify_slowly)
    await add_openid(thief, house)
    monkeypatch.undo()
    assert "Club OpenID" not in (await owner.open("/me/ways")).text.partition("Add another way")[0]
    stranger = await house.browser().sign_in(provider="openid", persona="lucas")
    assert isinstance(stranger, Shown)
    assert stranger.path.endswith("/details")


async def test_an_added_way_keeps_no_name_that_was_not_shown(house: House) -> None:
    """What the second provider calls the person was never on a page of ours: it is not kept."""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await add_openid(browser, house)
    assert "lucas" not in (await browser.open("/me/ways")).text


async def test_signing_a_device_out_ends_what_it_let_a_site_have_for_good(house: House) -> None:
    """(catalogue 110)"""
    wiki, owner, thief = house.site("wiki"), house.browser(), house.browser()
    await owner.sign_up(user_name="ana")
    await thief.sign_in()
    await thief.open(wiki.request_url(scope="openid offline_access"))
    arrived = await thief.press("decision=share", tick=("offline_access",))
    assert isinstance(arrived, Arrival)
    tokens = await wiki.redeem(arrived)
    shown = await owner.open("/me/devices")
    sids = [value for form in shown.forms for name, value in form.fields if name == "sid"]
    mine = (await house.world.sessions.load(owner.cookies[house.world.cookies.session_name].rpartition(".")[0])).sid  # type: ignore[union-attr]
    (other,) = {sid for sid in sids if sid != mine}
    await owner.submit("post", "https://login.test/me/devices/end", [("csrf", shown.value("csrf")), ("sid", other)])
    assert (await thief.open("/me")).path.endswith("/sign-in")
    assert (await wiki.refresh(tokens["refresh_token"])).status_code == 400
