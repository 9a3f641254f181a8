"""What a check found, one line each, and the code it ends with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

import click

from broker.cli.common import DONE, REFUSED


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: fine, wrong with what to do, or only said."""

    is_fine: bool | None
    words: str


MAX_WORDS: Final = 600
"""Characters of a line: what somebody else said of themselves may stand in it."""


def plain(words: str) -> str:
    """Words of others move no cursor and hide nothing."""
    shown = words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}…"
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in shown)


def tell(findings: Iterable[Finding]) -> NoReturn:
    """Print them as they come, and end the program: 1 if anything is wrong."""
    is_wrong = False
    for finding in findings:
        is_wrong = is_wrong or finding.is_fine is False
        click.echo(f"{ {True: 'fine ', False: 'WRONG', None: '-    '}[finding.is_fine] }  {plain(finding.words)}")
    raise SystemExit(REFUSED if is_wrong else DONE)
