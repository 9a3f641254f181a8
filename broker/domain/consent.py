"""Consent: a decision, its record (the receipt), and whether an earlier decision covers a new request.

Receipts hold names and versions, never values (decision 15). They are only ever appended; a withdrawal is a receipt too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broker.domain.client import AskedClaim
from broker.domain.values import AccountId, ClaimName, ReceiptId, Scope, Sid


class Purpose(StrEnum):
    PREFILL_SIGN_UP = "prefill_sign_up"
    SHARE_WITH_CLIENT = "share_with_client"
    POST_UPSTREAM = "post_upstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentReceipt:
    """One decision of one person, exactly as it was put to them."""

    id: ReceiptId
    account: AccountId
    purpose: Purpose
    counterparty: str
    """The provider (prefill), the client (share), or `provider/client` (posting)."""
    shown: tuple[ClaimName, ...]
    accepted: tuple[ClaimName, ...]
    refused: tuple[ClaimName, ...]
    versions: Mapping[ClaimName, str]
    """The version of each shown claim's purpose."""
    scopes: frozenset[Scope]
    """Standing permissions decided with it, such as `offline_access`."""
    counterparty_version: str
    """`Client.version`: what the site looked like to the person."""
    notice_version: str
    preview_digest: str
    transaction: str
    sid: Sid | None
    locale: str
    decided_at: datetime
    withdraws: ReceiptId | None = None
    denied: bool = False
    """The person said no to the whole page: recorded, and changes nothing that stood before."""
    counterparty_name: str = ""
    """What the client was called then, for the day on which nobody knows it any more; empty of others, and before 0.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a person's receipts for one purpose and counterparty amount to now."""

    granted: Mapping[ClaimName, str]
    """Claim → purpose version agreed to."""
    refused: Mapping[ClaimName, str]
    """Claim → purpose version refused."""
    scopes: frozenset[Scope]
    counterparty_version: str | None
    receipt: ReceiptId | None
    """The newest receipt; `None` if the person was never asked, or withdrew everything."""
    since: datetime | None


NOTHING = Standing(granted={}, refused={}, scopes=frozenset(), counterparty_version=None, receipt=None, since=None)


def standing(receipts: Iterable[ConsentReceipt]) -> Standing:
    """Fold receipts, oldest first. A withdrawal that accepts nothing ends everything before it."""
    now = NOTHING
    for receipt in receipts:
        if receipt.denied:
            continue
        if receipt.withdraws is not None and not receipt.accepted:
            now = NOTHING
            continue
        granted, refused = dict(now.granted), dict(now.refused)
        for claim in receipt.shown:
            granted.pop(claim, None)
            refused.pop(claim, None)
        granted |= {claim: receipt.versions[claim] for claim in receipt.accepted}
        refused |= {claim: receipt.versions[claim] for claim in receipt.refused}
        now = Standing(
            granted=granted,
            refused=refused,
            scopes=receipt.scopes,
            counterparty_version=receipt.counterparty_version,
            receipt=receipt.id,
            since=now.since or receipt.decided_at,
        )
    return now


def covers(standing: Standing, asked: Sequence[AskedClaim], *, client_version: str) -> bool:
    """Whether an earlier decision covers this request, so that the person need not be asked (decision 12).

    Every asked claim was decided in the purpose version now in force, all needed ones are granted, and the site still
    looks as it did. Acting while the person is away (`offline_access`) is decided like a claim.
    """
    if standing.receipt is None or standing.counterparty_version != client_version:
        return False
    for ask in asked:
        if standing.granted.get(ask.claim) == ask.version:
            continue
        if ask.needed or standing.refused.get(ask.claim) != ask.version:
            return False
    return True


def undecided(standing: Standing, asked: Sequence[AskedClaim]) -> tuple[AskedClaim, ...]:
    """The asked claims the person has to look at: new ones, changed ones, and needed ones they refused."""
    return tuple(
        ask
        for ask in asked
        if standing.granted.get(ask.claim) != ask.version
        and (ask.needed or standing.refused.get(ask.claim) != ask.version)
    )


def grantable(standing: Standing, asked: Sequence[AskedClaim]) -> dict[ClaimName, str]:
    """Of what is asked, what the person has agreed to in the version now in force."""
    return {ask.claim: ask.version for ask in asked if standing.granted.get(ask.claim) == ask.version}
