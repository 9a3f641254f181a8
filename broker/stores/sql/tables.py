"""The tables, as they are after the newest migration.

One shape for all: a column for whatever is searched, compared or changed alone, and the rest in one cell. Cells named
`sealed` hold personal values or secrets and are encrypted (`broker.stores.vault`); `body` cells hold ids and names of
claims in the clear. Times are whole microseconds since 1970 UTC. There are no foreign keys: records of what was
disclosed outlive what they refer to, and writes that need an account or a grant ask for it themselves.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_SEQUENCE: Final = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str, **more: Any) -> Column[str]:
    return Column(name, String, nullable=more.pop("nullable", False), **more)


def _time(name: str, **more: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=more.pop("nullable", False), **more)


def _bytes(name: str, **more: Any) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=more.pop("nullable", False), **more)


accounts: Final = Table(
    "accounts",
    metadata,
    _text("id", primary_key=True),
    _bytes("sealed", nullable=True),  # the account; NULL once erased, while its id stays taken
    _bytes("name_key", nullable=True),  # of the user name it has now
    _bytes("email_key", nullable=True),  # of an address we vouch for only
    _time("erased_at", nullable=True),
    Column("version", BigInteger, nullable=False, server_default="0"),  # of the account in `sealed`
    UniqueConstraint("name_key"),
    UniqueConstraint("email_key"),
)

user_names: Final = Table(
    "user_names",  # every one that was ever taken, and whose: given up or erased, it is nobody else's
    metadata,
    _bytes("name_key", primary_key=True),
    _text("account"),
)

links: Final = Table(
    "links",
    metadata,
    _text("id", primary_key=True),
    _text("account", index=True),
    _text("provider"),
    _bytes("identity_key"),
    _text("receipt"),
    _time("linked_at"),
    _time("last_used_at"),
    _bytes("sealed"),  # issuer, subject, hint
    UniqueConstraint("identity_key"),
)

receipts: Final = Table(
    "consent_receipts",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    _text("id"),
    _text("account"),
    _text("purpose"),
    _text("counterparty"),
    _bytes("body"),
    UniqueConstraint("id"),
    Index(None, "account", "purpose", "counterparty"),
)

disclosures: Final = Table(
    "disclosures",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    _text("grant_id"),
    _text("claims"),  # names in order, one blank between
    _text("via"),
    Column("day", Integer, nullable=False),  # date.toordinal()
    _text("account"),
    _text("client"),
    _text("receipt"),
    _time("released_at"),
    UniqueConstraint("grant_id", "claims", "via", "day"),
    Index(None, "account", "released_at"),
)

REGISTERED: Final = "(substr(client, 1, 2) = 'r-' OR substr(client, 1, 8) = 'https://')"
"""What is true of the grants of sites that put themselves in (`domain.registration.PREFIX`, `domain.documents.SCHEME`)."""
grants: Final = Table(
    "grants",
    metadata,
    _text("id", primary_key=True),
    _text("account", index=True),
    _text("client"),
    _text("sid"),
    Column("offline", Boolean, nullable=False),
    _time("created_at"),
    _time("expires_at", index=True),
    _time("revoked_at", nullable=True),
    _bytes("body"),
    _text("status", nullable=True),  # list and index, as in `ended_statuses`
    Index(None, "client", sqlite_where=text(REGISTERED), postgresql_where=text(REGISTERED)),
)

ended_statuses: Final = Table(
    "ended_statuses",
    metadata,
    _text("place", primary_key=True),
    _time("ended_at", index=True),
)

counters: Final = Table(
    "counters",
    metadata,
    _text("name", primary_key=True),
    Column("given", BigInteger, nullable=False),
)

codes: Final = Table(
    "codes",
    metadata,
    _bytes("digest", primary_key=True),
    _text("grant_id", index=True),
    _text("client"),
    _text("redirect_uri"),
    _text("nonce", nullable=True),
    _text("code_challenge", nullable=True),
    _time("expires_at", index=True),
    _time("used_at", nullable=True),
)

families: Final = Table(
    "refresh_families",
    metadata,
    _text("id", primary_key=True),
    _text("grant_id", index=True),
    _text("client"),
    Column("generation", Integer, nullable=False),
    _time("created_at"),
    _time("rotated_at"),
    Column("retried", Boolean, nullable=False),
    _time("expires_at", index=True),
    _time("idle_expires_at", index=True),
    _time("revoked_at", nullable=True),
)

revoked_tokens: Final = Table(
    "revoked_access_tokens",
    metadata,
    _text("id", primary_key=True),
    _time("expires_at", index=True),
)

upstream_tokens: Final = Table(
    "upstream_tokens",
    metadata,
    _text("account"),
    _text("provider"),
    _bytes("sealed"),
    _time("renewing_since", nullable=True),
    PrimaryKeyConstraint("account", "provider"),
)

postings: Final = Table(
    "postings",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("provider"),
    _text("client"),
    _text("state"),
    _time("created_at"),
    _time("expires_at"),
    _time("settled_at", nullable=True),
    _bytes("sealed"),  # the posting as it was asked for
    _bytes("remote_id", nullable=True),  # sealed
    _bytes("remote_url", nullable=True),  # sealed
    Index(None, "account", "created_at"),
    Index(None, "settled_at", "expires_at"),
)

posting_subjects: Final = Table(
    "posting_subjects",
    metadata,
    _bytes("mark", primary_key=True),  # blind index of the site and the person's number there
    _text("account", index=True),
    _text("client"),
)

deliveries: Final = Table(
    "deliveries",
    metadata,
    _text("id", primary_key=True),
    _text("kind"),
    _text("client"),
    _time("created_at"),
    _time("due_at"),
    _time("claimed_until"),
    Column("attempts", Integer, nullable=False),
    _text("last_error"),
    Column("given_up", Boolean, nullable=False),
    _bytes("sealed"),  # the payload
    Index(None, "given_up", "due_at"),
    Index(None, "created_at", "id", sqlite_where=text("attempts > 0"), postgresql_where=text("attempts > 0")),
)

delivery_marks: Final = Table(
    "delivery_marks",
    metadata,
    _text("delivery"),
    _bytes("mark"),  # blind index of one key and value of the payload
    PrimaryKeyConstraint("delivery", "mark"),
    Index(None, "mark"),
)

removals: Final = Table(
    "removals",  # who was said by a provider to have left; kept when the account is erased
    metadata,
    _text("code", primary_key=True),  # made of the identity with a key of ours
    _text("account"),
    _text("provider"),
    _text("kind"),
    _text("state"),
    _time("asked_at"),
    _time("decided_at", nullable=True),
    _text("reason"),
    Index(None, "state", "asked_at"),
    Index(None, "account"),
)

invitations: Final = Table(
    "invitations",  # initial access tokens for sites that register by themselves
    metadata,
    _text("id", primary_key=True),
    _bytes("digest"),  # SHA-256 of the token
    _text("scopes"),
    Column("uses_left", Integer, nullable=False),
    _time("created_at"),
    _time("expires_at"),
    _text("note"),
    UniqueConstraint("digest"),
)

registrations: Final = Table(
    "registrations",
    metadata,
    _text("client", primary_key=True),
    _text("invitation"),
    _text("metadata"),  # what the site said, as JSON
    _text("scopes"),
    _bytes("secret_digest", nullable=True),
    _bytes("token_digest"),
    _time("registered_at"),
    _time("reviewed_at", nullable=True),
    _time("fresh_until", nullable=True, index=True),  # of a site with a document
    _time("blocked_at", nullable=True),
)

pictures: Final = Table(
    "pictures",
    metadata,
    _text("account", primary_key=True),
    _text("id"),
    _bytes("sealed"),  # JPEG
)

logos: Final = Table(
    "logos",
    metadata,
    _text("owner", primary_key=True),  # a site's id, or `provider:` and the provider's
    _text("source"),  # where it is from
    _text("digest", index=True),
    Column("size", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False),
    _bytes("png"),  # people see it on every page with the name: not sealed
)

streams: Final = Table(
    "streams",  # what sites have set at their streams of security events; none: nothing
    metadata,
    _text("client", primary_key=True),
    _text("status"),
    _text("reason"),
    _text("requested", nullable=True),  # addresses of event types, with a blank between; none: all
    _text("description"),
    Column("deleted", Boolean, nullable=False),
    _bytes("proof", nullable=True),  # the header that the site wants to see, sealed
    Column("version", Integer, nullable=False, server_default="0"),  # how often it was set
)

removed_subjects: Final = Table(
    "removed_subjects",  # people that a site took out of its stream
    metadata,
    _bytes("mark", primary_key=True),  # blind index of site and number there
    _text("client"),
    Index(None, "client"),
)

staff: Final = Table(
    "staff",  # accounts with a role
    metadata,
    _text("account", primary_key=True),
    _text("role"),
    _time("given_at"),
)

audit: Final = Table(
    "audit",  # what the people who run the service did: never changed, chained by `digest`
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _time("at"),
    _text("by"),
    _text("action"),
    _text("subject"),
    _text("why"),
    _text("digest"),
)

failures: Final = Table(
    "failures",  # what went wrong with providers, in codes: for a week
    metadata,
    _text("id", primary_key=True),  # the reference code that a page showed
    _text("provider"),
    _time("at"),
    _text("step"),
    _text("reason"),
    _text("detail"),
    Index(None, "provider", "at"),
    Index(None, "at"),
)

signing_keys: Final = Table(
    "signing_keys",
    metadata,
    _text("id", primary_key=True),
    _text("algorithm"),
    _time("created_at"),
    _time("signs_from"),
    _time("retires_at", nullable=True),
    _bytes("sealed"),  # PKCS #8
    _text("purpose", server_default="tokens"),
)

data_keys: Final = Table(
    "data_keys",
    metadata,
    _text("id", primary_key=True),  # `index` is the key of the blind indexes
    _bytes("wrapped"),  # under the master key
    _time("created_at"),
    _time("replaced_at", nullable=True),
)

# --- browser memory, when it is not in Redis --------------------------------------------------------------

transactions: Final = Table(
    "transactions",
    metadata,
    _text("id", primary_key=True),
    _bytes("sealed"),  # by the flow, with a key that only the browser holds
    _time("expires_at", index=True),
)

sessions: Final = Table(
    "sessions",
    metadata,
    _text("id", primary_key=True),
    _text("account", index=True),
    _bytes("secret_digest"),
    _time("created_at"),
    _time("live_until", index=True),
    _time("ended_at", nullable=True),
    _bytes("upstream", nullable=True, index=True),
    _bytes("sealed"),
    UniqueConstraint("secret_digest"),
)

replay_marks: Final = Table(
    "replay_marks",
    metadata,
    _bytes("id", primary_key=True),
    _time("expires_at", index=True),
)

limits: Final = Table(
    "rate_limits",
    metadata,
    _bytes("id", primary_key=True),
    _time("free_at", index=True),  # when the key would be as good as new (GCRA's theoretical arrival time)
)

SEALED: Final[tuple[tuple[Table, str, tuple[str, ...]], ...]] = (
    (accounts, "sealed", ("id",)),
    (links, "sealed", ("id", "account")),
    (pictures, "sealed", ("account", "id")),
    (streams, "proof", ("client",)),
    (upstream_tokens, "sealed", ("account", "provider")),
    (postings, "sealed", ("id",)),
    (postings, "remote_id", ("id",)),
    (postings, "remote_url", ("id",)),
    (deliveries, "sealed", ("id",)),
    (signing_keys, "sealed", ("id",)),
    (sessions, "sealed", ("id",)),
)
"""Every cell sealed under a data key, and the columns it is bound to: what a rotation has to reach.

Place names are `table/those columns/column`. A link names its account there because nothing else in it does: given to
another account it would be a way in.
"""
