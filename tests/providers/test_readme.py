"""`providers/README.md`, executed: both examples sign somebody in."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.providers.contract import RECORDINGS
from tests.providers.rig import (
    CALLBACK,
    Answer,
    ScriptedHTTP,
    StandingClock,
    attempt,
    json_answer,
    preset,
    sign,
    id_claims,
    token_answer,
    upstream,
)

import providers
from broker.domain.claims import NAME
from broker.domain.provider import Provider
from broker.domain.values import IdentityKey
from broker.errors import SignInCancelled, UpstreamInvalid, UpstreamUnavailable
from providers.publishing import load_publishers
from providers.preset import AUTH_METHODS, ENDPOINTS, Preset

ROOT = Path(__file__).parents[2]
README = (ROOT / "providers" / "README.md").read_text(encoding="utf-8")
((TABLE, CODE),) = [
    (re.findall(r"```toml\n(.*?)```", README, re.DOTALL)[0], re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0])
]


async def test_the_openid_example_signs_somebody_in() -> None:
    table = tomllib.loads(TABLE)["club"]
    table["client_secret"] = "from the environment"
    table["issuer"] = "https://op.example"  # the one the scripted issuer has
    found = Preset.from_table("club", table)
    http = upstream(token=token_answer(sign(id_claims(aud="doorward"))))
    loaded = providers.load([found], http, StandingClock())
    assert loaded.warnings == ()
    identity = (await loaded.providers[found.id].identify(attempt(), CALLBACK)).identity
    assert identity.claims[NAME] == "Ana Marković"


def test_the_oauth_example_is_the_recorded_one() -> None:
    """So what the contract says of the recording holds for the table that people copy."""
    table = tomllib.loads(re.findall(r"```toml\n(.*?)```", README, re.DOTALL)[1])["discord"]
    recorded = json.loads((RECORDINGS / "discord.json").read_text(encoding="utf-8"))["preset"]
    same = ("kind", "label", "issuer", "client_id", "scopes", "email_scope", "subject", "trusts_email", "endpoints")
    assert {name: table[name] for name in same} == {name: recorded[name] for name in same}
    assert {**table["claims"], "locale": "locale"} == recorded["claims"]
    loaded = providers.load(
        [Preset.from_table("discord", {**table, "client_secret": "s" * 20})], ScriptedHTTP({}), StandingClock()
    )
    assert loaded.warnings == ()


def test_the_example_of_posting_has_a_publisher() -> None:
    """And asks for nothing of it at sign-in."""
    table = tomllib.loads(
        next(block for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if "meadow" in block)
    )
    found = Preset.from_table("meadow", {**table["meadow"], "client_secret": "s" * 20})
    loaded = providers.load([found], ScriptedHTTP({}), StandingClock())
    publisher = load_publishers([found], ScriptedHTTP({}), StandingClock())[found.id]
    assert (publisher.scopes, publisher.lasting) == (("write:statuses",), ("offline_access",))
    assert loaded.providers[found.id].sign_in_scopes == ("openid", "profile", "email")


def harbour(**script: Any) -> tuple[Provider, ScriptedHTTP]:
    module = ModuleType("harbour")
    exec(compile(CODE, "README.md", "exec"), module.__dict__)
    usual = {
        "/token": json_answer({"access_token": "at", "token_type": "Bearer", "scope": "profile"}),
        "/userinfo": json_answer({"id": "17", "name": "Ana", "boats": 2}),
        "/discovery": json_answer({}),
    }
    http = ScriptedHTTP({**usual, **{f"/{name}": value for name, value in script.items()}})
    made: Provider = module.PROVIDER(preset(kind="harbour", fields=(NAME,), issuer=""), http, StandingClock())
    return made, http


async def test_the_example_of_a_new_kind_is_a_provider() -> None:
    one, http = harbour()
    query = parse_qs(urlsplit(await one.authorization_url(attempt(scopes=one.sign_in_scopes))).query)
    assert (query["state"], query["scope"], query["code_challenge_method"]) == (
        [attempt().state], ["profile"], ["S256"],
    )  # fmt: skip
    found = await one.identify(attempt(scopes=("profile",)), {"code": "c", "state": "s"})
    assert found.identity.key == IdentityKey(issuer="https://harbour.example", subject="17")
    assert found.identity.claims == {NAME: "Ana"}
    assert http.only("/token").form["code_verifier"] == attempt().code_verifier
    assert "s3cr" not in repr(one)
    await one.check()


@pytest.mark.parametrize(
    ("callback", "person", "kind"),
    [
        ({"error": "access_denied"}, json_answer({}), SignInCancelled),
        ({"code": "c", "iss": "https://evil.test"}, json_answer({}), UpstreamInvalid),
        ({"access_token": "stolen"}, json_answer({}), UpstreamInvalid),
        ({"code": "c"}, json_answer({"name": "nobody"}), UpstreamInvalid),
        ({"code": "c"}, json_answer({"id": 17}), UpstreamInvalid),
        ({"code": "c"}, json_answer({}, 503), UpstreamUnavailable),
    ],
)
async def test_the_example_fails_as_it_must(callback: dict[str, str], person: Answer, kind: type[Exception]) -> None:
    """catalogue 39, 45, 50, 56, 172"""
    one, _ = harbour(userinfo=person)
    with pytest.raises(kind):
        await one.identify(attempt(), callback)


def test_what_it_names_is_there() -> None:
    for name in ENDPOINTS:
        assert f"`{name}`" in README
    assert 'token_endpoint_auth_method = "client_secret_post"' in README
    assert "client_secret_post" in AUTH_METHODS
    known = set(Preset.__dataclass_fields__)
    for option in re.findall(r"`([a-z_]+) = ", README):
        assert option in known, option
    for file in re.findall(r"`(_?[a-z_]+\.py)`", README):
        assert (ROOT / "providers" / file).is_file(), file
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / "providers" / link).exists(), link


def test_every_preset_that_is_shipped_has_a_recording() -> None:
    """Also those that stand there as comments, to be filled in."""
    text = (ROOT / "config" / "providers.toml").read_text(encoding="utf-8")
    shipped = set(re.findall(r"^(?:# )?\[([a-z_]+)\]$", text, re.MULTILINE))
    assert shipped >= {"facebook", "google"}
    shipped.remove("address")  # whatever provider an address names: see test_openid2_typed.py
    assert shipped <= {path.stem for path in RECORDINGS.glob("*.json")}
