"""What receivers of security events need to know of us (SSF 1.0 §7.1), and how they look after their stream (§8.1)."""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.responses import Response

from broker.domain.client import Client
from broker.domain.events import MANAGE, POLL, PUSH, READ
from broker.errors import InsufficientScope, InvalidRequest
from broker.web.call import Call, answer_json
from broker.web.forms import Form, read_body
from broker.web.guards import authenticate, bearer
from broker.web.oidc.metadata import CACHE
from broker.web.oidc.tokens import shown_token

LONGEST_STATE: Final = 1000
OAUTH: Final = "urn:ietf:rfc:6749"
BASIC: Final = "urn:ietf:rfc:7617"


async def about(call: Call) -> Response:
    """`/.well-known/ssf-configuration`. A site sets its stream up inside the frame of its admin."""
    issuer = call.world.settings.broker.public_url
    document = {
        "spec_version": "1_0",
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "delivery_methods_supported": [PUSH, POLL],
        "configuration_endpoint": f"{issuer}/events/stream",
        "status_endpoint": f"{issuer}/events/status",
        "add_subject_endpoint": f"{issuer}/events/subjects/add",
        "remove_subject_endpoint": f"{issuer}/events/subjects/remove",
        "verification_endpoint": f"{issuer}/events/verify",
        "authorization_schemes": [{"spec_urn": OAUTH}, {"spec_urn": BASIC}],
        "default_subjects": "ALL",
    }
    return Response(orjson.dumps(document), headers=CACHE, media_type="application/json")


async def read_stream(call: Call) -> Response:
    """One stream, or all of a site's (SSF 1.0 §8.1.1.2)."""
    client = await receiver(call)
    if "stream_id" not in call.request.query_params:
        return answer_json(await call.world.streams.all(client))
    return answer_json(await call.world.streams.read(client, _named(call)))


async def create_stream(call: Call) -> Response:
    """SSF 1.0 §8.1.1.1."""
    client = await receiver(call, manages=True)
    return answer_json(await call.world.streams.create(client, await said(call)), 201)


async def update_stream(call: Call) -> Response:
    """SSF 1.0 §8.1.1.3."""
    client = await receiver(call, manages=True)
    return answer_json(await call.world.streams.update(client, await said(call), whole=False))


async def replace_stream(call: Call) -> Response:
    """SSF 1.0 §8.1.1.4."""
    client = await receiver(call, manages=True)
    return answer_json(await call.world.streams.update(client, await said(call), whole=True))


async def delete_stream(call: Call) -> Response:
    """SSF 1.0 §8.1.1.5."""
    client = await receiver(call, manages=True)
    await call.world.streams.delete(client, _named(call))
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


async def stream_status(call: Call) -> Response:
    """SSF 1.0 §8.1.2.1."""
    client = await receiver(call)
    return answer_json(await call.world.streams.status(client, _named(call)))


async def set_stream_status(call: Call) -> Response:
    """SSF 1.0 §8.1.2.2."""
    client = await receiver(call, manages=True)
    return answer_json(await call.world.streams.set_status(client, await said(call)))


async def add_subject(call: Call) -> Response:
    """SSF 1.0 §8.1.3.2: the same answer for everybody, known or not."""
    client = await receiver(call, manages=True)
    await call.world.streams.add_subject(client, await said(call))
    return Response(status_code=200, headers={"Cache-Control": "no-store"})


async def remove_subject(call: Call) -> Response:
    """SSF 1.0 §8.1.3.3, likewise."""
    client = await receiver(call, manages=True)
    await call.world.streams.remove_subject(client, await said(call))
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


def _named(call: Call) -> str:
    named = call.request.query_params.getlist("stream_id")
    if len(named) != 1:
        raise InvalidRequest(detail="stream_id missing or twice")
    return named[0]


async def verify_stream(call: Call) -> Response:
    """SSF 1.0 §8.1.4.2: an event is on its way, or waits to be fetched."""
    client = await receiver(call, manages=True)
    asked = await said(call)
    stream, state = asked.get("stream_id"), asked.get("state")
    if not isinstance(stream, str):
        raise InvalidRequest(detail="stream_id missing")
    if state is not None and not (isinstance(state, str) and len(state) <= LONGEST_STATE):
        raise InvalidRequest(detail="state is no text, or too long")
    await call.world.streams.verify(client, stream, state)
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


async def receiver(call: Call, *, manages: bool = False) -> Client:
    """The site that asks: by an access token of its own (RFC 6750 §2.1, RFC 9449 §7.1), or by its id and secret.

    `manages`: whether reading is not enough. Raises `InvalidClient`, `InvalidToken`, `InsufficientScope`.
    """
    if call.request.headers.get("authorization", "").partition(" ")[0].lower() not in {"bearer", "dpop"}:
        client = await authenticate(call, Form([]))
        if manages and client.service_scopes & {READ, MANAGE} == {READ}:  # its secret does no more than its tokens may
            raise InsufficientScope(detail="the site may only read its stream")
        return client
    await bearer(call)
    token, shown = await shown_token(call)
    call.client = await call.world.streams.holder(token, shown, manages=manages)
    return call.client


async def said(call: Call) -> dict[str, Any]:
    """The JSON object of a request. Raises `InvalidRequest`."""
    if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequest(detail="content type is not JSON")
    try:
        asked = orjson.loads(await read_body(call.request))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(detail="body is not JSON") from error
    if not isinstance(asked, dict):
        raise InvalidRequest(detail="body is not an object")
    return asked
