"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("consent_receipts", "disclosures")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("name_key", sa.LargeBinary(), nullable=True),
        sa.Column("email_key", sa.LargeBinary(), nullable=True),
        sa.Column("erased_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("email_key", name=op.f("uq_accounts_email_key")),
        sa.UniqueConstraint("name_key", name=op.f("uq_accounts_name_key")),
    )
    op.create_table(
        "codes",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("redirect_uri", sa.String(), nullable=False),
        sa.Column("nonce", sa.String(), nullable=True),
        sa.Column("code_challenge", sa.String(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_codes")),
    )
    op.create_index(op.f("ix_codes_expires_at"), "codes", ["expires_at"], unique=False)
    op.create_index(op.f("ix_codes_grant_id"), "codes", ["grant_id"], unique=False)
    op.create_table(
        "consent_receipts",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("counterparty", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_consent_receipts")),
        sa.UniqueConstraint("id", name=op.f("uq_consent_receipts_id")),
    )
    op.create_index(
        op.f("ix_consent_receipts_account_purpose_counterparty"),
        "consent_receipts",
        ["account", "purpose", "counterparty"],
        unique=False,
    )
    op.create_table(
        "data_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("replaced_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_keys")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.Column("given_up", sa.Boolean(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_given_up_due_at"), "deliveries", ["given_up", "due_at"], unique=False)
    op.create_table(
        "delivery_marks",
        sa.Column("delivery", sa.String(), nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("delivery", "mark", name=op.f("pk_delivery_marks")),
    )
    op.create_index(op.f("ix_delivery_marks_mark"), "delivery_marks", ["mark"], unique=False)
    op.create_table(
        "disclosures",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("claims", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("receipt", sa.String(), nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_disclosures")),
        sa.UniqueConstraint("grant_id", "claims", "via", "day", name=op.f("uq_disclosures_grant_id")),
    )
    op.create_index(op.f("ix_disclosures_account_released_at"), "disclosures", ["account", "released_at"], unique=False)
    op.create_table(
        "grants",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("sid", sa.String(), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index(op.f("ix_grants_account"), "grants", ["account"], unique=False)
    op.create_index(op.f("ix_grants_expires_at"), "grants", ["expires_at"], unique=False)
    op.create_table(
        "links",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("identity_key", sa.LargeBinary(), nullable=False),
        sa.Column("receipt", sa.String(), nullable=False),
        sa.Column("linked_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sa.UniqueConstraint("identity_key", name=op.f("uq_links_identity_key")),
    )
    op.create_index(op.f("ix_links_account"), "links", ["account"], unique=False)
    op.create_table(
        "postings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("remote_id", sa.LargeBinary(), nullable=True),
        sa.Column("remote_url", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_postings")),
    )
    op.create_index(op.f("ix_postings_account_created_at"), "postings", ["account", "created_at"], unique=False)
    op.create_index(op.f("ix_postings_expires_at"), "postings", ["expires_at"], unique=False)
    op.create_table(
        "rate_limits",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("free_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate_limits")),
    )
    op.create_index(op.f("ix_rate_limits_free_at"), "rate_limits", ["free_at"], unique=False)
    op.create_table(
        "refresh_families",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("rotated_at", sa.BigInteger(), nullable=False),
        sa.Column("retried", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("idle_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_families")),
    )
    op.create_index(op.f("ix_refresh_families_grant_id"), "refresh_families", ["grant_id"], unique=False)
    op.create_index(op.f("ix_refresh_families_idle_expires_at"), "refresh_families", ["idle_expires_at"], unique=False)
    op.create_table(
        "replay_marks",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replay_marks")),
    )
    op.create_index(op.f("ix_replay_marks_expires_at"), "replay_marks", ["expires_at"], unique=False)
    op.create_table(
        "revoked_access_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revoked_access_tokens")),
    )
    op.create_index(op.f("ix_revoked_access_tokens_expires_at"), "revoked_access_tokens", ["expires_at"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("live_until", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("secret_digest", name=op.f("uq_sessions_secret_digest")),
    )
    op.create_index(op.f("ix_sessions_account"), "sessions", ["account"], unique=False)
    op.create_index(op.f("ix_sessions_live_until"), "sessions", ["live_until"], unique=False)
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("signs_from", sa.BigInteger(), nullable=False),
        sa.Column("retires_at", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
    )
    op.create_table(
        "transactions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
    )
    op.create_index(op.f("ix_transactions_expires_at"), "transactions", ["expires_at"], unique=False)
    op.create_table(
        "upstream_tokens",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account", "provider", name=op.f("pk_upstream_tokens")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _guards_on_postgresql()
    else:
        _guards_on_sqlite()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in APPEND_ONLY:
            op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
            op.execute(f"DROP TRIGGER {table}_not_emptied ON {table}")
        op.execute("DROP FUNCTION doorward_append_only()")
        op.execute("DROP FUNCTION doorward_refuse(text)")
    op.drop_table("upstream_tokens")
    op.drop_index(op.f("ix_transactions_expires_at"), table_name="transactions")
    op.drop_table("transactions")
    op.drop_table("signing_keys")
    op.drop_index(op.f("ix_sessions_live_until"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_account"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_revoked_access_tokens_expires_at"), table_name="revoked_access_tokens")
    op.drop_table("revoked_access_tokens")
    op.drop_index(op.f("ix_replay_marks_expires_at"), table_name="replay_marks")
    op.drop_table("replay_marks")
    op.drop_index(op.f("ix_refresh_families_idle_expires_at"), table_name="refresh_families")
    op.drop_index(op.f("ix_refresh_families_grant_id"), table_name="refresh_families")
    op.drop_table("refresh_families")
    op.drop_index(op.f("ix_rate_limits_free_at"), table_name="rate_limits")
    op.drop_table("rate_limits")
    op.drop_index(op.f("ix_postings_expires_at"), table_name="postings")
    op.drop_index(op.f("ix_postings_account_created_at"), table_name="postings")
    op.drop_table("postings")
    op.drop_index(op.f("ix_links_account"), table_name="links")
    op.drop_table("links")
    op.drop_index(op.f("ix_grants_expires_at"), table_name="grants")
    op.drop_index(op.f("ix_grants_account"), table_name="grants")
    op.drop_table("grants")
    op.drop_index(op.f("ix_disclosures_account_released_at"), table_name="disclosures")
    op.drop_table("disclosures")
    op.drop_index(op.f("ix_delivery_marks_mark"), table_name="delivery_marks")
    op.drop_table("delivery_marks")
    op.drop_index(op.f("ix_deliveries_given_up_due_at"), table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("data_keys")
    op.drop_index(op.f("ix_consent_receipts_account_purpose_counterparty"), table_name="consent_receipts")
    op.drop_table("consent_receipts")
    op.drop_index(op.f("ix_codes_grant_id"), table_name="codes")
    op.drop_index(op.f("ix_codes_expires_at"), table_name="codes")
    op.drop_table("codes")
    op.drop_table("accounts")


def _guards_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _guards_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION doorward_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    # How one statement made of several writes says which expectation broke, and so undoes all of them.
    op.execute(
        "CREATE FUNCTION doorward_refuse(what text) RETURNS integer LANGUAGE plpgsql VOLATILE AS "
        "$$ BEGIN RAISE EXCEPTION USING MESSAGE = what, ERRCODE = 'DW001'; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION doorward_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_not_emptied BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION doorward_append_only()"
        )
