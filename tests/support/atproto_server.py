"""A strict server of the AT Protocol: directory, data and sign-in in one place, and no slip is forgiven.

Source: atproto.com/specs/oauth, RFC 9126, RFC 9449. One person is signed in in every browser: whoever `State.person` is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

ANA: Final = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
BOB: Final = "did:plc:44ybard66vv44zksje25o7dz"
"""Of another server."""
HANDLES: Final = {ANA: "ana.people.test", BOB: "bob.people.test"}
NONCE: Final = "nonce-of-this-server"


@dataclass
class State:
    """What the server keeps."""

    client: dict[str, Any] = field(default_factory=dict)
    """What the client says of itself, as it was read at its id."""
    person: str = ANA
    pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    proofs: set[str] = field(default_factory=set)


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(request: Request, state: State) -> str | None:
    """Whose proof it is (RFC 7638), if it is a good one for this very request and was never seen (RFC 9449 §4.3)."""
    head, body, signature = request.headers["dpop"].split(".")
    header, claims = json.loads(_raw(head)), json.loads(_raw(body))
    jwk = header["jwk"]
    x, y = (int.from_bytes(_raw(jwk[one]), "big") for one in "xy")
    point = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
    r, s = (int.from_bytes(part, "big") for part in (_raw(signature)[:32], _raw(signature)[32:]))
    point.public_key().verify(encode_dss_signature(r, s), f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    here = f"{request.url.scheme}://{request.url.netloc}{request.url.path}"
    fits = (header["typ"], header["alg"], claims["htm"], claims["htu"]) == ("dpop+jwt", "ES256", request.method, here)
    if not fits or "d" in jwk or claims["jti"] in state.proofs or claims.get("nonce") != NONCE:
        return None
    state.proofs.add(claims["jti"])
    own = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return hashlib.sha256(own.encode()).hexdigest()


def create_app() -> Starlette:
    """The server; `app.state.atproto` is its `State`."""
    state = State()

    def base(request: Request) -> str:
        return f"{request.url.scheme}://{request.url.netloc}"

    def no(error: str, status: int = 400) -> Response:
        return JSONResponse({"error": error}, status, headers={"DPoP-Nonce": NONCE})

    def resolve(request: Request) -> Response:
        did = next((one for one, handle in HANDLES.items() if handle == request.query_params["handle"]), None)
        return JSONResponse({"did": did}) if did else no("InvalidRequest")

    def document(request: Request) -> Response:
        did = request.path_params["did"]
        if did not in HANDLES:
            return Response(status_code=404)
        where = base(request) if did == ANA else "http://127.0.0.1:9"
        service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": where}
        return JSONResponse({"id": did, "alsoKnownAs": [f"at://{HANDLES[did]}"], "service": [service]})

    def resource(request: Request) -> Response:
        return JSONResponse({"resource": base(request), "authorization_servers": [base(request)]})

    def metadata(request: Request) -> Response:
        here = base(request)
        return JSONResponse({
            "issuer": here, "authorization_endpoint": f"{here}/oauth/authorize", "token_endpoint": f"{here}/oauth/token",
            "pushed_authorization_request_endpoint": f"{here}/oauth/par", "revocation_endpoint": f"{here}/oauth/revoke",
            "scopes_supported": ["atproto"], "code_challenge_methods_supported": ["S256"],
            "dpop_signing_alg_values_supported": ["ES256"], "token_endpoint_auth_methods_supported": ["none"],
            "client_id_metadata_document_supported": True, "authorization_response_iss_parameter_supported": True,
            "require_pushed_authorization_requests": True,
        })  # fmt: skip

    async def par(request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        key = thumbprint(request, state)
        if key is None:
            return no("use_dpop_nonce")
        client = state.client
        if form["client_id"] != client["client_id"] or not client["dpop_bound_access_tokens"]:
            return no("invalid_client_metadata")
        if form["redirect_uri"] not in client["redirect_uris"] or form["scope"] not in client["scope"].split():
            return no("invalid_request")
        if form["code_challenge_method"] != "S256" or client["token_endpoint_auth_method"] != "none":
            return no("invalid_request")
        name = f"urn:ietf:params:oauth:request_uri:req-{secrets.token_hex(8)}"
        state.pushed[name] = {**form, "key": key}
        return JSONResponse({"request_uri": name, "expires_in": 300}, 201, headers={"DPoP-Nonce": NONCE})

    def authorize(request: Request) -> Response:
        asked = state.pushed.pop(request.query_params["request_uri"], None)
        if asked is None or set(request.query_params) != {"client_id", "request_uri"}:
            return Response("no such request", 400)
        code = secrets.token_urlsafe(8)
        state.codes[code] = asked
        answer = {"iss": base(request), "state": asked["state"], "code": code}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 302)

    async def token(request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        key = thumbprint(request, state)
        if key is None:
            return no("use_dpop_nonce")
        asked = state.codes.pop(form["code"], None)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        )
        if asked is None or (asked["key"], asked["redirect_uri"], asked["client_id"], asked["code_challenge"]) != (
            key, form["redirect_uri"], form["client_id"], challenge,
        ):  # fmt: skip
            return no("invalid_grant")
        made = secrets.token_urlsafe(8)
        state.tokens.add(made)
        answer = {
            "access_token": secrets.token_urlsafe(8),
            "refresh_token": made,
            "token_type": "DPoP",
            "expires_in": 300,
        }
        return JSONResponse({**answer, "scope": asked["scope"], "sub": state.person})

    async def revoke(request: Request) -> Response:
        form = await request.form()
        if thumbprint(request, state) is None:
            return no("use_dpop_nonce")
        state.tokens.discard(str(form["token"]))
        return Response()

    def record(request: Request) -> Response:
        return JSONResponse(
            {"uri": "at://x", "value": {"$type": "app.bsky.actor.profile", "displayName": "Ana Marković"}}
        )

    app = Starlette(
        routes=[
            Route("/xrpc/com.atproto.identity.resolveHandle", resolve),
            Route("/plc/{did}", document),
            Route("/.well-known/oauth-protected-resource", resource),
            Route("/.well-known/oauth-authorization-server", metadata),
            Route("/oauth/par", par, methods=["POST"]),
            Route("/oauth/authorize", authorize),
            Route("/oauth/token", token, methods=["POST"]),
            Route("/oauth/revoke", revoke, methods=["POST"]),
            Route("/xrpc/com.atproto.repo.getRecord", record),
        ]
    )
    app.state.atproto = state
    return app
