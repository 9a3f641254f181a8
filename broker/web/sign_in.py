"""Choosing a provider, leaving for it, and coming back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from broker.domain.failures import ADDRESS
from broker.domain.opening import place_of
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import ProviderId
from broker.errors import (
    BadRequest,
    BrokerError,
    CookiesOff,
    FormInvalid,
    ProviderOff,
    SignInCancelled,
    SignInFinished,
    UnknownIssuer,
    UnknownPlace,
    WrongBrowser,
)
from broker.flows.passkey import ANSWER as PASSKEY_ANSWER
from broker.flows.sign_in import AgeUnknown, Linked, NewPerson, OtherShown, PostingAllowed, SignedIn
from broker.flows.transactions import Carried
from broker.web import views
from broker.web.again import MAX_TYPED, ask_with_box, refused_box, shown_again
from broker.web.call import Call, see_other
from broker.web.forms import is_local_path, parse_pairs
from broker.web.guards import open_transaction
from broker.web.posted import as_get, query_of
from broker.web.posting import allowed_there, posting_scopes, refused_there
from broker.web.steps import (
    go_on,
    hold,
    leave,
    limit_starts,
    new_transaction,
    opened,
    send,
    situation_of,
    step_url,
    with_transaction,
    without_transaction,
)
from broker.web.trial import came_back

_SENT_HERE: Final = "sent here"
_STARTED_ELSEWHERE: Final = frozenset({TransactionPurpose.LINK, TransactionPurpose.POSTING, TransactionPurpose.TRIAL})
"""Their provider was chosen on a page of their own: there is no other to choose here."""


async def start(call: Call) -> Response:
    """Somebody comes to us directly, without a site: sign in, then My Account."""
    wanted = call.request.query_params.get("next", "/me")
    target = wanted if is_local_path(wanted) else "/me"
    if call.session is not None:
        return see_other(target)
    carried = await hold(call, new_transaction(call, return_to=target))
    return with_transaction(call, see_other(step_url(carried.transaction, "sign-in")), carried)


async def sent_here(call: Call) -> Response:
    """A provider, or whoever made the link, sends somebody here to sign in with it (OpenID Connect Core §4).

    Nothing happens until the person chooses: a link that signed them in could sign them in as somebody else. `iss` names one
    of our providers and `target_link_uri` a page of ours or of a site of ours; else there is a page that says so.
    """
    pairs = parse_pairs(query_of(call, _SENT_HERE))
    params = dict(pairs)
    if len(params) != len(pairs):
        raise BadRequest(detail="parameter repeated")
    provider = await _of_issuer(call, params.get("iss", ""))
    hint = params.get("login_hint", "")
    transaction = replace(
        new_transaction(call, return_to=_place_for(call, params.get("target_link_uri", ""))),
        hinted=provider,
        login_hint=hint if 0 < len(hint) <= MAX_TYPED and hint.isprintable() else None,
    )
    carried = await hold(call, transaction)
    return with_transaction(call, see_other(step_url(transaction, "sign-in")), carried)


async def sent_here_post(call: Call) -> Response:
    """The same as a form, which comes without our cookies."""
    return await as_get(call, _SENT_HERE, query=call.request.url.query)


async def _of_issuer(call: Call, issuer: str) -> ProviderId:
    """The provider that bears this name, if who asks may use it. Raises `UnknownIssuer`."""
    for provider in (await call.sign_in()).providers:
        if issuer and call.world.faces[provider].issuer == issuer:
            return provider
    raise UnknownIssuer(detail="no provider of that issuer")


def _place_for(call: Call, target: str) -> str:
    """The path of ours that leads to `target`; nothing: to My account. Raises `UnknownPlace`."""
    if not target:
        return "/me"
    own = call.world.settings.broker.public_url
    if target == own or target.startswith(f"{own}/"):
        path = target.removeprefix(own) or "/"
        if not is_local_path(path):
            raise UnknownPlace(detail="no path of ours")
        return path
    place = place_of(target, call.world.clients.values())
    if place is None or not is_local_path(place.path):
        raise UnknownPlace(detail="of no site of ours")
    return "/me/sites/open?" + urlencode({"site": place.client.client_id, "to": place.path})


async def chooser(call: Call) -> Response:
    """Every way to sign in, and what each one tells us."""
    carried = opened(call)
    if carried.transaction.purpose in _STARTED_ELSEWHERE:
        return see_other(carried.transaction.return_to)
    situation = await situation_of(call, carried.transaction)
    _, problems = shown_again(call)
    page = await views.chooser(
        call,
        carried.transaction,
        situation,
        box=refused_box(call),
        passkey_problem=(problems or {}).get(PASSKEY_ANSWER, ""),
    )
    return call.page(page)


async def choose(call: Call) -> Response:
    """Leave for the chosen provider, or go on as who is signed in already."""
    carried = opened(call)
    world, transaction = call.world, carried.transaction
    if transaction.purpose in _STARTED_ELSEWHERE:  # begun anew it would outlive the fresh sign-in it began with
        return see_other(transaction.return_to)
    if call.form.get("use") == "current" and call.session is not None and transaction.joining is None:
        chosen = replace(transaction, sid=call.session.sid, brought=None, identity=None, tokens=None, decision=None)
        return await go_on(call, carried, chosen)
    if call.form.get("use") == "another":
        situation = await situation_of(call, transaction)
        return call.page(await views.chooser(call, transaction, situation, offers_current=False))
    if call.form.get("use") == "forget":
        response = see_other(step_url(transaction, "sign-in"))
        world.cookies.clear_last_provider(response)
        return response
    provider = call.form.get("provider")
    if not provider:
        raise BadRequest(detail="no provider chosen")
    known_browser = call.session is not None or world.cookies.looks_known(call.request)
    if world.sign_in.asks_age(transaction, known_browser=known_browser):
        (await call.sign_in()).provider(ProviderId(provider))
        remember = bool(call.form.get("remember_provider"))
        chosen = replace(
            transaction,
            provider=ProviderId(provider),
            remember_provider=remember,
            typed=typed_address(call),
            brought=None,  # another way was chosen
        )
        held = await world.box.hold(chosen, carried)
        return with_transaction(call, see_other(step_url(chosen, "age")), held)
    return await depart_within_limit(call, carried, ProviderId(provider))


async def depart_within_limit(call: Call, carried: Carried, provider: ProviderId) -> Response:
    """To the provider, as often as one address may begin; back to the chooser if what was typed leads nowhere."""
    await limit_starts(call)
    try:
        return await depart(call, carried, provider, ask_again=False)
    except FormInvalid as problem:
        note_failure(call, provider, problem, event=ADDRESS)
        typed = typed_address(call)
        typed = (typed if typed is not None else carried.transaction.typed) or ""
        back = ask_with_box(call, step_url(carried.transaction, "sign-in"), provider, typed, problem)
        return with_transaction(call, back, carried)


def typed_address(call: Call) -> str | None:
    """What was typed into the box for an address, cut to what a cookie holds; longer ones are none anyway."""
    typed = call.form.get("identifier")
    return typed[:MAX_TYPED] if typed is not None else None


def note_failure(call: Call, provider: ProviderId, error: BrokerError, *, event: str = "sign_in_failed") -> None:
    """For the operator: at which provider, and which check. Never who. `event`: what the log calls it."""
    call.world.metrics.sign_in(provider, "start", error.code)
    call.world.log.event(event, provider=provider, reason=error.code, check=error.detail)


async def depart(call: Call, carried: Carried, provider: ProviderId, *, ask_again: bool) -> Response:
    """To the provider, with the transaction in the browser's hands."""
    world, sign_in = call.world, await call.sign_in()
    request = carried.transaction.request
    leaving = await sign_in.begin(
        carried,
        provider,
        ask_again=ask_again,
        scopes=posting_scopes(call, sign_in, provider)
        if carried.transaction.purpose is TransactionPurpose.POSTING
        else None,
        login_hint=request.login_hint if request else _hint_for(carried.transaction, provider),
        typed=typed_address(call),
    )
    world.metrics.sign_in(provider, "start", "ok")
    response = leave(call, leaving.url, leaving.provider.label)
    if call.form.get("remember_provider") or carried.transaction.remember_provider:
        world.cookies.set_last_provider(response, leaving.provider.id)
    return with_transaction(call, response, leaving.carried)


def _hint_for(transaction: SignInTransaction, provider: ProviderId) -> str | None:
    return transaction.login_hint if transaction.hinted == provider else None


async def callback(call: Call) -> Response:
    """The provider sends the browser back (one address per provider, and per server where people name one)."""
    world, provider = call.world, ProviderId(call.request.path_params["provider"])
    place = call.request.path_params.get("server", "")
    pairs = parse_pairs(query_of(call, _answer_of(provider)))
    params = dict(pairs)
    if len(params) != len(pairs):
        raise BadRequest(detail="parameter repeated in callback")
    sign_in = await call.sign_in()
    await _check_there(call, provider, params.get("state", ""))
    carried = await _carried_back(call, params.get("state", ""))
    call.carried = carried
    transaction = carried.transaction
    if transaction.purpose is TransactionPurpose.TRIAL:
        return await came_back(call, carried, provider, params, place=place)
    scopes = posting_scopes(call, sign_in, provider) if transaction.purpose is TransactionPurpose.POSTING else None
    try:
        outcome = await sign_in.complete(
            carried, provider, params, session=call.session, user_agent=call.user_agent, scopes=scopes, place=place
        )
    except SignInFinished:
        # The same answer again: the back button, a reload, a second click. Whatever it led to stands (catalogue 34, 177).
        return see_other(step_url(transaction, "continue"))
    except BrokerError as error:
        world.metrics.sign_in(provider, "callback", error.code)
        world.log.event("sign_in_failed", provider=provider, reason=error.code, check=error.detail)
        if transaction.purpose is TransactionPurpose.POSTING and isinstance(error, SignInCancelled):
            return await refused_there(call, carried)
        raise
    world.metrics.sign_in(provider, "callback", type(outcome).__name__)
    match outcome:
        case SignedIn() | OtherShown():
            return await signed_in(call, carried, outcome)
        case NewPerson():
            return await go_on(call, outcome.carried)
        case AgeUnknown():
            return with_transaction(call, see_other(step_url(transaction, "age")), outcome.carried)
        case Linked():
            await world.box.drop(carried)
            return without_transaction(call, see_other("/me/ways?done=added"), transaction)
        case PostingAllowed():
            return await allowed_there(call, carried, outcome)


async def callback_post(call: Call) -> Response:
    """A provider that answers with a form, as if it had sent the browser itself (OAuth 2.0 Form Post Response Mode).

    OpenID 2.0 does so with long answers, to an address that has our state in its query (OpenID 2.0 §5.2.2).
    """
    provider = ProviderId(call.request.path_params["provider"])
    if not call.world.circles.circles:  # else all are answered alike: who may use which, the GET alone can tell
        call.world.trials.provider(provider)
    return await as_get(call, _answer_of(provider), query=call.request.url.query)


def _answer_of(provider: ProviderId) -> str:
    """What is sealed for one provider's address opens at no other's."""
    return f"answer of {provider}"


async def signed_in(call: Call, carried: Carried, outcome: SignedIn | OtherShown) -> Response:
    """Give the browser its session and go on; or on to the page that shows two accounts of one person."""
    if isinstance(outcome, OtherShown):
        return await go_on(call, outcome.carried)
    call.session = outcome.started.session
    if outcome.is_renewed:
        await call.world.box.drop(carried)
        response = without_transaction(call, see_other(outcome.transaction.return_to), outcome.transaction)
    else:
        response = await go_on(call, carried, outcome.transaction)
    call.world.cookies.set_session(response, outcome.started.secret)
    if call.world.states is not None:
        call.world.cookies.set_state(response, call.world.states.of(outcome.started.session.sid))
    return response


async def _check_there(call: Call, provider: ProviderId, state: str) -> None:
    """Raises `ProviderOff` for one that is not there for this browser; one that is hidden from it is, while it tries it."""
    call.world.trials.provider(provider)
    if call.hides(provider) and not await _tries(call, state.partition(".")[0]):
        raise ProviderOff(detail="provider unknown or off")


async def _tries(call: Call, transaction_id: str) -> bool:
    """Whether this browser carries a trial of that name. Nothing of it is left in `call`: the answer is as if nobody had looked."""
    cookie = call.world.cookies.transaction(call.request, transaction_id)
    if cookie is None:
        return False
    try:
        carried = await call.world.box.open(transaction_id, cookie)
    except BrokerError:
        return False
    return carried.transaction.purpose is TransactionPurpose.TRIAL


async def _carried_back(call: Call, state: str) -> Carried:
    """The transaction this state belongs to, if this browser carries it."""
    transaction_id = state.partition(".")[0]
    if not transaction_id:
        raise WrongBrowser(detail="callback without state")
    if not transaction_id.replace("-", "").replace("_", "").isalnum() or len(transaction_id) > 64:
        raise WrongBrowser(detail="state is not ours")
    cookie = call.world.cookies.transaction(call.request, transaction_id)
    if cookie is None:
        if not call.world.cookies.has_any(call.request):
            raise CookiesOff(detail="callback without any cookie")
        raise WrongBrowser(detail="no cookie for this state")
    return await open_transaction(call, transaction_id, cookie)


async def go(call: Call) -> Response:
    """Wherever this sign-in stands, its next step."""
    return await go_on(call, opened(call))


async def cancel(call: Call) -> Response:
    """Give up: nothing is kept, and a waiting site hears `access_denied` with its own state (catalogue 56)."""
    carried = opened(call)
    transaction = carried.transaction
    situation = await situation_of(call, transaction)
    await call.world.box.drop(carried)
    if transaction.provider is not None:
        await call.world.circles.every.drop_upstream(transaction.provider, transaction.tokens)
    if situation is None:
        return without_transaction(call, see_other("/" if call.session is None else transaction.return_to), transaction)
    answer = call.world.authorize.deny(situation.request)
    return without_transaction(call, send(call, answer, situation.client.name), transaction)


async def step_up(call: Call) -> Response:
    """Sign in again before something sensitive; afterwards back to where it was asked."""
    wanted = call.request.query_params.get("next", "/me")
    reason = call.request.query_params.get("for", "")[:40]
    transaction = new_transaction(
        call,
        TransactionPurpose.FRESHEN,
        return_to=wanted if is_local_path(wanted) else "/me",
        step_up=reason,
    )
    carried = await hold(call, transaction)
    return with_transaction(call, see_other(step_url(transaction, "sign-in")), carried)
