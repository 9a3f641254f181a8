"""The frame that a site's page asks whether the session changed (OpenID Connect Session Management 1.0 §3.3).

The only page of ours that others may frame, and only the sites we know; it shows nothing, holds nothing of a person and
asks no server. It is there only where the admin switched session management on (decision 8).
"""

from __future__ import annotations

from html import escape

from starlette.responses import Response

from broker.domain.browser_state import askers, origin_of
from broker.errors import NotFound
from broker.web.call import Call

PATH = "/session/check"
_PAGE = (
    '<!doctype html><html lang="en" data-cookie="{}" data-askers="{}"><head><meta charset="utf-8"><title>Session</title>'
    '<script src="{}" defer></script></head><body></body></html>'
)


async def check(call: Call) -> Response:
    """The frame itself."""
    world = call.world
    if world.states is None:
        raise NotFound(detail="session management is off")
    sites = [client for client in world.clients.values() if client.enabled]
    script = world.renderer.static_url("session.js")
    page = _PAGE.format(*(escape(text) for text in (world.cookies.state_name, " ".join(askers(sites)), script)))
    response = Response(page, media_type="text/html; charset=utf-8")
    world.headers.framable(response, sorted({origin_of(uri) for client in sites for uri in client.redirect_uris}))
    return response
