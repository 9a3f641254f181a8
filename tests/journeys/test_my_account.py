"""My Account: correct, stop sharing, disconnect, add and remove ways to sign in, devices, and closing it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import re
import pytest
from tests.journeys.ear import listening
from tests.support.house import DOORWARD_TOML, Arrival, Browser, House, Sandboxes, Shown, open_house, peek


async def add_openid(browser: Browser, house: House, persona: str = "lucas") -> Shown | Arrival:
    """Ways to sign in → Add another way → the provider → back."""
    await browser.open("/me/ways")
    await house.openid.order(persona=persona)
    return await browser.agree_upstream(await browser.press("provider=openid"))


# --- ways to sign in ----------------------------------------------------------------------------------


async def test_a_second_way_leads_to_the_same_account_and_can_go_again(house: House) -> None:
    """Link, sign in with it, unlink the first (catalogue 122, 124)."""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, user_name="ana")
    assert isinstance(end, Arrival)
    subject = peek((await forum.redeem(end))["id_token"])["sub"]
    shown = await browser.open("/me/ways")
    assert "This is your only way to sign in. Add another way first, then you can remove it." in shown.text
    added = await add_openid(browser, house)
    assert isinstance(added, Shown)
    assert added.path == "/me/ways"
    assert "Club OpenID" in added.text
    elsewhere = house.browser()
    end = await elsewhere.sign_in(forum, provider="openid", persona="lucas")
    assert isinstance(end, Arrival)
    assert peek((await forum.redeem(end))["id_token"])["sub"] == subject
    await browser.open("/me/ways")
    removed = await browser.press("Remove Facebook")
    assert isinstance(removed, Shown)
    assert "This is your only way to sign in." in removed.text
    stranger = await house.browser().sign_in(forum)
    assert isinstance(stranger, Shown)
    assert stranger.path.endswith("/details")


async def test_removing_a_way_signs_every_other_device_out(house: House) -> None:
    """(catalogue 110)"""
    forum, browser, elsewhere = house.site("forum"), house.browser(), house.browser()
    await browser.sign_up(forum, user_name="ana")
    end = await elsewhere.sign_in(forum)
    assert isinstance(end, Arrival)
    theirs = await forum.redeem(end)
    await add_openid(browser, house)
    await browser.open("/me/ways")
    await browser.press("Remove Facebook")
    assert (await browser.open("/me")).path == "/me"
    assert (await elsewhere.open("/me")).path.endswith("/sign-in")
    assert (await forum.userinfo(theirs["access_token"])).status_code == 401


async def test_the_last_way_cannot_be_removed(house: House) -> None:
    """Not by its button, which is not there, nor by hand (catalogue 124)."""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    shown = await browser.open("/me/ways")
    assert not [b for f in shown.forms for b in f.buttons if b.text.startswith("Remove")]
    link = (await house.world.durable.accounts.links((await only_account(house)).id))[0]
    refused = await browser.submit(
        "post", "https://login.test/me/ways/remove", [("csrf", shown.value("csrf")), ("link", link.id)]
    )
    assert isinstance(refused, Shown)
    assert refused.status == 409
    assert "This is your only way to sign in" in refused.headings
    assert ("Ways to sign in", "/me/ways") in refused.links
    assert len(await house.world.durable.accounts.links(link.account)) == 1


async def test_an_identity_of_another_account_is_refused_without_naming_it(house: House) -> None:
    """(catalogue 123)"""
    browser, other = house.browser(), house.browser()
    await browser.sign_up(user_name="ana")
    await other.sign_up(provider="openid", persona="lucas", user_name="lucas")
    refused = await add_openid(browser, house)
    assert isinstance(refused, Shown)
    assert refused.status == 409
    assert "This way to sign in cannot be added" in refused.headings
    assert not [word for word in ("lucas", "Lucas", "Moreau") if word in refused.response.text]
    url = next(url for text, url in refused.links if text == "Ways to sign in")
    assert (await browser.open(url)).path == "/me/ways"


@pytest.mark.parametrize("persona", ["ana", "email-unverified"])
async def test_an_address_never_links(house: House, persona: str) -> None:
    """The same address, checked or not, at another provider is another person (decision 18; catalogue 113, 114, 116)."""
    forum = house.site("forum")
    await house.browser().sign_up(forum, user_name="ana")
    await house.browser().sign_up(forum, persona="unverified-leaks", user_name="victor")
    browser = house.browser()
    shown = await browser.sign_in(forum, provider="openid", persona=persona)
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/details")
    await browser.press("decision=continue")
    end = await browser.press("decision=create", fill={"preferred_username": "somebody"})
    assert isinstance(end, Shown)
    assert await house.accounts() == 3
    links = house.world.durable.tables.links.values()  # type: ignore[attr-defined]
    assert len({link.account for link in links}) == len(links) == 3


async def test_adding_a_way_needs_a_fresh_sign_in(house: House) -> None:
    """After five minutes one proves it anew, with a way of one's own, and comes back (catalogue 122)."""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await house.move(minutes=6)
    shown = await browser.open("/me/ways")
    assert "we ask you to sign in again first" in shown.text
    chooser = await browser.press("provider=openid")
    assert isinstance(chooser, Shown)
    assert chooser.path.endswith("/sign-in")
    assert "Sign in again to change your ways to sign in" in chooser.headings
    assert "Club OpenID" not in " ".join(b.text for f in chooser.forms for b in f.buttons)
    back = await browser.choose()
    assert isinstance(back, Shown)
    assert back.path == "/me/ways"
    added = await add_openid(browser, house)
    assert isinstance(added, Shown)
    assert "Club OpenID" in added.text
    assert len(await house.world.durable.accounts.links((await only_account(house)).id)) == 2


@pytest.mark.parametrize("begins", ["link", "fresh sign-in"])
async def test_who_was_signed_out_meanwhile_is_asked_to_sign_in_and_nothing_is_added(house: House, begins: str) -> None:
    """Signed out in another tab while at the provider: the answer leads nowhere, and stands in no address of ours
    (catalogue 122).
    """
    browser, elsewhere = house.browser(), house.browser()
    await browser.sign_up(user_name="ana")
    await elsewhere.sign_in()
    await browser.open("/me/ways" if begins == "link" else "/sign-in/again?next=/me")
    provider, persona = ("openid", "lucas") if begins == "link" else ("facebook", "normal")
    await getattr(house, provider).order(persona=persona)
    await elsewhere.open("/me/devices")
    form, pressed = browser.page.find(f"provider={provider}")
    same = {"Origin": "https://login.test", "Sec-Fetch-Site": "same-origin"}
    fields = [*form.fields, (pressed.name, pressed.value)]
    left = await browser.send("POST", f"https://login.test{form.action}", data=fields, headers=same)
    there = await browser.send("GET", left.headers["refresh"].partition("url=")[2])
    await elsewhere.press("Sign out all others")
    if there.is_redirect:
        shown = await browser.open(there.headers["location"])
    else:
        browser.shown = Shown.read(there)
        shown = await browser.agree_upstream(browser.page)  # type: ignore[assignment]
    assert shown.status == 401
    assert "Please sign in to see this page" in shown.headings
    assert not [url for _, url in shown.links if "callback" in url or "code=" in url]
    assert len(await house.world.durable.accounts.links((await only_account(house)).id)) == 1


async def test_a_fresh_sign_in_as_somebody_else_is_refused_and_changes_nothing(house: House) -> None:
    """(catalogue 122)"""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await house.move(minutes=6)
    await browser.open("/sign-in/again?next=/me/close&for=close")
    shown = await browser.choose("facebook", "jonas")
    assert isinstance(shown, Shown)
    assert shown.status == 409
    assert "Ana" in (await browser.open("/me")).text
    await browser.open("/me/close")
    closing = await browser.press("decision=close")
    assert isinstance(closing, Shown)
    assert "Sign in again to close your account" in closing.headings
    assert await house.accounts() == 1


async def test_saying_no_when_adding_a_way_leads_back_to_ones_ways(house: House) -> None:
    """There is nothing to choose: the provider was chosen on one's own page."""
    browser = house.browser()
    await browser.sign_up(provider="openid", persona="lucas", user_name="lucas")
    await browser.open("/me/ways")
    await house.facebook.order(persona="cancels")
    shown = await browser.agree_upstream(await browser.press("provider=facebook"))
    assert isinstance(shown, Shown)
    assert "You did not let Facebook tell us who you are" in shown.headings
    url = next(url for text, url in shown.links if text.startswith("Choose another way"))
    assert (await browser.open(url)).path == "/me/ways"


# --- details ------------------------------------------------------------------------------------------


async def test_a_correction_reaches_the_sites_at_once_and_nobody_vouches_for_it(house: House) -> None:
    """(catalogue 119)"""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, provider="openid", persona="ana", user_name="ana", share=("email", "name"))
    assert isinstance(end, Arrival)
    token = (await forum.redeem(end))["access_token"]
    assert (await forum.claims(token))["email_verified"] is True
    shown = await browser.open("/me/details")
    assert "Shared with: Forum" in shown.text
    saved = await browser.press("Save: E-mail address", fill={"v-email": "new@mail.test"})
    assert isinstance(saved, Shown)
    assert saved.path == "/me/details"
    claims = await forum.claims(token)
    assert (claims["email"], claims["email_verified"]) == ("new@mail.test", False)


async def test_a_wrong_correction_is_said_beside_its_field(house: House) -> None:
    """(catalogue 121, 131)"""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await browser.open("/me/details")
    shown = await browser.press("Save: E-mail address", fill={"v-email": "a@b@c.test"})
    assert isinstance(shown, Shown)
    assert (shown.status, shown.response.request.method) == (200, "GET")
    assert shown.title.startswith("Error: ")
    assert shown.value("v-email") == "a@b@c.test"


@pytest.mark.parametrize("field", ["role", "sub", "email_verified", "created_at", "status", "account", "newsletters"])
async def test_nothing_but_fields_can_be_changed(house: House, field: str) -> None:
    """(catalogue 125)"""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    before = await only_account(house)
    shown = await browser.open("/me/details")
    token = shown.value("csrf")
    refused = await browser.submit(
        "post", "https://login.test/me/details", [("csrf", token), (f"v-{field}", "true"), (field, "admin")]
    )
    assert isinstance(refused, Shown)
    assert (refused.status, refused.response.request.method) == (200, "GET")
    assert await only_account(house) == before


# --- sites --------------------------------------------------------------------------------------------


async def test_what_a_site_gets_can_be_stopped_field_by_field(house: House) -> None:
    """Tokens die at once, the site must ask anew for what it needs, and history keeps names only (catalogue 137)."""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, user_name="ana", share=("name", "email"))
    assert isinstance(end, Arrival)
    old = (await forum.redeem(end))["access_token"]
    await forum.claims(old)
    shown = await browser.open("/me/sites")
    assert "Forum" in shown.text
    form = next(f for f in shown.forms if ("claim", "email") in f.fields)
    stopped = await browser.submit("post", f"https://login.test{form.action}", form.fields)
    assert isinstance(stopped, Shown)
    assert (await forum.userinfo(old)).status_code == 401
    again = await browser.arrive(forum)
    claims = await forum.claims((await forum.redeem(again))["access_token"])
    assert "name" in claims
    assert "email" not in claims
    history = await browser.open("/me/history")
    for words in ("E-mail address", "Display name", "Forum"):
        assert words in history.text
    assert "ana.markovic@people.test" not in history.text


def rows_of(history: Shown) -> list[str]:
    """Of its table, in words."""
    rows = re.findall(r"<tr><td>.*?</tr>", history.response.text, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in rows]


async def test_a_sign_in_is_one_row_however_it_was_told(house: House) -> None:
    """P10: the same fields at the token endpoint and at userinfo. Another sign-in, other fields or a decision have their own."""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, user_name="ana", share=("name",))
    assert isinstance(end, Arrival)
    for _ in range(2):
        await forum.claims((await forum.redeem(end))["access_token"])
        end = await browser.arrive(forum)
    rows = rows_of(await browser.open("/me/history"))
    ways = [row.partition("Shown beside your user name.")[2].strip() for row in rows]
    assert sorted(ways) == 2 * ["when you signed in, the site asked us"] + ["you chose to share"]
    assert "Forum: 2 fields, 1 time" in browser.page.text
    only = rows_of(await browser.open("/me/history?field=name"))
    assert sorted(only) == sorted(rows)


async def test_a_withdrawn_consent_stops_everything_at_once(house: House) -> None:
    """Userinfo, introspection and refresh end; the site is told; next time it asks as if for the first (catalogue 137)."""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(
        forum, user_name="ana", share=("name", "offline_access"),
        url=forum.request_url(scope="openid profile offline_access", prompt="consent"),
    )  # fmt: skip
    assert isinstance(end, Arrival)
    tokens = await forum.redeem(end)
    assert (await forum.userinfo(tokens["access_token"])).status_code == 200
    await browser.open("/me/sites")
    gone = await browser.press("Disconnect Forum")
    assert isinstance(gone, Shown)
    assert "You have not used any site yet." in gone.text
    assert (await forum.userinfo(tokens["access_token"])).status_code == 401
    assert (await forum.introspect(tokens["access_token"]))["active"] is False
    assert (await forum.refresh(tokens["refresh_token"])).status_code == 400
    asked = await browser.open(forum.request_url())
    assert "Share these with Forum?" in asked.headings
    assert [delivery.client for delivery in deliveries(house)] == ["forum"]


async def test_disconnecting_one_site_leaves_the_other(house: House) -> None:
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    await browser.sign_up(forum, user_name="ana")
    await browser.open(wiki.request_url())
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)
    token = (await wiki.redeem(end))["access_token"]
    await browser.open("/me/sites")
    await browser.press("Disconnect Forum")
    assert (await wiki.userinfo(token)).status_code == 200
    await browser.arrive(wiki)


# --- devices, news ------------------------------------------------------------------------------------


async def test_another_device_can_be_signed_out(house: House) -> None:
    """(catalogue 110)"""
    here, there = house.browser(), house.browser()
    there.headers = {**there.headers, "User-Agent": "Mozilla/5.0 (Linux; Android 15) Firefox/140.0"}
    await here.sign_up(user_name="ana")
    await there.sign_in()
    shown = await here.open("/me/devices")
    assert "Firefox on Android" in shown.text
    assert "TestBrowser" not in shown.text
    form = next(f for f in shown.forms if any("Firefox on Android" in b.text for b in f.buttons))
    ended = await here.submit("post", f"https://login.test{form.action}", form.fields)
    assert isinstance(ended, Shown)
    assert (await there.open("/me")).path.endswith("/sign-in")
    assert (await here.open("/me")).path == "/me"


async def test_all_other_devices_can_be_signed_out(house: House) -> None:
    """(catalogue 110)"""
    browsers = [house.browser() for _ in range(3)]
    await browsers[0].sign_up(user_name="ana")
    for other in browsers[1:]:
        await other.sign_in()
    await browsers[0].open("/me/devices")
    await browsers[0].press("Sign out all others")
    assert (await browsers[0].open("/me")).path == "/me"
    for other in browsers[1:]:
        assert (await other.open("/me")).path.endswith("/sign-in")


async def test_this_device_can_sign_itself_out(house: House) -> None:
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await browser.open("/me/devices")
    shown = await browser.press("Sign out here")
    assert isinstance(shown, Shown)
    assert shown.path == "/signed-out"
    assert (await browser.open("/me")).path.endswith("/sign-in")


async def test_what_a_list_is_called_and_when_it_comes_are_in_the_pages_language(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """Where a language is missing, English stands in and says that it is English."""
    english = DOORWARD_TOML.replace('{ en = "once a month", fr = "une fois par mois" }', '"once a month"')
    for doorward, said in (
        (DOORWARD_TOML, "<bdi>Nouvelles du club</bdi>, <bdi>une fois par mois</bdi>, par <bdi>The Club</bdi>"),
        (english, '<bdi>Nouvelles du club</bdi>, <bdi lang="en">once a month</bdi>, par <bdi>The Club</bdi>'),
    ):
        async with open_house(tmp_path, sandboxes, doorward=doorward) as house:
            browser = house.browser()
            await browser.sign_up(house.site("forum"), user_name="ana")
            assert said in (await browser.open("/me/news?lang=fr")).response.text


async def test_news_are_exactly_what_is_ticked(house: House) -> None:
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    assert (await only_account(house)).newsletters == ()
    await browser.open("/me/news")
    shown = await browser.press("Save my choice", tick=("club",))
    assert isinstance(shown, Shown)
    assert (await only_account(house)).newsletters == ("club",)
    assert shown.value("newsletter") == "club"
    await browser.press("Save my choice", untick=("club",))
    assert (await only_account(house)).newsletters == ()


async def test_every_tab_of_my_account_opens(house: House) -> None:
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(forum, user_name="ana", share=("name",))
    tabs = ("", "/details", "/ways", "/sites", "/history", "/devices", "/posting", "/news", "/close")
    for tab in tabs:
        shown = await browser.open(f"/me{tab}")
        assert (shown.status, shown.path) == (200, f"/me{tab}")
        assert "You are signed in as Ana Marković." in shown.text
        assert shown.response.headers["cache-control"] == "no-store"


async def test_who_is_signed_out_comes_back_to_the_page_they_wanted(house: House) -> None:
    await house.browser().sign_up(user_name="ana")
    browser = house.browser()
    shown = await browser.open("/me/sites")
    assert shown.path.endswith("/sign-in")
    back = await browser.choose()
    assert isinstance(back, Shown)
    assert back.path == "/me/sites"


# --- closing ------------------------------------------------------------------------------------------


async def test_closing_ends_everything_and_the_site_hears_it(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Profile, ways, tokens, sessions: gone; a logout token for each session; neither subject nor user name ever again
    (catalogue 105, 110, 130).
    """
    with listening() as ear:
        async with open_house(tmp_path, sandboxes, doorward=ear.doorward, sites=ear.sites) as house:
            forum, here, there = house.site("forum"), house.browser(), house.browser()
            first = await here.sign_up(forum, user_name="ana", share=("name", "email"))
            second = await there.sign_in(forum)
            assert isinstance(first, Arrival)
            assert isinstance(second, Arrival)
            tokens = [await forum.redeem(first), await forum.redeem(second)]
            subject = peek(tokens[0]["id_token"])["sub"]
            shown = await here.open("/me/close")
            for words in ("This cannot be undone.", "Forum", "names of fields and dates"):
                assert words in shown.text
            closed = await here.press("decision=close")
            assert isinstance(closed, Shown)
            assert closed.status == 200
            assert "Ana" not in closed.text
            for one in tokens:
                assert (await forum.userinfo(one["access_token"])).status_code == 401
                assert (await forum.introspect(one["access_token"]))["active"] is False
            assert not [name for name in here.cookies if "session" in name]
            for browser in (here, there):
                assert (await browser.open("/me")).path.endswith("/sign-in")
            told = await ear.tokens(house, 2)
            assert {one["sub"] for one in told} == {subject}
            assert {one["sid"] for one in told} == {peek(one["id_token"])["sid"] for one in tokens}
            assert await house.accounts() == 0
            again = house.browser()
            await again.open(forum.request_url())
            await again.choose()
            await again.press("decision=continue")
            taken = await again.press("decision=create", fill={"preferred_username": "Ana"})
            assert isinstance(taken, Shown)
            assert (taken.status, taken.response.request.method) == (200, "GET")
            await again.press("decision=create", fill={"preferred_username": "ana-again"})
            end = await again.press("decision=share")
            assert isinstance(end, Arrival)
            assert peek((await forum.redeem(end))["id_token"])["sub"] != subject


async def test_what_another_tab_still_shows_is_refused_after_closing(house: House) -> None:
    """Consent, correction, removal, sign-out of a device and an unfinished sign-in: all of them (catalogue 130)."""
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    end = await browser.sign_up(
        forum, user_name="ana", share=("offline_access",),
        url=forum.request_url(scope="openid profile offline_access", prompt="consent"),
    )  # fmt: skip
    assert isinstance(end, Arrival)
    tokens = await forum.redeem(end)
    code = await browser.arrive(forum, scope="openid profile")
    pages = {name: await browser.open(f"/me/{name}") for name in ("details", "sites", "news", "ways")}
    share = await browser.open(wiki.request_url())
    cookies = {one.name: one.value for one in browser.jar.jar}
    await browser.open("/me/close")
    await browser.press("decision=close")
    for name, value in cookies.items():
        browser.jar.set(name, value or "", domain="login.test", path="/")
    browser.shown = share
    refused = await browser.press("decision=share")
    assert isinstance(refused, Shown)
    assert refused.status >= 400
    for shown in pages.values():
        for form in shown.forms:
            if form.method != "post" or not form.action.startswith("/me/"):
                continue
            fields = [*form.fields, *[(b.name, b.value) for b in form.buttons[:1] if b.name]]
            answer = await browser.submit("post", f"https://login.test{form.action}", fields)
            assert isinstance(answer, Shown)
            assert answer.status in {401, 403}, form.action
    assert (await forum.refresh(tokens["refresh_token"])).status_code == 400
    assert (await forum.token(code)).status_code == 400
    assert (await forum.userinfo(tokens["access_token"])).status_code == 401
    assert await house.accounts() == 0


async def only_account(house: House) -> Any:
    (account,) = house.world.durable.tables.accounts.values()  # type: ignore[attr-defined]
    return account


def deliveries(house: House) -> list[Any]:
    return list(house.world.durable.tables.deliveries.values())  # type: ignore[attr-defined]
