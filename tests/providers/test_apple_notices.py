"""Apple's notices: who revoked their consent, or has no Apple account any more."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.providers.beside import open_house_beside
from tests.providers.apple_server import CLIENT, KEY, SUBJECT, TEAM, AppleServer
from tests.providers.contract import Recording
from tests.providers.rig import NOW, ec_key, p8, pem, rsa_key, sign
from tests.providers.test_apple import APPLE, come_by_form
from tests.support.house import Arrival, House, Sandboxes
from tests.support.sandbox import served

from broker.domain.removal import SendsNotices
from broker.domain.values import IdentityKey
from broker.errors import UpstreamInvalid, UpstreamUnavailable
from providers.apple import Apple

ISSUER = "https://appleid.apple.com"
SECONDS = int(NOW.timestamp())


def event(kind: str = "consent-revoked", **changes: Any) -> dict[str, Any]:
    usual = {"type": kind, "sub": SUBJECT, "event_time": (SECONDS - 2) * 1000 + 125}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def notice(told: Any = None, key: Any = None, *, alg: str = "RS256", **changes: Any) -> str:
    """A notice as it travels; a change to `None` leaves a claim out."""
    told = event() if told is None else told
    claims = {
        "iss": ISSUER, "aud": CLIENT, "iat": SECONDS - 1, "exp": SECONDS + 86_400, "jti": "made-up",
        "events": json.dumps(told) if isinstance(told, dict) else told, **changes,
    }  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return json.dumps({"payload": sign(claims, key, alg=alg)})


@pytest.fixture
def apple() -> Apple:
    recording = Recording.read("apple")
    made = recording.provider(recording.http())
    assert isinstance(made, Apple)
    assert isinstance(made, SendsNotices)
    return made


@pytest.mark.parametrize("kind", ["consent-revoked", "account-deleted", "account-delete"])
@pytest.mark.parametrize("is_text", [True, False])
async def test_whoever_left_is_named_as_they_sign_in(apple: Apple, kind: str, is_text: bool) -> None:
    """The event is JSON written into a text; an object is understood as well."""
    told = event(kind)
    said = await apple.read_notice(notice(events=json.dumps(told) if is_text else told))
    assert said is not None
    assert (
        said.key
        == IdentityKey(issuer=ISSUER, subject=SUBJECT)
        == (await Recording.read("apple").sign_in()).identity.key
    )
    assert said.at == datetime.fromtimestamp(SECONDS - 2, UTC)


@pytest.mark.parametrize("kind", ["email-disabled", "email-enabled", "something-new", None, 7, ["consent-revoked"]])
async def test_a_notice_about_anything_else_ends_nothing(apple: Apple, kind: Any) -> None:
    assert (
        await apple.read_notice(notice(event(kind, email="q8@privaterelay.appleid.com", is_private_email="true")))
        is None
    )


async def test_a_notice_may_be_for_the_app_that_is_named(apple: Apple) -> None:
    """The address is entered at an App ID, so that is whom Apple writes to."""
    with pytest.raises(UpstreamInvalid, match="notice_aud"):
        await apple.read_notice(notice(aud="org.example.app"))
    recording = Recording.read("apple").with_preset(trusted_audiences=("org.example.app",))
    trusting = recording.provider(recording.http())
    assert isinstance(trusting, Apple)
    assert await trusting.read_notice(notice(aud="org.example.app")) is not None
    with pytest.raises(UpstreamInvalid, match="notice_aud"):
        await trusting.read_notice(notice(aud="org.example.other"))


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("", "notice"), ("[]", "notice"), ("{}", "notice"), ('{"payload":7}', "notice"), ('{"payload":"a.b"}', "notice_form"),
        (notice(key=rsa_key(2048, "stranger")), "signature"),
        (notice(key=b"", alg="none"), "alg"),
        (notice(key=pem(rsa_key()), alg="HS256"), "alg"),
        (notice(iss="https://account.apple.com"), "notice_iss"),
        (notice(iss=None), "notice_iss"),
        (notice(aud=None), "notice_aud"),
        (notice(aud=TEAM), "notice_aud"),
        (notice(aud=[CLIENT, "another"]), "notice_aud"),
        (notice(iat=None), "iat"),
        (notice(iat=SECONDS - 86_401), "notice_iat"),
        (notice(iat=SECONDS + 61), "notice_iat"),
        (notice("no json"), "notice_event"),
        (notice("[]"), "notice_event"),
        (notice(event(sub=None)), "notice_sub"),
        (notice(event(sub=17)), "notice_sub"),
        (notice(event(event_time=None)), "event_time"),
        (notice(event(event_time="1")), "event_time"),
        (notice(event(event_time=True)), "event_time"),
        (notice(event(event_time=-1)), "event_time"),
        (notice(event(event_time=(SECONDS + 120) * 1000)), "event_time"),
        (notice(event(event_time=10**400)), "event_time"),
    ],
)  # fmt: skip
async def test_what_apple_did_not_just_say_is_refused(apple: Apple, text: str, check: str) -> None:
    """catalogue 42, 43, 46, 70, 173: nobody is signed out by a stranger."""
    with pytest.raises(UpstreamInvalid) as caught:
        await apple.read_notice(text)
    assert caught.value.check == check


async def test_without_apples_keys_nothing_is_believed(apple: Apple) -> None:
    """catalogue 172: Apple says it again later."""
    recording = Recording.read("apple")
    http = recording.http()
    http.script["/auth/keys"] = UpstreamUnavailable("timeout appleid.apple.com")
    away = recording.provider(http)
    assert isinstance(away, Apple)
    with pytest.raises(UpstreamUnavailable):
        await away.read_notice(notice())


# --- over real sockets --------------------------------------------------------------------------------


def sent_now(kind: str = "consent-revoked", key: Any = None) -> str:
    now = int(time.time())
    told = {"type": kind, "sub": SUBJECT, "event_time": now * 1000}
    return notice(told, key, iat=now, exp=now + 86_400)


async def send(house: House, text: str, provider: str = "apple") -> httpx2.Response:
    async with house.client() as client:
        return await client.post(
            f"/hooks/{provider}/notice", content=text, headers={"Content-Type": "application/json"}
        )


async def test_whoever_revokes_their_consent_is_signed_out_here(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Their account stays, and the way in, too: it is the only one (catalogue 124)."""
    server = AppleServer(back="https://login.test/callback/apple")
    async with served(server.app()) as url:
        values = {"client": CLIENT, "team": TEAM, "key": KEY, "url": url}
        async with open_house_beside(url, APPLE % values, tmp_path, sandboxes, APPLE_KEY=p8(ec_key("p8"))) as house:
            browser = house.browser()
            await browser.open("/sign-in")
            await come_by_form(house, browser, await browser.press("provider=apple"))
            await browser.press("decision=continue")
            await browser.press("decision=create", fill={"preferred_username": "ana"})
            assert (await browser.open("/me")).path == "/me"

            assert (await send(house, sent_now(key=rsa_key(2048, "stranger")))).status_code == 400
            assert (await send(house, "x" * 20_000)).status_code == 413
            assert (await send(house, sent_now(), provider="facebook")).status_code == 404
            assert (await send(house, sent_now(), provider="nobody")).status_code == 404
            assert (await send(house, sent_now("email-disabled"))).status_code == 200
            assert (await browser.open("/me")).path == "/me"

            await house.move(minutes=2)
            answer = await send(house, sent_now_ahead(house))
            assert (answer.status_code, answer.json()) == (200, {})
            assert "set-cookie" not in answer.headers
            assert (await browser.open("/me")).path.endswith("/sign-in")
            assert await house.accounts() == 1
            assert '"provider_removal"' in house.log
            assert SUBJECT not in house.log

            await browser.open("/sign-in")
            back = await come_by_form(house, browser, await browser.press("provider=apple"))
            assert not isinstance(back, Arrival)
            assert await house.accounts() == 1


def sent_now_ahead(house: House) -> str:
    """A notice made when the house's clock says."""
    now = int(house.clock.now().timestamp())
    told = {"type": "account-deleted", "sub": SUBJECT, "event_time": now * 1000}
    return notice(told, iat=now, exp=now + 86_400)
