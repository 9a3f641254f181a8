"""Codes to sign in with: how they look, what is read of what people type, and which link lets them in."""

from __future__ import annotations

import pytest
from tests.support import builders as make

from broker.domain.mail_code import BY_MAIL, DIGITS, digest_of, mail_link, make_code, new_key, read_code
from broker.domain.values import AccountId


def test_a_code_always_has_all_its_digits() -> None:
    assert make_code(bytes(16)) == "0" * DIGITS
    assert make_code((10**DIGITS + 42).to_bytes(16, "big")) == f"{42:0{DIGITS}}"


@pytest.mark.parametrize("typed", ["12345678", " 1234 5678 ", "1234-5678", "1234\N{NO-BREAK SPACE}5678"])
def test_a_code_is_read_however_it_is_pasted(typed: str) -> None:
    assert read_code(typed) == "12345678"


@pytest.mark.parametrize("typed", ["", "1234567", "123456789", "12345678" + " " * 100, "\N{SUPERSCRIPT TWO}1234567"])
def test_what_is_no_code_is_none(typed: str) -> None:
    assert read_code(typed) == ""


def test_a_digest_is_of_code_and_salt() -> None:
    assert len({digest_of(code, salt) for code in ("12345678", "12345679") for salt in ("a", "b")}) == 4
    assert "12345678" not in digest_of("12345678", "a")


def test_codes_let_in_by_a_link_of_their_own() -> None:
    owner = AccountId("ana")
    others, ours = [make.link(owner), make.link(owner)], make.link(owner, provider=BY_MAIL, key=new_key("random"))
    assert mail_link(others) is None
    assert mail_link([*others, ours]) == ours
