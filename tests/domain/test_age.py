"""The age question: who is old enough, and what counts as an answer."""

from __future__ import annotations

from datetime import date

import pytest

from broker.domain.age import AgeRule, read_birth_month
from broker.errors import FormInvalid

TODAY = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("born", "allowed"),
    [
        ((2013, 10), True),
        ((2013, 11), False),
        ((2013, 12), False),
        ((2014, 1), False),
        ((1990, 12), True),
        ((2026, 11), False),
    ],
)
def test_old_enough_is_whoever_surely_is(born: tuple[int, int], allowed: bool) -> None:
    """The day is not asked: in the month of the thirteenth birthday the answer is still no."""
    assert AgeRule(minimum=13).allows(*born, TODAY) is allowed


@pytest.mark.parametrize(("year", "month"), [("1990", "1"), ("1900", "12"), ("2026", "11"), (" 2001 ", " 07 ")])
def test_a_month_and_a_year_are_an_answer(year: str, month: str) -> None:
    assert read_birth_month(year, month, TODAY) == (int(year), int(month))


@pytest.mark.parametrize(
    ("year", "month", "problems"),
    [
        ("", "", {"birth_year": "missing", "birth_month": "missing"}),
        ("90", "1", {"birth_year": "bad_value"}),
        ("1899", "1", {"birth_year": "bad_value"}),
        ("2027", "1", {"birth_year": "bad_value"}),
        ("19900", "1", {"birth_year": "bad_value"}),
        ("١٩٩٠", "1", {"birth_year": "bad_value"}),
        ("1990", "13", {"birth_month": "bad_value"}),
        ("1990", "0", {"birth_month": "bad_value"}),
        ("1990", "may", {"birth_month": "bad_value"}),
        ("1990", "001", {"birth_month": "bad_value"}),
        ("2026", "12", {"birth_month": "bad_value"}),
    ],
)
def test_anything_else_is_told_apart_by_field(year: str, month: str, problems: dict[str, str]) -> None:
    """No date that is still to come either."""
    with pytest.raises(FormInvalid) as refused:
        read_birth_month(year, month, TODAY)
    assert refused.value.fields == problems
