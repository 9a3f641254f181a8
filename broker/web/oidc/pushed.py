"""The pushed authorization request endpoint (RFC 9126 §2)."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from broker.domain.checks.authorization import read_params
from broker.flows.pushed import LIFETIME
from broker.web.call import Call, answer_json
from broker.web.oidc.proof import shown_key


async def push(call: Call) -> Response:
    """Keep a site's request for a minute: 201 and the reference to send the browser with."""
    params = read_params(call.form.pairs)
    shown = await shown_key(call)
    request_uri = await call.world.pushed.push(call.authenticated, params, address=call.address, shown=shown)
    answer = {"request_uri": request_uri, "expires_in": int(LIFETIME.total_seconds())}
    return answer_json(answer, HTTPStatus.CREATED)
