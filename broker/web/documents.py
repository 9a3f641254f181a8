"""The pages without a sign-in: home, privacy, terms, help, cookies, accessibility; they set no cookie."""

from __future__ import annotations

from starlette.responses import Response

from broker.web import views
from broker.web.call import Call, see_other
from broker.web.forms import is_local_path
from broker.web.realm import name_addresses

_OUR_OWN = frozenset({"same-origin", "none"})
"""Who sent the browser here (`Sec-Fetch-Site`): a page of ours or the person; browsers without the header say nothing."""


async def home(call: Call) -> Response:
    response = call.page(await views.home(call))
    name_addresses(call, response)
    return response


async def privacy(call: Call) -> Response:
    return call.page(views.privacy(call))


async def terms(call: Call) -> Response:
    return call.page(views.terms(call))


async def help_page(call: Call) -> Response:
    return call.page(views.help_page(call))


async def cookies(call: Call) -> Response:
    return call.page(views.cookies(call))


async def accessibility(call: Call) -> Response:
    return call.page(views.accessibility(call))


async def language(call: Call) -> Response:
    """Remember the language a person chose, and go back to where they were.

    A link on another site changes what this browser shows, never the account: nobody chose that there.
    """
    chosen = call.world.renderer.supported(call.request.query_params.get("to", ""))
    back = call.request.query_params.get("back", "/")
    response = see_other(back if is_local_path(back) else "/")
    if chosen:
        call.world.cookies.set_locale(response, chosen)
        if call.session is not None and call.request.headers.get("sec-fetch-site", "none") in _OUR_OWN:
            await call.world.account.set_locale(call.session.account, chosen)
    return response


async def static(call: Call) -> Response:
    """Style sheets, scripts and pictures, by a name that changes with their content. Always whole: ranges are ignored."""
    return call.world.renderer.static(str(call.request.path_params["name"]))
