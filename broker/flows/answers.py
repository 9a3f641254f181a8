"""The answer to an authorization request: where it goes, what it says, and how it travels there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from broker.domain.grant import QUERY, AuthorizationRequest
from broker.domain.values import ClientId


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTo:
    """Where an authorization answer may be sent: only ever made once client and address are verified."""

    client_id: ClientId
    redirect_uri: str = field(repr=False)
    state: str | None = field(repr=False)
    mode: str = QUERY


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where to send the browser with what, each parameter exactly once."""

    redirect_uri: str
    params: Mapping[str, str] = field(repr=False)
    mode: str = QUERY

    @property
    def url(self) -> str:
        """The whole answer as one address, for the mode `query`."""
        return answer_url(self.redirect_uri, self.params)


def to_whom(request: AuthorizationRequest) -> AnswerTo:
    """Where the answer to a checked request goes."""
    return AnswerTo(
        client_id=request.client_id,
        redirect_uri=request.redirect_uri,
        state=request.state,
        mode=request.response_mode,
    )


def answer(to: AnswerTo, params: Mapping[str, str], issuer: str) -> Answer:
    """These parameters with the site's own state and our name (RFC 9207), in the way the site asked for."""
    named = {**params, "iss": issuer} if to.state is None else {**params, "state": to.state, "iss": issuer}
    return Answer(redirect_uri=to.redirect_uri, params=named, mode=to.mode)


def answer_url(redirect_uri: str, params: Mapping[str, str | None]) -> str:
    """The redirect URI with the answer's parameters behind its own query."""
    query = urlencode({name: value for name, value in params.items() if value is not None})
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}"
