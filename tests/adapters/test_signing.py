"""Our signatures, read by a library that is not ours; and what we take back for our own."""

from __future__ import annotations

import base64
import hmac
import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwk, jws, jwt
from tests.flows.op import signing_keys
from tests.support.builders import NOW

from broker.domain.client import SigningAlgorithm
from broker.signing import KeyBox

RS, ES = SigningAlgorithm.RS256, SigningAlgorithm.ES256
CLAIMS = {"iss": "https://login.test", "sub": "s-1", "aud": "forum", "exp": int(NOW.timestamp()) + 600, "name": "Zoë ✍"}


@pytest.fixture(scope="module")
def box() -> KeyBox:
    box = KeyBox()
    box.load(signing_keys(), NOW)
    return box


def b64(data: bytes | str) -> str:
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode().rstrip("=")


def private_key(number: int) -> Any:
    return serialization.load_der_private_key(signing_keys()[number].private, password=None)


def key_set(box: KeyBox) -> jwk.KeySet:
    return jwk.KeySet.import_key_set(json.loads(box.jwks))


# --- what others read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_a_token_verifies_with_the_published_keys(box: KeyBox, algorithm: SigningAlgorithm) -> None:
    """By joserfc, from the bytes of the key endpoint."""
    token = box.sign(CLAIMS, typ="JWT", algorithm=algorithm)
    read = jwt.decode(token, key_set(box), algorithms=[algorithm.value])
    assert read.claims == CLAIMS
    assert read.header == {"alg": algorithm.value, "kid": f"{algorithm.value.lower()}-1", "typ": "JWT"}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    claims=st.dictionaries(
        st.text(max_size=8), st.text(max_size=20) | st.booleans() | st.integers(-(2**53), 2**53), max_size=5
    )
)
def test_whatever_is_signed_arrives_as_it_was(box: KeyBox, claims: dict[str, Any]) -> None:
    """Byte-exact names and values, and signatures of the fixed size (RFC 7518 §3.4)."""
    token = box.sign(claims, typ="session+jwt", algorithm=ES)
    assert jwt.decode(token, key_set(box), algorithms=["ES256"]).claims == claims
    assert len(token.split(".")[2]) == 86


def test_the_key_set_is_public_and_tells_each_keys_use(box: KeyBox) -> None:
    """A name, a use and an algorithm each; nothing private; RS256 first (RFC 7517)."""
    keys = json.loads(box.jwks)["keys"]
    assert [(key["kty"], key["alg"], key["use"], key["kid"]) for key in keys] == [
        ("RSA", "RS256", "sig", "rs256-1"),
        ("EC", "ES256", "sig", "es256-1"),
    ]
    assert [set(key) for key in keys] == [
        {"kty", "alg", "use", "kid", "n", "e"},
        {"kty", "alg", "use", "kid", "crv", "x", "y"},
    ]


def test_private_halves_are_never_printed(box: KeyBox) -> None:
    record = signing_keys()[0]
    assert "private=" not in repr(record)
    assert "private=" not in repr(vars(box))


# --- rotation -----------------------------------------------------------------------------------------


def rotating() -> tuple[KeyBox, list[Any]]:
    old = signing_keys()[1]
    new = KeyBox().make(ES, "es-new", now=NOW, signs_from=NOW + timedelta(minutes=30))
    return KeyBox(), [signing_keys()[0], old, new]


def kid_of(token: str) -> str:
    return str(jws.extract_compact(token.encode()).headers()["kid"])


def test_a_new_key_is_published_first_and_signs_later() -> None:
    """Catalogue 166."""
    box, records = rotating()
    box.load(records, NOW)
    assert "es-new" in [key["kid"] for key in json.loads(box.jwks)["keys"]]
    assert kid_of(box.sign(CLAIMS, typ="JWT", algorithm=ES)) == "es256-1"
    box.load(records, NOW + timedelta(minutes=30))
    assert kid_of(box.sign(CLAIMS, typ="JWT", algorithm=ES)) == "es-new"


def test_no_token_is_refused_while_keys_change() -> None:
    """Signed before, read after; read with the key set of before, signed until it has expired (catalogue 166)."""
    box, records = rotating()
    box.load(records, NOW)
    cached = key_set(box)
    before = box.sign(CLAIMS, typ="JWT", algorithm=ES)
    box.load(records, NOW + timedelta(hours=1))
    after = box.sign(CLAIMS, typ="JWT", algorithm=ES)
    for token in (before, after):
        assert jwt.decode(token, cached, algorithms=["ES256"]).claims == CLAIMS
        assert jwt.decode(token, key_set(box), algorithms=["ES256"]).claims == CLAIMS
        assert box.own(token, typ="JWT", now=NOW) == CLAIMS


def test_a_removed_key_neither_signs_nor_verifies() -> None:
    """Catalogue 166."""
    box, records = rotating()
    box.load(records, NOW)
    token = box.sign(CLAIMS, typ="JWT", algorithm=ES)
    box.load([records[0], records[2]], NOW + timedelta(days=20))
    assert box.own(token, typ="JWT", now=NOW) is None
    assert "es256-1" not in box.jwks.decode()


def test_a_clock_behind_the_first_key_still_signs() -> None:
    """A machine whose clock stands still before the keys' first moment signs all the same (catalogue 165)."""
    box, records = rotating()
    box.load(records, NOW - timedelta(days=1))
    assert kid_of(box.sign(CLAIMS, typ="JWT", algorithm=ES)) == "es256-1"
    assert set(box.algorithms) == {RS, ES}


def test_a_corrupt_key_changes_nothing() -> None:
    """Nor one that does not fit its algorithm (catalogue 167)."""
    box, records = rotating()
    box.load(records, NOW)
    before = box.jwks
    small = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for spoilt in (
        replace(records[1], kid="bad", private=b"\x30\x82nonsense"),
        replace(records[1], kid="bad", private=b""),
        replace(records[1], kid="bad", private=small),
        replace(records[0], kid="bad", private=records[1].private),
    ):
        with pytest.raises(ValueError):
            box.load([*records, spoilt], NOW)
        assert box.jwks == before
        assert kid_of(box.sign(CLAIMS, typ="JWT", algorithm=ES)) == "es256-1"


def test_keys_are_parsed_once() -> None:
    """Parsing an RSA key costs more than a hundred signatures."""
    box, records = rotating()
    box.load(records, NOW)
    start = time.process_time()
    for _ in range(50):
        box.load(records, NOW)
    assert time.process_time() - start < 0.25


# --- our own tokens, coming back ----------------------------------------------------------------------


def test_we_know_our_own_tokens_also_when_they_are_over(box: KeyBox) -> None:
    """As hints (catalogue 78, 100)."""
    for algorithm in SigningAlgorithm:
        token = box.sign(CLAIMS, typ="JWT", algorithm=algorithm)
        assert box.own(token, typ="JWT", now=NOW + timedelta(days=30)) == CLAIMS


@pytest.mark.parametrize("typ", ["session+jwt", "logout+jwt", "jwt", "", "at+jwt"])
def test_a_token_of_another_kind_is_not_taken(box: KeyBox, typ: str) -> None:
    """RFC 8725 §3.11 (catalogue 76)."""
    assert box.own(box.sign(CLAIMS, typ=typ, algorithm=RS), typ="JWT", now=NOW) is None


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", None, 0])
@pytest.mark.parametrize("signature", ["", "kept"])
def test_an_unsigned_token_is_never_ours(box: KeyBox, alg: object, signature: str) -> None:
    """Whatever it is called (catalogue 69)."""
    head, body, signed = box.sign(CLAIMS, typ="JWT", algorithm=RS).split(".")
    header = json.dumps({"alg": alg, "kid": "rs256-1", "typ": "JWT"})
    assert box.own(f"{b64(header)}.{body}.{signed if signature else ''}", typ="JWT", now=NOW) is None
    assert box.own(f"{head}.{body}.", typ="JWT", now=NOW) is None


def test_the_public_key_is_no_shared_secret(box: KeyBox) -> None:
    """RS256 to HS256 (catalogue 69)."""
    public = private_key(0).public_key()
    encodings = (serialization.Encoding.PEM, serialization.Encoding.DER)
    secrets = [public.public_bytes(one, serialization.PublicFormat.SubjectPublicKeyInfo) for one in encodings]
    head = b64(json.dumps({"alg": "HS256", "kid": "rs256-1", "typ": "JWT"}))
    signing_input = f"{head}.{b64(json.dumps(CLAIMS))}"
    for secret in (*secrets, secrets[0].strip(), json.dumps(json.loads(box.jwks)["keys"][0]).encode(), b""):
        forged = f"{signing_input}.{b64(hmac.digest(secret, signing_input.encode(), 'sha256'))}"
        assert box.own(forged, typ="JWT", now=NOW) is None


@pytest.mark.parametrize(
    "kid",
    [
        "../../dev/null",
        "' OR 1=1 --",
        "https://evil.test/jwks",
        "k" * 10_000,
        "rs256-2",
        "RS256-1",
        "",
        None,
        1,
        ["rs256-1"],
        {},
        True,
    ],
)
def test_an_odd_key_name_is_a_miss_and_nothing_more(box: KeyBox, kid: object) -> None:
    """No look-up anywhere else (catalogue 70)."""
    _, body, signature = box.sign(CLAIMS, typ="JWT", algorithm=RS).split(".")
    head = b64(json.dumps({"alg": "RS256", "kid": kid, "typ": "JWT"}))
    assert box.own(f"{head}.{body}.{signature}", typ="JWT", now=NOW) is None


@pytest.mark.parametrize("name", ["jku", "x5u", "x5c", "jwk", "x5t", "crit", "b64", "zip", "cty", "p2c"])
def test_a_token_brings_no_keys_and_no_extensions(box: KeyBox, name: str) -> None:
    """Even signed with our own key (catalogue 71, 72)."""
    values: dict[str, Any] = {
        "jwk": json.loads(box.jwks)["keys"][0],
        "x5c": ["MIIB"],
        "crit": ["exp"],
        "b64": False,
        "p2c": 2**31,
    }
    head = {"alg": "RS256", "kid": "rs256-1", "typ": "JWT", name: values.get(name, "https://evil.test/x")}
    signing_input = f"{b64(json.dumps(head))}.{b64(json.dumps(CLAIMS))}".encode()
    private = private_key(0)
    assert isinstance(private, rsa.RSAPrivateKey)
    signature = private.sign(signing_input, padding.PKCS1v15(), hashes.SHA256())
    assert box.own(f"{signing_input.decode()}.{b64(signature)}", typ="JWT", now=NOW) is None


def test_no_other_serialization_is_read(box: KeyBox) -> None:
    """JSON, flattened, five segments, detached, an empty list of signatures (catalogue 72, 73)."""
    head, body, signature = box.sign(CLAIMS, typ="JWT", algorithm=RS).split(".")
    whole = json.dumps({"payload": body, "signatures": [{"protected": head, "signature": signature}]})
    flat = json.dumps({"payload": body, "protected": head, "signature": signature})
    others = [
        whole,
        flat,
        json.dumps({"payload": body, "signatures": []}),
        f"{head}..{signature}",
        f"{head}.{body}.{signature}.{signature}.x",
        f"{head}.{body}",
        f"{head}.{body}.{signature}.",
        f"{head}.{body}.{signature}=",
        f" {head}.{body}.{signature}",
        f"{head}.{body}.{signature}\n",
        f"{head}.{b64(b'[1]')}.{signature}",
        f"..{signature}",
        "..",
        "",
        "☃.☃.☃",
    ]
    for other in others:
        assert box.own(other, typ="JWT", now=NOW) is None, other[:60]


def test_a_payload_that_is_no_object_is_nothing(box: KeyBox) -> None:
    private = private_key(1)
    key = jwk.ECKey.import_key(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    for text in ("[1]", '"x"', "nonsense", "NaN", ""):
        token = jws.serialize_compact({"alg": "ES256", "kid": "es256-1", "typ": "JWT"}, text, key)
        assert box.own(token, typ="JWT", now=NOW) is None


@pytest.mark.parametrize("size", [16_385, 1_000_000, 50_000_000])
def test_a_huge_token_is_refused_before_anything_is_decoded(box: KeyBox, size: int) -> None:
    """In no time at all (catalogue 73, 74)."""
    token = "A" * (size - 2) + ".."
    start = time.process_time()
    assert box.own(token, typ="JWT", now=NOW) is None
    assert time.process_time() - start < 0.1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 1000), letter=st.sampled_from("ABab01-_.=\x00é"))
def test_one_changed_letter_is_another_token(box: KeyBox, place: int, letter: str) -> None:
    token = box.sign(CLAIMS, typ="JWT", algorithm=RS)
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        read = box.own(changed, typ="JWT", now=NOW)
        assert read is None or place == len(token) - 1
