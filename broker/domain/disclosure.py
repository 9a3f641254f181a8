"""The first gate: `release()` is the only way to obtain claims for a relying party.

Whoever signs a token or answers userinfo takes a `Disclosure`, never a dictionary. A `Disclosure` cannot be built or
altered elsewhere, and is made only for claims that the grant covers in the purpose version now in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from broker.domain.claims import with_companions
from broker.domain.client import Client
from broker.domain.grant import Grant, is_standing
from broker.domain.values import AccountId, ClaimName, ClaimValue, ClientId, GrantId, ReceiptId
from broker.errors import InvalidToken

_MINT: Final = object()


class Via(StrEnum):
    """The way claims left."""

    ID_TOKEN = "id_token"
    USERINFO = "userinfo"
    SESSION_TOKEN = "session_token"
    INTROSPECTION = "introspection"
    FORWARD_AUTH = "forward_auth"
    DISCOURSE_CONNECT = "discourse_connect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """Claims on their way out. The record of it keeps names only (`DisclosureRow`)."""

    grant: Grant
    subject: str = field(repr=False)
    claims: Mapping[ClaimName, ClaimValue] = field(repr=False)
    names: tuple[ClaimName, ...]
    via: Via
    released_at: datetime
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            msg = "a Disclosure is made by release() only"
            raise TypeError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureRow:
    """What the ledger keeps: one per grant, set of claims, way and day, written before that day's first release."""

    account: AccountId
    client: ClientId
    grant: GrantId
    receipt: ReceiptId
    claims: tuple[ClaimName, ...]
    via: Via
    day: date
    released_at: datetime


def release(
    grant: Grant,
    client: Client,
    profile: Mapping[ClaimName, str],
    verified: frozenset[ClaimName],
    *,
    subject: str,
    via: Via,
    now: datetime,
) -> Disclosure:
    """Exactly the claims that this grant covers.

    A claim whose purpose has changed since the person agreed stays here until they agree anew (promise P6); a claim
    the site no longer asks for stays here as well. Raises `InvalidToken` if the grant is not standing.
    """
    if not is_standing(grant, now) or grant.client != client.client_id:
        raise InvalidToken(detail="grant not standing")
    covered: dict[ClaimName, str] = {}
    if profile:
        in_force = {ask.claim: ask.version for ask in client.asks}
        covered = {
            name: profile[name]
            for name, version in grant.claims.items()
            if in_force.get(name) == version and profile.get(name) and _goes(name, grant, client, via)
        }
    return Disclosure(
        grant=grant,
        subject=subject,
        claims=with_companions(covered, verified),
        names=tuple(sorted(covered)),
        via=via,
        released_at=now,
        mint=_MINT,
    )


def _goes(name: ClaimName, grant: Grant, client: Client, via: Via) -> bool:
    """Whether a claim leaves this way at all (OpenID Connect Core §5.4, §5.5)."""
    if via is Via.ID_TOKEN:
        return client.claims_in_id_token or name in grant.in_id_token
    return via is not Via.USERINFO or name not in grant.not_in_userinfo


def row(disclosure: Disclosure) -> DisclosureRow:
    """The record of a disclosure: names, never values."""
    return DisclosureRow(
        account=disclosure.grant.account,
        client=disclosure.grant.client,
        grant=disclosure.grant.id,
        receipt=disclosure.grant.receipt,
        claims=disclosure.names,
        via=disclosure.via,
        day=disclosure.released_at.date(),
        released_at=disclosure.released_at,
    )
