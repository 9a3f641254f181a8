"""CORS (Fetch §3.2) for the endpoints that apps in a browser call. Cookies count nowhere there, so none are let through."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from broker.web.call import Call

ALLOWED: Final = "Authorization, Content-Type, DPoP"
EXPOSED: Final = "DPoP-Nonce, WWW-Authenticate"
_METHODS: Final = {"/userinfo": "GET, POST"}
KEPT: Final = 600
"""Seconds for which a browser need not ask again."""


def let_apps_read(call: Call, response: Response) -> None:
    """Name the page's origin if it is one that this site registered; never `*`, and never whatever was sent."""
    response.raw_headers.append((b"vary", b"Origin"))  # nobody else names it
    sent = call.request.headers.getlist("origin")
    client = call.client.client_id if call.client is not None else None
    if len(sent) == 1 and call.world.app_origins.may_read(sent[0], client):
        response.headers["Access-Control-Allow-Origin"] = sent[0]
        response.headers["Access-Control-Expose-Headers"] = EXPOSED


async def preflight(call: Call) -> Response:
    """What a browser asks before it lets a page ask (Fetch §3.2.2): which headers and methods there are.

    Without an origin that may read the answer, the browser goes no further.
    """
    headers = {
        "Access-Control-Allow-Methods": _METHODS.get(call.path, "POST"),
        "Access-Control-Allow-Headers": ALLOWED,
        "Access-Control-Max-Age": str(KEPT),
    }
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
