"""My Account: overview, details, news e-mails, language."""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.values import ClaimName
from broker.errors import FormInvalid
from broker.web import views
from broker.web.again import ask_again, shown_again
from broker.web.call import Call, see_other


async def overview(call: Call) -> Response:
    """Who I am as others see it, and what deserves a look."""
    return call.page(await views.overview(call))


async def details(call: Call) -> Response:
    """Each field: value, source, who sees it, which sites get it."""
    form, problems = shown_again(call)
    return call.page(await views.account_details(call, form=form, problems=dict(problems or {})))


async def change_details(call: Call) -> Response:
    """Correct one field (or several: each `v-<claim>` in the form)."""
    problems: dict[str, str] = {}
    done = "saved"
    for name, text in call.form.prefixed("v-").items():
        try:
            if await call.world.account.change(call.signed_in.account, ClaimName(name), text):
                done = "saved_without_codes"
        except FormInvalid as problem:
            problems |= problem.fields
    if problems:
        back = ask_again(call, call.path, problems, call.form.pairs)
        if back is not None:
            return back
        return call.page(await views.account_details(call, form=call.form, problems=problems), 422)
    return see_other(f"/me/details?done={done}")


async def news(call: Call) -> Response:
    """News e-mails: yes or no for each list."""
    return call.page(await views.news(call))


async def change_news(call: Call) -> Response:
    """Exactly the ticked lists."""
    await call.world.account.set_newsletters(call.signed_in.account, frozenset(call.form.all("newsletter")))
    return see_other("/me/news?done=saved")
