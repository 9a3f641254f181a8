"""Several tabs change one account at the same moment: no change is lost, and nothing that was removed comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.journeys.test_at_once import form_of, owner, send
from tests.journeys.test_overtaken import after
from tests.support.house import Arrival, House, Sandboxes, open_house

from broker.domain.claims import EMAIL, FAMILY_NAME, GIVEN_NAME, NAME, ZONEINFO


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, database_url=f"sqlite:///{tmp_path / 'doorward.db'}") as opened:
        yield opened


@pytest.mark.parametrize("turn", range(3))
async def test_changes_of_one_account_at_once_are_all_kept(house: House, turn: int) -> None:
    """One value is removed, another corrected, a third added, and the lists are chosen."""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    account = await owner(house, browser)
    await house.world.account.change(account, ZONEINFO, "Europe/Belgrade")
    shown = await browser.open("/me/details")
    changes = {"Time zone": "", "Display name": "Anna", "First name": "Anna-Maria"}
    posts = [form_of(await browser.open("/me/news"), "Save my choice")]
    posts[0][1].append(("newsletter", "club"))
    for label, value in changes.items():
        url, fields = form_of(shown, f"Save: {label}")
        posts.append((url, [(name, value if name.startswith("v-") else held) for name, held in fields]))
    posts = posts[turn:] + posts[:turn]
    answers = await asyncio.gather(*(send(house, browser, url, fields) for url, fields in posts))
    assert [answer.status_code for answer in answers] == [303] * len(posts)
    kept = await house.world.account.load(account)
    assert ZONEINFO not in kept.profile
    assert (kept.claims[NAME], kept.claims[GIVEN_NAME], kept.newsletters) == ("Anna", "Anna-Maria", ("club",))


async def test_what_is_removed_while_a_site_is_let_have_something_stays_removed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page for the tracker takes a typed value; while it is answered, another tab removes another one."""
    tracker, browser = house.site("tracker"), house.browser()
    await browser.sign_up(user_name="ana")
    account = await owner(house, browser)
    await house.world.account.change(account, FAMILY_NAME, "Marković")
    before = await house.world.account.load(account)
    unit = house.world.durable.unit()
    unit.save_account(replace(before, profile={name: held for name, held in before.profile.items() if name != EMAIL}))
    await unit.commit()
    shown = await browser.open(tracker.request_url())
    assert shown.value("v-email") == ""

    async def remove() -> None:
        await house.world.account.change(account, FAMILY_NAME, "")

    after(house.world.durable.accounts, "with_receipts", remove, monkeypatch)
    assert isinstance(await browser.press("decision=share", fill={"v-email": "ana@mail.test"}), Arrival)
    kept = await house.world.account.load(account)
    assert FAMILY_NAME not in kept.profile
    assert kept.claims[EMAIL] == "ana@mail.test"
