"""Which site a request to an endpoint for servers is from (RFC 6749 §2.3, RFC 7523). One refusal for every reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.domain.checks.client import ASSERTION_TYPES, Proof, algorithms_of, check_assertion
from broker.domain.client import AuthMethod, Client
from broker.domain.ports import ClientTokens, Clock, Limits, Replay
from broker.domain.values import ClientId
from broker.errors import InvalidClient, TooManyAttempts, UpstreamError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuth:
    clients: Mapping[ClientId, Client]
    secret_matches: Callable[[str, tuple[bytes, ...]], bool]
    tokens: ClientTokens
    replay: Replay
    limits: Limits
    clock: Clock
    issuer: str
    failures_per_minute: int

    async def authenticate(self, proof: Proof, *, path: str, address: str) -> Client:
        """The client this proof is from, by the method it registered.

        `path`: of the endpoint that is asked. `address`: of whoever asks, for counting failures. Raises `InvalidClient`,
        `TooManyAttempts`.
        """
        client = self.clients.get(ClientId(proof.client_id))
        why = await self._why_refused(client, proof, path)
        if client is not None and not why:
            return client
        wait = await self.limits.hit(
            f"client:{address}", limit=self.failures_per_minute, window=60, now=self.clock.now()
        )
        if wait:
            raise TooManyAttempts(wait, detail="client authentication")
        raise InvalidClient(detail=why)

    async def _why_refused(self, client: Client | None, proof: Proof, path: str) -> str:
        """For the log; the site hears one refusal for all of them. Empty: it is who it says."""
        if client is None:
            return "client unknown"
        if not client.enabled:
            return "client disabled"
        if proof.method is not client.auth_method:
            return f"{proof.method} used, {client.auth_method} registered"
        if proof.method is AuthMethod.NONE:
            return ""
        if proof.assertion:
            return await self._why_not_asserted(client, proof, path)
        return "" if self.secret_matches(proof.secret, client.secret_digests) else "client secret wrong"

    async def _why_not_asserted(self, client: Client, proof: Proof, path: str) -> str:
        now = self.clock.now()
        endpoints = frozenset({f"{self.issuer}/token", f"{self.issuer}{path}"})
        try:
            claims = await self.tokens.claims(
                client, proof.assertion, algorithms=algorithms_of(client), types=ASSERTION_TYPES
            )
            once = check_assertion(claims, client, issuer=self.issuer, endpoints=endpoints, now=now)
        except UpstreamError as error:
            return f"client_assertion {error.detail}"
        except InvalidClient as error:
            return error.detail
        is_new = await self.replay.first_time(once.key, once.until)
        return "" if is_new else "client_assertion used before"
