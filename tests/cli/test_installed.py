"""The command as it is after `pip install`: from the wheel alone, far from any checkout."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.rig import LIMIT, Folder, Server
from tests.support.source import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip has installed the wheel into."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = (folder / "dist").glob("doorward-*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
    ]
    subprocess.run([*install, "--target", str(folder / "site"), str(wheel)], check=True, timeout=LIMIT * 3)
    return folder / "site"


def doorward(installed: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(installed / "bin" / "doorward"), *words]
    environ = {"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environ)


def test_the_command_is_there_and_finds_its_configuration(installed: Path, tmp_path: Path) -> None:
    assert doorward(installed, "version", cwd=tmp_path).stdout.startswith("doorward ")
    where = [sys.executable, "-c", "import broker; print(broker.__file__)"]
    found = subprocess.run(
        where, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(installed)}, check=True
    )
    assert found.stdout.startswith(str(installed))
    shipped = installed / "broker" / "_shipped" / "config"
    done = doorward(installed, "check", "--config", str(shipped), cwd=tmp_path)
    assert done.returncode == 1
    assert "doorward.toml:12: error: broker.master_key" in done.stdout
    assert (shipped / "deploy" / "doorward.service").is_file()


def test_the_server_runs_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    """Templates, style sheets, words and migrations are in it."""
    folder = Folder(tmp_path / "config")
    folder.write()
    process = subprocess.Popen(
        [str(installed / "bin" / "doorward"), "serve", "--config", str(folder.path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    server = Server(folder, process)
    server.read_output()
    try:
        server.wait_until_ready()
        page = server.get("/help", **{"Accept-Language": "fr"})
        assert page.status == 200
        assert 'lang="fr"' in page.text
        (style,) = re.findall(r'href="(/static/[^"]+\.css)"', page.text)
        assert server.get(style).headers["content-type"].startswith("text/css")
    finally:
        assert server.stop() == 0
