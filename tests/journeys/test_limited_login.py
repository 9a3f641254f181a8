"""A site's app brings people by Facebook's Limited Login: no page of ours was open, and Facebook gave it no access token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.journeys.opener import Cell, Opener
from tests.support.house import DOORWARD_TOML, ISSUER, Arrival, Browser, House, Sandboxes, Shown, Site, open_house, peek
from tests.support.phone import Phone
from tests.web.desk import member


async def test_a_known_person_comes_by_an_app_and_is_who_they_were(house: House) -> None:
    """The same account and the same number as by the website: `sub` there is the same, too."""
    forum = house.site("forum")
    before = await house.browser().sign_up(forum, user_name="zoe")
    assert isinstance(before, Arrival)
    phone, browser = Phone(forum), house.browser()
    shown = await browser.open(await phone.brings(await phone.sign_in("normal")))
    assert shown.path.endswith("/confirm")
    assert "Ana Marković" in shown.text and "Forum" in shown.text and "Facebook" in shown.text
    end = await browser.press("decision=continue")
    assert isinstance(end, Arrival), end
    first, second = await forum.redeem(before), await forum.redeem(end)
    assert peek(first["id_token"])["sub"] == peek(second["id_token"])["sub"]
    assert await house.accounts() == 1


async def test_a_new_person_signs_up_as_if_facebook_had_sent_them_back(house: House) -> None:
    forum, browser = house.site("forum"), house.browser()
    phone = Phone(forum)
    shown = await browser.open(await phone.brings(await phone.sign_in("normal")))
    assert "There is no account here" in shown.text
    assert await house.accounts() == 0
    await browser.press("decision=continue")
    assert browser.page.path.endswith("/details"), browser.page.text
    assert "ana.markovic@people.test" in browser.page.text
    await browser.press("decision=continue", tick=("picture",))
    assert browser.page.path.endswith("/finish")
    await browser.press("decision=create", fill={"preferred_username": "zoe"})
    assert browser.page.path.endswith("/site")
    end = await browser.press("decision=share", tick=("name",))
    assert isinstance(end, Arrival)
    claims = await forum.claims((await forum.redeem(end))["access_token"])
    assert claims["name"] == "Ana Marković"
    again = await house.browser().sign_in(forum)
    assert isinstance(again, Arrival)
    assert await house.accounts() == 1


# --- somebody else's link -----------------------------------------------------------------------------


async def brought(house: House, browser: Browser, persona: str = "normal", site: Site | None = None) -> Shown:
    """The page that asks whether it is them, in this browser."""
    phone = Phone(site or house.site("forum"))
    shown = await browser.open(await phone.brings(await phone.sign_in(persona)))
    assert shown.path.endswith("/confirm"), shown.url
    return shown


def session_of(house: House, browser: Browser) -> str | None:
    return browser.cookies.get(house.world.cookies.session_name)


async def account_here(house: House, browser: Browser) -> str:
    """Who is signed in at this browser, by the page that says so."""
    return (await browser.open("/me")).text


async def test_a_link_with_somebody_elses_sign_in_signs_nobody_in(house: House) -> None:
    """Login CSRF: the page names whose account it is, and until the person says yes there is no session, code or row (catalogue 33, 51)."""
    await house.browser().sign_up(house.site("forum"), user_name="mallory")
    victim = house.browser()
    shown = await brought(house, victim)
    assert "Ana Marković" in shown.text
    assert "If somebody sent you a link, stop here" in shown.text
    assert session_of(house, victim) is None
    for path in ("continue", "site", "details", "finish", "age", "policy"):
        end = await victim.go(shown.path.replace("confirm", path))
        assert isinstance(end, Shown)
        assert session_of(house, victim) is None, path
    assert (await victim.open(shown.path)).path.endswith("/confirm")


async def test_no_other_page_can_say_yes_for_the_person(house: House) -> None:
    """The form has its token, which another site cannot know; a link alone answers nothing (catalogue 97)."""
    victim = house.browser()
    shown = await brought(house, victim)
    for fields, headers in (
        ([("decision", "continue")], {}),
        ([*shown.forms[0].fields, ("decision", "continue")], {"Origin": "https://evil.test"}),
        ([*shown.forms[0].fields, ("decision", "continue")], {"Sec-Fetch-Site": "cross-site"}),
    ):
        end = await victim.submit("post", f"{ISSUER}{shown.path}", fields, headers=headers)
        assert isinstance(end, Shown)
        assert end.status == 403
    assert isinstance(await victim.go(f"{shown.path}?decision=continue"), Shown)
    assert session_of(house, victim) is None


async def test_whoever_is_signed_in_stays_so_unless_they_say_otherwise(house: House) -> None:
    """The page says who would be signed out; stopping leaves them as they were (catalogue 122)."""
    await house.browser().sign_up(house.site("forum"), user_name="mallory")
    browser = await member(house, "bo")
    before = session_of(house, browser)
    shown = await brought(house, browser)
    assert "In this browser Bo Lund is signed in now" in shown.text
    assert session_of(house, browser) == before
    end = await browser.press("No, stop here")
    assert isinstance(end, Arrival)
    assert end.params["error"] == "access_denied"
    assert session_of(house, browser) == before
    assert "Bo Lund" in await account_here(house, browser)


async def test_whoever_goes_on_is_that_account_and_no_longer_the_other(house: House) -> None:
    forum = house.site("forum")
    first = await house.browser().sign_up(forum, user_name="zoe")
    assert isinstance(first, Arrival)
    browser = await member(house, "bo")
    await brought(house, browser, site=forum)
    end = await browser.press("decision=continue")
    assert isinstance(end, Arrival)
    assert peek((await forum.redeem(end))["id_token"])["sub"] == peek((await forum.redeem(first))["id_token"])["sub"]
    assert "Ana Marković" in await account_here(house, browser)


async def test_whoever_signed_in_in_another_tab_meanwhile_is_not_signed_out_unsaid(house: House) -> None:
    """What the page said was true of nobody: it is shown again, with who is there now (catalogue 134)."""
    browser = house.browser()
    shown = await brought(house, browser, "jonas")
    assert "is signed in now" not in shown.text
    bo = await member(house, "bo")
    name = house.world.cookies.session_name
    browser.jar.set(name, bo.cookies[name], domain="login.test", path="/")
    again = await browser.press("decision=continue")
    assert isinstance(again, Shown)
    assert again.status == 409
    assert "changed while you were reading" in again.text
    assert "In this browser Bo Lund is signed in now" in again.text
    assert session_of(house, browser) == bo.cookies[name]
    end = await browser.press("decision=continue")
    assert isinstance(end, Shown)
    assert end.path.endswith("/details")


async def test_the_data_of_who_is_signed_in_is_never_shared_in_their_place(house: House) -> None:
    """The share page answers for nobody while the question stands (catalogue 129, 134)."""
    browser = await member(house, "bo")
    shown = await brought(house, browser, "jonas")
    asked = await browser.go(shown.path.replace("confirm", "site"))
    assert isinstance(asked, Shown)
    assert "Bo Lund" not in asked.text
    token = dict(shown.forms[0].fields)["csrf"]
    fields = [("csrf", token), ("decision", "share"), ("share", "name"), ("shown", "")]
    end = await browser.submit("post", f"{ISSUER}{shown.path.replace('confirm', 'site')}", fields)
    assert isinstance(end, Shown)
    assert end.status == 410


async def test_a_second_browser_has_no_part_in_it(house: House) -> None:
    """Bound to the first that opens it; its address tells another nothing, not even a name (catalogue 33, 98)."""
    phone, first, second = Phone(house.site("forum")), house.browser(), house.browser()
    url = await phone.brings(await phone.sign_in("normal"))
    shown = await first.open(url)
    for other in (url, shown.path):
        end = await second.go(other)
        assert isinstance(end, Shown)
        assert end.status in {400, 410}, other
        assert "Ana" not in end.text
    again = await first.go(url)
    assert isinstance(again, Shown)
    assert again.status == 410
    assert (await first.open(shown.path)).path.endswith("/confirm")


async def test_a_code_that_came_by_it_needs_the_apps_own_verifier(house: House) -> None:
    """Whoever catches the code has nothing (RFC 7636; catalogue 29)."""
    forum = house.site("forum")
    await house.browser().sign_up(forum, user_name="zoe")
    browser = house.browser()
    await brought(house, browser, site=forum)
    end = await browser.press("decision=continue")
    assert isinstance(end, Arrival)
    answer = await forum.token(end, code_verifier="w" * 43)
    assert answer.json()["error"] == "invalid_grant"


async def test_a_second_click_leads_on_and_makes_one_session(house: House) -> None:
    """catalogue 177"""
    await house.browser().sign_up(house.site("forum"), user_name="zoe")
    browser = house.browser()
    shown = await brought(house, browser, site=house.site("wiki"))
    for _ in range(2):
        end = await browser.submit("post", f"{ISSUER}{shown.path}", [*shown.forms[0].fields, ("decision", "continue")])
        assert isinstance(end, Shown)
        assert end.path.endswith("/site")
    shared = await browser.press("decision=share")
    assert isinstance(shared, Arrival)
    assert "code" in shared.params


async def test_whoever_chooses_another_way_is_asked_no_more(house: House) -> None:
    """The chooser is open as in any sign-in, and what was brought is gone with it."""
    browser = house.browser()
    shown = await brought(house, browser, "jonas")
    await browser.open(shown.path.replace("confirm", "sign-in"))
    chosen = await browser.choose("openid", "ana")
    assert isinstance(chosen, Shown)
    assert chosen.path.endswith("/details")
    assert "jonas" not in chosen.text.lower()


async def test_what_was_declined_at_facebook_is_typed(house: House) -> None:
    """No e-mail came, and nobody is sent to Facebook's website for it: that is what they did not want."""
    browser = house.browser()
    await brought(house, browser, "declines-email")
    await browser.press("decision=continue")
    assert "ask_again" not in browser.page.response.text
    await browser.press("decision=continue")
    assert "v-email" in browser.page.response.text
    end = await browser.press("decision=create", fill={"preferred_username": "petra", "v-email": "petra@mail.test"})
    assert isinstance(end, Shown)
    assert end.path.endswith("/site")


# --- nothing is kept ----------------------------------------------------------------------------------


@pytest.fixture
async def kept(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """The embedded database, and a rule about age."""
    url = f"sqlite:///{tmp_path / 'doorward.db'}"
    asking = DOORWARD_TOML + "\n[age]\nminimum = 13\n"
    async with open_house(tmp_path, sandboxes, doorward=asking, database_url=url) as opened:
        yield opened


async def rows_of(house: House) -> list[Cell]:
    """Every cell, but of counters and of what was used once: they hold digests, and name nobody.

    Of sign-ins only what is not the app's own request, which lies there for a minute.
    """
    passing = ("rate_limits.", "replay_marks.", "transactions.")
    cells = (await Opener.of(house)).cells
    kept = [cell for cell in cells if cell.place == "transactions.id" and not cell.value.startswith(b"pushed:")]
    return [*kept, *(cell for cell in cells if not cell.place.startswith(passing))]


async def asked_age(house: House, browser: Browser, persona: str = "normal") -> Shown:
    phone = Phone(house.site("forum"))
    shown = await browser.open(await phone.brings(await phone.sign_in(persona)))
    assert shown.path.endswith("/age"), shown.url
    return shown


async def test_whoever_says_no_leaves_nothing(kept: House) -> None:
    """On the first page or on the preview: no row, and nothing a key of ours opens (promise P1)."""
    browser = kept.browser()
    rows = await rows_of(kept)
    await asked_age(kept, browser)
    await browser.press("use=answer", fill={"birth_month": "1", "birth_year": "1990"})
    assert browser.page.path.endswith("/confirm")
    end = await browser.press("No, stop here")
    assert isinstance(end, Arrival)
    assert end.params["error"] == "access_denied"
    assert await rows_of(kept) == rows


async def test_the_age_is_asked_before_anybody_is_named(kept: House) -> None:
    """What Facebook said lies unread until then (decision 24)."""
    browser = kept.browser()
    shown = await asked_age(kept, browser)
    assert "Ana" not in shown.text
    early = await browser.go(shown.path.replace("age", "confirm"))
    assert isinstance(early, Shown)
    assert early.path.endswith("/age")
    await browser.press("use=answer", fill={"birth_month": "1", "birth_year": "1990"})
    assert browser.page.path.endswith("/confirm")
    assert "Ana Marković" in browser.page.text
    await browser.press("decision=continue")
    assert browser.page.path.endswith("/details")


async def test_too_young_leaves_nothing_of_what_was_brought(kept: House) -> None:
    """catalogue 129, promise P18: neither here nor on the way back to the app."""
    browser = kept.browser()
    rows = await rows_of(kept)
    await asked_age(kept, browser, "minor")
    year = kept.clock.now().year - 12
    await browser.press("use=answer", fill={"birth_month": "1", "birth_year": str(year)})
    assert "You can't make an account here yet" in browser.page.text
    assert "Mia" not in browser.page.text
    assert await rows_of(kept) == rows
    again = await asked_age(kept, browser, "minor")
    assert "You can't make an account here yet" in again.text


async def test_whoever_has_an_account_by_another_way_uses_that(kept: House) -> None:
    """What was brought opens none: it is dropped, and the ways to sign in are shown (decision 24)."""
    browser = kept.browser()
    await asked_age(kept, browser)
    chooser = await browser.press("use=account")
    assert isinstance(chooser, Shown)
    assert chooser.path.endswith("/sign-in")
    again = await browser.go(chooser.path.replace("sign-in", "confirm"))
    assert isinstance(again, Shown)
    assert again.path.endswith("/sign-in")


async def test_whoever_chooses_another_way_before_the_age_is_asked_comes_by_that_one(kept: House) -> None:
    """The question would name a provider that never said so; who was brought is gone with the choice (catalogue 33, 51)."""
    browser = kept.browser()
    shown = await asked_age(kept, browser, "jonas")
    await browser.open(shown.path.replace("age", "sign-in"))
    await browser.choose("openid", "ana")
    assert browser.page.path.endswith("/age")
    left = await browser.press("use=answer", fill={"birth_month": "1", "birth_year": "1990"})
    end = await browser.agree_upstream(left)
    assert isinstance(end, Shown)
    assert end.path.endswith("/details")
    assert "jonas" not in end.text.lower()


async def test_whoever_has_an_account_is_not_asked_for_their_age(kept: House) -> None:
    browser = kept.browser()
    await asked_age(kept, browser)
    await browser.press("use=answer", fill={"birth_month": "1", "birth_year": "1990"})
    for button, fill in (("continue", {}), ("continue", {}), ("create", {"preferred_username": "zoe"})):
        await browser.press(f"decision={button}", fill=fill)
    assert isinstance(await browser.press("decision=share"), Arrival)
    await brought(kept, kept.browser())


async def test_a_site_that_asks_for_a_fresh_sign_in_later_gets_one_from_the_website(house: House) -> None:
    """The app's token is not enough for that: Facebook is asked, by its own page (decision 26)."""
    forum = house.site("forum")
    await house.browser().sign_up(forum, user_name="zoe")
    browser = house.browser()
    await brought(house, browser)
    assert isinstance(await browser.press("decision=continue"), Arrival)
    shown = await browser.go(forum.request_url(prompt="login"))
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/sign-in")
