"""Limited Login of the Facebook-like sandbox: what stands in for the SDK on a phone (protocols.md §1.11).

    POST /limited/login        app_id, nonce, persona, scope -> {"authentication_token": …}
    GET  /limited/.well-known/oauth/openid/jwks/

The real one runs inside the app; here a plain form is enough, and the persona decides as it would in the dialog. The keys
are others than those of the website, as they are there. A persona with the fault `expired` gets a token of an hour ago.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from providers.sandbox import web
from providers.sandbox.facebook_dialog import scopes
from providers.sandbox.facebook_state import Sandbox
from providers.sandbox.facebook_tokens import limited_token

KEYS = "/limited/.well-known/oauth/openid/jwks/"


async def login(request: Request) -> Response:
    """A token for the app, or 400 with the reason: `cancelled`, or what is missing."""
    sandbox: Sandbox = request.app.state.sandbox
    fields = web.form(request)
    app, person = sandbox.apps.get(fields.get("app_id", "")), sandbox.people.get(fields.get("persona", ""))
    nonce = fields.get("nonce", "")
    if app is None or person is None or not nonce or " " in nonce:
        return JSONResponse({"error": "app_id, persona and nonce are needed; no blanks in nonce"}, status_code=400)
    if person.fault == "cancels":
        return JSONResponse({"error": "cancelled"}, status_code=400)
    asked = scopes(fields)
    sandbox.decide(app.id, person.slug, granted=asked - person.declines, declined=asked & person.declines)
    token = limited_token(sandbox, web.base_url(request, sandbox.base_url), app, person, nonce)
    return JSONResponse({"authentication_token": token}, headers={"cache-control": "no-store"})


async def keys(request: Request) -> Response:
    """The keys of Limited Login. Never answers while the switch `limited_keys_hang` is on."""
    sandbox: Sandbox = request.app.state.sandbox
    if sandbox.switches.limited_keys_hang:
        await web.wait_for_hang_up(request, None)
        return Response(status_code=504)
    return JSONResponse({"keys": [sandbox.limited_key().public_jwk()]})


ROUTES = [
    Route("/limited/login", login, methods=["POST"]),
    Route(KEYS, keys, methods=["GET"]),
    Route(KEYS.rstrip("/"), keys, methods=["GET"]),
]
