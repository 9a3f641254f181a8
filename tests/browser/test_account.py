"""My Account in Chromium: every page, a second way to sign in, stopping what was shared, signing out, closing."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect
from tests.browser.town import Town
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser
NARROW = {"javascript": False, "width": 320, "height": 640, "dark": True}
WIDE = {"javascript": True, "width": 1280}
WAYS = pytest.mark.parametrize(
    "settings", [WIDE, NARROW], ids=["with scripts, wide", "without scripts, narrow and dark"]
)
PAGES = {
    "/me": "My account",
    "/me/details": "Details",
    "/me/ways": "Ways to sign in",
    "/me/sites": "Connected sites",
    "/me/history": "Sharing history",
    "/me/devices": "Devices",
    "/me/posting": "Posting",
    "/me/news": "News e-mails",
    "/me/close": "Close your account?",
}


@pytest.fixture(autouse=True)
def _nobody_known_at_the_providers(town: Town) -> None:
    town.reset_providers()


def arrive(town: Town, visitor: Visitor, persona: str, user_name: str) -> None:
    """Signed up and signed in at the forum, sharing name and user name."""
    visitor.start_at(town.forum, "/t/1", "Sailing Forum")
    visitor.be(persona)
    visitor.sign_up(user_name)
    visitor.meet("Share these with Sailing Forum?")
    visitor.tick("Share: Display name")
    visitor.press("Share and continue")
    visitor.page.wait_for_url(re.compile(re.escape(town.forum + "/t/1")))


@WAYS
def test_every_page_of_my_account_is_there_and_leads_to_every_other(town: Town, settings: dict[str, object]) -> None:
    persona = "normal" if settings is WIDE else "jonas"
    with town.visitor(**settings) as visitor:
        arrive(town, visitor, persona, persona)
        for path, heading in PAGES.items():
            visitor.open(town.login + path)
            visitor.meet(heading, picture=path.strip("/").replace("/", "-"))
            menu = visitor.page.get_by_role("navigation", name="My account")
            if settings is NARROW:
                menu.locator("summary").click()
            links = [link.get_attribute("href") for link in menu.get_by_role("link").all()]
            assert links == list(PAGES)
            assert menu.locator("[aria-current=page]:visible").count() == 1
        for path, heading in (("/", "One sign-in for all our sites"), ("/privacy", "Privacy notice"), ("/terms", "Terms"),
                              ("/help", "Help"), ("/cookies", "Cookies"), ("/accessibility", "Accessibility")):  # fmt: skip
            visitor.open(town.login + path)
            visitor.meet(heading)
        assert "/nowhere" not in visitor.page.url
        visitor.open(town.login + "/nowhere")
        visitor.meet("There is no page at this address")


@WAYS
def test_details_change_a_second_way_is_added_and_the_last_one_stays(town: Town, settings: dict[str, object]) -> None:
    with town.visitor(**settings) as visitor:
        arrive(town, visitor, "amina" if settings is WIDE else "rtl", "amina" if settings is WIDE else "yael")
        page = visitor.page

        visitor.open(town.login + "/me/details")
        page.locator("summary", has_text="Add Last name").click()
        visitor.fill("Last name", "D.")
        visitor.press("Save: Last name")
        visitor.meet("Details")
        expect(page.get_by_role("status").first).to_have_text("Your changes are saved.")
        expect(page.get_by_role("listitem").filter(has_text="Last name")).to_contain_text("D.")

        visitor.open(town.login + "/me/ways")
        visitor.meet("Ways to sign in")
        expect(page.get_by_text("This is your only way to sign in.")).to_be_visible()
        visitor.press("Continue with OpenID (sandbox)")
        page.wait_for_url(re.compile("openid.test"))
        page.locator(f'button[value="{"lucas" if settings is WIDE else "farah"}"]').click()
        visitor.meet("Ways to sign in", picture="ways-two")
        expect(page.get_by_role("status").first).to_have_text("You can now sign in this way too.")
        expect(page.get_by_role("listitem").filter(has=page.get_by_role("heading", level=2))).to_have_count(2)

        # A way that is somebody's already is refused without saying whose.
        page.get_by_role("button", name=re.compile("^Remove OpenID")).click()
        visitor.meet("Ways to sign in")
        expect(page.get_by_text("This is your only way to sign in.")).to_be_visible()


def test_a_way_that_belongs_to_somebody_else_is_refused_without_naming_them(town: Town) -> None:
    with town.visitor() as visitor:
        arrive(town, visitor, "emoji", "zoe.r")
    with town.visitor() as visitor:
        visitor.open(town.login + "/sign-in")
        visitor.be("email-verified-text", provider="OpenID (sandbox)")
        visitor.sign_up("stella", provider="OpenID (sandbox)")
        visitor.meet("My account")
        visitor.open(town.login + "/me/ways")
        visitor.be("emoji", is_asked=False)
        visitor.meet("This way to sign in cannot be added")
        assert "Zoë" not in visitor.page.locator("main").inner_text()
        assert "zoe.r" not in visitor.page.content()


@WAYS
def test_what_a_site_gets_can_be_stopped_field_by_field_and_altogether(town: Town, settings: dict[str, object]) -> None:
    with town.visitor(**settings) as visitor:
        arrive(
            town,
            visitor,
            "same-email-1" if settings is WIDE else "no-last-name",
            "kim" if settings is WIDE else "suharto",
        )
        page = visitor.page
        visitor.open(town.login + "/me/sites")
        visitor.meet("Connected sites", picture="sites")
        visitor.press("Stop sharing Display name with Sailing Forum")
        visitor.meet("Connected sites")
        expect(page.get_by_role("status").first).to_contain_text("The site gets this no more.")
        visitor.open(town.login + "/me/history")
        visitor.meet("Sharing history", picture="history")
        expect(page.get_by_text("you stopped sharing")).to_be_visible()
        visitor.open(town.login + "/me/sites")
        visitor.press("Disconnect Sailing Forum")
        visitor.meet("Connected sites")
        expect(page.get_by_text("You have not used any site yet.")).to_be_visible()
        visitor.wait_until_signed_out_at(town.forum)
        visitor.start_again_at(town.forum, "/t/1")
        visitor.meet("Share these with Sailing Forum?")


@WAYS
def test_signing_out_of_one_site_and_of_everything(town: Town, settings: dict[str, object]) -> None:
    """Catalogue 110: "everything" reaches the sites that were used; the back button shows nothing (catalogue 106)."""
    with town.visitor(**settings) as visitor:
        page = visitor.page
        arrive(town, visitor, "silhouette" if settings is WIDE else "minor", "sil" if settings is WIDE else "mia")
        visitor.start_again_at(town.wiki, "/page/Compost")
        visitor.meet("Share these with Sailing Wiki?")
        visitor.press("Share and continue")
        page.wait_for_url(town.wiki + "/page/Compost")

        visitor.press("Sign out of this site")
        visitor.meet("Sign out of more than Sailing Wiki?", picture="sign-out-one-site")
        visitor.press("Stay signed in and go back to Sailing Wiki")
        page.wait_for_url(re.compile(re.escape(town.wiki)))
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        visitor.open(town.forum + "/t/1")
        expect(page.get_by_text("Signed in as")).to_be_visible()

        visitor.open(town.login + "/me/details")
        visitor.meet("Details")
        visitor.open(town.forum + "/t/1")
        visitor.press("Sign out everywhere")
        visitor.meet("Sign out of what?", picture="sign-out")
        page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
        visitor.meet("You are signed out", picture="signed-out")
        for _ in range(3):  # the question, the forum, and the page with the details, which is not shown again
            page.go_back()
        expect(page).not_to_have_title(re.compile("^Details"))
        assert "@people.test" not in page.content()
        visitor.wait_until_signed_out_at(town.forum)
        visitor.open(town.login + "/me/details")
        visitor.meet("Sign in")


@WAYS
def test_a_closed_account_is_gone_everywhere_and_the_same_person_is_new(
    town: Town, settings: dict[str, object]
) -> None:
    """Catalogue 130: signed out at the sites too, and the private number is never given again."""
    with town.visitor(**settings) as visitor:
        page = visitor.page
        persona, user_name = ("id-changes-per-app", "ida") if settings is WIDE else ("dead-picture", "dee")
        arrive(town, visitor, persona, user_name)
        visitor.open(town.forum + "/me")
        before = visitor.rows()["Your subject at this site"]
        visitor.open(town.login + "/me/close")
        visitor.meet("Close your account?", picture="close")
        visitor.press("Close my account")
        visitor.meet("Your account is closed", picture="closed")
        assert not [c for c in visitor.person.context.cookies(town.login) if "_session" in str(c["name"])]

        visitor.wait_until_signed_out_at(town.forum)
        visitor.start_at(town.forum, "/t/1", "Sailing Forum")
        visitor.press("Continue with Facebook (sandbox)")
        visitor.meet("Choose what to use from Facebook (sandbox)")
        visitor.press("Continue with these")
        visitor.meet("Finish signing up")
        visitor.fill("User name", user_name)
        visitor.press("Create my account")
        visitor.meet("Finish signing up")
        expect(page.get_by_role("alert")).to_contain_text("this one is taken")
        visitor.fill("User name", user_name + ".again")
        visitor.press("Create my account")
        visitor.meet("Share these with Sailing Forum?")
        visitor.press("Share and continue")
        page.wait_for_url(re.compile(re.escape(town.forum + "/t/1")))
        visitor.open(town.forum + "/me")
        assert visitor.rows()["Your subject at this site"] != before


def test_who_asks_facebook_for_deletion_is_signed_out_and_follows_the_request(town: Town) -> None:
    """Facebook posts its signed request to us and is content with the answer; the address in it is the person's page."""
    with town.visitor() as visitor:
        visitor.open(town.login + "/sign-in")
        visitor.be("removes-app")
        visitor.sign_up("remi")
        visitor.meet("My account")
        assert town.order("facebook", deauthorize="removes-app")["deauthorize"]["status"] == 200
        answer = town.order("facebook", delete="removes-app")["delete"]
        assert (answer["valid"], answer["problems"]) == (True, [])
        visitor.open(town.login + "/me")
        expect(visitor.page.get_by_role("heading", level=1)).not_to_have_text("My account")
        visitor.open(json.loads(answer["body"])["url"])
        visitor.meet("We are looking at your request", picture="removal")
        expect(visitor.page.get_by_text("Facebook (sandbox) told us on")).to_be_visible()
        expect(visitor.page.get_by_text("remi")).to_have_count(0)
