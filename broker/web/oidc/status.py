"""Status lists: which tokens ended before their time (Token Status List §8.1)."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from broker.errors import NotFound
from broker.flows.status import LOOK_EVERY
from broker.web.call import Call

_HEADERS: Final = {
    "Cache-Control": f"public, max-age={int(LOOK_EVERY.total_seconds())}",
    "Access-Control-Allow-Origin": "*",
}
"""Caches in between may save us the rush of a minute, and hold a list back for no longer than we do ourselves."""
MEDIA_TYPE: Final = "application/statuslist+jwt"


async def status_list(call: Call) -> Response:
    """One list, as bytes that were made before; 304 for a site that has this very copy."""
    found = await call.world.statuses.current(call.request.path_params["list"])
    if found is None:
        raise NotFound(detail="no such list")
    headers = {**_HEADERS, "ETag": found.etag}
    if call.request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.token, headers=headers, media_type=MEDIA_TYPE)
