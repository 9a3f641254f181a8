"""Tokens on their way back to the provider that gave them: nobody holds them here any more, and they are to end there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from broker.domain.provider import UpstreamTokens
from broker.domain.values import ProviderId

TAKE_BACK: Final = "take_back"
"""The kind of delivery that ends them there."""


def payload_of(provider: ProviderId, tokens: UpstreamTokens) -> dict[str, str]:
    """What is needed to end them, and nothing else: not even whose they were."""
    refresh = {} if tokens.refresh_token is None else {"refresh_token": tokens.refresh_token}
    return {"provider": provider, "access_token": tokens.access_token, **refresh}


def payloads_ending(provider: ProviderId, tokens: UpstreamTokens) -> tuple[Mapping[str, str], ...]:
    """What is found in the payload of whatever would end these, too, as `UpstreamTokens.lives_on_in` says: one or the other."""
    payload = payload_of(provider, tokens)
    return tuple({"provider": provider, name: payload[name]} for name in payload if name != "provider")


def tokens_of(payload: Mapping[str, str]) -> UpstreamTokens:
    """The tokens of a payload."""
    return UpstreamTokens(access_token=payload["access_token"], refresh_token=payload.get("refresh_token"))
