"""Request objects at the OpenID Connect sandbox (Core §6): in the address, or fetched from the client."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from providers.sandbox.openid_connect_state import Client, Sandbox

ALGORITHMS = ("none", "RS256", "ES256")
MAX_FETCHED = 64 * 1024


class RequestError(Exception):
    """What is said of a request object that is not taken: the error of Core §3.1.2.6."""


async def fetch(address: str) -> bytes:
    """What lies there. Raises `OSError`."""
    if not address.startswith(("https://", "http://")):
        raise OSError("no address")

    def read() -> bytes:
        with urllib.request.urlopen(address, timeout=5) as answer:
            found: bytes = answer.read(MAX_FETCHED)
            return found

    return await asyncio.to_thread(read)


async def opened(sandbox: Sandbox, issuer: str, client: Client, params: dict[str, str]) -> dict[str, str]:
    """The whole request: what the object says in the place of what the address says. Raises `RequestError`."""
    if "request" not in params and "request_uri" not in params:
        return params
    if {"request", "request_uri"} <= set(params):
        raise RequestError("invalid_request")
    if client.request_object_signing_alg is None:
        raise RequestError("request_uri_not_supported" if "request_uri" in params else "request_not_supported")
    try:
        text = params.get("request") or (await (sandbox.fetch or fetch)(params["request_uri"])).decode("ascii")
    except (OSError, UnicodeError):
        raise RequestError("invalid_request_uri") from None
    said = await _read(sandbox, client, text)
    known = said.get("client_id", client.id) == client.id
    if not known or said.get("response_type", "code") != "code" or {"request", "request_uri"} & set(said):
        raise RequestError("invalid_request_object")
    if client.request_object_signing_alg != "none" and (said.get("iss") != client.id or said.get("aud") != issuer):
        raise RequestError("invalid_request_object")
    if not sandbox.now() < said.get("exp", 0) < sandbox.now() + 3600:
        raise RequestError("invalid_request_object")
    object_says = {key: value if isinstance(value, str) else json.dumps(value) for key, value in said.items()}
    return {**params, **object_says, "signed_with": client.request_object_signing_alg}


async def _read(sandbox: Sandbox, client: Client, text: str) -> dict[str, Any]:
    """The claims, if the object is signed as the client is registered."""
    wanted = client.request_object_signing_alg
    try:
        head, body, signature = text.split(".")
        header: dict[str, Any] = json.loads(_bytes(head))
        if header.get("alg") != wanted or header.get("typ") != "oauth-authz-req+jwt":
            raise RequestError("invalid_request_object")
        if wanted == "none":
            if signature:
                raise RequestError("invalid_request_object")
            payload = _bytes(body)
        else:
            keys = json.loads(await (sandbox.fetch or fetch)(client.jwks_uri))
            payload = jws.deserialize_compact(text, KeySet.import_key_set(keys), algorithms=[str(wanted)]).payload
        said: dict[str, Any] = json.loads(payload)
    except (ValueError, JoseError, OSError):
        raise RequestError("invalid_request_object") from None
    return said


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
