"""Documents of sites that nobody uses any more are found by when they were fresh."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_registrations_fresh_until"), "registrations", ["fresh_until"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_registrations_fresh_until"), table_name="registrations")
