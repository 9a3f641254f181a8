"""The way through, in Chromium, with and without scripts: from a site through a provider and back, and on to the others."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from tests.browser.town import Town
from tests.browser.visitor import Visitor
from tests.support.chromium import clear_cookies_of

pytestmark = pytest.mark.browser
SUBJECT = "Your subject at this site"
WAYS = {
    "with scripts, wide": {"javascript": True, "width": 1280},
    "without scripts, narrow and dark": {"javascript": False, "width": 320, "height": 640, "dark": True},
}
PEOPLE = {"with scripts, wide": ("normal", "ana"), "without scripts, narrow and dark": ("jonas", "jonas")}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _nobody_known_at_the_providers(town: Town) -> None:
    town.reset_providers()


@pytest.fixture
def visitor(town: Town, way: str) -> Iterator[Visitor]:
    with town.visitor(**WAYS[way]) as visitor:
        yield visitor


def shared(visitor: Visitor, site: str) -> dict[str, str]:
    """What a site shows of the person, without the private number."""
    visitor.open(site + "/me")
    rows = visitor.rows()
    assert re.fullmatch(r"[\w-]{20,}", rows.pop(SUBJECT))
    return rows


def test_a_newcomer_gets_from_the_forum_through_facebook_and_back_and_then_to_every_other_site(
    town: Town, visitor: Visitor, way: str
) -> None:
    persona, user_name = PEOPLE[way]
    page = visitor.page

    visitor.start_at(town.forum, "/t/1", "Sailing Forum")
    visitor.be(persona)
    visitor.meet("Choose what to use from Facebook (sandbox)", picture="details")
    assert not [box for box in page.get_by_role("checkbox").all() if box.is_checked()]
    visitor.sign_up(user_name, keep=["First name"])

    visitor.meet("Share these with Sailing Forum?", picture="share")
    assert not [box for box in page.get_by_role("checkbox").all() if box.is_checked()]
    visitor.tick("Share: Display name")
    visitor.press("Share and continue")
    page.wait_for_url(re.compile(re.escape(town.forum + "/t/1") + "(#.*)?$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Seed swap on Saturday")
    full_name = {"ana": "Ana Marković", "jonas": "Jonas Weber"}[user_name]
    assert shared(visitor, town.forum) == {"User name": user_name, "Name": full_name}

    # The wiki asks no provider again, shows only its own share page, and that once.
    visitor.open(town.wiki + "/page/Compost")
    visitor.press("Sign in")
    visitor.meet("Share these with Sailing Wiki?")
    visitor.press("Share and continue")
    page.wait_for_url(town.wiki + "/page/Compost")
    assert shared(visitor, town.wiki) == {"User name": user_name}
    clear_cookies_of(visitor.person, "wiki.test")
    visitor.open(town.wiki + "/page/Compost")
    visitor.press("Sign in")
    page.wait_for_url(town.wiki + "/page/Compost")
    expect(page.get_by_text(f"Signed in as {user_name}")).to_be_visible()

    # The tracker is a plain OpenID Connect client.
    visitor.open(town.tracker + "/issues/0")
    visitor.press("Sign in")
    visitor.meet("Share these with Sailing Issue Tracker?")
    visitor.press("Share and continue")
    page.wait_for_url(town.tracker + "/issues/0")
    rows = shared(visitor, town.tracker)
    assert (rows["Name"], rows["E-mail address"]) == (
        full_name,
        f"{full_name.lower().replace(' ', '.')}@people.test".replace("ć", "c"),
    )

    # What was refused on the way is nowhere in the account.
    visitor.open(town.login + "/me/details")
    visitor.meet("Details", picture="my-details")
    kept = {
        row.get_by_role("heading").inner_text().split("\n")[0]: row.inner_text()
        for row in page.locator("li.field").all()
    }
    assert full_name.split()[0] in kept["First name"]
    assert "Nothing" in kept["Last name"]
    assert "Nothing" in kept["Profile picture"]


def test_refusing_everything_keeps_nothing_and_leads_back_to_the_site(town: Town, visitor: Visitor, way: str) -> None:
    visitor.start_at(town.forum, "/t/0", "Sailing Forum")
    visitor.be("amina")
    visitor.meet("Choose what to use from Facebook (sandbox)")
    visitor.press("Do not use Facebook (sandbox)")
    visitor.meet("We kept nothing", picture="kept-nothing")
    visitor.press("Choose another way to sign in")
    visitor.meet("Sign in to Sailing Forum")
    visitor.press("Cancel and go back to Sailing Forum")
    visitor.page.wait_for_url(re.compile(re.escape(town.forum + "/t/0")))
    expect(visitor.page.get_by_text("You did not sign in.")).to_be_visible()


def test_what_the_person_holds_back_at_the_provider_is_a_row_that_can_be_asked_again(
    town: Town, visitor: Visitor, way: str
) -> None:
    visitor.start_at(town.forum, "/", "Sailing Forum")
    visitor.be("amina", declines=["email"])
    visitor.meet("Choose what to use from Facebook (sandbox)", picture="details-declined")
    row = visitor.page.get_by_role("listitem").filter(has=visitor.page.get_by_role("heading", name="E-mail address"))
    expect(row).to_contain_text("You did not let Facebook (sandbox) share this. That is fine.")
    visitor.press("Ask Facebook (sandbox) again for: E-mail address")
    visitor.page.wait_for_url(re.compile("facebook.test"))
    visitor.page.get_by_role("button", name=re.compile("^Continue")).click()
    visitor.meet("Choose what to use from Facebook (sandbox)")
    expect(visitor.page.get_by_text("amina.diallo@people.test")).to_be_visible()
    visitor.press("Do not use Facebook (sandbox)")
    visitor.meet("We kept nothing")


def test_a_mistake_is_said_at_the_top_and_beside_the_field_and_nothing_typed_is_lost(
    town: Town, visitor: Visitor, way: str
) -> None:
    page = visitor.page
    visitor.start_at(town.forum, "/", "Sailing Forum")
    visitor.be("no-email")
    visitor.meet("Choose what to use from Facebook (sandbox)")
    visitor.press("Continue with these")
    visitor.meet("Finish signing up")
    visitor.fill("User name", "-")
    visitor.fill("E-mail address", "tomas at home")
    page.get_by_role("checkbox", name="Send me Club news").check()
    visitor.press("Create my account")
    visitor.meet("Finish signing up", picture="finish-mistakes")
    assert page.title().startswith("Error: ")
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    assert page.get_by_role("textbox", name="E-mail address").input_value() == "tomas at home"
    assert page.get_by_role("checkbox", name="Send me Club news").is_checked()
    summary.get_by_role("link", name=re.compile("^E-mail address")).click()
    expect(page.get_by_role("textbox", name="E-mail address")).to_be_focused()
    visitor.press("Do not create an account")


def test_saying_no_at_the_provider_and_at_the_share_page_leads_back_without_a_sign_in(
    town: Town, visitor: Visitor, way: str
) -> None:
    visitor.start_at(town.wiki, "/page/Compost", "Sailing Wiki")
    visitor.press("Continue with OpenID (sandbox)")
    visitor.page.wait_for_url(re.compile("openid.test"))
    visitor.page.get_by_role("button", name="Cancel").click()
    visitor.meet("You did not let OpenID (sandbox) tell us who you are")
    visitor.press("Choose another way to sign in")
    visitor.meet("Sign in to Sailing Wiki")
    visitor.be("lucas" if way.startswith("with ") else "farah", provider="OpenID (sandbox)")
    visitor.sign_up("lucas" if way.startswith("with ") else "farah", provider="OpenID (sandbox)")
    visitor.meet("Share these with Sailing Wiki?")
    visitor.press("Do not share")
    visitor.page.wait_for_url(re.compile(re.escape(town.wiki + "/page/Compost")))
    expect(visitor.page.get_by_text("You did not sign in.")).to_be_visible()


def test_the_pages_speak_french_to_a_french_browser_and_turn_round_for_right_to_left(town: Town) -> None:
    with town.visitor(locale="fr-FR", width=320, height=640) as visitor:
        visitor.open(town.forum + "/t/1")
        visitor.press("Sign in")
        visitor.meet("Se connecter à Sailing Forum", picture="chooser-french")
        assert visitor.page.locator("html").get_attribute("lang") == "fr"
        visitor.press("[Pšéúdó RTL ~~~~~]")
        expect(visitor.page.locator("html")).to_have_attribute("dir", "rtl")
        visitor.person.check_no_sideways_scrolling()
        visitor.person.check_accessibility()
        visitor.person.screenshot("chooser-320-right-to-left")
        brand = visitor.page.locator(".brand .logo").bounding_box()
        assert brand
        assert brand["x"] > 160, "the logo stands at the start of the line, which is right"


def test_the_whole_way_through_can_be_walked_with_the_keyboard_alone(town: Town) -> None:
    """Tab, space and enter; what has the focus can be seen and is never outside the window (WCAG 2.4.7, 2.4.11)."""
    with town.visitor(width=320, height=640) as visitor:
        keyboard = visitor.page.keyboard

        def tab_to(name: str, *, at_most: int = 60) -> None:
            for _ in range(at_most):
                keyboard.press("Tab")
                focus = visitor.page.evaluate(FOCUS)
                if visitor.is_ours:
                    assert focus["outline"] >= 2, focus
                    assert focus["top"] >= -1, focus
                    assert focus["bottom"] <= focus["window"] + 1, focus
                if focus["name"].startswith(name):
                    return
            raise AssertionError(f"{name} cannot be reached with the Tab key on {visitor.page.url}")

        visitor.open(town.forum + "/t/1")
        tab_to("Sign in")
        keyboard.press("Enter")
        visitor.meet("Sign in to Sailing Forum")
        tab_to("Skip to main content", at_most=1)
        keyboard.press("Enter")
        tab_to("Continue with Facebook", at_most=1)
        keyboard.press("Enter")
        visitor.page.wait_for_url(re.compile("facebook.test"))
        tab_to("Kim Larsen")
        keyboard.press("Enter")
        visitor.page.get_by_role("button", name=re.compile("^Continue")).wait_for()
        tab_to("Continue")
        keyboard.press("Enter")
        visitor.meet("Choose what to use from Facebook (sandbox)")
        tab_to("Use: First name")
        keyboard.press("Space")
        assert visitor.page.locator(".on:visible").all_inner_texts() == ["Will be kept"]
        tab_to("Continue with these")
        keyboard.press("Enter")
        visitor.meet("Finish signing up")
        tab_to("User name")
        keyboard.press("Control+A")
        keyboard.type("kim.larsen")
        tab_to("Create my account")
        keyboard.press("Enter")
        visitor.meet("Share these with Sailing Forum?")
        tab_to("Share and continue")
        keyboard.press("Enter")
        visitor.page.wait_for_url(re.compile(re.escape(town.forum + "/t/1")))
        expect(visitor.page.get_by_text("Signed in as kim.larsen")).to_be_visible()


FOCUS = """() => {
  const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
  const label = at.labels && at.labels.length ? at.labels[0].innerText : at.innerText;
  return {
    name: (label || at.value || '').trim().replace(/\\s+/g, ' '), outline: parseFloat(style.outlineWidth) || 0,
    top: box.top, bottom: Math.min(box.bottom, box.top + 44), window: innerHeight,
  };
}"""


def test_choosing_to_be_remembered_puts_that_way_first_and_can_be_taken_back(town: Town) -> None:
    with town.visitor() as visitor:
        visitor.start_at(town.forum, "/", "Sailing Forum")
        visitor.tick("Remember in this browser which way I use")
        visitor.be("same-email-2")
        visitor.meet("Choose what to use from Facebook (sandbox)")
        visitor.press("Do not use Facebook (sandbox)")
        visitor.meet("We kept nothing")
        visitor.press("Choose another way to sign in")
        visitor.meet("Sign in to Sailing Forum")
        expect(visitor.page.get_by_role("heading", level=2).first).to_have_text("You used this last time")
        visitor.press("Forget this")
        visitor.meet("Sign in to Sailing Forum")
        expect(visitor.page.get_by_text("You used this last time")).to_have_count(0)
        assert not [
            cookie for cookie in visitor.person.context.cookies(town.login) if str(cookie["name"]).endswith("_last")
        ]


def test_an_address_of_openid_2_is_typed_and_put_right(town: Town, visitor: Visitor, way: str) -> None:
    """What is wrong is said at the top, with the focus, and beside the box; then it leads to the provider and back."""
    page = visitor.page
    label = "Your address at OpenID 2.0 (sandbox)"
    visitor.start_at(town.forum, "/t/0", "Sailing Forum")
    visitor.fill(label, "=ana")
    visitor.press("Continue with OpenID 2.0 (sandbox)")
    visitor.meet("Sign in to Sailing Forum", picture="chooser-typed-wrong")
    expect(page.get_by_role("alert").first).to_contain_text("do not work any more")
    expect(page.get_by_role("textbox", name=label)).to_have_value("=ana")
    person = "farah" if way.startswith("with scripts") else "lucas"
    visitor.fill(label, f"{town.url('openid')}/people/{person}")
    page.get_by_role("textbox", name=label).press("Enter")
    page.wait_for_url(re.compile("^" + re.escape(town.url("openid"))))
    expect(page.get_by_text("SANDBOX")).to_be_visible()
    page.locator(f'button[name=persona][value="{person}"]').click()
    visitor.meet("Choose what to use from OpenID 2.0 (sandbox)")
    visitor.sign_up(f"{person}2", provider="OpenID 2.0 (sandbox)")
    visitor.meet("Share these with Sailing Forum?")
