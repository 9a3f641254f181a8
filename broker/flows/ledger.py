"""The only writer of receipts and disclosures. Nothing else calls `append_receipt` or `append_disclosure`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.disclosure import Disclosure, row
from broker.domain.ports import Clock, Entropy, UnitOfWork
from broker.domain.session import Session
from broker.domain.values import AccountId, ClaimName, ReceiptId, Scope, Sid

_REMEMBERED: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerWriter:
    """Writes what a person decided and what left, into the unit of work of whatever it allows."""

    clock: Clock
    entropy: Entropy
    _recorded: OrderedDict[tuple[str, tuple[ClaimName, ...], str, date], None] = field(
        default_factory=OrderedDict, repr=False
    )

    def receipt(
        self,
        unit: UnitOfWork,
        *,
        account: AccountId,
        purpose: Purpose,
        counterparty: str,
        shown: tuple[ClaimName, ...],
        accepted: tuple[ClaimName, ...],
        refused: tuple[ClaimName, ...],
        versions: Mapping[ClaimName, str],
        scopes: frozenset[Scope] = frozenset(),
        counterparty_version: str = "",
        notice_version: str,
        preview_digest: str,
        transaction: str,
        sid: Sid | None,
        locale: str,
        withdraws: ReceiptId | None = None,
        denied: bool = False,
        counterparty_name: str = "",
    ) -> ConsentReceipt:
        """Queue one decision; it is written with what it allows, or not at all."""
        receipt = ConsentReceipt(
            id=ReceiptId(self.entropy.token(16)),
            account=account,
            purpose=purpose,
            counterparty=counterparty,
            shown=shown,
            accepted=accepted,
            refused=refused,
            versions=versions,
            scopes=scopes,
            counterparty_version=counterparty_version,
            notice_version=notice_version,
            preview_digest=preview_digest,
            transaction=transaction,
            sid=sid,
            locale=locale,
            decided_at=self.clock.now(),
            withdraws=withdraws,
            denied=denied,
            counterparty_name=counterparty_name,
        )
        unit.append_receipt(receipt)
        return receipt

    def way_turned_on(
        self, unit: UnitOfWork, session: Session, way: str, *, notice_version: str, locale: str, transaction: str = ""
    ) -> ConsentReceipt:
        """Queue that somebody added a way to sign in to their account: nothing of what it may tell us is taken, so no field
        is in it."""
        return self.receipt(
            unit,
            account=session.account,
            purpose=Purpose.PREFILL_SIGN_UP,
            counterparty=way,
            shown=(),
            accepted=(),
            refused=(),
            versions={},
            notice_version=notice_version,
            preview_digest="",
            transaction=transaction,
            sid=session.sid,
            locale=locale,
        )

    def withdraw(
        self, unit: UnitOfWork, receipt: ConsentReceipt, *, sid: Sid | None, locale: str, notice_version: str
    ) -> ConsentReceipt:
        """Queue the withdrawal of everything the receipt's purpose and counterparty were granted."""
        return self.receipt(
            unit,
            account=receipt.account,
            purpose=receipt.purpose,
            counterparty=receipt.counterparty,
            shown=receipt.shown,
            accepted=(),
            refused=receipt.shown,
            versions=receipt.versions,
            counterparty_version=receipt.counterparty_version,
            notice_version=notice_version,
            preview_digest="",
            transaction="",
            sid=sid,
            locale=locale,
            withdraws=receipt.id,
            counterparty_name=receipt.counterparty_name,
        )

    def disclosed(self, unit: UnitOfWork, disclosure: Disclosure) -> bool:
        """Queue the record of a disclosure; whether there was anything to write.

        One row per grant, set of claims, way and day (decision 14). This process remembers what it has written, so
        that the second userinfo call of a day costs no write; the database ignores a row it has already.
        """
        if not disclosure.names:
            return False
        key = (disclosure.grant.id, disclosure.names, disclosure.via.value, disclosure.released_at.date())
        if key in self._recorded:
            return False
        unit.append_disclosure(row(disclosure))
        return True

    def remember(self, disclosure: Disclosure) -> None:
        """Called once the row is committed."""
        key = (disclosure.grant.id, disclosure.names, disclosure.via.value, disclosure.released_at.date())
        self._recorded[key] = None
        if len(self._recorded) > _REMEMBERED:
            self._recorded.popitem(last=False)
