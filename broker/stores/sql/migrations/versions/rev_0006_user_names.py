"""Whose every user name is that was ever taken: one given up is nobody else's, either."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_names",
        sa.Column("name_key", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name_key", name=op.f("pk_user_names")),
    )
    op.execute(
        "INSERT INTO user_names (name_key, account) SELECT name_key, id FROM accounts WHERE name_key IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_table("user_names")
