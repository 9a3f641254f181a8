"""A person's picture, looked at in Chromium: on the preview, in My account, beside what they write at a site."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect
from tests.browser.town import Town
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser
WAYS = {
    "wide": ({"width": 1280}, "normal", "ana"),
    "without scripts, narrow and dark": (
        {"javascript": False, "width": 320, "height": 640, "dark": True},
        "jonas",
        "jonas",
    ),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def visitor(town: Town, way: str) -> Iterator[Visitor]:
    town.reset_providers()
    with town.visitor(**WAYS[way][0]) as visitor:
        yield visitor


def is_drawn(image: Locator) -> bool:
    """Whether the browser got a picture and shows it."""
    image.scroll_into_view_if_needed()
    expect(image).to_be_visible()
    return bool(image.evaluate("image => image.complete && image.naturalWidth === 256"))


def test_a_picture_is_seen_before_it_is_kept_then_beside_what_one_writes_until_it_is_removed(
    town: Town, visitor: Visitor, way: str
) -> None:
    """Every page loads it from us alone (catalogue 141)."""
    page, (_, persona, user_name) = visitor.page, WAYS[way]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visitor.start_at(town.forum, "/t/1", "Sailing Forum")
    visitor.be(persona)
    visitor.meet("Choose what to use from Facebook (sandbox)", picture="picture-preview")
    assert is_drawn(page.get_by_alt_text("Picture Facebook (sandbox) sent"))
    visitor.sign_up(user_name, keep=["Profile picture"])
    visitor.meet("Share these with Sailing Forum?", picture="picture-share")
    assert is_drawn(page.get_by_alt_text("Your picture"))
    visitor.tick("Share: Profile picture")
    visitor.press("Share and continue")
    page.get_by_label("Your post").fill("Two boxes for me.")
    page.get_by_role("button", name="Reply", exact=True).click()
    beside = page.locator("article img").last
    assert is_drawn(beside)
    assert str(beside.get_attribute("src")).startswith(f"{town.login}/picture/")
    visitor.person.screenshot(f"picture-forum-{user_name}")
    visitor.open(town.login + "/me/details")
    visitor.meet("Details", picture="picture-details")
    assert is_drawn(page.get_by_alt_text("Your picture"))
    page.get_by_text("Remove Profile picture").click()
    visitor.press("Remove my picture")
    visitor.meet("Details", picture="picture-removed")
    assert page.get_by_alt_text("Your picture").count() == 0
    images = [url for url in asked if "/picture" in url or "profilepic" in url]
    assert images
    assert not [url for url in images if not url.startswith(town.login)]


def test_a_picture_that_cannot_be_had_is_told_in_words(town: Town, visitor: Visitor) -> None:
    page = visitor.page
    visitor.open(town.login + "/sign-in")
    visitor.be("dead-picture")
    visitor.meet("Choose what to use from Facebook (sandbox)", picture="picture-failed")
    expect(page.get_by_text("named a picture that we could not get")).to_be_visible()
    assert page.get_by_role("checkbox", name="Use: Profile picture").count() == 0
