"""The modules of the Dynamic RP plan that find the provider by an address that somebody types (OpenID Connect Discovery 1.0 §2).

As in the suite, the provider is found by WebFinger, described by its metadata, and we register there before anybody leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import DOORWARD_TOML, ISSUER, Browser, House, Sandboxes, Shown, open_house

OWN = """
[own]
kind = "typed_openid_connect"
label = "OpenID Connect"
brand = "openid"
sandbox = true
discovery = "hosts"
hosts = ["127.0.0.1"]
fields = ["name", "email", "picture"]
"""


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """A Doorward that no provider is configured at."""
    async with open_house(tmp_path, sandboxes, doorward=DOORWARD_TOML, providers=OWN) as opened:
        yield opened


async def come_in(house: House, typed: str, persona: str = "ana") -> Shown:
    browser: Browser = house.browser()
    await browser.open("/sign-in")
    await house.openid.order(persona=persona)
    shown = await browser.agree_upstream(await browser.press("provider=own", fill={"identifier": typed}))
    assert isinstance(shown, Shown)
    return shown


async def found_by(house: House, typed: str, scheme: str) -> list[dict[str, Any]]:
    """Somebody comes in by this address; what the provider was asked, in order."""
    shown = await come_in(house, typed)
    assert shown.path.endswith("/details"), shown.text
    assert "Ana Marković" in shown.text
    log = await house.openid.log()
    assert [line["path"] for line in log[:3]] == [
        "/.well-known/webfinger",
        "/.well-known/openid-configuration",
        "/register",
    ]
    assert (log[0]["resource"], log[0]["rel"]) == (scheme, ["http://openid.net/specs/connect/1.0/issuer"])
    return log


async def test_oidcc_client_test_discovery_webfinger_acct(house: House) -> None:
    """With and without `acct:` before it; the provider is asked as we registered there, and knows the address we wait at."""
    log = await found_by(house, f"ana@{house.openid.host}", "acct")
    assert [line["path"] for line in log[3:] if line["path"] in {"/authorize", "/token"}] == ["/authorize", "/token"]
    (client, *_) = [one for one in house.openid.state.clients.values() if one.name == "Club Login"]
    assert client.redirect_uris[0].startswith(f"{ISSUER}/callback/own/")
    shown = await come_in(house, f"acct:ana@{house.openid.host}")
    assert "Ana Marković" in shown.text
    assert [line["path"] for line in await house.openid.log()].count("/register") == 1


async def test_oidcc_client_test_discovery_webfinger_url(house: House) -> None:
    """The address of a page, and that of the host alone."""
    await found_by(house, f"{house.openid.url}/ana", "http")
    shown = await come_in(house, house.openid.host)
    assert "Ana Marković" in shown.text


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"name": "status", "at": "webfinger", "status": 503}, "does not answer"),
        ({"name": "endless", "at": "webfinger"}, "does not answer"),
        ({"name": "redirect", "at": "webfinger"}, "No provider that can be used"),
        ({"name": "discovery-issuer-other"}, "No provider that can be used"),
        ({"name": "discovery-no-token-endpoint"}, "No provider that can be used"),
        ({"name": "status", "at": "register", "status": 403}, "takes no new sites by itself"),
        ({"name": "endless", "at": "register"}, "does not answer"),
    ],
)  # fmt: skip
async def test_what_is_found_by_no_address_is_said(house: House, fault: dict[str, Any], words: str) -> None:
    """Plain words beside the box, and what was typed stays in it; answers without end are cut (catalogue 174)."""
    await house.openid.order(fault=fault)
    shown = await come_in(house, f"ana@{house.openid.host}")
    assert (shown.status, shown.path.endswith("/sign-in")) == (200, True)
    assert shown.text.count(words) == 2, shown.text
    assert shown.value("identifier") == f"ana@{house.openid.host}"
    assert "ana@" not in house.log
    assert "/authorize" not in [line["path"] for line in await house.openid.log()]


async def test_a_host_without_webfinger_is_asked_whether_it_is_a_provider(house: House) -> None:
    await house.openid.order(fault={"name": "status", "at": "webfinger", "status": 404})
    shown = await come_in(house, house.openid.host)
    assert "Ana Marković" in shown.text
    shown = await come_in(house, f"ana@{house.openid.host}")
    assert "No provider that can be used" in shown.text


@pytest.mark.parametrize(
    ("fault", "check"),
    [("iss-wrong", "iss"), ("aud-wrong", "aud"), ("nonce-wrong", "nonce"), ("response-iss-wrong", "response_iss")],
)
async def test_an_answer_that_is_no_answer_to_us_lets_nobody_in(house: House, fault: str, check: str) -> None:
    """All that holds for a provider of the configuration holds for one that was typed (catalogue 39, 42, 43, 44)."""
    await house.openid.order(fault={"name": fault})
    shown = await come_in(house, f"ana@{house.openid.host}")
    assert shown.status >= 400
    assert f'"check":"{check}' in house.log.replace(" ", "")
    assert await house.accounts() == 0


async def test_keys_change_under_way(house: House) -> None:
    await come_in(house, f"ana@{house.openid.host}")
    await house.openid.order(rotate_keys=True)
    shown = await come_in(house, f"ana@{house.openid.host}")
    assert "Ana Marković" in shown.text
