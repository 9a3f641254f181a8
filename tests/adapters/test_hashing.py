"""Random secrets are digested, chosen passwords are hashed."""

from __future__ import annotations

import hashlib

import pytest

from broker import hashing


def test_of_a_random_secret_its_sha256_is_kept() -> None:
    assert hashing.digest("secret ✍") == hashlib.sha256("secret ✍".encode()).digest()


def test_a_lone_surrogate_is_no_fault() -> None:
    assert not hashing.matches("\ud800", [hashing.digest("x")])


@pytest.mark.parametrize(
    ("presented", "known"), [("old", True), ("new", True), ("Old", False), ("", False), ("old ", False)]
)
def test_two_secrets_may_stand_while_one_is_replaced(presented: str, known: bool) -> None:
    assert hashing.matches(presented, [hashing.digest("old"), hashing.digest("new")]) is known


def test_nothing_matches_where_no_secret_is_known() -> None:
    assert not hashing.matches("", [])
    assert not hashing.matches("x", ())


def test_a_password_is_verified_by_its_hash_alone() -> None:
    hashed = hashing.hash_password("correct horse")
    assert hashed.startswith("$argon2id$")
    assert hashing.verify_password("correct horse", hashed)
    assert not hashing.verify_password("Correct horse", hashed)
    assert hashing.hash_password("correct horse") != hashed


@pytest.mark.parametrize("hashed", ["", "plain", "$1$x$y", "5f4dcc3b5aa765d61d8327deb882cf99"])
def test_a_hash_of_no_known_kind_verifies_nothing(hashed: str) -> None:
    assert not hashing.verify_password("plain", hashed)
