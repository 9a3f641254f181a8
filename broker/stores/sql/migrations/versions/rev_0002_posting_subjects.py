"""Whose number a site may ask to post for: there while an opt-in stands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "posting_subjects",
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_posting_subjects")),
    )
    op.create_index(op.f("ix_posting_subjects_account"), "posting_subjects", ["account"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_posting_subjects_account"), table_name="posting_subjects")
    op.drop_table("posting_subjects")
