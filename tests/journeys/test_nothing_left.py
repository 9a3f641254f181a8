"""What somebody refused, did not decide yet, or closed is nowhere: not on disk, not in a log, not for any key we hold.

Each stage searches the raw bytes (SQLite and its write-ahead log, a PostgreSQL dump, a Redis dump, the log) and opens
every value with every key of the server (decisions 4, 20; catalogue 168).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.opener import PURPOSES, Opener
from tests.support.canaries import Canaries
from tests.support.house import Arrival, Browser, House, Sandboxes, Shown, Site, open_house
from tests.support.servers import PostgresServer, RedisServer

from broker.app import PURGE_BATCH, purge_all

KEPT = {"name": "Quetzal Pfefferkorn", "email": "kept-canary-4711@people.test", "user name": "kept-canary-8d1f"}
REFUSED = {"given_name": "Quetzal-Refused-77aa", "family_name": "Pfefferkorn-Refused-55bb", "picture": "refused-canary"}
TYPED = {"typed": "typed-canary-90210@people.test"}


@dataclass
class Place:
    """A running house, and everything it writes to."""

    house: House
    folder: Path
    redis_url: str | None = None
    postgres: PostgresServer | None = None
    redis: RedisServer | None = None

    async def search(self, planted: dict[str, str]) -> int:
        """Fails if any of it is anywhere; gives how many places were searched."""
        canaries = Canaries(planted)
        searched = canaries.check_files(self.folder)
        canaries.check_bytes("the log", self.house.log.encode())
        if self.postgres is not None:
            canaries.check_bytes("the PostgreSQL dump", self.postgres.dump(self.house.settings.broker.database_url))
        if self.redis is not None:
            canaries.check_bytes("the Redis dump", self.redis.dump())
        opener = await Opener.of(self.house, self.redis_url)
        for where, data in opener.everything():
            canaries.check_bytes(where, data)
            searched += 1
        return searched

    async def finds(self, planted: dict[str, str]) -> set[str]:
        """Which of it a key of the server opens: the proof that the search looks where things are."""
        canaries = Canaries(planted)
        opener = await Opener.of(self.house, self.redis_url)
        return {label for _, data in opener.everything() for label in canaries.seen_in(data)}


@pytest.fixture(params=["sqlite", "postgresql and redis"])
async def place(request: pytest.FixtureRequest, tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[Place]:
    """The embedded store, and what larger houses run on."""
    people = sandboxes.facebook.state.people
    quetzal = replace(
        people["normal"],
        slug="refused-canary",  # the picture's address is made from it
        first_name=REFUSED["given_name"],
        last_name=REFUSED["family_name"],
        email=KEPT["email"],
    )
    sandboxes.facebook.state.people = {**people, "refused-canary": quetzal}
    (tmp_path / "data").mkdir()
    try:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path / 'data' / 'doorward.db'}"
            async with open_house(tmp_path, sandboxes, database_url=url) as house:
                yield Place(house, tmp_path / "data")
        else:
            postgres, redis = request.getfixturevalue("postgres_server"), request.getfixturevalue("redis_server")
            url, redis_url = request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url")
            async with open_house(tmp_path, sandboxes, database_url=url, redis_url=redis_url) as house:
                yield Place(house, tmp_path / "data", redis_url, postgres, redis)
    finally:
        sandboxes.facebook.state.people = people


def upstream_tokens(house: House) -> dict[str, str]:
    """Every token the provider gave out."""
    found = {f"upstream token {number}": token for number, token in enumerate(house.facebook.state.tokens)}
    assert found
    return found


async def to_preview(browser: Browser, house: House, forum: Site | None = None) -> Shown:
    await browser.open((forum or house.site("forum")).request_url())
    shown = await browser.choose("facebook", "refused-canary")
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/details")
    for sent in (REFUSED["given_name"], KEPT["email"]):
        assert sent in shown.text
    return shown


async def test_what_is_not_decided_yet_is_readable_by_nobody_but_the_browser(place: Place) -> None:
    """The server keeps it, and none of its keys opens it: the key is in the cookie (decision 4)."""
    browser = place.house.browser()
    await to_preview(browser, place.house)
    sent = {**REFUSED, "email": KEPT["email"]} | upstream_tokens(place.house)
    assert await place.search(sent) > 20


async def test_not_using_the_provider_leaves_nothing(place: Place) -> None:
    """ "Do not use Facebook": what it sent and what it let us do (decision 19)."""
    browser = place.house.browser()
    await to_preview(browser, place.house)
    sent = {**REFUSED, "email": KEPT["email"]} | upstream_tokens(place.house)
    await browser.press("decision=refuse")
    assert await place.search(sent) > 10
    assert "transactions" not in {cell.place.partition(".")[0] for cell in (await Opener.of(place.house)).cells}


@pytest.mark.parametrize("ending", ["cancelled", "run out"])
async def test_a_sign_up_that_ends_halfway_leaves_nothing(place: Place, ending: str) -> None:
    """Cancelled on the last page, or never finished: what was typed there is gone as well (catalogue 109)."""
    browser, house = place.house.browser(), place.house
    await to_preview(browser, house)
    await browser.press("decision=continue", fill={"v-email": TYPED["typed"]})
    sent = {**REFUSED, **TYPED, "email": KEPT["email"]} | upstream_tokens(house)
    if ending == "cancelled":
        await browser.press("decision=cancel")
    else:
        house.clock.move(hours=3)
        await house.world.memory.purge(house.clock.now())
    assert await place.search(sent) > 10


async def test_refused_fields_are_nowhere_and_kept_ones_are_sealed(place: Place) -> None:
    """After the account is made, what was left unticked is nowhere, its address and the provider's tokens included."""
    browser, house = place.house.browser(), place.house
    forum = house.site("forum")
    await to_preview(browser, house, forum)
    await browser.press("decision=continue", fill={"v-name": KEPT["name"]})
    await browser.press("decision=create", fill={"preferred_username": KEPT["user name"]})
    end = await browser.press("decision=share", tick=("name", "email"))
    assert isinstance(end, Arrival)
    claims = await forum.claims((await forum.redeem(end))["access_token"])
    assert (claims["name"], claims["email"]) == (KEPT["name"], KEPT["email"])
    assert await place.search(REFUSED | upstream_tokens(house)) > 40
    assert await place.finds(KEPT) == set(KEPT)
    Canaries(KEPT).check_files(place.folder)
    Canaries(KEPT).check_bytes("the log", house.log.encode())


async def test_a_closed_account_is_nowhere(place: Place) -> None:
    """Name, address, user name, what was typed later: gone for every key, while the records of decisions stay
    (catalogue 130).
    """
    browser, house = place.house.browser(), place.house
    forum = house.site("forum")
    await to_preview(browser, house, forum)
    await browser.press("decision=continue", fill={"v-name": KEPT["name"]})
    await browser.press("decision=create", fill={"preferred_username": KEPT["user name"]})
    end = await browser.press("decision=share", tick=("name", "email"))
    assert isinstance(end, Arrival)
    await forum.claims((await forum.redeem(end))["access_token"])
    await browser.open("/me/details")
    await browser.press("Save: E-mail address", fill={"v-email": TYPED["typed"]})
    assert await place.finds(KEPT | TYPED) == {*KEPT, *TYPED}  # the old address still names the way to sign in
    await browser.open("/me/close")
    closed = await browser.press("decision=close")
    assert isinstance(closed, Shown)
    assert closed.status == 200
    assert await place.search(KEPT | TYPED | REFUSED | upstream_tokens(house)) > 20
    left = (await Opener.of(house, place.redis_url)).cells
    assert [cell for cell in left if cell.place.startswith("consent_receipts.")]
    assert [cell for cell in left if cell.place.startswith("disclosures.")]
    assert not [cell for cell in left if cell.place.startswith(("links.", "grants.", "refresh_families.", "codes."))]


def test_every_key_the_program_derives_is_tried() -> None:
    """Whoever derives a key for something new adds it to the list."""
    derived: set[str] = set()
    for path in Path("broker").rglob("*.py"):
        derived |= set(re.findall(r"stores\.derive\(\"([a-z_ -]+)\"\)", path.read_text(encoding="utf-8")))
    assert derived == set(PURPOSES)


async def test_the_search_finds_what_is_there(place: Place) -> None:
    """A canary that was kept is found: the same search that finds nothing elsewhere sees through the seals."""
    browser = place.house.browser()
    await to_preview(browser, place.house)
    await browser.press("decision=continue", tick=("given_name",))
    await browser.press("decision=create", fill={"preferred_username": KEPT["user name"]})
    found: Any = await place.finds({"given_name": REFUSED["given_name"], **KEPT})
    assert {"given_name", "email", "user name"} <= found


async def test_what_is_over_goes_as_fast_as_it_came(house: House) -> None:
    """However much of it there is: what anybody can have written down must not fill a disk (catalogue 186)."""
    until = house.clock.now() + timedelta(seconds=60)
    for number in range(3 * PURGE_BATCH + 1):
        await house.world.memory.replay.first_time(f"proof {number}", until)
    house.clock.move(minutes=2)
    await purge_all(house.opened)
    assert await house.world.memory.purge(house.clock.now()) == 0
