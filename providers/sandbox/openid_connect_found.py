"""The OpenID Connect sandbox is found by an address (WebFinger), and registers whoever asks (RFC 7591)."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from providers.sandbox import web
from providers.sandbox.openid_connect_request import ALGORITHMS
from providers.sandbox.openid_connect_state import Client, Sandbox

REL = "http://openid.net/specs/connect/1.0/issuer"
METHODS = ("client_secret_basic", "client_secret_post")
MOST_REGISTERED = 1000


async def webfinger(request: Request) -> Response:
    """`/.well-known/webfinger` (RFC 7033 §4): the issuer of the sandbox and of each of its people, and of nobody else."""
    sandbox: Sandbox = request.app.state.sandbox
    issuer = web.base_url(request, sandbox.fixed_issuer)
    resource, wanted = request.query_params.get("resource", ""), request.query_params.getlist("rel")
    web.note(request, resource=urlsplit(resource).scheme, rel=wanted)
    if not resource:
        return JSONResponse({"error": "name a resource"}, status_code=400)
    host = urlsplit(issuer).netloc
    names = {f"acct:{slug}@{host}" for slug in sandbox.people} | {f"{issuer}/{slug}" for slug in ("", *sandbox.people)}
    if resource not in names:
        return JSONResponse({"error": "nobody here"}, status_code=404)
    links = [{"rel": REL, "href": issuer}] if not wanted or REL in wanted else []
    return JSONResponse({"subject": resource, "links": links}, media_type="application/jrd+json")


async def register(request: Request) -> Response:
    """`POST /register`: a client with a secret, for the addresses it names."""
    sandbox: Sandbox = request.app.state.sandbox
    try:
        told = await web.json_object(request)
    except ValueError:
        return _refused("invalid_client_metadata")
    addresses, method = told.get("redirect_uris"), told.get("token_endpoint_auth_method", METHODS[0])
    if not isinstance(addresses, list) or not addresses or not all(_is_fit(one) for one in addresses):
        return _refused("invalid_redirect_uri")
    if method not in METHODS or told.get("id_token_signed_response_alg", "RS256") != "RS256":
        return _refused("invalid_client_metadata")
    signing, keys = told.get("request_object_signing_alg"), told.get("jwks_uri", "")
    if signing is not None and (signing not in ALGORITHMS or (signing != "none" and not _is_fit(keys))):
        return _refused("invalid_client_metadata")
    while len(sandbox.registered) >= MOST_REGISTERED:
        sandbox.clients.pop(sandbox.registered.pop(0), None)
    name = told.get("client_name")
    client = Client(
        id=secrets.token_urlsafe(12),
        secret=secrets.token_urlsafe(24),
        redirect_uris=tuple(addresses),
        name=name if isinstance(name, str) else "A client",
        request_object_signing_alg=signing,
        jwks_uri=keys,
    )
    sandbox.clients[client.id] = client
    sandbox.registered.append(client.id)
    answer: dict[str, Any] = {
        "client_id": client.id,
        "client_secret": client.secret,
        "client_secret_expires_at": 0,
        "redirect_uris": addresses,
        "token_endpoint_auth_method": method,
    }
    return JSONResponse(answer, status_code=201, headers={"cache-control": "no-store"})


def _is_fit(address: object) -> bool:
    parts = urlsplit(address) if isinstance(address, str) else None
    return parts is not None and parts.scheme in {"https", "http"} and bool(parts.netloc) and not parts.fragment


def _refused(error: str) -> Response:
    return JSONResponse({"error": error}, status_code=400)
