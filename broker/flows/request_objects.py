"""Requests that sites signed, brought along or left at an address of theirs (JAR, RFC 9101)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from broker.domain.checks.authorization import Params
from broker.domain.checks.request_object import TYPES, check_object, object_algorithms_of
from broker.domain.checks.token import MAX_OBJECT
from broker.domain.client import Client
from broker.domain.ports import ClientTokens, Clock, Limits
from broker.errors import (
    InvalidRequest,
    InvalidRequestObject,
    InvalidRequestUri,
    RequestNotSupported,
    RequestUriNotSupported,
    TemporarilyUnavailable,
    TooManyAttempts,
    UpstreamError,
    UpstreamInvalid,
    UpstreamUnavailable,
)

FETCHES_PER_MINUTE: Final = 60
"""From one site's addresses: nobody makes us hammer them (RFC 9101 §10.4.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestObjects:
    tokens: ClientTokens
    limits: Limits
    clock: Clock
    issuer: str

    async def opened(self, client: Client, params: Params) -> Params:
        """What the site signed, in the place of `params`, which say where that is.

        Raises the `ProtocolError` that tells the site what is wrong, and `TooManyAttempts`.
        """
        token = await self._token(client, params)
        try:
            claims = await self.tokens.claims(client, token, algorithms=object_algorithms_of(client), types=TYPES)
        except UpstreamUnavailable as error:
            raise TemporarilyUnavailable(detail=f"request object {error.detail}") from error
        except UpstreamInvalid as error:
            raise InvalidRequestObject(detail=f"request object {error.detail}") from error
        return check_object(claims, client, issuer=self.issuer, now=self.clock.now())

    async def _token(self, client: Client, params: Params) -> str:
        token, address = params.get("request"), params.get("request_uri")
        if token is not None and address is not None:
            raise InvalidRequest(detail="request and request_uri")
        if not client.signs:
            raise (RequestNotSupported if address is None else RequestUriNotSupported)(detail="no keys registered")
        if token is None:
            return await self._fetched(client, address or "")
        if len(token) > MAX_OBJECT:
            raise InvalidRequest(detail="request too long")
        return token

    async def _fetched(self, client: Client, address: str) -> str:
        """Only from where the site's admin said it would be, to the letter (RFC 9101 §10.4.1; catalogue 16).

        What stands behind a `#` only says that something else lies there than before (OpenID Connect Core §6.2): nothing
        is kept here, so it is fetched in any case.
        """
        address = address.partition("#")[0]
        if address not in client.request_uris:
            raise InvalidRequestUri(detail="request_uri not registered")
        wait = await self.limits.hit(
            f"request_uri:{client.client_id}", limit=FETCHES_PER_MINUTE, window=60, now=self.clock.now()
        )
        if wait:
            raise TooManyAttempts(wait, detail="request_uri fetched")
        try:
            return await self.tokens.at(address)
        except UpstreamError as error:
            raise InvalidRequestUri(detail=f"request_uri {error.detail}") from error
