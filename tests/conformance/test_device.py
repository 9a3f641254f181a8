"""A device made with software that is none of ours: `openid-client` in Node, by RFC 8628, over TLS."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.journeys.node_sites import NODE_SITES, Town, on_the_wire
from tests.support.house import Sandboxes, Shown, site_secret
from tests.support.source import ROOT
from tests.support.tls import Authority
from tests.web.desk import PLAYER

DEVICE = ROOT / "tests/node/device.mjs"

SPEAKING = PLAYER.replace(
    "device_grant = true",
    'device_grant = true\naccess_tokens = "jwt"\nresources = ["https://api.player.test/", "https://search.player.test/"]',
)


@pytest.fixture
async def town(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[Town]:
    environ = {"NODE_SECRET": site_secret("node")}
    async with on_the_wire(tmp_path, sandboxes, authority, sites=NODE_SITES + SPEAKING, environ=environ) as opened:
        yield opened


async def test_openid_client_names_what_its_tokens_are_for(town: Town) -> None:
    """At the device authorization endpoint, one parameter for each (RFC 8707 §2)."""
    interfaces = ["https://api.player.test/", "https://search.player.test/"]
    ana = await town.visitor("ana")
    given = {"issuer": town.base, "clientId": "player", "resources": interfaces}
    async with town.node(str(DEVICE), json.dumps(given)) as device:
        told = (await device.said())["told"]
        await ana.open(told["verification_uri_complete"])
        await ana.press("Continue with this code")
        await ana.press("decision=yes")
        await ana.press("decision=share", tick=["offline_access"])
        town.house.clock.move(seconds=5)
        result = await device.said()
    assert result["ok"] is True, result
    assert result["audience"] == interfaces
    assert result["renewed"] is True


@pytest.mark.parametrize("decision", ["yes", "no"])
async def test_openid_client_signs_a_person_in_on_a_device(town: Town, decision: str) -> None:
    """It asks while the person decides, and hears what they decided."""
    ana = await town.visitor("ana")
    async with town.node(str(DEVICE), json.dumps({"issuer": town.base, "clientId": "player"})) as device:
        told = (await device.said())["told"]
        await ana.open(told["verification_uri_complete"])
        await ana.press("Continue with this code")
        shown = await ana.press(f"decision={decision}")
        if decision == "yes":
            shown = await ana.press("decision=share", tick=["offline_access"])
        assert isinstance(shown, Shown)
        town.house.clock.move(seconds=5)
        result = await device.said()
    if decision == "no":
        assert (result["ok"], result["step"], result["error"]) == (False, "poll", "access_denied")
        return
    assert result["ok"] is True, result
    assert result["userinfo"]["preferred_username"] == "ana"
    assert result["userinfo"]["sub"] == result["claims"]["sub"]
    assert result["renewed"] is True
