"""Several things at the same moment, on a real database: one order or the other, never half of each and never a fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
from tests.support.house import ISSUER, Arrival, Browser, House, Sandboxes, Shown, open_house

OURS = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, database_url=f"sqlite:///{tmp_path / 'doorward.db'}") as opened:
        yield opened


async def send(
    house: House, browser: Browser, url: str, fields: list[tuple[str, str]] | None = None
) -> httpx2.Response:
    """One request with what the browser holds now; the browser itself stays as it is, as a second tab does."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with house.client() as client:
        if fields is None:
            return await client.get(url, headers={"cookie": cookie})
        return await client.post(urljoin(ISSUER, url), data=dict(fields), headers={**OURS, "cookie": cookie})


def form_of(page: Shown, button: str) -> tuple[str, list[tuple[str, str]]]:
    form, pressed = page.find(button)
    return pressed.action or form.action, [*form.fields, *([(pressed.name, pressed.value)] if pressed.name else [])]


@pytest.mark.parametrize("turn", range(3))
async def test_whatever_happens_while_an_account_is_closed_is_refused_or_was_before(house: House, turn: int) -> None:
    """Tab A closes; tab B shares, corrects, disconnects, adds a way; a site refreshes: no fault, and afterwards nothing of
    the person is there (catalogue 130).
    """
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    # Its metadata is known then, so that no slow answer of its stands for a fault.
    await house.browser().sign_in(provider="openid")
    end = await browser.sign_up(
        forum, user_name="ana", share=("name", "offline_access"),
        url=forum.request_url(scope="openid profile offline_access", prompt="consent"),
    )  # fmt: skip
    assert isinstance(end, Arrival)
    tokens = await forum.redeem(end)
    account = await owner(house, browser)
    news = form_of(await browser.open("/me/news"), "Save my choice")
    details = form_of(await browser.open("/me/details"), "Save: Display name")
    sites = form_of(await browser.open("/me/sites"), "Disconnect Forum")
    ways = form_of(await browser.open("/me/ways"), "provider=openid")
    share = form_of(await browser.open(wiki.request_url()), "decision=share")
    close = form_of(await browser.open("/me/close"), "decision=close")
    posts = [news, details, share, close, sites, ways, details, share]
    posts = posts[turn:] + posts[:turn]
    answers = await asyncio.gather(
        *(send(house, browser, url, fields) for url, fields in posts),
        forum.refresh(tokens["refresh_token"]),
        forum.userinfo(tokens["access_token"]),
        send(house, browser, forum.request_url(scope="openid profile")),
    )
    faults = [(answer.request.url.path, answer.status_code) for answer in answers if answer.status_code >= 500]
    assert not faults, house.log
    assert await house.world.durable.accounts.load(account) is None
    assert await house.world.durable.accounts.links(account) == ()
    assert await house.world.durable.grants.of_account(account) == ()
    assert await house.world.memory.sessions.of_account(account, house.clock.now()) == ()
    assert (await forum.userinfo(tokens["access_token"])).status_code == 401
    assert (await send(house, browser, "/me")).status_code == 303


async def owner(house: House, browser: Browser) -> Any:
    """Whose session this browser has."""
    value = next(value for name, value in browser.cookies.items() if name.endswith("_session"))
    session = await house.world.sessions.load(value.rpartition(".")[0])
    assert session is not None
    return session.account


async def test_two_tabs_that_create_one_account_make_one(house: House) -> None:
    """The same new person in two tabs, both pressing "Create my account" (catalogue 176, 177)."""
    browser, forms = house.browser(), []
    for number in range(2):
        await browser.open("/sign-in")
        await browser.choose()
        finish = await browser.press("decision=continue")
        assert isinstance(finish, Shown)
        url, fields = form_of(finish, "decision=create")
        forms.append((url, [(n, f"ana-{number}" if n == "preferred_username" else v) for n, v in fields]))
    answers = await asyncio.gather(*(send(house, browser, url, fields) for url, fields in forms))
    assert [answer.status_code for answer in answers] == [303, 303]
    known = await house.browser().sign_in()
    assert isinstance(known, Shown)
    assert known.path == "/me"


async def test_one_callback_at_once_in_two_tabs_makes_one_sign_in(house: House) -> None:
    """Prefetch and click, or a restored window: one is taken, the other led to where one is (catalogue 34, 177)."""
    first, browser = house.browser(), house.browser()
    await first.sign_up(user_name="ana")
    account = await owner(house, first)
    await browser.open("/sign-in")
    await house.facebook.order(persona="normal")
    url, fields = form_of(browser.page, "provider=facebook")
    left = await browser.send("POST", urljoin(ISSUER, url), data=fields, headers=OURS)
    there = await browser.send("GET", left.headers["refresh"].partition("url=")[2])
    callback = there.headers["location"].partition("#")[0]
    assert callback.startswith(f"{ISSUER}/callback/facebook?")
    answers = await asyncio.gather(*(send(house, browser, callback) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [303] * 5
    places = sorted(answer.headers["location"].rpartition("/")[2] for answer in answers)
    assert places == ["continue"] * 4 + ["me"]
    assert len(await house.world.memory.sessions.of_account(account, house.clock.now())) == 2


async def test_a_page_that_loads_while_one_signs_in_anew_does_not_undo_it(house: House) -> None:
    """Both write the session; the new secret stands and the old one stays dead (catalogue 93)."""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    house.clock.move(minutes=6)
    await browser.open("/sign-in/again?next=/me")
    await house.facebook.order(persona="normal")
    url, fields = form_of(browser.page, "provider=facebook")
    left = await browser.send("POST", urljoin(ISSUER, url), data=fields, headers=OURS)
    there = await browser.send("GET", left.headers["refresh"].partition("url=")[2])
    if not there.is_redirect:
        page = Shown.read(there)
        action, again = form_of(page, "Continue")
        there = await browser.send("POST", urljoin(page.url, action), data=again)
    callback = there.headers["location"].partition("#")[0]
    old = dict(browser.cookies)
    answers = await asyncio.gather(
        *(send(house, browser, "/me") for _ in range(4)), browser.send("GET", callback),
        *(send(house, browser, "/me") for _ in range(4)),
    )  # fmt: skip
    assert {answer.status_code for answer in answers} <= {200, 303}
    assert (await send(house, browser, "/me")).status_code == 200
    session = next(name for name in old if name.endswith("_session"))
    assert browser.cookies[session] != old[session]
    async with house.client() as client:
        assert (await client.get("/me", headers={"cookie": f"{session}={old[session]}"})).status_code == 303
