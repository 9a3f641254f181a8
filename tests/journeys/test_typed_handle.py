"""Somebody signs in with Bluesky by a handle that they type: the whole way, at a strict server, without a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.support.atproto_server import ANA, BOB, State, create_app
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
from tests.support.sandbox import serve

BLUESKY = """
[bluesky]
kind = "atproto"
label = "Bluesky"
brand = "bluesky"
sandbox = true
discovery = "any"
issuer = "{url}"
fields = ["name", "preferred_username", "profile"]
order = 3

[bluesky.endpoints]
directory = "{url}/plc"
"""


@dataclass(frozen=True)
class Far:
    url: str
    state: State


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    app = create_app()
    with serve(app) as url:
        yield Far(url, app.state.atproto)


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, far: Far) -> AsyncIterator[House]:
    doorward = DOORWARD_TOML.replace('[fields.email]\nuse = "needed"', '[fields.email]\nuse = "optional"')
    doorward += f'\n[egress."{urlsplit(far.url).netloc}"]\n'
    far.state.person = ANA
    async with open_house(
        tmp_path, sandboxes, doorward=doorward, providers=PROVIDERS_TOML + BLUESKY.format(url=far.url)
    ) as opened:
        async with opened.client() as client:
            answer = await client.get("/client-metadata/bluesky")
        assert answer.headers["cache-control"] == "public, max-age=600"
        far.state.client = answer.json()
        yield opened


async def come(house: House, typed: str) -> tuple[Browser, Shown]:
    """From the chooser, through the server's own page, back to us."""
    browser = house.browser()
    await browser.open("/sign-in")
    gone = await browser.press("provider=bluesky", fill={"identifier": typed})
    assert isinstance(gone, Arrival), gone
    async with httpx2.AsyncClient() as client:
        there = await client.get(gone.url)
    assert there.is_redirect, there.text
    return browser, await browser.open(there.headers["location"])


async def test_a_handle_is_a_way_to_an_account_and_back_in(house: House, far: Far) -> None:
    """By handle, and the second time with nothing typed; what the server gave us is given back."""
    browser, preview = await come(house, "@ana.people.test")
    assert preview.path.endswith("/details")
    assert "Ana Marković" in preview.text
    assert far.state.tokens == set(), "given back"
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    _, again = await come(house, "")
    assert again.path == "/me"
    assert await house.accounts() == 1
    assert "people.test" not in house.log
    assert ANA not in house.log


async def test_a_server_cannot_say_who_somebody_of_another_server_is(house: House, far: Far) -> None:
    """atproto.com/specs/oauth, "Identity authentication" (catalogue 59)."""
    far.state.person = BOB
    _, shown = await come(house, "ana.people.test")
    assert shown.status == 503
    assert await house.accounts() == 0


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("ana", "This is no handle"),
        ("nobody.people.test", "Nobody is found by this handle"),
        ("bob.people.test", "does not answer"),
    ],
)
async def test_what_leads_nowhere_is_said_beside_the_box_and_kept_in_it(house: House, typed: str, words: str) -> None:
    browser = house.browser()
    await browser.open("/sign-in")
    shown = await browser.press("provider=bluesky", fill={"identifier": typed})
    assert isinstance(shown, Shown)
    assert (shown.status, shown.text.count(words), shown.value("identifier")) == (200, 2, typed)


async def test_what_we_say_of_ourselves_is_read_where_our_id_says(house: House, far: Far) -> None:
    """And of no provider that does not read it."""
    assert far.state.client["client_id"] == f"{ISSUER}/client-metadata/bluesky"
    assert far.state.client["redirect_uris"] == [f"{ISSUER}/callback/bluesky"]
    async with house.client() as client:
        for other in ("openid", "nowhere"):
            assert (await client.get(f"/client-metadata/{other}")).status_code == 404
