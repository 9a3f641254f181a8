"""My Account: close my account."""

from __future__ import annotations

from starlette.responses import Response

from broker.errors import BadRequest
from broker.web import views
from broker.web.call import Call


async def close(call: Call) -> Response:
    """What goes, what stays and why, and who is told."""
    return call.page(await views.close(call))


async def confirm(call: Call) -> Response:
    """Close it. Every cookie of ours goes too."""
    if call.form.get("decision") != "close":
        raise BadRequest(detail="no decision")
    await call.world.account.close(call.signed_in)
    call.session = None
    response = call.page(views.closed(call))
    call.world.cookies.clear_all(call.request, response, memories=True)
    response.headers["Clear-Site-Data"] = '"cache"'
    return response
