"""What we show providers as a client of theirs: who we are, our keys, and requests that they fetch."""

from __future__ import annotations

from typing import Final

from starlette.responses import JSONResponse, Response

from broker.domain.provider import DescribesUs
from broker.domain.values import ProviderId
from broker.errors import NotFound
from broker.web.call import Call
from broker.web.oidc.metadata import CACHE

MEDIA_TYPE: Final = "application/oauth-authz-req+jwt"


async def about_us(call: Call) -> Response:
    """One provider's document (Client ID Metadata Documents). Whoever may use the provider: its servers bring no cookie."""
    provider: object = call.world.trials.providers.get(ProviderId(call.request.path_params["provider"]))
    if not isinstance(provider, DescribesUs):
        raise NotFound(detail="no provider that reads what we say of ourselves")
    return JSONResponse(dict(provider.described()), headers=CACHE)


async def keys(call: Call) -> Response:
    """The public keys by which providers know what is ours (RFC 7517 §5); none where no provider wants any."""
    return Response(call.world.request_keys.jwks, headers=CACHE, media_type="application/json")


async def request(call: Call) -> Response:
    """A request that we left for a provider (RFC 9101 §5.2.3): for minutes, at an address that only it was told. Raises `NotFound`."""
    path = call.request.path_params
    found = await call.world.upstream_requests.fetch(ProviderId(str(path["provider"])), str(path["reference"]))
    if found is None:
        raise NotFound(detail="no request that we left, or no more")
    return Response(found, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})
