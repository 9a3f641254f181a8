r"""The OpenID Connect sandbox provider, as an ASGI application and as a program, with Sandbox Social and OpenID 2.0 in it.

    DOORWARD_MODE=development python -m providers.sandbox.openid_connect --port 8011 --client-id doorward \
        --client-secret-file secret --redirect-uri http://localhost:8000/callback/sandbox

Honest by default: WebFinger, discovery, registration, code with PKCE and nonce, response `iss` (RFC 9207), userinfo, end_session.
Tests make it misbehave at `/__emu__`, loopback only. `GET` shows everything; `POST` takes a JSON object with
any of these keys:

    faults        [{"name", "at"?, "times"?, "seconds"?, "status"?, "size"?}]: exactly these from now on
    fault         one such object, added to those that are on
    next          persona of the next authorization without a page, once (null: nobody)
    persona       persona of every authorization from now on, over any session (null: nobody)
    clock         seconds the sandbox's clock runs ahead
    rotate_keys   true or "overlap": sign with a new key; with "overlap" the old ones stay published
    revoke        persona: every access token of that persona stops working
    reset         true: no faults, codes, tokens, sessions, statuses, presets, registered clients and log; keys stay
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from providers.sandbox import openid2, publisher, web
from providers.sandbox import openid_connect_authorize as pages
from providers.sandbox import openid_connect_found as found
from providers.sandbox import openid_connect_token as tokens
from providers.sandbox.avatar import portrait
from providers.sandbox.openid_connect_faults import ANSWER_FAULTS, CLAIM_FAULTS, ENDPOINTS, WIRE_FAULTS, wired
from providers.sandbox.openid_connect_state import Client, Sandbox
from providers.sandbox.start import read_secret, require_development, run

__all__ = ["Client", "create_app"]


def create_app(clients: Sequence[Client], *, issuer: str | None = None, require_pkce: bool = True) -> Starlette:
    """The provider as an ASGI application; its state is `app.state.sandbox`.

    `issuer` is its address without a final slash (default: what the client called).
    """
    sandbox = Sandbox({one.id: one for one in clients}, fixed_issuer=issuer, require_pkce=require_pkce)
    routes = [
        Route("/", pages.home, methods=["GET"]),
        Route("/privacy", _privacy, methods=["GET"]),
        Route("/sandbox.css", web.stylesheet, methods=["GET"]),
        Route("/favicon.ico", web.icon, methods=["GET"]),
        Route("/sandbox/sign-out", pages.sign_out, methods=["POST"]),
        Route("/__emu__", control, methods=["GET", "POST"]),
        Route("/__emu__/log", sandbox.log.endpoint, methods=["GET", "DELETE"]),
        Route("/.well-known/openid-configuration", wired("discovery", tokens.discovery), methods=["GET"]),
        Route("/.well-known/webfinger", wired("webfinger", found.webfinger), methods=["GET"]),
        Route("/register", wired("register", found.register), methods=["POST"]),
        Route("/jwks", wired("jwks", tokens.jwks), methods=["GET"]),
        Route("/authorize", wired("authorize", pages.authorize), methods=["GET", "POST"]),
        Route("/sign-in", pages.sign_in, methods=["POST"]),
        Route("/allow", pages.allow, methods=["POST"]),
        Route("/token", wired("token", tokens.token), methods=["POST"]),
        Route("/userinfo", wired("userinfo", tokens.userinfo), methods=["GET", "POST"]),
        Route("/end-session", pages.end_session, methods=["GET", "POST"]),
        Route("/picture/{slug}.png", _picture, methods=["GET"]),
        *openid2.routes(),
        *publisher.routes(),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(web.LogMiddleware, log=sandbox.log)])
    app.state.sandbox = sandbox
    app.state.openid2 = openid2.Answers()
    return app


async def _privacy(request: Request) -> Response:
    return web.privacy_page(pages.LABEL)


async def _picture(request: Request) -> Response:
    sandbox: Sandbox = request.app.state.sandbox
    slug = request.path_params["slug"]
    if slug not in sandbox.people:
        return Response("Not found.", status_code=404, media_type="text/plain")
    return Response(portrait(slug, 128, 128), media_type="image/png")


async def control(request: Request) -> Response:
    """The control plane. 400 with the reason when a key or value is not understood."""
    if not web.is_loopback(request):
        return web.control_refused()
    sandbox: Sandbox = request.app.state.sandbox
    if request.method == "GET":
        return JSONResponse(_shown(sandbox))
    try:
        _obey(sandbox, await web.json_object(request))
    except (ValueError, KeyError, TypeError) as problem:
        return JSONResponse({"error": str(problem)}, status_code=400)
    return JSONResponse({"ok": True, "faults": [asdict(one) for one in sandbox.faults.active]})


def _shown(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "clients": [{"id": one.id, "redirect_uris": list(one.redirect_uris)} for one in sandbox.clients.values()],
        "personas": {slug: {"note": p.note, "sub": p.subject} for slug, p in sandbox.people.items()},
        "faults": [asdict(one) for one in sandbox.faults.active],
        "known_faults": {
            "claims": sorted(CLAIM_FAULTS),
            "answers": ANSWER_FAULTS,
            "wire": WIRE_FAULTS,
            "endpoints": ENDPOINTS,
        },
        "next": sandbox.next_persona,
        "persona": sandbox.persona,
        "clock": sandbox.clock_offset,
        "statuses": [asdict(status) for status in sandbox.statuses.values()],
    }


def _obey(sandbox: Sandbox, orders: dict[str, Any]) -> None:
    unknown = set(orders) - {"faults", "fault", "next", "persona", "clock", "rotate_keys", "revoke", "reset"}
    if unknown:
        raise ValueError(f"no such keys: {', '.join(sorted(unknown))}")
    if orders.get("reset"):
        _reset(sandbox)
    for key, attribute in (("next", "next_persona"), ("persona", "persona")):
        if key in orders:
            if orders[key] is not None and orders[key] not in sandbox.people:
                raise ValueError(f"no persona {orders[key]!r}")
            setattr(sandbox, attribute, orders[key])
    if "clock" in orders:
        sandbox.clock_offset = float(orders["clock"])
    if orders.get("rotate_keys"):
        sandbox.rotate_keys(overlap=orders["rotate_keys"] == "overlap")
    if "revoke" in orders:
        for token in sandbox.tokens.values():
            token.revoked = token.revoked or token.slug == orders["revoke"]
    if "faults" in orders:
        sandbox.faults.active.clear()
    for order in [*orders.get("faults", []), *([orders["fault"]] if "fault" in orders else [])]:
        sandbox.faults.add(order)


def _reset(sandbox: Sandbox) -> None:
    sandbox.faults.active.clear()
    for client in sandbox.registered:
        sandbox.clients.pop(client, None)
    sandbox.registered.clear()
    for kept in (sandbox.codes, sandbox.tokens, sandbox.refreshes, sandbox.sessions, sandbox.pending):
        kept.clear()
    sandbox.statuses.clear()
    sandbox.posted_keys.clear()
    sandbox.posts.clear()
    sandbox.next_persona = sandbox.persona = None
    sandbox.clock_offset = 0.0
    sandbox.fetch = None
    sandbox.log.clear()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8011, show_default=True, type=click.IntRange(1, 65535))
@click.option("--client-id", required=True)
@click.option("--client-secret-file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--redirect-uri", "redirect_uris", required=True, multiple=True, help="May be given several times.")
@click.option("--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True)
@click.option("--client-name", default="Doorward", show_default=True, help="Name shown on the sign-in page.")
@click.option("--issuer", help="Own address without a final slash, e.g. http://localhost:8011.")
@click.option("--tls-certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--development", is_flag=True, help="Say that no real person signs in here.")
def main(
    *,
    host: str,
    port: int,
    client_id: str,
    client_secret_file: Path,
    redirect_uris: tuple[str, ...],
    post_logout_redirect_uris: tuple[str, ...],
    client_name: str,
    issuer: str | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    development: bool,
) -> None:
    """Run the OpenID Connect sandbox, with Sandbox Social in it, until interrupted."""
    require_development(development)
    client = Client(
        id=client_id,
        secret=read_secret(client_secret_file),
        redirect_uris=redirect_uris,
        post_logout_redirect_uris=post_logout_redirect_uris,
        name=client_name,
    )
    run(create_app([client], issuer=issuer), host=host, port=port, certificate=tls_certificate, key=tls_key)


if __name__ == "__main__":
    main()
