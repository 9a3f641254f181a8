"""`/device-authorization` and the pages at `/device` over HTTP: a person lets a device in (RFC 8628)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.house import ISSUER, Browser, House, Sandboxes, Shown, Site, site_secret
from tests.web.desk import MORE_SITES, PLAYER, member, wide_house

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    environ = {"OLD_SECRET": site_secret("old")}
    async with wide_house(tmp_path, sandboxes, sites=MORE_SITES + PLAYER, environ=environ) as opened:
        yield opened


@pytest.fixture
def player(house: House) -> Site:
    return Site(house=house, name="player", redirect_uri="")


async def begin(player: Site, **changes: str) -> httpx2.Response:
    form = {"client_id": "player", "scope": "openid profile", **changes}
    return await player.post("/device-authorization", form, auth=False)


async def poll(player: Site, told: dict[str, Any]) -> httpx2.Response:
    player.house.clock.move(seconds=5)
    form = {"grant_type": GRANT, "device_code": told["device_code"], "client_id": "player"}
    return await player.post("/token", form, auth=False)


async def type_code(browser: Browser, code: str) -> Shown:
    await browser.open(f"{ISSUER}/device")
    shown = await browser.press("Continue with this code", fill={"user_code": code})
    assert isinstance(shown, Shown)
    return shown


async def press(browser: Browser, button: str, **fields: str) -> Shown:
    shown = await browser.press(button, fill=fields)
    assert isinstance(shown, Shown), shown
    return shown


async def test_a_device_is_told_where_people_go_and_how_often_to_ask(player: Site) -> None:
    """RFC 8628 §3.2; nobody may store it."""
    answer = await begin(player)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["verification_uri"] == f"{ISSUER}/device"
    assert told["verification_uri_complete"] == f"{ISSUER}/device?user_code={told['user_code']}"
    assert (told["expires_in"], told["interval"]) == (600, 5)
    assert len(told["user_code"]) == 9
    assert len(told["device_code"]) > 40
    assert set(told) == {
        "device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval"
    }  # fmt: skip


async def test_somebody_signed_in_lets_a_device_in(house: House, player: Site) -> None:
    """They see whose device it is, what is shared, and then that they may go back to it."""
    told = (await begin(player)).json()
    assert (await poll(player, told)).json()["error"] == "authorization_pending"
    ana = await member(house)
    question = await type_code(ana, told["user_code"].lower().replace("-", " "))
    assert "Is this your device?" in question.text
    assert "Player" in question.text
    assert told["user_code"] in question.text
    share = await press(ana, "decision=yes")
    assert share.url.endswith("/site")
    end = await press(ana, "decision=share")
    assert "Go back to your device" in end.text
    assert "Player" in end.text
    assert "code=" not in end.url
    answer = await poll(player, told)
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "Bearer"
    claims = await player.claims(answer.json()["access_token"])
    assert claims["preferred_username"]
    again = await poll(player, told)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert "id_token" in answer.json()


async def test_who_agreed_before_needs_no_other_page(house: House, player: Site) -> None:
    """But is asked each time whether the device is theirs."""
    ana = await member(house)
    for number in range(2):
        told = (await begin(player)).json()
        await type_code(ana, told["user_code"])
        shown = await press(ana, "decision=yes")
        if not number:
            shown = await press(ana, "decision=share")
        assert "Go back to your device" in shown.text
        assert (await poll(player, told)).status_code == 200


async def test_a_stranger_signs_up_on_the_way(house: House, player: Site) -> None:
    told = (await begin(player)).json()
    browser = house.browser()
    await type_code(browser, told["user_code"])
    chooser = await press(browser, "decision=yes")
    assert chooser.url.endswith("/sign-in")
    details = await browser.choose("openid", "lucas")
    assert isinstance(details, Shown)
    await press(browser, "decision=continue")
    await press(browser, "decision=create", preferred_username="lucas")
    end = await press(browser, "decision=share")
    assert "Go back to your device" in end.text
    assert (await poll(player, told)).status_code == 200


async def test_the_end_may_be_looked_at_again(house: House, player: Site) -> None:
    """Neither the page nor the answer behind it takes anything back when it is opened twice."""
    told = (await begin(player)).json()
    ana = await member(house)
    await type_code(ana, told["user_code"])
    await press(ana, "decision=yes")
    end = await press(ana, "decision=share")
    assert (await ana.open(end.url)).text == end.text
    assert (await poll(player, told)).status_code == 200


async def test_a_person_refuses_a_device_they_do_not_know(house: House, player: Site) -> None:
    told = (await begin(player)).json()
    ana = await member(house)
    await type_code(ana, told["user_code"])
    end = await press(ana, "decision=no")
    assert "The device was refused" in end.text
    answer = await poll(player, told)
    assert (answer.status_code, answer.json()["error"]) == (400, "access_denied")


async def test_a_person_who_does_not_share_lets_no_device_in(house: House, player: Site) -> None:
    told = (await begin(player)).json()
    ana = await member(house)
    await type_code(ana, told["user_code"])
    await press(ana, "decision=yes")
    end = await press(ana, "decision=refuse")
    assert "The device was refused" in end.text
    assert (await poll(player, told)).json()["error"] == "access_denied"


async def test_a_cancelled_sign_in_lets_no_device_in(house: House, player: Site) -> None:
    told = (await begin(player)).json()
    browser = house.browser()
    await type_code(browser, told["user_code"])
    await press(browser, "decision=yes")
    end = await press(browser, "Cancel and go back")
    assert "The device was refused" in end.text
    assert (await poll(player, told)).json()["error"] == "access_denied"


async def test_a_wrong_code_is_said_at_the_box(house: House) -> None:
    """What was typed stays, spelled as a device spells it."""
    browser = house.browser()
    wrong = await type_code(browser, "bcdfghjk")
    assert wrong.status == 200
    assert wrong.url.startswith("https://login.test/device?again="), "a redirect: a reload sends nothing again"
    assert "No device waits with this code" in wrong.text
    assert 'value="BCDF-GHJK"' in wrong.response.text
    none = await type_code(browser, "<hello>")
    assert "Type the 8 letters" in none.text
    assert "<hello>" not in none.response.text


async def test_a_code_in_the_address_only_fills_the_box_in(house: House, player: Site) -> None:
    """Nobody is taken past the question whether it is their device (RFC 8628 §5.4)."""
    told = (await begin(player)).json()
    ana = await member(house)
    shown = await ana.open(told["verification_uri_complete"])
    assert f'value="{told["user_code"]}"' in shown.response.text
    question = await press(ana, "Continue with this code")
    assert "Is this your device?" in question.text
    assert (await poll(player, told)).json()["error"] == "authorization_pending"


async def test_the_sites_admin_decides_whether_it_has_devices(house: House) -> None:
    forum = house.site("forum")
    answer = await forum.post("/device-authorization", {"scope": "openid"})
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize(
    ("changes", "error"), [({"client_id": "nobody"}, "invalid_client"), ({"scope": "profile"}, "invalid_scope")]
)
async def test_a_wrong_request_is_told_what_is_wrong(player: Site, changes: dict[str, str], error: str) -> None:
    assert (await begin(player, **changes)).json()["error"] == error


async def test_an_address_of_ours_is_no_way_around(house: House, player: Site) -> None:
    """Nobody brings an answer of their own making, and no site asks for one to be sent there."""
    shown = await house.browser().open(f"{ISSUER}/device/answer?state=x&code=y")
    assert shown.status >= 400
    assert (await house.browser().open(f"{ISSUER}/device/done?result=x")).url == f"{ISSUER}/device"
    forum = house.site("forum")
    refused = await house.browser().open(forum.request_url(redirect_uri=f"{ISSUER}/device/answer"))
    assert refused.status == 400
    player_too = await house.browser().open(
        forum.request_url(client_id="player", redirect_uri=f"{ISSUER}/device/answer")
    )
    assert player_too.status == 400
