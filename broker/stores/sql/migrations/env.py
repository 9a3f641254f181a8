"""Alembic runs this file. The connection is already in a transaction: all revisions happen, or none."""

from __future__ import annotations

from alembic import context

from broker.stores.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
