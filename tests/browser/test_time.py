"""What time does to pages: a sign-in that waited too long, and the fresh sign-in that dangerous things need.

The clock only goes on: this module has a town of its own, and nobody goes to the sites after it moved.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from tests.browser.town import Town

pytestmark = pytest.mark.browser


def test_a_sign_in_that_waited_too_long_says_so_keeps_nothing_and_starts_again(town: Town) -> None:
    """Catalogue 109: no code and no account, and the way back through the site."""
    with town.visitor() as visitor:
        visitor.start_at(town.forum, "/", "Sailing Forum")
        visitor.be("normal")
        visitor.meet("Choose what to use from Facebook (sandbox)")
        town.go_on(minutes=31)
        visitor.press("Continue with these")
        visitor.meet("You took longer than 30 minutes", picture="expired")
        expect(visitor.page.get_by_text("Nothing was saved.")).to_be_visible()
        assert visitor.page.get_by_text(re.compile("Reference: [0-9A-Z-]{6,}")).is_visible()
        visitor.press("Start again")
        expect(visitor.page.get_by_role("heading", level=1)).not_to_have_text("You took longer than 30 minutes")


def test_what_is_dangerous_asks_to_sign_in_again_after_five_minutes(town: Town) -> None:
    """Decision 26."""
    with town.visitor() as visitor:
        visitor.open(town.login + "/sign-in")
        visitor.be("html", is_asked=True)
        visitor.sign_up("bobby")
        visitor.meet("My account")
        town.go_on(minutes=6)
        visitor.open(town.login + "/me/close")
        visitor.meet("Close your account?")
        expect(visitor.page.get_by_text("we ask you to sign in again first")).to_be_visible()
        visitor.press("Close my account")
        visitor.meet("Sign in again to close your account", picture="step-up")
        visitor.press("Continue with Facebook (sandbox)")
        visitor.page.wait_for_url(re.compile("facebook.test"))
        visitor.page.get_by_role("button", name=re.compile("^Continue")).click()
        visitor.meet("Close your account?")
        visitor.press("Close my account")
        visitor.meet("Your account is closed")
