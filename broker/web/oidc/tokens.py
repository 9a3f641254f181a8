"""Token, userinfo, introspection and revocation endpoints."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from broker.domain.checks.dpop import Shown
from broker.domain.client import Client
from broker.errors import InvalidDpopProof, InvalidRequest
from broker.web.call import Call, answer_json
from broker.web.oidc.proof import shown_key

SIGNED: Final = "application/token-introspection+jwt"


async def token(call: Call) -> Response:
    """The token endpoint (RFC 6749 §3.2)."""
    answer = await call.world.exchange.exchange(call.authenticated, call.form, await shown_key(call))
    call.world.metrics.token_issued(call.form.get("grant_type", ""))
    return answer_json(answer)


async def userinfo(call: Call) -> Response:
    """The userinfo endpoint (OpenID Connect Core §5.3): JSON, or a JWT for a site that wants it signed.

    A token of a key comes with a proof of it (RFC 9449 §7.1).
    """
    token, shown = await shown_token(call)

    def remember(client: Client) -> None:
        call.client = client

    claims = await call.world.releaser.userinfo(token, shown, for_whom=remember)
    if call.client is not None and call.client.userinfo_signed:
        signed = call.world.exchange.userinfo_signed(call.client, claims)
        return Response(signed, headers={"Cache-Control": "no-store"}, media_type="application/jwt")
    return answer_json(claims)


async def shown_token(call: Call) -> tuple[str, Shown | None]:
    """The access token of a request, and the key that was proved with it. Raises `InvalidToken`, `InvalidDpopProof`."""
    token = call.request.scope["doorward.token"]
    if call.scheme != "DPoP":
        return token, None
    call.world.releaser.access.read(token)  # cheap, and before the proof: who has no token of ours costs us nothing
    shown = await shown_key(call, token=token)
    if shown is None:
        raise InvalidDpopProof(detail="proof missing")
    return token, shown


async def introspect(call: Call) -> Response:
    """Token introspection (RFC 7662), as a signed JWT for whoever wants one, or gets no other (RFC 9701 §4)."""
    exchange, token = call.world.exchange, _token(call)
    if not call.authenticated.is_told_signed and not _accepts(call.request.headers.get("accept", ""), SIGNED):
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
