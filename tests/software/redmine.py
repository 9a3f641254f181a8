"""Debian's Redmine as it is unpacked, with a database of its own and a guide's plugin; all it writes stays in one folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.browser.town import HOSTS
from tests.software.apache import wait_for
from tests.software.printed import Printed
from tests.support.servers import program
from tests.support.tls import Authority

PACKAGE: Final = Path("/usr/share/redmine")
PLUGIN: Final = ("plugins/doorward/init.rb", "plugins/doorward/PluginGemfile")
OLDER: Final = """
user = User.new(login: "jonas", firstname: "Older", lastname: "Account", mail: "older@club.example", language: "en")
user.password = "an older password"
user.save!
"""
"""An account with a password of Redmine's own, whose login is somebody's user name at Doorward."""


@dataclass(frozen=True)
class Redmine:
    """One installation, ready to be served."""

    place: Path
    authority: Authority

    def run(self, *words: str) -> None:
        """One of its own commands. Raises AssertionError with what it said if it fails."""
        done = subprocess.run(words, cwd=self.place, env=self._environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    @contextmanager
    def running(self, port: int) -> Iterator[None]:
        """Its own server on loopback, until the block ends."""
        command = ["rackup", "--quiet", "--server", "webrick", "--host", "127.0.0.1", "--port", str(port)]
        with (self.place / "output").open("wb") as output:
            server = subprocess.Popen(
                [program("setpriv"), "--pdeathsig", "TERM", *command], cwd=self.place, env=self._environment(),
                stdout=output, stderr=output,
            )  # fmt: skip
        try:
            wait_for(port, server, self.place / "output")
            yield
        finally:
            server.kill()
            server.wait(30)

    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.place), "TMPDIR": str(self.place),
            "RAILS_ENV": "production", "RACK_ENV": "production", "SCHEMA": "/dev/null",
            "SSL_CERT_FILE": str(self.authority.ca), "LD_PRELOAD": program("libnss_wrapper.so", "usr/lib/*"),
            "NSS_WRAPPER_HOSTS": str(self.place / "hosts"),
        }  # fmt: skip


def _elsewhere(folder: str, names: list[str]) -> list[str]:
    """What is this machine's own: its plugins, and links of the package, of which some lead nowhere."""
    links = (name for name in names if (Path(folder) / name).is_symlink())
    own = [name for name in links if str((Path(folder) / name).readlink()).startswith(("/etc/", "/var/"))]
    return [*own, "plugins"] if Path(folder) == PACKAGE else own


def redmine(place: Path, printed: Printed, authority: Authority) -> Redmine:
    """Lay it out and make its database, with one older account in it."""
    if not (PACKAGE / "config.ru").exists():
        raise RuntimeError("redmine is missing; `make test` installs what the tests need")
    shutil.copytree(PACKAGE, place, ignore=_elsewhere)
    gems = place / "Gemfile"
    # Where it looks for the database's kind; and a server, which the package leaves to the machine.
    gems.write_text(gems.read_text().replace(f"{PACKAGE}/", f"{place}/") + '\ngem "webrick"\n')
    own = place / "instances" / "default"
    for name in ("config", "log", "files", "tmp", "public/plugin_assets"):
        (own / name).mkdir(parents=True)
    (own / "config" / "secret_key.txt").write_text(secrets.token_hex(64))
    (own / "config" / "database.yml").write_text(f"production:\n  adapter: sqlite3\n  database: {place}/redmine.db\n")
    (place / "hosts").write_text(f"127.0.0.1 {HOSTS['broker']}\n")
    made = Redmine(place, authority)
    made.run("bundle", "exec", "rake", "db:migrate")
    made.run("bundle", "exec", "rails", "runner", OLDER)
    for name in PLUGIN:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(printed.code(name))
    return made


def first_administrator(printed: Printed) -> list[str]:
    """The guide's command, as it is run in Redmine's folder."""
    found = re.search(r"sudo -u www-data (bundle exec rails runner) '([^']+)'", printed.guide)
    assert found is not None
    return [*found[1].split(), found[2]]
