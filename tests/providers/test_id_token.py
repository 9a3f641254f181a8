"""The ID token's rules, one by one (OpenID Connect Core §3.1.3.7; catalogue 38, 42-48, 69-76)."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.errors import UpstreamInvalid
from providers._id_token import Expected, VerifiedClaims, verify_id_token
from broker.verification import VerificationKey
from providers._keys import IssuerKeys
from tests.providers.rig import (
    ACCESS_TOKEN,
    CLIENT_ID,
    ISSUER,
    NONCE,
    NOW,
    SUBJECT,
    Json,
    ScriptedHTTP,
    StandingClock,
    at_hash,
    b64,
    ec_jwk,
    ec_key,
    ed_jwk,
    ed_key,
    id_claims,
    json_answer,
    pem,
    rsa_jwk,
    rsa_key,
    sign,
)

KEYS = [rsa_jwk(rsa_key()), ec_jwk(ec_key()), ec_jwk(ec_key("big", "P-384"), "ec-384"), ed_jwk(ed_key())]


class CountingKeys:
    """The issuer's keys; counts how often the network was asked."""

    def __init__(self, keys: list[Json] | None = None) -> None:
        self.http = ScriptedHTTP({"/jwks": json_answer({"keys": KEYS if keys is None else keys})})
        self._keys = IssuerKeys(self.http, self._address, StandingClock())

    async def _address(self) -> str:
        return f"{ISSUER}/jwks"

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return await self._keys.candidates(kid, algorithm)


def expected(**changes: Any) -> Expected:
    usual = Expected(
        issuer=ISSUER, client_id=CLIENT_ID, nonce=NONCE, algorithms=("RS256", "ES256"), access_token=ACCESS_TOKEN
    )
    return dataclasses.replace(usual, **changes)


async def verify(
    token: str, *, now: datetime = NOW, keys: CountingKeys | None = None, **changes: Any
) -> VerifiedClaims:
    return await verify_id_token(token, expected(**changes), keys or CountingKeys(), now)


async def refused(token: str, check: str, **changes: Any) -> None:
    with pytest.raises(UpstreamInvalid) as caught:
        await verify(token, **changes)
    assert caught.value.check == check


async def test_a_good_token_is_accepted_with_everything_it_says() -> None:
    claims = await verify(sign(id_claims()))
    assert (claims.issuer, claims.subject, claims.acr, claims.amr) == (
        ISSUER, SUBJECT, "urn:example:strong", ("pwd", "otp"),
    )  # fmt: skip
    assert claims.auth_time == NOW - timedelta(seconds=100)
    assert claims.claims["name"] == "Ana Marković"


@pytest.mark.parametrize(
    ("alg", "key", "kid"),
    [
        ("ES256", ec_key(), "ec-1"),
        ("ES384", ec_key("big", "P-384"), "ec-384"),
        ("Ed25519", ed_key(), "ed-1"),
    ],
)
async def test_other_pinned_algorithms_work(alg: str, key: Any, kid: str) -> None:
    token = sign(id_claims(at_hash=None), key, alg=alg, header={"kid": kid})
    assert (await verify(token, algorithms=(alg,))).subject == SUBJECT
    await refused(token, "alg", algorithms=("RS256",))


async def test_pss_works_where_pinned() -> None:
    keys = CountingKeys([rsa_jwk(rsa_key(), alg="PS256")])
    assert (await verify(sign(id_claims(), alg="PS256"), algorithms=("PS256",), keys=keys)).subject == SUBJECT


async def test_verified_claims_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        VerifiedClaims(issuer=ISSUER, subject="x", claims={}, auth_time=None, amr=(), acr=None)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(await verify(sign(id_claims())), subject="somebody else")


@pytest.mark.parametrize("nonce", [None, "", "another", NONCE + " ", NONCE.upper(), 5, ["nonce"], "\ud800"])
async def test_the_nonce_is_this_attempts(nonce: object) -> None:
    """catalogue 38: missing, wrong or reused from another attempt."""
    await refused(sign(id_claims(nonce=nonce)), "nonce")


async def test_an_attempt_without_nonce_matches_nothing() -> None:
    """catalogue 36, 38."""
    await refused(sign(id_claims(nonce="")), "nonce", nonce="")


@pytest.mark.parametrize(
    "issuer",
    [
        None,
        "",
        ISSUER + "/",
        ISSUER + ".evil.test",
        ISSUER.upper(),
        "https://op.exampl",
        "http://op.example",
        [ISSUER],
        1,
        {},
    ],
)
async def test_the_issuer_is_equal_to_the_last_character(issuer: object) -> None:
    """catalogue 41, 42."""
    await refused(sign(id_claims(iss=issuer)), "iss")


@pytest.mark.parametrize(
    "audience",
    [
        None,
        "",
        "other",
        [],
        ["other"],
        [CLIENT_ID, "other"],
        CLIENT_ID + " ",
        7,
        [7],
        [CLIENT_ID, None],
        {CLIENT_ID: 1},
    ],
)
async def test_the_audience_is_us_and_nobody_else(audience: object) -> None:
    """catalogue 43."""
    await refused(sign(id_claims(aud=audience)), "aud")
    await refused(sign(id_claims(aud=audience, azp=CLIENT_ID)), "aud")


async def test_other_audiences_need_trust_and_azp() -> None:
    """catalogue 43."""
    both = [CLIENT_ID, "friend"]
    await refused(sign(id_claims(aud=both, azp=CLIENT_ID)), "aud")
    await refused(sign(id_claims(aud=both)), "azp", trusted_audiences=("friend",))
    await refused(sign(id_claims(aud=both, azp="friend")), "azp", trusted_audiences=("friend",))
    await refused(sign(id_claims(azp="friend")), "azp")
    await refused(sign(id_claims(azp=["x"])), "azp")
    assert (await verify(sign(id_claims(aud=both, azp=CLIENT_ID)), trusted_audiences=("friend",))).subject == SUBJECT
    assert (await verify(sign(id_claims(aud=[CLIENT_ID])))).subject == SUBJECT


AT = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"exp": None}, "exp"),
        ({"exp": AT - 61}, "exp"),
        ({"exp": str(AT + 300)}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": 1e308}, "exp"),
        ({"exp": 10**400}, "exp"),
        ({"exp": -1}, "exp"),
        ({"exp": [AT]}, "exp"),
        ({"iat": None}, "iat"),
        ({"iat": AT + 61}, "iat"),
        ({"iat": AT - 661}, "iat"),
        ({"iat": "now"}, "iat"),
        ({"iat": 1e308}, "iat"),
        ({"nbf": AT + 61}, "nbf"),
        ({"nbf": "x"}, "nbf"),
        ({"nbf": 10**30}, "nbf"),
        ({"auth_time": "x"}, "auth_time"),
        ({"auth_time": AT + 61}, "auth_time"),
    ],
)
async def test_times_are_there_sane_and_within_a_minute(changes: Json, check: str) -> None:
    """catalogue 44, 165: documented skew of 60 seconds and no more."""
    await refused(sign(id_claims(**changes)), check)


@pytest.mark.parametrize(
    "changes",
    [{"exp": AT - 59}, {"iat": AT + 59}, {"iat": AT - 599}, {"nbf": AT + 59}, {"exp": AT + 0.5}, {"iat": AT - 0.25}],
)
async def test_fractions_and_small_differences_are_fine(changes: Json) -> None:
    """catalogue 44, 165."""
    assert (await verify(sign(id_claims(**changes)))).subject == SUBJECT


async def test_null_times_are_no_times() -> None:
    """catalogue 44: `null` is not the same as absent."""
    claims = {**id_claims(), "nbf": None}
    await refused(sign(claims), "nbf")


@pytest.mark.parametrize(
    "subject", [None, "", "   ", 17, 1.5, True, ["a"], "x" * 256, "a\x00b", "a\nb", "a\x7f", "\ud800"]
)
async def test_the_subject_is_usable_text(subject: object) -> None:
    """catalogue 45."""
    await refused(sign(id_claims(sub=subject)), "sub")


async def test_the_longest_subject_is_accepted() -> None:
    """catalogue 45."""
    assert (await verify(sign(id_claims(sub="x" * 255)))).subject == "x" * 255


def _parts(token: str) -> list[str]:
    return token.split(".")


async def test_unsigned_and_symmetric_tokens_are_refused() -> None:
    """catalogue 46, 69: none in every spelling; HMAC under the public key and under our secret."""
    for alg in ("none", "None", "nOnE", "NONE", "", "HS256", "HS384", "RS1", "rs256", "RS256 ", None, 5, ["RS256"]):
        head = b64(json.dumps({"alg": alg, "kid": "rsa-1"}).encode())
        for signature in ("", _parts(sign(id_claims()))[2]):
            await refused(f"{head}.{_parts(sign(id_claims()))[1]}.{signature}", "alg")
    for secret in (pem(rsa_key()), b"s3cr:et"):
        await refused(sign(id_claims(), secret, alg="HS256"), "alg")


async def test_a_token_without_alg_is_refused() -> None:
    """catalogue 46, 69."""
    await refused(sign(id_claims(), header={"alg": None}), "alg")


async def test_a_wrong_signature_is_refused() -> None:
    """catalogue 46: another key, a turned bit, no signature, ES256 over the wrong key."""
    good = sign(id_claims())
    head, body, signature = _parts(good)
    turned = ("A" if signature[10] != "A" else "B").join((signature[:10], signature[11:]))
    for token in (
        sign(id_claims(), rsa_key(2048, "thief")),
        f"{head}.{body}.{turned}",
        f"{head}.{body}.",
        f"{head}.{b64(json.dumps(id_claims(sub='victim')).encode())}.{signature}",
        sign(id_claims(), ec_key("thief"), alg="ES256", header={"kid": "ec-1"}),
        sign(id_claims(), b"", header={"kid": "rsa-1"}),
    ):
        await refused(token, "signature")


async def test_the_algorithm_and_the_key_must_fit() -> None:
    """catalogue 46: an RSA key is never used for ES256 and the other way round."""
    await refused(sign(id_claims(), ec_key(), alg="ES256", header={"kid": "rsa-1"}), "kid")
    await refused(sign(id_claims(), rsa_key(), alg="RS256", header={"kid": "ec-1"}), "kid")


@pytest.mark.parametrize("value", ["", "wrong", at_hash("another token"), 5, None])
async def test_at_hash_is_of_our_access_token(value: object) -> None:
    """catalogue 48. Absent is allowed in the code flow; present and not equal is not, `null` included."""
    await refused(sign({**id_claims(), "at_hash": value}), "at_hash")


async def test_at_hash_may_be_absent_and_may_be_padded() -> None:
    """catalogue 48."""
    assert (await verify(sign(id_claims(at_hash=None)))).subject == SUBJECT
    assert (await verify(sign(id_claims(at_hash=at_hash() + "==")))).subject == SUBJECT


@pytest.mark.parametrize(
    "kid", ["../../dev/null", "' OR 1=1 --", "https://evil.test/key", "rsa-1\x00", "k" * 255, "unknown", "RSA-1"]
)
async def test_an_odd_key_id_is_an_unknown_name_and_nothing_else(kid: str) -> None:
    """catalogue 70: an opaque look-up that misses, and one more look at the same address at most."""
    keys = CountingKeys()
    for _ in range(20):
        await refused(sign(id_claims(), header={"kid": kid}), "kid", keys=keys)
    assert [asked.url for asked in keys.http.asked] == [f"{ISSUER}/jwks"] * 2


@pytest.mark.parametrize("kid", [5, "", ["rsa-1"], {"a": 1}, True, "k" * 256, "k" * 1000])
async def test_a_key_id_that_is_none_is_refused_before_any_look_up(kid: object) -> None:
    """catalogue 70."""
    keys = CountingKeys()
    await refused(sign(id_claims(), header={"kid": kid}), "kid", keys=keys)
    assert keys.http.asked == []


async def test_without_key_id_the_only_key_is_used_and_several_are_refused() -> None:
    """catalogue 70; certification suite: kid absent with one key, and with several."""
    token = sign(id_claims(), header={"kid": None})
    assert (await verify(token, keys=CountingKeys([rsa_jwk(rsa_key())]))).subject == SUBJECT
    assert (await verify(token, keys=CountingKeys([rsa_jwk(rsa_key()), ec_jwk(ec_key())]))).subject == SUBJECT
    two = CountingKeys([rsa_jwk(rsa_key()), rsa_jwk(rsa_key(2048, "second"), "rsa-2")])
    await refused(token, "kid", keys=two)


async def test_keys_in_the_header_are_never_used() -> None:
    """catalogue 71: `jwk`, `jku`, `x5u` and `x5c` name the attacker's key; nothing is fetched and nothing accepted."""
    thief = rsa_key(2048, "thief")
    for extra in (
        {"jwk": rsa_jwk(thief)},
        {"jku": "https://evil.test/jwks"},
        {"x5u": "https://evil.test/cert"},
        {"x5c": ["MIIB"]},
    ):
        for header in (extra, {**extra, "kid": "thief"}, {**extra, "kid": None}):
            keys = CountingKeys()
            with pytest.raises(UpstreamInvalid):
                await verify(sign(id_claims(), thief, header=header), keys=keys)
            assert {asked.url for asked in keys.http.asked} <= {f"{ISSUER}/jwks"}


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"crit": "x"}],
)
async def test_critical_extensions_are_refused(header: Json) -> None:
    """catalogue 72."""
    await refused(sign(id_claims(), header=header), "crit")


async def test_other_serializations_are_refused() -> None:
    """catalogue 72, 73: JSON serialization, encrypted tokens, missing and extra parts, bad base64."""
    head, body, signature = _parts(sign(id_claims()))
    for token in (
        f'{{"payload":"{body}","signatures":[]}}',
        f'{{"payload":"{body}","protected":"{head}","signature":"{signature}"}}',
        f"{head}.{body}.{signature}.x.y",
        f"{head}.{body}",
        f"{head}..{signature}",
        f".{body}.{signature}",
        "..",
        "",
        f"{head}.{body[:-1]}!.{signature}",
        f"{head}.{body}=.{signature}",
        f" {head}.{body}.{signature}",
    ):
        await refused(token, "id_token_form")


async def test_encrypted_tokens_are_refused_at_once() -> None:
    """catalogue 73: a compressed JWE and a PBES2 count that would take hours are never looked into."""
    for header in ({"alg": "RSA-OAEP", "enc": "A128GCM", "zip": "DEF"}, {"alg": "PBES2-HS256+A128KW", "p2c": 2**31}):
        head = b64(json.dumps(header).encode())
        began = time.perf_counter()
        await refused(f"{head}.a.b.c.d", "id_token_form")
        assert time.perf_counter() - began < 0.05


async def test_a_huge_token_is_refused_before_decoding_and_not_quoted() -> None:
    """catalogue 74."""
    for token in ("a" * 1_000_000, f"{'a' * 600_000}.b.c", f"a.b.{'c' * 600_000}", "é.a.b"):
        began = time.perf_counter()
        with pytest.raises(UpstreamInvalid) as caught:
            await verify(token)
        assert time.perf_counter() - began < 0.05
        assert caught.value.check == "id_token_size"
        assert len(str(caught.value)) < 100
    await refused(f"{'a' * 3000}.b.c", "id_token_form")


@pytest.mark.parametrize(
    "typ", ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "session+jwt", "JWE", 5, "", None]
)
async def test_another_type_of_token_is_no_id_token(typ: object) -> None:
    """catalogue 76: access, logout, event tokens; and absent is fine while `null` is not."""
    _, body, signature = _parts(sign(id_claims()))
    raw = b64(json.dumps({"alg": "RS256", "kid": "rsa-1", "typ": typ}).encode())
    await refused(f"{raw}.{body}.{signature}", "typ")


async def test_the_usual_types_are_accepted() -> None:
    """catalogue 76."""
    for typ in ("JWT", "jwt", "application/jwt", None):
        assert (await verify(sign(id_claims(), header={"typ": typ}))).subject == SUBJECT


@pytest.mark.parametrize(
    "payload",
    [b"[]", b'"x"', b"null", b"{", b"\xff\xfe", b'\xef\xbb\xbf{"iss":"x"}', b'{"sub":"a","sub":"b"}', b'{"exp":NaN}', b'{"a":1e999}',
     b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", b'{"a":' + b"[" * 12_000 + b"]" * 12_000 + b"}"],
)  # fmt: skip
async def test_a_signed_payload_that_is_not_plain_json_is_refused(payload: bytes) -> None:
    """catalogue 173: duplicate names, byte-order mark, NaN, depth: also when the signature is good."""
    await refused(sign(payload), "id_token_json")


async def test_a_header_that_names_alg_twice_is_refused() -> None:
    """catalogue 72, 173: two parsers could read two different algorithms."""
    head = b64(b'{"alg":"none","alg":"RS256","kid":"rsa-1"}')
    _, body, signature = _parts(sign(id_claims()))
    await refused(f"{head}.{body}.{signature}", "id_token_header")


async def test_a_fresh_sign_in_is_proved_by_auth_time() -> None:
    """catalogue 38: five minutes, plus the skew."""
    assert (await verify(sign(id_claims(auth_time=AT - 299)), fresh=True)).subject == SUBJECT
    await refused(sign(id_claims(auth_time=AT - 361)), "auth_time", fresh=True)
    await refused(sign(id_claims(auth_time=None)), "auth_time", fresh=True)


async def test_odd_amr_and_acr_are_left_out() -> None:
    claims = await verify(sign(id_claims(amr=["pwd", 5, "x" * 65, "a\nb"], acr=7)))
    assert (claims.amr, claims.acr) == (("pwd",), None)
    claims = await verify(sign(id_claims(amr="pwd", acr="")))
    assert (claims.amr, claims.acr) == ((), None)


async def test_nothing_of_the_token_shows_in_a_repr_or_an_error() -> None:
    """habit 13."""
    claims = await verify(sign(id_claims()))
    assert SUBJECT not in repr(claims)
    assert "Ana" not in repr(claims)
    assert NONCE not in repr(expected())
    with pytest.raises(UpstreamInvalid) as caught:
        await verify(sign(id_claims(iss="https://evil.test", email="ana@example.org")))
    assert "evil" not in str(caught.value)
    assert NOW.tzinfo is UTC
