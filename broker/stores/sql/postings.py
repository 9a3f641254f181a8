"""Postings, and the vault of upstream tokens, in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, LargeBinary, bindparam, delete, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from broker.domain.posting import Posting, PostingPermit, PostState
from broker.domain.provider import UpstreamTokens
from broker.domain.values import AccountId, ClientId, ProviderId
from broker.stores.records import decode_posting, decode_tokens, encode, micros, micros_or_none, moment_or_none
from broker.stores.sql.accounts import standing_account
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, define, insert_if, parameter
from broker.stores.sql.tables import accounts, posting_subjects, postings, upstream_tokens
from broker.stores.vault import KeyRing

_COLUMNS: Final = (
    postings.c.id,
    postings.c.sealed,
    postings.c.state,
    postings.c.settled_at,
    postings.c.remote_id,
    postings.c.remote_url,
)
_LOAD: Final = define(select(*_COLUMNS).where(postings.c.id == parameter(postings.c.id)))
_RECENT: Final = define(
    select(*_COLUMNS)
    .where(postings.c.account == bindparam("p_account"))
    .order_by(postings.c.created_at.desc(), postings.c.id.desc())
    .limit(bindparam("p_limit", type_=Integer))
)
ADD_POSTING: Final = define(insert_if(postings, standing_account()).returning(postings.c.id), reads=[accounts])
MOVE_POSTING: Final = define(
    update(postings)
    .where(postings.c.id == parameter(postings.c.id), postings.c.state == bindparam("p_expected"))
    .values(
        state=parameter(postings.c.state),
        settled_at=parameter(postings.c.settled_at),
        remote_id=func.coalesce(bindparam("p_remote_id", type_=LargeBinary), postings.c.remote_id),
        remote_url=func.coalesce(bindparam("p_remote_url", type_=LargeBinary), postings.c.remote_url),
    )
    .returning(postings.c.id)
)


def _cancel(by_client: bool, by_provider: bool) -> Any:
    statement = update(postings).where(
        postings.c.account == bindparam("p_account"), postings.c.state == PostState.ASKED.value
    )
    if by_client:
        statement = statement.where(postings.c.client == parameter(postings.c.client))
    if by_provider:
        statement = statement.where(postings.c.provider == parameter(postings.c.provider))
    return statement.values(state=PostState.CANCELLED.value, settled_at=bindparam("p_now", type_=BigInteger))


CANCEL_POSTINGS: Final = {(a, b): define(_cancel(a, b)) for a in (False, True) for b in (False, True)}
_remember = insert(posting_subjects).inline()
_remember = _remember.from_select(
    ["mark", "account", "client"],
    standing_account().with_only_columns(
        *(parameter(column).label(f"v_{column.name}") for column in posting_subjects.c)
    ),
)
_remember = _remember.on_conflict_do_update(index_elements=["mark"], set_={"account": _remember.excluded.account})
ADD_SUBJECT: Final = define(_remember.returning(posting_subjects.c.mark), reads=[accounts, posting_subjects])
DROP_SUBJECT: Final = define(
    delete(posting_subjects).where(
        posting_subjects.c.account == bindparam("p_account"),
        posting_subjects.c.client == parameter(posting_subjects.c.client),
    )
)
ERASE_SUBJECTS: Final = define(delete(posting_subjects).where(posting_subjects.c.account == bindparam("p_account")))
_ACCOUNT_OF: Final = define(
    select(posting_subjects.c.account).where(posting_subjects.c.mark == parameter(posting_subjects.c.mark))
)
ERASE_POSTINGS: Final = define(delete(postings).where(postings.c.account == bindparam("p_account")))

_save = insert(upstream_tokens).inline()
_save = _save.from_select(
    ["account", "provider", "sealed"],
    standing_account().with_only_columns(
        *(parameter(upstream_tokens.c[name]).label(f"v_{name}") for name in ("account", "provider", "sealed"))
    ),
)
SAVE_TOKENS: Final = define(
    _save.on_conflict_do_update(
        index_elements=["account", "provider"], set_={"sealed": _save.excluded.sealed, "renewing_since": null()}
    ).returning(upstream_tokens.c.account),
    reads=[accounts, upstream_tokens],
)
DROP_TOKENS: Final = define(
    delete(upstream_tokens).where(
        upstream_tokens.c.account == bindparam("p_account"),
        upstream_tokens.c.provider == parameter(upstream_tokens.c.provider),
    )
)
_ours: Final = (
    upstream_tokens.c.account == bindparam("p_account"),
    upstream_tokens.c.provider == parameter(upstream_tokens.c.provider),
)
_mine: Final = upstream_tokens.c.renewing_since == bindparam("p_since", type_=BigInteger)
CLAIM_TOKENS: Final = define(
    update(upstream_tokens)
    .where(
        *_ours,
        or_(
            upstream_tokens.c.renewing_since.is_(None),
            upstream_tokens.c.renewing_since <= bindparam("p_given_up", type_=BigInteger),
        ),
    )
    .values(renewing_since=bindparam("p_since", type_=BigInteger))
    .returning(upstream_tokens.c.account)
)
RENEW_TOKENS: Final = define(
    update(upstream_tokens)
    .where(*_ours, _mine)
    .values(sealed=parameter(upstream_tokens.c.sealed), renewing_since=null())
    .returning(upstream_tokens.c.account)
)
RELEASE_TOKENS: Final = define(update(upstream_tokens).where(*_ours, _mine).values(renewing_since=null()))
ERASE_TOKENS: Final = define(delete(upstream_tokens).where(upstream_tokens.c.account == bindparam("p_account")))
_TOKENS: Final = define(
    select(upstream_tokens.c.sealed).where(
        upstream_tokens.c.account == bindparam("p_account"),
        upstream_tokens.c.provider == parameter(upstream_tokens.c.provider),
    )
)

UNSETTLED: Final = frozenset({PostState.ASKED, PostState.SENDING})
"""States in which something is still to happen; all others have a `settled_at`."""


def settled_at(state: PostState, now: datetime) -> datetime | None:
    return None if state in UNSETTLED else now


def posting_params(posting: Posting, ring: KeyRing) -> Params:
    return {
        "p_id": posting.id,
        "p_account": posting.account,
        "p_provider": posting.provider,
        "p_client": posting.client,
        "p_state": posting.state.value,
        "p_created_at": micros(posting.created_at),
        "p_expires_at": micros(posting.expires_at),
        "p_settled_at": micros_or_none(posting.settled_at),
        "p_sealed": ring.seal(encode(posting), f"postings/{posting.id}/sealed"),
        "p_remote_id": sealed_text(ring, posting.id, "remote_id", posting.remote_id),
        "p_remote_url": sealed_text(ring, posting.id, "remote_url", posting.remote_url),
    }


def sealed_text(ring: KeyRing, posting_id: str, column: str, text: str | None) -> bytes | None:
    return None if text is None else ring.seal(text.encode(), f"postings/{posting_id}/{column}")


def _opened_text(ring: KeyRing, posting_id: str, column: str, sealed: bytes | None) -> str | None:
    return None if sealed is None else ring.open(sealed, f"postings/{posting_id}/{column}").decode()


def _posting(row: Row, ring: KeyRing) -> Posting:
    posting_id, sealed, state, settled, remote_id, remote_url = row
    return replace(
        decode_posting(ring.open(sealed, f"postings/{posting_id}/sealed")),
        state=PostState(state),
        settled_at=moment_or_none(settled),
        remote_id=_opened_text(ring, posting_id, "remote_id", remote_id),
        remote_url=_opened_text(ring, posting_id, "remote_url", remote_url),
    )


def token_params(account: AccountId, provider: ProviderId, tokens: UpstreamTokens, ring: KeyRing) -> Params:
    return {
        "p_account": account,
        "p_provider": provider,
        "p_sealed": ring.seal(encode(tokens), _token_place(account, provider)),
    }


def _token_place(account: str, provider: str) -> str:
    return f"upstream_tokens/{account} {provider}/sealed"


class SqlPostings:
    """`ports.Postings`."""

    def __init__(self, driver: Driver, ring: KeyRing) -> None:
        self._driver = driver
        self._ring = ring

    async def load(self, posting_id: str) -> Posting | None:
        rows = await self._driver.read(_LOAD, {"p_id": posting_id})
        return await self._ring.reading(lambda: _posting(rows[0], self._ring) if rows else None)

    async def recent(self, account: AccountId, limit: int = 20) -> tuple[Posting, ...]:
        """Newest first."""
        rows = await self._driver.read(_RECENT, {"p_account": account, "p_limit": limit})
        return await self._ring.reading(lambda: tuple(_posting(row, self._ring) for row in rows))

    async def account_of(self, client: ClientId, subject: str) -> AccountId | None:
        rows = await self._driver.read(_ACCOUNT_OF, {"p_mark": subject_mark(self._ring, client, subject)})
        return AccountId(rows[0][0]) if rows else None


def subject_mark(ring: KeyRing, client: ClientId, subject: str) -> bytes:
    """How a person's number at a site is found again, and nothing more."""
    return ring.blind("posting_subject", f"{client}\x00{subject}")


class SqlVault:
    """`ports.Vault`."""

    def __init__(self, driver: Driver, ring: KeyRing) -> None:
        self._driver = driver
        self._ring = ring

    async def open(self, permit: PostingPermit) -> UpstreamTokens | None:
        rows = await self._driver.read(_TOKENS, {"p_account": permit.account, "p_provider": permit.provider})
        place = _token_place(permit.account, permit.provider)
        return await self._ring.reading(lambda: decode_tokens(self._ring.open(rows[0][0], place)) if rows else None)

    async def holds(self, account: AccountId, provider: ProviderId) -> bool:
        return bool(await self._driver.read(_TOKENS, {"p_account": account, "p_provider": provider}))


def cancel_params(
    account: AccountId, now: datetime, client: ClientId | None, provider: ProviderId | None
) -> Mapping[str, Any]:
    return {"p_account": account, "p_now": micros(now), "p_client": client, "p_provider": provider}
