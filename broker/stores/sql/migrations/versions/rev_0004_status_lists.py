"""Places of grants in the status lists, and which of them have ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("status", sa.String(), nullable=True))
    op.create_table(
        "ended_statuses",
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_ended_statuses")),
    )
    op.create_index(op.f("ix_ended_statuses_ended_at"), "ended_statuses", ["ended_at"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("given", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )


def downgrade() -> None:
    op.drop_table("counters")
    op.drop_index(op.f("ix_ended_statuses_ended_at"), table_name="ended_statuses")
    op.drop_table("ended_statuses")
    op.drop_column("grants", "status")
