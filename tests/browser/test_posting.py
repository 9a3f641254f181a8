"""Sharing what one wrote, in Chromium: from the forum's button through every page of posting, and each outcome back there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect
from tests.browser.town import Town
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser
WAYS = {
    "with scripts, wide": {"javascript": True, "width": 1280},
    "without scripts, narrow and dark": {"javascript": False, "width": 320, "height": 640, "dark": True},
}
WROTE = "The tomatoes are ripe 🍅"
TOPIC = "Harvest"


@contextmanager
def member(town: Town, way: str, persona: str, provider: str, user_name: str) -> Iterator[Visitor]:
    """Somebody who signed up and wrote something in the forum."""
    town.reset_providers()
    with town.visitor(**WAYS[way]) as visitor:
        visitor.start_at(town.forum, "/", "Sailing Forum")
        visitor.be(persona, provider=provider)
        visitor.sign_up(user_name, provider=provider)
        visitor.meet("Share these with Sailing Forum?")
        visitor.press("Share and continue")
        visitor.page.wait_for_url(town.forum + "/**")
        visitor.fill("Title", TOPIC)
        visitor.fill("Your post", WROTE)
        visitor.press("Start the topic")
        visitor.meet(TOPIC)
        yield visitor


def told(visitor: Visitor, words: str) -> None:
    """Back at the topic, which says what became of it."""
    visitor.meet(TOPIC)
    expect(visitor.page.get_by_role("status")).to_contain_text(words)


def ask(visitor: Visitor, network: str, heading: str) -> None:
    """Press the forum's button, and get to this page."""
    visitor.press(f"Share what I wrote on {network}")
    visitor.meet(heading)


OFF = "Posting is off"
SOCIAL, PREVIEW = "Sandbox Social", "Post this to OpenID (sandbox)?"
OPT_IN = "Let Sailing Forum offer posts to OpenID (sandbox)?"


def turn_on(visitor: Visitor) -> None:
    """Yes on the opt-in page, and yes at the network."""
    ask(visitor, SOCIAL, OFF)
    visitor.press("See what posting would mean")
    visitor.meet(OPT_IN, picture="posting-opt-in")
    assert visitor.page.get_by_role("checkbox").count() == 0
    visitor.press("Turn posting on for this site")
    visitor.page.get_by_role("button", name="Allow posting").click()
    told(visitor, "Posting is on for this site.")


@pytest.mark.parametrize("way", WAYS)
def test_a_post_to_a_network_goes_out_only_after_every_yes(town: Town, way: str) -> None:
    """Off, left off, turned on at both places, declined, posted, deleted, turned off again."""
    number = list(WAYS).index(way)
    social = town.sandboxes["openid"]
    with member(town, way, ("ana", "lucas")[number], "OpenID (sandbox)", f"poster{number}") as visitor:
        page = visitor.page
        ask(visitor, SOCIAL, OFF)
        visitor.press("See what posting would mean")
        visitor.meet(OPT_IN)
        visitor.press("Leave posting off")
        told(visitor, "Posting is off for this site.")

        turn_on(visitor)
        assert not social.statuses

        ask(visitor, SOCIAL, PREVIEW)
        visitor.person.screenshot(f"posting-preview-{number}")
        expect(page.get_by_role("blockquote")).to_contain_text(WROTE)
        visitor.press("Don't post")
        told(visitor, "Nothing was posted.")
        assert not social.statuses

        ask(visitor, SOCIAL, PREVIEW)
        visitor.press("Post now")
        visitor.meet("Posted", picture="posting-outcome")
        (status,) = social.statuses.values()
        assert status.text.startswith(WROTE)
        visitor.press("Back to Sailing Forum")
        told(visitor, "It was posted.")

        ask(visitor, SOCIAL, PREVIEW)
        visitor.press("Post now")
        visitor.meet("Posted")
        visitor.press("Delete there")
        visitor.meet("Deleted")
        visitor.press("Back to Sailing Forum")
        told(visitor, "The post was taken back.")
        assert len(social.statuses) == 1
        topic = page.url.partition("?")[0]

        visitor.open(town.login + "/me/posting")
        visitor.meet("Posting", picture="posting-settings")
        page.get_by_role("button", name="Turn off").click()
        expect(page.get_by_role("status").first).to_have_text("Posting is off for that site.")
        visitor.open(topic)
        ask(visitor, SOCIAL, OFF)


@pytest.mark.parametrize("way", WAYS)
def test_on_facebook_only_the_person_shares_in_facebooks_own_window(town: Town, way: str) -> None:
    number = list(WAYS).index(way)
    with member(town, way, ("normal", "jonas")[number], "Facebook (sandbox)", f"sharer{number}") as visitor:
        ask(visitor, "Facebook", OFF)
        visitor.press("See what posting would mean")
        visitor.meet("Use the Share window of Facebook (sandbox)?", picture="share-window-opt-in")
        visitor.press("Yes, offer it to me")
        told(visitor, "Posting is on for this site.")
        for button, words in (("Cancel", "Nothing was posted."), ("Share", "Facebook took over from here.")):
            ask(visitor, "Facebook", "Share this link on Facebook (sandbox)?")
            visitor.press("Open the Share window of Facebook (sandbox)")
            visitor.page.get_by_role("button", name=button, exact=True).click()
            told(visitor, words)


@pytest.mark.parametrize(
    ("fault", "persona", "heading", "words"),
    [
        ("post-revoked", "farah", "Not posted: they refused it", "Nothing was posted."),
        (
            "post-accept-then-500",
            "email-unverified",
            "Not known: they did not answer. Look there before you try again",
            "Nobody knows whether it was posted.",
        ),
    ],
)
def test_what_a_network_does_not_take_is_said_at_both_places(
    town: Town, fault: str, persona: str, heading: str, words: str
) -> None:
    """(catalogue 192, 193)"""
    way = "with scripts, wide"
    with member(town, way, persona, "OpenID (sandbox)", f"poster-{persona[:5]}") as visitor:
        turn_on(visitor)
        ask(visitor, SOCIAL, PREVIEW)
        town.order("openid", fault={"name": fault})
        visitor.press("Post now")
        visitor.meet(heading)
        visitor.press("Back to Sailing Forum")
        told(visitor, words)
