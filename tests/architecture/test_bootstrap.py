"""The first command on a fresh machine: says in one line what is missing, installs once, and then needs no network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.source import ROOT

FILES = ("broker/demo/bootstrap.sh", "broker/demo/pins.txt", "broker/verify/pyproject.toml", "pyproject.toml")
TOOLS = ("sh", "cat", "cmp", "cp", "dirname", "grep", "mkdir", "pwd", "rm", "tail", "tee", "ln", "readlink")
REAL = Path(sys.base_prefix) / "bin" / "python3"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout beside a folder of programs that is the whole PATH."""
    checkout, programs = tmp_path / "checkout", tmp_path / "programs"
    for name in FILES:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    programs.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is not None:
            (programs / tool).symlink_to(found)
    return tmp_path


def add_program(machine: Path, name: str, body: str) -> Path:
    path = machine / "programs" / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def bootstrap(machine: Path, wanted: str = "demo") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "broker/demo/bootstrap.sh", wanted], cwd=machine / "checkout", capture_output=True, text=True, check=False,
        env={"PATH": str(machine / "programs"), "LOG": str(machine / "log"), "HOME": str(machine)},
    )  # fmt: skip


def with_python(machine: Path) -> None:
    """A Python whose `venv` makes an environment whose pip only writes down that it was asked."""
    inner = machine / "programs" / "inner"
    add_program(
        machine,
        "inner",
        f'case "$*" in\n"-m pip --version") ;;\n"-m pip install"*) echo "pip $*" >>"$LOG" ;;\n*) exec {REAL} "$@" ;;\nesac',
    )
    make = f"mkdir -p .venv/bin; ln -sf {inner} .venv/bin/python"
    add_program(machine, "python3", f'case "$*" in\n"-m venv"*) {make} ;;\n*) exec {REAL} "$@" ;;\nesac')


def asked(machine: Path) -> int:
    """How often pip was to install something."""
    log = machine / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_without_python_one_line_says_what_to_install(machine: Path) -> None:
    add_program(machine, "apt-get", "exit 0")
    done = bootstrap(machine)
    assert done.returncode == 1
    assert done.stderr == "Python 3.11 or newer is missing: sudo apt-get install -y python3 python3-venv\n"


def test_an_old_python_is_named(machine: Path) -> None:
    add_program(machine, "python3", 'case "$1" in -V) echo "Python 3.9.2" ;; *) exit 1 ;; esac')
    add_program(machine, "apt-get", "exit 0")
    done = bootstrap(machine)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "found Python 3.9.2" in done.stderr
    assert "apt-get install -y python3.11 python3.11-venv" in done.stderr


def test_a_missing_venv_module_is_named(machine: Path) -> None:
    add_program(machine, "python3", f'case "$*" in *ensurepip*) exit 1 ;; *) exec {REAL} "$@" ;; esac')
    add_program(machine, "apt-get", "exit 0")
    done = bootstrap(machine)
    assert done.returncode == 1
    assert done.stderr == "The venv module of python3 is missing: sudo apt-get install -y python3-venv\n"


def test_other_systems_get_a_command_of_their_own(machine: Path) -> None:
    add_program(machine, "dnf", "exit 0")
    assert bootstrap(machine).stderr == "Python 3.11 or newer is missing: sudo dnf install -y python3\n"


def test_the_second_run_installs_nothing(machine: Path) -> None:
    with_python(machine)
    first = bootstrap(machine)
    assert first.returncode == 0, first.stderr
    assert "Ready." in first.stdout
    assert asked(machine) == 1
    second = bootstrap(machine)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert asked(machine) == 1


def test_a_changed_pin_is_installed(machine: Path) -> None:
    with_python(machine)
    bootstrap(machine)
    with (machine / "checkout" / "broker/demo/pins.txt").open("a") as pins:
        pins.write("another==1.0\n")
    assert bootstrap(machine).returncode == 0
    assert asked(machine) == 2


def test_a_copied_checkout_is_set_up_again(machine: Path) -> None:
    with_python(machine)
    bootstrap(machine)
    shutil.copytree(machine / "checkout", machine / "copy" / "checkout", symlinks=True)
    (machine / "copy" / "programs").symlink_to(machine / "programs")
    assert bootstrap(machine / "copy").returncode == 0
    assert (machine / "copy" / "log").exists()


@pytest.mark.parametrize("wanted", ["demo", "test"])
def test_an_environment_that_is_a_link_is_somebody_elses_and_stays_as_it_is(machine: Path, wanted: str) -> None:
    """Empty, or set up for another checkout."""
    with_python(machine)
    theirs = machine / "theirs"
    shutil.copytree(machine / "checkout", theirs / "checkout")
    (theirs / "programs").symlink_to(machine / "programs")
    assert bootstrap(theirs, wanted).returncode == 0
    (machine / "empty").mkdir()
    link = machine / "checkout" / ".venv"
    for folder in (machine / "empty", theirs / "checkout" / ".venv"):
        before = sorted(path.name for path in folder.rglob("*"))
        link.symlink_to(folder)
        done = bootstrap(machine, wanted)
        assert (done.returncode, done.stdout, asked(machine)) == (1, "", 0)
        assert done.stderr == (
            f".venv is a link to {folder}, and what is there was not set up for this folder. "
            "Remove the link, so that one is made here: rm .venv\n"
        )
        assert sorted(path.name for path in folder.rglob("*")) == before
        link.unlink()
    assert bootstrap(machine, wanted).returncode == 0


def test_the_test_tools_are_enough_for_the_demo(machine: Path) -> None:
    with_python(machine)
    assert bootstrap(machine, "test").returncode == 0
    assert bootstrap(machine, "demo").stdout == ""
    assert asked(machine) == 1


def test_a_failed_install_says_so_and_is_tried_again(machine: Path) -> None:
    with_python(machine)
    inner = machine / "programs" / "inner"
    working = inner.read_text()
    inner.write_text(working.replace('echo "pip $*" >>"$LOG"', 'echo "ERROR: no network"; exit 1'))
    done = bootstrap(machine)
    assert done.returncode == 1
    assert "ERROR: no network" in done.stderr
    assert "is the network there?" in done.stderr
    inner.write_text(working)
    assert bootstrap(machine).returncode == 0
    assert asked(machine) == 1
