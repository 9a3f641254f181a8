"""Every page in every state, as a browser shows it: narrow and wide, light and dark, in every language and direction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from tests.browser.visitor import check_spoken, keep_spoken, speak
from tests.support.chromium import ARTEFACTS, Chromium, Person
from tests.support.sandbox import serve
from tests.support.tls import Authority
from tests.web.pages.gallery import gallery, renderer

from broker.web.headers import SecurityHeaders
from broker.web.pages.problems import ALIASES, WORDS
from broker.web.pages.words import DONE, FAILURES, POST_STATES, PROBLEMS
from providers.sandbox.avatar import portrait

pytestmark = pytest.mark.browser

SAME = (
    {f"error-{code}" for code in (*WORDS, *ALIASES)}
    - {"error-sign_in_expired", "error-cookies_off", "error-too_many_attempts"}
    | {f"trial-failed-{name}" for name in FAILURES}
    - {"trial-failed-secret", "trial-failed-our_keys", "trial-failed-request_object"}
    | {f"problem-{code}" for code in PROBLEMS}
    | {f"done-{code}" for code in DONE} - {"done-stopped"}
    | {f"outcome-{state}" for state in POST_STATES} - {"outcome-posted", "outcome-needs_person"}
)
"""Pages that differ from a neighbour in words alone: looked at once, in English."""
LOOKS = {
    # language, width, dark
    "english-1280": ("en", 1280, False),
    "english-320-dark": ("en", 320, True),
    "french-320": ("fr", 320, False),
    "french-1280-dark": ("fr", 1280, True),
    "pseudo-320": ("qps", 320, False),
    "right-to-left-320": ("qps-rtl", 320, True),
    "right-to-left-1280": ("qps-rtl", 1280, False),
}
THOROUGH = ("english-1280", "english-320-dark", "right-to-left-320")
"""Looks that axe-core judges: it looks at structure and colours, which no other language or width changes. All the
others must fit. Pictures of these are kept as artefacts."""


@pytest.fixture(scope="module")
def sent() -> list[str]:
    """What was posted to the share page, which takes its time."""
    return []


@pytest.fixture(scope="module")
def pages(chromium: Chromium, authority: Authority, sent: list[str]) -> Iterator[str]:
    """A server that shows the gallery with the product's own headers."""
    show, samples, headers = renderer(), gallery(), SecurityHeaders(secure=False)

    async def page(request: Request) -> Response:
        locale, name = request.path_params["locale"], request.path_params["name"]
        html = show.page(samples[name], locale=locale, csrf_token="token", request_path="/me")
        html = html.replace(b" data-at-once", b"")  # looked at as without script: with it, the page leaves at once
        response = HTMLResponse(html)
        headers.add(response)
        return response

    async def slow(request: Request) -> Response:
        sent.append((await request.body()).decode())
        await asyncio.sleep(3)
        return HTMLResponse(show.page(samples["kept-nothing"], locale="en", csrf_token="", request_path="/"))

    async def static(request: Request) -> Response:
        if request.path_params["name"] == "x.png":
            return Response(portrait("ana", 128, 128), media_type="image/png")
        return show.static(request.path_params["name"])

    app = Starlette(
        routes=[
            Route("/static/{name}", static),
            Route("/f/abc123/site", slow, methods=["POST"]),
            Route("/{locale}/{name}", page),
        ]
    )
    leaf = authority.leaf("login.test")
    with serve(app, certificate=leaf.certificate, key=leaf.key) as url:
        chromium.hosts["login.test"] = int(url.rsplit(":", 1)[1])
        yield "https://login.test"


@contextmanager
def looking(chromium: Chromium, look: str) -> Iterator[Person]:
    _, width, dark = LOOKS[look]
    with chromium.person(width=width, height=640 if width == 320 else 900, dark=dark) as person:
        yield person


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_accessible_fits_the_window_and_is_not_cut_off(chromium: Chromium, pages: str, look: str) -> None:
    """No axe-core finding, nothing sideways, no text cut off, nothing from elsewhere, no policy broken."""
    locale, width, _ = LOOKS[look]
    names = [name for name in gallery() if look == "english-1280" or name not in SAME]
    folder = ARTEFACTS / "pages" / look
    if look in THOROUGH:
        folder.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    with looking(chromium, look) as person:
        for name in names:
            person.page.goto(f"{pages}/{locale}/{name}")
            try:
                person.check_no_sideways_scrolling()
                if look in THOROUGH and name not in SAME:
                    person.check_accessibility()
                cut = person.page.evaluate(CUT)
                assert not cut, f"{name}: cut off: {cut}"
                small = person.page.evaluate(SMALL) if width == 320 else []
                assert not small, f"{name}: too small to tap: {small}"
                room = person.page.locator("main").bounding_box()
                assert room is not None
                assert room["width"] >= min(width * 0.85, 400), f"{name}: squeezed to {room['width']} pixels"
            except AssertionError as problem:
                problems.append(str(problem))
            if look in THOROUGH and name not in SAME:
                person.page.screenshot(path=folder / f"{name}.png", full_page=True)
    assert not problems, "\n".join(problems)


CUT = """() => [...document.querySelectorAll('main *, header *, nav *, footer *')]
  .filter(one => one.checkVisibility() && !one.closest('.vh, .skip, svg, thead') && getComputedStyle(one).display !== 'inline'
    && (one.scrollWidth > one.clientWidth + 1) && one.clientWidth > 0
    && !['INPUT', 'SELECT', 'OPTION'].includes(one.tagName))
  .map(one => one.tagName + ': ' + one.innerText.slice(0, 40))"""
SMALL = """() => [...document.querySelectorAll('button, .btn, input:not([type=hidden]), select, summary, .tabs a')]
  .filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 24)
  .map(one => one.innerText || one.name)"""


def test_every_page_read_aloud_says_what_happens_and_what_each_button_does(chromium: Chromium, pages: str) -> None:
    """The accessibility tree of every page, as a screen reader walks it."""
    problems: list[str] = []
    with looking(chromium, "english-320-dark") as person:
        for name in gallery():
            person.page.goto(f"{pages}/en/{name}")
            spoken = speak(person.page)
            keep_spoken(name, spoken)
            try:
                check_spoken(spoken, name)
            except AssertionError as problem:
                problems.append(str(problem).split("\n", 1)[0])
    assert not problems, "\n".join(problems)


def test_yes_and_no_are_of_equal_weight(chromium: Chromium, pages: str) -> None:
    """Same size, colours, border and letters, measured in the browser, side by side and stacked (promise P8)."""
    names = [
        "preview",
        "preview-declined",
        "share",
        "share-more",
        "opt-in",
        "opt-in-lasting",
        "opt-in-person",
        "post",
        "post-person",
        "policy",
        "confirm",
        "confirm-other",
        "close",
        "merge",
    ]
    for look in ("english-1280", "english-320-dark", "french-320"):
        with looking(chromium, look) as person:
            for name in names:
                person.page.goto(f"{pages}/{LOOKS[look][0]}/{name}")
                choices = person.page.evaluate(CHOICES)
                assert len(choices) >= 2, (look, name)
                assert len({tuple(sorted(choice["style"].items())) for choice in choices}) == 1, (look, name, choices)
                widths = [choice["width"] for choice in choices]
                assert max(widths) - min(widths) <= 1 or name == "share-more", (look, name, widths)
                heights = [choice["height"] for choice in choices]
                assert max(heights) <= 2 * min(heights), (look, name, heights)


CHOICES = """() => [...document.querySelectorAll('.actions.equal > .btn')].map(one => {
  const style = getComputedStyle(one), box = one.getBoundingClientRect();
  const names = ['color', 'backgroundColor', 'borderTopColor', 'borderTopWidth', 'borderRadius', 'fontSize', 'fontWeight',
    'textDecorationLine', 'opacity', 'boxShadow'];
  return {width: box.width, height: box.height, style: Object.fromEntries(names.map(name => [name, style[name]]))};
})"""


def test_pages_stand_text_spacing_zoom_and_forced_colours(chromium: Chromium, pages: str) -> None:
    """WCAG 1.4.4 and 1.4.12, and the high contrast of the system."""
    with chromium.person(width=640, height=400) as person:  # 1280 x 800 at 200 %
        for name in ("chooser", "preview", "finish", "share", "sites", "history"):
            person.page.goto(f"{pages}/en/{name}")
            person.page.evaluate(SPACING)
            person.check_no_sideways_scrolling()
            assert not person.page.evaluate(CUT), name
    with chromium.person(width=320, forced_colors="active") as person:
        for name in ("chooser", "preview", "share", "me"):
            person.page.goto(f"{pages}/en/{name}")
            person.check_accessibility()
            borders = person.page.evaluate(
                "[...document.querySelectorAll('.btn')].map(b => getComputedStyle(b).borderTopStyle)"
            )
            assert set(borders) <= {"solid"}, name


SPACING = """() => { const sheet = new CSSStyleSheet();
  sheet.replaceSync('* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }' +
    'p { margin-block-end: 2em !important }');
  document.adoptedStyleSheets = [sheet]; }"""


def test_the_first_screen_of_the_chooser_holds_every_button_on_a_small_telephone(
    chromium: Chromium, pages: str
) -> None:
    """ux: all buttons without scrolling for up to four providers at 360 x 640."""
    with chromium.person(width=360, height=640) as person:
        person.page.goto(f"{pages}/en/chooser")
        ends = [box["y"] + box["height"] for one in person.page.locator(".idp").all() if (box := one.bounding_box())]
        assert len(ends) == 4
        assert max(ends) <= 640


def test_pages_do_without_a_script_what_they_do_with_one(chromium: Chromium, pages: str) -> None:
    """What a folded part hides can be opened; a tick changes its word; nothing waits for a script."""
    with chromium.person(javascript=False, width=320) as person:
        person.page.goto(f"{pages}/en/preview")
        person.page.get_by_text("Change E-mail address").click()
        assert person.page.locator("#v-email").is_visible()
        person.page.get_by_role("checkbox", name="Use: Profile picture").check()
        assert person.page.locator(".on:visible").all_inner_texts() == ["Will be kept"]
        person.page.goto(f"{pages}/en/me")
        person.page.get_by_text("My account: Overview").click()
        assert person.page.get_by_role("link", name="Close account").is_visible()


def test_a_button_that_takes_long_says_so_and_sends_once(chromium: Chromium, pages: str, sent: list[str]) -> None:
    with chromium.person() as person:
        person.page.goto(f"{pages}/en/share")
        person.page.evaluate(IMPATIENT)
        person.page.get_by_role("button", name="Share and continue").click()
        expect(person.page.get_by_role("heading", level=1)).to_have_text("We kept nothing")
        assert person.page.evaluate("sessionStorage.said") == "Working… / Working…"
        assert len(sent) == 1
        assert "decision=share" in sent[0]


IMPATIENT = """() => setTimeout(() => {
  const button = document.querySelector('button[aria-disabled=true]');
  sessionStorage.said = document.getElementById('live').textContent + ' / ' + button.innerText;
  button.click();
}, 1500)"""
