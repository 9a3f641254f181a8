"""Versions of texts and purposes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from broker.domain.claims import EMAIL
from broker.domain.policy import (
    Audience,
    FieldPolicy,
    Policies,
    PolicyVersion,
    Use,
    in_force,
    needs_agreement,
    notice_version,
    text_version,
)

OLD = PolicyVersion(version="2", effective_from=date(2026, 1, 1))
NEW = PolicyVersion(version="3", effective_from=date(2026, 11, 2), changes=("We ask for less.",))
POLICIES = Policies(terms=(NEW, OLD), privacy=(OLD,))
FIELD = FieldPolicy(claim=EMAIL, use=Use.NEEDED, audience=Audience.ADMINS, purpose={"en": "To reach you.", "fr": "…"})


@pytest.mark.parametrize(
    ("today", "version"),
    [
        (date(2025, 12, 31), None),
        (date(2026, 1, 1), OLD),
        (date(2026, 11, 1), OLD),
        (date(2026, 11, 2), NEW),
        (date(2030, 1, 1), NEW),
    ],
)
def test_the_newest_version_that_has_taken_effect_is_in_force(today: date, version: PolicyVersion | None) -> None:
    assert in_force((NEW, OLD), today) is version


def test_no_version_is_no_version() -> None:
    assert in_force((), date(2026, 1, 1)) is None
    assert notice_version(Policies(terms=(), privacy=()), date(2026, 1, 1)) == "terms:- privacy:-"


def test_a_text_that_takes_effect_is_agreed_to_anew() -> None:
    before, after = date(2026, 11, 1), date(2026, 11, 2)
    agreed = notice_version(POLICIES, before)
    assert agreed == "terms:2 privacy:2"
    assert not needs_agreement(agreed, POLICIES, before)
    assert needs_agreement(agreed, POLICIES, after)
    assert not needs_agreement("terms:3 privacy:2", POLICIES, after)


def test_whoever_never_agreed_has_to() -> None:
    assert needs_agreement(None, POLICIES, date(2026, 6, 1))


def test_each_part_of_a_field_that_people_read_makes_its_version() -> None:
    """(catalogue 133)"""
    versions = {
        FIELD.version,
        replace(FIELD, audience=Audience.EVERYONE).version,
        replace(FIELD, purpose={"en": "To write to you.", "fr": "…"}).version,
        replace(FIELD, purpose={"en": "To reach you.", "fr": "Pour vous joindre."}).version,
    }
    assert len(versions) == 4


def test_the_order_of_languages_is_not_part_of_a_version() -> None:
    assert replace(FIELD, purpose={"fr": "…", "en": "To reach you."}).version == FIELD.version


def test_parts_of_a_version_do_not_run_together() -> None:
    assert text_version("ab", "c") != text_version("a", "bc")
    assert len(text_version("x")) == 12
