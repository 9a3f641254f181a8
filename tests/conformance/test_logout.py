"""The OpenID Foundation's modules for logout, each as a test of the same name that does what the module does.

RP-initiated, front-channel and back-channel logout. The site's side is independent of ours: requests by a plain HTTP
client, tokens read and forged with joserfc.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from tests.journeys.ear import listening
from tests.support.house import ISSUER, SITES_TOML, Arrival, Browser, House, Sandboxes, Shown, open_house

BYE = "https://forum.test/bye"


@dataclass
class Module:
    """What every module begins with: the discovery document, and a person signed in at the site."""

    house: House
    metadata: dict[str, Any]
    browser: Browser
    id_token: str
    state: str

    @classmethod
    async def begin(cls, house: House) -> Module:
        async with house.client() as client:
            metadata = (await client.get("/.well-known/openid-configuration")).json()
        browser, forum = house.browser(), house.site("forum")
        arrived = await browser.sign_up(forum, user_name="ana")
        assert isinstance(arrived, Arrival)
        tokens = await forum.redeem(arrived)
        return cls(house, metadata, browser, tokens["id_token"], secrets.token_urlsafe(96))

    async def logout(self, **params: str) -> Shown | Arrival:
        """To the end session endpoint, as a redirect of the site would bring the person there."""
        query = f"?{urlencode(params)}" if params else ""
        return await self.browser.go(f"{self.metadata['end_session_endpoint']}{query}")

    async def confirm(self, asked: Shown | Arrival) -> Shown | Arrival:
        """The person is asked, and says yes."""
        assert isinstance(asked, Shown), asked
        assert asked.status == 200
        return await self.browser.press("what=everything")

    async def assert_signed_out(self) -> None:
        """A request that may ask nothing hears that somebody has to sign in."""
        end = await self.browser.go(self.house.site("forum").request_url(prompt="none"))
        assert isinstance(end, Arrival)
        assert end.params["error"] in {"login_required", "interaction_required", "account_selection_required"}

    async def assert_refused(self, end: Shown | Arrival) -> None:
        """A page of ours and no redirect; nobody was signed out by it."""
        assert isinstance(end, Shown), end
        assert 400 <= end.status < 500
        assert end.url.startswith(ISSUER)
        assert "location" not in end.response.headers
        assert "refresh" not in end.response.headers
        again = await self.browser.go(self.house.site("forum").request_url(prompt="none"))
        assert isinstance(again, Arrival)
        assert "code" in again.params

    async def published_keys(self) -> KeySet:
        async with self.house.client() as client:
            return KeySet.import_key_set((await client.get(urlsplit(self.metadata["jwks_uri"]).path)).json())


@pytest.fixture
async def module(house: House) -> Module:
    return await Module.begin(house)


def part(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


# --- RP-initiated logout ------------------------------------------------------------------------------


async def test_oidcc_rp_initiated_logout_discovery_endpoint_verification(module: Module) -> None:
    assert module.metadata["issuer"] == ISSUER
    assert module.metadata["end_session_endpoint"].startswith("https://")


async def test_oidcc_rp_initiated_logout(module: Module) -> None:
    """A state of 128 letters comes back as it was (catalogue 100)."""
    assert len(module.state) == 128
    asked = await module.logout(id_token_hint=module.id_token, post_logout_redirect_uri=BYE, state=module.state)
    end = await module.confirm(asked)
    assert isinstance(end, Arrival)
    assert end.url.partition("?")[0] == BYE
    assert end.params == {"state": module.state}
    await module.assert_signed_out()


async def test_oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(module: Module) -> None:
    """(catalogue 100)"""
    bad = f"{BYE}/{secrets.token_urlsafe(6)}"
    end = await module.logout(id_token_hint=module.id_token, post_logout_redirect_uri=bad, state=module.state)
    await module.assert_refused(end)


async def test_oidcc_rp_initiated_logout_modified_id_token_hint(module: Module) -> None:
    """The same claims under `alg: none` (catalogue 100)."""
    unsigned = f"{part({'alg': 'none'})}.{module.id_token.split('.')[1]}."
    end = await module.logout(id_token_hint=unsigned, post_logout_redirect_uri=BYE, state=module.state)
    await module.assert_refused(end)


async def test_oidcc_rp_initiated_logout_no_id_token_hint(module: Module) -> None:
    """(catalogue 100, 101)"""
    await module.assert_refused(await module.logout(post_logout_redirect_uri=BYE, state=module.state))


async def test_oidcc_rp_initiated_logout_no_params(module: Module) -> None:
    """(catalogue 101)"""
    end = await module.confirm(await module.logout())
    assert isinstance(end, Shown)
    assert "You are signed out" in end.headings
    await module.assert_signed_out()


async def test_oidcc_rp_initiated_logout_no_post_logout_redirect_uri(module: Module) -> None:
    """(catalogue 100)"""
    end = await module.confirm(await module.logout(id_token_hint=module.id_token, state=module.state))
    assert isinstance(end, Shown)
    assert "You are signed out" in end.headings
    await module.assert_signed_out()


async def test_oidcc_rp_initiated_logout_no_state(module: Module) -> None:
    """Nothing is added to the registered address (catalogue 100)."""
    end = await module.confirm(await module.logout(id_token_hint=module.id_token, post_logout_redirect_uri=BYE))
    assert isinstance(end, Arrival)
    assert end.url == BYE
    await module.assert_signed_out()


async def test_oidcc_rp_initiated_logout_only_state(module: Module) -> None:
    """(catalogue 101)"""
    end = await module.confirm(await module.logout(state=module.state))
    assert isinstance(end, Shown)
    assert "You are signed out" in end.headings
    assert module.state not in end.response.text
    await module.assert_signed_out()


async def test_oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(module: Module) -> None:
    """(catalogue 100)"""
    added = f"{BYE}?foo=bar"
    end = await module.logout(id_token_hint=module.id_token, post_logout_redirect_uri=added, state=module.state)
    await module.assert_refused(end)


async def test_oidcc_rp_initiated_logout_bad_id_token_hint(module: Module) -> None:
    """The same claims, signed by somebody else under our key's name (catalogue 100)."""
    header = json.loads(base64.urlsafe_b64decode(module.id_token.split(".")[0] + "=="))
    claims = jwt.decode(module.id_token, await module.published_keys(), algorithms=["RS256"]).claims
    forged = jwt.encode(header, dict(claims), RSAKey.generate_key(2048), algorithms=["RS256"])
    end = await module.logout(id_token_hint=forged, post_logout_redirect_uri=BYE, state=module.state)
    await module.assert_refused(end)


# --- front-channel logout -----------------------------------------------------------------------------


@pytest.fixture
async def framed(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[Module]:
    """The same with a site that wants to be told in a frame."""
    address = 'redirect_uris = ["https://forum.test/callback"]'
    sites = SITES_TOML.replace(address, f'{address}\nfrontchannel_logout_uri = "https://forum.test/front"')
    async with open_house(tmp_path, sandboxes, sites=sites) as house:
        yield await Module.begin(house)


async def test_oidcc_frontchannel_logout_discovery_endpoint_verification(module: Module) -> None:
    assert module.metadata["frontchannel_logout_supported"] is True
    assert module.metadata["frontchannel_logout_session_supported"] is True
    assert module.metadata["end_session_endpoint"].startswith("https://")


async def test_oidcc_frontchannel_rp_initiated_logout(framed: Module) -> None:
    """The frame brings issuer and the ID token's `sid`; then the person arrives with the state (catalogue 100, 104)."""
    asked = await framed.logout(id_token_hint=framed.id_token, post_logout_redirect_uri=BYE, state=framed.state)
    page = await framed.confirm(asked)
    assert isinstance(page, Shown)
    seconds, _, onwards = page.response.headers["refresh"].partition("; url=")
    assert int(seconds) <= 3
    assert onwards == f"{BYE}?state={framed.state}"
    [address] = [unescape(found) for found in re.findall(r'<iframe src="([^"]*)"', page.response.text)]
    claims = jwt.decode(framed.id_token, await framed.published_keys(), algorithms=["RS256"]).claims
    assert address.partition("?")[0] == "https://forum.test/front"
    assert parse_qs(urlsplit(address).query) == {"iss": [ISSUER], "sid": [claims["sid"]]}
    await framed.assert_signed_out()


# --- session management (the other module needs a real browser: tests/browser/test_logout.py) ----------


async def test_oidcc_session_management_discovery_endpoint_verification(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with open_house(tmp_path, sandboxes, change={"session_management": True}) as house:
        module = await Module.begin(house)
        assert module.metadata["check_session_iframe"].startswith("https://")
        assert module.metadata["end_session_endpoint"].startswith("https://")


# --- back-channel logout ------------------------------------------------------------------------------


async def test_oidcc_backchannel_logout_discovery_endpoint_verification(module: Module) -> None:
    assert module.metadata["backchannel_logout_supported"] is True
    assert module.metadata["backchannel_logout_session_supported"] is True


async def test_oidcc_backchannel_rp_initiated_logout(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """A signed logout token with the ID token's `sub` and `sid` and no nonce, posted alone (catalogue 105)."""
    with listening() as ear:
        async with open_house(tmp_path, sandboxes, doorward=ear.doorward, sites=ear.sites) as house:
            module = await Module.begin(house)
            asked = await module.logout(id_token_hint=module.id_token, post_logout_redirect_uri=BYE, state=module.state)
            end = await module.confirm(asked)
            assert isinstance(end, Arrival)
            assert end.params == {"state": module.state}
            [told] = await ear.tokens(house, 1)
            claims = jwt.decode(module.id_token, await module.published_keys(), algorithms=["RS256"]).claims
            assert (told["sub"], told["sid"]) == (claims["sub"], claims["sid"])
            assert told["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
            assert ear.fields == [{"logout_token"}]
            await module.assert_signed_out()
