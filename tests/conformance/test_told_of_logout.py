"""The OpenID Foundation's modules for relying parties that hear of sign-outs, each as a test of the same name.

(oidcc-client-backchannel-logout-rp-basic) The provider's server posts a logout token to us; what is wrong with it is what
the module's name says. After a wrong one the person is still signed in; after the right one nowhere, and the sites they
went to are told.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from tests.providers.rig import sign
from tests.support.house import (
    OPENID_CLIENT,
    OPENID_SECRET,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    open_house,
)

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes) as opened:
        yield opened


@pytest.fixture
async def browser(house: House) -> Browser:
    """Lucas, signed in by the provider, and at the forum."""
    found = house.browser()
    arrived = await found.sign_up(house.site("forum"), provider="openid", persona="lucas", user_name="lucas")
    assert isinstance(arrived, Arrival)
    assert await is_signed_in(found)
    await house.move(minutes=2)
    return found


async def is_signed_in(browser: Browser) -> bool:
    return (await browser.open("/me")).path == "/me"


def token(house: House, key: Any = None, *, alg: str = "RS256", **changes: Any) -> str:
    """The provider's word; a change to `None` leaves a claim out."""
    own, now = house.openid.state.signing_key(), int(house.clock.now().timestamp())
    claims = {
        "iss": house.openid.url, "aud": OPENID_CLIENT, "iat": now, "exp": now + 120, "jti": secrets.token_hex(8),
        "sub": "sandbox-lucas", "events": {EVENT: {}}, **changes,
    }  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return sign(claims, own.private if key is None else key, alg=alg, header={"typ": "logout+jwt", "kid": own.kid})


async def send(house: House, text: str, provider: str = "openid") -> httpx2.Response:
    async with house.client() as client:
        return await client.post(f"/hooks/{provider}/logout", data={"logout_token": text})


async def refused(house: House, browser: Browser, text: str, check: str) -> None:
    answer = await send(house, text)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert answer.headers["cache-control"] == "no-store"
    assert f'"check":"{check}' in house.log.replace(" ", "")
    assert await is_signed_in(browser)


async def test_oidcc_client_test_rp_backchannel_rpinitlogout(house: House, browser: Browser) -> None:
    """Signed out there, signed out here, and the site's token is over; nobody's name is in the log."""
    (session,) = await house.world.memory.sessions.of_account(await only_account(house), house.clock.now())
    answer = await send(house, token(house))
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert not await is_signed_in(browser)
    assert await house.world.memory.sessions.of_account(session.account, house.clock.now()) == ()
    grants = await house.world.durable.grants.of_account(session.account)
    assert all(grant.revoked_at is not None or grant.outlives_session for grant in grants)
    assert '"provider_sign_out"' in house.log
    assert "sandbox-lucas" not in house.log


async def only_account(house: House) -> Any:
    assert await house.accounts() == 1
    return next(iter(house.world.durable.tables.accounts))  # type: ignore[attr-defined]


async def test_oidcc_client_test_rp_backchannel_rpinitlogout_alg_none(house: House, browser: Browser) -> None:
    await refused(house, browser, token(house, b"", alg="none"), "alg")


async def test_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_alg(house: House, browser: Browser) -> None:
    """Signed with the secret that both sides know: whoever has it is not the provider."""
    await refused(house, browser, token(house, OPENID_SECRET.encode(), alg="HS256"), "alg")


async def test_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_aud(house: House, browser: Browser) -> None:
    await refused(house, browser, token(house, aud=f"{OPENID_CLIENT}1"), "logout_aud")


async def test_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_iss(house: House, browser: Browser) -> None:
    await refused(house, browser, token(house, iss=f"{house.openid.url}/1"), "logout_iss")


async def test_oidcc_client_test_rp_backchannel_rpinitlogout_no_event(house: House, browser: Browser) -> None:
    await refused(house, browser, token(house, events=None), "logout_events")


async def test_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_event(house: House, browser: Browser) -> None:
    await refused(house, browser, token(house, events={"http://schemas.openid.net/event/foo": {}}), "logout_events")


async def test_oidcc_client_test_rp_backchannel_rpinitlogout_with_nonce(house: House, browser: Browser) -> None:
    await refused(house, browser, token(house, nonce="n-1"), "logout_nonce")


async def test_only_providers_that_can_tell_have_such_an_address(house: House, browser: Browser) -> None:
    for provider in ("facebook", "nobody"):
        assert (await send(house, token(house), provider)).status_code == 404
    async with house.client() as client:
        assert (await client.get("/hooks/openid/logout")).status_code == 405
        assert (await client.post("/hooks/openid/logout")).status_code == 400
    assert await is_signed_in(browser)


# --- by a frame of the provider's own page (oidcc-client-front-channel-logout-rp-basic) ----------------------

SID = "session-over-there"
FRAMES = PROVIDERS_TOML + "frontchannel_logout = true\n"


@pytest.fixture
async def framed(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, providers=FRAMES) as opened:
        yield opened


@pytest.fixture
async def lucas(framed: House) -> Browser:
    """In a session that the provider names."""
    await framed.openid.order(fault={"name": "sid-named"})
    browser = framed.browser()
    arrived = await browser.sign_up(framed.site("forum"), provider="openid", persona="lucas", user_name="lucas")
    assert isinstance(arrived, Arrival)
    return browser


async def frame(house: House, query: str | None = None, *, provider: str = "openid", **params: str) -> httpx2.Response:
    """What the provider's page loads: in a frame of another site, so without any cookie of ours."""
    named = {"iss": house.openid.url, "sid": SID, **params}
    async with house.client(headers={"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "cross-site"}) as client:
        return await client.get(f"/hooks/{provider}/front-logout?{urlencode(named) if query is None else query}")


async def test_oidcc_client_test_rp_frontchannel_rpinitlogout(framed: House, lucas: Browser) -> None:
    """Signed out there, signed out here and at the sites; what they have for good stays. (catalogue 104)"""
    assert await is_signed_in(lucas)
    answer = await frame(framed)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert policy.endswith(f"; frame-ancestors {framed.openid.url}")
    assert "x-frame-options" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert not await is_signed_in(lucas)
    grants = await framed.world.durable.grants.of_account(await only_account(framed))
    assert all(grant.revoked_at is not None or grant.outlives_session for grant in grants)
    assert SID not in framed.log
    assert (await frame(framed)).content == answer.content, "the same for who is not signed in"


@pytest.mark.parametrize(
    ("query", "check"),
    [
        ("", "frame_iss"), (f"sid={SID}", "frame_iss"), (f"iss=https://evil.test&sid={SID}", "frame_iss"),
        (f"iss=%(iss)s/&sid={SID}", "frame_iss"), ("iss=%(iss)s", "frame_sid"), ("iss=%(iss)s&sid=", "frame_sid"),
        ("iss=%(iss)s&sid=" + "x" * 256, "frame_sid"), (f"iss=%(iss)s&sid={SID}&sid={SID}", ""),
    ],
)  # fmt: skip
async def test_a_frame_that_does_not_name_both_ends_nothing(
    framed: House, lucas: Browser, query: str, check: str
) -> None:
    answer = await frame(framed, query % {"iss": framed.openid.url} if "%" in query else query)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert f'"check":"{check}' in framed.log.replace(" ", "")
    assert await is_signed_in(lucas)


async def test_a_frame_that_names_another_session_ends_nothing(framed: House, lucas: Browser) -> None:
    assert (await frame(framed, sid=f"{SID}1")).status_code == 200
    assert await is_signed_in(lucas)


async def test_who_tries_many_names_is_held_up(framed: House, lucas: Browser) -> None:
    answers = [(await frame(framed, sid=f"guess-{number}")).status_code for number in range(61)]
    assert answers == [200] * 60 + [429]
    assert await is_signed_in(lucas)


async def test_frames_tell_nothing_unless_the_admin_lets_them(house: House, browser: Browser, framed: House) -> None:
    assert (await frame(house)).status_code == 404
    for provider in ("facebook", "nobody"):
        assert (await frame(framed, provider=provider)).status_code == 404
    async with framed.client() as client:
        assert (await client.post("/hooks/openid/front-logout")).status_code == 405
    assert await is_signed_in(browser)
