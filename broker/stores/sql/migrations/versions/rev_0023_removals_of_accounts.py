"""What a provider said of an account's owner is found by the account, which it outlives when two become one."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_removals_account"), "removals", ["account"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_removals_account"), table_name="removals")
