"""Requests that another site's page POSTs to us through a browser: they come without our Lax cookies.

Such a request is answered with a redirect to the same address as our own GET, which brings the cookies (decision 5).
What was posted rides along sealed: it stands in no log and no history, and opens at that address only.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from broker.errors import InvalidRequest
from broker.web.call import Call, see_other
from broker.web.forms import FORM, MAX_BODY, read_body

GOOD_FOR: Final = 60
"""Seconds a posted request may take to come back as our own GET."""
MOST: Final = MAX_BODY // 8
"""Bytes of a posted request: sealed, it must fit into an address."""


async def as_get(call: Call, purpose: str, *, query: str = "") -> Response:
    """The redirect. Raises `InvalidRequest` for what is no form and `TooLarge`. `query`: what belongs to it besides."""
    if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise InvalidRequest(detail="content type is not a form")
    body = (await read_body(call.request, MOST)).decode("ascii", "replace")
    body = f"{query}&{body}" if query else body
    stamp = int(call.world.clock.now().timestamp())
    return see_other(f"{call.request.url.path}?sealed={call.world.box.seal_text(f'{stamp} {body}', purpose)}")


def query_of(call: Call, purpose: str) -> str:
    """The parameters of a GET, or of the POST it stands for. Raises `InvalidRequest` if that was not just now."""
    sealed = call.request.query_params.get("sealed")
    if sealed is None:
        return call.request.url.query
    stamp, _, query = (call.world.box.open_text(sealed, purpose) or "0 ").partition(" ")
    if call.world.clock.now().timestamp() - int(stamp) > GOOD_FOR:
        raise InvalidRequest(detail="posted request took too long")
    return query
