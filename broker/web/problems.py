"""Errors become answers: a page, a redirect or JSON. The only mapping there is.

A redirect goes out only when client and address were verified before; JSON only from endpoints for servers. Whatever
the error, the person gets a reference code, and the log gets the same code with the technical side.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from broker.domain.checks.dpop import PROOF_ALGORITHMS
from broker.domain.client import near_miss
from broker.domain.failures import PROBE, PROBED, SHOWN
from broker.domain.values import ProviderId
from broker.errors import (
    BrokerError,
    Conflict,
    FreshSignInRequired,
    IdentityTaken,
    InsufficientScope,
    InvalidDpopProof,
    InvalidRedirectURI,
    InvalidRequest,
    InvalidToken,
    MergeNobody,
    MergeSame,
    ProtocolError,
    ServerFault,
    SignInRequired,
    StoreUnavailable,
    TooManyAttempts,
    WayMissing,
)
from broker.web import pages
from broker.web.call import Call, answer_json, see_other
from broker.web.forms import is_local_path
from broker.web.steps import send
from broker.web.views.common import provider_label, site_card

if TYPE_CHECKING:
    from broker.web.routes import Route

MERGES: Final = (IdentityTaken, MergeSame, MergeNobody)
"""After these, two accounts can be merged by that provider's way, or another."""
_ABOUT_TOKENS = (InvalidToken, InsufficientScope, InvalidDpopProof)
RETRY_AFTER = 5
"""Seconds to wait when a store is away."""


def answer_problem(call: Call, route: Route | None, error: Exception) -> Response:
    """The answer to an error. Logs it under the reference that the person sees."""
    problem = error if isinstance(error, BrokerError) else _unexpected(error)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    if (sent := _to_sign_in(call, route, problem)) is not None:
        return sent
    call.reference = call.world.entropy.reference()
    call.world.log.event(
        PROBED if _is_probe(call) else SHOWN,
        reference=call.reference,
        route=route.name if route else "none",
        reason=problem.code,
        check=problem.detail if isinstance(error, BrokerError) else type(error).__name__,
        client=call.client.client_id if call.client else None,
        provider=_provider_id(call, problem),
    )
    if isinstance(problem, ServerFault):
        call.world.log.fault("fault", error, reference=call.reference, route=route.name if route else "none")
    if route is not None and route.answers == "json":
        return _json(call, problem)
    if isinstance(problem, ProtocolError) and problem.redirectable and call.answer_to is not None:
        return _redirect(call, problem) if _is_sent_on(call) else _page(call, problem, NOT_SENT_ON)
    return _page(call, problem)


def _is_probe(call: Call) -> bool:
    """Whether `doorward provider check` looks if an address is there. A request that brings anything is never one."""
    headers = call.request.headers
    is_empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    return headers.get("user-agent") == PROBE and is_empty and not call.request.url.query and "cookie" not in headers


def _unexpected(error: Exception) -> BrokerError:
    """An account that was closed while this request was on its way is no fault of ours (catalogue 130)."""
    if isinstance(error, Conflict) and error.what == "account":
        return SignInRequired(detail="account gone")
    return ServerFault(detail=type(error).__name__)


_NOT_TO_COME_BACK_TO = frozenset({"callback", "callback_post", "step_up"})
"""A provider's answer is good once, and a sign-in makes a second one needless."""


def _to_sign_in(call: Call, route: Route | None, problem: BrokerError) -> Response | None:
    """Not an error at all: who opens a page of My Account signed out is asked to sign in, and comes back to it.

    So is whoever signed in too long ago for what they wanted to do: nothing was done, and afterwards they can.
    """
    if route is None or route.answers != "page":
        return None
    if isinstance(problem, FreshSignInRequired):
        return see_other(_step_up(call))
    if call.request.method != "GET":
        return None
    path, query = call.path, call.request.url.query
    if not isinstance(problem, SignInRequired) or not is_local_path(path) or route.name in _NOT_TO_COME_BACK_TO:
        return None
    target = f"{path}?{query}" if query and is_local_path(f"{path}?{query}") else path
    return see_other(f"/sign-in?next={quote(target)}")


def _step_up(call: Call) -> str:
    """Where to sign in again, and from there back to the page that was open."""
    path = call.path
    if call.carried is not None:  # a step of a sign-in, whose page has the same address
        return f"/sign-in/again?next={quote(path)}&for={path.rpartition('/')[2]}"
    page = path if call.request.method == "GET" or path.count("/") < 3 else path.rpartition("/")[0]
    reason = "posting" if path.startswith("/posting/") else path.split("/")[2]
    if sealed := call.form.get("request"):  # what the page was about travels in its form
        page = f"{page}?request={sealed}" if is_local_path(f"{page}?request={sealed}") else page
    return f"/sign-in/again?next={quote(page)}&for={reason}"


def _json(call: Call, problem: BrokerError) -> Response:
    """RFC 6749 §5.2: `error` and `error_description`; for access tokens RFC 6750 §3 and RFC 9449 §7.1."""
    status = InvalidToken.status if call.scheme and isinstance(problem, InvalidDpopProof) else problem.status
    code = problem.code
    if not isinstance(problem, ProtocolError):
        code = {400: "invalid_request", 413: "invalid_request", 429: "temporarily_unavailable"}.get(
            status, "temporarily_unavailable" if status == StoreUnavailable.status else problem.code
        )
        if status in (401, 403, 404, 409, 422):
            code = InvalidRequest.code
    response = answer_json({"error": code, "error_description": problem.public, "reference": call.reference}, status)
    if isinstance(problem, ProtocolError) and (challenge := _challenge(call, problem)):
        response.headers["WWW-Authenticate"] = challenge
    _retry_after(response, problem)
    return response


def _challenge(call: Call, problem: ProtocolError) -> str:
    """How to come instead: with a client's own proof, with an access token, or with a token and its key."""
    said = f'error="{problem.code}", error_description="{problem.public}"'
    if problem.challenge == "DPoP" or (call.scheme == "DPoP" and isinstance(problem, _ABOUT_TOKENS)):
        return f'DPoP {said}, algs="{" ".join(PROOF_ALGORITHMS)}"'
    if problem.challenge == "Bearer":
        return f"Bearer {said}"
    return f'{problem.challenge} realm="doorward"' if problem.challenge else ""


NOT_SENT_ON: Final = "not_sent_on"


def _is_sent_on(call: Call) -> bool:
    """Whether the site hears of it by the browser: a link of ours alone leads nobody to a site that no admin looked at.

    Whoever sends such links could otherwise use our address to lead people to theirs (RFC 9700 §4.11.2). In a frame the
    address that people see is the site's own already.
    """
    if call.client is None or not call.client.is_unreviewed or call.request.method != "GET":
        return True
    return call.request.headers.get("sec-fetch-dest") == "iframe"


def _redirect(call: Call, problem: ProtocolError) -> Response:
    if call.answer_to is None:
        msg = "nothing verified to redirect to"
        raise TypeError(msg)
    params = {"error": problem.code, "error_description": problem.public}
    answer = call.world.authorize.answer(call.answer_to, params)
    return send(call, answer, call.client.name if call.client else "")


def _page(call: Call, problem: BrokerError, words: str = "") -> Response:
    """`words`: the page to show instead of the problem's own."""
    world, now = call.world, call.world.clock.now()
    retry_at = now + timedelta(seconds=problem.retry_after) if isinstance(problem, TooManyAttempts) else None
    page = pages.error_page(
        words or problem.code,
        reference=call.reference,
        at=now,
        provider=_provider(call, problem),
        site=site_card(call, call.client),
        urls=_urls(call, problem),
        retry_at=retry_at,
        contact=world.settings.broker.operator_contact,
        details=_details(call, problem),
    )
    status = max(problem.status, 400)
    response = call.page(page, status)
    _retry_after(response, problem)
    return response


def _retry_after(response: Response, problem: BrokerError) -> None:
    if isinstance(problem, TooManyAttempts):
        response.headers["Retry-After"] = str(problem.retry_after)
    elif problem.status == StoreUnavailable.status:
        response.headers["Retry-After"] = str(RETRY_AFTER)


def _provider(call: Call, problem: BrokerError) -> str:
    named = _provider_id(call, problem)
    return provider_label(call, named) if named else ""


def _provider_id(call: Call, problem: BrokerError) -> ProviderId | None:
    """Which provider it is about: one of ours, or none, whatever the request calls it."""
    named = call.request.path_params.get("provider") or call.form.get("provider")
    if isinstance(problem, WayMissing):
        named = problem.provider
    if named is None and call.carried is not None:
        named = call.carried.transaction.provider
    known = ProviderId(named or "")
    return known if known in call.world.faces and not call.hides(known) else None


def _urls(call: Call, problem: BrokerError) -> dict[str, str]:
    """Where the ways out lead here: back into this very sign-in while it stands."""
    urls: dict[str, str] = {}
    if call.carried is not None:
        chooser = f"/f/{call.carried.transaction.id}/sign-in"
        urls = {
            "try_again": chooser,
            "another_way": chooser,
            "continue_to_site": f"{chooser.rpartition('/')[0]}/continue",
        }
    elif call.request.method == "GET" and is_local_path(call.path) and problem.status >= 500:
        urls["try_again"] = call.path
    if call.client is not None:
        urls["start_again"] = call.client.url
    if call.back_to:
        urls["back_to_site"] = call.back_to
    if isinstance(problem, MERGES) and (provider := _provider_id(call, problem)):
        urls["merge"] = f"/me/merge?with={quote(provider)}"
    return urls


def _details(call: Call, problem: BrokerError) -> tuple[pages.Detail, ...]:
    """For the site's own people, and only in development: what was sent and what is registered (decision 25)."""
    if not isinstance(problem, InvalidRedirectURI) or call.client is None:
        return ()
    if not call.world.settings.broker.development:
        return ()
    sent = call.request.query_params.get("redirect_uri", "")[:300]
    rows = [pages.Detail(label="Client", value=call.client.client_id), pages.Detail(label="Address sent", value=sent)]
    near = near_miss(call.client, sent)
    if near is not None:
        rows.append(pages.Detail(label="Nearest registered address", value=near))
    return tuple(rows)
