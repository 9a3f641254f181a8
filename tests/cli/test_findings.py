"""What a check prints, when somebody else chose the words."""

from __future__ import annotations

import pytest

from broker.cli.findings import MAX_WORDS, Finding, tell


def test_words_of_others_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with escapes in it would otherwise write over the line that says what is wrong."""
    with pytest.raises(SystemExit) as end:
        tell(
            [
                Finding(False, "The app is called \x1b[2J\x1b[1;1Hfine\r\n\u202eolleh\x9b1m."),
                Finding(True, "x" * 10_000),
            ]
        )
    first, second = capsys.readouterr().out.splitlines()
    assert end.value.code == 1
    assert first == "WRONG  The app is called \ufffd[2J\ufffd[1;1Hfine\ufffd\ufffd\ufffdolleh\ufffd1m."
    assert second == f"fine   {'x' * MAX_WORDS}…"
