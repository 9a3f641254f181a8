"""Mattermost and Flarum sign people in at GitLab's addresses, asked as their software asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from tests.support.house import ISSUER, Arrival, House, Sandboxes, Shown, Site, site_secret
from tests.web.desk import MORE_SITES, account_of, connect, member, signed_in, wide_house

from broker.domain.claims import EMAIL

CHAT = """
[chat]
name = "Chat"
url = "https://chat.test"
redirect_uris = ["https://chat.test/signup/gitlab/complete"]
client_secret = { env = "CHAT_SECRET" }
auth_method = "client_secret_post"
pkce_required = false
gitlab_endpoints = true

[chat.asks.preferred_username]
use = "needed"
why = { en = "To greet you.", fr = "Pour vous saluer." }

[chat.asks.email]
use = "needed"
why = { en = "To write to you.", fr = "Pour vous écrire." }
"""
REDIRECT = "https://chat.test/signup/gitlab/complete"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    environ = {"OLD_SECRET": site_secret("old"), "CHAT_SECRET": site_secret("chat")}
    async with wide_house(tmp_path, sandboxes, sites=MORE_SITES + CHAT, environ=environ) as opened:
        yield opened


@pytest.fixture
def chat(house: House) -> Site:
    return Site(house=house, name="chat", redirect_uri=REDIRECT)


def asked(**changes: str) -> str:
    """What Mattermost sends a browser to: no PKCE, no nonce, GitLab's scope, a state of some length."""
    params = {
        "response_type": "code",
        "client_id": "chat",
        "redirect_uri": REDIRECT,
        "state": "eyJhY3Rpb24iOiJzaWdudXAifQ" * 20,
        "scope": "read_user",
        **changes,
    }
    return f"{ISSUER}/oauth/authorize?{urlencode(params)}"


async def redeem(chat: Site, arrival: Arrival, **changes: str) -> httpx2.Response:
    """The secret in the body, as Mattermost sends it."""
    form = {
        "grant_type": "authorization_code",
        "code": arrival.code,
        "redirect_uri": REDIRECT,
        "client_id": "chat",
        "client_secret": chat.secret,
        **changes,
    }
    return await chat.post("/oauth/token", form, auth=False)


async def user(house: House, token: str) -> httpx2.Response:
    async with house.client() as client:
        return await client.get("/api/v4/user", headers={"Authorization": f"Bearer {token}"})


async def sign_in(house: House, chat: Site, name: str = "ana", *, is_proved: bool = True) -> dict[str, Any]:
    """What Mattermost knows of somebody after its whole sign-in."""
    browser = await member(house, name)
    account = house.world.durable.tables.accounts[await account_of(house, name)]  # type: ignore[attr-defined]
    if is_proved:
        proved = replace(account.profile[EMAIL], verified=True)
        unit = house.world.durable.unit()
        unit.save_account(replace(account, profile={**account.profile, EMAIL: proved}))
        await unit.commit()
    shown = await browser.open(asked())
    assert shown.path.endswith("/site")
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)
    assert end.params["state"] == "eyJhY3Rpb24iOiJzaWdudXAifQ" * 20
    answer = await redeem(chat, end)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["token_type"] == "Bearer"
    found = await user(house, told["access_token"])
    assert found.status_code == 200, found.text
    return dict(found.json())


async def test_mattermost_signs_a_person_in(house: House, chat: Site) -> None:
    """`id` is a number and not 0, `username` and `email` are there: what it checks before it lets anybody in."""
    told = await sign_in(house, chat)
    assert isinstance(told["id"], int)
    assert told["id"] > 0
    assert (told["username"], told["email"], told["state"]) == ("ana", "ana@mail.test", "active")
    assert set(told) == {"id", "username", "name", "email", "state", "avatar_url"}
    again = await sign_in(house, chat, "ben", is_proved=False)
    assert again["id"] != told["id"]
    assert again["email"] == "", "an address nobody proved would let its writer into somebody else's account there"


async def test_what_was_given_stands_in_the_persons_history(house: House, chat: Site) -> None:
    """Another shape is no other release."""
    await sign_in(house, chat)
    browser = await signed_in(house, await account_of(house, "ana"))
    shown = await browser.open("/me/history")
    assert "Chat" in shown.text


async def test_only_the_sites_it_is_for_have_gitlabs_addresses(house: House, chat: Site) -> None:
    forum = house.site("forum")
    shown = await house.browser().open(asked(client_id="forum", redirect_uri=forum.redirect_uri))
    assert shown.status == 404
    answer = await forum.post("/oauth/token", {"grant_type": "authorization_code", "code": "x"})
    assert answer.status_code == 404
    unknown = await house.browser().open(asked(client_id="nobody"))
    assert unknown.status == 400
    assert (await user(house, "made-up")).status_code == 401


async def test_the_token_of_another_site_is_not_answered_there(house: House) -> None:
    forum = house.site("forum")
    arrival = await connect(await member(house), forum)
    token = (await forum.redeem(arrival))["access_token"]
    assert (await user(house, token)).status_code == 404
    assert (await forum.userinfo(token)).status_code == 200


async def test_an_address_that_is_not_registered_is_refused_there_too(house: House) -> None:
    shown = await house.browser().open(asked(redirect_uri="https://evil.test/cb"))
    assert isinstance(shown, Shown)
    assert shown.status == 400
    assert "evil.test" not in shown.url.partition("?")[0]


async def test_a_wrong_secret_gets_no_token_there_either(house: House, chat: Site) -> None:
    browser = await member(house)
    await browser.open(asked())
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)
    answer = await redeem(chat, end, client_secret="wrong-secret-0123456789abcdef012")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
