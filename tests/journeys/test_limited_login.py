"""A site's app brings people by Facebook's Limited Login: no page of ours was open, and Facebook gave it no access token."""

from __future__ import annotations

from tests.support.house import Arrival, House, peek
from tests.support.phone import Phone


async def test_a_known_person_comes_by_an_app_and_is_who_they_were(house: House) -> None:
    """The same account and the same number as by the website: `sub` there is the same, too."""
    forum = house.site("forum")
    before = await house.browser().sign_up(forum, user_name="zoe")
    assert isinstance(before, Arrival)
    phone, browser = Phone(forum), house.browser()
    shown = await browser.open(await phone.brings(await phone.sign_in("normal")))
    assert shown.path.endswith("/confirm")
    assert "Ana Marković" in shown.text and "Forum" in shown.text and "Facebook" in shown.text
    end = await browser.press("decision=continue")
    assert isinstance(end, Arrival), end
    first, second = await forum.redeem(before), await forum.redeem(end)
    assert peek(first["id_token"])["sub"] == peek(second["id_token"])["sub"]
    assert await house.accounts() == 1


async def test_a_new_person_signs_up_as_if_facebook_had_sent_them_back(house: House) -> None:
    forum, browser = house.site("forum"), house.browser()
    phone = Phone(forum)
    shown = await browser.open(await phone.brings(await phone.sign_in("normal")))
    assert "There is no account here" in shown.text
    assert await house.accounts() == 0
    await browser.press("decision=continue")
    assert browser.page.path.endswith("/details"), browser.page.text
    assert "ana.markovic@people.test" in browser.page.text
    await browser.press("decision=continue", tick=("picture",))
    assert browser.page.path.endswith("/finish")
    await browser.press("decision=create", fill={"preferred_username": "zoe"})
    assert browser.page.path.endswith("/site")
    end = await browser.press("decision=share", tick=("name",))
    assert isinstance(end, Arrival)
    claims = await forum.claims((await forum.redeem(end))["access_token"])
    assert claims["name"] == "Ana Marković"
    again = await house.browser().sign_in(forum)
    assert isinstance(again, Arrival)
    assert await house.accounts() == 1
