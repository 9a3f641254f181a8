"""What happens around every handler: guard, handler, answer, headers, one log line. Errors meet their one mapping here."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from broker.errors import BadRequest, InteractionError, MethodNotAllowed, NotFound
from broker.web.call import Call
from broker.web.cross_origin import let_apps_read
from broker.web.guards import GUARDS
from broker.web.problems import answer_problem

if TYPE_CHECKING:
    from broker.web.routes import Route
    from broker.web.world import World

Handler = Callable[[Call], Awaitable[Response]]


def endpoint(route: Route) -> Callable[[Request], Awaitable[Response]]:
    """The Starlette endpoint of one row of the table. The world is there once the application has started."""
    guard = GUARDS[route.guard]
    is_callback = route.path.startswith("/callback/")
    is_page = route.answers == "page"

    async def serve(request: Request) -> Response:
        started = time.perf_counter()
        world: World = request.app.state.world
        call = Call(request=request, world=world)
        if is_page:  # servers are told nothing in words
            call.locale = world.renderer.choose_locale(request)
        try:
            await guard(call)
            response = await route.handler(call)
        except Exception as error:
            response = answer_problem(call, route, error)
        if call.shows_key:
            response.headers["DPoP-Nonce"] = world.proofs.nonce()
        if route.apps:
            let_apps_read(call, response)
        world.headers.add(response, is_callback=is_callback, is_elsewhere="doorward.gate" in request.scope)
        seconds = time.perf_counter() - started
        world.metrics.request(route.name, request.method, response.status_code, seconds)
        if world.settings.broker.log_requests:
            world.log.access(route.name, request.method, response.status_code, seconds, call.reference)
        return response

    return serve


async def unmatched(request: Request, error: Exception) -> Response:
    """No route, or not with this method: a page of ours all the same."""
    world: World = request.app.state.world
    call = Call(request=request, world=world, locale=world.renderer.choose_locale(request))
    kind: type[InteractionError] = {404: NotFound, 405: MethodNotAllowed}.get(
        getattr(error, "status_code", 400), BadRequest
    )
    response = answer_problem(call, None, kind(detail="no route"))
    world.headers.add(response)
    return response
