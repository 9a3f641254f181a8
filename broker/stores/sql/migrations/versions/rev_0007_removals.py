"""Who was said by a provider to have left."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "removals",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_removals")),
    )
    op.create_index(op.f("ix_removals_state_asked_at"), "removals", ["state", "asked_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_removals_state_asked_at"), table_name="removals")
    op.drop_table("removals")
