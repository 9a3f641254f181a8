"""When were you born? Asked once, before any provider, where the admin set a rule (decision 24, promise P18)."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from broker.domain.age import AgeAnswer, read_birth_month
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.errors import FormInvalid
from broker.flows.transactions import Carried
from broker.web import views
from broker.web.again import ask_again, shown_again
from broker.web.call import Call, see_other
from broker.web.sign_in import depart_within_limit
from broker.web.steps import go_on, opened, situation_of, step_url, with_transaction, without_transaction


async def age(call: Call) -> Response:
    """The question; after an answer that was too young, that answer for a day."""
    carried = opened(call)
    if not _is_open(call, carried.transaction):
        return await go_on(call, carried)
    situation = await situation_of(call, carried.transaction)
    if call.world.cookies.is_held_back(call.request):
        return call.page(views.too_young(call, carried.transaction, situation))
    form, problems = shown_again(call)
    return call.page(views.age(call, carried.transaction, situation, form=form, problems=problems))


async def answer(call: Call) -> Response:
    """Old enough: on to the provider. Not: nothing of this attempt stays, here or there."""
    carried = opened(call)
    transaction, world = carried.transaction, call.world
    if not _is_open(call, transaction):
        return await go_on(call, carried)
    if call.form.get("use") == "account":
        return await _on(call, carried, replace(transaction, age=AgeAnswer.HAS_ACCOUNT))
    situation = await situation_of(call, transaction)
    if world.cookies.is_held_back(call.request):
        return call.page(views.too_young(call, transaction, situation))
    today = world.clock.now().date()
    try:
        year, month = read_birth_month(call.form.get("birth_year", ""), call.form.get("birth_month", ""), today)
    except FormInvalid as problem:
        back = ask_again(call, call.path, problem.fields, call.form.pairs)
        if back is not None:
            return back
        page = views.age(call, transaction, situation, form=call.form, problems=problem.fields)
        return call.page(page, problem.status)
    rule = world.sign_in.age
    if rule is None or rule.allows(year, month, today):
        return await _on(call, carried, replace(transaction, age=AgeAnswer.ENOUGH))
    await world.box.drop(carried)
    if transaction.provider is not None:
        await world.circles.every.drop_upstream(transaction.provider, transaction.tokens)
    world.metrics.sign_in("none", "age", "too_young")
    response = call.page(views.too_young(call, None, situation))
    world.cookies.hold_back(response)
    return without_transaction(call, response, transaction)


def _is_open(call: Call, transaction: SignInTransaction) -> bool:
    """Whether there is anything to ask: of somebody new, before they have an account."""
    asked = transaction.purpose is TransactionPurpose.SIGN_IN and transaction.account is None
    return asked and not call.world.sign_in.knows_age(transaction)


async def _on(call: Call, carried: Carried, answered: SignInTransaction) -> Response:
    """To the provider that was chosen, or to choose one; who came back from one already goes on to the preview.

    Whom an app brought, and nobody knows, is dropped when they say that they have an account: it is opened by another way.
    """
    if answered.brought is not None and answered.age is AgeAnswer.HAS_ACCOUNT:
        answered = replace(answered, brought=None, provider=None)
    if answered.identity is not None or answered.brought is not None:
        return await go_on(call, carried, answered)
    came_back_unknown = carried.transaction.age is AgeAnswer.UNKNOWN_PERSON
    held = await call.world.box.hold(answered, carried)
    if answered.provider is None or (answered.age is AgeAnswer.HAS_ACCOUNT and came_back_unknown):
        return with_transaction(call, see_other(step_url(answered, "sign-in")), held)
    return await depart_within_limit(call, held, answered.provider)
