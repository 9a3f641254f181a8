"""Is it you? Asked of whoever opens a sign-in that a site's app brought, before anybody is signed in by it.

The link could have been sent by somebody else, so that another person uses their account without knowing (catalogue 33, 51).
"""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.client import Client
from broker.domain.grant import AuthorizationRequest
from broker.domain.transaction import Step, next_step
from broker.errors import BadRequest, BrokerError, SignInFinished
from broker.flows.sign_in import AgeUnknown, NewPerson, SignedIn
from broker.web import views
from broker.web.call import Call, see_other
from broker.web.sign_in import signed_in
from broker.web.steps import (
    facts_of,
    go_on,
    limit_starts,
    new_transaction,
    opened,
    situation_of,
    step_url,
    with_transaction,
)


async def begin(call: Call, client: Client, request: AuthorizationRequest, request_uri: str) -> Response:
    """The first browser that opens it takes it over: whom the app brought is in its hands now, and in no others.

    Raises `SignInElsewhere` for every other browser, and for this one again.
    """
    world = call.world
    call.locale = world.renderer.locale_for(request.ui_locales, call.locale)
    await limit_starts(call)
    transaction = await world.app_sign_ins.take(request_uri, new_transaction(call, request=request))
    call.client = client
    return await go_on(call, await world.box.keep(transaction))


async def confirm(call: Call) -> Response:
    """Which account, of which provider, for which site; and who is signed out by it, if somebody is."""
    carried = opened(call)
    situation = await situation_of(call, carried.transaction)
    if next_step(await facts_of(call, carried.transaction, situation)) is not Step.CONFIRM:
        return await go_on(call, carried)
    return call.page(await views.confirm(call, carried.transaction, situation))


async def decide_confirm(call: Call) -> Response:
    """It is me: from here on as if the provider had sent this browser back. Whoever says no cancels."""
    carried, world = opened(call), call.world
    transaction = carried.transaction
    situation = await situation_of(call, transaction)
    if next_step(await facts_of(call, transaction, situation)) is not Step.CONFIRM:  # a second click (catalogue 177)
        return await go_on(call, carried)
    if call.form.get("decision") != "continue":
        raise BadRequest(detail="no decision")
    if call.form.get("shown") != views.confirm_digest(call, transaction):
        return call.page(await views.confirm(call, transaction, situation, changed=True), 409)
    provider = str(transaction.provider)
    try:
        outcome = await (await call.sign_in()).confirmed(carried, session=call.session, user_agent=call.user_agent)
    except SignInFinished:
        return see_other(step_url(transaction, "continue"))
    except BrokerError as error:
        world.metrics.sign_in(provider, "confirm", error.code)
        world.log.event("sign_in_failed", provider=provider, reason=error.code, check=error.detail)
        raise
    world.metrics.sign_in(provider, "confirm", type(outcome).__name__)
    match outcome:
        case SignedIn():
            return await signed_in(call, carried, outcome)
        case NewPerson():
            return await go_on(call, outcome.carried)
        case AgeUnknown():
            return with_transaction(call, see_other(step_url(transaction, "age")), outcome.carried)
