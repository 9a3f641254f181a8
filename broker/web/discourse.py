"""The two addresses of DiscourseConnect: where a forum sends people to, and where their sign-in ends."""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.checks.token import read_params
from broker.flows.answers import to_whom
from broker.web.authorize import settle
from broker.web.call import Call, see_other
from broker.web.forms import parse_pairs


async def enter(call: Call) -> Response:
    """A forum asks who somebody is."""
    flow, params = call.world.discourse, read_params(parse_pairs(call.request.url.query))
    call.client = client = flow.forum(params)
    request = flow.begin(client, params)
    call.answer_to = to_whom(request)
    return await settle(call, client, request)


async def answer(call: Call) -> Response:
    """Back to the forum, with who it is."""
    flow, params = call.world.discourse, read_params(parse_pairs(call.request.url.query))
    call.client, asked = flow.asked_by(params.get("state", ""))
    return see_other(await flow.finish(call.client, asked, params))
