"""What providers tell us by themselves: that a person took us out of their account there, or wants everything deleted.

Both are answered to the provider's server, without a browser: nobody is signed in there, and the provider's signature is
the only proof. And the page on which a person follows what becomes of a deletion.
"""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.removal import RemovalKind, TellsOfRemoval
from broker.domain.values import ProviderId
from broker.errors import InvalidRequest, NotFound, UpstreamInvalid
from broker.web import views
from broker.web.call import Call, answer_json
from broker.web.guards import read_protocol_form


async def deauthorize(call: Call) -> Response:
    """The person took us out (developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow, "Deauthorize callback")."""
    await _take(call, RemovalKind.APP_REMOVED)
    return answer_json({})


async def deletion(call: Call) -> Response:
    """The person wants what we keep deleted: where that can be followed, and its code.

    Source: developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback.
    """
    code = await _take(call, RemovalKind.DELETION)
    url = f"{call.world.settings.broker.public_url}/removal/{code}"
    return answer_json({"url": url, "confirmation_code": code})


async def removal(call: Call) -> Response:
    """What becomes of a deletion, in words and without anything about anybody. Raises `NotFound` for another code."""
    found = await call.world.removals.look_up(str(call.request.path_params["code"]))
    return call.page(views.removal(call, found))


async def _take(call: Call, kind: RemovalKind) -> str:
    id_ = ProviderId(str(call.request.path_params["provider"]))
    provider: object = call.world.providers.get(id_)
    if not isinstance(provider, TellsOfRemoval):
        raise NotFound(detail="no provider that tells of removals")
    form = await read_protocol_form(call)
    try:
        said = provider.read_removal(form)
    except UpstreamInvalid as error:
        raise InvalidRequest(detail=error.check) from error
    code = await call.world.removals.take(id_, kind, said)
    call.world.log.event("provider_removal", provider=id_, reason=kind.value)
    return code
