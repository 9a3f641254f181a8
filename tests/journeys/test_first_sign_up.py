"""Somebody comes for the first time: what they are shown, what they keep, what the site gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.house import PROVIDERS_TOML, Arrival, House, Sandboxes, Shown, open_house, peek

FACEBOOK_ADDRESS = "ana.markovic@people.test"


async def test_facebook_without_an_address_is_a_normal_way_in(house: House) -> None:
    """A declined e-mail address is an ordinary row; the next page asks for one, and nobody vouches for what is typed."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    preview = await browser.choose("facebook", "declines-email")
    assert isinstance(preview, Shown)
    assert preview.path.endswith("/details")
    assert "You did not let Facebook share this. That is fine." in preview.text
    assert "Petra Novak" in preview.text
    assert "declines-email@people.test" not in preview.response.text
    finish = await browser.press("decision=continue")
    assert isinstance(finish, Shown)
    assert finish.path.endswith("/finish")
    share = await browser.press("decision=create", fill={"preferred_username": "petra", "v-email": "Petra@Mail.test"})
    assert isinstance(share, Shown)
    assert share.path.endswith("/site")
    end = await browser.press("decision=share", tick=("name", "email"))
    assert isinstance(end, Arrival)
    tokens = await forum.redeem(end)
    claims = await forum.claims(tokens["access_token"])
    assert claims == {
        "sub": claims["sub"],
        "preferred_username": "petra",
        "name": "Petra Novak",
        "email": "Petra@mail.test",
        "email_verified": False,
    }


async def test_facebook_can_be_asked_once_more_for_what_was_declined(house: House) -> None:
    """The button is there once, and what was kept from before is forgotten."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    await browser.choose("facebook", "declines-email")
    shown = await browser.agree_upstream(await browser.press("decision=ask_again"))
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/details")
    buttons = [button.value for form in shown.forms for button in form.buttons]
    assert "ask_again" not in buttons
    asked = [entry for entry in await house.facebook.log() if "dialog/oauth" in str(entry)]
    assert "rerequest" in str(asked)


async def test_somebody_without_any_address_signs_up_too(house: House) -> None:
    browser = house.browser()
    await browser.open("/sign-in")
    preview = await browser.choose("facebook", "no-email")
    assert isinstance(preview, Shown)
    assert "Facebook did not send one." in preview.text
    await browser.press("decision=continue")
    end = await browser.press("decision=create", fill={"preferred_username": "tomas", "v-email": "tomas@mail.test"})
    assert isinstance(end, Shown)
    assert end.path == "/me"


async def test_openid_signs_up_with_an_address_that_is_checked(house: House) -> None:
    """This provider is trusted for addresses by its admin: the site hears that it is checked (catalogue 119)."""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, provider="openid", user_name="ana", use=("locale",), share=("email",))
    assert isinstance(end, Arrival)
    claims = await forum.claims((await forum.redeem(end))["access_token"])
    assert claims["email"] == FACEBOOK_ADDRESS
    assert claims["email_verified"] is True
    assert "name" not in claims


async def test_what_a_provider_does_not_vouch_for_is_never_called_checked(house: House) -> None:
    """Not even where its word counts (catalogue 113, 119)."""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(
        forum, provider="openid", persona="email-unverified", user_name="victor", share=("email",)
    )
    assert isinstance(end, Arrival)
    claims = await forum.claims((await forum.redeem(end))["access_token"])
    assert claims["email_verified"] is False


async def test_nothing_is_ticked_until_the_person_does(house: House) -> None:
    """No optional field, no newsletter and no sharing starts ticked."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    pages = [await browser.choose(), await browser.press("decision=continue")]
    pages.append(await browser.press("decision=create", fill={"preferred_username": "zoe"}))
    boxes = 0
    for page in pages:
        assert isinstance(page, Shown)
        for form in page.forms:
            boxes += len(form.boxes)
            assert not [name for name, _ in form.fields if name in form.boxes], page.url
    assert boxes >= 3


async def test_the_person_reads_what_each_field_is_for_before_deciding(house: House) -> None:
    """Value, source, purpose, audience, needed or not, on the preview and again on the site's page."""
    forum, browser = house.site("forum"), house.browser()
    chooser = await browser.open(forum.request_url())
    assert "Sign in to Forum" in chooser.headings
    assert "We never see your password there." in chooser.text
    for label in ("Facebook", "Club OpenID"):
        assert label in chooser.text
    preview = await browser.choose()
    assert isinstance(preview, Shown)
    for words in (
        "Ana Marković", FACEBOOK_ADDRESS, "Shown next to your posts.", "So that we can reach you.", "Needed",
        "Everyone", "Nothing is saved until you create your account", "From Facebook.",
    ):  # fmt: skip
        assert words in preview.text, words
    await browser.press("decision=continue")
    share = await browser.press("decision=create", fill={"preferred_username": "zoe"})
    assert isinstance(share, Shown)
    for words in (
        "Share these with Forum?", "forum.test", "The Club", "zoe", "Your posts are signed with it.",
        "To tell you when somebody answers.", "A private number for you",
    ):  # fmt: skip
        assert words in share.text, words


async def test_do_not_use_this_provider_keeps_nothing_and_offers_another(house: House) -> None:
    """What was sent is gone, what was granted is taken back there, and the site still waits (decision 19)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    await browser.choose()
    shown = await browser.press("decision=refuse")
    assert isinstance(shown, Shown)
    assert "We kept nothing" in shown.headings
    assert "Ana" not in shown.text
    assert await house.accounts() == 0
    assert any(entry["method"] == "DELETE" for entry in await house.facebook.log())
    url = next(url for text, url in shown.links if text.startswith("Choose another"))
    chooser = await browser.open(url)
    assert "Sign in to Forum" in chooser.headings
    details = await browser.choose("openid", "lucas")
    assert isinstance(details, Shown)
    await browser.press("decision=continue")
    share = await browser.press("decision=create", fill={"preferred_username": "lucas"})
    assert isinstance(share, Shown)
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)


async def test_saying_no_at_the_provider_is_fine(house: House) -> None:
    """(catalogue 56)"""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    shown = await browser.choose("facebook", "cancels")
    assert isinstance(shown, Shown)
    assert "You did not let Facebook tell us who you are" in shown.headings
    assert "Nothing was shared." in shown.text
    assert "Reference:" in shown.text
    url = next(url for text, url in shown.links if text.startswith("Choose another way"))
    assert "Sign in to Forum" in (await browser.open(url)).headings
    assert await house.accounts() == 0


async def test_giving_up_tells_the_site_with_its_own_state(house: House) -> None:
    """From the chooser and from the last page alike; nothing is kept (catalogue 56)."""
    forum = house.site("forum")
    browser = house.browser()
    await browser.open(forum.request_url(state="its-own-state"))
    end = await browser.press("Cancel and go back")
    assert isinstance(end, Arrival)
    assert end.params == {"error": "access_denied", "state": "its-own-state", "iss": "https://login.test"}
    browser = house.browser()
    await browser.open(forum.request_url())
    await browser.choose()
    await browser.press("decision=continue")
    end = await browser.press("decision=cancel")
    assert isinstance(end, Arrival)
    assert end.params["error"] == "access_denied"
    assert await house.accounts() == 0
    assert house.world.memory.transactions.rows == {}  # type: ignore[attr-defined]


async def test_a_problem_is_said_beside_its_field_and_nothing_typed_is_lost(house: House) -> None:
    browser = house.browser()
    await browser.sign_up(user_name="admiral")
    browser = house.browser()
    await browser.open("/sign-in")
    await browser.choose("facebook", "no-email")
    await browser.press("decision=continue")
    shown = await browser.press(
        "decision=create", fill={"preferred_username": "admiral", "v-email": "nonsense"}, tick=("club",)
    )
    assert isinstance(shown, Shown)
    assert (shown.status, shown.response.request.method) == (200, "GET")
    assert shown.title.startswith("Error: ")
    assert shown.value("v-email") == "nonsense"
    shown = await browser.press("decision=create", fill={"v-email": "tomas@mail.test"})
    assert isinstance(shown, Shown)
    assert (shown.status, shown.response.request.method) == (200, "GET")
    assert shown.value("preferred_username") == "admiral"
    assert shown.value("newsletter") == "club"
    done = await browser.press("decision=create", fill={"preferred_username": "tomas"})
    assert isinstance(done, Shown)
    assert done.path == "/me"


@pytest.mark.parametrize("persona", ["html", "rtl", "emoji", "long-name", "no-last-name"])
async def test_any_name_is_shown_and_handed_on_as_it_is(house: House, persona: str) -> None:
    """Markup, right to left, emoji, three hundred letters: shown as text, byte for byte in what the site gets
    (catalogue 131).
    """
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, persona=persona, user_name="somebody", share=("name",))
    assert isinstance(end, Arrival)
    for answer in browser.history:
        if "html" in answer.headers.get("content-type", "") and str(answer.url).startswith("https://login.test"):
            assert "<script>alert" not in answer.text
            assert "<b>Bobby" not in answer.text
    name = house.facebook.state.people[persona].name if hasattr(house.facebook.state, "people") else None
    claims = await forum.claims((await forum.redeem(end))["access_token"])
    assert claims["name"]
    assert name is None or claims["name"] == name[:200]


async def test_signing_up_says_that_posting_is_off(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Nowhere on the way in can it be switched on (decision 17)."""
    can_post = PROVIDERS_TOML.replace("[openid]", '[facebook.posting]\nkind = "facebook_share"\n\n[openid]')
    async with open_house(tmp_path, sandboxes, providers=can_post) as house:
        browser = house.browser()
        await browser.open("/sign-in")
        await browser.choose()
        finish = await browser.press("decision=continue")
        assert isinstance(finish, Shown)
        assert "Posting to Facebook is off." in finish.text
        names = {name for form in finish.forms for name in (*form.boxes, *(name for name, _ in form.fields))}
        assert not [name for name in names if "post" in name]


async def test_the_id_token_says_who_signed_in_and_no_more(house: House) -> None:
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, user_name="zoe", share=("name", "email"))
    assert isinstance(end, Arrival)
    told = peek((await forum.redeem(end))["id_token"])
    assert not {"name", "email", "preferred_username", "email_verified"} & set(told)
    assert {"sub", "sid", "auth_time", "iss", "aud"} <= set(told)
