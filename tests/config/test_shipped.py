"""The folder `config/`: every option stands in it with its meaning and its default, and filled in it works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.config.folder import KEY, SECRET, problems
from tests.providers.rig import ec_key, p8
from tests.support.source import ROOT

from broker.domain.claims import LABELS
from broker.settings_schema import (
    AGE,
    ASK,
    BROKER,
    EGRESS,
    FIELD,
    LIMITS,
    MAIL,
    NEWSLETTER,
    POLICY,
    PROVIDER,
    SITE,
    Kind,
    Option,
    json_schema,
)
from providers.preset import ENDPOINTS

CONFIG = ROOT / "config"
FILES = ("doorward.toml", "providers.toml", "sites.toml")
PRESET = {"label", "brand", "fields", "order", "privacy_policy_url"}
"""What a provider's preset has ready to use; its default is of no use to anybody."""
SECRETS = {
    name: f"secret-of-somebody-at-{name.partition('_')[0].lower()}"
    for name in re.findall(r'env = "([A-Z_]+)"', (CONFIG / "providers.toml").read_text())
}
PLACES = {
    "doorward.toml": (*BROKER, *LIMITS, *AGE, *MAIL, *FIELD, *POLICY, *NEWSLETTER, *EGRESS),
    "providers.toml": (*PROVIDER, *next(option for option in PROVIDER if option.name == "posting").inside),
    "sites.toml": (*SITE, *ASK),
}


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return json.dumps(list(value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def documented(text: str, option: Option) -> bool:
    """Its meaning in a comment, its choices below, and then the option itself, active or as its default."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line != f"# {option.doc}":
            continue
        block = "\n".join(
            lines[number : next((n for n in range(number, len(lines)) if not lines[n].strip()), len(lines))]
        )
        if (
            re.search(rf"^(# )?(\[[\w.]+\.)?{option.name}( = |: none|\])", block, re.MULTILINE) is None
            and option.kind is not Kind.TABLE
        ):
            return False
        return not option.choices or f"# One of: {', '.join(option.choices)}." in block
    return False


@pytest.mark.parametrize(
    ("file", "option"),
    [pytest.param(file, option, id=f"{file}-{option.name}") for file in FILES for option in PLACES[file]],
)
def test_every_option_stands_there_with_its_meaning(file: str, option: Option) -> None:
    assert documented((CONFIG / file).read_text(), option)


@pytest.mark.parametrize(
    ("file", "option"),
    [
        pytest.param(file, option, id=f"{file}-{option.name}")
        for file in FILES for option in PLACES[file]
        if option.default is not None and option.kind is not Kind.TABLE and option.name not in PRESET
    ],
)  # fmt: skip
def test_a_commented_line_shows_the_default(file: str, option: Option) -> None:
    """Removing the # changes nothing."""
    given = re.findall(rf"^# {option.name} = (.*)$", (CONFIG / file).read_text(), re.MULTILINE)
    assert written(option.default) in given


def test_nothing_stands_there_that_does_not_exist() -> None:
    known = {option.name for file in FILES for option in PLACES[file]} | {
        *ENDPOINTS,
        *map(str, LABELS),
        "email_verified",
    }
    for file in FILES:
        given = set(re.findall(r"^(?:# )?([a-z_]+) = ", (CONFIG / file).read_text(), re.MULTILINE))
        assert given <= known


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """The folder as somebody has it who filled in what is missing, and uses every provider shown."""
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    (folder / "secrets").mkdir()
    for name, secret in (
        ("master.key", KEY),
        ("facebook.secret", "0123456789abcdef0123456789abcdef"),
        ("forum.secret", SECRET),
        ("apple.p8", p8(ec_key())),
    ):
        (folder / "secrets" / name).touch(mode=0o600)
        (folder / "secrets" / name).write_text(secret)
    text = (folder / "providers.toml").read_text()
    text = re.sub(
        r"(?<=to use it\.\n)(?:#.*\n)+", lambda block: re.sub(r"^# ?", "", block[0], flags=re.MULTILINE), text
    )
    for name in ("client_id", "team_id", "key_id"):
        text = re.sub(rf'^{name} = ""$', f'{name} = "1234567890"', text, flags=re.MULTILINE)
    (folder / "providers.toml").write_text(text)
    return folder


def check(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "broker", "check", "--config", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **environ})


def test_filled_in_it_is_without_fault(filled: Path) -> None:
    done = check(filled, **SECRETS)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("0 errors, 6 warnings.\n")
    assert re.findall(r"(\w+\.(?:pkce|nonce)): ", done.stdout) == ["linkedin.nonce", "twitch.pkce", "slack.pkce"]
    assert "operator_name" in done.stdout
    assert "broker.public_url: is still the example's." in done.stdout


def test_as_it_is_exactly_what_is_missing_is_named() -> None:
    done = check(CONFIG)
    assert done.returncode == 1
    named = re.findall(r": error: ([\w.]+):", done.stdout)
    assert named == ["broker.master_key", "facebook.client_id", "facebook.client_secret", "forum.client_secret"]


def test_every_file_names_its_schema_and_the_schema_is_of_today() -> None:
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)
    for file in FILES:
        stem = file.removesuffix(".toml")
        assert (CONFIG / file).read_text().splitlines()[0] == f"#:schema ./{stem}.schema.json"
        stored = json.loads((CONFIG / f"{stem}.schema.json").read_text())
        assert stored == {"$schema": json_schema()["$schema"], "title": f"Doorward: {file}", **definitions[file]}, (
            f"doorward schema --file {file} > config/{stem}.schema.json"
        )


def test_the_readme_shows_configuration_that_works(filled: Path) -> None:
    text = (CONFIG / "README.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    shown = ["\n".join(line.removeprefix("   ") for line in block.splitlines()) for block in blocks]
    assert tomllib.loads(shown[0])["sites"]["wiki"]["name"] == "Example Wiki"
    (filled / "conf.d").mkdir()
    for number, block in enumerate(shown):
        (filled / "conf.d" / f"5{number}.toml").write_text(block)
    (filled / "secrets" / "wiki.secret").touch(mode=0o600)
    (filled / "secrets" / "wiki.secret").write_text("wiki-secret-0123456789abcdef01234")
    found = problems(filled, SECRETS)
    assert {problem.key for problem in found} == {
        "broker.public_url", "broker.operator_name", "broker.operator_contact",
    }  # fmt: skip


def test_every_command_of_the_readme_exists() -> None:
    text = (CONFIG / "README.md").read_text()
    for words in sorted(set(re.findall(r"doorward ((?:check|serve|keys|site|migrate|schema)[\w -]*)", text))):
        names = [word for word in words.split() if not word.startswith("-") and word.isascii()]
        options = [word for word in words.split() if word.startswith("--")]
        command = [sys.executable, "-m", "broker", names[0]]
        command += names[1:2] if names[0] in {"keys", "site"} else []
        done = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, words
        assert all(option in done.stdout for option in options), words


def test_every_recipe_is_named_in_the_readme() -> None:
    text = (CONFIG / "README.md").read_text()
    for path in (CONFIG / "deploy").iterdir():
        assert f"(deploy/{path.name})" in text
