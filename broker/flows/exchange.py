"""Codes and refresh tokens become tokens (RFC 6749 §4.1.3, §6); tokens are described and revoked (RFC 7662, RFC 7009).

Order matters here: a code is used up *before* it is checked, so that a wrong guess burns it; a reuse is revoked and
*committed* before it is answered, so that no error can undo the revocation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.domain import tokens
from broker.domain.account import Account, AccountStatus
from broker.domain.checks.dpop import Shown, check_code_key, check_refresh_key, check_use
from broker.domain.checks.resource import RESOURCE, check_resources, heard, meant
from broker.domain.checks.service import service_audience, service_scopes
from broker.domain.checks.token import Params, check_code, narrowed
from broker.domain.client import Client
from broker.domain.disclosure import Disclosure, Via
from broker.domain.grant import (
    ACCESS_TOKEN_LIFETIME,
    OFFLINE_ACCESS,
    REFRESH_IDLE_LIFETIME,
    REFRESH_LIFETIME,
    SESSION_TOKEN_LIFETIME,
    AlreadyRedeemed,
    Grant,
    Redeemed,
    RefreshFamily,
    Reused,
    is_standing,
)
from broker.domain.ports import AccessToken, Clock, Durable, Entropy, Handles, RefreshToken, Signer, UnitOfWork
from broker.domain.values import ClientId, GrantId, Scope
from broker.errors import Conflict, InvalidClient, InvalidGrant, InvalidRequest, InvalidToken, UnsupportedGrantType
from broker.flows.access import AccessTokens, type_of
from broker.flows.device import GRANT_TYPE as DEVICE_GRANT
from broker.flows.device import DeviceRequests
from broker.flows.ledger import LedgerWriter
from broker.flows.release import Prepared, Releaser, within


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFlow:
    durable: Durable
    releaser: Releaser
    ledger: LedgerWriter
    signer: Signer
    handles: Handles
    access: AccessTokens
    clock: Clock
    entropy: Entropy
    issuer: str
    devices: DeviceRequests

    async def exchange(self, client: Client, params: Params, shown: Shown | None = None) -> Mapping[str, Any]:
        """The token endpoint's answer (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).

        `shown`: the key that the client showed to hold; what it gets is of use with that key alone (RFC 9449 §5).
        """
        grant_type = params.get("grant_type")
        check_resources(params, client, self.issuer)
        check_use(client, shown)
        if grant_type == "authorization_code":
            return await self._code(client, params, shown)
        if grant_type == "refresh_token":
            return await self._refresh(client, params, shown)
        if grant_type == DEVICE_GRANT:
            return await self._code(client, await self.devices.poll(client, params), shown)
        if grant_type == "client_credentials":
            return self._for_itself(client, params, shown)
        if grant_type is None:
            raise InvalidRequest(detail="grant_type missing", public="The parameter grant_type is missing.")
        raise UnsupportedGrantType(detail="grant_type")

    async def redeem(self, client: Client, params: Params) -> Redeemed:
        """Use a code up, then check that this client may have what it stands for. Raises `InvalidGrant`."""
        secret = params.get("code")
        if secret is None:
            raise InvalidRequest(detail="code missing", public="The parameter code is missing.")
        now = self.clock.now()
        outcome = await self.durable.grants.consume_code(hashlib.sha256(secret.encode()).digest(), now)
        if outcome is None:
            raise InvalidGrant(detail="code unknown")
        if isinstance(outcome, AlreadyRedeemed):
            unit = self.durable.unit()
            unit.revoke_grant(outcome.grant, now)
            await unit.commit()
            raise InvalidGrant(detail="code used before: grant revoked")
        check_code(outcome.code, outcome.grant, client, params, now)
        return outcome

    async def _code(self, client: Client, params: Params, shown: Shown | None) -> Mapping[str, Any]:
        redeemed = await self.redeem(client, params)
        code, grant = redeemed.code, meant(redeemed.grant, params, client, self.issuer)
        check_code_key(grant.code_jkt, shown)
        unit = self.durable.unit()
        prepared = await self._prepare(grant, client, unit)
        family = self._new_family(grant, client)
        if family is not None:
            unit.add_family(family)
        if family is not None or any(one.is_new for one in prepared.values()):
            try:
                await unit.commit()
            except Conflict as conflict:  # the code came back meanwhile, or the person signed out
                raise InvalidGrant(detail="grant revoked meanwhile") from conflict
        return self._answer(grant, client, prepared, family, grant.scopes, nonce=code.nonce, shown=shown)

    async def _refresh(self, client: Client, params: Params, shown: Shown | None) -> Mapping[str, Any]:
        token = params.get("refresh_token")
        if token is None:
            raise InvalidRequest(detail="refresh_token missing", public="The parameter refresh_token is missing.")
        presented = self.handles.read_refresh_token(token)
        if presented is None:
            raise InvalidGrant(detail="refresh token not ours")
        check_refresh_key(presented.jkt, shown)  # first: who only copied it does not even end it
        if "scope" in params or RESOURCE in params:  # rare: look before the token is used up: a wrong one costs nothing
            before = await self.durable.grants.load_family(presented.family)
            grant_before = await self.durable.grants.load(before.grant) if before else None
            if grant_before is not None and grant_before.client == client.client_id:
                narrowed(meant(grant_before, params, client, self.issuer), params)
        family = await self._next(client, presented)
        found = await self.durable.grants.with_account(family.grant, "")
        if found is None or not is_standing(found[0], self.clock.now()):
            raise InvalidGrant(detail="grant gone or revoked")
        grant, account = found
        if account.status is not AccountStatus.ACTIVE:
            raise InvalidGrant(detail="account not active")
        scopes = narrowed(grant, params)
        grant = within(meant(grant, params, client, self.issuer), client, scopes)
        unit = self.durable.unit()
        prepared = await self._prepare(grant, client, unit, account)
        if any(one.is_new for one in prepared.values()):
            await unit.commit()
        return self._answer(grant, client, prepared, family, scopes, nonce=None, shown=shown)

    async def _next(self, client: Client, presented: RefreshToken) -> RefreshFamily:
        """The family after this refresh, with another token or, for a client that does not rotate, the same one."""
        held, now = self.durable.grants, self.clock.now()
        if not client.rotates:
            family = await held.renew(presented.family, presented.generation, client.client_id, now)
            if family is None:
                raise InvalidGrant(detail="refresh token not usable")
            return family
        outcome = await held.rotate(presented.family, presented.generation, client.client_id, now)
        if outcome is None or isinstance(outcome, Reused):
            raise InvalidGrant(detail="refresh token reused: family revoked" if outcome else "refresh token not usable")
        return outcome.family

    def _for_itself(self, client: Client, params: Params, shown: Shown | None) -> Mapping[str, Any]:
        """An access token with no person behind it, and nothing to renew it with (RFC 6749 §4.4.3)."""
        scopes = service_scopes(params, client)
        access = self.access.of(client, scopes, service_audience(params, client), shown)
        return self._access_answer(self.access.text(access, client, None), access)

    @staticmethod
    def _access_answer(token: str, access: AccessToken) -> dict[str, Any]:
        """What every answer with an access token says (RFC 6749 §5.1)."""
        return {
            "access_token": token,
            "token_type": type_of(access),
            "expires_in": int(ACCESS_TOKEN_LIFETIME.total_seconds()),
            "scope": " ".join(sorted(access.scopes)),
        }

    async def _prepare(
        self, grant: Grant, client: Client, unit: UnitOfWork, account: Account | None = None
    ) -> dict[Via, Prepared]:
        """What the tokens will carry, with its records queued. The account is read only if claims go into a token."""
        vias = [Via.ID_TOKEN] if client.claims_in_id_token or grant.in_id_token else []
        vias += [Via.SESSION_TOKEN] if client.session_token else []
        if not vias:
            return {}
        if account is None:
            found = await self.durable.grants.with_account(grant.id, "")
            if found is None:
                raise InvalidGrant(detail="account gone")
            account = found[1]
        if account.status is not AccountStatus.ACTIVE:
            raise InvalidGrant(detail="account not active")
        return {via: self.releaser.prepare(grant, client, account, via, unit) for via in vias}

    def _new_family(self, grant: Grant, client: Client) -> RefreshFamily | None:
        """Refresh tokens for sites allowed to act in the person's absence, and for kits while the session lasts."""
        if OFFLINE_ACCESS not in grant.scopes and not client.session_token:
            return None
        now = self.clock.now()
        expires = min(now + REFRESH_LIFETIME, grant.expires_at)
        return RefreshFamily(
            id=self.entropy.token(12),
            grant=grant.id,
            client=client.client_id,
            generation=0,
            created_at=now,
            rotated_at=now,
            retried=False,
            expires_at=expires,
            idle_expires_at=min(now + REFRESH_IDLE_LIFETIME, expires),
        )

    def _answer(
        self,
        grant: Grant,
        client: Client,
        prepared: Mapping[Via, Prepared],
        family: RefreshFamily | None,
        scopes: frozenset[Scope],
        *,
        nonce: str | None,
        shown: Shown | None,
    ) -> Mapping[str, Any]:
        """Everything is committed: sign. The records of what leaves are in the ledger already."""
        for one in prepared.values():
            self.ledger.remember(one.disclosure)
        sid = self.releaser.sid(grant)
        carried = prepared.get(Via.ID_TOKEN)
        disclosure: Disclosure = carried.disclosure if carried else self.releaser.bare(grant, client, Via.ID_TOKEN)
        access = self.access.on(grant, scopes, shown)
        text = self.access.text(access, client, disclosure)
        answer = self._access_answer(text, access)
        payload = tokens.id_token(disclosure, issuer=self.issuer, sid=sid, nonce=nonce, access_token=text)
        answer["id_token"] = self.signer.sign(payload, typ=tokens.ID_TOKEN_TYPE, algorithm=client.signing_algorithm)
        if Via.SESSION_TOKEN in prepared:
            session = tokens.session_token(
                prepared[Via.SESSION_TOKEN].disclosure, issuer=self.issuer, sid=sid, token_id=self.entropy.token(9)
            )
            answer["session_token"] = self.signer.sign(
                session, typ=tokens.SESSION_TOKEN_TYPE, algorithm=client.signing_algorithm
            )
            answer["session_token_expires_in"] = int(SESSION_TOKEN_LIFETIME.total_seconds())
        if family is not None:  # a client that proves itself is what its refresh token is bound to (RFC 9449 §5)
            bound = access.jkt if client.is_public else None
            answer["refresh_token"] = self.handles.refresh_token(family.id, family.generation, bound)
        return answer

    async def introspect(self, client: Client, token: str) -> Mapping[str, Any]:
        """What a token is worth now (RFC 7662) that is this client's own, or meant for an interface that it serves.

        Of any other, nothing (catalogue 77).

        Access tokens and session tokens; a session token is named as such, so that none passes for the other.
        """
        if client.is_public:
            raise InvalidClient(detail="introspection by a public client")
        try:
            session = self._session(client, token)
            presented = session or self.access.read(token)
        except InvalidToken:
            await self.durable.grants.with_account(GrantId(""), "")  # as long as for another site's (catalogue 81)
            return {"active": False}
        if presented.client is not None:
            return await self._introspect_own(client, presented, presented.client)
        try:
            grant, account = await self.releaser.behind(presented)
        except InvalidToken:
            return {"active": False}
        told, owner = heard(presented, grant.client, client, self.issuer), self._site(grant.client)
        is_good = account.status is AccountStatus.ACTIVE and is_standing(grant, self.clock.now())
        if told is None or owner is None or not is_good:
            return {"active": False}
        bare = self.releaser.bare(grant, owner, Via.INTROSPECTION)
        token_type = tokens.SESSION_TOKEN_TYPE if session else type_of(presented)
        described = tokens.introspection(bare, told, issuer=self.issuer, token_type=token_type)
        if grant.client == client.client_id:  # a session is a matter of the site's own
            described["sid"] = self.releaser.sid(grant)
        return described

    def _site(self, client: ClientId) -> Client | None:
        """The site whose token it is, while it is there and switched on."""
        site = self.releaser.clients.get(client)
        return site if site is not None and site.enabled else None

    async def _introspect_own(self, client: Client, presented: AccessToken, whose: ClientId) -> Mapping[str, Any]:
        """The same of a token that a site has for itself: good while its admin lets it have all of this."""
        is_revoked = await self.durable.grants.is_revoked(presented.token_id)
        told, owner = heard(presented, whose, client, self.issuer), self._site(whose)
        if is_revoked or told is None or owner is None or presented.scopes - owner.service_scopes:
            return {"active": False}
        return tokens.service_introspection(told, issuer=self.issuer, token_type=type_of(presented))

    async def introspect_signed(self, client: Client, token: str) -> str:
        """The same answer as a JWT for this client, signed as its tokens are (RFC 9701)."""
        described = await self.introspect(client, token)
        claims = tokens.introspection_response(
            described, issuer=self.issuer, caller=client.client_id, now=self.clock.now()
        )
        return self.signer.sign(claims, typ=tokens.INTROSPECTION_TYPE, algorithm=client.signing_algorithm)

    def userinfo_signed(self, client: Client, claims: Mapping[str, Any]) -> str:
        """What userinfo answers as a JWT for this client, signed as its tokens are (OpenID Connect Core §5.3.2)."""
        told = tokens.userinfo_response(claims, issuer=self.issuer, client=client.client_id)
        return self.signer.sign(told, typ=tokens.USERINFO_TYPE, algorithm=client.signing_algorithm)

    def _session(self, client: Client, token: str) -> AccessToken | None:
        """What a session token of this client says about itself, while it is good."""
        presented = self._own_session(client, token)
        return presented if presented is not None and self.clock.now() < presented.expires_at else None

    def _own_session(self, client: Client, token: str) -> AccessToken | None:
        """The same, good or over, in the terms of an access token without scopes."""
        claims = self.signer.own(token, typ=tokens.SESSION_TOKEN_TYPE, now=self.clock.now())
        return tokens.read_session_token(claims) if claims is not None and claims["aud"] == client.client_id else None

    async def revoke(self, client: Client, token: str) -> None:
        """Take back a token (RFC 7009). Of another client's: no effect.

        A refresh token takes its grant with it, and so does a session token: it says that somebody is signed in at the site,
        and a new one would say so again. Also one that is over, as a site that signs somebody out may hold no other.
        """
        unit = self.durable.unit()
        refresh = self.handles.read_refresh_token(token)
        access = self.access.own(token)
        if refresh is not None:
            family = await self.durable.grants.load_family(refresh.family)
            if family is None or family.client != client.client_id:
                return
            unit.revoke_grant(family.grant, self.clock.now())
        elif access is not None and access.client is not None:
            if access.client != client.client_id:
                return
            unit.revoke_access_token(access.token_id, access.expires_at)
        elif access is not None:
            grant = await self.durable.grants.load(access.grant)
            if grant is None or grant.client != client.client_id:
                return
            unit.revoke_access_token(access.token_id, access.expires_at)
        elif (session := self._own_session(client, token)) is not None:
            unit.revoke_grant(session.grant, self.clock.now())
        else:
            return
        await unit.commit()
