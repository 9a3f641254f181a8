"""My Account: connected sites and sharing history."""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.values import ClaimName, ClientId
from broker.web import views
from broker.web.call import Call, see_other


async def sites(call: Call) -> Response:
    """Every connected site and what it gets."""
    return call.page(await views.sites(call))


async def stop_sharing(call: Call) -> Response:
    """Stop sharing one field with one site."""
    client, claim = ClientId(call.form.get("client", "")), ClaimName(call.form.get("claim", ""))
    await call.world.account.stop_sharing(call.signed_in, client, claim, locale=call.locale)
    return see_other("/me/sites?done=stopped")


async def disconnect(call: Call) -> Response:
    """Disconnect one site."""
    await call.world.account.disconnect(call.signed_in, ClientId(call.form.get("client", "")), locale=call.locale)
    return see_other("/me/sites?done=disconnected")


async def history(call: Call) -> Response:
    """Who got which field, when, why and how."""
    return call.page(await views.history(call))
