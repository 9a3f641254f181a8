"""Find the deliveries that failed without looking at all of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    failed = sa.text("attempts > 0")
    op.create_index(
        op.f("ix_deliveries_created_at_id"),
        "deliveries",
        ["created_at", "id"],
        unique=False,
        sqlite_where=failed,
        postgresql_where=failed,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_deliveries_created_at_id"), table_name="deliveries")
