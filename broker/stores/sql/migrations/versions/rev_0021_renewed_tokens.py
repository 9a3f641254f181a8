"""Who is renewing the tokens of a posting opt-in, so that no two processes do at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("upstream_tokens", sa.Column("renewing_since", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("upstream_tokens", "renewing_since")
