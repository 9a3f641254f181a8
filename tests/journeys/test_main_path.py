"""The shortest whole story: sign up with Facebook, share some fields with the forum, arrive there; then the wiki."""

from __future__ import annotations

from tests.support.house import Arrival, House, peek


async def test_a_person_signs_up_and_the_site_gets_what_was_ticked(house: House) -> None:
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, user_name="zoe", share=("name",))
    assert isinstance(end, Arrival)
    tokens = await forum.redeem(end)
    claims = await forum.claims(tokens["access_token"])
    assert claims["preferred_username"] == "zoe"
    assert claims["name"] == "Ana Marković"
    assert "email" not in claims
    assert peek(tokens["id_token"])["sub"] == claims["sub"]


async def test_the_second_site_needs_no_provider_and_asks_only_once(house: House) -> None:
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    first = await browser.sign_up(forum, user_name="zoe")
    assert isinstance(first, Arrival)
    asked = await browser.open(wiki.request_url())
    assert asked.path.endswith("/site")
    arrived = await browser.press("decision=share")
    assert isinstance(arrived, Arrival)
    again = await browser.arrive(wiki)
    mine, theirs = await wiki.redeem(again), await forum.redeem(first)
    assert peek(mine["id_token"])["sub"] != peek(theirs["id_token"])["sub"]


async def test_a_known_person_comes_back_through_the_provider_alone(house: House) -> None:
    forum = house.site("forum")
    await house.browser().sign_up(forum, user_name="zoe")
    end = await house.browser().sign_in(forum)
    assert isinstance(end, Arrival)
    assert (await forum.redeem(end))["id_token"]


async def test_staying_connected_while_away_is_off_unless_ticked(house: House) -> None:
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    await browser.sign_up(forum, user_name="zoe")
    await browser.open(wiki.request_url(scope="openid offline_access"))
    arrived = await browser.press("decision=share")
    assert isinstance(arrived, Arrival)
    assert "refresh_token" not in await wiki.redeem(arrived)


async def test_staying_connected_while_away_gives_a_refresh_token(house: House) -> None:
    forum, wiki, browser = house.site("forum"), house.site("wiki"), house.browser()
    await browser.sign_up(forum, user_name="zoe")
    await browser.open(wiki.request_url(scope="openid offline_access"))
    arrived = await browser.press("decision=share", tick=("offline_access",))
    assert isinstance(arrived, Arrival)
    first = await wiki.redeem(arrived)
    answer = await wiki.refresh(first["refresh_token"])
    assert answer.status_code == 200
    assert answer.json()["refresh_token"] != first["refresh_token"]
