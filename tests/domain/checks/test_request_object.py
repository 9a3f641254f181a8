"""What a request says that the site itself signed (RFC 9101)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import NOW, client
from tests.support.client_keys import object_claims

from broker.domain.checks.request_object import (
    TYPES,
    check_object,
    check_signed,
    is_signed,
    object_algorithms_of,
)
from broker.domain.client import Profile, RequestObjectUse
from broker.errors import InvalidRequest, InvalidRequestObject

ISSUER = "https://login.test"
SITE = client(strict_jwt=False)
STRICT = client(strict_jwt=True)
MESSAGE_SIGNING = client(strict_jwt=True, profile=Profile.FAPI2_MESSAGE_SIGNING)
AT = int(NOW.timestamp())


def check(site: Any = SITE, **changes: Any) -> dict[str, str]:
    return dict(check_object(object_claims("forum", ISSUER, NOW, **changes), site, issuer=ISSUER, now=NOW))


@pytest.mark.parametrize("site", [SITE, STRICT])
def test_what_it_holds_is_what_a_query_would_bring(site: Any) -> None:
    """Numbers and `claims` as JSON has them; what nobody knows and what is empty is left out (RFC 9101 §4)."""
    asked = {"userinfo": {"email": None}}
    more = {"unknown": "x", "another": {"y": 1}, "login_hint": "", "resource": ["https://a.test", "https://b.test"]}
    params = check(site, max_age=60, claims=asked, **more)
    assert params["resource"] == "https://a.test https://b.test"
    assert params["max_age"] == "60"
    assert json.loads(params["claims"]) == asked
    assert params["client_id"] == "forum"
    assert {"iss", "aud", "exp", "nbf", "iat", "unknown", "another", "login_hint"}.isdisjoint(params)


def test_it_need_not_repeat_the_sites_id() -> None:
    assert check(client_id=None)["client_id"] == "forum"


@pytest.mark.parametrize(
    ("changes", "check_name"),
    [
        ({"request": "x"}, "holds another"), ({"request_uri": "x"}, "holds another"),
        ({"iss": None}, "iss or client_id"), ({"iss": "wiki"}, "iss or client_id"), ({"iss": 1}, "iss or client_id"),
        ({"client_id": "wiki"}, "iss or client_id"), ({"client_id": 1}, "iss or client_id"),
        ({"sub": "forum"}, "sub"),
        ({"aud": None}, "aud"), ({"aud": "https://evil.test"}, "aud"), ({"aud": [ISSUER, "https://evil.test"]}, "aud"),
        ({"aud": []}, "aud"), ({"aud": f"{ISSUER}/"}, "aud"),
        ({"exp": AT}, "exp"), ({"exp": "later"}, "exp"), ({"exp": True}, "exp"),
        ({"nbf": AT + 31}, "nbf"), ({"nbf": "now"}, "nbf"), ({"iat": AT + 31}, "iat"), ({"iat": "now"}, "iat"),
        ({"state": ["x"]}, "state"), ({"state": True}, "state"), ({"nonce": {"a": 1}}, "nonce"), ({"max_age": 1.5}, "max_age"),
        ({"claims": ["x"]}, "claims"), ({"resource": ["https://a.test", 1]}, "resource"), ({"resource": {}}, "resource"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("site", [SITE, STRICT])
def test_what_is_for_somebody_else_or_over_or_odd_is_refused(
    site: Any, changes: dict[str, Any], check_name: str
) -> None:
    with pytest.raises(InvalidRequestObject, match=f"request object {check_name}"):
        check(site, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"exp": None}, {"nbf": None}, {"exp": AT + 3601}, {"nbf": AT - 3601, "exp": AT + 1}, {"aud": [ISSUER]}],
)
def test_a_strict_site_says_for_how_long_and_for_us_alone(changes: dict[str, Any]) -> None:
    """An hour at most (FAPI 2.0 Message Signing §5.3.1)."""
    assert check(SITE, **changes)
    with pytest.raises(InvalidRequestObject, match="lifetime|aud"):
        check(STRICT, **changes)
    assert check(STRICT, exp=AT + 3600)
    assert check(STRICT, nbf=AT - 3599, exp=AT + 1)


def test_a_site_of_message_signing_may_name_others_beside_us() -> None:
    """FAPI 2.0 Message Signing §5.3.1; elsewhere a strict site names us alone."""
    both = [ISSUER, "https://other.test"]
    assert check(MESSAGE_SIGNING, aud=both) == check(MESSAGE_SIGNING, aud=ISSUER)
    for audience in (["https://other.test"], [], "https://other.test", 1):
        with pytest.raises(InvalidRequestObject, match="aud"):
            check(MESSAGE_SIGNING, aud=audience)
    with pytest.raises(InvalidRequestObject, match="aud"):
        check(STRICT, aud=both)


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_sites_clock_may_be_a_little_ahead(name: str) -> None:
    """Ten seconds are fine, more than a minute is not (FAPI 2.0 Security Profile §5.3.2.1, 13)."""
    assert check(STRICT, **{name: AT + 10})
    with pytest.raises(InvalidRequestObject, match=name):
        check(STRICT, **{name: AT + 61})


def test_what_may_sign_and_how_it_may_be_called() -> None:
    """None of the other types that a site signs is among its names (RFC 9101 §10.8)."""
    assert "client-authentication+jwt" not in TYPES
    assert "dpop+jwt" not in TYPES
    assert "RS256" in object_algorithms_of(SITE)
    assert {"RS256", "none", "HS256"}.isdisjoint(object_algorithms_of(STRICT))


def test_a_site_that_signs_everything_is_heard_in_no_other_way() -> None:
    """RFC 9101 §10.5."""
    free = replace(SITE, request_object=RequestObjectUse.OPTIONAL)
    for signed in (True, False):
        check_signed(free, is_signed=signed)
    bound = replace(SITE, request_object=RequestObjectUse.REQUIRED)
    check_signed(bound, is_signed=True)
    with pytest.raises(InvalidRequest, match="not signed"):
        check_signed(bound, is_signed=False)


def test_a_request_says_that_it_is_signed() -> None:
    assert is_signed({"request": "x"})
    assert is_signed({"request_uri": "https://forum.test/request"})
    assert not is_signed({"state": "request"})
