"""Every guide for a provider: its head makes a provider that works, and its text names nothing unknown."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import Any

import pytest
from tests.providers.rig import ec_key, p8
from tests.support.source import ROOT

from broker.chance import SystemClock
from broker.cli import provider_guides
from broker.settings_schema import PROVIDER
from providers import Preset, load

GUIDES = ROOT / "config" / "guides" / "providers"
VALUES = provider_guides.Values(issuer="https://login.example.org", id="there", upstream="https://id.example.net")


@pytest.mark.parametrize("name", provider_guides.names())
def test_a_guide_makes_a_provider_without_a_word_from_the_check(name: str) -> None:
    guide = provider_guides.read(name)
    assert not set(guide.preset) - {option.name for option in PROVIDER}
    block = provider_guides.block(
        guide,
        VALUES,
        client_id="org.example.1234567890" if name == "apple" else "1234567890",
        secret_file="x.secret",
        state="on",
    )
    block = block.replace('team_id = ""', 'team_id = "ABCDE12345"').replace('key_id = ""', 'key_id = "FGHIJ67890"')
    table: dict[str, Any] = tomllib.loads(block)["providers"]["there"]
    if "client_secret" in table:
        table["client_secret"] = p8(ec_key("p8")) if name == "apple" else "secret-0123456789abcdef0123456789"
    nobody: Any = None
    loaded = load([Preset.from_table("there", table)], nobody, SystemClock())
    downgrades = {f"there.{key}" for key in ("pkce", "nonce") if guide.preset.get(key) is False}
    assert {problem.key for problem in loaded.warnings} <= downgrades
    assert set(loaded.providers) == {"there"}


@pytest.mark.parametrize("name", provider_guides.names())
def test_a_guide_is_whole(name: str) -> None:
    """Where to register, and what to know; no place that nothing fills."""
    guide = provider_guides.read(name)
    text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    assert f"\n# {guide.provider}\n" in text
    assert 1 <= guide.minutes <= 30
    assert "<redirect>" in guide.enter or name == "steam"
    assert guide.knowing.startswith("- ")
    filled = VALUES.filled(guide.enter + guide.knowing)
    assert not re.search(r"<[a-z_]+>", filled), filled


def test_the_list_of_guides_is_whole() -> None:
    text = (GUIDES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^\| `([a-z0-9-]+)` \|", text)) == set(provider_guides.names())


@pytest.mark.parametrize("name", sorted(set(provider_guides.names()) - {"openid-connect", "openid2"}))
def test_the_commented_configuration_says_the_same(name: str) -> None:
    """`config/providers.toml` and the guides are two ways to one table."""
    id_ = name.replace("-", "_")
    lines = (ROOT / "config" / "providers.toml").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.removeprefix("# ") == f"[{id_}]")
    rest = lines[start:]
    end = next(number for number, line in enumerate(rest) if line.startswith("# ---"))
    text = "\n".join(line.removeprefix("# ") for line in rest[:end] if re.match(r"(# )?(\[|[a-z_]+ = )", line))
    table: dict[str, Any] = tomllib.loads(text)[id_]
    guide = provider_guides.read(name)
    values = replace(VALUES, upstream=guide.upstream or "https://social.example")
    block = provider_guides.block(guide, values, client_id="", secret_file="x", state="on")
    ours: dict[str, Any] = tomllib.loads(block)["providers"]["there"]
    left_out = {"graph_version", "trusted_audiences", "state", "order", "client_id", "client_secret", "brand"}
    assert {key: ours[key] for key in ours if key not in left_out} == {
        key: table[key] for key in table if key not in left_out
    }
    assert ("client_secret" in ours) == ("client_secret" in table)


def test_every_table_of_the_commented_configuration_has_a_guide() -> None:
    text = (ROOT / "config" / "providers.toml").read_text(encoding="utf-8")
    tables = set(re.findall(r"(?m)^(?:# )?\[([a-z_]+)\]$", text)) - {"address"}
    assert {name.replace("_", "-") for name in tables} == set(provider_guides.names()) - {"openid-connect", "openid2"}
