"""A deliberate mistake in each group of the catalogue turns its tests red: so they do watch what they say they watch.

Each mistake of `changes.toml` is made in a copy of the tree, and only the tests it names are run there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.security.collect import every_test, read
from tests.support.source import ROOT

CHANGES: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("changes.toml").read_text(encoding="utf-8"))
NOT_OURS = shutil.ignore_patterns("__pycache__", "node_modules", "*.pyc", "artefacts")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree without what running leaves behind."""
    folder = tmp_path_factory.mktemp("changed")
    for top in ("broker", "providers", "templates", "config", "tests"):
        shutil.copytree(ROOT / top, folder / top, ignore=NOT_OURS)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def failed(folder: Path, tests: list[str], *, fixtures: bool) -> tuple[set[str], str]:
    """The tests that failed, parameters left out, and what pytest said."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rf",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-p",
        "no:xdist",
        *tests,
    ]
    if not fixtures:
        command.append("--noconftest")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return {
        found[1].partition("[")[0] for found in re.finditer(r"(?m)^FAILED (.+?)(?: - .*)?$", done.stdout)
    }, done.stdout


def test_every_group_has_its_mistake() -> None:
    assert set(CHANGES) == {case.group for case in read().values()}


def test_what_a_mistake_turns_red_belongs_to_its_group() -> None:
    named, cases = every_test(), read()
    for group, change in CHANGES.items():
        for test in change["tests"]:
            assert group in {cases[number].group for number in named[test]}, test


@pytest.mark.parametrize("group", CHANGES)
def test_a_deliberate_mistake_turns_the_tests_of_its_group_red(copy: Path, group: str) -> None:
    change = CHANGES[group]
    path = copy / change["file"]
    right = path.read_text(encoding="utf-8")
    assert right.count(change["old"]) == 1, f"{change['file']} does not hold this once: {change['old']}"
    path.write_text(right.replace(change["old"], change["new"]), encoding="utf-8")
    try:
        red, said = failed(copy, change["tests"], fixtures=change.get("fixtures", False))
    finally:
        path.write_text(right, encoding="utf-8")
    assert change["tests"]
    assert set(change["tests"]) <= red, f"nobody noticed: {change['what']}\n{said[-3000:]}"
