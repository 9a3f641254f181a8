"""The tables of `config/providers.toml`: what people uncomment there signs in with the recorded answers."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.providers.contract import P8, Recording
from tests.providers.rig import ec_key, p8

from broker.domain.values import ClaimName
from providers.preset import Preset

TEXT: Final = (Path(__file__).parents[2] / "config" / "providers.toml").read_text(encoding="utf-8")
OWN: Final = ("client_id", "client_secret", "team_id", "key_id", "fields", "graph_version")
"""What differs from one admin to the next."""
STRANGE: Final = frozenset({"address"})
"""Has no provider of its own."""


def shipped() -> dict[str, dict[str, Any]]:
    """Every table, commented or not."""
    plain = "\n".join(re.sub(r"^# ?", "", block, flags=re.MULTILINE) for block in re.findall(
        r"(?<=to use it\.\n)(?:#.*\n)+", TEXT
    ))  # fmt: skip
    return {**tomllib.loads(TEXT), **tomllib.loads(plain)}


TABLES: Final = {name: table for name, table in shipped().items() if name not in STRANGE}


def test_the_providers_that_people_have_are_there() -> None:
    assert set(TABLES) == {
        "facebook", "google", "apple", "microsoft", "github", "gitlab", "linkedin", "discord", "twitch", "slack", "yahoo",
        "amazon", "x", "mastodon", "own", "fediverse", "bluesky", "steam", "facebook_openid",
    }  # fmt: skip
    assert len({table["order"] for table in TABLES.values()}) == len(TABLES)


@pytest.mark.parametrize("name", TABLES)
async def test_a_shipped_table_signs_in_who_was_recorded(name: str) -> None:
    """Everything but ids, secrets and fields is the file's."""
    recording = Recording.read(name)
    recorded = recording.raw["preset"]
    own = {key: recorded[key] for key in OWN if key in recorded}
    if own.get("client_secret") == P8:
        own["client_secret"] = p8(ec_key("p8"))
    table = {key: value for key, value in TABLES[name].items() if key not in OWN}
    one = replace(recording, preset=Preset.from_table(name, {**table, **own}))
    wanted = recording.raw["identity"]
    known = {claim for claim in wanted["claims"] if _is_told(one, claim)}
    one = one.with_preset(fields=tuple(ClaimName(claim) for claim in wanted["claims"] if claim in known))
    found = (await one.sign_in()).identity
    assert (found.key.issuer, found.key.subject) == (wanted["issuer"], wanted["subject"])
    assert found.claims == {claim: value for claim, value in wanted["claims"].items() if claim in known}
    assert set(TABLES[name]["fields"]) <= known | set(wanted["declined"])
    assert found.verified == set(wanted["verified"])


def _is_told(one: Recording, claim: str) -> bool:
    """Whether the file's table can tell this; a recording may show what only more claims would."""
    return (
        one.preset.kind != "oauth2"
        or claim in one.preset.claims
        or (claim == "email" and "emails" in one.preset.endpoints)
    )


@pytest.mark.parametrize("name", TABLES)
def test_a_shipped_table_says_where_to_click_and_what_to_enter(name: str) -> None:
    above = TEXT[: TEXT.index(f"[{name}]")].rpartition("# --- ")[2]
    assert f"https://login.example.org/callback/{name}" in above or name == "steam"
    assert (
        re.search(r"^# \S+\.(?:com|tv|gov|org)\b.* → |^# There: |Facebook Login → ", above, re.MULTILINE)
        or name == "steam"
    )
    table = TABLES[name]
    if table.get("discovery") != "any":  # else each server has a policy of its own
        assert table["privacy_policy_url"].startswith("https://")
    assert table.get("label")
