"""What is built is what runs: the wheel carries templates and configuration, and leaves the sign-in kit out."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.support.source import ROOT, tracked


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("doorward-*.whl"))


def test_the_wheel_carries_everything_it_runs_on(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("templates/", "config/")):
            assert f"broker/_shipped/{name}" in names
        elif name.startswith(("broker/", "providers/")) and not name.startswith("broker/verify/"):
            assert name in names
    assert not [name for name in names if name.startswith(("broker/verify", "tests"))]


def test_an_installed_copy_finds_its_own_folders(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = "from broker import paths; print(paths.templates()); print(paths.config())"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"]
    done = subprocess.run(command, cwd=tmp_path.parent, capture_output=True, text=True, check=True)
    shipped = tmp_path / "broker" / "_shipped"
    assert done.stdout.split() == [str(shipped / "templates"), str(shipped / "config")]
