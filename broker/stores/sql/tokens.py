"""Access tokens revoked one by one, until they would have expired anyway."""

from __future__ import annotations

from typing import Final

from sqlalchemy.dialects.postgresql import insert

from broker.stores.sql.statements import define, parameter
from broker.stores.sql.tables import revoked_tokens

REVOKE: Final = define(
    insert(revoked_tokens)
    .inline()
    .values({column: parameter(column) for column in revoked_tokens.columns})
    .on_conflict_do_nothing()
)
