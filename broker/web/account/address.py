"""My Account: prove that the e-mail address is one's own. And the links of our letters, which any browser may open."""

from __future__ import annotations

from starlette.responses import Response

from broker.errors import FormInvalid, LetterOver
from broker.flows.address import CODE
from broker.web import views
from broker.web.again import ask_again, asked_again, shown_again
from broker.web.call import Call, see_other


async def send(call: Call) -> Response:
    """Write a code and a link to the address the account has."""
    account = await call.world.account.load(call.signed_in.account)
    try:
        await call.world.address.send(account, call.signed_in)
    except FormInvalid:  # checked already, or removed in another tab
        return see_other("/me/details")
    return see_other("/me/address?sent=1")


async def address(call: Call) -> Response:
    """Where the code is typed."""
    _, problems = shown_again(call)
    return call.page(await views.address(call, problem=(problems or {}).get(CODE, "")))


async def confirm(call: Call) -> Response:
    """The code."""
    try:
        await call.world.address.confirm(call.signed_in, call.form.get(CODE, ""))
    except FormInvalid as problem:
        back = ask_again(call, "/me/address", problem.fields, ())
        if back is not None:
            return back
        return call.page(await views.address(call, problem=problem.fields[CODE]), problem.status)
    return see_other("/me/details?done=checked")


async def link(call: Call) -> Response:
    """A button first: programs that look into letters open every link in them."""
    token, again = call.request.query_params.get("token", ""), asked_again(call)
    if again is not None and again.form.get("token") == token:  # of this link, and of no other
        call.opened.append("token")
        return call.page(views.letter_link(call, token, problem=again.problems[CODE]))
    if not await call.world.address.is_link_good(token):
        raise LetterOver(detail="link that proves an address is over")
    call.opened.append("token")
    return call.page(views.letter_link(call, token))


async def confirm_link(call: Call) -> Response:
    """Yes, this address is mine."""
    token = call.form.get("token", "")
    try:
        await call.world.address.confirm_link(token)
    except FormInvalid as problem:
        back = ask_again(call, call.path, problem.fields, [("token", token)], [("token", token)])
        if back is not None:
            return back
        return call.page(views.letter_link(call, token, problem=problem.fields[CODE]), problem.status)
    return call.page(views.letter_link_done(call))


async def undo(call: Call) -> Response:
    """A button first, here too."""
    token = call.request.query_params.get("token", "")
    await call.world.address.check_undo(token)
    call.opened.append("token")
    return call.page(views.undo_link(call, token))


async def confirm_undo(call: Call) -> Response:
    """That was not me: take it back."""
    try:
        account = await call.world.address.undo_change(call.form.get("token", ""))
    except FormInvalid as problem:
        raise LetterOver(detail="the old address belongs to another account") from problem
    response = call.page(views.undo_link_done(call))
    if call.session is not None and call.session.account == account:
        call.world.cookies.clear_session(response)
    return response


async def mailbox(call: Call) -> Response:
    """Development without a mail server: what we would have sent."""
    return call.page(views.mailbox(call))
