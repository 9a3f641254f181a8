"""Merge two accounts of one person: show the other one, look at both, decide."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from broker.domain.merging import Choice, Side
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import ClaimName, ProviderId
from broker.errors import BadRequest, FormInvalid, SignInExpired
from broker.flows.merging import FORM
from broker.web import views
from broker.web.again import ask_again, shown_again
from broker.web.call import Call, see_other
from broker.web.picture import image
from broker.web.steps import (
    hold,
    limit_starts,
    new_transaction,
    opened,
    step_url,
    with_transaction,
    without_transaction,
)


async def start(call: Call) -> Response:
    """What merging means, before anything is asked of anybody."""
    return call.page(await views.merge_start(call))


async def begin(call: Call) -> Response:
    """On to the other account's way to sign in: with a fresh sign-in to this one (the route's guard; catalogue 122)."""
    await limit_starts(call)
    named = ProviderId(call.form.get("with", ""))
    transaction = replace(
        new_transaction(call, TransactionPurpose.MERGE, return_to="/me/ways"),
        hinted=named if named in (await call.sign_in()).providers else None,
    )
    carried = await hold(call, transaction)
    return with_transaction(call, see_other(step_url(transaction, "sign-in")), carried)


async def merge(call: Call) -> Response:
    """Both accounts, and everything there is to choose. Nothing is changed by looking."""
    transaction = opened(call).transaction
    if transaction.purpose is not TransactionPurpose.MERGE:
        raise SignInExpired(detail="no merge")
    both = await call.world.merging.look(transaction, call.session)
    form, problems = shown_again(call)
    return call.page(views.merge(call, transaction, both, form=form, problem=(problems or {}).get(FORM, "")))


async def other_picture(call: Call) -> Response:
    """The picture of the account that was shown."""
    return image(await call.world.merging.picture(opened(call).transaction, call.session))


async def decide(call: Call) -> Response:
    """Merge them, or keep both."""
    carried, world = opened(call), call.world
    transaction = carried.transaction
    if call.form.get("decision") == "keep" and transaction.purpose is TransactionPurpose.MERGE:
        await world.box.drop(carried)
        return without_transaction(call, see_other("/me/ways"), transaction)
    if call.form.get("decision") != "merge":
        raise BadRequest(detail="no decision")
    try:
        choice = _choice(call)
        done = await world.merging.merge(
            transaction, call.session, choice, user_agent=call.user_agent, locale=call.locale
        )
    except FormInvalid as problem:
        back = ask_again(call, call.path, problem.fields, call.form.pairs)
        if back is not None:
            return back
        both = await world.merging.look(transaction, call.session)
        page = views.merge(call, transaction, both, form=call.form, problem=problem.fields[FORM])
        return call.page(page, problem.status)
    await world.box.drop(carried)
    response = without_transaction(call, see_other("/me?done=merged"), transaction)
    if done.started is not None:
        world.cookies.set_session(response, done.started.secret)
        if world.states is not None:
            world.cookies.set_state(response, world.states.of(done.started.session.sid))
    return response


def _choice(call: Call) -> Choice:
    """What was chosen. Raises `FormInvalid` on `merge` (`stays`), and `BadRequest` for what no page of ours posts."""
    if not call.form.get("stays"):
        raise FormInvalid({FORM: "stays"})
    try:
        stays = Side(call.form.get("stays", ""))
        fields = {ClaimName(name): Side(side) for name, side in call.form.prefixed("v-").items()}
        numbers = {sector: Side(side) for sector, side in call.form.prefixed("n-").items()}
    except ValueError as error:
        raise BadRequest(detail="no such account") from error
    ways, seen = frozenset(call.form.all("way")), call.form.get("seen", "")
    return Choice(stays=stays, fields=fields, numbers=numbers, ways=ways, seen=seen)
