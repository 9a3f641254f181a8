"""What a DPoP proof says (RFC 9449 §4.3), and what is bound to a key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.builders import NOW, client
from tests.support.client_keys import proof_claims

from broker.domain.checks.dpop import (
    NONCE_STEP,
    RECENT,
    Nonces,
    Shown,
    check_code_key,
    check_nonce,
    check_proof,
    check_refresh_key,
    check_token_key,
    check_use,
    is_thumbprint,
    with_key,
)
from broker.domain.client import DpopUse
from broker.domain.ports import AccessToken
from broker.domain.values import GrantId
from broker.errors import BoundToken, InvalidDpopProof, InvalidGrant, InvalidRequest, InvalidToken, UseDpopNonce

JKT, OTHER = "k" * 43, "o" * 43
URL = "https://login.test/token"
NONCES = Nonces(b"n" * 32)
MINE, OTHERS = Shown(jkt=JKT, has_nonce=False), Shown(jkt=OTHER, has_nonce=False)
AT = int(NOW.timestamp())


def check(claims: dict[str, Any], *, url: str = URL, token: str | None = None, now: datetime = NOW) -> Any:
    return check_proof(claims, JKT, method="POST", url=url, token=token, nonces=NONCES, now=now)


def good(**changes: Any) -> dict[str, Any]:
    return proof_claims("POST", URL, NOW, **changes)


# --- the proof ----------------------------------------------------------------------------------------


def test_a_good_proof_is_good_once() -> None:
    """Remembered by its key and name, longer than it could be shown again, wherever servers' clocks are."""
    once = check(good(jti="j-1"))
    assert once.key.startswith(f"proof:{JKT}:")
    assert "j-1" not in once.key
    assert once.until > NOW.replace(microsecond=0) + RECENT
    assert check(good(jti="j-1")).key == once.key != check(good(jti="j-2")).key


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("htm", None), ("htm", "GET"), ("htm", "post"), ("htm", 1), ("htm", ["POST"]),
        ("htu", None), ("htu", 1), ("htu", ""), ("htu", "https://login.test/userinfo"), ("htu", "https://evil.test/token"),
        ("htu", "http://login.test/token"), ("htu", "https://login.test:444/token"), ("htu", "https://login.test/token/"),
        ("htu", "https://x@login.test/token"), ("htu", "//login.test/token"), ("htu", "https://[::1/token"),
        ("htu", "https://login.test:99999/token"), ("htu", "https://login.test:0/token"), ("htu", "https://login.test/TOKEN"),
        ("iat", None), ("iat", "now"), ("iat", True), ("iat", AT - 61), ("iat", AT + 31), ("iat", 1e308), ("iat", -1),
        ("exp", AT), ("exp", AT - 1), ("exp", "later"), ("nbf", AT + 31), ("nbf", []),
        ("jti", None), ("jti", ""), ("jti", 7), ("jti", "x" * 256),
    ],
)  # fmt: skip
def test_a_proof_for_something_else_or_of_another_time_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidDpopProof) as refusal:
        check(good(**{name: value}))
    assert refusal.value.detail == f"proof {name}"
    assert not isinstance(refusal.value, UseDpopNonce)


@pytest.mark.parametrize(
    "changes",
    [
        {"htu": "https://login.test/token?x=1#y"}, {"htu": "HTTPS://LOGIN.test:443/token"}, {"iat": AT - 59.5},
        {"iat": AT + 29}, {"exp": AT + 1}, {"nbf": AT + 29}, {"jti": "x" * 255}, {"jti": "\ud800"}, {"more": {"a": 1}},
    ],
)  # fmt: skip
def test_what_makes_no_difference_is_taken(changes: dict[str, Any]) -> None:
    """RFC 9449 §4.3 (query and fragment), RFC 3986 §6.2; ten seconds of clock either way, and more."""
    assert check(good(**changes))


def test_an_address_without_a_path_is_the_root() -> None:
    assert check(good(htu="http://127.0.0.1:80"), url="http://127.0.0.1/")


@pytest.mark.parametrize("ath", [None, "", 1, "é", "A" * 43])
def test_beside_an_access_token_a_proof_names_it(ath: object) -> None:
    assert check(good(token="dwa_mine"), token="dwa_mine")
    with pytest.raises(InvalidDpopProof, match="proof ath"):
        check(good(ath=ath), token="dwa_mine")
    with pytest.raises(InvalidDpopProof, match="proof ath"):
        check(good(token="dwa_other"), token="dwa_mine")


# --- nonces -------------------------------------------------------------------------------------------


def test_a_nonce_is_good_until_an_access_token_has_ended_and_not_for_ever() -> None:
    """Ten to fifteen minutes (RFC 9449 §8)."""
    begins = datetime(2026, 11, 26, 12, tzinfo=UTC)
    nonce = NONCES.now(begins)
    assert NONCES.now(begins + NONCE_STEP - timedelta(microseconds=1)) == nonce != NONCES.now(begins + NONCE_STEP)
    assert NONCES.is_good(nonce, begins + 3 * NONCE_STEP - timedelta(microseconds=1))
    assert not NONCES.is_good(nonce, begins + 3 * NONCE_STEP)
    assert not NONCES.is_good(nonce, begins - timedelta(microseconds=1))


@pytest.mark.parametrize("nonce", [None, "", "x", "é", 5, ["x"]])
def test_another_nonce_than_ours_is_answered_with_ours(nonce: object) -> None:
    assert check(good(nonce=NONCES.now(NOW)))
    for other in (nonce, Nonces(b"m" * 32).now(NOW)):
        with pytest.raises(UseDpopNonce):
            check({**good(), "nonce": other})


def test_nonces_are_not_shown() -> None:
    assert "n" * 32 not in repr(NONCES)


# --- what is bound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [None, MINE, replace(MINE, has_nonce=True)])
@pytest.mark.parametrize("use", DpopUse)
def test_a_site_shows_what_it_is_held_to(use: DpopUse, shown: Shown | None) -> None:
    site = client(dpop=use)
    if shown is None and use is not DpopUse.OPTIONAL:
        with pytest.raises(InvalidDpopProof, match="proof missing"):
            check_use(site, shown)
    elif shown == MINE and use is DpopUse.NONCE:
        for look in (check_use, check_nonce):
            with pytest.raises(UseDpopNonce):
                look(site, shown)
    else:
        check_use(site, shown)


@pytest.mark.parametrize("look", [check_code_key, check_refresh_key])
def test_what_has_a_key_comes_with_it(look: Any) -> None:
    look(JKT, MINE)
    look(None, MINE)
    look(None, None)
    for shown in (None, OTHERS):
        with pytest.raises(InvalidGrant, match="of another key"):
            look(JKT, shown)


def test_an_access_token_comes_as_it_was_given() -> None:
    """A bound one with its key alone, an unbound one without any (RFC 9449 §7.1, §7.2)."""
    plain = AccessToken(
        grant=GrantId("g"), token_id="t", scopes=frozenset(), issued_at=NOW, expires_at=NOW + timedelta(minutes=10)
    )
    bound = replace(plain, jkt=JKT)
    check_token_key(plain, None)
    check_token_key(bound, MINE)
    for shown in (None, OTHERS):
        with pytest.raises(BoundToken):
            check_token_key(bound, shown)
    with pytest.raises(InvalidToken, match="no key"):
        check_token_key(plain, MINE)


def test_a_pushed_request_is_tied_to_the_key_beside_it() -> None:
    """RFC 9449 §10.1."""
    assert with_key({"state": "s"}, None) == {"state": "s"}
    assert with_key({"dpop_jkt": OTHER}, None) == {"dpop_jkt": OTHER}
    for params in ({"state": "s"}, {"state": "s", "dpop_jkt": JKT}):
        assert with_key(params, MINE) == {"state": "s", "dpop_jkt": JKT}
    with pytest.raises(InvalidRequest, match="dpop_jkt is not the key shown"):
        with_key({"dpop_jkt": OTHER}, MINE)


@pytest.mark.parametrize("text", ["", "k" * 42, "k" * 44, "k" * 42 + "=", "k" * 42 + "+", "é" * 43])
def test_a_thumbprint_is_43_letters_of_base64url(text: str) -> None:
    assert is_thumbprint("-_" + "aZ0" * 13 + "xy")
    assert not is_thumbprint(text)
