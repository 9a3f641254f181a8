"""Trac with an environment of its own, set up with a guide's blocks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.software.apache import Apache, wait_for
from tests.software.printed import Printed
from tests.support.servers import program
from tests.support.source import ROOT

PACKAGES: Final = ROOT / ".venv-trac"
SCRIPT: Final = Path(__file__).with_name("wrapped.py")
START: Final = """import os, sys
sys.path.insert(0, {packages!r})
os.environ |= {{"TRAC_ENV": {place!r}, "PYTHON_EGG_CACHE": {place!r}}}
from trac.web.main import dispatch_request as application
"""


def environment(place: Path, printed: Printed, settings: str) -> None:
    """Make it with Trac's own command; `settings` is what is added to its `trac.ini`."""
    if not (PACKAGES / "trac").exists():
        raise RuntimeError("Trac is missing; `make test` fetches what the tests need")
    command = [sys.executable, "-W", "ignore", "-m", "trac.admin.console", str(place)]
    run(command, "initenv", "Club Tracker", "sqlite:db/trac.db")
    run(command, "permission", "add", "authenticated", "TICKET_CREATE")
    (place / "plugins" / "doorward.py").write_text(printed.code("plugins/doorward.py"))
    ini = place / "conf" / "trac.ini"
    ini.write_text(f"{ini.read_text()}\n{settings}")


@contextmanager
def wrapped(place: Path, printed: Printed, *given: str) -> Iterator[None]:
    """Serve it under the sign-in kit until the block ends, as the guide's last words have it. `given`: see wrapped.py."""
    ini = f"[doorward]\n{_of_the_kit(printed)}\n[components]\ntrac.web.auth.LoginModule = disabled\n"
    environment(place, printed, ini)
    hosts = place / "hosts"
    hosts.write_text(f"127.0.0.1 {urlsplit(given[4]).hostname}\n")
    own = {
        **os.environ, "TRAC_ENV": str(place), "PYTHONWARNINGS": "ignore", "LD_PRELOAD": program("libnss_wrapper.so", "usr/lib/*"),
        "NSS_WRAPPER_HOSTS": str(hosts), "PYTHONPATH": f"{PACKAGES}:{ROOT}:{ROOT / 'broker' / 'verify'}",
    }  # fmt: skip
    # -P: this folder holds a trac.py of ours.
    command = [program("setpriv"), "--pdeathsig", "TERM", sys.executable, "-P", str(SCRIPT), *given]
    with (place / "output").open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=own, cwd=place)
    try:
        wait_for(int(given[0]), server, place / "output")
        yield
    finally:
        server.kill()
        server.wait(30)


def _of_the_kit(printed: Printed) -> str:
    """The two lines that the guide has in its text for this way."""
    found = re.search(r"`(sign_in = /[^`]+)` and `(sign_out = [^`]+)`", printed.guide)
    assert found is not None
    return f"{found[1]}\n{found[2]}"


def run(command: list[str], *words: str) -> None:
    own = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    done = subprocess.run([*command, *words], capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stdout + done.stderr


def trac(apache: Apache, printed: Printed) -> str:
    """Lay it out for mod_wsgi; what stands in its VirtualHost."""
    place, packages = apache.folder / "trac", apache.folder / "trac-packages"
    environment(place, printed, printed.code("conf/trac.ini"))
    # Apache's account reads nothing else of the tests'. Setuptools is there for `pkg_resources` alone.
    shutil.copytree(PACKAGES, packages, ignore=shutil.ignore_patterns("setuptools", "locale", "tests", "__pycache__"))
    script = apache.folder / "trac.wsgi"
    script.write_text(START.format(packages=str(packages), place=str(place)))
    return f"WSGIScriptAlias / {script}\n{printed.code('VirtualHost')}"
