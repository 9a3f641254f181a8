"""Accounts and links in SQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete, literal_column, null, select, union_all, update
from sqlalchemy.dialects.postgresql import insert

from broker.domain.account import Account, Link, user_name_key
from broker.domain.claims import EMAIL, PREFERRED_USERNAME, email_key
from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.values import AccountId, IdentityKey, ProviderId, ReceiptId
from broker.stores.records import (
    Sealed,
    decode_account,
    decode_identity,
    decode_receipt,
    encode,
    micros,
    moment,
)
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, Statement, define, define_insert, insert_if, parameter
from broker.stores.sql.tables import accounts, links, receipts, user_names
from broker.stores.vault import KeyRing

_LINK_COLUMNS: Final = (
    links.c.id,
    links.c.account,
    links.c.provider,
    links.c.receipt,
    links.c.linked_at,
    links.c.last_used_at,
    links.c.sealed,
)


def standing_account() -> Select[Any]:
    """The row of an account that is not erased, kept from being erased until the transaction ends."""
    return (
        select(accounts.c.id)
        .where(accounts.c.id == bindparam("p_account"), accounts.c.sealed.is_not(None))
        .with_for_update(read=True, key_share=True)
    )


_LOAD: Final = define(
    select(accounts.c.sealed, accounts.c.version).where(accounts.c.id == parameter(accounts.c.id)), together=True
)
_BY_IDENTITY: Final = define(
    select(accounts.c.sealed, accounts.c.version, *_LINK_COLUMNS)
    .join_from(links, accounts, accounts.c.id == links.c.account)
    .where(links.c.identity_key == parameter(links.c.identity_key), accounts.c.sealed.is_not(None)),
    together=True,
)
_LINKS: Final = define(
    select(*_LINK_COLUMNS).where(links.c.account == parameter(links.c.account)).order_by(links.c.linked_at, links.c.id)
)
_NAME_TAKEN: Final = define(
    select(user_names.c.account).where(user_names.c.name_key == parameter(user_names.c.name_key))
)
_BY_USER_NAME: Final = define(
    select(accounts.c.id, accounts.c.sealed, accounts.c.version).where(
        accounts.c.name_key == parameter(accounts.c.name_key), accounts.c.sealed.is_not(None)
    )
)
_BY_EMAIL: Final = define(
    select(accounts.c.id, accounts.c.sealed, accounts.c.version).where(
        accounts.c.email_key == parameter(accounts.c.email_key), accounts.c.sealed.is_not(None)
    )
)
# One statement for what every authorization needs: the account's row first, then its receipts in order.
_WITH_RECEIPTS: Final = define(
    union_all(
        select(literal_column("0").label("seq"), accounts.c.sealed.label("cell"), accounts.c.version).where(
            accounts.c.id == bindparam("p_account"), accounts.c.sealed.is_not(None)
        ),
        select(receipts.c.seq, receipts.c.body, literal_column("0")).where(
            receipts.c.account == bindparam("p_account"),
            receipts.c.purpose == parameter(receipts.c.purpose),
            receipts.c.counterparty == parameter(receipts.c.counterparty),
        ),
    ).order_by("seq"),
    together=True,
)

ADD: Final = define_insert(accounts)
SAVE: Final = define(
    update(accounts)
    .where(
        accounts.c.id == parameter(accounts.c.id),
        accounts.c.sealed.is_not(None),
        accounts.c.version == parameter(accounts.c.version, "p_loaded"),
    )
    .values(
        version=parameter(accounts.c.version),
        sealed=parameter(accounts.c.sealed),
        name_key=parameter(accounts.c.name_key),
        email_key=parameter(accounts.c.email_key),
    )
    .returning(accounts.c.id)
)
_take_name = insert(user_names).values({column: parameter(column) for column in user_names.columns})
# Taken by whoever had it before, or by the first: whoever comes at the same moment waits here and then gets no row.
TAKE_NAME: Final = define(
    _take_name.on_conflict_do_update(
        index_elements=["name_key"],
        set_={"account": _take_name.excluded.account},
        where=user_names.c.account == _take_name.excluded.account,
    ).returning(user_names.c.account),
    reads=[user_names],
)
LOCK: Final = define(
    select(accounts.c.id).where(accounts.c.id == bindparam("p_account")).with_for_update(), barrier=True
)
ERASE: Final = define(
    update(accounts)
    .where(accounts.c.id == bindparam("p_account"))
    .values(sealed=null(), email_key=null(), erased_at=parameter(accounts.c.erased_at))
)
ADD_LINK: Final = define(insert_if(links, standing_account()).returning(links.c.id), reads=[accounts])
TOUCH_LINK: Final = define(
    update(links).where(links.c.id == parameter(links.c.id)).values(last_used_at=parameter(links.c.last_used_at))
)
RENAME_LINK: Final = define(
    update(links)
    .where(
        links.c.id == parameter(links.c.id),
        links.c.account == parameter(links.c.account),
        links.c.identity_key == bindparam("p_former", type_=links.c.identity_key.type),
    )
    .values(
        {
            column: parameter(column)
            for column in (links.c.provider, links.c.identity_key, links.c.last_used_at, links.c.sealed)
        }
    )
    .returning(links.c.id)
)
# Over what was loaded: of two uses at once one is judged by what the other left.
USE_LINK: Final = define(
    update(links)
    .where(
        links.c.id == parameter(links.c.id),
        links.c.account == parameter(links.c.account),
        links.c.last_used_at == parameter(links.c.last_used_at, "p_seen"),
    )
    .values({column: parameter(column) for column in (links.c.last_used_at, links.c.sealed)})
    .returning(links.c.id)
)
_OTHER: Final = links.alias("other")
REMOVE_LINK: Final = define(
    delete(links).where(
        links.c.id == parameter(links.c.id),
        links.c.account == bindparam("p_account"),
        select(_OTHER.c.id)
        .where(_OTHER.c.account == bindparam("p_account"), _OTHER.c.id != parameter(links.c.id))
        .exists(),
    ),
    barrier=True,
)
FIND_LINK: Final = define(
    select(links.c.id).where(links.c.id == parameter(links.c.id), links.c.account == bindparam("p_account")),
    barrier=True,
)
ERASE_LINKS: Final = define(delete(links).where(links.c.account == bindparam("p_account")))


def account_params(account: Account, ring: KeyRing) -> Params:
    """What the account's row holds."""
    name, email = account.profile.get(PREFERRED_USERNAME), account.profile.get(EMAIL)
    return {
        "p_id": account.id,
        "p_sealed": ring.seal(encode(account), f"accounts/{account.id}/sealed"),
        "p_name_key": None if name is None else name_blind(ring, user_name_key(name.value)),
        "p_email_key": email_blind(ring, email_key(email.value)) if email is not None and email.verified else None,
        "p_erased_at": None,
        "p_version": account.version,
    }


def saved_params(account: Account, ring: KeyRing) -> Params:
    """What the account's row holds from now on, and which version of it that is to be written over."""
    loaded = account.version
    return {**account_params(replace(account, version=loaded + 1), ring), "p_loaded": loaded}


def name_blind(ring: KeyRing, name_key: str) -> bytes:
    return ring.blind("user_name", name_key)


def email_blind(ring: KeyRing, key: str) -> bytes:
    return ring.blind("email", key)


def identity_blind(ring: KeyRing, key: IdentityKey) -> bytes:
    return ring.blind("identity", f"{key.issuer}\x00{key.subject}")


def link_params(link: Link, ring: KeyRing) -> Params:
    """What the link's row holds."""
    return {
        "p_id": link.id,
        "p_account": link.account,
        "p_provider": link.provider,
        "p_identity_key": identity_blind(ring, link.key),
        "p_receipt": link.receipt,
        "p_linked_at": micros(link.linked_at),
        "p_last_used_at": micros(link.last_used_at),
        "p_sealed": ring.seal(encode(_identity(link)), _link_place(link.id, link.account)),
    }


def _identity(link: Link) -> tuple[str | None, ...] | Sealed:
    cell = Sealed(link.key.issuer, link.key.subject, link.hint, link.passkey)
    return cell if link.passkey is not None else cell[:3]


def renamed_params(link: Link, former: IdentityKey, ring: KeyRing) -> Params:
    """What a renamed link's row holds, and what it held before."""
    kept = {"p_receipt", "p_linked_at"}
    params = {name: value for name, value in link_params(link, ring).items() if name not in kept}
    return {**params, "p_former": identity_blind(ring, former)}


def used_params(link: Link, seen: datetime, ring: KeyRing) -> Params:
    """What a used link's row holds, and when it was used before that."""
    kept = {"p_id", "p_account", "p_last_used_at", "p_sealed"}
    params = {name: value for name, value in link_params(link, ring).items() if name in kept}
    return {**params, "p_seen": micros(seen)}


def _link_place(link_id: str, account: str) -> str:
    return f"links/{link_id} {account}/sealed"


def open_account(sealed: bytes, version: int, account: str, ring: KeyRing) -> Account:
    """The column says which version it is: an older program may have written the cell, and knew of none."""
    found = decode_account(ring.open(sealed, f"accounts/{account}/sealed"))
    return found if found.version == version else replace(found, version=version)


def _open_link(row: Row, ring: KeyRing) -> Link:
    link_id, account, provider, receipt, linked_at, last_used_at, sealed = row
    cell = decode_identity(ring.open(sealed, _link_place(link_id, account)))
    return Link(
        id=link_id,
        account=AccountId(account),
        provider=ProviderId(provider),
        key=IdentityKey(issuer=cell.issuer, subject=cell.subject),
        receipt=ReceiptId(receipt),
        linked_at=moment(linked_at),
        last_used_at=moment(last_used_at),
        hint=cell.hint,
        passkey=cell.passkey,
    )


class SqlAccounts:
    """`ports.Accounts`."""

    def __init__(self, driver: Driver, ring: KeyRing) -> None:
        self._driver = driver
        self._ring = ring

    async def load(self, account: AccountId) -> Account | None:
        rows = await self._driver.read(_LOAD, {"p_id": account})
        if not rows or rows[0][0] is None:
            return None
        return await self._ring.reading(lambda: open_account(rows[0][0], rows[0][1], account, self._ring))

    async def by_identity(self, key: IdentityKey) -> tuple[Account, Link] | None:
        rows = await self._driver.read(_BY_IDENTITY, {"p_identity_key": identity_blind(self._ring, key)})
        if not rows:
            return None
        sealed, version, *link = rows[0]
        return await self._ring.reading(
            lambda: (open_account(sealed, version, link[1], self._ring), _open_link(link, self._ring))
        )

    async def links(self, account: AccountId) -> tuple[Link, ...]:
        rows = await self._driver.read(_LINKS, {"p_account": account})
        return await self._ring.reading(lambda: tuple(_open_link(row, self._ring) for row in rows))

    async def by_user_name(self, name_key: str) -> Account | None:
        return await self._only(_BY_USER_NAME, {"p_name_key": name_blind(self._ring, name_key)})

    async def by_email(self, key: str) -> Account | None:
        return await self._only(_BY_EMAIL, {"p_email_key": email_blind(self._ring, key)})

    async def _only(self, statement: Statement, params: Params) -> Account | None:
        rows = await self._driver.read(statement, params)
        if not rows:
            return None
        account, sealed, version = rows[0]
        return await self._ring.reading(lambda: open_account(sealed, version, account, self._ring))

    async def is_user_name_free(self, name_key: str) -> bool:
        return not await self._driver.read(_NAME_TAKEN, {"p_name_key": name_blind(self._ring, name_key)})

    async def with_receipts(
        self, account: AccountId, purpose: Purpose, counterparty: str
    ) -> tuple[Account, tuple[ConsentReceipt, ...]] | None:
        rows = await self._driver.read(
            _WITH_RECEIPTS, {"p_account": account, "p_purpose": purpose.value, "p_counterparty": counterparty}
        )
        if not rows or rows[0][0] != 0:
            return None
        return await self._ring.reading(
            lambda: (
                open_account(rows[0][1], rows[0][2], account, self._ring),
                tuple(decode_receipt(bytes(row[1])) for row in rows[1:]),
            )
        )
