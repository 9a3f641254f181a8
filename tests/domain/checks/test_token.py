"""The token request, checked: a code is for one client, one address, one verifier and one minute."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import NOW, WIKI, client, code, grant

from broker.domain.checks import token as checks
from broker.domain.client import Client
from broker.domain.grant import AuthorizationCode, Grant
from broker.domain.values import AccountId, Scope
from broker.errors import InvalidGrant, InvalidRequest, InvalidScope

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
GRANT = grant(AccountId("ana"))
CODE = code(GRANT)
GOOD = {"redirect_uri": CODE.redirect_uri, "code_verifier": VERIFIER}


def check(
    one: AuthorizationCode = CODE,
    held: Grant = GRANT,
    site: Client | None = None,
    now: datetime = NOW,
    **changes: str | None,
) -> None:
    params = {name: value for name, value in (GOOD | changes).items() if value is not None}
    checks.check_code(one, held, site or client(), params, now)


def test_the_right_client_with_the_right_verifier_gets_its_answer() -> None:
    """With the example of RFC 7636 appendix B."""
    check()


def test_a_code_is_for_the_client_it_was_made_for() -> None:
    """Catalogue 22."""
    with pytest.raises(InvalidGrant, match="another client"):
        check(site=client(client_id=WIKI))


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "https://www.forum.example/callback",
        "https://forum.example/callback",
        "https://forum.example/callback?x=2",
    ],
)
def test_a_code_is_for_the_address_it_was_sent_to(uri: str | None) -> None:
    """Another registered one will not do, nor none (catalogue 23)."""
    with pytest.raises(InvalidGrant, match="redirect_uri"):
        check(redirect_uri=uri)


@pytest.mark.parametrize(("seconds", "good"), [(0, True), (59.999999, True), (60, False), (61, False), (-3600, True)])
def test_a_code_is_good_for_a_minute(seconds: float, good: bool) -> None:
    """Catalogue 24."""
    now = NOW + timedelta(seconds=seconds)
    if good:
        check(now=now)
    else:
        with pytest.raises(InvalidGrant, match="expired"):
            check(now=now)


def test_a_code_of_a_revoked_grant_is_worth_nothing() -> None:
    with pytest.raises(InvalidGrant, match="revoked"):
        check(held=grant(AccountId("ana"), revoked_at=NOW))


@pytest.mark.parametrize(
    "verifier",
    [
        None,
        "",
        VERIFIER[:-1],
        VERIFIER[:42],
        VERIFIER + "A" * 86,
        VERIFIER[:-1] + "l",
        VERIFIER[:-1] + "é",
        VERIFIER[:-1] + " ",
        VERIFIER[:-1] + "/",
        CODE.code_challenge,
        VERIFIER.upper(),
    ],
)
def test_no_other_verifier_opens_the_code(verifier: str | None) -> None:
    """Missing, too short, too long, foreign characters, the challenge itself, a wrong one (catalogue 29, 30)."""
    with pytest.raises(InvalidGrant, match="code_verifier"):
        check(code_verifier=verifier)


def test_the_verifier_of_another_tab_does_not_open_the_code() -> None:
    """Catalogue 31."""
    other = code(GRANT, code_challenge=checks.challenge_of("b" * 43))
    check(one=other, code_verifier="b" * 43)
    with pytest.raises(InvalidGrant, match="wrong"):
        check(one=other)


def test_a_verifier_without_a_challenge_is_a_downgrade() -> None:
    """RFC 9700 §4.8.2 (catalogue 28)."""
    without = code(GRANT, code_challenge=None)
    check(one=without, code_verifier=None)
    with pytest.raises(InvalidGrant, match="without code_challenge"):
        check(one=without)


@settings(max_examples=25)
@given(verifier=st.text(st.sampled_from("abcXYZ019-._~"), min_size=43, max_size=128))
def test_a_verifier_opens_its_own_challenge_and_no_other(verifier: str) -> None:
    assert checks.is_code_verifier(verifier)
    one = code(GRANT, code_challenge=checks.challenge_of(verifier))
    check(one=one, code_verifier=verifier)
    with pytest.raises(InvalidGrant):
        check(one=one, code_verifier=verifier[1:] + ("b" if verifier[0] == "a" else "a"))


def test_there_are_checks() -> None:
    """An empty table would let everything through."""
    assert len(checks.CODE_CHECKS) >= 4


# --- parameters ---------------------------------------------------------------------------------------


def test_a_parameter_given_twice_is_refused() -> None:
    """RFC 6749 §3.2: known or not (catalogue 8)."""
    for name in ("code", "client_id", "whatever"):
        with pytest.raises(InvalidRequest, match="repeated"):
            checks.read_params([(name, "a"), ("x", ""), (name, "a")])


@pytest.mark.parametrize("pair", [("code", "c" * 4097), ("n" * 101, "x")])
def test_a_parameter_that_is_too_long_is_refused(pair: tuple[str, str]) -> None:
    """Catalogue 74."""
    with pytest.raises(InvalidRequest, match="too long"):
        checks.read_params([pair])


def test_a_parameter_without_a_value_is_left_out() -> None:
    assert checks.read_params([("a", ""), ("b", "c" * 4096)]) == {"b": "c" * 4096}


def test_several_interfaces_may_be_named() -> None:
    """RFC 8707 §2: the one parameter that may be given more than once."""
    assert checks.read_params([("resource", "https://a.test/"), ("resource", ""), ("resource", "https://b.test/")]) == {
        "resource": "https://a.test/ https://b.test/"
    }
    with pytest.raises(InvalidRequest, match="too long"):
        checks.read_params([("resource", "https://a.test/"), ("resource", "r" * 4097)])


@pytest.mark.parametrize(
    ("scope", "expected"),
    [(None, None), ("", None), ("openid", {"openid"}), ("profile  openid", {"openid", "profile"})],
)
def test_a_refresh_asks_for_the_same_or_less(scope: str | None, expected: set[str] | None) -> None:
    """RFC 6749 §6."""
    params = {} if scope is None else {"scope": scope}
    assert checks.narrowed(GRANT, params) == (GRANT.scopes if expected is None else expected)


@pytest.mark.parametrize("scope", ["email", "openid email", "OPENID", "openid\u00a0profile"])
def test_a_refresh_never_asks_for_more(scope: str) -> None:
    """Catalogue 90."""
    assert Scope("email") not in GRANT.scopes
    with pytest.raises(InvalidScope):
        checks.narrowed(GRANT, {"scope": scope})
