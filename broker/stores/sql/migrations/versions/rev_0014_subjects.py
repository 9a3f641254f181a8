"""People that sites took out of their streams of security events, and the header that a site wants to see."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("streams", sa.Column("proof", sa.LargeBinary(), nullable=True))
    op.create_table(
        "removed_subjects",
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_removed_subjects")),
    )
    op.create_index(op.f("ix_removed_subjects_client"), "removed_subjects", ["client"])


def downgrade() -> None:
    op.drop_index(op.f("ix_removed_subjects_client"), "removed_subjects")
    op.drop_table("removed_subjects")
    op.drop_column("streams", "proof")
