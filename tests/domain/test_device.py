"""Codes that people type (RFC 8628 §6.1), and who may have them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.flows.op import FORUM, site

from broker.domain.checks.device import check_device
from broker.domain.device import LENGTH, LETTERS, make_user_code, read_user_code, spelled
from broker.domain.values import Scope
from broker.errors import InvalidScope, UnauthorizedClient

ALLOWED = replace(site(FORUM), device_grant=True)


@given(st.binary(min_size=16, max_size=16))
def test_a_code_is_read_however_it_is_typed(random: bytes) -> None:
    code = make_user_code(random)
    assert len(code) == LENGTH
    assert set(code) <= set(LETTERS)
    shown = spelled(code)
    assert shown == f"{code[:4]}-{code[4:]}"
    for typed in (code, shown, shown.lower(), f" {shown} ", shown.replace("-", " "), ".".join(code)):
        assert read_user_code(typed) == code


def test_each_letter_is_as_likely_as_any_other() -> None:
    codes = {make_user_code(number.to_bytes(16, "big")) for number in range(len(LETTERS) ** 2)}
    assert len(codes) == len(LETTERS) ** 2
    assert {code[:2] for code in codes} == {a + b for a in LETTERS for b in LETTERS}


@pytest.mark.parametrize("typed", ["", "WDJB", "WDJB-MJHA", "WDJB-MJH1", "WDJB-MJHTT", "É" * 8, "W" * 8 + "-" * 100])
def test_anything_else_is_no_code(typed: str) -> None:
    assert read_user_code(typed) is None


def test_only_a_site_whose_admin_allows_it_has_devices() -> None:
    with pytest.raises(UnauthorizedClient):
        check_device({"scope": "openid"}, site(FORUM))


def test_a_device_gets_the_scopes_its_site_may_have() -> None:
    scopes = frozenset({Scope("openid"), Scope("email")})
    client = replace(ALLOWED, scopes=scopes)
    assert check_device({"scope": "openid email phone made-up"}, client) == scopes


@pytest.mark.parametrize("params", [{}, {"scope": "profile"}, {"scope": "Openid"}])
def test_a_device_without_openid_is_told(params: dict[str, str]) -> None:
    with pytest.raises(InvalidScope):
        check_device(params, ALLOWED)
