"""Facebook's Limited Login: which tokens are its word, and who they say somebody is (protocols.md §1.11)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.providers.rig import (
    NOW,
    VERIFIER,
    ScriptedHTTP,
    StandingClock,
    b64,
    ec_jwk,
    ec_key,
    json_answer,
    pem,
    rsa_jwk,
    rsa_key,
    sign,
)

import providers
from broker.domain.checks.token import challenge_of
from broker.domain.provider import Brought, TakesAppTokens
from broker.domain.values import ProviderId, Secret
from broker.errors import ConfigurationError, UpstreamInvalid, UpstreamUnavailable
from providers.facebook import Facebook
from providers.preset import Preset

APP = "218471"
SUBJECT = "10220123456789012"
KEYS = "/.well-known/oauth/openid/jwks/"
SECONDS = int(NOW.timestamp())


def preset(**changes: Any) -> Preset:
    usual: dict[str, Any] = {
        "id": ProviderId("facebook"),
        "kind": "facebook",
        "label": "Facebook",
        "client_id": APP,
        "client_secret": Secret("0123456789abcdef0123456789abcdef"),
        "fields": tuple(["name", "email", "picture", "birthdate", "gender", "profile"]),
        "limited_login": True,
    }
    return Preset(**(usual | changes))


def http(**changes: Any) -> ScriptedHTTP:
    keys = json_answer({"keys": [rsa_jwk(rsa_key()), ec_jwk(ec_key())]}, cache_control="max-age=600")
    return ScriptedHTTP({KEYS: keys, **changes})


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says; `None` leaves one out."""
    usual = {
        "iss": "https://www.facebook.com",
        "aud": APP,
        "sub": SUBJECT,
        "iat": SECONDS - 5,
        "exp": SECONDS + 3600,
        "jti": "jti-1",
        "nonce": challenge_of(VERIFIER),
        "name": "Ana Marković",
        "given_name": "Ana",
        "email": "ana@mail.test",
        "picture": "https://platform-lookaside.fbsbx.com/platform/profilepic/?asid=1",
        "user_birthday": "04/09/1990",
        "user_gender": "female",
        "user_link": "https://www.facebook.com/app_scoped_user_id/x/",
        "user_friends": ["1", "2"],
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


async def read(token: str, *, verifier: str = VERIFIER, answers: ScriptedHTTP | None = None, **changes: Any) -> Brought:
    provider = Facebook(preset(**changes), answers or http(), StandingClock())
    return await provider.read_app_token(token, verifier)


async def refused(token: str, check: str, **more: Any) -> None:
    with pytest.raises(UpstreamInvalid) as caught:
        await read(token, **more)
    assert caught.value.check == check
    assert "Ana" not in f"{caught.value}{caught.value.public}"


async def test_it_is_the_person_of_the_website() -> None:
    """One key for both ways: `sub` is the number that Graph has as `id`, within the same app."""
    brought = await read(sign(claims()))
    website = Facebook(preset(limited_login=False), http(), StandingClock())
    assert brought.identity.key.issuer == website._issuer == "https://www.facebook.com/app/218471"
    assert brought.identity.key.subject == SUBJECT
    assert brought.at.timestamp() == SECONDS - 5


async def test_only_what_was_promised_is_read() -> None:
    """Facebook vouches for no address and says nothing of when somebody proved anything; friends stay where they are."""
    identity = (await read(sign(claims()))).identity
    assert dict(identity.claims) == {
        "name": "Ana Marković",
        "email": "ana@mail.test",
        "picture": "https://platform-lookaside.fbsbx.com/platform/profilepic/?asid=1",
        "birthdate": "1990-04-09",
        "gender": "female",
        "profile": "https://www.facebook.com/app_scoped_user_id/x/",
    }
    assert identity.verified == frozenset()
    assert identity.authenticated_at is None
    few = (await read(sign(claims()), fields=("name",))).identity
    assert set(few.claims) == {"name"}
    assert few.granted == {"public_profile"}


async def test_what_does_not_come_was_not_declined_as_far_as_anybody_knows() -> None:
    identity = (await read(sign(claims(email=None, user_birthday=None)))).identity
    assert "email" not in identity.claims
    assert identity.declined == frozenset()
    assert "email" not in identity.granted


@pytest.mark.parametrize("issuer", ["https://www.facebook.com", "https://facebook.com", "https://limited.facebook.com"])
async def test_each_of_its_names_is_taken(issuer: str) -> None:
    assert (await read(sign(claims(iss=issuer)))).identity.key.subject == SUBJECT


@pytest.mark.parametrize(
    "issuer",
    [
        "https://www.facebook.com/",
        "https://www.facebook.com.evil.test",
        "https://evil.facebook.com",
        "",
        7,
        ["https://www.facebook.com"],
        None,
    ],
)
async def test_any_other_name_is_not(issuer: Any) -> None:
    """catalogue 42"""
    await refused(sign(claims(iss=issuer)), "iss")


@pytest.mark.parametrize("audience", ["999", [APP, "999"], "", None, 218471])
async def test_a_token_for_another_app_is_refused(audience: Any) -> None:
    """catalogue 43, 49"""
    await refused(sign(claims(aud=audience)), "aud")


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"exp": SECONDS - 61}, "exp"),
        ({"exp": None}, "exp"),
        ({"iat": SECONDS - 661}, "iat"),
        ({"iat": SECONDS + 61}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": SECONDS + 61}, "nbf"),
        ({"exp": 1e308}, "exp"),
    ],
)
async def test_old_and_future_tokens_are_refused(changes: dict[str, Any], check: str) -> None:
    """catalogue 44: the SDK keeps them for an hour, we take them for ten minutes."""
    await refused(sign(claims(**changes)), check)


@pytest.mark.parametrize("subject", ["", " ", 7, "x" * 256, "a\x00b", None])
async def test_a_subject_is_text(subject: Any) -> None:
    """catalogue 45"""
    await refused(sign(claims(sub=subject)), "sub")


@pytest.mark.parametrize("nonce", ["", "other", VERIFIER, None, 7])
async def test_the_nonce_is_the_hash_of_what_the_app_alone_knows(nonce: Any) -> None:
    """catalogue 38: who has seen the token has not seen that; the plain text as nonce would give it away."""
    await refused(sign(claims(nonce=nonce)), "nonce")


@pytest.mark.parametrize("verifier", ["", "v" * 42, "v" * 129, "v" * 42 + "é", "v" * 42 + " "])
async def test_what_the_app_knows_is_long_enough_to_be_guessed_by_nobody(verifier: str) -> None:
    await refused(sign(claims()), "nonce_verifier", verifier=verifier)


async def test_only_rs256_by_a_key_of_limited_login_counts() -> None:
    """catalogue 46, 70, 71"""
    good = claims()
    await refused(sign(good, b"", alg="none"), "alg")
    await refused(sign(good, b"", alg="None"), "alg")
    await refused(sign(good, pem(rsa_key()), alg="HS256"), "alg")
    await refused(sign(good, b"0123456789abcdef0123456789abcdef", alg="HS256"), "alg")
    await refused(sign(good, ec_key(), alg="ES256", header={"kid": "ec-1"}), "alg")
    await refused(sign(good, rsa_key(), alg="PS256"), "alg")
    await refused(sign(good, rsa_key(name="other")), "signature")
    await refused(sign(good, rsa_key(name="other"), header={"kid": "other"}), "kid")
    await refused(
        sign(good, rsa_key(name="other"), header={"kid": "other", "jwk": rsa_jwk(rsa_key(name="other"))}), "kid"
    )
    await refused(sign(good, header={"crit": ["exp"]}), "crit")


async def test_an_encrypted_one_is_called_so() -> None:
    """catalogue 73"""
    await refused(".".join([b64(b'{"alg":"RSA-OAEP","enc":"A128GCM"}'), "a", "b", "c", "d"]), "encrypted")


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "EAAmadeup", "..", "é.b.c"])
async def test_what_is_no_token_is_refused(token: str) -> None:
    """An access token, too, of which Limited Login has none that is worth anything."""
    with pytest.raises(UpstreamInvalid):
        await read(token)


async def test_the_same_token_spelled_otherwise_is_the_same() -> None:
    """catalogue 53: known by what was signed."""
    first, second = await read(sign(claims())), await read(sign(claims(), header={"typ": "jwt"}))
    assert first.once == second.once
    others = [await read(sign(claims(**change))) for change in ({"jti": "jti-2"}, {"iat": SECONDS - 6}, {"sub": "1"})]
    assert len({first.once.key, *(other.once.key for other in others)}) == 4
    assert (first.once.until - NOW).total_seconds() > 600
    assert SUBJECT not in first.once.key


async def test_the_keys_are_those_of_the_limited_host_and_asked_for_once() -> None:
    answers = http()
    provider = Facebook(preset(), answers, StandingClock())
    for number in range(3):
        await provider.read_app_token(sign(claims(jti=str(number))), VERIFIER)
    assert answers.only(KEYS).url == "https://limited.facebook.com/.well-known/oauth/openid/jwks/"
    for number in range(20):
        with pytest.raises(UpstreamInvalid):
            await provider.read_app_token(sign(claims(), header={"kid": f"made-up-{number}"}), VERIFIER)
    assert answers.count(KEYS) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer({}, 500), UpstreamUnavailable),
        (json_answer({"keys": []}), UpstreamInvalid),
        (UpstreamUnavailable("read"), UpstreamUnavailable),
    ],
)
async def test_without_keys_nobody_comes_in(answer: Any, kind: type[Exception]) -> None:
    answers = http(**{KEYS: answer})
    with pytest.raises(kind):
        await read(sign(claims()), answers=answers)
    with pytest.raises(kind):
        await Facebook(preset(), answers, StandingClock()).check_app_tokens()


async def test_it_is_off_unless_somebody_switched_it_on() -> None:
    assert not Preset.from_table("facebook", {"kind": "facebook", "client_id": APP, "client_secret": "x"}).limited_login
    for is_on in (True, False):
        loaded = providers.load([preset(limited_login=is_on)], http(), StandingClock())
        provider = loaded.providers[ProviderId("facebook")]
        assert isinstance(provider, TakesAppTokens)
        assert provider.takes_app_tokens is is_on


def test_switched_on_where_there_is_no_such_thing_it_is_named() -> None:
    other = Preset(
        id=ProviderId("club"), kind="openid_connect", label="Club", issuer="https://club.example", client_id="a",
        client_secret=Secret("b"), limited_login=True,
    )  # fmt: skip
    with pytest.raises(ConfigurationError) as caught:
        providers.load([other], http(), StandingClock())
    (found,) = caught.value.problems
    assert found.key == "club.limited_login"
    assert "kind openid_connect has no tokens that apps could bring" in found.what
    assert "Only kind facebook" in found.fix


async def test_a_sandbox_has_names_and_keys_of_its_own() -> None:
    """And no token of the real one is anybody there."""
    ends = {"authorization": "http://127.0.0.1:8010/v26.0/dialog/oauth", "jwks": f"http://127.0.0.1:8010/limited{KEYS}"}
    answers = ScriptedHTTP({f"/limited{KEYS}": json_answer({"keys": [rsa_jwk(rsa_key())]})})
    brought = await read(sign(claims(iss="http://127.0.0.1:8010")), answers=answers, endpoints=ends)
    assert brought.identity.key.issuer == "http://127.0.0.1:8010/app/218471"
    await refused(sign(claims()), "iss", answers=answers, endpoints=ends)
