"""What `doorward site add` prints for some software, put where it says: the site into the configuration, the rest to hand.

wiki = add(config, "wiki", software="dokuwiki", title="Wiki", url="https://wiki.test:8443/")
wiki.code("conf/local.php")         the block that the guide wants in that file
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.source import ROOT

_BLOCK: Final = re.compile(r"^(?P<where>[^\n]+):\n\n```\w*\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Printed:
    """One guide, filled in."""

    url: str
    guide: str

    def code(self, where: str) -> str:
        """The block whose line before names this place. Raises AssertionError unless there is exactly one."""
        found = [block["code"] for block in _BLOCK.finditer(self.guide) if where in block["where"]]
        assert len(found) == 1, f"{len(found)} blocks for {where} in\n{self.guide}"
        return found[0]


def add(config: Path, name: str, *, software: str, title: str, url: str) -> Printed:
    """Run the command and do what it says on Doorward's side."""
    said = _site("add", name, "--software", software, "--title", title, "--url", url, "--config", str(config))
    site, then, *_ = re.split(r"(?m)^\d\. ", said)[1:]
    (config / "conf.d").mkdir(exist_ok=True)
    block = "\n".join(line.removeprefix("    ") for line in site.splitlines()[1:])
    (config / "conf.d" / f"{name}.toml").write_text(block)
    if then.startswith("Put this secret"):
        (config / "secrets").mkdir(exist_ok=True)
        secret = config / "secrets" / f"{name}.secret"
        secret.touch(mode=0o600)
        secret.write_text(then.split()[-1])
    return Printed(url, said.partition("The other side:\n\n")[2])


def show(config: Path, name: str, *, software: str, url: str) -> Printed:
    """What the command says of a site that is there already."""
    return Printed(url, _site("show", name, "--software", software, "--config", str(config)))


def _site(*words: str) -> str:
    own = {key: value for key, value in os.environ.items() if not key.startswith("DOORWARD")}
    command = [sys.executable, "-m", "broker", "site", *words]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
