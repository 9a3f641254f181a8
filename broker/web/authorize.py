"""The authorization endpoint (RFC 6749 §3.1, OpenID Connect Core §3.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import Response

from broker.domain.checks.authorization import (
    answerable_mode,
    answerable_state,
    check_redirect_uri,
    check_way,
    find_client,
    read_params,
    read_request,
)
from broker.domain.transaction import Step, next_step, without_pages
from broker.flows.answers import AnswerTo
from broker.flows.pushed import PREFIX
from broker.web.call import Call, see_other
from broker.web.forms import parse_pairs
from broker.web.posted import as_get, query_of
from broker.web.steps import hold, new_transaction, send, step_url, with_transaction

SEALED = "authorization request"


async def authorize(call: Call) -> Response:
    """Answer at once if everything is settled; else start a sign-in transaction at its first step."""
    world = call.world
    params: Mapping[str, str] = read_params(parse_pairs(query_of(call, SEALED)))
    client = find_client(params, world.clients)
    call.client, pushed = client, None
    if params.get("request_uri", "").startswith(PREFIX):
        pushed = await world.pushed.open(params["request_uri"], client)
        params = pushed.params  # and nothing of what the browser brought beside it (RFC 9126 §4, RFC 9101 §6.3)
    redirect_uri = check_redirect_uri(params, client)
    call.answer_to = AnswerTo(redirect_uri=redirect_uri, state=answerable_state(params), mode=answerable_mode(params))
    check_way(client, is_pushed=pushed is not None)
    request = read_request(params, client, redirect_uri)
    if pushed is not None:
        request = replace(request, pushed=pushed.name)
    situation = await world.authorize.look(client, request, call.session)
    step = next_step(world.authorize.facts(situation, None))
    if step is Step.DONE:
        return send(call, await world.authorize.issue(situation), client.name)
    if "none" in request.prompt and (error := without_pages(step)) is not None:
        raise error
    call.locale = world.renderer.locale_for(request.ui_locales, call.locale)
    carried = await hold(call, new_transaction(call, request=request))
    return with_transaction(call, see_other(step_url(carried.transaction, step)), carried)


async def authorize_post(call: Call) -> Response:
    """A POSTed request comes without our Lax cookie: it goes on as a GET of our own, sealed (decision 5)."""
    return await as_get(call, SEALED)
