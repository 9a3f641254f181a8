"""A passkey in Chromium, with an authenticator that the browser itself emulates: made, used, lost and removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import CDPSession, expect
from tests.browser.town import Town, open_town
from tests.browser.visitor import Visitor
from tests.support.chromium import Chromium
from tests.support.tls import Authority

pytestmark = pytest.mark.browser
OPENID = "OpenID (sandbox)"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, chromium: Chromium, authority: Authority) -> Iterator[Town]:
    """A town whose broker lets passkeys in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.ca))
        more = "[broker]\npasskeys = true\n"
        with open_town(tmp_path_factory.mktemp("town"), chromium, authority, more=more) as opened:
            yield opened


@pytest.fixture(autouse=True)
def _providers_work(town: Town) -> None:
    town.reset_providers()


@dataclass
class Authenticator:
    """A device that keeps passkeys, in the browser's own emulation."""

    session: CDPSession
    id: str

    @classmethod
    def of(cls, visitor: Visitor) -> Authenticator:
        session = visitor.person.context.new_cdp_session(visitor.page)
        session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return cls(session, made["authenticatorId"])

    def know_the_person(self, *, yes: bool) -> None:
        """Whether the fingerprint is right from now on."""
        self.session.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": yes})

    @property
    def kept(self) -> list[dict[str, Any]]:
        found = self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        return list(found["credentials"])

    def take(self, credential: dict[str, Any]) -> None:
        """One that another device of the person has."""
        self.session.send("WebAuthn.addCredential", {"authenticatorId": self.id, "credential": credential})


def member(town: Town, visitor: Visitor, persona: str) -> None:
    visitor.start_at(town.forum, "/t/1", "Sailing Forum")
    visitor.be(persona, provider=OPENID)
    visitor.sign_up(persona, provider=OPENID)
    visitor.meet("Share these with Sailing Forum?")
    visitor.press("Share and continue")
    visitor.page.wait_for_url(re.compile(re.escape(town.forum + "/t/1")))


@pytest.mark.parametrize(
    ("settings", "persona"),
    [({"width": 1280}, "ana"), ({"width": 320, "height": 640, "dark": True}, "lucas")],
    ids=["wide", "narrow and dark"],
)
def test_a_passkey_is_added_opens_the_account_and_is_removed(
    town: Town, settings: dict[str, object], persona: str
) -> None:
    with town.visitor(**settings) as visitor:
        device = Authenticator.of(visitor)
        alert = visitor.page.get_by_role("alert")
        member(town, visitor, persona)
        visitor.open(town.login + "/me/ways")
        visitor.press("Add a passkey")
        visitor.meet("Add a passkey", picture="passkey")
        expect(visitor.page.get_by_text("This browser cannot make a passkey here")).to_be_hidden()
        device.know_the_person(yes=False)
        visitor.fill("What you call it", "My phone")
        visitor.press("Make the passkey")
        expect(alert).to_have_text("No passkey was made. Try once more when you are ready.")
        visitor.meet("Add a passkey", picture="passkey-cancelled")
        assert device.kept == []
        device.know_the_person(yes=True)
        with visitor.page.expect_request(f"{town.login}/me/ways/passkey") as sent:
            visitor.press("Make the passkey")
        assert "&attachment=platform&" in (sent.value.post_data or "")
        visitor.meet("Ways to sign in", picture="ways-passkey")
        expect(visitor.page.get_by_role("status").first).to_contain_text("You can now sign in this way too.")
        expect(visitor.page.get_by_role("main")).to_contain_text("My phone")
        (credential,) = device.kept
        assert (credential["isResidentCredential"], credential["rpId"]) == (True, "login.test")

        visitor.press("Add a passkey")
        visitor.meet("Add a passkey")
        visitor.page.get_by_role("textbox").press("Enter")
        expect(alert).to_have_text("This device keeps a passkey for your account already.")
        visitor.press("Sign out")
        visitor.meet("Sign out of what?")
        visitor.press("Sign out of everything (1 site)")
        visitor.page.wait_for_url(re.compile(r"/signed-out"))

        town.order("openid", fault={"name": "response-error"})
        visitor.wait_until_signed_out_at(town.forum)
        visitor.start_at(town.forum, "/t/1", "Sailing Forum")
        device.know_the_person(yes=False)
        visitor.press("Use a passkey")
        expect(alert).to_have_text("No passkey was used. Try once more, or choose another way.")
        visitor.meet("Sign in to Sailing Forum", picture="chooser-passkey-cancelled")
        device.know_the_person(yes=True)
        visitor.press("Use a passkey")
        visitor.page.wait_for_url(re.compile(re.escape(town.forum + "/t/1")))
        visitor.open(town.login + "/me/devices")
        visitor.meet("Devices")
        expect(visitor.page.get_by_role("main")).to_contain_text("Signed in with a passkey.")

        visitor.open(town.login + "/me/ways")
        visitor.press("Remove passkey (My phone)")
        visitor.meet("Ways to sign in", picture="ways-passkey-removed")
        expect(visitor.page.get_by_role("status").first).to_contain_text("This passkey no longer signs you in.")
        visitor.press("Sign out")
        visitor.meet("Sign out of what?")
        visitor.press("Sign out of everything (1 site)")
        visitor.page.wait_for_url(re.compile(r"/signed-out"))
        visitor.open(town.login + "/sign-in")
        visitor.press("Use a passkey")
        visitor.meet("This passkey did not let you in", picture="passkey-refused")
        visitor.press("Try again")
        visitor.meet("Sign in")


def test_a_passkey_opens_the_account_on_another_device_of_the_person(town: Town) -> None:
    """And a counter that went back on one of the two tells that there are two where there should be one."""
    with town.visitor() as visitor:
        device = Authenticator.of(visitor)
        member(town, visitor, "farah")
        visitor.open(town.login + "/me/ways/passkey")
        visitor.press("Make the passkey")
        visitor.meet("Ways to sign in")
        (credential,) = device.kept
    assert credential["signCount"] == 1
    for count, heading in ((7, "My account"), (3, "This passkey did not let you in")):
        with town.visitor() as visitor:
            Authenticator.of(visitor).take({**credential, "signCount": count})
            visitor.open(town.login + "/sign-in")
            visitor.press("Use a passkey")
            visitor.meet(heading)


def test_without_scripts_nothing_is_offered_that_does_not_work(town: Town) -> None:
    with town.visitor(javascript=False, width=320, height=640) as visitor:
        member(town, visitor, "every-claim")
        visitor.open(town.login + "/me/ways")
        visitor.press("Add a passkey")
        visitor.meet("Add a passkey", picture="passkey-none")
        expect(visitor.page.get_by_text("This browser cannot make a passkey here")).to_be_visible()
        expect(visitor.page.get_by_role("button", name="Make the passkey")).to_have_count(0)
        visitor.person.context.clear_cookies()
        visitor.start_at(town.forum, "/t/1", "Sailing Forum")
        expect(visitor.page.get_by_text("passkey")).to_be_hidden()
