"""Signing in through `oidc-provider`, somebody else's certified software: first the provider alone, then the whole house.

Over https, with a private authority named in the settings, and no switch that weakens anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from tests.journeys.ear import Ear, listening
from tests.providers.witness import CLIENT, HOST, REDIRECT, SECRET, Witness, running_witness
from tests.support.house import (
    DOORWARD_TOML,
    SECRETS,
    SITES_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
    peek,
)
from tests.support.sandbox import served_here
from tests.support.tls import Authority

from broker.chance import SystemClock, SystemEntropy
from broker.domain.claims import EMAIL, NAME, PICTURE
from broker.domain.provider import Attempt, Identified
from broker.domain.values import ClaimName, IdentityKey, ProviderId, Secret
from broker.egress import Egress, Exemption
from broker.errors import SignInCancelled, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers.openid_connect import OpenIDConnect
from providers.preset import Preset

WITNESS = ProviderId("witness")


@pytest.fixture(scope="module")
def witness(authority: Authority) -> Iterator[Witness]:
    with running_witness(authority) as running:
        yield running


@pytest.fixture
async def egress(witness: Witness) -> AsyncIterator[Egress]:
    client = Egress(exemptions=[Exemption(host=HOST, port=witness.port, ca_file=witness.authority.ca)])
    yield client
    await client.aclose()


def provider(witness: Witness, egress: Egress, **changes: Any) -> OpenIDConnect:
    usual = Preset(
        id=WITNESS,
        kind="openid_connect",
        label="Witness",
        client_id=CLIENT,
        client_secret=Secret(SECRET),
        issuer=witness.issuer,
        fields=(NAME, EMAIL, PICTURE, ClaimName("locale")),
        trusts_email=True,
    )
    return OpenIDConnect(replace(usual, **changes), egress, SystemClock())


def new_attempt(one: OpenIDConnect, **changes: Any) -> Attempt:
    entropy = SystemEntropy()
    usual: dict[str, Any] = {
        "provider": WITNESS,
        "redirect_uri": REDIRECT,
        "state": entropy.token(),
        "nonce": entropy.token(),
        "code_verifier": entropy.token(48),
        "scopes": one.sign_in_scopes,
    }
    return Attempt(**{**usual, **changes})


async def come_back(witness: Witness, one: OpenIDConnect, attempt: Attempt, name: str, **how: Any) -> dict[str, str]:
    address = await witness.sign_in(await one.authorization_url(attempt), name, **how)
    assert address.startswith(REDIRECT)
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


async def sign_in(witness: Witness, one: OpenIDConnect, name: str = "ana", **changes: Any) -> Identified:
    attempt = new_attempt(one, **changes)
    return await one.identify(attempt, await come_back(witness, one, attempt, name))


async def test_discovery_keys_code_pkce_nonce_and_userinfo_work_together(witness: Witness, egress: Egress) -> None:
    """catalogue 36, 38, 39: its ID token says no name, so what was promised comes from userinfo, about the same person."""
    one = provider(witness, egress)
    await one.check()
    attempt = new_attempt(one)
    callback = await come_back(witness, one, attempt, "ana")
    assert callback["iss"] == witness.issuer, "it promises to name itself (RFC 9207), so this is checked"
    found = await one.identify(attempt, callback)
    assert found.identity.key == IdentityKey(issuer=witness.issuer, subject="ana")
    assert found.identity.claims == {
        NAME: "Ana Witness", EMAIL: "ana@witness.test", PICTURE: f"{witness.issuer}/ana.png", ClaimName("locale"): "fr",
    }  # fmt: skip
    assert found.identity.verified == {EMAIL}
    assert found.tokens is not None
    await one.revoke(found.tokens)


async def test_its_word_about_an_address_is_passed_on_as_it_is(witness: Witness, egress: Egress) -> None:
    """catalogue 113, 114"""
    assert (await sign_in(witness, provider(witness, egress), "unverified")).identity.verified == frozenset()
    assert (await sign_in(witness, provider(witness, egress, trusts_email=False))).identity.verified == frozenset()


async def test_a_code_is_good_once_and_only_with_its_verifier(witness: Witness, egress: Egress) -> None:
    """catalogue 34, 37, 53"""
    one = provider(witness, egress)
    attempt = new_attempt(one)
    callback = await come_back(witness, one, attempt, "ana")
    with pytest.raises(UpstreamRejected, match="invalid_grant"):
        await one.identify(replace(attempt, code_verifier="x" * 48), callback)
    attempt = new_attempt(one)
    callback = await come_back(witness, one, attempt, "ana")
    await one.identify(attempt, callback)
    with pytest.raises(UpstreamRejected, match="invalid_grant"):
        await one.identify(attempt, callback)


async def test_another_nonce_or_another_issuer_is_refused(witness: Witness, egress: Egress) -> None:
    """catalogue 38, 39"""
    one = provider(witness, egress)
    attempt = new_attempt(one)
    callback = await come_back(witness, one, attempt, "ana")
    with pytest.raises(UpstreamInvalid, match="response_iss"):
        await one.identify(attempt, {**callback, "iss": f"{witness.issuer}/"})
    with pytest.raises(UpstreamInvalid, match="nonce"):
        await one.identify(replace(attempt, nonce="another"), callback)


async def test_cancelling_there_is_cancelling_here(witness: Witness, egress: Egress) -> None:
    """catalogue 56"""
    one = provider(witness, egress)
    attempt = new_attempt(one)
    callback = await come_back(witness, one, attempt, "ana", cancel=True)
    assert (callback["error"], callback["state"], callback["iss"]) == ("access_denied", attempt.state, witness.issuer)
    with pytest.raises(SignInCancelled):
        await one.identify(attempt, callback)


async def test_a_fresh_sign_in_is_proved_by_its_time(witness: Witness, egress: Egress) -> None:
    before = SystemClock().now().replace(microsecond=0)
    found = await sign_in(witness, provider(witness, egress), fresh=True)
    assert found.identity.authenticated_at is not None
    assert found.identity.authenticated_at >= before


async def test_a_new_key_is_found_at_the_first_token_it_signs(witness: Witness, egress: Egress) -> None:
    """catalogue 75, 166: fetched again because of a name nobody knows yet; nobody is refused."""
    one = provider(witness, egress)
    await sign_in(witness, one)
    witness.rotate()
    assert (await sign_in(witness, one)).identity.key.subject == "ana"


async def test_without_its_authority_it_is_an_outage(witness: Witness) -> None:
    """catalogue 172: https is never taken on trust."""
    egress = Egress(exemptions=[Exemption(host=HOST, port=witness.port)])
    with pytest.raises(UpstreamUnavailable, match="tls"):
        await provider(witness, egress).check()
    await egress.aclose()


# --- through the whole application --------------------------------------------------------------------

PROVIDERS = """
[witness]
kind = "openid_connect"
label = "Witness"
client_id = "doorward"
client_secret = { env = "WITNESS_SECRET" }
issuer = "%(issuer)s"
fields = ["name", "email", "picture", "locale"]
trusts_email = true
rp_initiated_logout = true
"""


@asynccontextmanager
async def open_house_with(
    witness: Witness, folder: Path, sandboxes: Sandboxes, *, ear: Ear | None = None
) -> AsyncIterator[House]:
    """As an admin would set it up; `ear`: what the forum hears of sign-outs."""
    doorward = (ear.doorward if ear else DOORWARD_TOML).replace('mode = "development"', 'mode = "production"')
    for name in ("facebook_host", "openid_host"):
        doorward = doorward.replace(f'[egress."%({name})s"]\n', "")
    doorward += f'\n[egress."{HOST}:{witness.port}"]\nca_file = "{witness.authority.ca}"\n'
    providers = PROVIDERS % {"issuer": witness.issuer}
    environ = {"WITNESS_SECRET": SECRET, **SECRETS}
    sites = ear.sites if ear else SITES_TOML
    async with open_house(
        folder, sandboxes, doorward=doorward, providers=providers, sites=sites, environ=environ
    ) as opened:
        yield opened


@pytest.fixture
async def house(witness: Witness, tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house_with(witness, tmp_path, sandboxes) as opened:
        yield opened


async def through_the_witness(
    house: House, witness: Witness, browser: Browser, name: str, **how: Any
) -> Shown | Arrival:
    """From the chooser to the provider and back, with its pages answered as this person."""
    away = await browser.press("provider=witness")
    assert isinstance(away, Arrival), "the browser has left for the provider"
    return await browser.go(await witness.sign_in(away.url, name, **how))


async def test_a_person_of_that_provider_signs_up_and_arrives_at_the_site(house: House, witness: Witness) -> None:
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    preview = await through_the_witness(house, witness, browser, "zoe")
    assert isinstance(preview, Shown)
    assert preview.headings[0] == "Choose what to use from Witness"
    assert "zoe@witness.test" in preview.text
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "zoe"})
    end = await browser.press("decision=share", tick=["name", "email"])
    assert isinstance(end, Arrival)
    claims = await forum.claims((await forum.redeem(end))["access_token"])
    assert (claims["name"], claims["email"], claims["email_verified"]) == ("Zoe Witness", "zoe@witness.test", True)
    again = house.browser()
    await again.open(forum.request_url())
    assert isinstance(await through_the_witness(house, witness, again, "zoe"), Arrival)
    assert await house.accounts() == 1


async def test_who_cancels_there_is_back_at_the_chooser_with_nothing_kept(house: House, witness: Witness) -> None:
    """catalogue 56"""
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    shown = await through_the_witness(house, witness, browser, "zoe", cancel=True)
    assert isinstance(shown, Shown)
    assert shown.headings[0] == "You did not let Witness tell us who you are"
    assert await house.accounts() == 0


# --- somebody signs out over there --------------------------------------------------------------------


async def at_the_forum(house: House, witness: Witness, there: httpx2.AsyncClient) -> tuple[Browser, dict[str, Any]]:
    """Zoe in one more browser, known to the forum; and what the forum got."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    end = await through_the_witness(house, witness, browser, "zoe", there=there)
    if isinstance(end, Shown):
        await browser.press("decision=continue")
        await browser.press("decision=create", fill={"preferred_username": "zoe"})
        end = await browser.press("decision=share", tick=["name"])
    assert isinstance(end, Arrival)
    return browser, await forum.redeem(end)


async def is_signed_in(browser: Browser) -> bool:
    return (await browser.open("/me")).path == "/me"


async def test_who_signs_out_there_is_signed_out_here_and_at_the_sites(
    witness: Witness, tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """Its own logout token, sent by its own server over TLS: that browser and what was begun in it, and no other's."""
    leaf = witness.authority.leaf("login.test")
    with listening() as ear:
        async with (
            open_house_with(witness, tmp_path, sandboxes, ear=ear) as house,
            served_here(house.app, port=witness.hook_port, certificate=leaf.certificate, key=leaf.key),
            witness.browser() as phone,
            witness.browser() as laptop,
        ):
            on_phone, phone_tokens = await at_the_forum(house, witness, phone)
            on_laptop, laptop_tokens = await at_the_forum(house, witness, laptop)
            await witness.sign_out(phone)
            await asyncio.to_thread(witness.wait_for, "told")
            assert not await is_signed_in(on_phone)
            assert await is_signed_in(on_laptop)
            forum = house.site("forum")
            assert (await forum.userinfo(phone_tokens["access_token"])).status_code == 401
            assert (await forum.userinfo(laptop_tokens["access_token"])).status_code == 200
            (told,) = await ear.tokens(house, 1)
            assert told["sid"] == peek(phone_tokens["id_token"])["sid"]
            assert '"provider_sign_out"' in house.log


async def test_who_signs_out_here_signs_out_there_and_comes_back(house: House, witness: Witness) -> None:
    """OpenID Connect RP-Initiated Logout 1.0: it asks, ends its session, and sends back what we sent along."""
    async with witness.browser() as there:
        browser, _ = await at_the_forum(house, witness, there)
        await browser.open("/signout")
        await browser.press("what=everything")
        away = await browser.press("Sign out of Witness too")
        assert isinstance(away, Arrival)
        shown = await browser.go(await witness.sign_out(there, away.url))
        assert isinstance(shown, Shown)
        assert "Witness: signed out, as it says" in shown.text
        await browser.open("/sign-in")
        away = await browser.press("provider=witness")
        assert isinstance(away, Arrival)
        silent = await there.get(f"{away.url}&prompt=none")
        assert "error=login_required" in silent.headers["location"]
