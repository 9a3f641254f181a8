"""The authorization endpoint (RFC 6749 §3.1, OpenID Connect Core §3.1.2)."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from starlette.responses import Response

from broker.domain.checks.authorization import (
    Params,
    answerable_mode,
    answerable_state,
    check_redirect_uri,
    check_way,
    find_client,
    read_params,
    read_request,
)
from broker.domain.checks.request_object import check_signed, is_signed
from broker.domain.client import Client, redirect_matches
from broker.domain.grant import AuthorizationRequest
from broker.domain.transaction import Step, next_step, without_pages
from broker.errors import ClientDocumentUnread
from broker.flows.answers import AnswerTo
from broker.flows.pushed import PREFIX
from broker.web.app_sign_in import begin
from broker.web.call import Call, see_other
from broker.web.forms import parse_pairs
from broker.web.posted import as_get, query_of
from broker.web.steps import hold, new_transaction, send, step_url, with_transaction

SEALED = "authorization request"


async def authorize(call: Call) -> Response:
    """Answer at once if everything is settled; else start a sign-in transaction at its first step."""
    world = call.world
    params: Params = read_params(parse_pairs(query_of(call, SEALED)))
    named = params.get("client_id", "")
    if await world.clients.look(named, visitor=call.address, begins=True) is None and world.clients.is_document(named):
        raise ClientDocumentUnread(detail="client document")
    client = find_client(params, world.clients)
    call.client, pushed, has_signed = client, None, is_signed(params)
    request_uri = params.get("request_uri", "")
    if request_uri.startswith(PREFIX):
        pushed = await world.pushed.open(request_uri, client)
        params = pushed.params  # and nothing of what the browser brought beside it (RFC 9126 §4, RFC 9101 §6.3)
    elif has_signed:
        params = await _signed(call, client, params)
    redirect_uri = check_redirect_uri(params, client)
    call.answer_to = _answer_to(client, redirect_uri, params)
    check_way(client, is_pushed=pushed is not None)
    check_signed(client, is_signed=has_signed)
    request = read_request(params, client, redirect_uri)
    if pushed is not None:
        request = replace(request, pushed=pushed.name)
    if pushed is not None and pushed.brings:
        return await begin(call, client, request, request_uri)
    return await settle(call, client, request)


async def settle(call: Call, client: Client, request: AuthorizationRequest) -> Response:
    """The answer to a checked request, if everything is settled; else the first step of a sign-in.

    Raises what `prompt=none` is answered with where a page would be needed.
    """
    world = call.world
    situation = await world.authorize.look(client, request, call.session)
    step = next_step(world.authorize.facts(situation, None))
    if step is Step.DONE:
        return send(call, await world.authorize.issue(situation), client.name)
    if "none" in request.prompt and (error := without_pages(step)) is not None:
        raise error
    call.locale = world.renderer.locale_for(request.ui_locales, call.locale)
    carried = await hold(call, new_transaction(call, request=request))
    page = step_url(carried.transaction, step)
    if step is Step.AUTHENTICATE and world.authorize.is_to_confirm(situation):
        page = f"/sign-in/again?next={quote(step_url(carried.transaction, 'continue'))}&for=site"
    return with_transaction(call, see_other(page), carried)


async def _signed(call: Call, client: Client, params: Params) -> Params:
    """What the site signed. If that is no good, it hears so where its browser says, as long as that is an address of its own."""
    if redirect_matches(client, params.get("redirect_uri", "")):
        call.answer_to = _answer_to(client, params["redirect_uri"], params)
    check_way(client, is_pushed=False)
    return await call.world.request_objects.opened(client, params)


def _answer_to(client: Client, redirect_uri: str, params: Params) -> AnswerTo:
    return AnswerTo(
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        state=answerable_state(params),
        mode=answerable_mode(params, client),
    )


async def authorize_post(call: Call) -> Response:
    """A POSTed request comes without our Lax cookie: it goes on as a GET of our own, sealed (decision 5)."""
    return await as_get(call, SEALED)
