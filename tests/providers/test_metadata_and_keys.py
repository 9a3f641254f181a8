"""Metadata and keys: how often they are fetched, what survives an outage, which keys are used (catalogue 41, 70, 75, 175)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from broker.errors import UpstreamError, UpstreamInvalid, UpstreamUnavailable
from providers._keys import IssuerKeys
from providers.openid_connect import OpenIDConnect
from tests.providers.rig import (
    CALLBACK,
    DISCOVERY,
    ISSUER,
    Answer,
    ScriptedHTTP,
    StandingClock,
    attempt,
    ec_jwk,
    ec_key,
    id_claims,
    json_answer,
    preset,
    rsa_jwk,
    rsa_key,
    sign,
    token_answer,
    upstream,
)

OLD, NEW = rsa_key(), rsa_key(2048, "new")


def keys_of(http: ScriptedHTTP, clock: StandingClock) -> IssuerKeys:
    async def address() -> str:
        return f"{ISSUER}/jwks"

    return IssuerKeys(http, address, clock)


def a_set(*keys: Any, **headers: Any) -> Answer:
    return json_answer({"keys": list(keys)}, **headers)


async def test_keys_are_fetched_once_and_kept_as_long_as_allowed() -> None:
    clock, http = StandingClock(), ScriptedHTTP({"/jwks": a_set(rsa_jwk(OLD), cache_control="public, max-age=900")})
    keys = keys_of(http, clock)
    await asyncio.gather(*(keys.candidates("rsa-1", "RS256") for _ in range(20)))
    clock.move(seconds=899)
    await keys.candidates("rsa-1", "RS256")
    assert http.count("/jwks") == 1
    clock.move(seconds=2)
    await asyncio.gather(*(keys.candidates("rsa-1", "RS256") for _ in range(20)))
    assert http.count("/jwks") == 2


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("no-store", 60),
        ("max-age=0", 60),
        ("max-age=5", 60),
        ("", 3600),
        ("max-age=999999999", 86400),
        ("max-age=x", 3600),
    ],
)
async def test_how_long_keys_are_kept_has_a_floor_and_a_ceiling(header: str, kept: int) -> None:
    clock, http = StandingClock(), ScriptedHTTP({"/jwks": a_set(rsa_jwk(OLD), cache_control=header)})
    keys = keys_of(http, clock)
    await keys.load()
    clock.move(seconds=kept - 1)
    await keys.load()
    assert http.count("/jwks") == 1
    clock.move(seconds=2)
    await keys.load()
    assert http.count("/jwks") == 2


async def test_a_rotation_just_before_signing_is_found_by_one_more_look() -> None:
    """catalogue 75; certification suite: signing-key rotation just before signing."""
    clock, http = StandingClock(), ScriptedHTTP({"/jwks": a_set(rsa_jwk(OLD))})
    keys = keys_of(http, clock)
    await keys.candidates("rsa-1", "RS256")
    http.script["/jwks"] = a_set(rsa_jwk(NEW, "rsa-2"))
    (found,) = await keys.candidates("rsa-2", "RS256")
    assert found.kid == "rsa-2"
    with pytest.raises(UpstreamInvalid):
        await keys.candidates("rsa-1", "RS256")
    assert http.count("/jwks") == 2


async def test_made_up_key_ids_cost_one_request_a_minute() -> None:
    """catalogue 70, 175, 187: a flood of unknown kids is no flood at the issuer."""
    clock, http = StandingClock(), ScriptedHTTP({"/jwks": a_set(rsa_jwk(OLD))})
    keys = keys_of(http, clock)
    await keys.load()

    async def flood() -> None:
        outcomes = await asyncio.gather(
            *(keys.candidates(f"made-up-{number}", "RS256") for number in range(100)), return_exceptions=True
        )
        assert all(isinstance(outcome, UpstreamInvalid) for outcome in outcomes)

    await flood()
    assert http.count("/jwks") == 2
    clock.move(seconds=59)
    await flood()
    assert http.count("/jwks") == 2
    clock.move(seconds=2)
    await flood()
    assert http.count("/jwks") == 3


async def test_a_flapping_key_address_loses_nobody() -> None:
    """catalogue 175: 200 and 500 in turns, a day long: the last good set serves, one try in five seconds at most."""
    clock = StandingClock()
    answers = [json_answer({}, 500), a_set(rsa_jwk(OLD), cache_control="max-age=60")]

    def flap(_: object) -> Answer:
        answers.reverse()
        return answers[0]

    http = ScriptedHTTP({"/jwks": flap})
    keys = keys_of(http, clock)
    for _ in range(24 * 60):
        await asyncio.gather(*(keys.candidates("rsa-1", "RS256") for _ in range(3)))
        clock.move(minutes=1)
    assert http.count("/jwks") <= 24 * 60 + 1


@pytest.mark.parametrize(
    "bad",
    [
        UpstreamUnavailable("timeout op.example"),
        json_answer({}, 500),
        json_answer({}, 404),
        json_answer({"keys": []}),
        json_answer({"keys": [{"kty": "oct", "k": "AAAA", "kid": "rsa-1"}]}),
        json_answer({"keys": "none"}),
        json_answer([]),
        Answer(body=b"<html>down for maintenance</html>", headers={"content-type": "text/html"}),
        Answer(body=b'{"keys":[', headers={"content-type": "application/json"}),
    ],
)
async def test_the_last_good_set_serves_while_the_issuer_is_unwell(bad: Answer | Exception) -> None:
    """catalogue 75, 172, 175: for a week, then no longer."""
    clock, http = StandingClock(), ScriptedHTTP({"/jwks": a_set(rsa_jwk(OLD))})
    keys = keys_of(http, clock)
    await keys.load()
    http.script["/jwks"] = bad
    clock.move(days=6)
    assert await keys.candidates("rsa-1", "RS256")
    assert http.count("/jwks") == 2
    for _ in range(10):  # and nobody waits for the broken issuer each time
        assert await keys.candidates("rsa-1", "RS256")
    assert http.count("/jwks") == 2
    clock.move(days=2)
    with pytest.raises(UpstreamError):
        await keys.candidates("rsa-1", "RS256")


async def test_a_first_fetch_that_fails_is_tried_again_soon_but_not_at_once() -> None:
    """catalogue 172."""
    clock, http = StandingClock(), ScriptedHTTP({})
    keys = keys_of(http, clock)
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable, match="connect"):
            await keys.load()
    assert http.count("/jwks") == 1
    http.script["/jwks"] = a_set(rsa_jwk(OLD))
    clock.move(seconds=6)
    await keys.load()


async def test_a_clock_that_jumps_back_makes_nothing_last_longer() -> None:
    """catalogue 165."""
    clock, http = StandingClock(), ScriptedHTTP({"/jwks": a_set(rsa_jwk(OLD))})
    keys = keys_of(http, clock)
    await keys.load()
    clock.move(hours=-2)
    await keys.load()
    assert http.count("/jwks") == 2


JUNK: dict[str, Any] = {
    "symmetric": {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "junk", "alg": "HS256"},
    "private": {**rsa_jwk(NEW, "junk"), "d": "AAAA"},
    "weak": rsa_jwk(rsa_key(1024, "weak"), "junk"),
    "for encryption": rsa_jwk(NEW, "junk", use="enc"),
    "for wrapping": {**rsa_jwk(NEW, "junk"), "key_ops": ["wrapKey"]},
    "another algorithm": rsa_jwk(NEW, "junk", alg="RSA-OAEP"),
    "symmetric algorithm": rsa_jwk(NEW, "junk", alg="HS256"),
    "wrong curve": ec_jwk(ec_key("odd"), "junk", crv="P-521"),
    "unknown curve": ec_jwk(ec_key("odd"), "junk", crv="secp256k1"),
    "not on the curve": {**ec_jwk(ec_key("odd"), "junk"), "x": "AAAA"},
    "no modulus": {"kty": "RSA", "e": "AQAB", "kid": "junk"},
    "bad base64": {"kty": "RSA", "n": "!!!", "e": "AQAB", "kid": "junk"},
    "exponent one": {**rsa_jwk(NEW, "junk"), "e": "AQ"},
    "a long exponent": {**rsa_jwk(NEW, "junk"), "e": rsa_jwk(NEW)["n"]},
    "no exponent": {"kty": "RSA", "n": rsa_jwk(NEW)["n"], "kid": "junk"},
    "unknown kind": {"kty": "XYZ", "kid": "junk"},
    "a number": 5,
    "nothing": None,
    "odd kid": {**rsa_jwk(NEW, "junk"), "kid": 5},
    "odd kind": {**rsa_jwk(NEW, "junk"), "kty": ["RSA"]},
    "odd operations": {**rsa_jwk(NEW, "junk"), "key_ops": "verify"},
    "odd algorithm": {**rsa_jwk(NEW, "junk"), "alg": ["RS256"]},
}


@pytest.mark.parametrize("kind", list(JUNK))
async def test_a_key_that_is_not_usable_is_skipped(kind: str) -> None:
    """catalogue 75: and its neighbour still works."""
    http = ScriptedHTTP({"/jwks": a_set(JUNK[kind], rsa_jwk(OLD))})
    keys = keys_of(http, StandingClock())
    assert len(await keys.candidates("rsa-1", "RS256")) == 1
    for algorithm in ("RS256", "ES256", "HS256", "none"):
        with pytest.raises(UpstreamInvalid):
            await keys.candidates("junk", algorithm)


async def test_a_name_for_two_keys_names_neither() -> None:
    """catalogue 75: duplicate kid."""
    http = ScriptedHTTP({"/jwks": a_set(rsa_jwk(OLD, "same"), rsa_jwk(NEW, "same"), ec_jwk(ec_key(), "same"))})
    keys = keys_of(http, StandingClock())
    with pytest.raises(UpstreamInvalid):
        await keys.candidates("same", "RS256")
    assert len(await keys.candidates("same", "ES256")) == 1


async def test_ten_thousand_keys_cost_no_more_than_a_few() -> None:
    """catalogue 75."""
    http = ScriptedHTTP({"/jwks": a_set(rsa_jwk(OLD), *(ec_jwk(ec_key(), f"k{n}") for n in range(10_000)))})
    keys = keys_of(http, StandingClock())
    await keys.load()
    began = time.perf_counter()
    assert await keys.candidates("rsa-1", "RS256")
    assert time.perf_counter() - began < 0.05
    with pytest.raises(UpstreamInvalid):
        await keys.candidates("k9999", "ES256")


async def test_keys_are_parsed_once_for_many_sign_ins() -> None:
    http = upstream()
    provider = OpenIDConnect(preset(), http, StandingClock())
    for _ in range(3):
        await provider.identify(attempt(), CALLBACK)
    assert [asked.path for asked in http.asked] == [
        "/.well-known/openid-configuration", "/token", "/jwks", "/token", "/token",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER + "/",
        ISSUER.upper(),
        "https://op.example.evil.test",
        "https://evil.test",
        "http://op.example",
        None,
        5,
        [ISSUER],
    ],
)
async def test_metadata_of_another_issuer_makes_the_provider_unusable(issuer: object) -> None:
    """catalogue 41: to the last slash and letter."""
    http = upstream(discovery=json_answer({**DISCOVERY, "issuer": issuer}))
    provider = OpenIDConnect(preset(), http, StandingClock())
    for use in (provider.check(), provider.authorization_url(attempt()), provider.identify(attempt(), CALLBACK)):
        with pytest.raises(UpstreamInvalid, match="discovery_issuer"):
            await use
    assert http.count("/token") == 0


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"token_endpoint": None}, "discovery_token"),
        ({"authorization_endpoint": 5}, "discovery_authorization"),
        ({"jwks_uri": "jwks"}, "discovery_jwks"),
        ({"token_endpoint": "http://op.example/token"}, "discovery_token"),
        ({"authorization_endpoint": "http://op.example/authorize"}, "discovery_authorization"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "discovery_authorization"),
        ({"authorization_endpoint": "https://user@op.example/a"}, "discovery_authorization"),
        ({"userinfo_endpoint": "file:///etc/passwd"}, "discovery_userinfo"),
        ({"response_types_supported": ["id_token"]}, "discovery_response_types"),
        ({"code_challenge_methods_supported": ["plain"]}, "discovery_pkce"),
    ],
)
async def test_metadata_that_weakens_the_sign_in_is_refused(changes: dict[str, Any], check: str) -> None:
    """catalogue 36, 41."""
    provider = OpenIDConnect(preset(), upstream(discovery=json_answer({**DISCOVERY, **changes})), StandingClock())
    with pytest.raises(UpstreamInvalid) as caught:
        await provider.check()
    assert caught.value.check == check


async def test_addresses_of_the_preset_replace_those_of_the_metadata() -> None:
    http = upstream()
    http.script["/t2"] = http.script["/token"]
    addresses = {"token": "https://op.example/t2", "authorization": "https://front.example/a"}
    provider = OpenIDConnect(preset(endpoints=addresses), http, StandingClock())
    assert (await provider.authorization_url(attempt())).startswith("https://front.example/a?")
    await provider.identify(attempt(), CALLBACK)
    assert (http.count("/t2"), http.count("/token")) == (1, 0)


async def test_sign_in_goes_on_while_discovery_is_down() -> None:
    """catalogue 172, 175: metadata a day old serves; a broken issuer costs one try, not one per person."""
    clock, http = StandingClock(), upstream()
    provider = OpenIDConnect(preset(), http, clock)
    await provider.check()
    http.script["/.well-known/openid-configuration"] = UpstreamUnavailable("timeout op.example")
    http.script["/jwks"] = UpstreamUnavailable("timeout op.example")
    clock.move(hours=30)
    now = int(clock.now().timestamp())
    http.script["/token"] = token_answer(sign(id_claims(iat=now, exp=now + 60)))
    for _ in range(3):
        await provider.identify(attempt(), CALLBACK)
    assert http.count("/.well-known/openid-configuration") == 2
    assert http.count("/jwks") == 2
