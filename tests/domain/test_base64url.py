"""One spelling goes out; how much is read depends on who reads."""

from __future__ import annotations

import pytest

from broker.domain import base64url

RAW = bytes(range(256))


@pytest.mark.parametrize("length", range(6))
def test_nothing_is_lost_and_nothing_is_padded(length: int) -> None:
    raw = b"\xfb\xff\xfe\x00\x01\x02"[:length]
    text = base64url.encoded(raw)
    assert "=" not in text
    assert base64url.decoded(text) == base64url.decoded_loosely(text) == raw


def test_its_letters_go_through_an_address_as_they_are() -> None:
    assert base64url.encoded(b"\xfb\xff\xfe") == "-__-"
    assert base64url.decoded(base64url.encoded(RAW)) == RAW


@pytest.mark.parametrize("text", ["AA.AA", "AA AA", "AAA\n", "é", "A", "AAAAA"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        base64url.decoded(text)


def test_odd_letters_are_passed_over_where_somebody_else_looks_at_them() -> None:
    assert base64url.decoded_loosely("AA.AA\n") == base64url.decoded("AAAA")


@pytest.mark.parametrize("text", ["A", "AAAAA", "é"])
def test_even_then_it_has_to_be_whole_bytes_and_ascii(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        base64url.decoded_loosely(text)
