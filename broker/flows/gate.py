"""Forward-auth: hand a sign-in over to a site's own host once, then tell its proxy for each request who is there.

The handover is an ordinary authorization request with PKCE whose verifier is made from a cookie at the site's host, so
that no other browser can finish it. What it leaves there names a grant: signing out, withdrawing and holding an account
end it like every other token, at the next request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from broker.domain import base64url, tokens
from broker.domain.account import AccountStatus
from broker.domain.checks.token import challenge_of
from broker.domain.client import Client
from broker.domain.disclosure import Via
from broker.domain.gate import ASSERTION, callback_of, gate_of, identity, page_of, scope_of
from broker.domain.grant import is_standing
from broker.domain.ports import Clock, Durable, Entropy, Handles, Signer
from broker.domain.values import ClientId
from broker.errors import WrongBrowser
from broker.flows.exchange import ExchangeFlow
from broker.flows.ledger import LedgerWriter
from broker.flows.release import Releaser
from broker.flows.transactions import Seal

_TO = "gate"
_STATE = "gate state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """The handover is done: what the browser keeps at the site's host, and the page it wanted."""

    page: str
    entry: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFlow:
    durable: Durable
    exchange: ExchangeFlow
    releaser: Releaser
    ledger: LedgerWriter
    handles: Handles
    signer: Signer
    seal: Seal
    clients: Mapping[ClientId, Client]
    clock: Clock
    entropy: Entropy
    issuer: str

    def site(self, name: str) -> Client | None:
        """The site whose gate this is; `None` for any other."""
        client = self.clients.get(ClientId(name))
        return client if client is not None and client.forward_auth else None

    async def who(self, client: Client, entry: str) -> dict[str, str] | None:
        """The headers that name who is there; `None` for nobody. What leaves is recorded first (decision 14)."""
        grant_id = self.handles.read_entry(entry)
        found = await self.durable.grants.with_account(grant_id, "") if grant_id is not None else None
        if found is None:
            return None
        grant, account = found
        if grant.client != client.client_id or account.status is not AccountStatus.ACTIVE:
            return None
        if not is_standing(grant, self.clock.now()):
            return None
        unit = self.durable.unit()
        prepared = self.releaser.prepare(grant, client, account, Via.FORWARD_AUTH, unit)
        headers = identity(client, prepared.disclosure)
        if headers is None:
            return None
        if prepared.is_new:
            await unit.commit()
            self.ledger.remember(prepared.disclosure)
        claims = tokens.login_assertion(prepared.disclosure, issuer=self.issuer, sid=self.releaser.sid(grant))
        signed = self.signer.sign(claims, typ=tokens.ASSERTION_TYPE, algorithm=client.signing_algorithm)
        return {**headers, ASSERTION: signed}

    def way_to(self, client: Client, page: str) -> str:
        """What the site's host is asked for to sign somebody in who wants this page."""
        return self.seal.seal_text(json.dumps([client.client_id, page]), _TO)

    def destination(self, to: str) -> tuple[Client, str] | None:
        """Site and page of `way_to`; `None` for anything else."""
        return self._read(to, _TO)

    def begin(self, client: Client, page: str, browser: str) -> str:
        """The authorization request that brings this browser, and no other, back to its page."""
        state = self.seal.seal_text(json.dumps([client.client_id, page, self.entropy.token(12)]), _STATE)
        request = {
            "client_id": client.client_id,
            "redirect_uri": callback_of(client),
            "response_type": "code",
            "scope": scope_of(client),
            "state": state,
            "code_challenge": challenge_of(_verifier(browser, state)),
            "code_challenge_method": "S256",
        }
        return f"{self.issuer}/authorize?{urlencode(request)}"

    def asked_by(self, state: str) -> tuple[Client, str] | None:
        """Site and page of a handover that we began; `None` for anything else."""
        return self._read(state, _STATE)

    async def finish(self, client: Client, page: str, *, code: str, state: str, browser: str | None) -> Entered:
        """Use the code up. Raises `WrongBrowser` without the cookie it was begun with, `InvalidGrant` otherwise."""
        if browser is None:
            raise WrongBrowser(detail="handover without its cookie")
        params = {"code": code, "redirect_uri": callback_of(client), "code_verifier": _verifier(browser, state)}
        redeemed = await self.exchange.redeem(client, params)
        return Entered(page=page, entry=self.handles.entry(redeemed.grant.id))

    def _read(self, sealed: str, purpose: str) -> tuple[Client, str] | None:
        text = self.seal.open_text(sealed, purpose)
        if text is None:
            return None
        name, page = json.loads(text)[:2]
        client = self.site(name)
        if client is None:  # no longer behind a proxy
            return None
        return client, page_of(client, page) or f"{gate_of(client)}/"


def _verifier(browser: str, state: str) -> str:
    return base64url.encoded(hashlib.sha256(f"{browser} {state}".encode()).digest())
