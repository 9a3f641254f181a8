"""Session management: what a site's page may watch, off unless an admin switches it on."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tests.support.house import ISSUER, Arrival, Browser, House, Sandboxes, Shown, open_house

ON = {"session_management": True}
COOKIE = "__Host-doorward_state"


def stated(browser: Browser, client: str, origin: str, state: str) -> bool:
    """What the frame works out in the browser."""
    given, _, salt = state.partition(".")
    plain = f"{client} {origin} {browser.cookies.get(COOKIE, '')} {salt}"
    return hashlib.sha256(plain.encode()).hexdigest() == given


async def metadata(house: House) -> dict[str, object]:
    async with house.client() as client:
        return dict((await client.get("/.well-known/openid-configuration")).json())


async def test_it_is_off_unless_it_is_switched_on(house: House) -> None:
    """No frame, no cookie, no parameter, no word of it (catalogue 103)."""
    assert "check_session_iframe" not in await metadata(house)
    browser = house.browser()
    arrived = await browser.sign_up(house.site("forum"), user_name="ana")
    assert isinstance(arrived, Arrival)
    assert set(arrived.params) == {"code", "state", "iss"}
    assert COOKIE not in browser.cookies
    assert (await browser.open("/session/check")).status == 404
    assert "_state" not in (await browser.open("/cookies")).text


async def test_a_site_can_tell_that_the_session_is_another(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The same for as long as somebody is signed in, at each site for itself; another once they signed out."""
    async with open_house(tmp_path, sandboxes, change=ON) as house:
        assert (await metadata(house))["check_session_iframe"] == f"{ISSUER}/session/check"
        browser, forum, wiki = house.browser(), house.site("forum"), house.site("wiki")
        first = await browser.sign_up(forum, user_name="ana")
        assert isinstance(first, Arrival)
        await browser.open(wiki.request_url())
        second = await browser.press("decision=share")
        assert isinstance(second, Arrival)
        again = await browser.arrive(forum)
        states = [one.params["session_state"] for one in (first, second, again)]
        assert len(set(states)) == 3, "each with a salt of its own"
        watched = (
            ("forum", "https://forum.test", states[0]),
            ("wiki", "https://wiki.test", states[1]),
            ("forum", "https://forum.test", states[2]),
        )
        assert all(stated(browser, *one) for one in watched)
        assert not stated(browser, "wiki", "https://wiki.test", states[0])
        await browser.open("/signout")
        await browser.press("what=everything")
        assert COOKIE not in browser.cookies
        assert not any(stated(browser, *one) for one in watched)
        await browser.sign_in(forum)
        assert browser.cookies[COOKIE]
        assert not any(stated(browser, *one) for one in watched), "a new session is another one"


async def test_the_cookie_can_do_nothing_but_be_compared(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Readable by a script and inside other sites' pages, which no other cookie of ours is; so it opens nothing
    (catalogue 103, decision 5).
    """
    async with open_house(tmp_path, sandboxes, change=ON) as house:
        browser = house.browser()
        await browser.sign_up(house.site("forum"), user_name="ana")
        [line] = [
            line
            for answer in browser.history
            for line in answer.headers.get_list("set-cookie")
            if line.startswith(COOKIE)
        ]
        assert re.fullmatch(rf"{COOKIE}=[0-9a-f]{{32}}; Path=/; SameSite=none; Secure", line)
        others = [
            one
            for answer in browser.history
            for one in answer.headers.get_list("set-cookie")
            if not one.startswith(COOKIE)
        ]
        assert all("HttpOnly" in one and "SameSite=lax" in one for one in others)
        value = browser.cookies[COOKIE]
        session = next(one.sid for one in house.world.memory.sessions.rows.values())  # type: ignore[attr-defined]
        assert session not in value
        browser.jar.clear()
        browser.jar.set(COOKIE, value, domain="login.test", path="/")
        assert (await browser.open("/me")).path.endswith("/sign-in")
        words = (await browser.open("/cookies")).text
        assert COOKIE in words
        assert "lets sites you signed in to notice that you signed out" in words


async def test_only_the_sites_we_know_may_hold_the_frame(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """It shows nothing, runs one script of ours and names no site; every other page still refuses all frames."""
    async with open_house(tmp_path, sandboxes, change=ON) as house:
        browser = house.browser()
        shown = await browser.open("/session/check")
        headers = shown.response.headers
        assert headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors https://forum.test https://tracker.test https://wiki.test"
        )
        assert "x-frame-options" not in headers
        assert headers["cache-control"] == "no-store"
        assert "forum" not in shown.response.text
        script = re.search(r'<script src="(/static/session\.[0-9a-f]+\.js)" defer>', shown.response.text)
        assert script is not None
        assert (await browser.send("GET", ISSUER + script[1])).status_code == 200
        other = await browser.open("/cookies")
        assert other.response.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in other.response.headers["content-security-policy"]


async def test_another_way_to_end_a_session_here_ends_the_state_too(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with open_house(tmp_path, sandboxes, change=ON) as house:
        browser = house.browser()
        await browser.sign_up(house.site("forum"), user_name="ana")
        closing = await browser.open("/me/close")
        assert isinstance(closing, Shown)
        await browser.press("Close my account")
        assert COOKIE not in browser.cookies


async def test_a_posted_answer_has_it_too(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with open_house(tmp_path, sandboxes, change=ON) as house:
        browser = house.browser()
        await browser.sign_up(house.site("forum"), user_name="ana")
        page = await browser.go(house.site("forum").request_url(response_mode="form_post"))
        assert isinstance(page, Shown)
        assert 'name="session_state"' in page.response.text
