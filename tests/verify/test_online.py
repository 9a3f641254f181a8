"""`mode="online"` and `mode="status"` against Doorward itself: what ends a session ends it at the site."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.node_sites import Town
from tests.support.house import House, Sandboxes
from tests.support.tls import Authority
from verify_town import KitSite, kit_town

from broker.domain.account import AccountStatus
from broker.flows.status import LOOK_EVERY


@pytest.fixture
async def town(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[Town]:
    async with kit_town(tmp_path, sandboxes, authority, change={"log_requests": True}) as opened:
        yield opened


def asked(house: House) -> int:
    """How often somebody introspected."""
    return house.log.count('"route":"introspect"')


@pytest.mark.parametrize("name", ["forum", "node"])
async def test_a_person_who_signed_in_is_known_to_a_site_that_asks(town: Town, name: str) -> None:
    """RS256 and ES256; one question in thirty seconds for each token."""
    site = KitSite.of(town, name, mode="online")
    await site.sign_in(await town.visitor("ana"))
    assert [await site.code() for _ in range(3)] == ["ok"] * 3
    assert asked(town.house) == 1
    site.forget()
    assert await site.code() == "ok"
    assert asked(town.house) == 2


async def hold(house: House) -> None:
    """What an admin does to an account that has to be looked at."""
    durable: Any = house.world.durable
    unit = durable.unit()
    for account in list(durable.tables.accounts.values()):
        unit.save_account(replace(account, status=AccountStatus.HELD))
    await unit.commit()


@pytest.mark.parametrize("mode", ["online", "status"])
@pytest.mark.parametrize("end", ["sign-out", "disconnect", "close", "hold"])
async def test_a_session_that_is_over_is_over_at_a_site_that_looks(town: Town, mode: str, end: str) -> None:
    """Without back-channel, in every process that asks or reads the list (catalogue 83)."""
    site, ana = KitSite.of(town, mode=mode), await town.visitor("ana")
    await site.sign_in(ana)
    assert await site.code() == "ok"
    pages = {
        "sign-out": ("/signout", "what=everything"),
        "disconnect": ("/me/sites", "Disconnect Forum"),
        "close": ("/me/close", "decision=close"),
    }
    if end == "hold":
        await hold(town.house)
    else:
        page, button = pages[end]
        await ana.open(town.base + page)
        await ana.press(button)
    town.house.clock.move(LOOK_EVERY)
    site.forget()
    assert await site.code() == "revoked"
    assert await KitSite.of(town, mode="local").code(site.token) == "ok"


@pytest.mark.parametrize("mode", ["online", "status"])
async def test_what_is_over_for_one_person_is_not_over_for_another(town: Town, mode: str) -> None:
    mine, theirs = KitSite.of(town, mode=mode), KitSite.of(town, mode=mode)
    ana = await town.visitor("ana")
    await mine.sign_in(ana)
    await theirs.sign_in(await town.visitor("ben"))
    await ana.open(f"{town.base}/signout")
    await ana.press("what=everything")
    town.house.clock.move(LOOK_EVERY)
    mine.forget()
    theirs.forget()
    assert (await mine.code(), await theirs.code()) == ("revoked", "ok")


def looked(house: House) -> list[str]:
    """How each request for a list was answered."""
    return re.findall(r'"route":"status_list","method":"GET","status":(\d+)', house.log)


@pytest.mark.parametrize("name", ["forum", "node"])
async def test_a_site_that_reads_lists_asks_once_a_minute_for_all_its_people(town: Town, name: str) -> None:
    """Nobody ends anything: the list stays the same and is not sent again."""
    site = KitSite.of(town, name, mode="status")
    tokens = []
    for who in ("ana", "ben", "eva"):
        await site.sign_in(await town.visitor(who))
        tokens.append(site.token)
    assert {await site.code(token) for token in tokens} == {"ok"}
    assert looked(town.house) == ["200"]
    site.forget()
    assert {await site.code(token) for token in tokens} == {"ok"}
    assert looked(town.house) == ["200", "304"]
    assert asked(town.house) == 0


async def test_a_site_with_a_wrong_secret_takes_nobody_for_signed_out(town: Town) -> None:
    """It cannot ask: that is an outage of its own, not the end of a session."""
    site = KitSite.of(town, mode="online")
    await site.sign_in(await town.visitor("ana"))
    site.forget()
    site.kit.verifier._client_secret = "a-secret-that-was-mistyped-0123456"
    assert await site.code() == "keys_unavailable"
