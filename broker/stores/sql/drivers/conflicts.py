"""Which `Conflict` a broken uniqueness is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from broker.errors import Conflict
from broker.stores.sql.statements import Row, Step

_CONFLICTS: Final = {
    "accounts.id": "account",
    "accounts.name_key": "user_name",
    "accounts.email_key": "email",
    "links.id": "link",
    "links.identity_key": "link",
    "consent_receipts.id": "receipt",
    "grants.id": "grant",
    "codes.digest": "code",
    "refresh_families.id": "family",
    "postings.id": "posting",
    "deliveries.id": "delivery",
    "signing_keys.id": "kid",
    "sessions.id": "session",
    "sessions.secret_digest": "session",
}


def conflict_of_columns(message: str) -> Conflict | None:
    """From SQLite's `UNIQUE constraint failed: table.column, …`."""
    column = message.rpartition(": ")[2].partition(",")[0]
    what = _CONFLICTS.get(column)
    return Conflict(what) if what else None


def conflict_of_constraint(name: str | None) -> Conflict | None:
    """From PostgreSQL's constraint name, made by the naming convention: `pk_<table>` or `uq_<table>_<column>`."""
    for column, what in _CONFLICTS.items():
        table, _, field = column.partition(".")
        if name in (f"uq_{table}_{field}", f"pk_{table}" if field in {"id", "digest"} else ""):
            return Conflict(what)
    return None


def check(step: Step, rows: Sequence[Row]) -> None:
    """Raises the step's `Conflict` if its rows are not what the unit of work counts on."""
    if step.expect is not None and bool(rows) != (step.expect == "rows"):
        raise Conflict(step.conflict)
