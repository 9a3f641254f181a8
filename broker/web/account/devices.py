"""My Account: devices."""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.values import Sid
from broker.web import views
from broker.web.call import Call, see_other


async def devices(call: Call) -> Response:
    """Every browser that is signed in."""
    return call.page(await views.devices(call))


async def end(call: Call) -> Response:
    """Sign one other device out, or all others."""
    session = call.signed_in
    if call.form.get("all"):
        await call.world.sessions.sign_out_everywhere(session.account, keep=session.sid)
    else:
        await call.world.account.end_device(session, Sid(call.form.get("sid", "")))
        if call.form.get("sid") == session.sid:
            response = see_other("/signed-out")
            call.world.cookies.clear_session(response)
            return response
    return see_other("/me/devices?done=ended")
