"""Alembic's environment and the revisions. Run by `broker.stores.sql.schema`, on a connection it hands in."""
