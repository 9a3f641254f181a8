"""Somebody removes us at Facebook, or asks there for deletion: what Facebook sends, what ends here, and what they can read."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from tests.support.house import Arrival, House, Shown

from broker.cli.provider_attempts import read_attempts
from broker.domain.audit import Act
from broker.domain.failures import PROBE
from broker.domain.values import ProviderId

TAMPERINGS = ("bad-mac", "wrong-alg", "old-issued-at", "extra-padding", "truncated")


async def word_of_facebook(house: House, persona: str = "normal", **more: Any) -> str:
    """What Facebook would send about somebody."""
    return str((await house.facebook.order(signed_request=persona, **more))["signed_request"])


async def send(house: House, kind: str, text: str, provider: str = "facebook", **more: Any) -> httpx2.Response:
    async with house.client() as client:
        return await client.post(f"/hooks/{provider}/{kind}", data={"signed_request": text, **more})


async def wait_a_minute(house: House) -> None:
    """So that what came before and what comes after cannot be taken for each other."""
    await house.move(minutes=2)


async def test_a_deletion_is_answered_with_a_code_and_a_page(house: House) -> None:
    """Signed out at once, nothing deleted yet, and a page that anybody with the code can read, about nobody."""
    forum, browser = house.site("forum"), house.browser()
    end = await browser.sign_up(forum, user_name="zoe", share=("name",))
    assert isinstance(end, Arrival)
    tokens = await forum.redeem(end)
    await wait_a_minute(house)
    answer = await send(house, "deletion", await word_of_facebook(house))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "set-cookie" not in answer.headers
    body = answer.json()
    assert set(body) == {"url", "confirmation_code"}
    assert body["confirmation_code"].isalnum()
    assert body["url"] == f"https://login.test/removal/{body['confirmation_code']}"
    assert (await browser.open("/me")).path.endswith("/sign-in")
    assert (await forum.userinfo(tokens["access_token"])).status_code == 401
    assert await house.accounts() == 1
    stranger = house.browser()
    shown = await stranger.open(body["url"])
    assert shown.headings == ["We are looking at your request", "What has happened already", "What happens next"]
    assert "Facebook told us on" in shown.text
    assert "help@club.test" in shown.text
    assert stranger.cookies == {}
    account = next(iter(house.world.durable.tables.accounts.values()))  # type: ignore[attr-defined]
    values = [held.value for held in account.profile.values() if len(held.value) > 2]
    assert not [value for value in (*values, "zoe", account.id) if value in shown.text]


async def test_the_page_says_what_was_decided(house: House) -> None:
    """Kept for a reason, asked anew, deleted, and then nothing left to delete."""
    browser = house.browser()
    await browser.sign_up(user_name="zoe")
    await wait_a_minute(house)
    first = (await send(house, "deletion", await word_of_facebook(house))).json()
    await house.world.removals.dismiss(first["confirmation_code"], Act(by="deploy", why="You asked us to keep it."))
    shown = await browser.open(first["url"])
    assert shown.headings == ["Your account was not deleted"]
    assert "You asked us to keep it." in shown.text
    await wait_a_minute(house)
    again = (await send(house, "deletion", await word_of_facebook(house))).json()
    assert again == first
    await house.world.removals.approve(again["confirmation_code"], Act(by="deploy", why="Asked for."))
    assert await house.accounts() == 0
    assert (await browser.open(first["url"])).headings == ["Your account is deleted"]
    await wait_a_minute(house)
    assert (await send(house, "deletion", await word_of_facebook(house))).json() == first
    assert (await browser.open(first["url"])).headings == ["There was nothing to delete"]


async def test_whoever_comes_back_has_the_account_they_had(house: House) -> None:
    """Taken out there, allowed again: nothing was lost, and the old word sent again ends nothing (catalogue 50, 110)."""
    browser = house.browser()
    await browser.sign_up(user_name="zoe")
    await wait_a_minute(house)
    word = await word_of_facebook(house)
    assert (await send(house, "deauthorize", word)).status_code == 200
    assert (await browser.open("/me")).path.endswith("/sign-in")
    await wait_a_minute(house)
    shown = await browser.sign_in()
    assert isinstance(shown, Shown)
    assert (await browser.open("/me")).path == "/me"
    assert (await send(house, "deauthorize", word)).status_code == 200
    assert (await browser.open("/me")).path == "/me"
    assert await house.accounts() == 1


@pytest.mark.parametrize("kind", ["deauthorize", "deletion"])
@pytest.mark.parametrize("tamper", TAMPERINGS)
async def test_a_word_that_is_not_facebooks_is_refused(house: House, kind: str, tamper: str) -> None:
    """Forged, of another algorithm, old, padded, cut: 400, and nobody is signed out (catalogue 50)."""
    browser = house.browser()
    await browser.sign_up(user_name="zoe")
    await wait_a_minute(house)
    answer = await send(house, kind, await word_of_facebook(house, tamper=tamper))
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert (await browser.open("/me")).path == "/me"
    assert house.world.durable.tables.removals == {}  # type: ignore[attr-defined]


async def test_only_a_provider_that_tells_of_removals_has_such_addresses(house: House) -> None:
    for provider in ("openid", "nobody", "..%2ffacebook"):
        answer = await send(house, "deletion", await word_of_facebook(house), provider=provider)
        assert answer.status_code == 404, provider
    async with house.client() as client:
        assert (await client.get("/hooks/facebook/deletion")).status_code == 405
        assert (await client.get("/removal/K7Q291XM")).status_code == 404


async def test_a_word_sent_in_an_odd_way_is_refused(house: House) -> None:
    """Twice in one form, as JSON, or far too large (catalogue 181, 184)."""
    word = await word_of_facebook(house)
    twice = f"signed_request={word}&signed_request={word}"
    form = {"content-type": "application/x-www-form-urlencoded"}
    async with house.client() as client:
        assert (await client.post("/hooks/facebook/deletion", content=twice, headers=form)).status_code == 400
        text = json.dumps({"signed_request": word})
        odd = await client.post("/hooks/facebook/deletion", content=text, headers={"content-type": "application/json"})
        assert odd.status_code == 400
        large = await client.post("/hooks/facebook/deletion", content="signed_request=" + "A" * 70_000, headers=form)
        assert large.status_code == 413


async def test_a_signed_request_at_the_callback_signs_nobody_in(house: House) -> None:
    """Only a code is taken there (catalogue 50)."""
    browser = house.browser()
    await browser.sign_up(user_name="zoe")
    stranger = house.browser()
    word = await word_of_facebook(house)
    shown = await stranger.open(f"/callback/facebook?signed_request={word}")
    assert shown.status >= 400
    assert (await stranger.open("/me")).path.endswith("/sign-in")


async def test_the_admins_own_check_is_no_failure_of_the_provider(house: House) -> None:
    """It says who asks and brings nothing; whoever brings anything is written down as ever, whatever they call themselves."""
    probe = {"user-agent": PROBE}
    async with house.client(headers=probe) as client:
        for kind in ("deauthorize", "deletion"):
            empty = {"content-type": "application/x-www-form-urlencoded"}
            assert (await client.post(f"/hooks/facebook/{kind}", headers=empty)).status_code == 400
        assert (await client.get("/callback/facebook")).status_code == 403
        assert (await client.get("/callback/nobody")).status_code == 404
    assert not list(read_attempts(house.log.splitlines(), "facebook"))
    assert house.log.count('"probed"') == 4
    async with house.client(headers=probe) as client:
        await client.post("/hooks/facebook/deletion", data={"signed_request": "none"})
        await client.get("/callback/facebook?state=old&code=old")
        await client.get("/callback/facebook", headers={"cookie": "a=b"})
    async with house.client() as client:
        await client.get("/callback/facebook")
    assert len(list(read_attempts(house.log.splitlines(), "facebook"))) == 4
    await house.opened.trace.flush()
    assert len(await house.world.durable.failures.newest(ProviderId("facebook"), 9)) == 4
