"""The audit trail: what an entry says, and that nothing in it can be changed unseen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.builders import NOW

from broker.domain.audit import MAX_BY, MAX_WHY, Act, Action, AuditEntry, first_broken, next_entry

KEY = b"k" * 32


def chain(length: int = 4) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in range(length):
        entries.append(
            next_entry(
                KEY,
                entries[-1] if entries else None,
                at=NOW + timedelta(seconds=number),
                action=Action.ACCOUNT_HELD,
                subject=f"account-{number}",
                act=Act(by="deploy", why="Spam."),
            )
        )
    return entries


def test_entries_are_numbered_and_say_who_what_whom_and_why() -> None:
    first, second, *_ = chain()
    assert (first.number, second.number) == (1, 2)
    assert (second.by, second.action, second.subject, second.why) == (
        "deploy",
        Action.ACCOUNT_HELD,
        "account-1",
        "Spam.",
    )


def test_words_are_kept_on_one_line_and_to_a_length() -> None:
    """Nothing in them moves a cursor or hides a line (catalogue 151)."""
    act = Act(by="a\x1b[2Jb" + "c" * 1000, why="one\ntwo\u202e " + "x" * 1000)
    entry = next_entry(KEY, None, at=NOW, action=Action.ROLE_GIVEN, subject="ana owner", act=act)
    assert entry.by.startswith("a[2Jbc")
    assert entry.why.startswith("one two x")
    assert (len(entry.by), len(entry.why)) == (MAX_BY, MAX_WHY)


def test_a_chain_that_nobody_touched_holds() -> None:
    entries = chain()
    assert first_broken(KEY, entries) is None
    assert first_broken(KEY, entries[2:], entries[1]) is None
    assert first_broken(KEY, []) is None


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOW + timedelta(microseconds=1)},
        {"by": "somebody"},
        {"action": Action.ACCOUNT_RELEASED},
        {"subject": "account-9"},
        {"why": "No reason."},
        {"digest": "0" * 64},
    ],
)
def test_an_entry_that_was_changed_is_named(change: dict[str, Any]) -> None:
    """Wherever it stands in the chain."""
    entries = chain()
    entries[1] = replace(entries[1], **change)
    assert first_broken(KEY, entries) == 2


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_an_entry_that_was_taken_out_is_named(gone: int) -> None:
    """Also if those after it are numbered anew."""
    entries = chain()
    del entries[gone]
    assert first_broken(KEY, entries) == gone + 1
    renumbered = [replace(entry, number=number) for number, entry in enumerate(entries, 1)]
    assert first_broken(KEY, renumbered) == gone + 1


def test_whoever_has_not_the_key_can_write_no_chain() -> None:
    assert first_broken(b"l" * 32, chain()) == 1
