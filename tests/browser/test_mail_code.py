"""A code by e-mail in Chromium: turned on, the provider is lost, and the person gets back in, with scripts and without."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from tests.browser.town import Town, open_town
from tests.browser.visitor import Visitor
from tests.support.chromium import Chromium
from tests.support.tls import Authority

pytestmark = pytest.mark.browser
WAYS = pytest.mark.parametrize(
    ("settings", "persona", "address"),
    [
        ({"javascript": True, "width": 1280}, "ana", "ana.markovic@people.test"),
        ({"javascript": False, "width": 320, "height": 640, "dark": True}, "lucas", "lucas@people.test"),
    ],
    ids=["with scripts, wide", "without scripts, narrow and dark"],
)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, chromium: Chromium, authority: Authority) -> Iterator[Town]:
    """A town whose broker lets codes in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.ca))
        more = "[mail]\nsign_in_codes = true\n"
        with open_town(tmp_path_factory.mktemp("town"), chromium, authority, more=more) as opened:
            yield opened


@pytest.fixture(autouse=True)
def _providers_work(town: Town) -> None:
    town.reset_providers()


def code_of(town: Town, visitor: Visitor, address: str) -> str:
    """From the newest letter to that address, in the development mailbox."""
    page = visitor.person.context.new_page()
    for _ in range(100):
        page.goto(town.login + "/mailbox")
        found = re.search(
            rf"{re.escape(address)}[^@]*?\b(\d{{4}}) (\d{{4}})\b", page.locator("main").inner_text(), re.DOTALL
        )
        if found:
            page.close()
            return found[1] + found[2]
        page.wait_for_timeout(100)
    raise AssertionError("no letter came")


@WAYS
def test_who_loses_the_provider_gets_back_in(
    town: Town, settings: dict[str, object], persona: str, address: str
) -> None:
    with town.visitor(**settings) as visitor:
        visitor.start_at(town.forum, "/t/1", "Sailing Forum")
        visitor.be(persona, provider="OpenID (sandbox)")
        visitor.sign_up(persona, provider="OpenID (sandbox)")
        visitor.meet("Share these with Sailing Forum?")
        visitor.press("Share and continue")
        visitor.page.wait_for_url(re.compile(re.escape(town.forum + "/t/1")))
        visitor.open(town.login + "/me/ways")
        visitor.press("Turn codes by e-mail on")
        visitor.meet("Ways to sign in", picture="ways-codes")
        expect(visitor.page.get_by_role("main")).to_contain_text(address)
    town.order("openid", fault={"name": "response-error"})
    with town.visitor(**settings) as visitor:
        visitor.start_at(town.forum, "/t/1", "Sailing Forum")
        visitor.press("Continue with OpenID (sandbox)")
        visitor.meet("OpenID (sandbox) refused to answer us")
        visitor.press("Choose another way to sign in")
        visitor.meet("Sign in to Sailing Forum")
        visitor.press("Get a code by e-mail")
        visitor.meet("Get a code by e-mail", picture="code")
        visitor.fill("Your e-mail address", "no address")
        visitor.press("Send me a code")
        visitor.meet("Get a code by e-mail", picture="code-bad")
        expect(visitor.page.get_by_role("alert")).to_contain_text("Type an e-mail address such as ana@example.org")
        visitor.fill("Your e-mail address", address)
        visitor.press("Send me a code")
        visitor.meet("Get a code by e-mail", picture="code-sent")
        expect(visitor.page.get_by_role("status").first).to_contain_text(f"We wrote to {address}.")
        visitor.fill("Code", "0000 0000")
        visitor.press("Sign in with this code")
        visitor.meet("Get a code by e-mail", picture="code-wrong")
        code = code_of(town, visitor, address)
        visitor.fill("Code", f"{code[:4]} {code[4:]}")
        visitor.press("Sign in with this code")
        visitor.page.wait_for_url(re.compile(re.escape(town.forum + "/t/1")))
        visitor.open(town.login + "/me/devices")
        visitor.meet("Devices")
        expect(visitor.page.get_by_role("main")).to_contain_text("Signed in with a code by e-mail.")
