"""The browser of the tests: trusts the tests' authority and nobody else, and notices what pages do behind one's back."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Error
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from tests.support.chromium import Chromium, cookies_of
from tests.support.sandbox import serve
from tests.support.tls import Authority, names_on_loopback

pytestmark = pytest.mark.browser
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'"


async def plain(request: Request) -> Response:
    page = HTMLResponse(
        '<!doctype html><html lang="en"><title>Plain</title><main><h1>Plain</h1><p id="js">off</p></main>'
        "<script>document.getElementById('js').textContent = 'on'</script></html>"
    )
    page.set_cookie("__Host-seen", "yes", secure=True, path="/", httponly=True, samesite="lax")
    return page


async def leaky(_request: Request) -> Response:
    return HTMLResponse('<!doctype html><title>Leaky</title><img src="https://stranger.test/pixel" alt="">')


async def strict(_request: Request) -> Response:
    return HTMLResponse(
        '<!doctype html><html lang="en"><title>Strict</title><main><h1>Strict</h1></main><script>1</script></html>',
        headers={"Content-Security-Policy": POLICY},
    )


async def unreadable(_request: Request) -> Response:
    return HTMLResponse('<!doctype html><html><title>Bad</title><img src="data:,"><button></button></html>')


@pytest.fixture(scope="module")
def site(authority: Authority, chromium: Chromium) -> Iterator[str]:
    app = Starlette(
        routes=[Route(f"/{page.__name__}", page) for page in (plain, leaky, strict, unreadable)],
    )
    leaf = authority.leaf("login.test")
    with serve(app, certificate=leaf.certificate, key=leaf.key) as url:
        port = int(url.rsplit(":", 1)[1])
        chromium.hosts |= {"login.test": port, "forum.test": port}
        yield "https://login.test"


def test_a_page_over_tls_is_trusted_and_kept_as_a_picture(site: str, chromium: Chromium) -> None:
    with chromium.person() as person:
        person.page.goto(f"{site}/plain")
        assert person.page.locator("#js").inner_text() == "on"
        assert cookies_of(person, "login.test")["__Host-seen"]["secure"]
        person.check_accessibility()
        person.check_no_sideways_scrolling()
        assert person.screenshot("tools-plain").stat().st_size > 1000


def test_a_certificate_of_another_name_is_refused(site: str, chromium: Chromium) -> None:
    with chromium.person() as person, pytest.raises(Error, match="ERR_CERT_COMMON_NAME_INVALID"):
        person.page.goto("https://forum.test/plain")


def test_javascript_can_be_off(site: str, chromium: Chromium) -> None:
    with chromium.person(javascript=False, dark=True, width=320) as person:
        person.page.goto(f"{site}/plain")
        assert person.page.locator("#js").inner_text() == "off"
        person.check_no_sideways_scrolling()


def test_a_request_to_a_stranger_is_noticed(site: str, chromium: Chromium) -> None:
    with pytest.raises(AssertionError, match=r"asked of strangers.*stranger\.test"), chromium.person() as person:
        person.page.goto(f"{site}/leaky")


def test_a_broken_policy_is_noticed(site: str, chromium: Chromium) -> None:
    with pytest.raises(AssertionError, match="policies broken"), chromium.person() as person:
        person.page.goto(f"{site}/strict")


def test_an_inaccessible_page_is_noticed(site: str, chromium: Chromium) -> None:
    with chromium.person() as person:
        person.page.goto(f"{site}/unreadable")
        with pytest.raises(AssertionError, match="button-name"):
            person.check_accessibility()


def test_other_clients_need_the_authority(site: str, chromium: Chromium, authority: Authority) -> None:
    address = f"{site}:{chromium.hosts['login.test']}/plain"
    with names_on_loopback():
        with urllib.request.urlopen(address, context=authority.client_context()) as answer:
            assert answer.status == 200
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(address, context=ssl.create_default_context())
