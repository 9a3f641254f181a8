"""Nobody mistakes a sandbox for the real thing: every page of both says what it is, and asks for no password."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from providers.sandbox import facebook, openid_connect
from providers.sandbox.facebook_dialog import LABEL as FACEBOOK
from providers.sandbox.openid_connect_authorize import LABEL as OPENID

CALLBACK = "https://login.test/callback/x"
PAGES = Path(facebook.__file__).parent / "pages"
DIALOG = f"client_id=17&redirect_uri={CALLBACK}&state=s&scope=email"
AUTHORIZE = (
    f"client_id=doorward&redirect_uri={CALLBACK}&response_type=code&scope=openid%20write:statuses&state=s"
    f"&code_challenge={'x' * 43}&code_challenge_method=S256"
)
CHECKID = f"openid.ns=http://specs.openid.net/auth/2.0&openid.mode=checkid_setup&openid.return_to={CALLBACK}"
STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "home": ("facebook", ("GET /",)),
    "privacy": ("facebook", ("GET /privacy",)),
    "chooser": ("facebook", (f"GET /v26.0/dialog/oauth?{DIALOG}",)),
    "permissions": ("facebook", (f"GET /v26.0/dialog/oauth?{DIALOG}", "POST /dialog/choose persona=normal")),
    "home of somebody": (
        "facebook", (f"GET /v26.0/dialog/oauth?{DIALOG}", "POST /dialog/choose persona=normal", "GET /"),
    ),
    "unknown app": ("facebook", ("GET /v26.0/dialog/oauth?client_id=99",)),
    "blocked address": ("facebook", ("GET /v26.0/dialog/oauth?client_id=17&redirect_uri=https://evil.test",)),
    "share window": ("facebook", ("GET /v26.0/dialog/share?app_id=17&href=https://forum.test/",)),
    "shared": ("facebook", ("GET /v26.0/dialog/share?app_id=17&href=https://forum.test/", "POST /dialog/share/answer action=share")),
    "stale": ("facebook", ("POST /dialog/choose pending=none",)),
    "openid home": ("openid", ("GET /",)),
    "openid privacy": ("openid", ("GET /privacy",)),
    "openid chooser": ("openid", (f"GET /authorize?{AUTHORIZE}",)),
    "posting": ("openid", (f"GET /authorize?{AUTHORIZE}", "POST /sign-in persona=ana")),
    "openid unknown client": ("openid", ("GET /authorize?client_id=x",)),
    "signed out": ("openid", ("GET /end-session",)),
    "somebody's address": ("openid", ("GET /people/ana",)),
    "OpenID 2.0 endpoint": ("openid", ("GET /openid2",)),
    "OpenID 2.0 chooser": ("openid", (f"GET /openid2?{CHECKID}",)),
    "OpenID 2.0 elsewhere": ("openid", (f"GET /openid2?{CHECKID.replace('login.test', 'evil.test')}",)),
    "OpenID 2.0 nobody": ("openid", (f"GET /openid2?{CHECKID}&openid.identity=http://sandbox.test/people/nobody",)),
    "OpenID 2.0 stale": ("openid", ("POST /openid2/sign-in pending=none",)),
    "wall": ("openid", ("GET /social",)),
    "gone status": ("openid", ("GET /social/17",)),
}  # fmt: skip
"""Page -> whose it is and the requests that lead there; `pending` is taken from the page before."""


def made(which: str) -> Starlette:
    if which == "facebook":
        return facebook.create_app([facebook.App(id="17", secret="s", redirect_uris=[CALLBACK])])
    return openid_connect.create_app([openid_connect.Client(id="doorward", secret="s", redirect_uris=[CALLBACK])])


@pytest.fixture(params=sorted(STEPS))
async def shown(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, httpx2.Response]]:
    which, steps = STEPS[request.param]
    transport = httpx2.ASGITransport(app=made(which))
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox.test") as browser:
        text = ""
        for step in steps:
            method, path, *fields = step.split(" ")
            data = dict(field.split("=", 1) for field in fields)
            pending = re.search(r'name="pending" value="([^"]+)"', text)
            if pending is not None:
                data["pending"] = pending[1]
            answer = await browser.request(method, path, data=data or None)
            text = answer.text
        yield (FACEBOOK if which == "facebook" else OPENID), answer


def test_every_page_says_that_it_is_a_sandbox(shown: tuple[str, httpx2.Response]) -> None:
    label, answer = shown
    assert answer.headers["content-type"].startswith("text/html")
    assert "SANDBOX" in label
    assert f"<strong>{label}</strong>" in answer.text
    assert f"· {label}</title>" in answer.text
    assert "Everybody here is made up. No password is asked" in answer.text
    assert 'type="password"' not in answer.text


@pytest.mark.parametrize("which", ["facebook", "openid"])
async def test_what_browsers_ask_for_by_themselves_is_there(which: str) -> None:
    """No line of a missing icon in anybody's console or log; and the icon is no provider's mark."""
    transport = httpx2.ASGITransport(app=made(which))
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox.test") as browser:
        answer = await browser.get("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert "<script" not in answer.text


def test_no_page_can_be_made_without_the_label() -> None:
    """One template holds it and all others fill that one; pages come from one function only."""
    for page in PAGES.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert page.name == "base.html" or text.startswith('{% extends "base.html" %}'), page.name
    shown = {
        path.name for path in PAGES.parent.glob("*.py") if "HTMLResponse(_PAGES" in path.read_text(encoding="utf-8")
    }
    assert shown == {"web.py"}
