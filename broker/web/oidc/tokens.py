"""Token, userinfo, introspection and revocation endpoints."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from broker.errors import InvalidRequest
from broker.web.call import Call, answer_json

SIGNED: Final = "application/token-introspection+jwt"


async def token(call: Call) -> Response:
    """The token endpoint (RFC 6749 §3.2)."""
    answer = await call.world.exchange.exchange(call.authenticated, call.form)
    call.world.metrics.token_issued(call.form.get("grant_type", ""))
    return answer_json(answer)


async def userinfo(call: Call) -> Response:
    """The userinfo endpoint (OpenID Connect Core §5.3)."""
    return answer_json(await call.world.releaser.userinfo(call.request.scope["doorward.token"]))


async def introspect(call: Call) -> Response:
    """Token introspection (RFC 7662), as a signed JWT for whoever wants one (RFC 9701 §4)."""
    exchange, token = call.world.exchange, _token(call)
    if not _accepts(call.request.headers.get("accept", ""), SIGNED):
        return answer_json(await exchange.introspect(call.authenticated, token))
    signed = await exchange.introspect_signed(call.authenticated, token)
    return Response(signed, headers={"Cache-Control": "no-store"}, media_type=SIGNED)


def _accepts(header: str, media_type: str) -> bool:
    """Whether this very type is asked for (RFC 9110 §12.5.1); `*/*` asks for what there has always been."""
    for offered in header.lower().split(","):
        name, *parameters = (part.strip() for part in offered.split(";"))
        if name == media_type:
            return not any(part.startswith("q=") and not part.removeprefix("q=").strip("0.") for part in parameters)
    return False


async def revoke(call: Call) -> Response:
    """Token revocation (RFC 7009): 200 whether or not there was anything to revoke."""
    await call.world.exchange.revoke(call.authenticated, _token(call))
    return answer_json({})


def _token(call: Call) -> str:
    value = call.form.get("token")
    if value is None:
        raise InvalidRequest(detail="token missing")
    return value
