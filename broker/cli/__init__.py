"""The command line: `doorward serve | check | schema | migrate | account | keys | provider | site | version` (click lives here).

Reads what the operator typed, calls the rest of the program, and says in one or two sentences what happened and what to
do. Exit codes: 0 done, 1 it could not be done, 2 it was typed wrongly or cannot be read. Owns no rule; a mistake of the
operator's never ends in a traceback. What a command needs is imported when it runs, so that each starts at once.
"""

from __future__ import annotations

from broker.cli.commands import main

__all__ = ["main"]
