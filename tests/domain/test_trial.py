"""What went wrong with a provider, by one of a few names."""

from __future__ import annotations

import pytest

from broker.domain.trial import FAILURES, UNKNOWN, failure_of
from broker.web.pages.words import FAILURES as WORDS


@pytest.mark.parametrize(
    ("detail", "name"),
    [
        ("token invalid_client", "secret"),
        ("token invalid_client signed RS256", "our_keys"),
        ("token unauthorized_client signed ES256", "our_keys"),
        ("token invalid_grant signed ES256", "code"),
        ("token invalid_grant", "code"),
        ("token bad_verification_code", "code"),
        ("token redirect_uri_mismatch", "redirect"),
        ("token something_else", "refused"),
        ("graph 1/0 token", "secret"),
        ("graph 100/0 token", "code"),
        ("graph 100/36009 token", "code"),
        ("graph 100/36008 token", "redirect"),
        ("graph 101/0 token", "client_id"),
        ("graph 999/0 token", "refused"),
        ("graph 1/0 me", "unwell"),
        ("graph 4/0 me", "too_often"),
        ("graph 190/460 me", "refused"),
        ("upstream access_denied", "said_no"),
        ("authorization invalid_scope", "scope"),
        ("authorization unauthorized_client", "client_id"),
        ("authorization invalid_request_object", "request_object"),
        ("authorization request_not_supported", "request_object"),
        ("authorization request_uri_not_supported", "request_object"),
        ("discovery_request_object_alg", "request_object"),
        ("authorization server_error", "unwell"),
        ("authorization other", "refused"),
        ("dialog 901", "refused"),
        ("status 401 userinfo", "refused"),
        ("status 404 discovery", "not_there"),
        ("status 429 token", "too_often"),
        ("status 502 token", "unwell"),
        ("status 418 userinfo", "refused"),
        ("dns idp.example.org", "no_name"),
        ("address idp.example.org", "private_address"),
        ("circuit idp.example.org", "left_alone"),
        ("discovery_issuer", "issuer"),
        ("discovery_token missing", "discovery"),
        ("iat", "clock"),
        ("kid", "keys"),
        ("", UNKNOWN),
        ("no such check", UNKNOWN),
    ],
)
def test_a_failure_has_a_name(detail: str, name: str) -> None:
    assert failure_of(detail) == name


def test_every_name_has_words_for_people() -> None:
    assert set(WORDS) == FAILURES
    assert all(what.endswith(".") and fix.endswith(".") for what, fix in WORDS.values())
