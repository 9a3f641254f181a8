"""Nobody learns from us who has an account; limits hold for everybody and lock nobody out; no site skips the person."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urljoin

import pytest
from tests.support.house import ISSUER, Arrival, House, Shown
from tests.web.desk import account_of, member

from broker.settings_schema import SITE
from broker.web.guards import Guard
from broker.web.routes import ROUTES


def without_ids(page: Shown) -> str:
    """A page as two people would compare it: without its tokens, references, times and the sign-in's id."""
    text = re.sub(r"/f/[0-9a-zA-Z_-]+", "/f/ID", page.response.text)
    text = re.sub(r'name="(csrf|shown)" value="[^"]*"', "", text)
    text = re.sub(r"again(=|%3D)[\w-]+", "again=SEALED", text)
    text = re.sub(r"[2-9A-Z]{4}-[2-9A-Z]{4}", "REFERENCE", text)
    return re.sub(r"\d{1,2}:\d{2}|datetime=\"[^\"]*\"", "TIME", text)


async def test_a_taken_user_name_is_said_only_to_who_may_choose_one(house: House) -> None:
    """The same answer for a living account, a closed one and a reserved look-alike; and only behind a provider's
    sign-in (catalogue 127).
    """
    await house.browser().sign_up(user_name="ana")
    gone = house.browser()
    await gone.sign_up(provider="openid", persona="lucas", user_name="lucas")
    await gone.open("/me/close")
    await gone.press("decision=close")
    browser = house.browser()
    await browser.open("/sign-in")
    await browser.choose("facebook", "jonas")
    await browser.press("decision=continue")
    answers = []
    for name in ("ana", "a.n.a", "lucas"):
        shown = await browser.press("decision=create", fill={"preferred_username": name})
        assert isinstance(shown, Shown)
        assert (shown.status, shown.response.request.method) == (200, "GET")
        answers.append(without_ids(shown).replace(f'value="{name}"', "VALUE"))
    assert len(set(answers)) == 1


async def test_an_address_on_file_makes_no_difference_to_a_stranger(house: House) -> None:
    """An unchecked address signs up whether or not somebody has it: same status, same next page (catalogue 127)."""
    await house.browser().sign_up(provider="openid", persona="ana", user_name="ana")
    pages = []
    for number, address in enumerate(("ana.markovic@people.test", "nobody@people.test")):
        browser = house.browser()
        await browser.open(house.site("forum").request_url())
        await browser.choose("facebook", ("no-email", "unverified")[number])
        await browser.press("decision=continue")
        shown = await browser.press(
            "decision=create", fill={"preferred_username": f"stranger-{'ab'[number]}", "v-email": address}
        )
        assert isinstance(shown, Shown)
        pages.append((shown.status, shown.path.rpartition("/")[2], shown.headings[0]))
    assert pages[0] == pages[1] == (200, "site", "Share these with Forum?")


@pytest.mark.parametrize("path", ["/sign-in?login_hint={}", "/authorize?login_hint={}"])
async def test_a_hint_at_somebody_known_looks_like_any_other(house: House, path: str) -> None:
    """No page before the provider looks anybody up (catalogue 127)."""
    await house.browser().sign_up(user_name="ana")
    pages = []
    for hint in ("ana", "ana.markovic@people.test", "nobody@people.test"):
        url = path.format(hint)
        if url.startswith("/authorize"):
            url = house.site("forum").request_url(login_hint=hint)
        pages.append(without_ids(await house.browser().open(url)))
    assert len(set(pages)) == 1


async def test_what_is_not_ones_own_is_not_there(house: House) -> None:
    """Somebody else's link, device, site and post, and ones that never were: one answer (catalogue 127)."""
    ana, ben = house.browser(), await member(house, "ben")
    await ana.sign_up(house.site("forum"), user_name="ana")
    page = await ben.open("/me/news")
    account = await account_of(house, "ana")
    (device,) = await house.world.memory.sessions.of_account(account, house.clock.now())
    (theirs,) = await house.world.durable.accounts.links(account)
    for path, field, known in (
        ("/me/devices/end", "sid", device.sid),
        ("/me/sites/disconnect", "client", "forum"),
        ("/me/ways/remove", "link", theirs.id),
    ):
        answers = []
        for value in (known, "never-was"):
            shown = await ben.submit("post", urljoin(ISSUER, path), [("csrf", page.value("csrf")), (field, value)])
            assert isinstance(shown, Shown)
            answers.append((shown.status, without_ids(shown)))
        assert answers[0] == answers[1], path
        assert answers[0][0] == 404, path
    assert (await ana.open("/me")).path == "/me"


# --- limits -------------------------------------------------------------------------------------------


async def test_a_limit_is_each_addresss_own_and_success_clears_nobodys(house: House) -> None:
    """Guessing at one site's secret stops; a site that proves itself in between does not start the count again, and is
    never locked out itself (catalogue 128).
    """
    forum, wiki = house.site("forum"), house.site("wiki")
    wrong = {"Authorization": "Basic Zm9ydW06d3Jvbmc="}
    statuses = []
    async with house.client() as client:
        for _ in range(house.settings.broker.limits.client_failures_per_minute + 5):
            answer = await client.post("/token", data={"grant_type": "refresh_token"}, headers=wrong)
            statuses.append(answer.status_code)
            good = await client.post("/introspect", data={"token": "x"}, headers=wiki.auth)
            assert good.status_code == 200
        assert statuses[0] == 401
        assert set(statuses[-5:]) == {429}
        assert int(answer.headers["retry-after"]) > 0
        right = await client.post("/introspect", data={"token": "x"}, headers=forum.auth)
        assert right.status_code == 200


async def test_a_burst_counts_like_a_queue(house: House) -> None:
    """Many at once: no more get through than one after the other (catalogue 128)."""
    limit = house.settings.broker.limits.client_failures_per_minute
    wrong = {"Authorization": "Basic Zm9ydW06d3Jvbmc="}
    async with house.client() as client:
        answers = await asyncio.gather(
            *(client.post("/token", data={"grant_type": "x"}, headers=wrong) for _ in range(limit * 2))
        )
    assert sum(answer.status_code == 401 for answer in answers) == limit
    assert sum(answer.status_code == 429 for answer in answers) == limit


async def test_somebody_elses_failures_do_not_keep_a_person_out(house: House) -> None:
    """There is nothing to lock: who fails counts against their own address, never against an account (catalogue 128)."""
    await house.browser().sign_up(user_name="ana")
    async with house.client() as client:
        for _ in range(50):
            await client.get("/callback/facebook?code=guess&state=000000000x.y")
            await client.post("/token", data={"username": "ana"})
    back = await house.browser().sign_in()
    assert isinstance(back, Shown)
    assert back.path == "/me"


# --- no site skips the person -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["forum", "wiki", "tracker"])
async def test_every_site_asks_the_first_time_and_shows_where_people_go(house: House, name: str) -> None:
    """Whoever runs it: the page stands between, and names the host (catalogue 136)."""
    browser, site = await member(house, "ana"), house.site(name)
    shown = await browser.open(site.request_url())
    assert shown.path.endswith("/site")
    assert f"{name}.test" in shown.text
    silent = await browser.go(site.request_url(prompt="none"))
    assert isinstance(silent, Arrival)
    assert silent.params["error"] == "consent_required"


def test_there_is_no_way_to_be_a_site_without_an_admin_and_none_to_skip_consent() -> None:
    """Registering wants a token that an admin gave, and no setting of a site says that people need not be asked (catalogue 136)."""
    guards = {route.guard for route in ROUTES if "register" in route.path}
    assert guards == {Guard.BEARER}
    keys = {option.name for option in SITE}
    assert "redirect_uris" in keys
    for word in ("skip", "trusted", "first_party", "auto_consent", "implicit_consent"):
        assert not [key for key in keys if word in key], word
