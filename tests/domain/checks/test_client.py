"""How a site proves who it is: one way for each request, and what an assertion has to say."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support.builders import NOW, client

from broker.domain.checks.client import (
    ASSERTION_TYPE,
    CLIENT_ALGORITHMS,
    SECRET_ALGORITHMS,
    STRICT_ALGORITHMS,
    algorithms_of,
    check_assertion,
    is_for_us,
    read_proof,
    read_time,
)
from broker.domain.client import AuthMethod
from broker.errors import InvalidClient, InvalidRequest

ISSUER = "https://login.test"
ENDPOINTS = frozenset({f"{ISSUER}/token", f"{ISSUER}/introspect"})


def token(header: object, payload: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part(header)}.{part(payload)}.c2ln"


def asserted(header: object, payload: object, **more: str) -> dict[str, str]:
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token(header, payload), **more}


@pytest.mark.parametrize(
    ("basic", "params", "method", "client_id"),
    [
        (("forum", "x"), {}, AuthMethod.BASIC, "forum"),
        (("forum", "x"), {"client_id": "forum"}, AuthMethod.BASIC, "forum"),
        (None, {"client_id": "forum", "client_secret": "x"}, AuthMethod.POST, "forum"),
        (None, {"client_id": "forum"}, AuthMethod.NONE, "forum"),
        (None, {}, AuthMethod.NONE, ""),
        (None, asserted({"alg": "ES256"}, {"sub": "forum"}), AuthMethod.PRIVATE_KEY_JWT, "forum"),
        (None, asserted({"alg": "none"}, {"sub": "forum"}), AuthMethod.PRIVATE_KEY_JWT, "forum"),
        (None, asserted({"alg": "HS256"}, {"sub": "forum"}, client_id="forum"), AuthMethod.SECRET_JWT, "forum"),
    ],
)
def test_a_request_brings_one_proof(
    basic: tuple[str, str] | None, params: dict[str, str], method: AuthMethod, client_id: str
) -> None:
    proof = read_proof(basic, params)
    assert (proof.method, proof.client_id) == (method, client_id)
    assert "x" not in repr(proof).replace("client", "")


@pytest.mark.parametrize(
    ("basic", "params"),
    [
        (("forum", "x"), {"client_secret": "x"}),
        (("forum", "x"), {"client_assertion": "x"}),
        (("forum", "x"), {"client_assertion_type": "x"}),
        (None, {"client_secret": "x", "client_assertion": "x"}),
        (("forum", "x"), {"client_id": "wiki"}),
    ],
)
def test_two_proofs_are_no_proof(basic: tuple[str, str] | None, params: dict[str, str]) -> None:
    """RFC 6749 §2.3."""
    with pytest.raises(InvalidRequest):
        read_proof(basic, params)


DEEP = base64.urlsafe_b64encode(b"[" * 3000).decode()


@pytest.mark.parametrize(
    "params",
    [
        {"client_assertion": token({}, {"sub": "forum"})},
        {"client_assertion": token({}, {"sub": "forum"}), "client_assertion_type": "urn:other"},
        {"client_assertion_type": ASSERTION_TYPE},
        {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "e30"},
        {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "e30.!.x"},
        {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "e30.\u00e9.x"},
        {"client_assertion_type": ASSERTION_TYPE, "client_assertion": f"e30.{DEEP}.x"},
        {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "e30.gICA.x"},
        asserted({}, {}),
        asserted({}, {"sub": 7}),
        asserted({}, {"sub": ["forum"]}),
        asserted({}, ["forum"]),
        asserted({}, {"sub": "forum"}, client_id="wiki"),
    ],
)
def test_an_assertion_names_one_site(params: dict[str, str]) -> None:
    """Whatever does not read is refused like a wrong secret (RFC 7521 §4.2)."""
    with pytest.raises(InvalidClient):
        read_proof(None, params)


def test_the_algorithms_are_the_registrations() -> None:
    """Never the token's wish; strict sites do without RS256 (catalogue 55)."""
    assert algorithms_of(client(auth_method=AuthMethod.SECRET_JWT, strict_jwt=True)) == SECRET_ALGORITHMS
    assert algorithms_of(client(auth_method=AuthMethod.PRIVATE_KEY_JWT, strict_jwt=False)) == CLIENT_ALGORITHMS
    assert algorithms_of(client(auth_method=AuthMethod.PRIVATE_KEY_JWT, strict_jwt=True)) == STRICT_ALGORITHMS
    assert "RS256" not in STRICT_ALGORITHMS
    assert not {"none", "HS256"} & set(CLIENT_ALGORITHMS)


def claims(**changes: Any) -> dict[str, Any]:
    at = NOW.timestamp()
    good = {"iss": "forum", "sub": "forum", "aud": ISSUER, "exp": at + 60, "iat": at, "jti": "once-1"} | changes
    return {name: value for name, value in good.items() if value is not None}


def check(given: dict[str, Any], *, strict: bool = False) -> tuple[str, datetime]:
    once = check_assertion(given, client(strict_jwt=strict), issuer=ISSUER, endpoints=ENDPOINTS, now=NOW)
    return once.key, once.until


@pytest.mark.parametrize("strict", [False, True])
def test_a_good_assertion_is_taken_once(strict: bool) -> None:
    """Remembered by site and number until it ends, whatever endpoint it was sent to (catalogue 55)."""
    key, until = check(claims(), strict=strict)
    assert until > NOW + timedelta(seconds=60), "servers' clocks may be apart"
    assert check(claims(jti="once-2"), strict=strict)[0] != key
    assert check(claims(exp=NOW.timestamp() + 90), strict=strict)[0] == key
    assert key.startswith("assertion:forum:")
    assert "once-1" not in key
    assert check(claims(iat=None))[0] == key


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "wiki"}, {"sub": "wiki"}, {"sub": None}, {"iss": None}, {"iss": ["forum"]},
        {"aud": None}, {"aud": "https://evil.test"}, {"aud": f"{ISSUER}/"}, {"aud": []}, {"aud": [ISSUER, "https://evil.test"]},
        {"aud": [7]}, {"aud": {"a": ISSUER}}, {"aud": f"{ISSUER}/revoke"},
        {"exp": None}, {"exp": NOW.timestamp()}, {"exp": NOW.timestamp() - 300}, {"exp": NOW.timestamp() + 331},
        {"exp": "2040"}, {"exp": True}, {"exp": 1e308}, {"exp": 10**400}, {"exp": -1},
        {"iat": NOW.timestamp() + 31}, {"iat": "now"}, {"nbf": NOW.timestamp() + 60}, {"nbf": None, "iat": False},
        {"jti": None}, {"jti": ""}, {"jti": 7}, {"jti": "x" * 256},
    ],
    ids=str,
)  # fmt: skip
def test_any_other_assertion_is_refused(changes: dict[str, Any]) -> None:
    """No sub, another audience, over, too long a life, from the future, without a number (catalogue 55)."""
    with pytest.raises(InvalidClient) as refused:
        check(claims(**changes))
    assert refused.value.detail.startswith("client_assertion ")


def test_a_clock_that_is_a_little_ahead_is_forgiven() -> None:
    """Eight seconds are fine, a minute is not (FAPI 2.0 Security Profile §5.3.2.1)."""
    assert check(claims(nbf=NOW.timestamp() + 8, iat=NOW.timestamp() + 8), strict=True)


@pytest.mark.parametrize("audience", [[ISSUER], f"{ISSUER}/token", f"{ISSUER}/introspect", [ISSUER, f"{ISSUER}/token"]])
def test_a_strict_site_names_the_issuer_alone(audience: object) -> None:
    """No list, no endpoint (CVE-2025-27370; catalogue 55); other sites may name either."""
    assert check(claims(aud=audience))
    with pytest.raises(InvalidClient, match="aud"):
        check(claims(aud=audience), strict=True)


def test_an_audience_is_ours_or_nobodys() -> None:
    assert is_for_us(ISSUER, ISSUER, frozenset(), alone=True)
    assert not is_for_us([ISSUER], ISSUER, frozenset(), alone=True)
    assert is_for_us([ISSUER], ISSUER, frozenset(), alone=False)


def test_a_time_is_a_moment_or_nothing() -> None:
    assert read_time({"exp": 1.5}, "exp") == datetime.fromisoformat("1970-01-01T00:00:01.500+00:00")
    assert read_time({}, "exp") is None
    assert read_time({"exp": float("nan")}, "exp") is None
