"""My Account: ways to sign in."""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.failures import ADDRESS
from broker.domain.passkey import BY_PASSKEY
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import ProviderId
from broker.errors import BadRequest, FormInvalid
from broker.flows.passkey import ANSWER
from broker.web import views
from broker.web.again import ask_again, ask_with_box, refused_box, shown_again
from broker.web.call import Call, see_other
from broker.web.sign_in import depart, note_failure, typed_address
from broker.web.steps import hold, limit_starts, new_transaction


async def ways(call: Call) -> Response:
    """Every linked identity, and what can be added."""
    return call.page(await views.ways(call, refused_box(call)))


async def add(call: Call) -> Response:
    """Add a way to sign in: a fresh sign-in (the route's guard), then the provider (catalogue 122)."""
    provider = call.form.get("provider")
    if not provider:
        raise BadRequest(detail="no provider chosen")
    await limit_starts(call)
    carried = await hold(call, new_transaction(call, TransactionPurpose.LINK, return_to="/me/ways"))
    try:
        return await depart(call, carried, ProviderId(provider), ask_again=False)
    except FormInvalid as problem:
        note_failure(call, ProviderId(provider), problem, event=ADDRESS)
        await call.world.box.drop(carried)
        return ask_with_box(call, "/me/ways", ProviderId(provider), typed_address(call) or "", problem)


async def add_codes(call: Call) -> Response:
    """Let codes by e-mail in; an address that is not checked comes first."""
    try:
        await call.world.mail_code.add(call.signed_in, locale=call.locale)
    except FormInvalid:
        return see_other("/me/address")
    return see_other("/me/ways?done=added")


async def remove(call: Call) -> Response:
    """Remove one; the last one stays (catalogue 124)."""
    link = await call.world.account.unlink(call.signed_in, call.form.get("link", ""))
    return see_other("/me/ways?done=removed" if link.passkey is None else "/me/ways?done=removed_passkey")


async def passkey(call: Call) -> Response:
    """Where a passkey is made: with a fresh sign-in (the route's guard), from which on there are minutes."""
    form, problems = shown_again(call)
    typed = form.get("name") if form is not None else None
    return call.page(await views.add_passkey(call, typed=typed, problem=(problems or {}).get(ANSWER, "")))


async def add_passkey(call: Call) -> Response:
    """What the browser made, under the name that was typed."""
    name = call.form.get("name", "")
    await limit_starts(call)
    try:
        await call.world.passkeys.add(
            call.signed_in, call.form, name=name, user_agent=call.user_agent, locale=call.locale
        )
    except FormInvalid as problem:
        note_failure(call, BY_PASSKEY, problem)
        back = ask_again(call, call.path, problem.fields, [("name", name)])
        if back is not None:
            return back
        page = await views.add_passkey(call, typed=name, problem=problem.fields[ANSWER])
        return call.page(page, problem.status)
    return see_other("/me/ways?done=added")
