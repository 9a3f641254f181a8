"""The neutral age question: what it decides, and what an answer leaves behind — nothing about the person (promise P18).

It is asked before the first request to a provider, of a browser that does not look like an account holder's, and only
where the admin set a rule. The date of birth is used once and kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from broker.errors import FormInvalid

EARLIEST_YEAR: Final = 1900


class AgeAnswer(StrEnum):
    """How far one attempt to sign in is with the question."""

    NONE = ""
    """Not asked yet."""
    ENOUGH = "enough"
    """Old enough to make an account."""
    HAS_ACCOUNT = "has_account"
    """Says there is an account already; somebody unknown is asked after all."""
    UNKNOWN_PERSON = "unknown_person"
    """Came back from a provider as nobody we know: dropped unread, to be asked now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeRule:
    """Nobody younger than `minimum` years makes an account."""

    minimum: int

    def allows(self, year: int, month: int, today: date) -> bool:
        """Whether somebody born in that month is old enough whatever the day: in the month of the birthday not yet."""
        return (today.year - year) * 12 + today.month - month > self.minimum * 12


def read_birth_month(year: str, month: str, today: date) -> tuple[int, int]:
    """Year and month as typed. Raises `FormInvalid` with `birth_year` and `birth_month` (`missing` or `bad_value`)."""
    problems: dict[str, str] = {}
    year, month = year.strip(), month.strip()
    if not (month.isascii() and month.isdecimal() and len(month) <= 2 and 1 <= int(month) <= 12):
        problems["birth_month"] = "bad_value" if month else "missing"
    if not (year.isascii() and year.isdecimal() and len(year) == 4 and EARLIEST_YEAR <= int(year) <= today.year):
        problems["birth_year"] = "bad_value" if year else "missing"
    if not problems and (int(year), int(month)) > (today.year, today.month):
        problems["birth_month"] = "bad_value"
    if problems:
        raise FormInvalid(problems)
    return int(year), int(month)
