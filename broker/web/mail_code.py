"""Signing in with a code by e-mail: the address, then the code."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from broker.domain.claims import EMAIL
from broker.domain.mail_code import BY_MAIL
from broker.domain.transaction import TransactionPurpose
from broker.errors import BrokerError, FormInvalid
from broker.flows.address import CODE
from broker.flows.transactions import Carried
from broker.web import views
from broker.web.again import ask_again, shown_again
from broker.web.call import Call, see_other
from broker.web.sign_in import note_failure, signed_in
from broker.web.steps import opened, situation_of, step_url, with_transaction

_FOR: frozenset[TransactionPurpose] = frozenset(
    {TransactionPurpose.SIGN_IN, TransactionPurpose.FRESHEN, TransactionPurpose.MERGE}
)
"""Anything else began at a page of its own, with a provider chosen there."""
MAX_TYPED = 300


async def show(call: Call) -> Response:
    """Where the address is typed, and then the code."""
    carried = _begun(call)
    if carried is None:
        return see_other(opened(call).transaction.return_to)
    form, problems = shown_again(call)
    return await _page(call, carried, typed=form.get(EMAIL) if form is not None else None, problems=problems)


async def send(call: Call) -> Response:
    """Write a code. The answer is the same whoever has the address."""
    carried = _begun(call)
    if carried is None:
        return see_other(opened(call).transaction.return_to)
    typed = call.form.get(EMAIL, "")[:MAX_TYPED]
    try:
        held = await call.world.mail_code.send(carried, typed, session=call.session, network=call.address)
    except FormInvalid as problem:
        return await _refused(call, carried, problem, typed=typed)
    call.world.metrics.sign_in(BY_MAIL, "start", "ok")
    return with_transaction(call, see_other(step_url(held.transaction, "code")), held)


async def redeem(call: Call) -> Response:
    """The code: signed in, or asked again."""
    carried = _begun(call)
    if carried is None:
        return see_other(opened(call).transaction.return_to)
    try:
        outcome = await call.world.mail_code.redeem(
            carried, call.form.get(CODE, ""), session=call.session, user_agent=call.user_agent
        )
    except FormInvalid as problem:
        note_failure(call, BY_MAIL, problem)
        return await _refused(call, carried, problem)
    except BrokerError as error:
        note_failure(call, BY_MAIL, error)
        raise
    call.world.metrics.sign_in(BY_MAIL, "callback", type(outcome).__name__)
    return await signed_in(call, carried, outcome)


def _begun(call: Call) -> Carried | None:
    """The sign-in, if a code can be its way. Raises `ProviderOff` where codes let nobody in."""
    call.world.mail_code.check_on()
    carried = opened(call)
    return carried if carried.transaction.purpose in _FOR else None


async def _refused(call: Call, carried: Carried, problem: FormInvalid, *, typed: str | None = None) -> Response:
    pairs = [(EMAIL, typed)] if typed is not None else []
    back = ask_again(call, step_url(carried.transaction, "code"), problem.fields, pairs)
    if back is not None:
        return with_transaction(call, back, carried)
    return await _page(call, carried, typed=typed, problems=problem.fields, status=problem.status)


async def _page(
    call: Call,
    carried: Carried,
    *,
    typed: str | None = None,
    problems: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    situation = await situation_of(call, carried.transaction)
    code = next(iter((problems or {}).values()), "")
    page = await views.sign_in_code(call, carried.transaction, situation, typed=typed, problem=code)
    return with_transaction(call, call.page(page, status), carried)
