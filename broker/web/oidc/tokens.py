"""Token, userinfo, introspection and revocation endpoints."""

from __future__ import annotations

from starlette.responses import Response

from broker.errors import InvalidRequest
from broker.web.call import Call, answer_json


async def token(call: Call) -> Response:
    """The token endpoint (RFC 6749 §3.2)."""
    answer = await call.world.exchange.exchange(call.authenticated, call.form)
    call.world.metrics.token_issued(call.form.get("grant_type", ""))
    return answer_json(answer)


async def userinfo(call: Call) -> Response:
    """The userinfo endpoint (OpenID Connect Core §5.3)."""
    return answer_json(await call.world.releaser.userinfo(call.request.scope["doorward.token"]))


async def introspect(call: Call) -> Response:
    """Token introspection (RFC 7662)."""
    return answer_json(await call.world.exchange.introspect(call.authenticated, _token(call)))


async def revoke(call: Call) -> Response:
    """Token revocation (RFC 7009): 200 whether or not there was anything to revoke."""
    await call.world.exchange.revoke(call.authenticated, _token(call))
    return answer_json({})


def _token(call: Call) -> str:
    value = call.form.get("token")
    if value is None:
        raise InvalidRequest(detail="token missing")
    return value
