"""What a check found, one line each, and the code it ends with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

import click

from broker.cli.common import DONE, REFUSED


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: fine, wrong with what to do, or only said."""

    is_fine: bool | None
    words: str


def tell(findings: Iterable[Finding]) -> NoReturn:
    """Print them as they come, and end the program: 1 if anything is wrong."""
    is_wrong = False
    for finding in findings:
        is_wrong = is_wrong or finding.is_fine is False
        click.echo(f"{ {True: 'fine ', False: 'WRONG', None: '-    '}[finding.is_fine] }  {finding.words}")
    raise SystemExit(REFUSED if is_wrong else DONE)
