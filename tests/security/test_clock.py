"""The clock jumps: five minutes either way, an hour back, over the night when summer time ends. Nothing comes back to life."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.security.fuzz import FORM
from tests.security.raw import Asked, ask, lower
from tests.support.house import Arrival, House, HouseClock, Sandboxes, Shown, open_house

pytestmark = pytest.mark.usefixtures("quiet_log")


async def test_a_code_that_ended_stays_dead_when_the_clock_goes_back(house: House) -> None:
    """Presented too late, it is used up by that (catalogue 24, 165)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(forum, user_name="zoe-of-clocks")
    arrived = await browser.arrive(forum)
    house.clock.move(seconds=61)
    assert (await forum.token(arrived)).json()["error"] == "invalid_grant"
    house.clock.move(hours=-1)
    assert (await forum.token(arrived)).json()["error"] == "invalid_grant"


async def test_a_used_refresh_token_stays_used_when_the_clock_goes_back(house: House) -> None:
    """And so does its family (catalogue 89, 165)."""
    forum, browser = house.site("forum"), house.browser()
    arrived = await browser.sign_up(forum, user_name="zoe-of-clocks")
    assert isinstance(arrived, Arrival)
    first = (await forum.redeem(arrived))["refresh_token"]
    second = (await forum.refresh(first)).json()["refresh_token"]
    third = (await forum.refresh(second)).json()["refresh_token"]
    house.clock.move(hours=-1)
    assert (await forum.refresh(first)).status_code == 400
    assert (await forum.refresh(third)).status_code == 400


async def test_an_access_token_is_good_within_its_time_and_a_minute_of_doubt(house: House) -> None:
    """Ten minutes; and not before it was made, but for clocks that differ by a minute at most (catalogue 165)."""
    forum, browser = house.site("forum"), house.browser()
    arrived = await browser.sign_up(forum, user_name="zoe-of-clocks")
    assert isinstance(arrived, Arrival)
    token = (await forum.redeem(arrived))["access_token"]
    made = house.clock.now()
    for seconds, good in (
        (0, True),
        (300, True),
        (599, True),
        (600, False),
        (3600, False),
        (-60, True),
        (-61, False),
        (-3600, False),
    ):
        house.clock.at = made + timedelta(seconds=seconds)
        assert (await forum.userinfo(token)).status_code == (200 if good else 401), seconds
        assert (await forum.introspect(token))["active"] is good, seconds


async def test_a_session_that_ended_stays_ended(house: House) -> None:
    """Its row goes within half a minute; then no clock brings it back (catalogue 165)."""
    browser = house.browser()
    await browser.sign_up(user_name="zoe-of-clocks")
    assert (await browser.open("/me")).path == "/me"
    house.clock.move(hours=25)
    gone = await browser.go("/me")
    assert isinstance(gone, Shown)
    assert gone.path.endswith("/sign-in")
    await house.world.memory.purge(house.clock.now(), 500)
    house.clock.move(hours=-25)
    again = await browser.go("/me")
    assert isinstance(again, Shown)
    assert again.path.endswith("/sign-in")


@pytest.mark.parametrize("minutes", [5, -5])
async def test_five_minutes_either_way_break_nothing_under_way(house: House, minutes: int) -> None:
    """A sign-in, a form and a session go on (catalogue 165)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    house.clock.move(minutes=minutes)
    await browser.choose()
    house.clock.move(minutes=minutes)
    await browser.press("decision=continue")
    house.clock.move(minutes=minutes)
    await browser.press("decision=create", fill={"preferred_username": "zoe-of-clocks"})
    arrived = await browser.press("decision=share")
    assert isinstance(arrived, Arrival)
    assert (await forum.redeem(arrived))["id_token"]
    house.clock.move(minutes=-minutes)
    assert (await browser.open("/me")).path == "/me"


async def test_a_fresh_sign_in_is_not_made_by_a_clock_that_goes_back(house: House) -> None:
    """Whoever signed in an hour ago must do it again, whatever the clock said in between (catalogue 122, 165)."""
    browser = house.browser()
    await browser.sign_up(user_name="zoe-of-clocks")
    house.clock.move(minutes=6)
    page = await browser.open("/me/close")
    assert "sign in again" in page.text.lower()
    house.clock.move(minutes=5)
    form = [("decision", "close"), ("csrf", house.world.cookies.form_token(await binding(house, browser)))]
    answer = await browser.send("POST", "https://login.test/me/close", data=form)
    assert answer.headers["location"] == "/sign-in/again?next=/me/close&for=close"
    assert (await browser.open("/me")).status == 200


async def binding(house: House, browser: object) -> str:
    """What the forms of My Account are bound to in this browser."""
    secret = browser.cookies[house.world.cookies.session_name].rpartition(".")[0]  # type: ignore[attr-defined]
    session = await house.world.sessions.load(secret)
    assert session is not None
    return f"s:{session.sid}"


async def test_the_night_when_clocks_change_and_a_second_too_many_change_nothing(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """All times are kept in UTC: an hour that comes twice on the wall is two hours here (catalogue 165)."""
    clock = HouseClock(at=datetime(2026, 10, 25, 0, 59, 59, 999_999, tzinfo=UTC))
    async with open_house(tmp_path, sandboxes, clock=clock) as house:
        forum, browser = house.site("forum"), house.browser()
        arrived = await browser.sign_up(forum, user_name="zoe-of-clocks")
        assert isinstance(arrived, Arrival)
        house.clock.move(seconds=59)
        tokens = await forum.redeem(arrived)
        assert tokens["expires_in"] == 600
        house.clock.move(minutes=9)
        assert (await forum.claims(tokens["access_token"]))["sub"]
        house.clock.move(minutes=1)
        assert (await forum.userinfo(tokens["access_token"])).status_code == 401
        assert (await browser.open("/me/history")).status == 200


async def test_a_posted_request_goes_on_within_a_minute(house: House) -> None:
    """What travels sealed through the browser has an end too (catalogue 18, 165)."""
    forum = house.site("forum")
    body = urlsplit(forum.request_url()).query.encode()
    posted = await ask(
        house.app, Asked(method="POST", path="/authorize", headers=lower([("content-type", FORM)]), body=(body,))
    )
    parts = urlsplit(posted["location"])
    sealed = Asked(path=parts.path, query=parts.query.encode())
    assert (await ask(house.app, sealed)).status == 303
    house.clock.move(seconds=61)
    assert (await ask(house.app, sealed)).status == 400
