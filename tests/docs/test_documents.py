"""What the documents say is so: links lead somewhere, commands exist, snippets load, addresses and versions are the real ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.support.source import ROOT, tracked

import broker
from broker.cli.commands import main
from broker.demo.layout import DEFAULT_PORT, Layout
from broker.settings import load_settings

DOCUMENTS = sorted(path for path in tracked() if path.suffix == ".md")
LINK = re.compile(r"\[(?:[^\]]|\](?!\())*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"\bmake ([a-z][a-z -]*[a-z])\b")
TOOL = re.compile(r"(?<![\w/])(?:/opt/doorward/bin/)?doorward ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)([^`\n|]*)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, *kinds: str) -> list[str]:
    """The code blocks of these kinds, without the indentation of a list they stand in."""
    found = []
    for indent, kind, body in BLOCK.findall(path.read_text(encoding="utf-8")):
        if kind in kinds:
            found.append("\n".join(line.removeprefix(indent) for line in body.splitlines()) + "\n")
    return found


def code(path: Path) -> str:
    """Everything in a document that stands as code: blocks and `words`."""
    text = path.read_text(encoding="utf-8")
    return "\n".join([*(body for _, _, body in BLOCK.findall(text)), *re.findall(r"`([^`\n]+)`", text)])


def test_the_documents_a_reader_looks_for_are_there() -> None:
    names = {name(path) for path in DOCUMENTS}
    wanted = {
        "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "config/README.md", "providers/README.md",
        "broker/verify/README.md",
    }  # fmt: skip
    assert wanted <= names
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in target or target.startswith(("#", "mailto:")):
            continue
        place = (path.parent / target.partition("#")[0]).resolve()
        assert place.exists(), f"{target} is not there"
        assert place.is_relative_to(ROOT), f"{target} lies outside the project"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_make_commands_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for words in MAKE.findall(code(path)):
        assert set(words.split()) <= targets, f"make {words}"


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):(.*)$", makefile, re.MULTILINE)
    assert len(targets) > 5
    assert [target for target, rest in targets if "##" not in rest] == []


def command_of(words: str) -> object:
    """The command of the command line that these words name, or `None`."""
    found: object = main
    for word in words.split():
        commands = getattr(found, "commands", None)
        if commands is None:
            break
        found = commands.get(word)
        if found is None:
            return None
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_commands_and_their_options_exist(path: Path) -> None:
    for words, rest in TOOL.findall(code(path)):
        found = command_of(words)
        assert found is not None, f"doorward {words}"
        known = {option for parameter in getattr(found, "params", ()) for option in getattr(parameter, "opts", ())}
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest.partition("#")[0].partition("&&")[0]):
            assert option in known, f"doorward {words} {option}"


def test_every_command_is_documented() -> None:
    text = "\n".join(code(path) for path in DOCUMENTS)
    for command, found in main.commands.items():
        if command in {"demo", "version"}:
            continue
        for words in [f"{command} {inner}" for inner in getattr(found, "commands", ())] or [command]:
            assert f"doorward {words}" in text, f"no document shows doorward {words}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_configuration_snippets_are_toml(path: Path) -> None:
    for block in blocks(path, "toml"):
        tomllib.loads(block)


def test_the_snippets_of_the_readme_make_a_configuration(tmp_path: Path) -> None:
    """Whoever pastes them, and adds what `doorward check` asks for, gets a server that starts."""
    provider, site = blocks(ROOT / "README.md", "toml")
    secrets = {
        "facebook.secret": "a-secret-of-the-tests-0123456789abcdef",
        "forum.secret": "another-secret-of-the-tests-0123456789",
        "master.key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }
    for file, secret in secrets.items():
        place = tmp_path / "secrets" / file
        place.parent.mkdir(exist_ok=True)
        place.touch(mode=0o600)
        place.write_text(secret)
    (tmp_path / "providers.toml").write_text(provider)
    (tmp_path / "sites.toml").write_text(site)
    (tmp_path / "doorward.toml").write_text((ROOT / "config" / "doorward.toml").read_text())
    settings = load_settings(tmp_path, {"DOORWARD__BROKER__PUBLIC_URL": "https://login.example.org"})
    assert [str(one.id) for one in settings.providers] == ["facebook"]
    assert list(settings.clients) == ["forum"]


def test_the_readme_names_the_demos_addresses() -> None:
    text = (ROOT / "README.md").read_text()
    layout = Layout(port=DEFAULT_PORT, folder=Path("unused"))
    for part in ("broker", "forum", "wiki", "tracker"):
        assert layout.url(part) in text


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert project["version"] == broker.__version__ == newest[1]


def test_the_readmes_pictures_are_small_enough_to_load() -> None:
    pictures = [
        target for target in LINK.findall((ROOT / "README.md").read_text()) if target.endswith((".png", ".svg"))
    ]
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).stat().st_size < 300_000


def test_the_command_line_starts_quickly_and_says_what_it_can() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "broker", "--help"], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    assert all(command in done.stdout for command in main.commands)
