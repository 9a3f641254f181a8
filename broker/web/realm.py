"""What OpenID 2.0 providers may read of us (OpenID Authentication 2.0 §13): to which addresses they may send people back.

A provider that looks warns people of whoever says nothing about itself. The front page, which is our realm, names the
document; both are there only where a provider of that kind is on.
"""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.responses import Response

from broker.errors import NotFound
from broker.web.call import Call

PATH: Final = "/openid2/return-addresses"
_PAGE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<xrds:XRDS xmlns:xrds="xri://$xrds" xmlns="xri://$xrd*($v*2.0)"><XRD>'
    "<Service><Type>http://specs.openid.net/auth/2.0/return_to</Type>{}</Service></XRD></xrds:XRDS>\n"
)


async def addresses(call: Call) -> Response:
    """The document."""
    found = _addresses(call)
    if not found:
        raise NotFound(detail="no provider speaks OpenID 2.0")
    body = _PAGE.format("".join(f"<URI>{escape(one)}</URI>" for one in found))
    return Response(body, media_type="application/xrds+xml")


def name_addresses(call: Call, response: Response) -> None:
    """Say on our realm's own page where the document is (Yadis §6.2.5)."""
    if _addresses(call):
        response.headers["X-XRDS-Location"] = f"{call.world.settings.broker.public_url}{PATH}"


def _addresses(call: Call) -> list[str]:
    world = call.world
    speaking = [one for one in world.providers if world.faces[one].speaks_openid2]
    return [f"{world.sign_in.callback_base}{one}" for one in speaking]
