"""The device authorization endpoint (RFC 8628 §3.1)."""

from __future__ import annotations

from starlette.responses import Response

from broker.web.call import Call, answer_json

PAGE = "/device"


async def begin(call: Call) -> Response:
    """A device asks: the codes, where to type one, and how often to ask (RFC 8628 §3.2)."""
    begun = await call.world.devices.begin(call.authenticated, call.form, address=call.address)
    page = f"{call.world.settings.broker.public_url}{PAGE}"
    return answer_json(
        {
            "device_code": begun.device_code,
            "user_code": begun.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={begun.user_code}",
            "expires_in": int(begun.lifetime.total_seconds()),
            "interval": int(begun.interval.total_seconds()),
        }
    )
