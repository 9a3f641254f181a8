"""The small values: secrets never show themselves."""

from __future__ import annotations

from broker.domain.values import IdentityKey, Secret


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("canary-5150")
    assert secret.reveal() == "canary-5150"
    assert "canary" not in f"{secret} {secret!r} {secret!s}"


def test_an_empty_secret_is_no_secret() -> None:
    assert Secret("x")
    assert not Secret("")


def test_an_identity_does_not_print_its_subject() -> None:
    key = IdentityKey(issuer="https://op.test", subject="canary-5150")
    assert "canary" not in repr(key)
    assert key == IdentityKey(issuer="https://op.test", subject="canary-5150")
