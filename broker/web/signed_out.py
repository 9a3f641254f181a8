"""After signing out: what ended, who was told by now, and the frames through which sites are told by the browser.

The session is gone by then, so the page's address carries, sealed and for half an hour, which session and sites it is
about: it can be loaded again, without a script, to see how far telling them has come. Front-channel addresses are called
in hidden frames (OpenID Connect Front-Channel Logout 1.0 §3), and only this page may hold any (decision 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode, urlsplit

import orjson
from starlette.responses import Response

from broker.domain.session import sid_for
from broker.domain.values import ClientId, ProviderId, Sid
from broker.flows.session import ToldSite
from broker.web import views
from broker.web.call import Call, see_other

SEEN: Final = "signed-out page"
"""What the sealed part of the address is sealed for."""
LIFETIME: Final = timedelta(minutes=30)
FRAMES_GET: Final = 3
"""Seconds that the frames get before the browser goes back to the site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a person ended: ids only."""

    at: datetime
    sid: Sid
    is_everything: bool
    provider: ProviderId | None
    sites: tuple[ToldSite, ...]
    client: ClientId | None = None
    return_url: str = ""
    """Where the site wants the person back, checked."""


def frames(call: Call, ended: Ended) -> tuple[str, ...]:
    """The addresses to load in frames: each site hears its own name for the session."""
    found = []
    for site in ended.sites:
        client = call.world.clients.get(site.client)
        if client is None or client.frontchannel_logout_uri is None:
            continue
        address = client.frontchannel_logout_uri
        if client.frontchannel_logout_session_required:
            sid = sid_for(ended.sid, client.client_id, call.world.releaser.sid_key)
            told = urlencode({"iss": call.world.settings.broker.public_url, "sid": sid})
            address += f"{'&' if '?' in address else '?'}{told}"
        found.append(address)
    return tuple(found)


def address_of(call: Call, ended: Ended) -> str:
    """The page that says what ended; nobody but us can make such an address."""
    text = orjson.dumps(
        [
            int(ended.at.timestamp()),
            ended.sid,
            ended.is_everything,
            ended.provider,
            [[site.client, site.will_be_told] for site in ended.sites],
            ended.client,
            ended.return_url,
        ]
    ).decode()
    return f"/signed-out?seen={call.world.box.seal_text(text, SEEN)}"


def _opened(call: Call) -> Ended | None:
    """What the page is about; `None` if the address says nothing, or said it too long ago."""
    text = call.world.box.open_text(call.request.query_params.get("seen", ""), SEEN)
    if text is None:
        return None
    at, sid, is_everything, provider, sites, client, return_url = orjson.loads(text)
    ended = Ended(
        at=datetime.fromtimestamp(at, UTC),
        sid=Sid(sid),
        is_everything=is_everything,
        provider=ProviderId(provider) if provider else None,
        sites=tuple(ToldSite(client=ClientId(site), will_be_told=told) for site, told in sites),
        client=ClientId(client) if client else None,
        return_url=return_url,
    )
    return ended if call.world.clock.now() - ended.at < LIFETIME else None


async def signed_out(call: Call) -> Response:
    """You are signed out: of what, who knows it by now, and the way back."""
    ended = _opened(call)
    if ended is None:
        return call.page(views.signed_out()) if call.session is None else see_other("/signout")
    told = await call.world.sessions.told(ended.sid, ended.sites)
    addresses = frames(call, ended)
    response = call.page(views.ended(call, ended, told, addresses))
    if addresses:
        call.world.headers.framing(
            response, tuple("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in addresses)
        )
    if ended.return_url:
        response.headers["Refresh"] = f"{FRAMES_GET}; url={ended.return_url}"
    return response
