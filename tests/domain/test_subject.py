"""Subjects of a stream: whom we know by what is said, and what is no subject at all (RFC 9493 §3, SSF 1.0 §3)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import client

from broker.domain.subject import LONGEST, MOST_PARTS, named_subject
from broker.domain.tokens import subject_for
from broker.domain.values import AccountId

ISSUER = "https://login.test"
NUMBER = subject_for(AccountId("ana"), client(), b"k" * 32)
ANA = {"format": "iss_sub", "iss": ISSUER, "sub": NUMBER}
MAIL = {"format": "email", "email": "ana@canary.test"}


@pytest.mark.parametrize("said", [ANA, {**ANA, "more": 1}, {"format": "complex", "user": ANA}])
def test_a_person_is_named_as_our_events_name_them(said: Any) -> None:
    assert named_subject(said, ISSUER) == NUMBER


@pytest.mark.parametrize(
    "said",
    [
        {**ANA, "iss": "https://other.test"}, {**ANA, "sub": NUMBER[1:]}, {**ANA, "sub": NUMBER + "A"},
        {**ANA, "sub": "é" * 43}, {**ANA, "sub": "." * 43},
        MAIL, {"format": "account", "uri": "acct:ana@canary.test"}, {"format": "opaque", "id": NUMBER},
        {"format": "phone_number", "phone_number": "+1"}, {"format": "did", "url": "did:example:1"},
        {"format": "uri", "uri": "urn:one"}, {"format": "jwt_id", "iss": ISSUER, "jti": "1"},
        {"format": "saml_assertion_id", "issuer": ISSUER, "assertion_id": "1"},
        {"format": "ip-addresses", "ip-addresses": ["192.0.2.1"]},
        {"format": "aliases", "identifiers": [ANA, MAIL]},
        {"format": "complex", "user": ANA, "session": {"format": "opaque", "id": "1"}}, {"format": "complex", "user": MAIL},
        {"format": "complex", "device": {"format": "opaque", "id": "1"}},
    ],
)  # fmt: skip
def test_whoever_our_events_never_name_so_is_nobody(said: Any) -> None:
    """One session of somebody, too: what is asked for is less than the person."""
    assert named_subject(said, ISSUER) is None


@pytest.mark.parametrize(
    "said",
    [
        None, [], "ana", {}, {"format": 1}, {"format": ["email"]}, {"format": "user_name", "user_name": "ana"},
        {"format": "email"}, {"format": "email", "email": ""}, {"format": "email", "email": "a\0b"},
        {"format": "email", "email": "x" * (LONGEST + 1)}, {"format": "iss_sub", "sub": NUMBER},
        {"format": "iss_sub", "iss": ISSUER}, {"format": "iss_sub", "iss": ISSUER, "sub": 1},
        {"format": "ip-addresses"}, {"format": "ip-addresses", "ip-addresses": []},
        {"format": "ip-addresses", "ip-addresses": [1]}, {"format": "ip-addresses", "ip-addresses": ["x"] * (MOST_PARTS + 1)},
        {"format": "aliases"}, {"format": "aliases", "identifiers": []}, {"format": "aliases", "identifiers": [1]},
        {"format": "aliases", "identifiers": [MAIL] * (MOST_PARTS + 1)},
        {"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [MAIL]}]},
        {"format": "complex"}, {"format": "complex", "user": "ana"}, {"format": "complex", "user": {"format": "complex", "user": ANA}},
        {**ANA, **{str(number): 1 for number in range(MOST_PARTS)}},
    ],
)  # fmt: skip
def test_what_is_no_subject_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match="no subject"):
        named_subject(said, ISSUER)
