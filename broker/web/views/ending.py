"""Signing out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.flows.session import ToldSite
from broker.web import pages
from broker.web.call import Call
from broker.web.views.common import name_of, site_card

if TYPE_CHECKING:
    from broker.web.sign_out import EndRequest


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
        asked_by=site_card(request.client),
        stay_url=request.client.url if request.client else "/me",
    )


def signed_out(call: Call, told: tuple[ToldSite, ...], *, everything: bool = True) -> pages.SignedOut:
    """What ended, and what could not be told."""
    session = call.session
    face = call.world.faces.get(session.provider) if session is not None and everything else None
    return pages.SignedOut(
        is_everything=everything,
        sites=tuple(
            pages.ToldSite(
                name=call.world.clients[site.client].name, state="waiting" if site.will_be_told else "cannot"
            )
            for site in told
        ),
        provider=face.label if face else "",
    )
