"""DiscourseConnect: an ordinary sign-in with the forum's consent page, whose end is told in the forum's own words.

The code never leaves us: PKCE's verifier is made from a key of ours, and the code's address is ours. What binds the answer
to a browser is the forum's nonce, which it keeps with the browser that it began with.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.domain import base64url, discourse, tokens
from broker.domain.checks.token import challenge_of
from broker.domain.client import Client
from broker.domain.disclosure import Via
from broker.domain.discourse import ANSWER_PATH, Asked
from broker.domain.grant import OFFLINE_ACCESS, QUERY, AuthorizationRequest
from broker.domain.ports import Durable
from broker.domain.values import ClientId
from broker.errors import AccessDenied, InvalidGrant, InvalidToken, NotLetIn, SignInExpired
from broker.flows.exchange import ExchangeFlow
from broker.flows.ledger import LedgerWriter
from broker.flows.release import Releaser
from broker.flows.transactions import Seal

_STATE = "state of a forum"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscourseFlow:
    durable: Durable
    exchange: ExchangeFlow
    releaser: Releaser
    ledger: LedgerWriter
    seal: Seal
    clients: Mapping[ClientId, Client]
    issuer: str
    key: bytes = field(repr=False)

    @property
    def redirect_uri(self) -> str:
        """Where the sign-in's answer comes to: an address of ours."""
        return f"{self.issuer}{ANSWER_PATH}"

    def forum(self, params: Mapping[str, str]) -> Client:
        """Which forum says that it asks. Raises `BadRequest`."""
        return discourse.forum_of(params, self.clients)

    def begin(self, client: Client, params: Mapping[str, str]) -> AuthorizationRequest:
        """What its question means as an authorization request. Raises `BadRequest` if the forum did not sign it."""
        asked = discourse.read(params, client)
        state = self.seal.seal_text(json.dumps([client.client_id, asked.nonce, asked.is_silent]), _STATE)
        return AuthorizationRequest(
            client_id=client.client_id,
            redirect_uri=self.redirect_uri,
            response_type="code",
            response_mode=QUERY,
            scopes=client.scopes - {OFFLINE_ACCESS},
            state=state,
            code_challenge=challenge_of(self._verifier(state)),
            prompt=frozenset({"none"}) if asked.is_silent else frozenset(),
        )

    def knows(self, client: Client, request: AuthorizationRequest) -> bool:
        """Whether this request is a forum's, and it may still ask so."""
        return request.redirect_uri == self.redirect_uri and discourse.returns_to(client) is not None

    def asked_by(self, state: str) -> tuple[Client, Asked]:
        """Which forum this is an answer to. Raises `SignInExpired` for none."""
        text = self.seal.open_text(state, _STATE)
        if text is None:
            raise SignInExpired(detail="no answer to a forum of ours")
        name, nonce, is_silent = json.loads(text)
        client = self.clients.get(ClientId(name))
        return_to = discourse.returns_to(client) if client is not None else None
        if client is None or return_to is None:
            raise SignInExpired(detail="forum gone meanwhile")
        return client, Asked(nonce=nonce, return_to=return_to, is_silent=is_silent)

    async def finish(self, client: Client, asked: Asked, params: Mapping[str, str]) -> str:
        """Where the browser goes at the end. What leaves is recorded first (decision 14).

        Raises `SignInExpired` for an answer that is none of ours or came before, `NotLetIn` if the person shared nothing.
        """
        state = params.get("state", "")
        secret = client.discourse_connect_secret
        if secret is None or params.get("iss") != self.issuer:
            raise SignInExpired(detail="answer to a forum is not ours")
        if "code" not in params:
            if not asked.is_silent:
                refused = params.get("error") == AccessDenied.code
                raise (
                    NotLetIn(detail="not shared with the forum")
                    if refused
                    else SignInExpired(detail="no code for a forum")
                )
            return discourse.address(asked, discourse.failed(asked), secret)
        told = await self._told(client, params["code"], state)
        return discourse.address(asked, discourse.answered(asked, str(told["sub"]), told), secret)

    async def _told(self, client: Client, code: str, state: str) -> Mapping[str, object]:
        form = {"code": code, "redirect_uri": self.redirect_uri, "code_verifier": self._verifier(state)}
        unit = self.durable.unit()
        try:
            redeemed = await self.exchange.redeem(client, form)
            access = self.exchange.access.on(redeemed.grant, redeemed.grant.scopes, None)
            grant, account = await self.releaser.behind(access)
            prepared = self.releaser.prepare(grant, client, account, Via.DISCOURSE_CONNECT, unit)
        except (InvalidGrant, InvalidToken) as error:
            raise SignInExpired(detail=f"code of a forum: {error.detail}") from None
        await unit.commit()  # always something new: each code has a grant of its own
        self.ledger.remember(prepared.disclosure)
        return tokens.userinfo(prepared.disclosure)

    def _verifier(self, state: str) -> str:
        return base64url.encoded(hmac.digest(self.key, state.encode(), "sha256"))
