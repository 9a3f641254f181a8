"""Plain OAuth 2.0 services: what a preset can say, and what nobody has to believe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.providers.contract import Recording
from tests.providers.rig import Answer, json_answer
from tests.support.house import PROVIDERS_TOML, Arrival, Sandboxes, Shown, open_house

import providers
from broker.domain.claims import EMAIL
from broker.errors import ConfigurationError, UpstreamError, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers.oauth2 import primary, read_name, value_at
from providers.preset import Preset


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("id", 17),
        ("data.id", "x1"),
        ("data.deep.er", None),
        ("data.id.more", None),
        ("nobody", None),
        ("", None),
        ("https://cdn.example/{data.id}/{id}.png", "https://cdn.example/x1/17.png"),
        ("https://cdn.example/{odd}.png", "https://cdn.example/a%2F..%2F%3Fb%20%7Bid%7D.png"),
        ("https://cdn.example/{nothing}.png", None),
        ("https://cdn.example/{empty}.png", None),
        ("https://cdn.example/{yes}.png", None),
        ("https://cdn.example/{data}.png", None),
    ],
)
def test_a_path_leads_to_one_value_or_to_none(path: str, found: object) -> None:
    """What stands in an address is encoded, so nobody's name leads to another place."""
    answer = {"id": 17, "data": {"id": "x1"}, "odd": "a/../?b {id}", "nothing": None, "empty": "", "yes": True}
    assert value_at(answer, path) == found


def test_a_number_is_a_name_and_nothing_else_is() -> None:
    """catalogue 45: to the last digit."""
    assert read_name(10220123456789012345) == "10220123456789012345"
    assert read_name("ana") == "ana"
    for wrong in (None, True, 1.5, "", " ", ["17"], {"id": 17}):
        with pytest.raises(UpstreamInvalid, match="sub"):
            read_name(wrong)


@pytest.mark.parametrize(
    ("listed", "address", "said"),
    [
        ([{"email": "a@x.org", "primary": True, "verified": True}], "a@x.org", True),
        ([{"email": "b@x.org", "primary": False, "verified": True}, {"email": "a@x.org", "primary": True}], "a@x.org", None),
        ([{"email": "b@x.org", "primary": "true", "verified": True}], None, None),
        (["a@x.org", None, 7], None, None),
        ([], None, None),
    ],
)  # fmt: skip
def test_of_several_addresses_the_main_one_is_taken(listed: list[Any], address: str | None, said: object) -> None:
    assert primary(listed) == {EMAIL: address, "email_verified": said}


async def test_an_address_that_a_profile_merely_shows_is_not_taken() -> None:
    """catalogue 113: GitHub's `/user` says what somebody typed for their page; the list says what was proved."""
    found = (await Recording.read("github").sign_in()).identity
    assert found.claims[EMAIL] == "ana@example.org"
    github = Recording.read("github")
    unlisted = replace(github, raw={**github.raw, "emails": []})
    assert EMAIL not in (await unlisted.sign_in()).identity.claims


async def test_addresses_are_asked_for_only_where_the_person_let_us() -> None:
    github = Recording.read("github").changed("token", scope="read:user")
    http = github.http()
    found = (await github.sign_in(http)).identity
    assert found.declined == {EMAIL}
    assert http.count("/user/emails") == 0


async def test_scopes_with_commas_between_them_are_several() -> None:
    """GitHub writes `read:user,user:email`."""
    found = await Recording.read("github").sign_in()
    assert found.identity.granted == {"read:user", "user:email"}
    assert found.tokens is not None
    assert found.tokens.scopes == {"read:user", "user:email"}


async def test_an_error_with_status_200_is_an_error() -> None:
    """GitHub's `bad_verification_code`."""
    github = Recording.read("github")
    spent = replace(github, raw={**github.raw, "token": {"error": "bad_verification_code"}})
    with pytest.raises(UpstreamRejected, match="token bad_verification_code"):
        await spent.sign_in()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (json_answer({"message": "no"}, 403), UpstreamRejected),
        (json_answer({"message": "no"}, 503), UpstreamUnavailable),
        (json_answer({"email": "a@x.org"}), UpstreamInvalid),
        (Answer(200, {"content-type": "text/html"}, b"[]"), UpstreamInvalid),
        (Answer(200, {"content-type": "application/json"}, b"[{]"), UpstreamInvalid),
        (Answer(204, {}, b""), UpstreamInvalid),
    ],
    ids=["403", "503", "an object", "a page", "broken", "nothing"],
)
async def test_a_list_of_addresses_that_is_none_is_refused(answer: Answer, error: type[UpstreamError]) -> None:
    """catalogue 173"""
    github = Recording.read("github")
    http = github.http()
    http.script["/user/emails"] = answer
    with pytest.raises(error):
        await github.sign_in(http)


async def test_who_is_asked_again_is_asked_for_consent() -> None:
    _, query = await Recording.read("discord").url(ask_again=True)
    assert query["prompt"] == "consent"
    _, query = await Recording.read("discord").url()
    assert "prompt" not in query


async def test_what_was_granted_is_given_back_where_it_can_be() -> None:
    """RFC 7009"""
    discord = Recording.read("discord")
    found = await discord.sign_in()
    assert found.tokens is not None
    http = discord.http()
    http.script["/api/oauth2/token/revoke"] = json_answer({})
    await discord.provider(http).revoke(found.tokens)
    asked = http.only("/api/oauth2/token/revoke")
    assert asked.form == {"token": discord.raw["token"]["refresh_token"]}
    http.script["/api/oauth2/token/revoke"] = json_answer({}, 503)
    with pytest.raises(UpstreamUnavailable):
        await discord.provider(http).revoke(found.tokens)
    github = Recording.read("github").http()
    await Recording.read("github").provider(github).revoke(found.tokens)
    assert github.asked == []


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_page_that_fails_is_an_outage(status: int) -> None:
    http = Recording.read("discord").http()
    http.script["/oauth2/authorize"] = Answer(status, {}, b"")
    with pytest.raises(UpstreamUnavailable, match=f"status {status}"):
        await Recording.read("discord").provider(http).check()


def wrong_with(**changes: Any) -> set[str]:
    """The keys that are said to be wrong with GitHub's preset after these changes; `None` leaves one out."""
    table = {**Recording.read("github").raw["preset"], **changes}
    made = {name: value for name, value in table.items() if value is not None}
    try:
        loaded = providers.load([Preset.from_table("github", made)], Recording.read("github").http(), _Clock())
    except ConfigurationError as error:
        return {problem.key for problem in error.problems}
    return {problem.key for problem in loaded.warnings}


class _Clock:
    def now(self) -> Any:
        from tests.providers.rig import NOW

        return NOW


CLAIMS = Recording.read("github").raw["preset"]["claims"]
ENDPOINTS = Recording.read("github").raw["preset"]["endpoints"]


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, set()),
        ({"issuer": None}, {"github.issuer"}),
        ({"pkce": False}, {"github.pkce"}),
        ({"endpoints": {}, "fields": []}, {f"github.endpoints.{one}" for one in ("authorization", "token", "userinfo")}),
        ({"claims": {**CLAIMS, "shoe_size": "shoe"}}, {"github.claims.shoe_size"}),
        ({"claims": {**CLAIMS, "name": 7}}, {"github.claims.name"}),
        ({"claims": {**CLAIMS, "name": " "}}, {"github.claims.name"}),
        ({"claims": ["name"]}, {"github.claims"}),
        ({"fields": ["name", "locale"]}, {"github.fields"}),
        ({"endpoints": {one: ENDPOINTS[one] for one in ("authorization", "token", "userinfo")}},
         {"github.fields"}),
        ({"endpoints": {one: ENDPOINTS[one] for one in ("authorization", "token", "userinfo")}, "fields": ["name"]},
         {"github.trusts_email"}),
        ({"endpoints": {**ENDPOINTS, "userinfo_email": "https://api.github.com/more"}, "email_scope": None},
         {"github.endpoints.userinfo_email"}),
        ({"scopes": ["repo:status"]}, {"github.scopes"}),
        ({"email_scope": "repo:status"}, {"github.scopes"}),
    ],
)  # fmt: skip
def test_a_preset_that_cannot_work_is_told_at_once(changes: dict[str, Any], keys: set[str]) -> None:
    assert wrong_with(**changes) == keys


PLAIN = """
[plain]
kind = "oauth2"
label = "Plain Club"
sandbox = true
issuer = "%(openid_url)s"
client_id = "%(openid_client)s"
client_secret = { env = "OPENID_SECRET" }
fields = ["name", "email"]
scopes = ["openid", "profile"]
email_scope = "email"
trusts_email = true
privacy_policy_url = "%(openid_url)s/privacy"

[plain.claims]
name = "name"
email = "email"
email_verified = "email_verified"

[plain.endpoints]
authorization = "%(openid_url)s/authorize"
token = "%(openid_url)s/token"
userinfo = "%(openid_url)s/userinfo"
"""


async def test_somebody_signs_up_and_comes_back(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Over real sockets, up to the site."""
    client = sandboxes.openid.state.clients["doorward"]
    back = "https://login.test/callback/plain"
    sandboxes.openid.state.clients["doorward"] = replace(client, redirect_uris=[*client.redirect_uris, back])
    try:
        async with open_house(tmp_path, sandboxes, providers=PROVIDERS_TOML + PLAIN) as house:
            await house.openid.order(persona="lucas")
            forum = house.site("forum")
            browser = house.browser()
            await browser.open(forum.request_url())
            shown = await browser.press("provider=plain")
            assert isinstance(shown, Shown)
            assert "Lucas Moreau" in shown.text
            await browser.press("decision=continue")
            await browser.press("decision=create", fill={"preferred_username": "lucas"})
            arrived = await browser.press("decision=share", tick=["name"])
            assert isinstance(arrived, Arrival)
            tokens = await forum.redeem(arrived)
            assert (await forum.claims(tokens["access_token"]))["preferred_username"] == "lucas"
            other = house.browser()
            await other.open(forum.request_url())
            assert isinstance(await other.press("provider=plain"), Arrival)
            assert await house.accounts() == 1
    finally:
        sandboxes.openid.state.clients["doorward"] = client
