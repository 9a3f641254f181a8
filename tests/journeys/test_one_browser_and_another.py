"""Tabs, the back button, second clicks, slow people, and somebody else's browser."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from tests.support.house import ISSUER, Arrival, Browser, House, Shown, peek


def callback_of(browser: Browser) -> str:
    """The address the provider sent this browser back to, last."""
    callbacks = [str(answer.url) for answer in browser.history if "/callback/" in str(answer.url)]
    return callbacks[-1]


async def stolen(browser: Browser, house: House, url: str, persona: str = "normal") -> str:
    """The callback address of an attempt that this browser began, not opened by it."""
    await browser.open(url)
    await house.facebook.order(persona=persona)
    form, pressed = browser.page.find("provider=facebook")
    same = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
    fields = [*form.fields, (pressed.name, pressed.value)]
    answer = await browser.send("POST", urljoin(ISSUER, form.action), data=fields, headers=same)
    there = answer.headers["refresh"].partition("url=")[2]
    for _ in range(10):
        if there.startswith(f"{ISSUER}/callback/facebook?"):
            return there.partition("#")[0]
        answer = await browser.send("GET", there)
        if answer.is_redirect:
            there = urljoin(there, answer.headers["location"])
            continue
        form, pressed = Shown.read(answer).find("Continue")
        fields = [*form.fields, (pressed.name, pressed.value)]
        fields += [(name, value) for name, values in form.boxes.items() for value in values if name == "permission"]
        answer = await browser.send("POST", urljoin(there, form.action), data=fields)
        there = urljoin(there, answer.headers["location"])
    raise AssertionError(there)


# --- tabs ---------------------------------------------------------------------------------------------


async def test_two_tabs_with_two_providers_finish_each_for_its_own_site(house: House) -> None:
    """Interleaved, and no cross-talk of client, state or what was sent (catalogue 107)."""
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    one = await browser.open(forum.request_url(state="tab-one"))
    two = await browser.open(wiki.request_url(state="tab-two"))
    await house.openid.order(persona="lucas")
    there_two = await browser.press("provider=openid")
    browser.shown = one
    await house.facebook.order(persona="jonas")
    there_one = await browser.press("provider=facebook")
    assert isinstance(there_one, Shown)
    assert isinstance(there_two, Shown)
    browser.shown = there_two
    two_details = await browser.agree_upstream(there_two)
    browser.shown = there_one
    one_details = await browser.agree_upstream(there_one)
    assert isinstance(one_details, Shown)
    assert isinstance(two_details, Shown)
    assert ("Jonas Weber" in one_details.text, "Lucas Moreau" in one_details.text) == (True, False)
    assert ("Jonas Weber" in two_details.text, "Lucas Moreau" in two_details.text) == (False, True)
    arrivals = []
    for details, name in ((two_details, "lucas"), (one_details, "jonas")):
        browser.shown = details
        await browser.press("decision=continue")
        await browser.press("decision=create", fill={"preferred_username": name})
        end = await browser.press("decision=share")
        assert isinstance(end, Arrival)
        site = wiki if name == "lucas" else forum
        claims = await site.claims((await site.redeem(end))["access_token"])
        assert claims["preferred_username"] == name
        arrivals.append(end)
    to_wiki, to_forum = arrivals
    assert (to_wiki.url.partition("?")[0], to_wiki.params["state"]) == ("https://wiki.test/callback", "tab-two")
    assert (to_forum.url.partition("?")[0], to_forum.params["state"]) == ("https://forum.test/callback", "tab-one")
    assert two.path != one.path


async def test_what_one_person_was_shown_decides_nothing_for_another(house: House) -> None:
    """The other tab signed somebody else in while this one asked: asked again, as who is here now (catalogue 134)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(user_name="ana")
    asked = await browser.open(forum.request_url())
    assert "Ana Marković" in asked.text
    await browser.open(house.site("wiki").request_url(prompt="login"))
    await browser.choose("openid", "lucas")
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "lucas"})
    browser.shown = asked
    shown = await browser.press("decision=share", tick=("name", "email"))
    assert isinstance(shown, Shown)
    assert shown.status == 409
    assert "Lucas Moreau" in shown.text
    assert "Ana" not in shown.text
    receipts = house.world.durable.tables.receipts.values()  # type: ignore[attr-defined]
    assert not [receipt for receipt in receipts if receipt.counterparty == "forum"]


async def test_the_fifth_tab_drops_the_oldest_and_says_so_kindly(house: House) -> None:
    """At most four transactions in a browser; the oldest can be started again (decision 4; catalogue 109)."""
    forum, browser = house.site("forum"), house.browser()
    pages = []
    for _ in range(5):
        pages.append(await browser.open(forum.request_url()))
        house.clock.move(seconds=1)
    names = [name for name in browser.cookies if "_tx_" in name]
    assert len(names) == 4
    again = await browser.open(pages[0].url)
    assert again.status == 410
    assert "This sign-in is not open in this browser" in again.headings
    assert ("Start again", "/sign-in") in again.links
    for page in pages[1:]:
        assert (await browser.open(page.url)).status == 200


async def test_what_is_over_makes_room_for_what_is_not(house: House) -> None:
    """Finished tabs are forgotten before a waiting one is."""
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(forum, user_name="ana")
    waiting = await browser.open(forum.request_url(prompt="login"))
    for _ in range(6):
        house.clock.move(seconds=1)
        await browser.open(forum.request_url(prompt="login", state="done"))
        end = await browser.press("Cancel and go back")
        assert isinstance(end, Arrival)
    assert (await browser.open(waiting.url)).status == 200


# --- back and again -----------------------------------------------------------------------------------


async def test_the_back_button_after_the_callback_leads_to_where_one_is(house: House) -> None:
    """The same callback twice is neutral: same page, nothing lost (catalogue 34, 177)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    await browser.choose()
    callback = callback_of(browser)
    again = await browser.open(callback)
    assert again.path.endswith("/details")
    assert "Ana Marković" in again.text
    await browser.press("decision=continue", tick=("picture",))
    again = await browser.open(callback)
    assert again.path.endswith("/finish")
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    again = await browser.open(callback)
    assert again.path.endswith("/site")
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)
    over = await browser.open(callback)
    assert over.status == 409
    assert "You already did this step" in over.headings
    assert ("Continue to Forum", "https://forum.test") in over.links
    assert await house.accounts() == 1
    assert len(house.world.memory.sessions.rows) == 1  # type: ignore[attr-defined]


async def test_every_page_of_a_finished_sign_in_says_that_it_is_done(house: House) -> None:
    """Not that it took too long (catalogue 177)."""
    forum, browser = house.site("forum"), house.browser()
    chooser = await browser.open(forum.request_url())
    await browser.choose()
    await browser.press("decision=continue")
    share = await browser.press("decision=create", fill={"preferred_username": "ana"})
    assert isinstance(share, Shown)
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)
    base = chooser.url.rpartition("/")[0]
    for step in ("continue", "sign-in", "details", "finish", "policy", "site"):
        shown = await browser.open(f"{base}/{step}")
        assert (shown.status, shown.headings[0]) == (409, "You already did this step"), step
        assert "Reference:" in shown.text
    browser.shown = share
    posted = await browser.press("decision=share")
    assert isinstance(posted, Shown)
    assert posted.status == 409


async def test_a_second_click_changes_nothing(house: House) -> None:
    """On each page: what the first click did stands, and the person goes on (catalogue 177)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    details = await browser.choose()
    await browser.press("decision=continue", tick=("picture", "given_name"))
    assert isinstance(details, Shown)
    browser.shown = details
    finish = await browser.press("decision=continue")
    assert isinstance(finish, Shown)
    assert finish.path.endswith("/finish")
    for kept in ("Ana Marković", "ana.markovic@people.test", "First name"):
        assert kept in finish.text
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    browser.shown = finish
    again = await browser.press("decision=create", fill={"preferred_username": "ana-two"})
    assert isinstance(again, Shown)
    assert again.status in {200, 409}
    assert await house.accounts() == 1


async def test_the_wiki_page_of_a_second_tab_is_bound_to_what_it_showed(house: House) -> None:
    """A form of one transaction is refused in another (catalogue 97, 98)."""
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    await browser.sign_up(forum, user_name="ana")
    one, two = await browser.open(wiki.request_url()), await browser.open(wiki.request_url())
    token = one.value("csrf")
    fields = [("csrf", token), ("shown", two.value("shown")), ("decision", "share")]
    refused = await browser.submit("post", two.url, fields)
    assert isinstance(refused, Shown)
    assert refused.status == 403


# --- somebody else's browser --------------------------------------------------------------------------


async def test_a_stolen_callback_address_signs_nobody_in(house: House) -> None:
    """The victim opens the attacker's valid answer, or the other way round: refused, and kept nowhere
    (catalogue 33, 98).
    """
    forum = house.site("forum")
    await house.browser().sign_up(forum, user_name="ana")
    attacker, victim = house.browser(), house.browser()
    address = await stolen(attacker, house, forum.request_url())
    await victim.open(forum.request_url())
    shown = await victim.open(address)
    assert shown.status == 403
    assert "We could not be sure this sign-in was yours" in shown.headings
    assert "Reference:" in shown.text
    assert not [name for name in victim.cookies if name.endswith("_session")]
    mine = await attacker.go(address)
    assert isinstance(mine, Arrival)
    assert "code" in mine.params


async def test_a_stolen_callback_in_a_browser_that_is_signed_in_changes_nothing(house: House) -> None:
    """No link, no session, no other person (catalogue 33)."""
    forum = house.site("forum")
    victim, attacker = house.browser(), house.browser()
    await victim.sign_up(forum, user_name="ana")
    before = victim.cookies
    address = await stolen(attacker, house, "/sign-in")
    shown = await victim.open(address)
    assert shown.status == 403
    assert victim.cookies == before
    assert len(await house.world.durable.accounts.links(next(iter(house.world.durable.tables.accounts)))) == 1  # type: ignore[attr-defined]


async def test_a_browser_without_any_cookie_is_told_about_cookies(house: House) -> None:
    """One page, no loop (catalogue 108)."""
    forum = house.site("forum")
    address = await stolen(house.browser(), house, forum.request_url())
    shown = await house.browser().open(address)
    assert shown.status == 400
    assert "Your browser is blocking our cookie" in shown.headings


async def test_a_browser_that_blocks_cookies_sees_one_page_after_one_redirect(house: House) -> None:
    """(catalogue 108)"""
    forum, browser = house.site("forum"), house.browser()
    first = await browser.send("GET", forum.request_url())
    assert first.status_code == 303
    browser.jar.clear()
    page = await browser.send("GET", f"{ISSUER}{first.headers['location']}")
    assert page.status_code == 400
    assert "Your browser is blocking our cookie" in page.text
    assert "It is not for ads." in page.text
    assert "location" not in page.headers


@pytest.mark.parametrize("step", ["sign-in", "details", "finish", "site", "policy", "continue"])
async def test_pages_of_another_browsers_sign_in_do_not_open(house: House, step: str) -> None:
    """Its id is worth nothing without its cookie (catalogue 98)."""
    forum, mine, theirs = house.site("forum"), house.browser(), house.browser()
    await mine.sign_up(forum, user_name="ana")
    await theirs.open(forum.request_url())
    await theirs.choose("facebook", "jonas")
    identifier = theirs.page.path.split("/")[2]
    shown = await mine.open(f"/f/{identifier}/{step}")
    assert shown.status == 410
    assert "Jonas" not in shown.text


async def test_a_cookie_of_one_transaction_opens_no_other(house: House) -> None:
    """Cookies cannot be mixed, not even in one browser (catalogue 98)."""
    forum, browser = house.site("forum"), house.browser()
    one, two = await browser.open(forum.request_url()), await browser.open(forum.request_url())
    ids = [page.path.split("/")[2] for page in (one, two)]
    values = {name: value for name, value in browser.cookies.items() if "_tx_" in name}
    swapped = {name: value for name, value in zip(values, reversed(values.values()), strict=True)}
    cookie = "; ".join(f"{name}={value}" for name, value in swapped.items())
    async with house.client() as client:
        for identifier in ids:
            answer = await client.get(f"/f/{identifier}/sign-in", headers={"cookie": cookie})
            assert answer.status_code == 410


# --- the wrong answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"state": None}, 403),
        ({"state": ""}, 403),
        ({"state": "nonsense"}, 403),
        ({"state": "../../etc"}, 403),
        ({"state": "é.x"}, 403),
        ({"state": "x" * 5000}, 403),
    ],
)
async def test_an_answer_without_its_state_is_refused(house: House, change: dict[str, str | None], status: int) -> None:
    """Missing, empty or made up (catalogue 32)."""
    forum, browser = house.site("forum"), house.browser()
    address = await stolen(browser, house, forum.request_url())
    params = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    wrong = {name: value for name, value in (params | change).items() if value is not None}
    shown = await browser.open(f"/callback/facebook?{urlencode(wrong)}")
    assert shown.status == status
    assert await house.accounts() == 0


async def test_an_answer_with_a_parameter_twice_is_refused(house: House) -> None:
    """(catalogue 32)"""
    forum, browser = house.site("forum"), house.browser()
    address = await stolen(browser, house, forum.request_url())
    shown = await browser.open(f"{address}&state=second")
    assert shown.status == 400


async def test_an_answer_to_one_provider_is_not_taken_at_another(house: House) -> None:
    """(catalogue 35, 39)"""
    forum, browser = house.site("forum"), house.browser()
    address = await stolen(browser, house, forum.request_url())
    shown = await browser.open(address.replace("/callback/facebook", "/callback/openid"))
    assert shown.status == 403
    assert (await browser.open(address.replace("/callback/facebook", "/callback/nobody"))).status == 404
    end = await browser.open(address)
    assert end.path.endswith("/details")


# --- too slow -----------------------------------------------------------------------------------------


async def test_too_slow_at_the_provider_starts_again_at_the_site(house: House) -> None:
    """The page names the site that waits, and guesses none (catalogue 109)."""
    forum, browser = house.site("forum"), house.browser()
    address = await stolen(browser, house, forum.request_url())
    await house.move(minutes=31)
    shown = await browser.open(address)
    assert shown.status == 410
    assert "You took longer than 30 minutes" in shown.headings
    assert "Nothing was saved." in shown.text
    assert ("Start again", "https://forum.test") in shown.links
    assert "code" not in dict(shown.links).values()


async def test_too_slow_on_a_page_of_ours_starts_again_at_the_site(house: House) -> None:
    """What the provider sent is gone, opened or not (catalogue 109)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    details = await browser.choose()
    assert isinstance(details, Shown)
    await house.move(minutes=31)
    await house.world.memory.purge(house.clock.now())
    shown = await browser.press("decision=continue")
    assert isinstance(shown, Shown)
    assert shown.status == 410
    assert ("Start again", "https://forum.test") in shown.links
    assert "Ana" not in shown.text
    assert await house.accounts() == 0


async def test_an_unknown_transaction_guesses_no_site(house: House) -> None:
    """(catalogue 109)"""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    shown = await browser.open("/f/000000000unknown/details")
    assert shown.status == 410
    assert [url for text, url in shown.links if text == "Start again"] == ["/sign-in"]
    assert "forum" not in shown.response.text.lower()


# --- signing in anew as somebody else -----------------------------------------------------------------


async def test_a_stranger_who_signs_in_anew_is_not_taken_for_who_was_here(house: House) -> None:
    """A site asks for a fresh sign-in, and a new person answers: they sign up, and no code is given for the one whose
    session was open (catalogue 93, 129).
    """
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(forum, user_name="ana")
    await browser.open(forum.request_url(prompt="login"))
    shown = await browser.choose("openid", "lucas")
    assert isinstance(shown, Shown), shown
    assert shown.path.endswith("/details")
    assert "Lucas Moreau" in shown.text
    base = shown.path.rpartition("/")[0]
    assert not (await browser.open(f"{base}/site")).path.endswith("/site") or browser.page.status == 410
    assert (await browser.open(f"{base}/continue")).path.endswith("/details")
    await browser.press("decision=continue")
    share = await browser.press("decision=create", fill={"preferred_username": "lucas"})
    assert isinstance(share, Shown)
    assert "Lucas Moreau" in share.text
    assert await house.accounts() == 2


async def test_a_fresh_sign_in_that_was_asked_for_is_fresh(house: House) -> None:
    """The site's `prompt=login` is not satisfied by the session at hand, nor by going back to it."""
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(forum, user_name="ana")
    old = browser.cookies
    await house.move(minutes=30)
    shown = await browser.open(forum.request_url(prompt="login"))
    assert shown.path.endswith("/sign-in")
    base = shown.path.rpartition("/")[0]
    for step in ("continue", "site"):
        await browser.open(f"{base}/{step}")
        assert not browser.page.path.endswith("/callback")
    await browser.open(shown.url)
    end = await browser.choose()
    assert isinstance(end, Arrival)
    token = (await forum.redeem(end))["id_token"]
    assert peek(token)["auth_time"] >= int(house.clock.now().timestamp()) - 1
    session = next(name for name in old if name.endswith("_session"))
    assert browser.cookies[session] != old[session]


async def test_somebody_signed_in_can_choose_whom_to_be(house: House) -> None:
    """`prompt=select_account`: go on as who one is, or as another."""
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(forum, user_name="ana")
    shown = await browser.open(forum.request_url(prompt="select_account"))
    assert "You are signed in as Ana Marković." in shown.text
    end = await browser.press("use=current")
    assert isinstance(end, Arrival)
    await browser.open(forum.request_url(prompt="select_account"))
    others = await browser.press("use=another")
    assert isinstance(others, Shown)
    assert others.status == 200
    assert "You are signed in as" not in others.text
    shown_there = await browser.choose("openid", "lucas")
    assert isinstance(shown_there, Shown)
    assert shown_there.path.endswith("/details")
