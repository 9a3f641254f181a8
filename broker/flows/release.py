"""Claims leave here: released by the rule, recorded, and only then signed or answered. No record, no token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.domain import tokens
from broker.domain.account import Account, AccountStatus
from broker.domain.client import Client
from broker.domain.disclosure import Disclosure, Via, release
from broker.domain.grant import Grant
from broker.domain.ports import AccessToken, Clock, Durable, Handles, Signer, UnitOfWork
from broker.domain.session import sid_for
from broker.domain.values import ClientId
from broker.errors import InsufficientScope, InvalidToken
from broker.flows.ledger import LedgerWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A disclosure, and whether its record still has to be committed before it may leave."""

    disclosure: Disclosure
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Releaser:
    """The only caller of `domain.disclosure.release`."""

    durable: Durable
    ledger: LedgerWriter
    signer: Signer
    handles: Handles
    clients: Mapping[ClientId, Client]
    clock: Clock
    issuer: str
    subject_key: bytes
    sid_key: bytes

    def subject(self, grant_account: Account | None, grant: Grant, client: Client) -> str:
        """The person's number at this client."""
        return tokens.subject_for(grant_account.id if grant_account else grant.account, client, self.subject_key)

    def sid(self, grant: Grant) -> str:
        """The session's name at this client."""
        return sid_for(grant.sid, grant.client, self.sid_key)

    def prepare(self, grant: Grant, client: Client, account: Account, via: Via, unit: UnitOfWork) -> Prepared:
        """Release and queue the record. The caller commits `unit` before it signs or answers anything."""
        if account.status is not AccountStatus.ACTIVE:
            raise InvalidToken(detail="account not active")
        disclosure = release(
            grant,
            client,
            account.claims,
            account.verified,
            subject=self.subject(account, grant, client),
            via=via,
            now=self.clock.now(),
        )
        return Prepared(disclosure=disclosure, is_new=self.ledger.disclosed(unit, disclosure))

    def bare(self, grant: Grant, client: Client, via: Via) -> Disclosure:
        """A disclosure of nothing but the subject: for tokens that carry no claims of the profile."""
        return release(
            grant, client, {}, frozenset(), subject=self.subject(None, grant, client), via=via, now=self.clock.now()
        )

    async def userinfo(self, token: str) -> Mapping[str, Any]:
        """The claims behind an access token (OpenID Connect Core §5.3). Raises `InvalidToken`, `InsufficientScope`."""
        access, grant, account = await self.load(token)
        if "openid" not in access.scopes:
            raise InsufficientScope
        client = self.clients.get(grant.client)
        if client is None or not client.enabled:
            raise InvalidToken(detail="client gone or disabled")
        unit = self.durable.unit()
        prepared = self.prepare(grant, client, account, Via.USERINFO, unit)
        if prepared.is_new:
            await unit.commit()
            self.ledger.remember(prepared.disclosure)
        return tokens.userinfo(prepared.disclosure)

    async def load(self, token: str) -> tuple[AccessToken, Grant, Account]:
        """What stands behind an access token now. Raises `InvalidToken`."""
        access = self.handles.read_access_token(token)
        if access is None or self.clock.now() >= access.expires_at:
            raise InvalidToken(detail="not ours, malformed or expired")
        found = await self.durable.grants.with_account(access.grant, access.token_id)
        if found is None:
            raise InvalidToken(detail="grant, account or token gone")
        grant, account = found
        if grant.revoked_at is not None:
            raise InvalidToken(detail="grant revoked")
        return access, grant, account
