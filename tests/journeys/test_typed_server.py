"""Somebody signs in with Mastodon at a server that they type: the whole way, at a strict server, without a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest
from starlette.applications import Starlette
from tests.support.house import (
    DOORWARD_TOML,
    ISSUER,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
)
from tests.support.mastodon_server import State, create_app
from tests.support.sandbox import serve

FEDIVERSE = """
[fediverse]
kind = "mastodon"
label = "Mastodon"
brand = "mastodon"
sandbox = true
discovery = "hosts"
hosts = ["127.0.0.1"]
fields = ["name", "preferred_username", "picture", "profile"]
order = 3
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    """Ana's server, and one that is not honest."""
    good, evil = create_app(), create_app()
    with serve(good) as url, serve(evil) as evil_url:
        APPS.update({url: good, evil_url: evil})
        yield url, evil_url


APPS: dict[str, Starlette] = {}


def state_of(url: str) -> State:
    state: State = APPS[url].state.mastodon
    return state


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, servers: tuple[str, str]) -> AsyncIterator[House]:
    doorward = DOORWARD_TOML.replace('[fields.email]\nuse = "needed"', '[fields.email]\nuse = "optional"')
    doorward += "".join(f'\n[egress."{urlsplit(url).netloc}"]\n' for url in servers)
    async with open_house(tmp_path, sandboxes, doorward=doorward, providers=PROVIDERS_TOML + FEDIVERSE) as opened:
        yield opened


async def leave(browser: Browser, server: str) -> Arrival:
    gone = await browser.press("provider=fediverse", fill={"identifier": server})
    assert isinstance(gone, Arrival), gone
    return gone


async def back(browser: Browser, url: str) -> Shown:
    """Through the server's own page, where Ana is signed in and says yes."""
    async with httpx2.AsyncClient() as client:
        there = await client.get(url)
    assert there.is_redirect, there.text
    return await browser.open(there.headers["location"])


async def type_in(browser: Browser, server: str) -> Shown:
    return await back(browser, (await leave(browser, server)).url)


async def test_a_typed_server_is_a_way_to_an_account_and_back_in(house: House, servers: tuple[str, str]) -> None:
    """Registered at once and then known; what it gave us is given back, and a second time it leads to the same account."""
    url = servers[0]
    host, state = urlsplit(url).netloc, state_of(url)
    state.apps.clear()
    browser = house.browser()
    chooser = await browser.open("/sign-in")
    assert "Your Mastodon server" in chooser.text
    assert "the server that you name" in chooser.text
    preview = await type_in(browser, f"@ana@{host}")
    assert preview.path.endswith("/details")
    assert "Ana Marković" in preview.text
    (app,) = state.apps.values()
    assert app["client_name"] == "Club Login"
    assert app["redirect_uris"].startswith(f"{ISSUER}/callback/fediverse/")
    assert state.tokens == set(), "given back"
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "ana"})

    again = house.browser()
    await again.open("/sign-in")
    assert (await type_in(again, url)).path == "/me"
    assert await house.accounts() == 1
    assert len(state.apps) == 1
    assert host not in house.log
    assert "ana@" not in house.log


async def test_two_servers_of_one_person_are_told_apart(house: House, servers: tuple[str, str]) -> None:
    """By their hosts: on the ways, on the button that removes one, on the devices and where two accounts are merged."""
    one, two = (urlsplit(url).netloc for url in servers)
    browser = await opened(house)
    await type_in(browser, one)
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    await browser.open("/me/ways")
    ways = await type_in(browser, two)
    assert ways.path == "/me/ways"
    for host in (one, two):
        assert f"{host} Added on" in ways.text
        assert f"Remove Mastodon ({host})" in ways.text
    assert "/users/ana" not in ways.text
    assert f"Signed in with Mastodon ({one})." in (await browser.open("/me/devices")).text
    assert f"with Mastodon ({one})." in (await browser.open("/me")).text
    state_of(servers[1]).asked.clear()


async def test_a_server_that_sends_people_on_to_another_gets_nothing_of_it(
    house: House, servers: tuple[str, str]
) -> None:
    """RFC 9700 §4.4.2 (catalogue 39): it has what the other server knows us by, and sends our own state along."""
    good, evil = servers
    await type_in(await opened(house), good)
    app = list(state_of(good).apps.values())[-1]
    browser = await opened(house)
    asked = (await leave(browser, evil)).params
    forged = {**asked, "client_id": app["client_id"], "redirect_uri": app["redirect_uris"]}
    refused = await back(browser, f"{good}/oauth/authorize?{urlencode(forged)}")
    assert refused.status == 403
    assert "/oauth/token" not in state_of(evil).asked
    assert "callback of another server" in house.log


async def opened(house: House) -> Browser:
    browser = house.browser()
    await browser.open("/sign-in")
    return browser


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "Type the name of your server"),
        ("ana marković", "This is no name of a server"),
        ("elsewhere.test", "People of that server cannot sign in here"),
        ("{openid}", "There is no server of this kind"),
        ("127.0.0.1:1", "does not answer"),
    ],
)
async def test_what_leads_nowhere_is_said_beside_the_box_and_kept_in_it(house: House, typed: str, words: str) -> None:
    browser = await opened(house)
    typed = typed.format(openid=house.openid.url)
    shown = await browser.press("provider=fediverse", fill={"identifier": typed})
    assert isinstance(shown, Shown), shown
    assert (shown.status, shown.path.endswith("/sign-in")) == (200, True)
    assert shown.text.count(words) == 2, "in the summary and beside the box"
    assert shown.value("identifier") == typed
    assert "elsewhere.test" not in house.log
    assert '"check":"' in house.log


async def test_a_refused_address_is_shown_by_a_page_that_can_be_opened_again(house: House) -> None:
    """Back and a reload ask nothing: no page with a mistake is the answer to a form. The address stands in no URL."""
    browser = await opened(house)
    refused = await browser.press("provider=fediverse", fill={"identifier": "Elsewhere.test"})
    assert isinstance(refused, Shown)
    assert refused.response.request.method == "GET"
    assert "lsewhere" not in refused.url
    assert "lsewhere" not in house.log
    again = await browser.open(refused.url)
    assert again.value("identifier") == "Elsewhere.test"
    assert "People of that server cannot sign in here" in again.text
    assert (await browser.open(refused.path)).value("identifier") == ""
    await house.move(minutes=29)
    assert (await browser.open(refused.url)).value("identifier") == "Elsewhere.test"


async def test_what_was_typed_opens_in_no_other_sign_in(house: House, servers: tuple[str, str]) -> None:
    """catalogue 98, 149: nobody can have a page of somebody else say what they like; on the ways as on the chooser."""
    first, second = await opened(house), await opened(house)
    sealed = urlsplit((await first.press("provider=fediverse", fill={"identifier": "call 555-1234"})).url).query
    for path in (second.page.path, "/trial", f"{second.page.path}?again=AAAA"):
        shown = await second.open(f"{path}{'&' if '?' in path else '?'}{sealed}")
        assert "555-1234" not in shown.text
    await type_in(first, servers[0])
    await first.press("decision=continue")
    await first.press("decision=create", fill={"preferred_username": "ana"})
    await first.open("/me/ways")
    mine = await first.press("provider=fediverse", fill={"identifier": "elsewhere.test"})
    assert isinstance(mine, Shown)
    assert (mine.path, mine.response.request.method, mine.value("identifier")) == ("/me/ways", "GET", "elsewhere.test")
    await type_in(await signing_in(second), servers[0])
    theirs = await second.open(f"/me/ways?{urlsplit(mine.url).query}")
    assert theirs.value("identifier") == "", "another session of the same person"
    assert (await first.open(mine.url)).value("identifier") == "elsewhere.test"
    await house.move(minutes=31)
    assert (await first.open(mine.url)).value("identifier") == "", "what is half an hour old is forgotten"


async def signing_in(browser: Browser) -> Browser:
    await browser.open("/sign-in")
    return browser
