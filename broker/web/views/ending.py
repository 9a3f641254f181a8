"""Signing out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.flows.session import Telling, Told
from broker.web import pages
from broker.web.call import Call
from broker.web.views.common import name_of, site_card

if TYPE_CHECKING:
    from broker.web.sign_out import EndRequest
    from broker.web.signed_out import Ended


async def sign_out(call: Call, request: EndRequest, sealed: str) -> pages.SignOut:
    """Which sites, or everything; the site that asked comes first."""
    session = call.signed_in
    sites = [site.client for site in await call.world.sessions.sites_of(session)]
    asked = request.client.client_id if request.client else None
    sites.sort(key=lambda client: client != asked)
    account = await call.world.account.load(session.account)
    return pages.SignOut(
        name=name_of(account),
        sites=tuple((client, call.world.clients[client].name) for client in sites),
        request=sealed,
        asked_by=site_card(call, request.client),
        stay_url=request.client.url if request.client else "/me",
    )


def signed_out() -> pages.SignedOut:
    """Nobody is signed in here, and nothing more is known."""
    return pages.SignedOut()


def ended(call: Call, ended: Ended, told: tuple[Told, ...], frames: tuple[str, ...], seen: str) -> pages.SignedOut:
    """What ended, who was told by now, and what could not be told. `seen`: what it is about, where signing out at the
    provider is offered."""
    face = call.world.faces.get(ended.provider) if ended.provider is not None else None
    site = call.world.clients.get(ended.client) if ended.client is not None else None
    card = site_card(call, site)
    return pages.SignedOut(
        is_everything=ended.is_everything,
        sites=tuple(_told(call, one) for one in told if one.client in call.world.clients),
        provider=face.label if face else "",
        provider_host=face.host if face else "",
        there=ended.there,
        seen=seen,
        back=replace(card, url=ended.return_url) if card is not None and ended.return_url else None,
        again=call.request.url.path + f"?{call.request.url.query}" if any(_may_change(one) for one in told) else "",
        frames=frames,
    )


def _told(call: Call, one: Told) -> pages.ToldSite:
    client = call.world.clients[one.client]
    by_frame = one.state is Telling.CANNOT and client.frontchannel_logout_uri is not None
    return pages.ToldSite(name=client.name, state="frame" if by_frame else one.state.value, at=one.due_at)


def _may_change(one: Told) -> bool:
    return one.state in {Telling.WAITING, Telling.LATE}
