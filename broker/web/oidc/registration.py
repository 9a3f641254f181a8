"""Sites register by themselves, see what is kept of them, change it and leave (RFC 7591 §3, RFC 7592 §2)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.responses import Response

from broker.domain.client import Client
from broker.domain.registration import Registration
from broker.errors import InvalidClientMetadata, InvalidRequest, InvalidToken, NotFound, UpstreamError
from broker.flows.registration import Answer, Registrations
from broker.strict_json import read_json
from broker.web.call import Call, answer_json
from broker.web.forms import read_body

_OURS: Final = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)
"""What only we say (RFC 7592 §2.2)."""


async def register(call: Call) -> Response:
    """A new site, for an initial access token: 201, its id and its secrets, for the only time."""
    flow = _flow(call)
    answer = await flow.register(_token(call), await _metadata(call), address=call.address)
    await call.world.clients.look(answer.registration.client_id)
    _note(call, answer.registration, "registered")
    return answer_json(_told(call, answer), HTTPStatus.CREATED)


async def registration(call: Call) -> Response:
    """What is kept of it. Its secrets are kept as digests only, so they are not in it."""
    kept = await _opened(call)
    client = await call.world.clients.look(kept.client_id)
    if client is None:
        raise InvalidToken(detail="registration would not be taken any more")
    return answer_json(_described(call, kept, client, orjson.loads(kept.metadata)))


async def replace_registration(call: Call) -> Response:
    """Everything anew, with other secrets (RFC 7592 §2.2): what is not said again is gone."""
    kept, metadata = await _opened(call), await _metadata(call)
    if metadata.pop("client_id", None) != kept.client_id:
        raise InvalidRequest(detail="client_id is not this site's")
    if any(name in metadata for name in _OURS):
        raise InvalidRequest(detail="metadata holds what only we say")
    secret = metadata.pop("client_secret", None)
    if secret is not None and not _flow(call).is_secret_of(kept, secret):
        raise InvalidRequest(detail="client_secret is not this site's")
    answer = await _flow(call).change(kept, metadata, address=call.address)
    await call.world.clients.look(kept.client_id)
    _note(call, kept, "changed")
    return answer_json(_told(call, answer))


async def remove_registration(call: Call) -> Response:
    """The site leaves: 204, and whatever it was granted is revoked (RFC 7592 §2.3)."""
    kept = await _opened(call)
    await _flow(call).remove(kept, address=call.address)
    await call.world.clients.look(kept.client_id)
    _note(call, kept, "removed")
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Cache-Control": "no-store"})


def _note(call: Call, kept: Registration, outcome: str) -> None:
    """The site's own doings, for the log; what admins do is in the audit trail."""
    call.world.log.event("site_registration", client=kept.client_id, outcome=outcome)


def _flow(call: Call) -> Registrations:
    flow: Registrations | None = call.world.registrations
    if flow is None:
        raise NotFound(detail="registration is off")
    return flow


def _token(call: Call) -> str:
    """The token as the guard found it; it is never bound to a key."""
    if call.scheme != "Bearer":
        raise InvalidToken(detail="not a bearer token")
    return str(call.request.scope["doorward.token"])


async def _opened(call: Call) -> Registration:
    return await _flow(call).opened(str(call.request.path_params["client"]), _token(call), address=call.address)


async def _metadata(call: Call) -> dict[str, Any]:
    if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequest(detail="content type is not JSON")
    try:
        return read_json(await read_body(call.request), "registration")
    except UpstreamError as error:
        raise InvalidClientMetadata(
            detail=f"body {error.detail}", public="The body is no JSON object that we can read"
        ) from error


def _told(call: Call, answer: Answer) -> dict[str, Any]:
    told = _described(call, answer.registration, answer.client, answer.metadata)
    told["registration_access_token"] = answer.token.reveal()
    if answer.secret is not None:
        told |= {"client_secret": answer.secret.reveal(), "client_secret_expires_at": 0}
    return told


def _described(call: Call, kept: Registration, client: Client, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for it, whatever it said (RFC 7591 §3.2.1)."""
    issuer = call.world.settings.broker.public_url
    return {
        **metadata,
        "client_id": kept.client_id,
        "client_id_issued_at": int(kept.registered_at.timestamp()),
        "registration_client_uri": f"{issuer}/register/{kept.client_id}",
        "client_name": client.name,
        "client_uri": client.url,
        "redirect_uris": list(client.redirect_uris),
        "token_endpoint_auth_method": str(client.auth_method),
        "grant_types": metadata.get("grant_types", ["authorization_code"]),
        "response_types": ["code"],
        "application_type": "web",
        "subject_type": str(client.subject_type),
        "id_token_signed_response_alg": str(client.signing_algorithm),
        "scope": " ".join(sorted(client.scopes)),
    }
