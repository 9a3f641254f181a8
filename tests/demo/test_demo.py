"""`make demo` for real: one command starts everything, Ctrl-C ends it cleanly, and what was there is there again."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.servers import program
from tests.support.source import ROOT

from broker.demo.layout import BLOCK, Layout

LIMIT = 120.0
PARTS = ("Forum", "Wiki", "Issue tracker", "My account", "Facebook (sandbox)", "OpenID (sandbox)")


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def free_block() -> int:
    """The first of as many free ports as the demo needs."""
    while True:
        base = random.randrange(20_000, 30_000, 50)
        if all(is_free(base + offset) for offset in range(BLOCK + 1)):
            return base


class Demo:
    """One run of the demo in a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port, self.lines = port, list[str]()
        self.process = subprocess.Popen(
            [program("setpriv"), "--pdeathsig", "TERM", sys.executable, "-m", "broker.demo", "--port", str(port)],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            self.lines.extend(line.rstrip("\n") for line in pipe)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_until_running(self) -> None:
        end = time.monotonic() + LIMIT
        while "Ctrl-C stops it" not in self.text:
            assert self.process.poll() is None and time.monotonic() < end, self.text
            time.sleep(0.1)

    def press_ctrl_c(self) -> int:
        """The exit code. The terminal sends the signal to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def end(self) -> int:
        code = self.process.wait(LIMIT)
        self._reader.join(10)
        return code


def say(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the demo's command to its end."""
    command = [sys.executable, "-m", "broker.demo", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT)


def fetch(url: str) -> str:
    """The page that a browser with cookies arrives at."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(url, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path, free_block())
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
        running.end()


def test_one_command_shows_addresses_that_work_and_keeps_what_was_there(demo: Demo, tmp_path: Path) -> None:
    """Everything is up when the table is shown; it ends cleanly, and the next run is the same broker."""
    demo.wait_until_running()
    for part in PARTS:
        assert any(line.strip().startswith(part) for line in demo.lines)
    addresses = re.findall(r"http://localhost:(\d+)", demo.text)
    layout = Layout(port=demo.port, folder=tmp_path / ".demo" / str(demo.port))
    assert {int(port) for port in addresses} == {layout.port_of(name) for name in layout.names}
    assert "Sign in" in fetch(layout.url("forum"))
    chooser = fetch(f"{layout.url('forum')}/_login/start?next=/")
    assert "Sailing Forum" in chooser
    assert "Facebook (sandbox)" in chooser
    for name in ("wiki", "tracker", "facebook", "openid"):
        assert fetch(layout.url(name))
    keys = json.loads(fetch(f"{layout.url('broker')}/jwks"))
    checking = [sys.executable, "-m", "broker", "provider", "check", "facebook", "--config", str(layout.config)]
    checked = subprocess.run(checking, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert checked.returncode == 0, checked.stdout
    assert "privacy policy" not in checked.stdout
    assert "app domains" not in checked.stdout

    second = say(tmp_path, "--port", str(demo.port))
    assert second.returncode == 1
    assert re.search(r"are taken by another program .* make demo PORT=\d+$", second.stdout.strip())
    kept = say(tmp_path, "--port", str(demo.port), "--reset")
    assert (kept.returncode, layout.folder.exists()) == (1, True)

    assert demo.press_ctrl_c() == 0
    assert "Your demo data is kept" in demo.text
    assert "Traceback" not in demo.text
    for name in layout.names:
        assert "Traceback" not in (layout.folder / f"{name}.log").read_text()
        assert is_free(layout.port_of(name))

    again = Demo(tmp_path, demo.port)
    try:
        again.wait_until_running()
        assert json.loads(fetch(f"{layout.url('broker')}/jwks")) == keys
    finally:
        assert again.press_ctrl_c() == 0
    cleared = say(tmp_path, "--port", str(demo.port), "--reset")
    assert cleared.returncode == 0
    assert "data is gone" in cleared.stdout
    assert not (tmp_path / ".demo").exists()


def test_a_site_of_ones_own_joins_by_the_example_and_outlives_a_reset(tmp_path: Path) -> None:
    port = free_block()
    layout = Layout(port=port, folder=tmp_path / ".demo" / str(port))
    layout.prepare()
    example = (layout.own / "my-site.toml.example").read_text()
    (layout.own / "my-site.toml").write_text(example)
    (layout.own / "my-site.secret").touch(mode=0o600)
    (layout.own / "my-site.secret").write_text("my-site-secret-0123456789abcdef")
    checking = [sys.executable, "-m", "broker", "check", "--config", str(layout.config)]
    done = subprocess.run(checking, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "my-site" not in done.stdout
    (layout.own / "my-site.toml").write_text(example.rpartition("[egress")[0])
    done = subprocess.run(checking, cwd=ROOT, capture_output=True, text=True)
    assert "warning: my-site.backchannel_logout_uri: is not on the public internet" in done.stdout, done.stdout
    assert '[egress."localhost:8100"]' in done.stdout
    layout.prepare()
    other = Layout(port=9000, folder=tmp_path / ".demo" / "9000")
    other.prepare()
    cleared = say(tmp_path, "--port", str(port), "--reset")
    assert cleared.returncode == 0
    assert "make demo-reset PORT=9000" in cleared.stdout
    assert (other.config / "doorward.toml").exists()
    other.clear()
    assert f"my-site.secret, {Path('.demo') / str(port)}" in cleared.stdout.replace(f"{tmp_path}/", "")
    left = sorted(path.name for path in (tmp_path / ".demo").rglob("*") if path.is_file())
    assert left == ["my-site.secret", "my-site.toml"]


def test_a_taken_port_is_named_with_a_block_that_is_free(tmp_path: Path) -> None:
    port = free_block()
    with socket.create_server(("127.0.0.1", port + 1)):
        done = say(tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert f"Port {port + 1} is taken by another program" in done.stdout
    offered = int(done.stdout.strip().rpartition("PORT=")[2])
    assert all(is_free(offered + offset) for offset in range(BLOCK + 1))
    assert not (tmp_path / ".demo").exists()


@pytest.mark.parametrize("port", ["80", "65530", "many", "-1"])
def test_a_port_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path, port: str) -> None:
    done = say(tmp_path, f"--port={port}")
    assert done.returncode == 1
    assert f"PORT={port} does not work" in done.stdout


def test_another_block_of_ports_has_its_own_data(tmp_path: Path) -> None:
    """Issuer and subjects change with the port, so nothing may be mixed."""
    for port in (8000, 9000):
        Layout(port=port, folder=tmp_path / str(port)).prepare()
    first, second = (json.loads((tmp_path / str(port) / "secrets.json").read_text()) for port in (8000, 9000))
    assert not set(first.values()) & set(second.values())
    assert "http://localhost:9001/_login/callback" in (tmp_path / "9000" / "config" / "sites.toml").read_text()
    assert (tmp_path / "9000" / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_part_that_ends_by_itself_is_named_and_nothing_is_left_running(demo: Demo, tmp_path: Path) -> None:
    demo.wait_until_running()
    layout = Layout(port=demo.port, folder=tmp_path / ".demo" / str(demo.port))
    (wiki,) = (
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"broker.demo.sites.wiki\0--port\0{layout.port_of('wiki')}\0" in path.read_text()
    )
    os.kill(wiki, signal.SIGKILL)
    assert demo.end() == 1
    assert "The wiki did not start or stopped by itself." in demo.text
    assert all(is_free(layout.port_of(name)) for name in layout.names)


def test_the_demos_own_configuration_is_without_fault(tmp_path: Path) -> None:
    layout = Layout(port=8000, folder=tmp_path)
    layout.prepare()
    command = [sys.executable, "-m", "broker", "check", "--strict", "--config", str(layout.config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
