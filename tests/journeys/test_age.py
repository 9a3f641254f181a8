"""A service that asks when people were born: before any provider, once, and an answer that is too young stays nowhere."""

from __future__ import annotations

import re

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.journeys.opener import Opener
from tests.support.house import DOORWARD_TOML, Arrival, Browser, House, Sandboxes, Shown, open_house

ASKING = DOORWARD_TOML + "\n[age]\nminimum = 13\n"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """The same house with the embedded database, and a rule."""
    url = f"sqlite:///{tmp_path / 'doorward.db'}"
    async with open_house(tmp_path, sandboxes, doorward=ASKING, database_url=url) as opened:
        yield opened


async def to_question(house: House, browser: Browser, provider: str = "facebook") -> Shown:
    """From the forum's request to the question."""
    await browser.open(house.site("forum").request_url())
    shown = await browser.press(f"provider={provider}")
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/age"), shown.url
    return shown


async def answer(browser: Browser, year: int, month: int = 1) -> Shown | Arrival:
    return await browser.press("use=answer", fill={"birth_month": str(month), "birth_year": str(year)})


async def test_the_question_says_nothing_of_a_limit(house: House) -> None:
    """Neutral: no date is suggested, no year is out of reach, and no number says what is wanted (promise P18)."""
    shown = await to_question(house, house.browser())
    assert "When were you born?" in shown.text
    timeless = re.sub(r"\d+ \w+ \d{4}, \d\d:\d\d", "", shown.text)  # until when the page works, at any time of any day
    assert "13" not in timeless
    form = next(form for form in shown.forms if any(button.value == "answer" for button in form.buttons))
    assert dict(form.fields)["birth_year"] == ""
    assert dict(form.fields)["birth_month"] == ""


async def test_old_enough_goes_on_to_the_provider_and_is_not_asked_again(house: House) -> None:
    browser = house.browser()
    await to_question(house, browser)
    await house.facebook.order(persona="normal")
    shown = await browser.agree_upstream(await answer(browser, 1990))
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/details")
    await browser.press("decision=refuse")
    await browser.open(next(to for _, to in browser.page.links if to.endswith("/sign-in")))
    shown = await browser.choose("facebook")
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/details")
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    end = await browser.press("decision=share", tick=("name",))
    assert isinstance(end, Arrival)
    assert "code" in end.params


async def test_too_young_leaves_everything_as_it_was(house: House) -> None:
    """No request to any provider, no row, no line in the log; the browser keeps a mark without a date (promise P18)."""
    browser = house.browser()
    await to_question(house, browser)
    asked_before = await house.facebook.log()
    rows, log = (await Opener.of(house)).cells, house.log
    house.clock.move(seconds=1)
    shown = await answer(browser, house.clock.now().year - 12)
    assert isinstance(shown, Shown)
    assert "You can't make an account here yet" in shown.text
    assert house.log == log
    assert (await Opener.of(house)).cells == rows
    assert await house.facebook.log() == asked_before
    marks = {name: value for name, value in browser.cookies.items() if "age" in name or "tx_" in name}
    assert len(marks) == 2
    assert str(house.clock.now().year - 12) not in str(marks)


async def test_going_back_does_not_help_for_a_day(house: House) -> None:
    """Another answer, another attempt, another provider: the same page, and nobody upstream is asked."""
    browser = house.browser()
    await to_question(house, browser)
    await answer(browser, house.clock.now().year - 12)
    shown = await to_question(house, browser, "openid")
    assert "You can't make an account here yet" in shown.text
    await browser.submit("post", shown.url, [*shown.forms[0].fields, ("birth_month", "1"), ("birth_year", "1990")])
    assert "You can't make an account here yet" in browser.page.text
    assert not [entry for entry in await house.openid.log() if "authorize" in str(entry)]


async def test_an_account_is_reached_all_the_same(house: House) -> None:
    """Whoever has one signs in unasked, also where somebody younger tried before."""
    first = house.browser()
    await to_question(house, first)
    await house.facebook.order(persona="normal")
    await first.agree_upstream(await answer(first, 1990))
    await first.press("decision=continue")
    await first.press("decision=create", fill={"preferred_username": "ana"})
    browser = house.browser()
    await to_question(house, browser)
    await answer(browser, house.clock.now().year - 12)
    await to_question(house, browser)
    shown = await browser.agree_upstream(await browser.press("use=account"))
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/site")


async def test_saying_one_has_an_account_makes_none(house: House) -> None:
    """Somebody unknown is dropped unread on that path and asked after all; their tokens there are taken back."""
    browser = house.browser()
    await to_question(house, browser)
    await house.facebook.order(persona="normal")
    shown = await browser.agree_upstream(await browser.press("use=account"))
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/age")
    assert "We kept nothing that it sent" in shown.text
    assert "Ana" not in shown.text
    assert [entry for entry in await house.facebook.log() if "DELETE" in str(entry)]
    chooser = await browser.press("use=account")
    assert isinstance(chooser, Shown)
    assert chooser.path.endswith("/sign-in")


async def test_an_answer_that_is_none_says_what_to_do(house: House) -> None:
    browser = house.browser()
    await to_question(house, browser)
    shown = await browser.press("use=answer", fill={"birth_year": "90"})
    assert isinstance(shown, Shown)
    assert shown.status == 200
    assert "/age?again=" in shown.url, "a redirect: a reload sends nothing again"
    assert "Enter a year with 4 numbers" in shown.text
    assert "Choose a month" in shown.text
    assert 'value="90"' in shown.response.text


async def test_who_was_asked_already_is_not_asked_by_an_old_page(house: House) -> None:
    browser = house.browser()
    shown = await to_question(house, browser)
    await house.facebook.order(persona="normal")
    await browser.agree_upstream(await answer(browser, 1990))
    again = await browser.open(shown.url)
    assert again.path.endswith("/details")


async def test_the_mark_is_on_the_cookie_page(house: House) -> None:
    page = await house.browser().open("/cookies")
    assert "_age" in page.text


async def test_the_way_that_was_ticked_to_be_remembered_is(house: House) -> None:
    """The tick outlives the question."""
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    await browser.press("provider=facebook", tick=("1",))
    await answer(browser, 1990)
    assert [name for name in browser.cookies if name.endswith("_last")]
