"""Signing out: of one site or of everything, asked by the person or by a site (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from broker.domain import tokens
from broker.domain.client import Client
from broker.domain.values import ClientId
from broker.errors import BadRequest, InvalidRedirectURI, SignInRequired
from broker.flows.answers import answer_url
from broker.web import views
from broker.web.call import Call, see_other
from broker.web.forms import FORM, parse_pairs, read_body
from broker.web.signed_out import Ended, frames, offered, shown
from broker.web.steps import leave

SEALED = "end-session request"
MOST: Final[Mapping[str, int]] = {
    "id_token_hint": 4096,
    "logout_hint": 255,
    "client_id": 64,
    "post_logout_redirect_uri": 2000,
    "state": 1024,
    "ui_locales": 255,
}
"""Every parameter there is (RP-Initiated Logout §2) and how long it may be: all of them travel on in an address of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRequest:
    """A checked request to sign out."""

    client: Client | None = None
    return_url: str | None = None
    """A registered address, with the site's state."""
    is_for_this_session: bool = False
    """The site proved with its own token that it means who is signed in here."""


async def sign_out(call: Call) -> Response:
    """Sign out of: one site, everything."""
    if call.session is None:
        return call.page(views.signed_out())
    return call.page(await views.sign_out(call, EndRequest(), ""))


async def end_session(call: Call) -> Response:
    """A site sends the person to sign out. Always asked: a link must not sign anybody out (catalogue 101, 102)."""
    sealed, params = _params(call)
    request = await read_end_request(call, params)
    call.client = request.client
    if call.session is None:
        is_reviewed = request.client is not None and not request.client.is_unreviewed
        if (
            request.return_url is not None and is_reviewed
        ):  # else our address would lead people anywhere (RFC 9700 §4.11.2)
            return see_other(request.return_url)
        return call.page(views.signed_out())
    return call.page(await views.sign_out(call, request, sealed))


async def end_session_post(call: Call) -> Response:
    """The same by POST, which comes without our Lax cookie: on as a GET of our own, sealed (decision 5)."""
    if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise BadRequest(detail="content type is not a form")
    params = _known(parse_pairs(await read_body(call.request)))
    return see_other(f"/end-session?sealed={call.world.box.seal_text(urlencode(params), SEALED)}")


async def confirm(call: Call) -> Response:
    """The person chose; then back to the site, if it gave a registered address."""
    session = call.session
    if session is None:
        raise SignInRequired
    sealed = call.form.get("request", "")
    request = EndRequest()
    if sealed:
        request = await read_end_request(call, dict(parse_pairs(call.world.box.open_text(sealed, SEALED) or "")))
    what = call.form.get("what")
    is_everything = what == "everything"
    if is_everything:
        sites = await call.world.sessions.sign_out(session)
    elif what is not None and ClientId(what) in call.world.clients:
        sites = tuple(site for site in await call.world.sessions.sites_of(session) if site.client == what)
        await call.world.sessions.sign_out_of(session, ClientId(what))
    else:
        raise BadRequest(detail="nothing chosen")
    ended = Ended(
        at=call.world.clock.now(),
        sid=session.sid,
        is_everything=is_everything,
        provider=session.provider if is_everything else None,
        sites=sites,
        client=request.client.client_id if request.client is not None and request.return_url else None,
        return_url=request.return_url or "",
    )
    is_offered = offered(call, ended) is not None
    if is_offered:
        await call.world.upstream_logout.keep_hint(session)
    says_more = frames(call, ended) or is_offered
    if request.return_url is not None and request.client is not None and not says_more:
        response = leave(call, request.return_url, request.client.name)
    else:
        response = shown(call, ended)
    if is_everything:
        call.world.cookies.clear_all(call.request, response)
        response.headers["Clear-Site-Data"] = '"cache"'
    return response


async def read_end_request(call: Call, params: Mapping[str, str]) -> EndRequest:
    """Which site asks and where to go afterwards. Raises `InvalidRedirectURI` for an address nobody registered.

    The client is named by the token it hints with (ours, expired or not) or by `client_id`; both must agree. An
    address is honoured only if that very client registered it, to the letter (catalogue 100).
    """
    hint = params.get("id_token_hint")
    claims = call.world.signer.own(hint, typ=tokens.ID_TOKEN_TYPE, now=call.world.clock.now()) if hint else None
    if hint and claims is None:
        raise InvalidRedirectURI(
            detail="id_token_hint is not ours", public="The site sent a sign-out request we cannot trust."
        )
    named = ClientId(params.get("client_id") or str((claims or {}).get("aud", "")))
    if claims is not None and claims.get("aud") != named:
        raise InvalidRedirectURI(detail="client_id differs from the hint's")
    client = call.client = await call.world.clients.look(named, visitor=call.address)
    address = params.get("post_logout_redirect_uri")
    return_url = None
    if address is not None:
        if client is None or address not in client.post_logout_redirect_uris:
            raise InvalidRedirectURI(detail="post_logout_redirect_uri not registered")
        state = params.get("state")
        return_url = answer_url(address, {"state": state}) if state else address
    is_ours = (
        claims is not None
        and client is not None
        and call.session is not None
        and claims.get("sub") == await call.world.authorize.subject_of(call.session.account, client)
    )
    return EndRequest(client=client, return_url=return_url, is_for_this_session=is_ours)


def _params(call: Call) -> tuple[str, dict[str, str]]:
    """The request's parameters, and a sealed copy for the page's form."""
    sealed = call.request.query_params.get("sealed")
    query = call.request.url.query if sealed is None else call.world.box.open_text(sealed, SEALED) or ""
    params = _known(parse_pairs(query))
    return (sealed or call.world.box.seal_text(urlencode(params), SEALED) if query else ""), params


def _known(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """What a request to sign out may hold; whatever else was sent goes no further.

    Raises `InvalidRedirectURI` for one that is repeated or too long: then nobody can say where the person wanted to go.
    """
    params: dict[str, str] = {}
    for name, value in pairs:
        if name not in MOST:
            continue
        if name in params:
            raise InvalidRedirectURI(detail=f"{name} repeated", public=_MALFORMED)
        if len(value) > MOST[name]:
            raise InvalidRedirectURI(detail=f"{name} too long", public=_MALFORMED)
        params[name] = value
    return params


_MALFORMED: Final = "The site sent a sign-out request that repeats something or is too long."
