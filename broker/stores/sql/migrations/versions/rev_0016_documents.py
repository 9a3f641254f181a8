"""Sites whose id is the address of a document: how long it is fresh, and whether an admin shut the site out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

BEFORE = "substr(client, 1, 2) = 'r-'"
PUT_IN_BY_THEMSELVES = "(substr(client, 1, 2) = 'r-' OR substr(client, 1, 8) = 'https://')"


def upgrade() -> None:
    op.add_column("registrations", sa.Column("fresh_until", sa.BigInteger(), nullable=True))
    op.add_column("registrations", sa.Column("blocked_at", sa.BigInteger(), nullable=True))
    _index(PUT_IN_BY_THEMSELVES)


def downgrade() -> None:
    _index(BEFORE)
    op.execute(sa.text("DELETE FROM registrations WHERE fresh_until IS NOT NULL"))
    op.drop_column("registrations", "blocked_at")
    op.drop_column("registrations", "fresh_until")


def _index(condition: str) -> None:
    op.drop_index(op.f("ix_grants_client"), "grants")
    op.create_index(
        op.f("ix_grants_client"),
        "grants",
        ["client"],
        sqlite_where=sa.text(condition),
        postgresql_where=sa.text(condition),
    )
