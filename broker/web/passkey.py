"""Signing in with a passkey: the chooser's row posts here what the browser answered."""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.passkey import BY_PASSKEY
from broker.domain.transaction import TransactionPurpose
from broker.errors import BrokerError, FormInvalid
from broker.web.again import ask_again
from broker.web.call import Call, see_other
from broker.web.sign_in import note_failure, signed_in
from broker.web.steps import limit_starts, opened, step_url, with_transaction

_FOR: frozenset[TransactionPurpose] = frozenset(
    {TransactionPurpose.SIGN_IN, TransactionPurpose.FRESHEN, TransactionPurpose.MERGE}
)
"""Anything else began at a page of its own, with a provider chosen there."""


async def use(call: Call) -> Response:
    """Signed in; or the chooser again, for a page that waited too long."""
    call.world.passkeys.check_on()
    carried = opened(call)
    transaction = carried.transaction
    if transaction.purpose not in _FOR:
        return see_other(transaction.return_to)
    await limit_starts(call)
    try:
        outcome = await call.world.passkeys.enter(carried, call.form, session=call.session, user_agent=call.user_agent)
    except FormInvalid as problem:
        note_failure(call, BY_PASSKEY, problem)
        back = ask_again(call, step_url(transaction, "sign-in"), problem.fields, ())
        return with_transaction(call, back or see_other(step_url(transaction, "sign-in")), carried)
    except BrokerError as error:
        note_failure(call, BY_PASSKEY, error)
        raise
    call.world.metrics.sign_in(BY_PASSKEY, "callback", type(outcome).__name__)
    return await signed_in(call, carried, outcome)
