"""What other sites can do to a person who is signed in: nothing. Proved in Chromium, over TLS, from other host names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Response as Answer
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from tests.browser.town import Town, serve_stranger
from tests.browser.visitor import Visitor
from tests.support.chromium import cookies_of

pytestmark = pytest.mark.browser


@dataclass
class Evil:
    """A site of somebody else's that shows whatever page a test gives it."""

    url: str
    body: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    """Headers of every request it got."""

    def app(self) -> Starlette:
        async def page(request: Request) -> Response:
            self.asked.append({**request.headers, "url": str(request.url)})
            return HTMLResponse(f'<!doctype html><html lang="en"><title>Evil</title><h1>Evil</h1>{self.body}</html>')

        return Starlette(routes=[Route("/{path:path}", page, methods=["GET", "POST"])])


@pytest.fixture(scope="module")
def evil(town: Town, stranger: str) -> Iterator[Evil]:
    site = Evil(stranger)
    with serve_stranger(site.app(), town.chromium, town.authority):
        yield site


@pytest.fixture
def visitor(town: Town, evil: Evil) -> Iterator[Visitor]:
    """Signed in with us, and unwary. Policies are broken on purpose here, so nobody minds the console."""
    town.reset_providers()
    with town.visitor(checked=False) as visitor:
        visitor.open(town.login + "/sign-in")
        visitor.press("Continue with Facebook (sandbox)")
        visitor.page.wait_for_url(re.compile("facebook.test"))
        visitor.page.locator('button[value="normal"]').click()
        visitor.page.get_by_role("button", name=re.compile("^Continue")).click()
        visitor.page.wait_for_url(re.compile(re.escape(town.login) + "/(f/.*/details|me)"))
        if "/details" in visitor.page.url:
            visitor.sign_up("ana")
        visitor.meet("My account")
        yield visitor


def form(url: str, **fields: str) -> str:
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    return f'<form method="post" action="{url}">{inputs}<button>Win a prize</button></form>'


def is_signed_in(visitor: Visitor) -> bool:
    visitor.open(visitor.login + "/me")
    return visitor.page.get_by_role("heading", level=1).inner_text() == "My account"


def test_a_form_of_another_site_changes_nothing(town: Town, evil: Evil, visitor: Visitor) -> None:
    """Catalogue 97: not even with a form token that was read off a page, because the browser says where it is from."""
    visitor.open(town.login + "/me/close")
    token = str(visitor.page.locator("input[name=csrf]").first.get_attribute("value"))
    for path, fields in (
        ("/me/close", {"decision": "close"}),
        ("/me/details", {"v-name": "Somebody Else"}),
        ("/me/sites/disconnect", {"client": "forum"}),
        ("/me/ways/add", {"provider": "openid"}),
        ("/me/devices/end", {"all": "1"}),
        ("/signout", {"what": "everything"}),
        ("/posting/opt-in", {"decision": "allow"}),
    ):
        evil.body = form(town.login + path, csrf=token, **fields)
        visitor.open(evil.url)
        with visitor.page.expect_response(lambda answer: answer.url.startswith(town.login)) as told:
            visitor.page.get_by_role("button").click()
        assert told.value.status in {401, 403}, (path, told.value.status)
    assert is_signed_in(visitor)
    expect(visitor.page.get_by_text("Ana Marković").first).to_be_visible()


def test_a_form_of_another_site_brings_no_session_with_it(town: Town, evil: Evil, visitor: Visitor) -> None:
    """SameSite: our cookies stay at home when another site posts or embeds; a plain link brings them."""
    sent: list[str] = []

    def note(request: Any) -> None:
        if request.url.startswith(town.login):
            sent.append(request.all_headers().get("cookie", ""))

    visitor.page.on("requestfinished", note)
    evil.body = form(town.login + "/me/details", v="x") + f'<img alt="" src="{town.login}/me">'
    visitor.open(evil.url)
    visitor.page.get_by_role("button").click()
    visitor.page.wait_for_url(town.login + "/me/details")
    visitor.page.wait_for_load_state("networkidle")
    assert sent
    assert not [cookie for cookie in sent[:2] if "_session" in cookie]
    evil.body = f'<a href="{town.login}/me">My account</a>'
    visitor.open(evil.url)
    visitor.page.get_by_role("link").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("My account")


def test_no_page_of_ours_can_be_framed(town: Town, evil: Evil, visitor: Visitor) -> None:
    """Catalogue 96: by another site or by a site we serve."""
    for path in ("/", "/me", "/sign-in", "/signout", "/privacy", "/nowhere", "/authorize?client_id=forum"):
        evil.body = f'<iframe title="frame" src="{town.login}{path}"></iframe>'
        visitor.open(evil.url)
        visitor.page.wait_for_load_state("networkidle")
        assert len(visitor.page.frames) == 2
        shown = visitor.page.frames[-1].content()
        assert "Sailing Club Login" not in shown, path
        assert "data-working" not in shown, path


def test_a_window_that_opened_us_has_no_hold_on_us(town: Town, evil: Evil, visitor: Visitor) -> None:
    """Cross-Origin-Opener-Policy: the opener sees a closed window and cannot steer the one with our page in it."""
    evil.body = f"<button onclick=\"window.mine = window.open('{town.login}/me')\">Open</button>"
    visitor.open(evil.url)
    visitor.page.get_by_role("button").click()
    for _ in range(50):
        if visitor.page.evaluate("mine.closed"):
            break
        visitor.page.wait_for_timeout(100)
    assert visitor.page.evaluate("mine.closed") is True
    for ours in visitor.person.context.pages[1:]:
        assert ours.evaluate("window.opener") is None


def test_a_link_from_elsewhere_signs_nobody_out(town: Town, evil: Evil, visitor: Visitor) -> None:
    """Catalogue 101: there is a question first, and nothing happens until it is answered."""
    for path in ("/signout", "/end-session", "/end-session?client_id=forum"):
        evil.body = f'<a href="{town.login}{path}">Kittens</a>'
        visitor.open(evil.url)
        visitor.page.get_by_role("link").click()
        expect(visitor.page.get_by_role("heading", level=1)).to_have_text(re.compile("^Sign out of "))
    evil.body = f'<img alt="" src="{town.login}/signout"><img alt="" src="{town.login}/end-session">'
    visitor.open(evil.url)
    visitor.page.wait_for_load_state("networkidle")
    assert is_signed_in(visitor)


def test_where_people_were_is_told_to_nobody(town: Town, evil: Evil, visitor: Visitor) -> None:
    """Decision 6: no referrer leaves our pages; at most their own origin hears from them."""
    visitor.open(town.login + "/me?secret=1")
    evil.asked.clear()
    visitor.page.evaluate(
        "url => { const a = document.createElement('a'); a.href = url; document.body.append(a); a.click() }", evil.url
    )
    visitor.page.wait_for_url(evil.url + "/")
    assert "referer" not in evil.asked[0]
    asked: list[Any] = []
    visitor.page.on("request", lambda request: asked.append(request))
    visitor.open(town.login + "/sign-in/again")
    visitor.press("Continue with Facebook (sandbox)")
    visitor.page.wait_for_url(re.compile("facebook.test"))
    away = [request for request in asked if request.url.startswith(town.url("facebook") + "/v26.0/dialog")]
    assert away
    assert not [request.url for request in away if "referer" in request.all_headers()]


def test_a_sign_in_started_in_one_browser_is_nothing_in_another(town: Town, evil: Evil, visitor: Visitor) -> None:
    """Catalogue 98: the address of a page is no key; neither is the provider's answer."""
    with town.visitor() as other:
        other.start_at(town.forum, "/", "Sailing Forum")
        pages = [other.page.url]
        other.be("jonas")
        other.meet("Choose what to use from Facebook (sandbox)")
        pages.append(other.page.url.split("#", 1)[0])
        answers: list[str] = []
        for url in pages:
            answer = visitor.page.goto(url)
            assert answer is not None
            answers.append(visitor.page.content())
            assert answer.status >= 400, url
        assert "Jonas" not in "".join(answers)
        assert "jonas.weber@people.test" not in "".join(answers)


def test_a_cookie_planted_before_signing_in_is_not_kept(town: Town, evil: Evil) -> None:
    """Catalogue 93, 94: what somebody put there before is not what the person has afterwards, and counts for nothing."""
    town.reset_providers()
    with town.visitor() as visitor:
        name = "__Host-doorward_session"
        visitor.person.context.add_cookies(
            [
                {
                    "name": name,
                    "value": "planted.value",
                    "url": town.login,
                    "secure": True,
                    "httpOnly": True,
                    "sameSite": "Lax",
                }
            ]
        )
        visitor.open(town.login + "/me")
        visitor.meet("Sign in")
        visitor.be("no-last-name")
        visitor.sign_up("suharto")
        visitor.meet("My account")
        first = cookies_of(visitor.person, "login.test")[name]["value"]
        assert first != "planted.value"
        visitor.open(town.login + "/sign-in/again")
        visitor.press("Continue with Facebook (sandbox)")
        visitor.page.wait_for_url(re.compile("facebook.test"))
        visitor.page.get_by_role("button", name=re.compile("^Continue")).click()
        visitor.meet("My account")
        assert cookies_of(visitor.person, "login.test")[name]["value"] != first


def test_a_browser_without_cookies_gets_one_clear_page(town: Town, evil: Evil) -> None:
    """Catalogue 108: no loop, and it says what to do."""
    with town.visitor() as visitor:
        visitor.open(town.forum + "/")
        visitor.page.on("response", lambda answer: hops.append(answer))
        hops: list[Answer] = []
        visitor.press("Sign in")
        visitor.meet("Sign in to Sailing Forum")
        visitor.person.context.clear_cookies()
        visitor.press("Continue with Facebook (sandbox)")
        visitor.meet("Your browser is blocking our cookie", picture="cookies-off")
        assert len([hop for hop in hops if hop.request.is_navigation_request()]) < 8


def test_two_tabs_with_two_providers_finish_each_for_its_own_site(town: Town, evil: Evil) -> None:
    """Catalogue 107."""
    town.reset_providers()
    with town.visitor() as visitor:
        first = visitor.page
        visitor.start_at(town.forum, "/t/1", "Sailing Forum")
        visitor.be("rtl")
        visitor.meet("Choose what to use from Facebook (sandbox)")
        visitor.person.page = second = visitor.person.context.new_page()
        visitor.start_at(town.wiki, "/page/Compost", "Sailing Wiki")
        visitor.be("lucas", provider="OpenID (sandbox)")
        visitor.sign_up("lucas", provider="OpenID (sandbox)")
        visitor.meet("Share these with Sailing Wiki?")
        visitor.person.page = first
        visitor.sign_up("yael")
        visitor.meet("Share these with Sailing Forum?")
        expect(first.get_by_text("You are signed in as יעל כהן.")).to_be_visible()
        visitor.press("Share and continue")
        first.wait_for_url(re.compile(re.escape(town.forum)))
        expect(first.get_by_text("Signed in as yael")).to_be_visible()
        # Whoever is signed in now is somebody else than this page was shown to: it is shown again before it can be answered.
        visitor.person.page = second
        visitor.press("Share and continue")
        visitor.meet("Share these with Sailing Wiki?")
        expect(second.get_by_role("status").first).to_contain_text("changed while you were reading")
        expect(second.get_by_text("You are signed in as יעל כהן.")).to_be_visible()
        visitor.press("Do not share")
        second.wait_for_url(re.compile(re.escape(town.wiki + "/page/Compost")))
        expect(second.get_by_text("You did not sign in.")).to_be_visible()


def test_a_form_that_leads_away_is_answered_with_a_page_and_nothing_breaks_the_policy(town: Town, evil: Evil) -> None:
    """Decision 1, catalogue 111: `form-action 'self'` on every page, and the way to provider and site still goes through."""
    town.reset_providers()
    with town.visitor() as visitor:
        seen: list[tuple[str, int, str, str]] = []

        def note(answer: Answer) -> None:
            if answer.url.startswith(town.login) and answer.request.is_navigation_request():
                headers = answer.headers
                seen.append(
                    (
                        answer.request.method,
                        answer.status,
                        headers.get("content-security-policy", ""),
                        headers.get("refresh", ""),
                    )
                )

        visitor.page.on("response", note)
        visitor.start_at(town.forum, "/t/1", "Sailing Forum")
        visitor.be("silhouette")
        visitor.sign_up("sil")
        visitor.meet("Share these with Sailing Forum?")
        visitor.press("Share and continue")
        visitor.page.wait_for_url(re.compile(re.escape(town.forum) + "/t/1"))
        away = [refresh for method, status, _, refresh in seen if method == "POST" and status == 200 and refresh]
        assert [re.sub(r":\d+/.*", "", refresh) for refresh in away] == [
            "0; url=https://facebook.test",
            "0; url=https://forum.test",
        ]
        shown = [policy for _, status, policy, _ in seen if status == 200]
        assert all("form-action 'self'; base-uri 'none'; frame-ancestors 'none'" in policy for policy in shown)
        assert not [policy for policy in shown if "unsafe" in policy or "nonce" in policy or "*" in policy]


def test_the_cookie_page_names_every_cookie_there_is(town: Town, evil: Evil, visitor: Visitor) -> None:
    """What the browser holds is what the page says, no more and no less."""
    visitor.open(town.login + "/me")
    visitor.press("Français")
    expect(visitor.page.locator("html")).to_have_attribute("lang", "fr")
    held = {re.sub("_tx_.*", "_tx_…", name) for name in cookies_of(visitor.person, "login.test")}
    visitor.open(town.login + "/cookies")
    listed = {row.inner_text() for row in visitor.page.get_by_role("rowheader").all()}
    assert held <= listed
    assert listed == {f"__Host-doorward_{name}" for name in ("session", "tx_…", "ended", "last", "lang")}
