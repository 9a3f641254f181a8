"""What a person does in the town, in the words of the pages; every page of ours that they meet is looked at.

`meet` waits for a heading and then looks at the page: it speaks for itself, nothing is wider than the window, axe-core
has nothing to say, and the cookies are those of the cookie page. Pictures and what a screen reader says are artefacts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Error, Locator, Page, expect
from tests.support.chromium import ARTEFACTS, WAIT, Person

COOKIES: Final = re.compile(r"__Host-doorward_(?:session|state|ended|last|lang|tx_[\w-]+)")
BARE: Final = frozenset(
    {"ok", "yes", "no", "submit", "send", "go", "next", "continue", "cancel", "agree", "accept", "done", "save"}
)
"""Words that do not say what a button does."""
PROVIDERS: Final = re.compile(r"^https://(?:facebook|openid)\.test:")

expect.set_options(timeout=WAIT)


@dataclass
class Visitor:
    """One person with one browser."""

    person: Person
    login: str
    javascript: bool = True
    looked: list[str] = field(default_factory=list)
    """Headings of our own pages that were met."""

    @property
    def page(self) -> Page:
        return self.person.page

    @property
    def is_ours(self) -> bool:
        return self.page.url.startswith(self.login + "/")

    def open(self, url: str) -> None:
        self.page.goto(url)

    def meet(self, heading: str, *, picture: str = "") -> None:
        """Wait for a page by its heading, and look at it if it is ours."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)
        if self.is_ours:
            self._look(heading, picture)

    def press(self, name: str, *, within: Locator | None = None) -> None:
        """Press the button or link of this name."""
        place = within or self.page.locator("body")
        target = place.get_by_role("button", name=name, exact=True).or_(
            place.get_by_role("link", name=name, exact=True)
        )
        try:
            target.first.click()
        except Error as missing:
            names = [one.inner_text() for one in self.page.locator("button:visible, a:visible").all()]
            raise AssertionError(f"no {name!r} on {self.page.url}; there are {names}") from missing

    def tick(self, *names: str) -> None:
        for name in names:
            self.page.get_by_role("checkbox", name=name).check()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_role("textbox", name=label).fill(text)

    def rows(self) -> dict[str, str]:
        """What a demo site shows about the person: field -> value."""
        return {
            row.get_by_role("rowheader").inner_text(): row.get_by_role("cell").inner_text()
            for row in self.page.get_by_role("row").all()
            if row.get_by_role("rowheader").count()
        }

    # --- the way through ------------------------------------------------------------------------------

    def start_at(self, site: str, path: str, name: str) -> None:
        """From a page of a site to the chooser."""
        self.open(site + path)
        self.press("Sign in")
        self.meet(f"Sign in to {name}", picture="chooser")

    def start_again_at(self, site: str, path: str) -> None:
        """From a page of a site to wherever pressing "Sign in" leads somebody who is signed in with us."""
        self.open(site + path)
        self.press("Sign in")

    def wait_until_signed_out_at(self, site: str) -> None:
        """Until the site was told by our server and asks to sign in."""
        for _ in range(50):
            self.open(site)
            if self.page.get_by_role("link", name="Sign in", exact=True).count():
                return
            self.page.wait_for_timeout(200)
        raise AssertionError(f"{site} still has somebody signed in")

    def be(
        self, persona: str, *, provider: str = "Facebook (sandbox)", declines: Iterable[str] = (), is_asked: bool = True
    ) -> None:
        """Choose a provider, be one of its invented people, and come back.

        `is_asked` is False for whoever told that provider before that we may ask it.
        """
        self.press(f"Continue with {provider}")
        self.page.wait_for_url(PROVIDERS)
        self.page.locator(f'button[name=persona][value="{persona}"]').click()
        if provider.startswith("Facebook") and is_asked:
            for permission in declines:
                self.page.locator(f'input[name=permission][value="{permission}"]').uncheck()
            self.page.get_by_role("button", name=re.compile("^Continue")).click()

    def sign_up(self, user_name: str, *, keep: Iterable[str] = (), provider: str = "Facebook (sandbox)") -> None:
        """From the preview to the end of "Finish signing up"."""
        self.meet(f"Choose what to use from {provider}", picture="details")
        self.tick(*(f"Use: {name}" for name in keep))
        self.press("Continue with these")
        self.meet("Finish signing up", picture="finish")
        self.fill("User name", user_name)
        self.press("Create my account")

    # --- looking --------------------------------------------------------------------------------------

    def _look(self, heading: str, picture: str) -> None:
        self.looked.append(heading)
        self.person.check_no_sideways_scrolling()
        if self.javascript:  # axe-core waits for timers, which stand still without scripts; the page is the same
            self.person.check_accessibility()
        spoken = speak(self.page)
        check_spoken(spoken, self.page.url)
        check_cookies(self.person.context.cookies(self.login))
        if picture:
            name = f"{picture}-{self.page.viewport_size['width'] if self.page.viewport_size else 0}"
            name += "" if self.javascript else "-without-script"
            self.person.screenshot(name)
            keep_spoken(name, spoken)


def speak(page: Page) -> str:
    """The page as its accessibility tree has it, in text: what a screen reader reads, from the top."""
    return page.locator("body").aria_snapshot()


def keep_spoken(name: str, text: str) -> Path:
    """Keep it as an artefact."""
    folder = ARTEFACTS / "spoken"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.txt"
    path.write_text(text, encoding="utf-8")
    return path


_LINE: Final = re.compile(r'^\s*- \'?(?P<role>[a-z]+)(?: "(?P<name>(?:[^"\\]|\\.)*)")?')


def check_spoken(spoken: str, where: str) -> None:
    """The heading comes first in `main`, then what happens, and every button says what it does.

    Raises AssertionError. An alert (a summary of mistakes) or a status (what was done) may stand before the heading.
    """
    lines = spoken[spoken.index("- main") :].splitlines()[1:]
    lines = lines[: next((number for number, line in enumerate(lines) if line.startswith("- ")), len(lines))]
    found = [(match["role"], match["name"] or "") for line in lines if (match := _LINE.match(line))]
    roles = [role for role, _ in found]
    first = next(number for number, line in enumerate(lines) if re.search(r"- '?heading .*\[level=1\]", line))
    before = [line for line in lines[:first] if re.match(r"^  - ", line)]
    assert all(re.match(r"^  - (alert|status|paragraph: Step|paragraph: )", line) for line in before), (
        f"{where}\n{spoken}"
    )
    assert any(re.search(r"(paragraph|text|listitem|cell|term|definition|status)\b", line) for line in lines[first:]), (
        f"{where} says nothing but its heading\n{spoken}"
    )
    for role, name in found:
        if role in {"button", "link"}:
            assert name, f"{where}: a {role} without a name\n{spoken}"
            assert name.strip(" .…").lower() not in BARE, f"{where}: {name!r} does not say what it does"
    names = [name for role, name in found if role == "button"]
    assert len(names) == len(set(names)), f"{where}: two buttons of one name\n{names}"
    assert roles


def check_cookies(cookies: Sequence[Mapping[str, Any]]) -> None:
    """Ours are exactly those of the cookie page, for this host alone, out of reach of scripts."""
    for cookie in cookies:
        assert COOKIES.fullmatch(str(cookie["name"])), cookie["name"]
        # One opens nothing and is there to be compared by a frame of ours, where session management is on.
        flags = (False, "None") if cookie["name"] == "__Host-doorward_state" else (True, "Lax")
        assert (cookie["path"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == ("/", True, *flags)
        assert cookie["domain"] == "login.test"
