"""The pushed authorization request endpoint (RFC 9126 §2)."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from broker.domain.checks.authorization import read_params
from broker.domain.values import ProviderId
from broker.errors import BrokerError
from broker.flows.pushed import LIFETIME
from broker.web.call import Call, answer_json
from broker.web.oidc.proof import shown_key


async def push(call: Call) -> Response:
    """Keep a site's request for a minute: 201 and the reference to send the browser with."""
    params = read_params(call.form.pairs)
    shown = await shown_key(call)
    return _kept(await call.world.pushed.push(call.authenticated, params, address=call.address, shown=shown))


async def push_limited_login(call: Call) -> Response:
    """The same for an app whose provider's SDK said already who it is: the request and the SDK's token (`id_token`)."""
    provider = ProviderId(str(call.request.path_params["provider"]))
    app_sign_ins = call.world.app_sign_ins
    app_sign_ins.source(provider)
    params = read_params(call.form.pairs)
    shown = await shown_key(call)
    try:
        request_uri = await app_sign_ins.push(
            call.authenticated, provider, params, dict(call.form.pairs), address=call.address, shown=shown
        )
    except BrokerError as error:
        call.world.metrics.sign_in(provider, "app", error.code)
        raise
    call.world.metrics.sign_in(provider, "app", "ok")
    return _kept(request_uri)


def _kept(request_uri: str) -> Response:
    answer = {"request_uri": request_uri, "expires_in": int(LIFETIME.total_seconds())}
    return answer_json(answer, HTTPStatus.CREATED)
