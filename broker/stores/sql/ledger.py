"""Receipts and disclosures in SQL. Triggers in both databases refuse to change or delete a row (migration 0001)."""

from __future__ import annotations

from datetime import date
from typing import Final

from sqlalchemy import Integer, bindparam, select
from sqlalchemy.dialects.postgresql import insert

from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.disclosure import DisclosureRow, Via
from broker.domain.values import AccountId, ClaimName, ClientId, GrantId, ReceiptId
from broker.stores.records import decode_receipt, encode, micros, moment
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, define, define_insert, parameter
from broker.stores.sql.tables import disclosures, receipts

_OF_ACCOUNT = select(receipts.c.body).where(receipts.c.account == bindparam("p_account")).order_by(receipts.c.seq)
_FOR_PURPOSE = _OF_ACCOUNT.where(receipts.c.purpose == parameter(receipts.c.purpose))
_WITH_PARTY = receipts.c.counterparty == parameter(receipts.c.counterparty)
_RECEIPTS: Final = {
    (False, False): define(_OF_ACCOUNT),
    (True, False): define(_FOR_PURPOSE),
    (False, True): define(_OF_ACCOUNT.where(_WITH_PARTY)),
    (True, True): define(_FOR_PURPOSE.where(_WITH_PARTY)),
}

_DISCLOSED = (
    select(
        disclosures.c.account,
        disclosures.c.client,
        disclosures.c.grant_id,
        disclosures.c.receipt,
        disclosures.c.claims,
        disclosures.c.via,
        disclosures.c.day,
        disclosures.c.released_at,
    )
    .where(
        disclosures.c.account == bindparam("p_account"),
        disclosures.c.day >= bindparam("p_since", type_=Integer),
        disclosures.c.day <= bindparam("p_until", type_=Integer),
    )
    .order_by(disclosures.c.released_at.desc(), disclosures.c.seq.desc())
    .limit(bindparam("p_limit", type_=Integer))
    .offset(bindparam("p_offset", type_=Integer))
)
_DISCLOSURES: Final = define(_DISCLOSED)
_DISCLOSURES_TO: Final = define(_DISCLOSED.where(disclosures.c.client == parameter(disclosures.c.client)))

APPEND_RECEIPT: Final = define_insert(receipts, leave=["seq"])
APPEND_DISCLOSURE: Final = define(
    insert(disclosures)
    .inline()
    .values({column: parameter(column) for column in disclosures.columns if column.name != "seq"})
    .on_conflict_do_nothing()
)


def receipt_params(receipt: ConsentReceipt) -> Params:
    return {
        "p_id": receipt.id,
        "p_account": receipt.account,
        "p_purpose": receipt.purpose.value,
        "p_counterparty": receipt.counterparty,
        "p_body": encode(receipt),
    }


def disclosure_params(row: DisclosureRow) -> Params:
    return {
        "p_grant_id": row.grant,
        "p_claims": " ".join(sorted(row.claims)),
        "p_via": row.via.value,
        "p_day": row.day.toordinal(),
        "p_account": row.account,
        "p_client": row.client,
        "p_receipt": row.receipt,
        "p_released_at": micros(row.released_at),
    }


def _disclosure(row: Row) -> DisclosureRow:
    account, client, grant, receipt, claims, via, day, released_at = row
    return DisclosureRow(
        account=AccountId(account),
        client=ClientId(client),
        grant=GrantId(grant),
        receipt=ReceiptId(receipt),
        claims=tuple(ClaimName(name) for name in claims.split()),
        via=Via(via),
        day=date.fromordinal(day),
        released_at=moment(released_at),
    )


class SqlLedger:
    """`ports.Ledger`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def receipts(
        self, account: AccountId, purpose: Purpose | None = None, counterparty: str | None = None
    ) -> tuple[ConsentReceipt, ...]:
        statement = _RECEIPTS[purpose is not None, counterparty is not None]
        params = {"p_account": account, "p_purpose": purpose and purpose.value, "p_counterparty": counterparty}
        return tuple(decode_receipt(bytes(body)) for (body,) in await self._driver.read(statement, params))

    async def disclosures(
        self,
        account: AccountId,
        *,
        client: ClientId | None = None,
        since: date | None = None,
        until: date | None = None,
        limit: int = 200,
        offset: int = 0,
    ) -> tuple[DisclosureRow, ...]:
        """`since` and `until` are both inclusive days (UTC)."""
        params = {
            "p_account": account,
            "p_client": client,
            "p_since": (since or date.min).toordinal(),
            "p_until": (until or date.max).toordinal(),
            "p_limit": limit,
            "p_offset": offset,
        }
        statement = _DISCLOSURES if client is None else _DISCLOSURES_TO
        return tuple(_disclosure(row) for row in await self._driver.read(statement, params))
