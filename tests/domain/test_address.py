"""Postal addresses: kept whole, told to sites in their parts, shown to people on one line."""

from __future__ import annotations

import json

import pytest

from broker.domain.address import MAX_PART, address_claim, address_words
from broker.domain.claims import ADDRESS, limit_of, normalise, read_typed, with_companions, words_of

WHOLE = {
    "formatted": "1 rue de l'Exemple\n75001 Paris\nFrance",
    "street_address": "1 rue de l'Exemple",
    "locality": "Paris",
    "region": "Île-de-France",
    "postal_code": "75001",
    "country": "France",
}


def kept(raw: object) -> str:
    text = normalise(ADDRESS, raw)
    assert text is not None
    return text


def test_every_part_goes_through() -> None:
    """OpenID Connect Core §5.1.1."""
    assert with_companions({ADDRESS: kept(WHOLE)}, frozenset()) == {ADDRESS: WHOLE}
    assert words_of(ADDRESS, kept(WHOLE)) == "1 rue de l'Exemple, 75001 Paris, France"


def test_without_one_text_the_parts_make_the_line() -> None:
    parts = {name: value for name, value in WHOLE.items() if name != "formatted"}
    assert address_words(kept(parts)) == "1 rue de l'Exemple, 75001 Paris, Île-de-France, France"
    assert address_words(kept({"country": "France"})) == "France"
    assert address_words(kept({"street_address": "Hof 3\r\nStiege 2", "locality": "Wien"})) == "Hof 3, Stiege 2, Wien"


def test_what_is_no_text_or_unknown_is_left_out() -> None:
    told = {
        "locality": " Paris\t",
        "country": 33,
        "region": "",
        "postal_code": None,
        "planet": "Earth",
        "formatted": [],
    }
    assert json.loads(kept(told)) == {"locality": "Paris"}


@pytest.mark.parametrize(
    "raw", [{}, {"country": "\x00"}, {"planet": "Earth"}, [], ["Paris"], 75001, None, True, "", " \n "]
)
def test_nothing_usable_is_no_address(raw: object) -> None:
    assert normalise(ADDRESS, raw) is None


def test_lines_are_cleaned_and_bounded() -> None:
    """(catalogue 131)"""
    lines = address_claim(kept({"formatted": "\n".join(f"line {number}\u202e" for number in range(1000))}))["formatted"]
    assert lines.splitlines() == [f"line {number}" for number in range(8)]
    assert len(address_claim(kept({"formatted": "\n".join(["x" * 900] * 8)}))["formatted"]) <= MAX_PART


def test_a_typed_address_is_one_text() -> None:
    typed = read_typed(ADDRESS, "2 Main Street, Springfield")
    assert typed is not None
    assert address_claim(typed) == {"formatted": "2 Main Street, Springfield"}
    assert words_of(ADDRESS, typed) == "2 Main Street, Springfield"
    assert read_typed(ADDRESS, "x" * (limit_of(ADDRESS) + 1)) is None


@pytest.mark.parametrize("text", ["1 Main Street", "[1]", "{}", '{"country": 1}', "12"])
def test_what_was_kept_as_text_is_still_an_address(text: str) -> None:
    assert address_claim(text) == {"formatted": text}


def test_typing_the_words_of_an_object_makes_no_object() -> None:
    typed = read_typed(ADDRESS, '{"country": "France"}')
    assert typed is not None
    assert address_claim(typed) == {"formatted": '{"country": "France"}'}
