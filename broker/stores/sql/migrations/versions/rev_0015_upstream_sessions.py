"""Which session of a provider a session began with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("upstream", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_sessions_upstream"), "sessions", ["upstream"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_sessions_upstream"), table_name="sessions")
    op.drop_column("sessions", "upstream")
