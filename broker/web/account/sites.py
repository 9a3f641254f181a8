"""My Account: connected sites and sharing history."""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.opening import opening_address
from broker.domain.values import ClaimName, ClientId
from broker.errors import NotFound
from broker.web import views
from broker.web.call import Call, see_other
from broker.web.forms import is_local_path
from broker.web.steps import leave_by_page


async def sites(call: Call) -> Response:
    """Every connected site and what it gets."""
    return call.page(await views.sites(call))


async def open_site(call: Call) -> Response:
    """To a site, which then signs the person in by asking us (OpenID Connect Core §4); `to`: a page of that site.

    Whoever sends somebody here sends them no further than to a site that an admin let in.
    """
    query, world = call.request.query_params, call.world
    client, path = await world.clients.look(query.get("site", ""), visitor=call.address), query.get("to", "")
    if client is None or not client.enabled or client.is_unreviewed or (path and not is_local_path(path)):
        raise NotFound(detail="no such site to open")
    return leave_by_page(call, opening_address(client, world.settings.broker.public_url, path), client.name)


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
