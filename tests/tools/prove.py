"""Every check of the project in order, each with its heading and time; all run, and one failure fails the whole.

    python tests/tools/prove.py [phase …]       without names: every phase but `cover`

`SEED=123 make test` repeats a run whose seed was 123: the order of tests and every generated request follow from it.
Exit code 0 only if every phase passed. The last lines are a table of the phases and pytest's own summary.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = sys.executable
BIN: Final = Path(PYTHON).parent
WORKERS: Final = "2"

# What must be on the machine -> Debian's package that brings it.
PROGRAMS: Final = {
    "chromium": "chromium",
    "certutil": "libnss3-tools",
    "redis-server": "redis-server",
    "initdb": "postgresql",
    "pg_dump": "postgresql-client",
    "node": "nodejs",
    "npm": "npm",
    "nginx": "nginx",
    "caddy": "caddy",
    "apache2": "apache2",
    "systemd-analyze": "systemd",
    "setpriv": "util-linux",
    "git": "git",
}
# The same for what is no program: a file's place, with wildcards.
FILES: Final = {
    "usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core",
    "usr/lib/apache2/modules/mod_auth_openidc.so": "libapache2-mod-auth-openidc",
    "usr/lib/*/libnss_wrapper.so": "libnss-wrapper",
    "usr/lib/apache2/modules/libphp*.so": "libapache2-mod-php",
    "usr/lib/apache2/modules/mod_wsgi.so": "libapache2-mod-wsgi-py3",
    "usr/share/dokuwiki/doku.php": "dokuwiki",
    "usr/share/mediawiki/index.php": "mediawiki",
    "usr/lib/php/*/pdo_sqlite.so": "php-sqlite3",
    "usr/share/redmine/config.ru": "redmine",
    "usr/share/doc/redmine-sqlite": "redmine-sqlite",
    "usr/share/doc/ruby-jwt": "ruby-jwt",
    "usr/share/lemonldap-ng/portal/htdocs/index.psgi": "liblemonldap-ng-portal-perl",
    "usr/share/perl5/Net/OpenID/Server.pm": "libnet-openid-server-perl",
    "usr/share/perl5/IO/String.pm": "libio-string-perl",
    "usr/share/perl5/String/Random.pm": "libstring-random-perl",
}
ANSWERS: Final = {"redmine": "redmine redmine/current-instances string"}
"""Package -> what Debian's installer is told beforehand: no Redmine of the machine's own, which would take half a minute."""
POLICY: Final = Path("/usr/sbin/policy-rc.d")
DEMO_WITHIN: Final = 420.0
"""Seconds for the demo's first start, the download of its packages included."""
RULES: Final = ("broker/domain", "broker/flows", "broker.errors")
RULE_TESTS: Final = ("tests/domain", "tests/flows", "tests/adapters")
APART: Final = {
    ".venv-trac": "tests/software/trac.txt",
    ".venv-mastodon": "tests/providers/mastodon_mock.txt",
}
"""Folder -> the Python packages in it: software that is run beside the tests and is no part of their environment."""
NODE_FOLDERS: Final = ("tests/node", "tests/node/atproto", "broker/verify/examples/node")


@dataclass
class Outcome:
    """One phase that ran."""

    name: str
    passed: bool
    seconds: float
    last: str = ""


class Failed(Exception):
    """A phase cannot go on; the text says why."""


def machine() -> str:
    """Install the servers and the browser that are missing, with apt."""
    missing = _missing()
    if not missing:
        return "everything is there"
    if shutil.which("apt-get") is None:
        raise Failed(f"install what Debian calls: {' '.join(missing)}")
    sudo = _sudo(missing)
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    _say([*sudo, *environment, "apt-get", "update", "-qq"])
    for package in ANSWERS.keys() & missing:
        told = f"debconf-show {package} | grep -q . || echo '{ANSWERS[package]}' | debconf-set-selections"
        _say([*sudo, "sh", "-c", told])
    with _nothing_started(sudo):
        _say([*sudo, *environment, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])
    left = _missing()
    if left:
        raise Failed(f"apt-get did not bring: {' '.join(left)}")
    return f"installed {', '.join(missing)}"


@contextmanager
def _nothing_started(sudo: list[str]) -> Iterator[None]:
    """Inside, Debian starts no server that it installs: the tests start private ones. Somebody's own policy stays."""
    if POLICY.exists():
        yield
        return
    _say([*sudo, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}"])
    try:
        yield
    finally:
        _say([*sudo, "rm", "-f", str(POLICY)])


def _missing() -> list[str]:
    found = {package for name, package in PROGRAMS.items() if not _is_there(name)}
    found |= {package for path, package in FILES.items() if not any(Path("/").glob(path))}
    return sorted(found)


def _is_there(name: str) -> bool:
    if Path("/usr/sbin", name).exists():  # not on everybody's path
        return True
    if name == "initdb":
        return any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which(name) is not None
    return shutil.which(name) is not None


def _sudo(missing: list[str]) -> list[str]:
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode == 0
    ):
        return ["sudo", "-n"]
    raise Failed(f"not root, and sudo asks for a password. Run: sudo apt-get install -y {' '.join(missing)}")


def witnesses() -> str:
    """Fetch the packages that stand beside us as witnesses, at exact versions."""
    for name, packages in APART.items():
        _apart(name, packages)
    for name in NODE_FOLDERS:
        folder = ROOT / name
        if not (folder / "package.json").exists():
            continue
        locked = (folder / "package-lock.json").exists()
        mark = folder / "node_modules" / ".doorward"
        wanted = (folder / ("package-lock.json" if locked else "package.json")).read_text(encoding="utf-8")
        if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
            continue
        command = ["npm", "ci"] if locked else ["npm", "install", "--no-package-lock"]
        _say([*command, "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"], folder)
        mark.write_text(wanted, encoding="utf-8")
    return ""


def _apart(name: str, packages: str) -> None:
    wanted, folder = (ROOT / packages).read_text(encoding="utf-8"), ROOT / name
    mark = folder / ".doorward"
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--no-deps"]
    _say([*pip, "--target", str(folder), "--requirement", packages])
    mark.write_text(wanted, encoding="utf-8")


def lint() -> str:
    _say([PYTHON, "-m", "ruff", "check", "."])
    return ""


def types() -> str:
    _say([PYTHON, "-m", "mypy", "broker", "providers", "tests"])
    return ""


def imports() -> str:
    _say([str(BIN / "lint-imports"), "--no-cache"])
    return ""


def readme() -> str:
    """The README's two commands on a fresh clone: the demo starts, answers and stops; the tests' tools install and run."""
    with tempfile.TemporaryDirectory(prefix="doorward-clone-", ignore_cleanup_errors=True) as folder:
        clone = Path(folder) / "doorward"
        _say(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)])
        _demo(clone)
        _say(["sh", "tests/tools/run_all", "imports"], clone)
    return "make demo and make test start from a clone"


def _demo(clone: Path) -> None:
    port = 20_000 + 20 * (os.getpid() % 1000)
    command = ["make", "demo", f"PORT={port}"]
    with subprocess.Popen(command, cwd=clone, start_new_session=True) as running:
        try:
            _wait_for(f"http://localhost:{port}/healthz", running)
            for number in (0, 1, 2, 3, 10, 11):
                _wait_for(f"http://localhost:{port + number}/", running)
        finally:
            os.killpg(running.pid, signal.SIGINT)
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                raise Failed("the demo did not stop within 30 seconds of Ctrl-C") from None


def _wait_for(url: str, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEMO_WITHIN
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if running.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the demo did not answer at {url}") from None
            time.sleep(0.5)


def rules() -> str:
    """The domain, the flows and the errors: every branch is taken by their own tests, which need no server."""
    environment = {**os.environ, "COVERAGE_FILE": str(ROOT / ".coverage.rules")}
    suite = [PYTHON, "-m", "pytest", "-n", WORKERS, "--dist", "loadfile", "-q", "-p", "no:cacheprovider", *RULE_TESTS]
    _say([*suite, *(f"--cov={where}" for where in RULES), "--cov-branch", "--cov-report="], environment=environment)
    report = [
        PYTHON,
        "-m",
        "coverage",
        "report",
        "--precision=1",
        "--skip-covered",
        "--show-missing",
        "--fail-under=100",
    ]
    _say(report, environment=environment)
    return "every branch of domain, flows and errors"


def cover() -> str:
    """Branch coverage of everything by everything but the browser's tests; takes a while."""
    environment = {**os.environ, "COVERAGE_FILE": str(ROOT / ".coverage")}
    _say([PYTHON, "-m", "coverage", "erase"], environment=environment)
    suite = [PYTHON, "-m", "pytest", "-n", WORKERS, "--dist", "loadfile", "-q", "-m", "not browser"]
    _say([*suite, "--cov", "--cov-report="], environment={**environment, "DOORWARD_FUZZ": "40"})
    report = [PYTHON, "-m", "coverage", "report", "--precision=1", "--show-missing", "--fail-under=95"]
    _say(report, environment=environment)
    return "at least 95 % of all branches"


def tests() -> str:
    """The whole suite; gives pytest's last line."""
    seed = os.environ.get("SEED") or str(random.randrange(2**32))
    print(f"seed {seed}: SEED={seed} make test repeats this order and these requests", flush=True)
    command = [
        PYTHON,
        "-m",
        "pytest",
        "-n",
        WORKERS,
        "--dist",
        "loadfile",
        "-q",
        "--durations=15",
        f"--randomly-seed={seed}",
    ]
    if sys.stdout.isatty():
        command.append("--color=yes")
    last = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
        code = running.wait()
    if code:
        raise Failed(last)
    return last


PHASES: Final[dict[str, Callable[[], str]]] = {
    "machine": machine,
    "witnesses": witnesses,
    "lint": lint,
    "types": types,
    "imports": imports,
    "rules": rules,
    "readme": readme,
    "tests": tests,
}
ASKED_FOR: Final[dict[str, Callable[[], str]]] = {"cover": cover}
"""Phases that run only by name."""


def _say(command: list[str], folder: Path = ROOT, environment: dict[str, str] | None = None) -> None:
    code = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if code:
        raise Failed(
            f"{' '.join(Path(word).name if word.startswith('/') else word for word in command[:4])} ended with {code}"
        )


def run(name: str) -> Outcome:
    print(f"\n== {name} ==", flush=True)
    start = time.monotonic()
    try:
        last, passed = {**PHASES, **ASKED_FOR}[name](), True
    except Failed as failure:
        last, passed = str(failure), False
        print(f"{name}: {failure}", flush=True)
    return Outcome(name, passed, time.monotonic() - start, last)


def main(names: list[str]) -> int:
    every = [*PHASES, *ASKED_FOR]
    unknown = sorted(set(names) - set(every))
    if unknown:
        print(f"No such phase: {', '.join(unknown)}. There are: {', '.join(every)}")
        return 2
    outcomes = [run(name) for name in every if (name in names if names else name in PHASES)]
    print(f"\n== summary, {sum(outcome.seconds for outcome in outcomes):.0f} s ==")
    for outcome in outcomes:
        print(
            f"{'passed' if outcome.passed else 'FAILED'}  {outcome.name:<10} {outcome.seconds:6.1f} s  {outcome.last}"
        )
    if outcomes[-1].name == "tests":
        print(outcomes[-1].last, flush=True)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nStopped.")
        sys.exit(130)
