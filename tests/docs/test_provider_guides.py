"""Every guide for a provider: its head makes a provider that works, and its text names nothing unknown."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
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
    block = provider_guides.block(guide, VALUES, client_id="1234567890", secret_file="x.secret", state="on")
    table: dict[str, Any] = tomllib.loads(block)["providers"]["there"]
    if "client_secret" in table:
        table["client_secret"] = "secret-0123456789abcdef0123456789"
    nobody: Any = None
    loaded = load([Preset.from_table("there", table)], nobody, SystemClock())
    assert loaded.warnings == ()
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


@pytest.mark.parametrize(
    ("id_", "guide"), [("facebook", "facebook"), ("google", "google"), ("github", "github"), ("steam", "steam")]
)
def test_the_commented_configuration_says_the_same(id_: str, guide: str) -> None:
    """`config/providers.toml` and the guides are two ways to one table."""
    lines = (ROOT / "config" / "providers.toml").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.removeprefix("# ") == f"[{id_}]")
    rest = lines[start:]
    end = next(number for number, line in enumerate(rest) if line.startswith("# ---"))
    text = "\n".join(line.removeprefix("# ") for line in rest[:end] if re.match(r"(# )?(\[|[a-z_]+ = )", line))
    table = tomllib.loads(text)[id_]
    wanted = provider_guides.read(guide).preset
    assert {name: table.get(name) for name in wanted if name != "brand"} == {
        name: wanted[name] for name in wanted if name != "brand"
    }
