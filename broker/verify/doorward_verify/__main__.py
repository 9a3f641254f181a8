"""``python -m doorward_verify testvectors FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from .testvectors import write_vectors

__all__ = ["main"]

USAGE = "usage: python -m doorward_verify testvectors FOLDER"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 if it worked, 2 if it was not understood."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 2 or given[0] != "testvectors":
        sys.stderr.write(USAGE + "\n")
        return 2
    sys.stdout.write(f"{write_vectors(Path(given[1]))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
