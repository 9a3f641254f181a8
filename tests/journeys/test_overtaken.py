"""A code on its way while the person ends what it hangs on: whichever comes first, nothing of it lives on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.journeys.test_my_account import add_openid
from tests.support.house import Arrival, Browser, House, Shown, Site

from broker.domain.claims import EMAIL
from broker.domain.values import ClientId

AWAY = "openid profile offline_access"


async def signed_in_twice(house: House, site: Site) -> tuple[Browser, Browser]:
    """The owner, who lets the site act for good, and a stolen second browser of the same person."""
    owner, thief = house.browser(), house.browser()
    await owner.sign_up(site, user_name="ana", share=("offline_access",), url=site.request_url(scope=AWAY))
    await thief.sign_in()
    return owner, thief


async def everybody_else_out(owner: Browser) -> None:
    shown = await owner.open("/me/devices")
    await owner.submit("post", "https://login.test/me/devices/end", [("csrf", shown.value("csrf")), ("all", "1")])


def before(place: Any, name: str, what: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """`what` happens once, right before this call of a store."""
    real = getattr(place, name)

    async def once(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(place, name, real)
        await what()
        return await real(*given, **named)

    monkeypatch.setattr(place, name, once)


def after(place: Any, name: str, what: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """`what` happens once, right after this call of a store."""
    real = getattr(place, name)

    async def once(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(place, name, real)
        found = await real(*given, **named)
        await what()
        return found

    monkeypatch.setattr(place, name, once)


async def lives(site: Site, arrived: Any) -> bool:
    """Whether the site gets anything for what it was answered."""
    assert isinstance(arrived, Arrival)
    return "code" in arrived.params and (await site.token(arrived)).status_code == 200


async def test_a_code_asked_for_while_everybody_is_signed_out_is_worth_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(catalogue 110)"""
    wiki = house.site("wiki")
    owner, thief = await signed_in_twice(house, wiki)
    got: list[Any] = []

    async def ask() -> None:
        got.append(await thief.go(wiki.request_url(scope=AWAY)))

    before(house.world.sessions.sessions, "end_all", ask, monkeypatch)
    await everybody_else_out(owner)
    assert not await lives(wiki, got[0])


async def test_a_code_asked_for_while_its_session_is_signed_out_is_worth_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(catalogue 110)"""
    forum = house.site("forum")
    browser = house.browser()
    await browser.sign_up(forum, user_name="ana")
    other_tab = house.browser()
    other_tab.jar = browser.jar
    got: list[Any] = []

    async def ask() -> None:
        got.append(await other_tab.go(forum.request_url()))

    await browser.open("/signout")
    before(house.world.sessions.sessions, "end", ask, monkeypatch)
    await browser.press("what=everything")
    assert not await lives(forum, got[0])


async def test_a_request_overtaken_by_a_sign_out_hears_that_nobody_is_signed_in(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had read who is signed in; everything ended before it wrote its grant (catalogue 110)."""
    wiki = house.site("wiki")
    owner, thief = await signed_in_twice(house, wiki)
    after(house.world.durable.accounts, "with_receipts", lambda: everybody_else_out(owner), monkeypatch)
    end = await thief.go(wiki.request_url(scope=AWAY, state="state-of-this-request"))
    assert isinstance(end, Arrival)
    assert end.params["error"] == "login_required"
    assert end.params["state"] == "state-of-this-request"
    account = next(iter(house.world.durable.tables.accounts))  # type: ignore[attr-defined]
    mine = await house.world.sessions.sessions.of_account(account, house.clock.now())
    grants = await house.world.durable.grants.of_account(account)
    assert {grant.sid for grant in grants} == {session.sid for session in mine}


async def disconnect(browser: Browser, site: str) -> None:
    shown = await browser.open("/me/sites")
    fields = [("csrf", shown.value("csrf")), ("client", site)]
    await browser.submit("post", "https://login.test/me/sites/disconnect", fields)


async def test_a_request_overtaken_by_a_disconnection_hears_that_the_person_has_to_be_asked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had read what is agreed to; everything was withdrawn before it wrote its grant."""
    forum, here, there = house.site("forum"), house.browser(), house.browser()
    await here.sign_up(forum, user_name="ana", share=("name", "email"))
    await there.sign_in()
    after(house.world.durable.accounts, "with_receipts", lambda: disconnect(there, "forum"), monkeypatch)
    end = await here.go(forum.request_url())
    assert isinstance(end, Arrival)
    assert end.params["error"] == "consent_required"
    account = next(iter(house.world.durable.tables.accounts))  # type: ignore[attr-defined]
    assert await house.world.durable.grants.of_account(account) == ()
    asked = await here.go(forum.request_url())
    assert not isinstance(asked, Arrival)
    assert "forum" in asked.text.lower()


async def test_a_request_overtaken_by_one_withdrawn_claim_does_not_carry_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    forum, here, there = house.site("forum"), house.browser(), house.browser()
    await here.sign_up(forum, user_name="ana", share=("name", "email"))
    await there.sign_in()
    shared = next(iter(house.world.durable.tables.accounts))  # type: ignore[attr-defined]
    session = (await house.world.sessions.sessions.of_account(shared, house.clock.now()))[0]

    async def stop() -> None:
        await house.world.account.stop_sharing(session, ClientId("forum"), EMAIL, locale="en")

    after(house.world.durable.accounts, "with_receipts", stop, monkeypatch)
    end = await here.go(forum.request_url())
    assert isinstance(end, Arrival)
    assert end.params["error"] == "consent_required"
    again = await here.go(forum.request_url())
    assert isinstance(again, Arrival)
    assert "email" not in await forum.claims((await forum.redeem(again))["access_token"])


async def test_a_wider_decision_meanwhile_does_not_stop_a_request_that_it_covers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tabs of one person at the same site: the second sharing takes nothing back, so the first goes on."""
    forum, here, there = house.site("forum"), house.browser(), house.browser()
    await here.sign_up(forum, user_name="ana", share=("name",))
    await there.sign_in()
    await there.open(forum.request_url(prompt="consent"))

    async def share_more() -> None:
        await there.press("decision=share", tick=("name", "email"))

    after(house.world.durable.accounts, "with_receipts", share_more, monkeypatch)
    assert await lives(forum, await here.go(forum.request_url()))


@pytest.mark.parametrize("end", ["the way is removed", "the account is closed"])
async def test_a_sign_in_overtaken_by_the_end_of_its_way_ends_as_that_of_a_stranger(
    house: House, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """It had found whose way this is; the way was removed, or the account closed, before it wrote its session."""
    owner, thief, there = house.browser(), house.browser(), house.world.sessions.sessions
    await owner.sign_up(user_name="ana")
    await add_openid(owner, house)
    account = next(iter(house.world.durable.tables.accounts))  # type: ignore[attr-defined]
    await owner.open("/me/ways" if end == "the way is removed" else "/me/close")
    button = "Remove Club OpenID" if end == "the way is removed" else "decision=close"
    before(there, "save", lambda: owner.press(button), monkeypatch)
    await thief.open("/sign-in")
    landed = await thief.choose("openid", "lucas")
    assert isinstance(landed, Shown)
    assert landed.path.startswith("/f/"), "the preview of somebody unknown"
    mine = await there.of_account(account, house.clock.now())
    assert len(mine) == (1 if end == "the way is removed" else 0)
    assert (await thief.open("/me")).path.endswith("/sign-in")
