"""What browsers answer about passkeys, read: what an honest one sends, and what a stranger may send instead."""

from __future__ import annotations

from typing import Any

import pytest
from fido2.cose import ES384
from tests.support.passkeys import SoftKey, nested, text_of

from cryptography.hazmat.primitives.asymmetric import ec
from broker.passkeys import PasskeyReader

READER = PasskeyReader()


@pytest.mark.parametrize("algorithm", [-7, -8, -257])
def test_a_signature_holds_for_its_key_and_its_words(algorithm: int) -> None:
    key, other = SoftKey(algorithm=algorithm), SoftKey(algorithm=algorithm)
    made, used = READER.made(key.make("challenge")), READER.used(key.use("challenge"))
    stranger = READER.made(other.make("challenge"))
    assert made is not None
    assert used is not None
    assert stranger is not None
    assert (made.id, used.id, made.algorithm) == (key.id, key.id, algorithm)
    assert (made.ceremony.challenge, made.ceremony.kind) == (b"challenge", "webauthn.create")
    assert (used.ceremony.counter, used.owner) == (2, key.owner)
    assert READER.is_signed(used, made.public_key)
    assert not READER.is_signed(used, stranger.public_key)
    tampered = READER.used(key.use("challenge") | {"signature": text_of(used.signature)})
    assert tampered is not None
    assert not READER.is_signed(tampered, made.public_key)


@pytest.mark.parametrize("public_key", [b"", b"\xff", b"\x01", b"\xa0", b"\xa1\x03\x26", b"\xa1\x03\x18\x63"])
def test_what_is_no_key_has_signed_nothing(public_key: bytes) -> None:
    key = SoftKey()
    key.make("challenge")
    used = READER.used(key.use("challenge"))
    assert used is not None
    assert not READER.is_signed(used, public_key)


@pytest.mark.parametrize("name", ["credential", "client_data", "attestation"])
@pytest.mark.parametrize(
    "part", [None, "", "%%%", "AAAA", "é", "A" * 30_000, nested(12_000)], ids=lambda one: str(one)[:9]
)
def test_what_no_browser_makes_is_not_read(name: str, part: str | None) -> None:
    answer = SoftKey().make("challenge")
    broken = {key: value for key, value in answer.items() if key != name} | ({name: part} if part is not None else {})
    assert READER.made(answer) is not None
    assert READER.made(broken) is None


@pytest.mark.parametrize("name", ["credential", "client_data", "authenticator_data", "signature", "user_handle"])
@pytest.mark.parametrize("part", [None, "", "%%%", "é", "A" * 30_000], ids=lambda one: str(one)[:9])
def test_nor_what_none_answers(name: str, part: str | None) -> None:
    key = SoftKey()
    key.make("challenge")
    answer = key.use("challenge")
    broken = {key: value for key, value in answer.items() if key != name} | ({name: part} if part is not None else {})
    assert READER.used(answer) is not None
    assert READER.used(broken) is None


@pytest.mark.parametrize(
    "said",
    [{"challenge": 7}, {"challenge": "%"}, {"challenge": 10**12}, {"challenge": None}, {"type": None}, {"origin": 1}],
    ids=str,
)
def test_client_data_that_says_nothing_is_not_read(said: dict[str, Any]) -> None:
    key = SoftKey()
    assert READER.made(key.make("challenge", said=said)) is None
    assert READER.used(key.use("challenge", said=said)) is None


def test_a_key_that_we_did_not_ask_for_is_not_kept() -> None:
    kind: Any = ES384
    strange = kind.from_cryptography_key(ec.generate_private_key(ec.SECP384R1()).public_key())
    assert READER.made(SoftKey().make("challenge", public=strange)) is None


def test_a_key_that_is_too_long_is_not_kept() -> None:
    from fido2.cose import RS256

    long = RS256({1: 3, 3: -257, -1: b"\xff" * 2000, -2: b"\x01\x00\x01"})
    assert READER.made(SoftKey().make("challenge", public=long)) is None


def test_an_answer_without_a_key_is_none() -> None:
    """Authenticator data as it is when a passkey is used."""
    from fido2.webauthn import AttestationObject, AuthenticatorData
    from tests.support.passkeys import bytes_of

    key = SoftKey()
    used = key.use("challenge", owner=b"owner")
    bare = AttestationObject.create("none", AuthenticatorData(bytes_of(used["authenticator_data"])), {})
    assert READER.made({**used, "attestation": text_of(bare)}) is None
