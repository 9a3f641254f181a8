"""Debian's Chromium, headless, driven by Playwright: real cookies, real policies, no downloads of its own.

    def test_…(chromium: Chromium) -> None:
        chromium.hosts["login.test"] = port          before the first `person()`
        with chromium.person(javascript=False, dark=True, width=320) as person:
            person.page.goto("https://login.test/")
            person.check_accessibility()
            person.screenshot("chooser")
        # leaving the block checks that nothing was asked of strangers, nothing broke a policy, no script failed

The tests' authority is trusted through a certificate store of the browser's own, so TLS errors are still errors.
Use it in plain `def` tests of modules without async tests: Playwright's synchronous interface owns the event loop of
the thread. Servers run in threads or processes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request, sync_playwright

from tests.support.servers import program
from tests.support.tls import Authority

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / "artefacts"
AXE = ROOT / "tests" / "node" / "node_modules" / "axe-core" / "axe.min.js"
WAIT = 15_000  # milliseconds
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-dev-shm-usage",
    "--disable-features=Translate,OptimizationHints,MediaRouter,HttpsUpgrades,LocalNetworkAccessChecks",
)  # fmt: skip
_POLICY = re.compile(r"Content Security Policy|Permissions policy|Refused to|violates", re.IGNORECASE)


@dataclass
class Record:
    """What a browser did beside showing pages."""

    own: tuple[str, ...]
    strangers: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("request", self._asked)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and (parts.hostname or "") not in self.own:
            self.strangers.append(f"{parts.scheme}://{parts.netloc}")

    def _said(self, message: ConsoleMessage) -> None:
        if _POLICY.search(message.text):
            self.violations.append(message.text)
        elif message.type == "error" and not message.text.startswith("Failed to load resource"):
            # An error page answers 4xx on purpose; the console calls that a resource that failed.
            self.errors.append(message.text)

    def check(self) -> None:
        """Raises AssertionError unless only our own hosts were asked, no policy was broken and no script failed."""
        assert not self.strangers, f"asked of strangers: {sorted(set(self.strangers))}"
        assert not self.violations, f"policies broken: {self.violations}"
        assert not self.errors, f"script errors: {self.errors}"


@dataclass
class Person:
    """One browser profile with one page open: cookies of its own, settings of its own."""

    context: BrowserContext
    page: Page
    record: Record

    def screenshot(self, name: str) -> Path:
        """Keep a picture of the whole page as an artefact."""
        ARTEFACTS.mkdir(exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def check_accessibility(self, page: Page | None = None) -> None:
        """Raises AssertionError with what axe-core finds against WCAG 2.2 A and AA. Needs JavaScript switched on."""
        shown = page or self.page
        shown.wait_for_load_state()  # without its style sheet every target is too small
        shown.evaluate(AXE.read_text(encoding="utf-8"))
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = shown.evaluate(
            "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", tags
        )
        problems = [
            f"{item['id']} ({item['impact']}): {item['help']}: {[node['target'] for node in item['nodes']]}"
            for item in found["violations"]
        ]
        assert not problems, f"{shown.url}\n" + "\n".join(problems)

    def check_no_sideways_scrolling(self, page: Page | None = None) -> None:
        """Raises AssertionError when the page is wider than the window (WCAG 2.2, 1.4.10)."""
        shown = page or self.page
        wide, window = shown.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= window, f"{shown.url} is {wide} px wide in a window of {window} px"


@dataclass
class Chromium:
    """The browser; started when the first person opens it, because host names are mapped at its start."""

    playwright: Playwright
    folder: Path
    authority: Authority
    hosts: dict[str, int] = field(default_factory=dict)
    _browser: Browser | None = None

    @contextmanager
    def person(
        self,
        *,
        javascript: bool = True,
        dark: bool = False,
        width: int = 1280,
        height: int = 900,
        locale: str = "en-GB",
        checked: bool = True,
        **settings: Any,
    ) -> Iterator[Person]:
        """A new profile. `checked=False` leaves the record unchecked at the end, for pages of others."""
        context = self._start().new_context(
            java_script_enabled=javascript,
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": height},
            locale=locale,
            reduced_motion="reduce",
            **settings,
        )
        context.set_default_timeout(WAIT)
        record = Record((*self.hosts, "127.0.0.1", "localhost"))
        record.watch(context)
        try:
            yield Person(context, context.new_page(), record)
            if checked:
                record.check()
        finally:
            context.close()

    def _start(self) -> Browser:
        if self._browser is None:
            self._browser = self.playwright.chromium.launch(**self._how())
        return self._browser

    def _how(self) -> dict[str, Any]:
        rules = [f"MAP {name}:443 127.0.0.1:{port}" for name, port in self.hosts.items()]
        rules += ["MAP *.test 127.0.0.1", "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1", "EXCLUDE localhost"]
        self._trust()
        return {
            "executable_path": program("chromium"),
            "args": [*FLAGS, f"--host-resolver-rules={', '.join(rules)}"],
            "env": {**os.environ, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config")},
        }

    @contextmanager
    def ordinary_person(self) -> Iterator[Person]:
        """Somebody with a lasting profile whose settings let frames of other sites have their cookies.

        Everybody else is in a window that forgets, where Chromium keeps cookies from such frames. Nothing is checked.
        """
        with tempfile.TemporaryDirectory() as profile:
            (Path(profile) / "Default").mkdir()
            (Path(profile) / "Default" / "Preferences").write_text('{"profile": {"cookie_controls_mode": 0}}')
            context = self.playwright.chromium.launch_persistent_context(profile, locale="en-GB", **self._how())
            context.set_default_timeout(WAIT)
            try:
                yield Person(context, context.new_page(), Record((*self.hosts, "127.0.0.1", "localhost")))
            finally:
                context.close()

    def _trust(self) -> None:
        """A certificate store under the browser's own home folder, with the tests' authority in it."""
        for place in (".pki/nssdb", ".local/share/pki/nssdb"):
            store = self.folder / place
            store.mkdir(parents=True, exist_ok=True)
            tool = [program("certutil"), "-d", f"sql:{store}"]
            if not (store / "cert9.db").exists():
                subprocess.run([*tool, "-N", "--empty-password"], check=True, capture_output=True)
            add = [*tool, "-A", "-t", "C,,", "-n", "Doorward test authority", "-i", str(self.authority.ca)]
            subprocess.run(add, check=True, capture_output=True)

    def close(self) -> None:
        if self._browser is not None:
            self._browser.close()
            self._browser = None


def clear_cookies_of(person: Person, host: str) -> None:
    """Forget what one host set."""
    person.context.clear_cookies(domain=host)


def cookies_of(person: Person, host: str) -> dict[str, Any]:
    """Name -> cookie as the browser keeps it, for one host."""
    kept = json.loads(json.dumps(person.context.cookies(f"https://{host}/")))
    return {cookie["name"]: cookie for cookie in kept}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        browser = Chromium(playwright, tmp_path_factory.mktemp("chromium"), authority)
        try:
            yield browser
        finally:
            browser.close()
