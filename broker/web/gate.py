"""Forward-auth: what proxies ask, and the handover of a sign-in to a site's own host (nginx, Caddy, Traefik).

Three addresses are asked through the site's proxy, one by the browser at ours. The outermost layer sees to it that every
answer to a proxy carries all identity headers, so that nothing a browser forged is left standing (catalogue 142).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from broker.domain.checks.token import read_params
from broker.domain.client import Client
from broker.domain.gate import SIGN_IN, Values, gate_of, page_of, read_question
from broker.domain.values import ClientId
from broker.errors import AccessDenied, InvalidGrant, NotFound, NotLetIn, WrongBrowser
from broker.web.call import Call, answer_json, see_other
from broker.web.forms import parse_pairs

_REFUSED: Final = "refused"


async def ask(call: Call) -> Response:
    """Who sends the request that a proxy holds: 200 with headers that name them, 401 or a way to sign in, or 403."""
    client = call.world.gate.site(call.request.query_params.get("client", ""))
    if client is None:
        return answer_json({"error": "unknown_client"}, 403)
    call.client = client
    if not client.enabled:
        return answer_json({"error": "site_disabled"}, 403)
    entry = call.world.cookies.entry(call.request, client.client_id)
    headers = await call.world.gate.who(client, entry) if entry is not None else None
    if headers is not None:
        response = Response(status_code=200)
        response.raw_headers += [(name.encode(), value.encode()) for name, value in headers.items()]  # as UTF-8
        return response
    return _sign_in_first(call, client)


def _sign_in_first(call: Call, client: Client) -> Response:
    """A page load is sent to sign in; anything else keeps its 401 and is never redirected."""
    question = read_question(_values(call.request))
    page = page_of(client, question.url)
    if page is None or not question.is_page_load:
        answer = answer_json({"error": "login_required"}, 401)
    else:
        way = urlencode({"to": call.world.gate.way_to(client, page)})
        answer = see_other(f"{gate_of(client)}{SIGN_IN}?{way}")
        if not question.takes_redirects:
            answer.status_code = 401
    if answer.status_code == 401:
        answer.headers["WWW-Authenticate"] = 'Doorward realm="sign-in"'
    return answer


async def sign_in(call: Call) -> Response:
    """At the site's host: bind the handover to this browser, then ask for it like any other site."""
    found = call.world.gate.destination(call.request.query_params.get("to", ""))
    if found is None:
        raise NotFound(detail="not a way to a gate of ours")
    client, page = found
    kept = call.world.cookies.handover(call.request, client.client_id)
    browser = kept or call.world.entropy.token(32)
    response = see_other(call.world.gate.begin(client, page, browser))
    call.world.cookies.set_handover(response, client.client_id, browser)
    return response


async def callback(call: Call) -> Response:
    """At the site's host: the answer arrives, the browser gets the cookie of this host, and its page."""
    params = read_params(parse_pairs(call.request.url.query))
    state = params.get("state", "")
    found = call.world.gate.asked_by(state)
    if found is None:
        raise NotFound(detail="not an answer to a gate of ours")
    client, page = found
    if params.get("iss") != call.world.settings.broker.public_url:
        return _elsewhere(call, client, "")
    if "code" not in params:
        return _elsewhere(call, client, _REFUSED if params.get("error") == AccessDenied.code else "")
    browser = call.world.cookies.handover(call.request, client.client_id)
    try:
        entered = await call.world.gate.finish(client, page, code=params["code"], state=state, browser=browser)
    except (WrongBrowser, InvalidGrant) as error:
        call.world.log.event("gate_refused", client=client.client_id, reason=error.code, check=error.detail)
        return _elsewhere(call, client, "")
    response = see_other(entered.page)
    call.world.cookies.set_entry(response, client.client_id, entered.entry)
    call.world.cookies.clear_handover(response, client.client_id)
    return response


async def not_let_in(call: Call) -> Response:
    """At our own host, in the person's language: why the site's gate stayed shut."""
    call.client = call.world.clients.get(ClientId(call.request.query_params.get("site", "")))
    if call.request.query_params.get("why") == _REFUSED:
        raise NotLetIn(detail="not shared")
    raise WrongBrowser(detail="handover of a gate")


def _elsewhere(call: Call, client: Client, why: str) -> Response:
    query = urlencode({"site": client.client_id, "why": why})
    return see_other(f"{call.world.settings.broker.public_url}/entry?{query}")


def _values(request: Request) -> Values:
    """Every value of every header, by its name in lower case."""
    values: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        values.setdefault(name, []).append(value)
    return values
