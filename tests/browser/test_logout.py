"""Telling sites through frames: proved in Chromium, over TLS, with every site under a host name of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from tests.browser.town import Town, open_town, serve_stranger
from tests.browser.visitor import Visitor
from tests.support.chromium import Chromium
from tests.support.tls import Authority

pytestmark = pytest.mark.browser


WATCH = """<!doctype html><html lang="en"><title>Watching</title><h1>Watching</h1><p id="said">nothing yet</p>
<iframe id="op" src="OP/session/check" hidden></iframe>
<script>
addEventListener("message", (event) => { said.textContent = event.origin === "OP" ? event.data : "somebody else"; });
op.onload = () => op.contentWindow.postMessage(decodeURIComponent(location.hash.slice(1)), "OP");
</script></html>"""
"""A site's page as Session Management 1.0 §3.1 describes it."""


@dataclass
class Club:
    """A site of its own that hears of a sign-out through a frame, and keeps what it heard."""

    url: str
    login: str = ""
    """Where Doorward is, for the page that watches the session."""
    refuses_frames: bool = False
    called: list[dict[str, list[str]]] = field(default_factory=list)

    def app(self) -> Starlette:
        async def front(request: Request) -> Response:
            self.called.append(parse_qs(request.url.query))
            headers = {"X-Frame-Options": "DENY"} if self.refuses_frames else {}
            return HTMLResponse(
                "<!doctype html><title>Club</title><script>top.location = '/stolen'</script>", headers=headers
            )

        async def page(_request: Request) -> Response:
            return HTMLResponse('<!doctype html><html lang="en"><title>Club</title><h1>Club</h1></html>')

        async def watch(_request: Request) -> Response:
            return HTMLResponse(WATCH.replace("OP", self.login))

        return Starlette(routes=[Route("/front", front), Route("/watch", watch), Route("/{path:path}", page)])


@pytest.fixture(scope="module")
def club(authority: Authority, chromium: Chromium, stranger: str) -> Iterator[Club]:
    site = Club(stranger)
    with serve_stranger(site.app(), chromium, authority):
        yield site


@pytest.fixture(scope="module")
def town(
    tmp_path_factory: pytest.TempPathFactory, chromium: Chromium, authority: Authority, club: Club
) -> Iterator[Town]:
    """The town, with the club as one more site."""
    secret = tmp_path_factory.mktemp("club") / "club.secret"
    secret.write_text("club-secret-0123456789abcdef0123")
    more = f"""[broker]
session_management = true

[sites.club]
name = "Rowing Club"
url = "{club.url}/"
redirect_uris = ["{club.url}/callback"]
post_logout_redirect_uris = ["{club.url}/bye"]
frontchannel_logout_uri = "{club.url}/front"
client_secret = {{ file = "{secret}" }}
pkce_required = false

[sites.club.asks.preferred_username]
use = "needed"
why = "Your boat carries it."
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.ca))
        with open_town(tmp_path_factory.mktemp("town"), chromium, authority, more=more) as opened:
            club.login = opened.login
            yield opened


def join(town: Town, visitor: Visitor, club: Club, persona: str) -> None:
    """Sign up on the way to the club."""
    town.reset_providers()
    query = f"client_id=club&response_type=code&scope=openid%20profile&state=s&redirect_uri={club.url}/callback"
    visitor.open(f"{town.login}/authorize?{query}")
    visitor.be(persona)
    visitor.sign_up(f"{persona}-{len(club.called)}")
    visitor.meet("Share these with Rowing Club?")
    visitor.press("Share and continue")
    visitor.page.wait_for_url(re.compile(re.escape(f"{club.url}/callback")))


@pytest.mark.parametrize("javascript", [True, False])
def test_a_site_hears_in_its_frame_and_cannot_take_the_page_over(town: Town, club: Club, javascript: bool) -> None:
    """It is called once, with issuer and its name for the session; the page stays ours whatever it does (catalogue 104)."""
    club.called.clear()
    club.refuses_frames = False
    with town.visitor(checked=False, javascript=javascript) as visitor:
        join(town, visitor, club, "jonas" if javascript else "amina")
        visitor.open(town.login + "/signout")
        visitor.page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
        visitor.meet("You are signed out", picture="signed-out-frames")
        expect(visitor.page.get_by_text("Rowing Club: your browser tells it from this page.")).to_be_visible()
        visitor.page.wait_for_load_state("networkidle")
        [told] = club.called
        assert told["iss"] == [town.login]
        assert len(told["sid"][0]) == 32
        assert visitor.page.url.startswith(town.login + "/signed-out")
        assert [frame.url for frame in visitor.page.frames[1:]]
        assert visitor.page.locator("iframe").is_hidden()


def test_a_site_that_refuses_frames_holds_nobody_up(town: Town, club: Club) -> None:
    """The page says in words what to do, and the site that asked gets the person within seconds (catalogue 104)."""
    club.called.clear()
    club.refuses_frames = True
    with town.visitor(checked=False) as visitor:
        join(town, visitor, club, "normal")
        end = f"{town.login}/end-session?client_id=club&post_logout_redirect_uri={club.url}/bye&state=onwards"
        visitor.open(end)
        visitor.meet("Sign out of what?")
        visitor.page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
        visitor.meet("You are signed out")
        visitor.page.wait_for_url(f"{club.url}/bye?state=onwards", timeout=8_000)
        assert len(club.called) == 1
        visitor.open(town.login + "/me")
        visitor.meet("Sign in")


# --- watching the session -----------------------------------------------------------------------------


def heard(visitor: Visitor, club: Club, ask: str) -> str:
    """What the frame answers the club's page."""
    visitor.open("about:blank")
    visitor.open(f"{club.url}/watch#{quote(ask)}")
    expect(visitor.page.locator("#said")).not_to_have_text("nothing yet")
    return visitor.page.locator("#said").inner_text()


def test_oidcc_session_management_rp_initiated_logout(town: Town, club: Club) -> None:
    """`unchanged` for as long as the person is signed in; `changed` once the site has signed them out (catalogue 103)."""
    club.refuses_frames = True
    with town.ordinary_visitor() as visitor:
        join(town, visitor, club, "id-changes-per-app")
        stated = parse_qs(urlsplit(visitor.page.url).query)["session_state"][0]
        assert heard(visitor, club, f"club {stated}") == "unchanged"
        visitor.open(town.login + "/me")
        assert heard(visitor, club, f"club {stated}") == "unchanged"
        visitor.open(f"{town.login}/end-session?client_id=club&post_logout_redirect_uri={club.url}/bye")
        visitor.page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
        visitor.page.wait_for_url(f"{club.url}/bye", timeout=8_000)
        assert heard(visitor, club, f"club {stated}") == "changed"


def test_a_browser_that_keeps_cookies_from_frames_makes_the_site_ask_us(town: Town, club: Club) -> None:
    """It hears `changed` and no lie; asking without a page then says that the session is still there (catalogue 103)."""
    with town.visitor(checked=False) as visitor:
        join(town, visitor, club, "dead-picture")
        stated = parse_qs(urlsplit(visitor.page.url).query)["session_state"][0]
        assert heard(visitor, club, f"club {stated}") == "changed"
        query = f"client_id=club&response_type=code&scope=openid%20profile&prompt=none&redirect_uri={club.url}/callback"
        visitor.open(f"{town.login}/authorize?{query}")
        visitor.page.wait_for_url(re.compile(re.escape(f"{club.url}/callback?code=")))


def test_the_frame_answers_nobody_else_and_nothing_broken(town: Town, club: Club) -> None:
    """Another site's name, markup, a state that is none: `error`, and the frame stays as it is (catalogue 103)."""
    with town.visitor(checked=False) as visitor:
        good = f"{'a' * 64}.salt-salt"
        for ask in (f"forum {good}", f"<b>club</b> {good}", "club", f"club {good} more", f"club {'a' * 63}.salt-salt",
                    "club x.y.z", f"club {good}{'x' * 500}", ""):  # fmt: skip
            assert heard(visitor, club, ask) == "error", ask
        assert heard(visitor, club, f"club {good}") == "changed"
        [frame] = visitor.page.frames[1:]
        assert frame.locator("body *").count() == 0
