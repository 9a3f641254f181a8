"""The systemd unit, and what the server tells systemd."""

from __future__ import annotations

import configparser
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.serve.rig import LIMIT, Folder, Half, Start
from tests.support.servers import program
from tests.support.source import ROOT

UNIT = ROOT / "config" / "deploy" / "doorward.service"


def settings_of(text: str) -> dict[str, list[str]]:
    """The unit's settings; some are given several times."""
    out: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            out.setdefault(name, []).append(value)
    return out


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "doorward.service"
    text = UNIT.read_text()
    assert "/opt/doorward/bin/doorward" in text
    unit.write_text(text.replace("/opt/doorward/bin/doorward", sys.executable))
    command = [program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_lets_go_of_nearly_everything(tmp_path: Path) -> None:
    """systemd's own measure of how much a service could do: 10 is everything, 2 and less is "ok"."""
    unit = tmp_path / "doorward.service"
    unit.write_text(UNIT.read_text())
    command = [program("systemd-analyze"), "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_fits_the_program() -> None:
    """Its command exists, its reload is our signal, its patience covers ours, and its credentials are what it explains."""
    text = UNIT.read_text()
    unit = settings_of(text)
    assert unit["ExecStart"] == ["/opt/doorward/bin/doorward serve --config /etc/doorward"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["Type"] == ["notify"]
    assert int(unit["TimeoutStopSec"][0]) > 30 + 5
    names = {value.partition(":")[0] for value in unit["LoadCredential"]}
    assert {"master-key", "facebook-secret"} <= names
    assert set(re.findall(r'credential = "([\w-]+)"', text)) <= names
    configparser.RawConfigParser(strict=False).read_string(text)


def test_systemd_is_told_when_it_is_ready_when_it_reads_again_and_when_it_stops(start: Start, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(LIMIT)
        server = start(environ={"NOTIFY_SOCKET": str(address)})
        assert systemd.recv(4096).decode().split("\n") == ["READY=1", f"MAINPID={server.process.pid}"]
        server.hang_up()
        reloading = systemd.recv(4096).decode().split("\n")
        assert reloading[0] == "RELOADING=1"
        assert re.fullmatch(r"MONOTONIC_USEC=\d+", reloading[1])
        assert systemd.recv(4096) == b"READY=1"
        server.process.send_signal(signal.SIGTERM)
        assert systemd.recv(4096) == b"STOPPING=1"
        assert server.wait() == 0


def test_credentials_are_read_from_the_folder_that_systemd_fills(start: Start, folder: Folder, tmp_path: Path) -> None:
    folder.write()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name, file in (("master-key", "master.key"), ("forum-secret", "forum.secret")):
        (folder.path / file).rename(credentials / name)
    main, sites = folder.path / "doorward.toml", folder.path / "sites.toml"

    class Adapted(Folder):
        def write(self, **changes: object) -> None:
            """Files as they are: this test has changed them by hand."""

    main.write_text(main.read_text().replace('{ file = "master.key" }', '{ credential = "master-key" }'))
    sites.write_text(sites.read_text().replace('{ file = "forum.secret" }', '{ credential = "forum-secret" }'))
    folder.__class__ = Adapted
    server = start(environ={"CREDENTIALS_DIRECTORY": str(credentials)})
    assert server.token_request().status == 400
    assert server.wrong_secret().status == 401


def test_the_whole_group_may_be_told_to_stop_at_once(start: Start) -> None:
    """A terminal sends Ctrl-C to every process: only the parent listens to it, and running requests finish."""
    server = start(workers=2)
    running = Half(server.folder.port)
    for pid in (*server.children, server.process.pid):
        subprocess.run(["kill", "-INT", str(pid)], check=True)
    assert running.finish()[0] == 400
    assert server.wait() == 0
