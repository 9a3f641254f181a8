"""From one step of a sign-in to the next: every step ends here, and no page links to the next one."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import Response

from broker.domain.client import Client, redirect_matches
from broker.domain.device import ANSWER_PATH
from broker.domain.grant import FORM_POST, AuthorizationRequest
from broker.domain.joining import Address
from broker.domain.transaction import Facts, SignInTransaction, Step, TransactionPurpose, next_step
from broker.errors import SignInExpired, TooManyAttempts
from broker.flows.answers import Answer, to_whom
from broker.flows.authorize import Situation
from broker.flows.transactions import Carried
from broker.web import views
from broker.web.call import Call, see_other

LARGE_PER_MINUTE = 20


def new_transaction(
    call: Call,
    purpose: TransactionPurpose = TransactionPurpose.SIGN_IN,
    *,
    request: AuthorizationRequest | None = None,
    return_to: str = "/me",
    step_up: str = "",
) -> SignInTransaction:
    """A new attempt. Link, freshen, merge and posting are bound to the session that starts them."""
    world, session = call.world, call.session
    bound = session if purpose is not TransactionPurpose.SIGN_IN else None
    now = world.clock.now()
    return SignInTransaction(
        id=world.box.new_id(),
        purpose=purpose,
        created_at=now,
        expires_at=now,
        request=request,
        return_to=return_to,
        locale=call.locale,
        account=bound.account if bound else None,
        sid=bound.sid if bound else None,
        step_up=step_up,
    )


async def hold(call: Call, transaction: SignInTransaction) -> Carried:
    """Keep a new transaction. Those too large for a cookie are limited per address (decision 4)."""
    carried = await call.world.box.hold(transaction)
    if carried.is_stored:
        now = call.world.clock.now()
        wait = await call.world.limits.hit(f"large:{call.address}", limit=LARGE_PER_MINUTE, window=60, now=now)
        if wait:
            await call.world.box.drop(carried)
            raise TooManyAttempts(wait, detail="large transactions")
    return carried


async def limit_starts(call: Call) -> None:
    """As often as one address may begin. Raises `TooManyAttempts`."""
    world = call.world
    wait = await world.limits.hit(
        f"start:{call.address}",
        limit=world.settings.broker.limits.sign_ins_per_minute,
        window=60,
        now=world.clock.now(),
    )
    if wait:
        raise TooManyAttempts(wait, detail="sign-in starts")


def with_transaction(call: Call, response: Response, carried: Carried) -> Response:
    """Let the browser carry it."""
    call.world.cookies.set_transaction(call.request, response, carried.transaction.id, carried.cookie)
    return response


def step_url(transaction: SignInTransaction, step: str) -> str:
    return f"/f/{transaction.id}/{step}"


def opened(call: Call) -> Carried:
    """The transaction the guard opened."""
    if call.carried is None:
        raise SignInExpired(detail="no transaction")
    return call.carried


async def situation_of(call: Call, transaction: SignInTransaction) -> Situation | None:
    """What the site's request looks like now; `None` when no site is waiting. Raises if the site is gone (catalogue 19)."""
    request = transaction.request
    if request is None:
        return None
    client = call.world.clients.get(request.client_id)
    if client is None or not client.enabled or not _is_known(call, client, request):
        raise SignInExpired(detail="client changed or disabled meanwhile")
    call.client = client
    call.answer_to = to_whom(request)
    return await call.world.authorize.look(client, request, call.session)


def _is_known(call: Call, client: Client, request: AuthorizationRequest) -> bool:
    """Whether the site still has the address to answer to; the answers of devices and forums come to us."""
    if request.device is not None:
        return client.device_grant
    return call.world.discourse.knows(client, request) or redirect_matches(client, request.redirect_uri)


async def facts_of(call: Call, transaction: SignInTransaction, situation: Situation | None) -> Facts:
    """What the dispatcher looks at, with or without a waiting site."""
    age_known = call.world.sign_in.knows_age(transaction)
    if situation is not None:
        return call.world.authorize.facts(situation, transaction, age_known=age_known)
    session = call.session
    signs_in = transaction.purpose is TransactionPurpose.SIGN_IN
    is_ours = signs_in and session is not None and session.sid == transaction.sid
    agreed = session is not None and await call.world.account.has_agreed(session.account)
    return Facts(
        identified=is_ours or transaction.identity is not None,
        known=is_ours,
        age_known=age_known,
        confirmed=True,  # only a site's app brings anybody
        address_settled=transaction.address is not Address.ASKED,
        preview_decided=transaction.decision is not None,
        policy_agreed=agreed,
        client_request=False,
        consented=False,
    )


async def go_on(call: Call, carried: Carried, changed: SignInTransaction | None = None) -> Response:
    """Send the browser to its next step, or to the end of this sign-in.

    `changed` is the transaction as it is now, if it is not as `carried` any more: saved only if it goes on.
    """
    transaction = changed or carried.transaction
    if transaction.merging is not None:
        return with_transaction(call, see_other(step_url(transaction, "merge")), carried)
    situation = await situation_of(call, transaction)
    if situation is not None and (error := call.world.authorize.refusal(situation, transaction)) is not None:
        await call.world.box.drop(carried)
        answer = call.world.authorize.deny(situation.request, error)
        return without_transaction(call, send(call, answer, situation.client.name), transaction)
    step = next_step(await facts_of(call, transaction, situation))
    if step is not Step.DONE:
        if changed is not None:
            carried = await call.world.box.hold(changed, carried)
        return with_transaction(call, see_other(step_url(transaction, step)), carried)
    await call.world.box.finish(carried)
    if situation is None:
        return without_transaction(call, see_other(transaction.return_to), transaction)
    answer = await call.world.authorize.issue(situation)
    return without_transaction(call, send(call, answer, situation.client.name), transaction)


def without_transaction(call: Call, response: Response, transaction: SignInTransaction) -> Response:
    """It is over: the browser keeps a word that it was."""
    call.world.cookies.set_transaction(call.request, response, transaction.id, call.world.box.over(transaction))
    return response


def send(call: Call, answer: Answer, to: str) -> Response:
    """Send the browser with the answer to the site called `to`: by its address, or as a form that it posts there.

    The form works without scripts, through its button, and may be submitted to that site's origin and nowhere else
    (OAuth 2.0 Form Post Response Mode; catalogue 111).
    """
    if answer.redirect_uri == f"{call.world.settings.broker.public_url}{ANSWER_PATH}":
        return see_other(answer.url)  # a device's: the browser stays with us
    if answer.mode != FORM_POST:
        return leave(call, answer.url, to)
    parts = urlsplit(answer.redirect_uri)
    response = call.page(views.post_back(to, answer.redirect_uri, answer.params))
    call.world.headers.posting_to(response, parts.scheme, parts.netloc)
    return response


def leave(call: Call, url: str, to: str) -> Response:
    """Send the browser away from our origin: after a POST by a page that refreshes, never by a redirect.

    Chromium applies `form-action` to the whole redirect chain of a form, so a redirect would be blocked at its end
    (decision 1).
    """
    if call.request.method == "GET":
        return see_other(url)
    return leave_by_page(call, url, to)


def leave_by_page(call: Call, url: str, to: str) -> Response:
    """The page that refreshes, also for a GET that may stand at the end of a form's redirects (decision 1)."""
    is_ours = url.startswith(f"{call.world.settings.broker.public_url}/")
    response = call.page(views.leaving(to, url, shows_host=not is_ours))
    response.headers["Refresh"] = f"0; url={url}"
    return response
