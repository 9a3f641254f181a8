"""What we say of ourselves to servers at which nobody registered us: at the address that is our client id there."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from broker.domain.provider import DescribesUs
from broker.domain.values import ProviderId
from broker.errors import NotFound
from broker.web.call import Call
from broker.web.oidc.metadata import CACHE


async def about_us(call: Call) -> Response:
    """One provider's document (Client ID Metadata Documents). Whoever may use the provider: its servers bring no cookie."""
    provider: object = call.world.trials.providers.get(ProviderId(call.request.path_params["provider"]))
    if not isinstance(provider, DescribesUs):
        raise NotFound(detail="no provider that reads what we say of ourselves")
    return JSONResponse(dict(provider.described()), headers=CACHE)
