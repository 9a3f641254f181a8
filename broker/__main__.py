"""`python -m broker …`: the same as the `doorward` command."""

from __future__ import annotations

from broker.cli import main

if __name__ == "__main__":
    main()
