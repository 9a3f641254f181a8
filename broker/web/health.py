"""Whether the process lives, and whether it can work. Nothing else is told (catalogue 156)."""

from __future__ import annotations

from starlette.responses import Response

from broker.web.call import Call, answer_json


async def healthz(_call: Call) -> Response:
    """The process answers."""
    return answer_json({"status": "ok"})


async def readyz(call: Call) -> Response:
    """Database and browser memory answer. Raises `StoreUnavailable` (503) if not."""
    await call.world.durable.ping()
    await call.world.memory.ping()
    return answer_json({"status": "ready"})
