"""What a signing key is for, so that none serves two purposes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("signing_keys", sa.Column("purpose", sa.String(), server_default="tokens", nullable=False))


def downgrade() -> None:
    # The program before this would sign what sites get with keys that providers know as ours.
    op.execute(sa.text("DELETE FROM signing_keys WHERE purpose <> 'tokens'"))
    op.drop_column("signing_keys", "purpose")
