"""Signing out: of one site, of everything, asked by the person or by a site."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.journeys.ear import listening
from tests.support.house import ISSUER, SITES_TOML, Arrival, Browser, House, Sandboxes, Shown, open_house, peek


from broker.domain.ports import Delivery
from broker.domain.values import ClientId
from broker.web.sign_out import MOST


async def signed_in_at_both(house: House) -> tuple[Browser, dict[str, str], dict[str, str]]:
    """Somebody at forum and wiki, and what the two sites hold."""
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    first = await browser.sign_up(forum, user_name="ana", share=("name",))
    assert isinstance(first, Arrival)
    await browser.open(wiki.request_url())
    second = await browser.press("decision=share")
    assert isinstance(second, Arrival)
    return browser, await forum.redeem(first), await wiki.redeem(second)


def end_session(**params: str) -> str:
    return f"/end-session?{urlencode(params)}"


async def test_one_can_sign_out_of_one_site_and_stay_at_the_other(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Its tokens end, it alone is told, and the session goes on (catalogue 105)."""
    with listening() as ear:
        async with open_house(tmp_path, sandboxes, doorward=ear.doorward, sites=ear.sites) as house:
            browser, forum_has, wiki_has = await signed_in_at_both(house)
            shown = await browser.open("/signout")
            buttons = {b.value: b.text for f in shown.forms for b in f.buttons}
            assert set(buttons) == {"forum", "wiki", "everything"}
            assert "2 sites" in buttons["everything"]
            after = await browser.press("what=forum")
            assert isinstance(after, Shown)
            assert "You are signed out of Forum" in after.headings
            assert after.title.startswith("You are signed out of Forum")
            assert "Club Login: still signed in" in after.text
            assert "Forum: told, no answer yet" in after.text
            assert (await house.site("forum").userinfo(forum_has["access_token"])).status_code == 401
            assert (await house.site("wiki").userinfo(wiki_has["access_token"])).status_code == 200
            (told,) = await ear.tokens(house, 1)
            assert told["sid"] == peek(forum_has["id_token"])["sid"]
            assert told["sub"] == peek(forum_has["id_token"])["sub"]
            await browser.arrive(house.site("wiki"))


async def test_one_can_sign_out_of_everything(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Session, tokens, cookies and cache end; sites are told, and who cannot be told is named (catalogue 105, 106)."""
    with listening() as ear:
        async with open_house(tmp_path, sandboxes, doorward=ear.doorward, sites=ear.sites) as house:
            browser, forum_has, wiki_has = await signed_in_at_both(house)
            await browser.open("/signout")
            after = await browser.press("what=everything")
            assert isinstance(after, Shown)
            assert "You are signed out" in after.headings
            assert "Wiki: can't be told" in after.text
            assert "You are still signed in at Facebook." in after.text
            cleared = [one.headers.get("clear-site-data") for one in browser.history]
            assert '"cache"' in cleared
            assert after.path.startswith("/signed-out")
            assert not [name for name in browser.cookies if name.endswith("_session") or "_tx_" in name]
            for site, held in (("forum", forum_has), ("wiki", wiki_has)):
                assert (await house.site(site).userinfo(held["access_token"])).status_code == 401
            assert len(await ear.tokens(house, 1)) == 1
            assert (await browser.open("/me")).path.endswith("/sign-in")
            silent = await browser.go(house.site("wiki").request_url(prompt="none"))
            assert isinstance(silent, Arrival)
            assert silent.params["error"] == "login_required"


async def test_the_page_says_anew_who_has_confirmed_when_it_is_loaded_again(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """Without a script and without the session: its address knows which sign-out it is about (catalogue 105)."""
    with listening() as ear:
        async with open_house(tmp_path, sandboxes, doorward=ear.doorward, sites=ear.sites) as house:
            browser, _, _ = await signed_in_at_both(house)
            await browser.open("/signout")
            after = await browser.press("what=everything")
            assert isinstance(after, Shown)
            again = dict(after.links)["Look again who has answered"]
            assert "Forum: told, no answer yet" in (await browser.open(again)).text
            ear.answers = [503]
            await house.opened.deliverer.once()
            late = await browser.open(again)
            assert "Forum: did not answer. We try again at" in late.text
            house.clock.move(seconds=3)
            await ear.tokens(house, 2)
            done = await browser.open(again)
            assert "Forum: signed out" in done.text
            assert "Look again who has answered" not in dict(done.links)
            assert "Wiki: can't be told" in done.text
            assert "You are still signed in at Facebook." in done.text
            house.clock.move(minutes=31)
            old = await browser.open(again)
            assert "You are signed out" in old.headings
            assert "Forum" not in old.text


async def test_a_site_that_never_confirms_is_said_so(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """What was given up is not shown as signed out (catalogue 105)."""
    with listening() as ear:
        async with open_house(tmp_path, sandboxes, doorward=ear.doorward, sites=ear.sites) as house:
            browser, _, _ = await signed_in_at_both(house)
            await browser.open("/signout")
            after = await browser.press("what=everything")
            assert isinstance(after, Shown)
            [waiting] = pending(house)
            await house.world.durable.outbox.give_up(waiting.id, "status 404")
            shown = await browser.open(after.url)
            assert "Forum: could not be told. Sign out there too" in shown.text


def pending(house: House) -> list[Delivery]:
    return list(house.world.durable.tables.deliveries.values())  # type: ignore[attr-defined]


async def test_the_pages_address_tells_nobody_anything_and_cannot_be_made_up(house: House) -> None:
    """No name, account or session is readable in it, and what we did not seal for it is worth nothing (catalogue 105)."""
    browser, forum_has, _ = await signed_in_at_both(house)
    await browser.open("/signout")
    after = await browser.press("what=everything")
    assert isinstance(after, Shown)
    query = urlsplit(after.url).query
    for word in ("forum", "facebook", peek(forum_has["id_token"])["sid"], peek(forum_has["id_token"])["sub"]):
        assert word not in query.lower()
    forged = house.world.box.seal_text("[]", "end-session request")
    for seen in ("", "x", forged, "A" * 8 + query.partition("=")[2][8:]):
        shown = await browser.open(f"/signed-out?seen={seen}")
        assert (shown.status, "Forum" in shown.text) == (200, False)


async def test_what_was_signed_out_of_is_told_in_the_language_that_is_chosen_there(house: House) -> None:
    browser, _, _ = await signed_in_at_both(house)
    await browser.open("/signout")
    after = await browser.press("what=everything")
    assert isinstance(after, Shown)
    shown = await browser.open(dict(after.links)["Français"])
    assert (shown.url, '<html lang="fr"' in shown.response.text) == (after.url, True)
    assert "Forum" in shown.text


async def test_who_is_signed_in_is_never_told_that_they_are_not(house: House) -> None:
    """Without a sign-out to speak of, the page leads to the one that asks what to sign out of."""
    browser, _, _ = await signed_in_at_both(house)
    shown = await browser.open("/signed-out")
    assert shown.path == "/signout"
    assert "You are signed out" not in shown.headings


# --- told by the browser ------------------------------------------------------------------------------

FRAME = 'frontchannel_logout_uri = "https://wiki.test/out?from=us"'
FRAMED = SITES_TOML.replace('signing_algorithm = "ES256"', f'signing_algorithm = "ES256"\n{FRAME}')


def frame_sources(shown: Shown) -> list[str]:
    return [unescape(found) for found in re.findall(r'<iframe src="([^"]*)"', shown.response.text)]


def policy_of(shown: Shown) -> dict[str, str]:
    parts = [part.strip().partition(" ") for part in shown.response.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in parts}


async def test_a_site_with_a_front_channel_address_is_called_in_a_frame(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """With issuer and its own name for the session; this page alone may hold a frame, of that origin alone (catalogue 104)."""
    async with open_house(tmp_path, sandboxes, sites=FRAMED) as house:
        browser, _, wiki_has = await signed_in_at_both(house)
        asked = await browser.open("/signout")
        assert "frame-src" not in policy_of(asked)
        after = await browser.press("what=everything")
        assert isinstance(after, Shown)
        sid = peek(wiki_has["id_token"])["sid"]
        [address] = frame_sources(after)
        assert parse_qs(urlsplit(address).query) == {"from": ["us"], "iss": [ISSUER], "sid": [sid]}
        assert address.startswith("https://wiki.test/out?")
        assert policy_of(after)["frame-src"] == "https://wiki.test"
        assert policy_of(after)["frame-ancestors"] == "'none'"
        assert "Wiki: your browser tells it from this page. To be sure, look there" in after.text
        assert "refresh" not in after.response.headers
        assert not frame_sources(await browser.open("/signed-out"))
        assert "frame-src" not in policy_of(browser.page)


async def test_a_site_that_wants_no_session_is_called_without(tmp_path: Path, sandboxes: Sandboxes) -> None:
    plain = FRAMED.replace(FRAME, f"{FRAME}\nfrontchannel_logout_session_required = false")
    async with open_house(tmp_path, sandboxes, sites=plain) as house:
        browser, _, _ = await signed_in_at_both(house)
        await browser.open("/signout")
        after = await browser.press("what=wiki")
        assert isinstance(after, Shown)
        assert frame_sources(after) == ["https://wiki.test/out?from=us"]
        assert "Club Login: still signed in" in after.text


async def test_only_the_sites_that_were_left_are_called(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Neither one that was not signed in to, nor one that the person stays at (catalogue 104)."""
    async with open_house(tmp_path, sandboxes, sites=FRAMED) as house:
        browser, _, _ = await signed_in_at_both(house)
        await browser.open("/signout")
        after = await browser.press("what=forum")
        assert isinstance(after, Shown)
        assert frame_sources(after) == []
        assert "frame-src" not in policy_of(after)


async def test_frames_get_their_time_before_the_way_back_is_taken(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The site's registered address follows after a moment, and by a link for who does not want to wait (catalogue 100)."""
    async with open_house(tmp_path, sandboxes, sites=FRAMED) as house:
        browser, forum_has, _ = await signed_in_at_both(house)
        await browser.open(
            end_session(
                id_token_hint=forum_has["id_token"], post_logout_redirect_uri="https://forum.test/bye", state="s"
            )
        )
        token = browser.page.value("csrf")
        request = browser.page.value("request")
        answer = await browser.send(
            "POST",
            f"{ISSUER}/signout",
            data=[("csrf", token), ("request", request), ("what", "everything")],
            headers={"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"},
        )
        assert answer.status_code == 303
        page = await browser.send("GET", ISSUER + answer.headers["location"])
        assert page.headers["refresh"] == "3; url=https://forum.test/bye?state=s"
        assert '<iframe src="https://wiki.test/out?' in page.text
        assert 'href="https://forum.test/bye?state=s"' in page.text


async def test_the_old_cookie_is_worth_nothing_after_signing_out(house: House) -> None:
    """(catalogue 93, 110)"""
    browser, _, _ = await signed_in_at_both(house)
    old = dict(browser.cookies)
    await browser.open("/signout")
    await browser.press("what=everything")
    for name, value in old.items():
        browser.jar.set(name, value, domain="login.test", path="/")
    assert (await browser.open("/me")).path.endswith("/sign-in")


async def test_the_back_button_after_signing_out_finds_nothing_kept(house: House) -> None:
    """No page with anybody's details may be stored, and the cache is cleared (catalogue 106)."""
    browser, _, _ = await signed_in_at_both(house)
    for path in ("/me", "/me/details", "/me/history", "/signout"):
        await browser.open(path)
    pages = [
        one
        for one in browser.history
        if str(one.url).startswith(ISSUER) and "html" in one.headers.get("content-type", "")
    ]
    assert len(pages) > 8
    assert {one.headers["cache-control"] for one in pages} == {"no-store"}


# --- asked by a site ----------------------------------------------------------------------------------


async def test_a_site_can_ask_and_gets_the_person_back(house: House) -> None:
    """Confirmed by the person, then on to the registered address with the site's state (catalogue 100)."""
    browser, forum_has, _ = await signed_in_at_both(house)
    url = end_session(
        id_token_hint=forum_has["id_token"], post_logout_redirect_uri="https://forum.test/bye", state="x" * 128
    )
    shown = await browser.open(url)
    assert "Forum asks to sign you out." in shown.text
    assert "You are signed in as Ana Marković." in shown.text
    assert next(b.value for f in shown.forms for b in f.buttons) == "forum"
    end = await browser.press("what=everything")
    assert isinstance(end, Arrival)
    assert end.url.partition("?")[0] == "https://forum.test/bye"
    assert end.params == {"state": "x" * 128}
    assert (await browser.open("/me")).path.endswith("/sign-in")


@pytest.mark.parametrize("hinted", [True, False])
async def test_a_link_alone_signs_nobody_out(house: House, hinted: bool) -> None:
    """Whatever it brings, the person is asked first (catalogue 101)."""
    browser, forum_has, _ = await signed_in_at_both(house)
    url = end_session(id_token_hint=forum_has["id_token"]) if hinted else "/end-session"
    shown = await browser.open(url)
    assert "Sign out of what?" in shown.headings
    assert (await browser.open("/me")).path == "/me"
    assert (await house.site("forum").userinfo(forum_has["access_token"])).status_code == 200


async def test_a_hint_of_somebody_else_signs_out_only_who_is_here_and_names_them(house: House) -> None:
    """(catalogue 102)"""
    _, forum_has, _ = await signed_in_at_both(house)
    other = house.browser()
    await other.sign_up(house.site("forum"), provider="openid", persona="lucas", user_name="lucas")
    shown = await other.open(end_session(id_token_hint=forum_has["id_token"]))
    assert "You are signed in as Lucas Moreau." in shown.text
    assert "Ana" not in shown.text
    assert (await house.site("forum").userinfo(forum_has["access_token"])).status_code == 200


@pytest.mark.parametrize(
    "params",
    [
        {"post_logout_redirect_uri": "https://evil.test/"},
        {"post_logout_redirect_uri": "https://forum.test/bye"},
        {"client_id": "forum", "post_logout_redirect_uri": "https://forum.test/bye?x=1"},
        {"client_id": "forum", "post_logout_redirect_uri": "https://forum.test/bye/"},
        {"client_id": "forum", "post_logout_redirect_uri": "https://forum.test/BYE"},
        {"client_id": "forum", "post_logout_redirect_uri": "https://wiki.test/bye"},
        {"client_id": "wiki", "post_logout_redirect_uri": "https://forum.test/bye"},
        {"client_id": "nobody", "post_logout_redirect_uri": "https://forum.test/bye"},
        {"client_id": "tracker", "post_logout_redirect_uri": "https://tracker.test/"},
        {"id_token_hint": "nonsense"},
        {"id_token_hint": "eyJhbGciOiJub25lIn0.eyJhdWQiOiJmb3J1bSJ9."},
        {"client_id": "wiki", "id_token_hint": "THEIRS"},
    ],
)
@pytest.mark.parametrize("is_signed_in", [True, False])
async def test_an_address_nobody_registered_is_never_gone_to(
    house: House, params: dict[str, str], is_signed_in: bool
) -> None:
    """Unregistered, with a query added, of another site, without or with a bad hint: a page (catalogue 100)."""
    browser, forum_has, _ = await signed_in_at_both(house)
    if not is_signed_in:
        browser = house.browser()
    if params.get("id_token_hint") == "THEIRS":
        params = {**params, "id_token_hint": forum_has["id_token"]}
    shown = await browser.go(end_session(**params))
    assert isinstance(shown, Shown)
    assert shown.status == 400
    assert "Reference:" in shown.text
    site = house.settings.clients.get(ClientId(params.get("client_id", "")))
    if site is not None and "id_token_hint" not in params:
        assert f"{site.name} sent us here the wrong way" in shown.text


async def test_a_repeated_parameter_is_refused(house: House) -> None:
    """(catalogue 100)"""
    shown = await house.browser().open(
        "/end-session?client_id=forum&post_logout_redirect_uri=https://forum.test/bye&client_id=wiki"
    )
    assert shown.status == 400


@pytest.mark.parametrize(
    ("params", "lands"),
    [
        ({"client_id": "forum", "post_logout_redirect_uri": "https://forum.test/bye"}, "https://forum.test/bye"),
        ({"client_id": "forum", "post_logout_redirect_uri": "https://forum.test/bye", "state": "s"},
         "https://forum.test/bye?state=s"),
        ({"client_id": "forum"}, None),
        ({"state": "only"}, None),
        ({}, None),
    ],
)  # fmt: skip
async def test_who_is_signed_out_already_is_sent_straight_back(
    house: House, params: dict[str, str], lands: str | None
) -> None:
    """(catalogue 100)"""
    end = await house.browser().go(end_session(**params))
    if lands is None:
        assert isinstance(end, Shown)
        assert "You are signed out" in end.headings
    else:
        assert isinstance(end, Arrival)
        assert end.url == lands


async def test_an_expired_token_still_says_which_site_asks(house: House) -> None:
    """(catalogue 100)"""
    browser, forum_has, _ = await signed_in_at_both(house)
    house.clock.move(hours=2)
    shown = await browser.open(
        end_session(id_token_hint=forum_has["id_token"], post_logout_redirect_uri="https://forum.test/bye")
    )
    assert "Forum asks to sign you out." in shown.text


async def test_a_posted_request_comes_back_as_our_own_page(house: House) -> None:
    """It arrives without our cookie; what it asked travels sealed, and the cookie joins it (decision 5)."""
    browser, forum_has, _ = await signed_in_at_both(house)
    body = {"id_token_hint": forum_has["id_token"], "post_logout_redirect_uri": "https://forum.test/bye", "state": "s"}
    async with house.client() as client:
        answer = await client.post("/end-session", data=body, headers={"Origin": "https://forum.test"})
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert set(parse_qs(urlsplit(location).query)) == {"sealed"}
    assert "forum" not in location
    shown = await browser.open(location)
    assert "Forum asks to sign you out." in shown.text
    end = await browser.press("what=forum")
    assert isinstance(end, Arrival)
    assert end.url == "https://forum.test/bye?state=s"


@pytest.mark.parametrize("name", list(MOST))
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_to_sign_out_holds_only_so_much(house: House, method: str, name: str) -> None:
    """All of it travels on in an address of ours: what is too long is refused in words (catalogue 17)."""
    browser, forum_has, _ = await signed_in_at_both(house)
    sent = {name: "x" * (MOST[name] + 1)}
    answer = (
        await browser.send("GET", ISSUER + end_session(**sent))
        if method == "GET"
        else await browser.send("POST", f"{ISSUER}/end-session", data=list(sent.items()))
    )
    assert answer.status_code == 400
    assert (
        "repeats something or is too long" in answer.text
        or "sent us here the wrong way" in answer.text
        or "We do not know the site" in answer.text
    )
    assert "location" not in answer.headers
    assert (await house.site("forum").userinfo(forum_has["access_token"])).status_code == 200


async def test_what_no_request_to_sign_out_has_goes_no_further(house: House) -> None:
    """The largest body that is read at all leaves a short address (catalogue 17)."""
    async with house.client() as client:
        answer = await client.post(
            "/end-session", data={"junk": "x" * 60_000, "client_id": "forum", "state": "s" * 1024}
        )
    assert answer.status_code == 303
    assert len(answer.headers["location"]) < 2000


async def test_what_the_form_carries_back_cannot_be_made_up(house: House) -> None:
    """The address to go to afterwards is checked again when it is used (catalogue 100, 101)."""
    browser, _, _ = await signed_in_at_both(house)
    shown = await browser.open("/signout")
    token = shown.value("csrf")
    forged = f"post_logout_redirect_uri={'https://evil.test/'}"
    for request in (forged, "AAAA", house.world.box.seal_text(forged, "authorization request")):
        after = await browser.submit(
            "post", f"{ISSUER}/signout", [("csrf", token), ("request", request), ("what", "forum")]
        )
        assert isinstance(after, Shown)
        assert after.status == 200
    sealed = house.world.box.seal_text(forged, "end-session request")
    after = await browser.submit("post", f"{ISSUER}/signout", [("csrf", token), ("request", sealed), ("what", "forum")])
    assert isinstance(after, Shown)
    assert after.status == 400


@pytest.mark.parametrize("what", ["", "nobody", "EVERYTHING"])
async def test_nothing_chosen_signs_nobody_out(house: House, what: str) -> None:
    browser, _, _ = await signed_in_at_both(house)
    shown = await browser.open("/signout")
    after = await browser.submit("post", f"{ISSUER}/signout", [("csrf", shown.value("csrf")), ("what", what)])
    assert isinstance(after, Shown)
    assert after.status == 400
    assert (await browser.open("/me")).path == "/me"


async def test_signing_out_when_nobody_is_signed_in_is_a_plain_page(house: House) -> None:
    browser = house.browser()
    for path in ("/signout", "/signed-out"):
        assert "You are signed out" in (await browser.open(path)).headings
