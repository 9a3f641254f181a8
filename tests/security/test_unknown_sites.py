"""Sites come from the operator's settings and from nowhere else; none can go round the person."""

from __future__ import annotations

import dataclasses

from tests.security.raw import Asked, ask
from tests.support.house import Arrival, House, Shown

from broker.domain.client import Client
from broker.settings_schema import SITE


async def test_nobody_registers_a_site_by_asking(house: House) -> None:
    """Where the admin invites nobody there is no registration, and a request cannot bring its own site along
    (catalogue 15, 136)."""
    async with house.client() as client:
        metadata = (await client.get("/.well-known/openid-configuration")).json()
    assert "registration_endpoint" not in metadata
    for method in ("GET", "POST", "PUT"):
        for path in ("/registration", "/connect/register", "/clients"):
            assert (await ask(house.app, Asked(method=method, path=path))).status == 404
    async with house.client() as client:
        said = {"redirect_uris": ["https://evil.test/"]}
        assert (await client.post("/register", json=said)).status_code == 401
        headers = {"Authorization": "Bearer invented"}
        assert (await client.post("/register", json=said, headers=headers)).status_code == 404
    forum, browser = house.site("forum"), house.browser()
    arrived = await browser.go(forum.request_url(registration='{"redirect_uris":["https://evil.test/"]}'))
    assert isinstance(arrived, Arrival)
    assert arrived.params["error"] == "registration_not_supported"
    unknown = await browser.go(forum.request_url(client_id="evil", redirect_uri="https://evil.test/cb"))
    assert isinstance(unknown, Shown)
    assert unknown.status == 400


def test_no_setting_lets_a_site_skip_the_person() -> None:
    """Whoever looks for a switch to trust a site blindly finds none (catalogue 136)."""
    words = ("skip", "auto", "trust", "implicit", "silent", "pre_approve", "preapprove", "no_consent", "first_party")
    names = [field.name for field in dataclasses.fields(Client)] + [option.name for option in SITE]
    assert len(names) > 20
    assert not [name for name in names if any(word in name for word in words)]


async def test_a_site_seen_for_the_first_time_is_named_before_anything_is_shared(house: House) -> None:
    """Its name, its host, who runs it, and that it is the first time; with prompt=none it gets nothing (catalogue 15, 136)."""
    browser = house.browser()
    await browser.sign_up(user_name="zoe-first-time")
    for name, runner in (("forum", "The Club"), ("tracker", "Somebody else")):
        site = house.site(name)
        silent = await browser.go(site.request_url(prompt="none"))
        assert isinstance(silent, Arrival)
        assert silent.params["error"] == "consent_required"
        asked = await browser.open(site.request_url())
        assert asked.path.endswith("/site")
        for words in (f"{name}.test", runner, "First time you use it."):
            assert words in asked.text
        refused = await browser.press("decision=refuse")
        assert isinstance(refused, Arrival)
        assert refused.params["error"] == "access_denied"


async def test_prompt_consent_always_asks(house: House) -> None:
    """Also somebody who shared with this site a moment ago (catalogue 136)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.sign_up(forum, user_name="zoe-asked-again")
    assert isinstance(await browser.go(forum.request_url()), Arrival)
    again = await browser.go(forum.request_url(prompt="consent"))
    assert isinstance(again, Shown)
    assert again.path.endswith("/site")
    assert "First time you use it." not in again.text
