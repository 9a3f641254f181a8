"""Signing in through Debian's LemonLDAP::NG, by OpenID Connect and by OpenID 2.0.

For the one it signs its userinfo, and has a page for signing out; for the other it is Perl's Net::OpenID::Server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from tests.providers.lemon import HOST, SECRET, Lemon, Page, running_lemon
from tests.support.house import DOORWARD_TOML, SECRETS, Arrival, Browser, House, Sandboxes, Shown, open_house
from tests.support.tls import Authority

PROVIDERS = """
[lemon]
kind = "openid_connect"
label = "Lemon"
client_id = "doorward"
client_secret = { env = "LEMON_SECRET" }
issuer = "%(issuer)s"
token_endpoint_auth_method = "client_secret_post"  # with Basic it takes %% and + as they stand, against RFC 6749 §2.3.1
fields = ["name", "email", "preferred_username"]
trusts_email = true
userinfo_signed_response_alg = "RS256"
rp_initiated_logout = true

[address]
kind = "openid2"
label = "OpenID 2.0"
discovery = "hosts"
hosts = ["lemon.test"]
fields = ["name", "email"]
"""


@pytest.fixture(scope="module")
def lemon(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lemon]:
    with running_lemon(authority, tmp_path_factory.mktemp("lemon")) as running:
        yield running


@pytest.fixture
async def house(lemon: Lemon, tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    doorward = DOORWARD_TOML.replace('mode = "development"', 'mode = "production"')
    for name in ("facebook_host", "openid_host"):
        doorward = doorward.replace(f'[egress."%({name})s"]\n', "")
    doorward += f'\n[egress."{HOST}:{lemon.port}"]\nca_file = "{lemon.authority.ca}"\n'
    environ = {"LEMON_SECRET": SECRET, **SECRETS}
    providers = PROVIDERS % {"issuer": lemon.issuer}
    async with open_house(tmp_path, sandboxes, doorward=doorward, providers=providers, environ=environ) as opened:
        yield opened


async def test_a_person_of_that_provider_signs_up_comes_again_and_signs_out_there_too(
    house: House, lemon: Lemon
) -> None:
    """What it says of them comes signed; and having signed out there, they are asked for their password again."""
    forum, browser = house.site("forum"), house.browser()
    async with lemon.browser() as there:
        await browser.open(forum.request_url())
        away = await browser.press("provider=lemon")
        assert isinstance(away, Arrival)
        back = await lemon.walk(there, away.url, user="dwho", password="dwho")
        preview = await browser.go(back)
        assert isinstance(preview, Shown)
        assert preview.headings[0] == "Choose what to use from Lemon"
        assert "Doctor Who" in preview.text
        assert "dwho@badwolf.org" in preview.text
        await browser.press("decision=continue")
        await browser.press("decision=create", fill={"preferred_username": "doctor"})
        end = await browser.press("decision=share", tick=["name", "email"])
        assert isinstance(end, Arrival)
        claims = await forum.claims((await forum.redeem(end))["access_token"])
        assert (claims["name"], claims["email"], claims["email_verified"]) == ("Doctor Who", "dwho@badwolf.org", False)

        await browser.open("/signout")
        await browser.press("what=everything")
        away = await browser.press("Sign out of Lemon too")
        assert isinstance(away, Arrival)
        # Having asked, it leaves people at its own front page (2.16); who is not signed in is sent back at once.
        assert await lemon.walk(there, away.url) == ""
        done = await browser.go(await lemon.walk(there, away.url))
        assert isinstance(done, Shown)
        assert "Lemon: signed out, as it says" in done.text

        await browser.open(forum.request_url())
        away = await browser.press("provider=lemon")
        assert isinstance(away, Arrival)
        asked = Page.of(await there.get(away.url))
        assert {"user", "password"} <= set(asked.fields)
        again = await browser.go(await lemon.walk(there, away.url, user="dwho", password="dwho"))
        assert isinstance(again, Arrival)
        assert await house.accounts() == 1


async def test_a_typed_openid_2_address_leads_through_it_and_back_in(house: House, lemon: Lemon) -> None:
    """catalogue 57, 59: found by the head of a page, and confirmed by the provider itself, without an association."""
    forum, browser = house.site("forum"), house.browser()
    address = f"{lemon.issuer}openidserver/dwho"
    async with lemon.browser() as there:
        await browser.open(forum.request_url())
        preview = await typed(browser, lemon, there, address)
        assert isinstance(preview, Shown)
        assert preview.headings[0] == "Choose what to use from OpenID 2.0"
        await browser.press("decision=continue")
        own = {"preferred_username": "doctor", "v-name": "Doctor Who", "v-email": "dwho@badwolf.org"}
        await browser.press("decision=create", fill=own)
        end = await browser.press("decision=share", tick=["name"])
        assert isinstance(end, Arrival)
        claims = await forum.claims((await forum.redeem(end))["access_token"])
        assert claims["name"] == "Doctor Who"
    again = house.browser()
    await again.open(forum.request_url())
    async with lemon.browser() as there:
        assert isinstance(await typed(again, lemon, there, address), Arrival)
    assert await house.accounts() == 1


async def typed(browser: Browser, lemon: Lemon, there: httpx2.AsyncClient, address: str) -> Shown | Arrival:
    """From the chooser to its pages, where it is the Doctor, and back."""
    away = await browser.press("provider=address", fill={"identifier": address})
    assert isinstance(away, Arrival), away.text
    return await browser.go(await lemon.walk(there, away.url, user="dwho", password="dwho", confirm="1"))
