"""After signing out: what ended, who was told by now, and the frames through which sites are told by the browser.

The session is gone by then, so the page's address carries, sealed and for half an hour, which session and sites it is
about: it can be loaded again, without a script, to see how far telling them has come. It holds in the browser that signed
out, which has a cookie for that; any other, and one that lost it, gets the page that knows of nothing. Front-channel addresses are called
in hidden frames (OpenID Connect Front-Channel Logout 1.0 §3), and only this page may hold any (decision 8).

Where the admin wants it, the page offers to sign out at the provider as well (RP-Initiated Logout 1.0). The provider gets
the page's content back as `state`, sealed, so an answer without it, or with another, is no answer to us; who never comes
back has missed nothing.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode, urlsplit

import orjson
from starlette.responses import Response

from broker.domain.provider import EndsSessions
from broker.domain.session import sid_for
from broker.domain.values import ClientId, ProviderId, Sid
from broker.errors import BadRequest, NotFound, SignOutUnknown
from broker.flows.session import ToldSite
from broker.web import views
from broker.web.call import Call, see_other
from broker.web.steps import leave
from broker.web.views.common import provider_label

SEEN: Final = "signed-out page"
"""What the sealed part of the address is sealed for."""
AT_PROVIDER: Final = "sign-out at a provider"
"""What `state` is sealed for, which comes back from there."""
DONE: Final = "done"
AWAY: Final = "away"
MAX_STATE: Final = 1500
"""Characters of `state`: it goes through two addresses of somebody else's. Sites that do not fit are left out."""
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
    browser: str = field(default="", repr=False)
    """What the browser's cookie has to say for it."""
    there: str = ""
    """What is known of signing out at the provider: `DONE` as it says, `AWAY` as it could not be asked; nothing: not tried."""


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


def offered(call: Call, ended: Ended) -> EndsSessions | None:
    """The provider where the person may sign out as well, if that is offered."""
    if not ended.is_everything or ended.provider is None or ended.there == DONE:
        return None
    return _ending(call, ended.provider)


def _ending(call: Call, id_: ProviderId) -> EndsSessions | None:
    provider: object = call.world.trials.providers.get(id_)
    return provider if isinstance(provider, EndsSessions) and provider.ends_sessions else None


def address_of(call: Call, ended: Ended) -> str:
    """The page that says what ended; nobody but us can make such an address."""
    return f"/signed-out?seen={_sealed(call, ended, SEEN)}"


def _sealed(call: Call, ended: Ended, purpose: str) -> str:
    text = orjson.dumps(
        [
            int(ended.at.timestamp()),
            ended.sid,
            ended.is_everything,
            ended.provider,
            [[site.client, site.will_be_told] for site in ended.sites],
            ended.client,
            ended.return_url,
            ended.there,
            ended.browser,
        ]
    ).decode()
    return call.world.box.seal_text(text, purpose)


def _opened(call: Call, sealed: str, purpose: str) -> Ended | None:
    """What was sealed; `None` if it was not by us for this."""
    text = call.world.box.open_text(sealed, purpose)
    if text is None:
        return None
    at, sid, is_everything, provider, sites, client, return_url, there, *rest = orjson.loads(text)
    return Ended(
        at=datetime.fromtimestamp(at, UTC),
        sid=Sid(sid),
        is_everything=is_everything,
        provider=ProviderId(provider) if provider else None,
        sites=tuple(ToldSite(client=ClientId(site), will_be_told=told) for site, told in sites),
        client=ClientId(client) if client else None,
        return_url=return_url,
        there=there,
        browser=rest[0] if rest else "",  # without: made before an update, half an hour ago at most, and nobody's
    )


def shown(call: Call, ended: Ended) -> Response:
    """To the page that says what ended, for this browser alone."""
    browser = call.world.cookies.ended(call.request) or call.world.entropy.token(16)
    response = see_other(address_of(call, replace(ended, browser=browser)))
    call.world.cookies.set_ended(response, browser)
    return response


def _is_recent(call: Call, ended: Ended) -> bool:
    return call.world.clock.now() - ended.at < LIFETIME


def _is_ours(call: Call, ended: Ended) -> bool:
    """Whether this is the browser that signed out: the address alone shows nobody anything, and goes nowhere."""
    browser = call.world.cookies.ended(call.request)
    return browser is not None and hmac.compare_digest(browser.encode(), ended.browser.encode())


async def sign_out_there(call: Call) -> Response:
    """Off to where the person signs out at the provider; a browser that is not the one that signed out here learns nothing.

    Raises `BadRequest` where that is not offered.
    """
    ended = _opened(call, call.form.get("seen", ""), SEEN)
    if ended is not None and not _is_recent(call, ended):
        ended = None  # else an old address could be made a new one for ever
    provider = offered(call, ended) if ended is not None else None
    if ended is None or ended.provider is None or provider is None:
        raise BadRequest(detail="no sign-out that is offered")
    if not _is_ours(call, ended):
        return see_other("/signed-out")
    address = await call.world.upstream_logout.address_of(
        provider,
        ended.sid,
        back=f"{call.world.settings.broker.public_url}/signed-out/{ended.provider}",
        state=_state(call, replace(ended, at=call.world.clock.now())),
        locale=call.locale,
    )
    if address is None:
        return shown(call, replace(ended, there=AWAY))
    return leave(call, address, provider_label(call, ended.provider))


def _state(call: Call, ended: Ended) -> str:
    """As much of it as fits."""
    state = ""
    for one in (ended, replace(ended, sites=()), replace(ended, sites=(), return_url="", client=None)):
        state = _sealed(call, one, AT_PROVIDER)
        if len(state) <= MAX_STATE:
            break
    return state


async def came_back(call: Call) -> Response:
    """From the provider (RP-Initiated Logout 1.0 §3). It counts only with the `state` that we sent along, for half an hour.

    Raises `SignOutUnknown` for any other, and `NotFound` where no such answer can come.
    """
    id_ = ProviderId(str(call.request.path_params["provider"]))
    ended = _opened(call, call.request.query_params.get("state", ""), AT_PROVIDER)
    if ended is not None and ended.provider == id_ and _is_recent(call, ended):
        return shown(call, replace(ended, there=DONE)) if _is_ours(call, ended) else see_other("/signed-out")
    if id_ not in call.world.providers or _ending(call, id_) is None:
        raise NotFound(detail="no provider that signs people out")
    raise SignOutUnknown(detail="state")


async def signed_out(call: Call) -> Response:
    """You are signed out: of what, who knows it by now, and the way back."""
    seen = call.request.query_params.get("seen", "")
    ended = _opened(call, seen, SEEN)
    if ended is None or not _is_recent(call, ended) or not _is_ours(call, ended):
        return call.page(views.signed_out()) if call.session is None else see_other("/signout")
    call.opened.append("seen")
    told = await call.world.sessions.told(ended.sid, ended.sites)
    addresses = frames(call, ended)
    may_go = offered(call, ended) is not None
    response = call.page(views.ended(call, ended, told, addresses, seen if may_go else ""))
    if addresses:
        call.world.headers.framing(
            response, tuple("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in addresses)
        )
    site = call.world.clients.get(ended.client) if ended.client is not None else None
    # Who is asked something gets the time to answer (WCAG 2.2.1). To a site that no admin looked at, or that is gone, nobody
    # is led by itself (RFC 9700 §4.11.2).
    if ended.return_url and not may_go and site is not None and not site.is_unreviewed:
        response.headers["Refresh"] = f"{FRAMES_GET}; url={ended.return_url}"
    return response
