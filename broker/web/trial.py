"""Whoever runs the server tries a provider: the page that a link of the command line opens, and the page of what came of it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from broker.domain.transaction import TransactionPurpose
from broker.domain.trial import Trial
from broker.domain.values import ProviderId
from broker.errors import FormInvalid
from broker.flows.transactions import Carried
from broker.web import views
from broker.web.again import ask_with_box, refused_box
from broker.web.call import Call
from broker.web.steps import hold, leave, limit_starts, new_transaction, with_transaction, without_transaction


async def trial(call: Call) -> Response:
    """A button first: programs that look into messages open every link in them."""
    token = call.request.query_params.get("link", "")
    provider, box = await call.world.trials.opened(token), refused_box(call)
    call.opened.append("link")
    if box is None or box.provider != provider.id:
        return call.page(views.trial_start(call, provider, token))
    problem = box.problems.get("identifier", "")
    return call.page(views.trial_start(call, provider, token, typed=box.typed, problem=problem))


async def begin_trial(call: Call) -> Response:
    """To the provider."""
    world, token = call.world, call.form.get("link", "")
    provider = await world.trials.opened(token)
    await limit_starts(call)
    transaction = new_transaction(call, TransactionPurpose.TRIAL, return_to="/")
    carried = await hold(call, transaction)
    typed = call.form.get("identifier")
    try:
        outcome = await world.trials.begin(token, carried, typed=typed)
    except FormInvalid as problem:
        return ask_with_box(call, call.path, provider.id, typed or "", problem, (("link", token),))
    if isinstance(outcome, Trial):
        return _told(call, outcome)
    return with_transaction(call, leave(call, outcome.url, outcome.provider.label), outcome.carried)


async def came_back(
    call: Call, carried: Carried, provider: ProviderId, params: Mapping[str, str], *, place: str = ""
) -> Response:
    """What the provider said, on this one page: nothing of it is kept, and opening it anew shows nothing."""
    outcome = await call.world.trials.complete(carried, provider, params, place=place)
    await call.world.box.drop(carried)
    return without_transaction(call, _told(call, outcome), carried.transaction)


def _told(call: Call, outcome: Trial) -> Response:
    call.world.log.event(
        "provider_tried",
        provider=outcome.provider,
        outcome=outcome.verdict.value,
        reason=outcome.failure,
        check=outcome.detail,
    )
    return call.page(views.trial_result(call, outcome))
