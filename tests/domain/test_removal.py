"""What a provider's word about somebody who left is worth, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.builders import FACEBOOK, NOW, removal

from broker.domain.removal import (
    APART,
    NOBODY,
    RemovalKind,
    RemovalState,
    Removed,
    code_of,
    is_news,
    taken,
    was_there,
)
from broker.domain.values import AccountId, IdentityKey

KEY = IdentityKey(issuer="https://facebook.example/app/1", subject="4711")
SAID = Removed(key=KEY, at=NOW)
SECOND = timedelta(seconds=1)


def test_a_code_belongs_to_one_identity_and_one_kind_and_cannot_be_guessed() -> None:
    """Letters and digits, as Facebook wants it."""
    code = code_of(b"k" * 32, KEY, RemovalKind.DELETION)
    assert code == code_of(b"k" * 32, KEY, RemovalKind.DELETION)
    assert len(code) == 24
    assert code.isalnum()
    others = {
        code_of(b"l" * 32, KEY, RemovalKind.DELETION),
        code_of(b"k" * 32, KEY, RemovalKind.APP_REMOVED),
        code_of(b"k" * 32, replace(KEY, subject="4712"), RemovalKind.DELETION),
        code_of(b"k" * 32, replace(KEY, issuer="https://facebook.example/app/2"), RemovalKind.DELETION),
    }
    assert len(others | {code}) == 5


def test_what_was_said_before_is_no_news() -> None:
    assert is_news(None, SAID)
    assert not is_news(removal(asked_at=NOW), SAID)
    assert not is_news(removal(asked_at=NOW + SECOND), SAID)
    assert is_news(removal(asked_at=NOW - SECOND), SAID)


@pytest.mark.parametrize(
    ("made_at", "first", "repeated"),
    [
        (NOW - SECOND, True, True),
        (NOW, True, True),
        (NOW + SECOND, True, False),
        (NOW + APART, True, False),
        (NOW + APART + SECOND, False, False),
    ],
)
def test_what_came_after_the_word_is_not_meant_by_it(made_at: object, first: bool, repeated: bool) -> None:
    """Clocks may differ a little, the first time; a repeated word ends nothing that is newer than it."""
    assert was_there(made_at, SAID, news=True) is first  # type: ignore[arg-type]
    assert was_there(made_at, SAID, news=False) is repeated  # type: ignore[arg-type]


def test_a_deletion_waits_for_people_and_what_is_taken_out_is_done() -> None:
    """And where there is no account, nothing is left to decide."""
    more = {"code": "C", "provider": FACEBOOK, "account": AccountId("a"), "now": NOW + SECOND}
    asked = taken(None, SAID, kind=RemovalKind.DELETION, **more)  # type: ignore[arg-type]
    assert (asked.state, asked.asked_at, asked.decided_at) == (RemovalState.WAITING, NOW, None)
    left = taken(None, SAID, kind=RemovalKind.APP_REMOVED, **more)  # type: ignore[arg-type]
    assert (left.state, left.decided_at, left.kind) == (RemovalState.KEPT, NOW + SECOND, RemovalKind.APP_REMOVED)
    nobody = taken(None, SAID, kind=RemovalKind.DELETION, **{**more, "account": NOBODY})  # type: ignore[arg-type]
    assert (nobody.state, nobody.decided_at, nobody.account) == (RemovalState.ERASED, NOW + SECOND, NOBODY)


def test_one_that_waits_goes_on_waiting_and_one_that_was_decided_waits_anew() -> None:
    more = {"code": "C", "provider": FACEBOOK, "account": AccountId("a"), "now": NOW, "kind": RemovalKind.DELETION}
    waiting = removal(code="C", account=AccountId("a"), asked_at=NOW - SECOND)
    assert taken(waiting, SAID, **more) == replace(waiting, asked_at=NOW)  # type: ignore[arg-type]
    kept = replace(waiting, state=RemovalState.KEPT, decided_at=NOW, reason="why")
    anew = taken(kept, SAID, **more)  # type: ignore[arg-type]
    assert (anew.state, anew.decided_at, anew.reason) == (RemovalState.WAITING, None, "")
    others = taken(waiting, SAID, **{**more, "account": AccountId("b")})  # type: ignore[arg-type]
    assert others.account == "b"
