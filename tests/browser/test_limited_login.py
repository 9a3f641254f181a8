"""A site's app signs people in by Facebook's Limited Login, and the system's browser shows them what is left."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.browser.town import Town, open_town, serve_stranger
from tests.browser.visitor import Visitor
from tests.support.chromium import Chromium
from tests.support.phone import s256
from tests.support.tls import Authority

pytestmark = pytest.mark.browser

FACEBOOK = "Facebook (sandbox)"


@pytest.fixture(scope="module")
def town(
    tmp_path_factory: pytest.TempPathFactory, chromium: Chromium, authority: Authority, stranger: str
) -> Iterator[Town]:
    """The town, with the site whose app it is, and the address at which the app takes over again."""
    more = f"""
[sites.boats]
name = "Boats"
url = "{stranger}/"
redirect_uris = ["{stranger}/app/signed-in"]
auth_method = "none"

[sites.boats.asks.preferred_username]
use = "needed"
why = "Your boats carry it."
"""
    with open_town(tmp_path_factory.mktemp("town"), chromium, authority, more=more) as opened:

        async def back(_request: Request) -> Response:
            return PlainTextResponse("Back in the app")

        with serve_stranger(Starlette(routes=[Route("/app/signed-in", back)]), chromium, authority):
            yield opened


def post(town: Town, url: str, form: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(url, urlencode(form).encode())
    with urllib.request.urlopen(request, context=town.authority.client_context()) as answer:
        return dict(json.load(answer))


def brought(town: Town, stranger: str, persona: str) -> str:
    """What the app does without a browser: the SDK, then our endpoint; the address to open."""
    verifier = "n" * 40 + persona.ljust(20, "-")
    told = {"app_id": "1000000000000001", "nonce": s256(verifier), "persona": persona, "scope": "email"}
    token = post(town, f"{town.url('facebook')}/limited/login", told)["authentication_token"]
    asked = {
        "client_id": "boats", "response_type": "code", "redirect_uri": f"{stranger}/app/signed-in", "scope": "openid profile",
        "state": "state-of-the-app", "code_challenge": s256("c" * 43), "code_challenge_method": "S256",
        "id_token": token, "nonce_verifier": verifier,
    }  # fmt: skip
    kept = post(town, f"{town.login}/par/facebook/limited-login", asked)
    return f"{town.login}/authorize?{urlencode({'client_id': 'boats', 'request_uri': kept['request_uri']})}"


def back_in(visitor: Visitor, stranger: str) -> dict[str, list[str]]:
    visitor.page.wait_for_url(re.compile(re.escape(stranger)))
    return parse_qs(urlsplit(visitor.page.url).query)


@pytest.mark.parametrize("javascript", [True, False])
def test_an_app_brings_somebody_new_and_then_somebody_known(town: Town, stranger: str, javascript: bool) -> None:
    """With and without scripts, on a small screen: the question, the sign-up, the app again; next time the question alone."""
    town.reset_providers()
    persona, name = ("normal", "Ana Marković") if javascript else ("jonas", "Jonas Weber")
    with town.visitor(javascript=javascript, width=320) as visitor:
        visitor.open(brought(town, stranger, persona))
        visitor.meet(f"Sign in as {name}?")
        visitor.press(f"Yes, go on as {name}")
        visitor.sign_up(f"sailor-{persona}")
        visitor.meet("Share these with Boats?")
        visitor.press("Share and continue")
        answer = back_in(visitor, stranger)
        assert answer["state"] == ["state-of-the-app"]
        assert "code" in answer
    with town.visitor(javascript=javascript) as another:
        another.open(brought(town, stranger, persona))
        another.meet(f"Sign in as {name}?")
        another.press(f"Yes, go on as {name}")
        assert "code" in back_in(another, stranger)


def test_somebody_elses_link_names_both_and_stopping_changes_nothing(town: Town, stranger: str) -> None:
    """Whoever is signed in here stays so, and the app hears that they said no (catalogue 51)."""
    town.reset_providers()
    with town.visitor() as visitor:
        visitor.open(f"{town.login}/sign-in")
        visitor.be("amina")
        visitor.sign_up("amina")
        visitor.open(brought(town, stranger, "rtl"))
        visitor.meet("Sign in as יעל כהן?")
        assert "In this browser Amina Diallo is signed in now" in visitor.page.inner_text("main")
        visitor.press("No, stop here")
        assert back_in(visitor, stranger)["error"] == ["access_denied"]
        visitor.open(f"{town.login}/me")
        assert "Amina Diallo" in visitor.page.inner_text("main")
