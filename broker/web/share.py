"""Share these with the site? The consent page."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from broker.domain.values import ClaimName
from broker.errors import BadRequest, FormInvalid, SignInExpired, TooManyAttempts
from broker.flows.answers import Answer
from broker.flows.authorize import Situation
from broker.web import views
from broker.web.again import ask_again, shown_again
from broker.web.call import Call
from broker.web.steps import go_on, opened, send, situation_of, without_transaction


async def share(call: Call) -> Response:
    """Values, why, who sees them; needed or the person's choice."""
    situation = await _waiting(call)
    form, problems = shown_again(call)
    return call.page(views.share(call, situation, form=form, problems=problems))


async def decide_share(call: Call) -> Response:
    """Share, keep as it is, or do not share. Only what was displayed can be granted (catalogue 134)."""
    carried, situation = opened(call), await _waiting(call)
    if not call.world.authorize.facts(situation, carried.transaction).policy_agreed:
        return await go_on(call, carried)
    decision = call.form.get("decision")
    if decision != "refuse" and call.form.get("shown") != situation.form_digest:
        return call.page(views.share(call, situation, changed=True), 409)
    try:
        answer = await _decide(call, situation, decision)
    except FormInvalid as problem:
        back = ask_again(call, call.path, problem.fields, call.form.pairs)
        if back is not None:
            return back
        return call.page(views.share(call, situation, form=call.form, problems=problem.fields), problem.status)
    await call.world.box.drop(carried)
    return without_transaction(call, send(call, answer, situation.client.name), carried.transaction)


NEW_SITES_A_DAY: Final = 20
"""That nobody used before, for one account: what is kept of each was written by a stranger."""


async def _limit_new(call: Call, situation: Situation) -> None:
    """Raises `TooManyAttempts`."""
    world, account = call.world, situation.account
    if account is None or not world.clients.is_unused(situation.client.client_id):
        return
    wait = await world.limits.hit(
        f"documents:used:{account.id}", limit=NEW_SITES_A_DAY, window=24 * 3600, now=world.clock.now()
    )
    if wait:
        raise TooManyAttempts(wait, detail="sites that nobody used before")


async def _decide(call: Call, situation: Situation, decision: str | None) -> Answer:
    authorize, transaction = call.world.authorize, opened(call).transaction
    if decision == "share":
        await _limit_new(call, situation)
    match decision:
        case "share":
            return await authorize.share(
                situation,
                transaction,
                ticked=frozenset(ClaimName(name) for name in call.form.all("share")),
                typed={ClaimName(name): value for name, value in call.form.prefixed("v-").items()},
                locale=call.locale,
            )
        case "keep" if situation.asks_for_more:
            return await authorize.keep(situation, transaction, locale=call.locale)
        case "refuse":
            return await authorize.refuse(situation, transaction, locale=call.locale)
        case _:
            raise BadRequest(detail="no decision")


async def _waiting(call: Call) -> Situation:
    """The waiting site's request, with somebody signed in who may answer it."""
    transaction = opened(call).transaction
    situation = await situation_of(call, transaction)
    if situation is None or situation.account is None:
        raise SignInExpired(detail="no site is waiting, or nobody is signed in")
    facts = call.world.authorize.facts(situation, transaction)
    if not (facts.identified and facts.known and facts.confirmed):
        raise SignInExpired(detail="signed in too long ago, or as somebody else, for this request")
    return situation
