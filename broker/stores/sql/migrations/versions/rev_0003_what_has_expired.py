"""Find what has expired without looking at everything."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_refresh_families_expires_at"), "refresh_families", ["expires_at"], unique=False)
    op.drop_index(op.f("ix_postings_expires_at"), table_name="postings")
    op.create_index(op.f("ix_postings_settled_at_expires_at"), "postings", ["settled_at", "expires_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_postings_settled_at_expires_at"), table_name="postings")
    op.create_index(op.f("ix_postings_expires_at"), "postings", ["expires_at"], unique=False)
    op.drop_index(op.f("ix_refresh_families_expires_at"), table_name="refresh_families")
