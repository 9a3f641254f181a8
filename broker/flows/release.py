"""Claims leave here: released by the rule, recorded, and only then signed or answered. No record, no token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from broker.domain import tokens
from broker.domain.account import Account, AccountStatus
from broker.domain.checks.dpop import Shown, check_nonce, check_token_key
from broker.domain.claims import PICTURE
from broker.domain.client import Client, asked_claims
from broker.domain.disclosure import Disclosure, Via, release
from broker.domain.grant import Grant
from broker.domain.picture import SharedPicture, picture_of
from broker.domain.ports import AccessToken, Clock, Durable, PictureAddresses, Signer, UnitOfWork
from broker.domain.session import sid_for
from broker.domain.values import ClaimName, ClientId
from broker.errors import InsufficientScope, InvalidToken
from broker.flows.access import AccessTokens
from broker.flows.ledger import LedgerWriter


def within(grant: Grant, client: Client, scopes: Collection[str]) -> Grant:
    """The grant as far as these scopes reach: a narrowed token unlocks no more than it says (RFC 6749 §6).

    What was asked by name and by no scope that is left stays behind with the others.
    """
    if grant.scopes.issubset(scopes):
        return grant
    kept = frozenset(scope for scope in grant.scopes if scope in scopes)
    reach = {ask.claim for ask in asked_claims(client, kept)}
    return replace(
        grant, scopes=kept, claims={name: version for name, version in grant.claims.items() if name in reach}
    )


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
    access: AccessTokens
    clients: Mapping[ClientId, Client]
    clock: Clock
    issuer: str
    subject_key: bytes
    sid_key: bytes
    pictures: PictureAddresses
    look: Callable[[ClientId], Awaitable[Client | None]]
    """The site, wherever it registered."""

    def subject(self, grant: Grant, client: Client) -> str:
        """The person's number at this client."""
        return tokens.subject_for(grant.number_of, client, self.subject_key)

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
            self._claims(account, client),
            account.verified,
            subject=self.subject(grant, client),
            via=via,
            now=self.clock.now(),
        )
        return Prepared(disclosure=disclosure, is_new=self.ledger.disclosed(unit, disclosure))

    def _claims(self, account: Account, client: Client) -> dict[ClaimName, str]:
        """What there is to share; a picture by the address that it has at this site alone."""
        claims = account.claims
        picture = picture_of(claims.pop(PICTURE, None))
        if picture is not None:
            shared = SharedPicture(account=account.id, picture=picture, client=client.client_id)
            claims[PICTURE] = f"{self.issuer}{self.pictures.path(shared)}"
        return claims

    def bare(self, grant: Grant, client: Client, via: Via) -> Disclosure:
        """A disclosure of nothing but the subject: for tokens that carry no claims of the profile."""
        return release(
            grant, client, {}, frozenset(), subject=self.subject(grant, client), via=via, now=self.clock.now()
        )

    async def userinfo(
        self, token: str, shown: Shown | None = None, *, for_whom: Callable[[Client], None] | None = None
    ) -> Mapping[str, Any]:
        """The claims behind an access token (OpenID Connect Core §5.3), which comes with the key it is bound to, if any.

        `for_whom` raises for a site that may not ask in this way. Raises `InvalidToken`, `InsufficientScope`, `UseDpopNonce`.
        """
        access = self.access.read(token)
        check_token_key(access, shown)
        grant, account = await self.behind(access)
        if "openid" not in access.scopes:
            raise InsufficientScope
        if access.audience and self.issuer not in access.audience:
            raise InvalidToken(detail="meant for somebody else")
        client = await self.look(grant.client)
        if client is None or not client.enabled:
            raise InvalidToken(detail="client gone or disabled")
        if for_whom is not None:
            for_whom(client)
        if shown is not None:
            check_nonce(client, shown)
        unit = self.durable.unit()
        prepared = self.prepare(within(grant, client, access.scopes), client, account, Via.USERINFO, unit)
        if prepared.is_new:
            await unit.commit()
            self.ledger.remember(prepared.disclosure)
        return tokens.userinfo(prepared.disclosure)

    async def behind(self, access: AccessToken) -> tuple[Grant, Account]:
        """The grant and account that an access token stands for now. Raises `InvalidToken`."""
        found = await self.durable.grants.with_account(access.grant, access.token_id)
        if found is None:
            raise InvalidToken(detail="grant, account or token gone")
        grant, account = found
        if grant.revoked_at is not None:
            raise InvalidToken(detail="grant revoked")
        return grant, account
