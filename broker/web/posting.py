"""Posting: the opt-in page, a site's request, the preview of one post, what became of it, and the way back.

Nothing here posts. Every decision goes to the gate, and every page says what stands now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

import orjson
from starlette.responses import Response

from broker.domain.client import Client
from broker.domain.failures import POSTING
from broker.domain.posting import Posting, PostState
from broker.domain.session import needs_fresh_sign_in
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import ClientId, ProviderId
from broker.errors import BadRequest, BrokerError, InvalidRequest, PostingNotPermitted, WrongBrowser
from broker.flows.posting import KEY, Asked, Sent, is_of_site
from broker.flows.sign_in import SignInFlow
from broker.web import views
from broker.web.call import Call, answer_json, see_other
from broker.web.forms import Form, read_body
from broker.web.guards import authenticate
from broker.web.steps import hold, leave, new_transaction, with_transaction, without_transaction

if TYPE_CHECKING:
    from broker.flows.sign_in import PostingAllowed
    from broker.flows.transactions import Carried

OPT_IN = "posting-opt-in"
"""What the sealed request of an opt-in page is sealed for."""
MOST_SUBJECT = 255

# --- my account ---------------------------------------------------------------------------------------


async def settings(call: Call) -> Response:
    """Where posting is on, and the last posts."""
    return call.page(await views.posting_settings(call))


async def turn_off(call: Call) -> Response:
    """Turn it off for one site and network: at once, there too, and for everything that still waits."""
    provider, client = ProviderId(call.form.get("provider", "")), ClientId(call.form.get("client", ""))
    await call.world.posting.turn_off(call.signed_in, provider, client, locale=call.locale)
    return see_other("/me/posting?done=off")


# --- a site asks --------------------------------------------------------------------------------------


async def ask(call: Call) -> Response:
    """A site's server asks for one post: the address of the person's preview, or one refusal for every reason."""
    call.client = client = await authenticate(call, Form([]))
    asked = await _asked(call)
    try:
        posting = await call.world.posting.ask(client, asked)
    except PostingNotPermitted as refusal:
        call.world.log.event("posting_refused", client=client.client_id, provider=_known(call, asked.provider))
        return _refused(call, client, asked, refusal)
    base = call.world.settings.broker.public_url
    outcome = "needs_person" if call.world.posting.needs_person(posting.provider) else "asked"
    return answer_json({"id": posting.id, "outcome": outcome, "continue_url": f"{base}/posting/{posting.id}"}, 201)


async def _asked(call: Call) -> Asked:
    """The body: a JSON object of texts. Anything else is the site's mistake, said before anybody is looked up."""
    if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequest(detail="content type is not JSON")
    try:
        body = orjson.loads(await read_body(call.request))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(detail="body is not JSON") from error
    if not isinstance(body, dict):
        raise InvalidRequest(detail="body is not an object")
    texts = {name: body.get(name) for name in ("sub", "provider", "text", "url", "return_to")}
    if any(not isinstance(text, str) for name, text in texts.items() if name != "url"):
        raise InvalidRequest(detail="a member is missing or not a text")
    if texts["url"] is not None and not isinstance(texts["url"], str):
        raise InvalidRequest(detail="url is not a text")
    if not 0 < len(str(texts["sub"])) <= MOST_SUBJECT:
        raise InvalidRequest(detail="sub")
    return Asked(
        subject=str(texts["sub"]),
        provider=ProviderId(str(texts["provider"])),
        text=str(texts["text"]),
        url=texts["url"] or None,
        return_to=str(texts["return_to"]),
    )


def _known(call: Call, provider: ProviderId) -> str:
    return provider if provider in call.world.providers else "unknown"


def _refused(call: Call, client: Client, asked: Asked, refusal: PostingNotPermitted) -> Response:
    sealed = _seal(call, OptIn(client=client.client_id, provider=asked.provider, return_to=asked.return_to))
    base = call.world.settings.broker.public_url
    body = {
        "error": refusal.code,
        "error_description": PostingNotPermitted.public,
        "opt_in_url": f"{base}/posting/opt-in?{urlencode({'request': sealed})}",
    }
    return answer_json(body, refusal.status)


# --- opting in ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OptIn:
    """What an opt-in page is about. Travels sealed: nobody but us can make such an address."""

    client: ClientId
    provider: ProviderId
    return_to: str


def _seal(call: Call, wanted: OptIn) -> str:
    text = orjson.dumps([wanted.client, wanted.provider, wanted.return_to]).decode()
    return call.world.box.seal_text(text, OPT_IN)


def _open(call: Call, sealed: str) -> OptIn:
    text = call.world.box.open_text(sealed, OPT_IN)
    if text is None:
        raise BadRequest(detail="opt-in request is not ours")
    client, provider, return_to = orjson.loads(text)
    return OptIn(client=ClientId(client), provider=ProviderId(provider), return_to=return_to)


def _wanted(call: Call, sealed: str) -> OptIn:
    """What an opt-in page is about, and from here on the way back to the site, whatever comes of it."""
    wanted = _open(call, sealed)
    call.client = call.world.clients.get(wanted.client)
    if call.client is not None:
        call.back_to = _site_url(call.client, wanted.return_to, "not_permitted")
    return wanted


def _opt_in_path(sealed: str) -> str:
    return f"/posting/opt-in?request={sealed}"


async def opt_in(call: Call) -> Response:
    """Let this site offer posts there? On a page of its own, off, after a fresh sign-in."""
    sealed = call.request.query_params.get("request", "")
    wanted = _wanted(call, sealed)
    call.opened.append("request")
    client = await call.world.posting.check_may_opt_in(call.signed_in.account, wanted.provider, wanted.client)
    if needs_fresh_sign_in(call.signed_in, call.world.clock.now()):
        return see_other(f"/sign-in/again?next={quote(_opt_in_path(sealed))}&for=posting")
    return call.page(views.posting_opt_in(call, client, wanted.provider, sealed))


async def decide_opt_in(call: Call) -> Response:
    """Turn it on for this site, after the network's own question where it has one; or leave it off."""
    sealed = call.form.get("request", "")
    wanted = _wanted(call, sealed)
    gate = call.world.posting
    client = await gate.check_may_opt_in(call.signed_in.account, wanted.provider, wanted.client)
    match call.form.get("decision"):
        case "refuse":
            await gate.refuse(call.signed_in, wanted.provider, wanted.client, transaction="", locale=call.locale)
            return _back(call, client, wanted.return_to, "not_permitted")
        case "allow" if gate.scopes(wanted.provider):
            return await _ask_there(call, wanted, sealed)
        case "allow":
            await gate.allow(
                call.signed_in,
                wanted.provider,
                wanted.client,
                tokens=None,
                pressed_at=call.world.clock.now(),
                transaction="",
                locale=call.locale,
            )
            return _back(call, client, wanted.return_to, "allowed")
        case _:
            raise BadRequest(detail="no decision")


async def _ask_there(call: Call, wanted: OptIn, sealed: str) -> Response:
    """To the network for the one permission that posting needs."""
    transaction = new_transaction(call, TransactionPurpose.POSTING, return_to=_opt_in_path(sealed))
    carried = await hold(call, transaction)
    sign_in = await call.sign_in()
    scopes = posting_scopes(call, sign_in, wanted.provider)
    leaving = await sign_in.begin(carried, wanted.provider, scopes=scopes)
    return with_transaction(call, leave(call, leaving.url, leaving.provider.label), leaving.carried)


def posting_scopes(call: Call, sign_in: SignInFlow, provider: ProviderId) -> tuple[str, ...]:
    """What to ask there for posting: to post, for longer than an hour where the preset says how, and who it is."""
    who = sign_in.provider(provider).sign_in_scopes[:1]
    return tuple(dict.fromkeys((*who, *call.world.posting.asks(provider))))


def _wanted_by(call: Call, transaction: SignInTransaction) -> OptIn:
    """What a posting transaction was started for; it counts for that network only, whatever was chosen on the way."""
    wanted = _open(call, transaction.return_to.partition("request=")[2])
    if wanted.provider != transaction.provider:
        raise WrongBrowser(detail="posting allowed at another provider than asked for")
    return wanted


async def allowed_there(call: Call, carried: Carried, outcome: PostingAllowed) -> Response:
    """The person said yes at the network too: now, and not before, it is on."""
    transaction = outcome.transaction
    try:
        wanted = _wanted_by(call, transaction)
        await call.world.box.finish(carried)
    except BrokerError:
        if transaction.provider is not None:
            await call.world.posting.give_back(outcome.session.account, transaction.provider, outcome.tokens)
        raise
    client = call.world.clients.get(wanted.client)
    await call.world.posting.allow(
        outcome.session,
        wanted.provider,
        wanted.client,
        tokens=outcome.tokens,
        pressed_at=transaction.created_at,
        transaction=transaction.id,
        locale=call.locale,
    )
    return without_transaction(call, _back(call, client, wanted.return_to, "allowed"), transaction)


async def refused_there(call: Call, carried: Carried) -> Response:
    """The person said no at the network: posting stays off, which is recorded, and they are back where they were."""
    transaction = carried.transaction
    wanted = _wanted_by(call, transaction)
    await call.world.box.drop(carried)
    if call.session is not None and call.session.account == transaction.account:
        await call.world.posting.refuse(
            call.session, wanted.provider, wanted.client, transaction=transaction.id, locale=call.locale
        )
    client = call.world.clients.get(wanted.client)
    return without_transaction(call, _back(call, client, wanted.return_to, "not_permitted"), transaction)


# --- one post -----------------------------------------------------------------------------------------


async def preview(call: Call) -> Response:
    """Exactly what would be posted, or what became of it."""
    posting = await call.world.posting.load(call.signed_in.account, _id(call))
    return call.page(await views.posting(call, posting, back=_return_url(call, posting)))


async def decide(call: Call) -> Response:
    """Post this, or do not."""
    gate, session = call.world.posting, call.signed_in
    match call.form.get("decision"):
        case "dont":
            posting = await gate.decline(session, _id(call), locale=call.locale)
            return _back(call, call.world.clients.get(posting.client), posting.return_to, outcome_word(posting))
        case "post":
            sent = await gate.post(session, _id(call), shown=call.form.get("shown", ""), locale=call.locale)
            _log(call, sent)
        case _:
            raise BadRequest(detail="no decision")
    if sent.window is not None:
        return leave(call, sent.window, views.provider_label(call, sent.posting.provider))
    return see_other(f"/posting/{sent.posting.id}")


def _log(call: Call, sent: Sent) -> None:
    """What the network said no to, or what it said that cannot be trusted."""
    if sent.problem is not None:
        posting, problem = sent.posting, sent.problem
        facts = {"client": posting.client, "provider": posting.provider}
        call.world.log.event(POSTING, **facts, reason=problem.code, check=problem.detail)


async def returned(call: Call) -> Response:
    """The network's own window sends the person back; what they did there only they know."""
    query = call.request.query_params
    posting = await call.world.posting.returned(
        _id(call), query.get(KEY, ""), cancelled=bool(query.get("error_code") or query.get("error_message"))
    )
    return _back(call, call.world.clients.get(posting.client), posting.return_to, outcome_word(posting))


async def undo(call: Call) -> Response:
    """Delete a post there, if the network lets us; back to where the button was."""
    gone = await call.world.posting.undo(call.signed_in, _id(call))
    if gone and call.form.get("back") == "post":
        return see_other(f"/posting/{_id(call)}")
    return see_other(f"/me/posting?done={'undone' if gone else 'not_undone'}")


def _id(call: Call) -> str:
    return str(call.request.path_params["id"])


_WORDS = {
    PostState.CANCELLED: "declined",
    PostState.ASKED: "declined",
}


def outcome_word(posting: Posting) -> str:
    """What the site is told: what became of it, never why."""
    return _WORDS.get(posting.state, posting.state.value)


def _return_url(call: Call, posting: Posting) -> str:
    """Back to the site, with the outcome in a word; home if the address is not the site's any more."""
    client = call.world.clients.get(posting.client)
    return _site_url(client, posting.return_to, outcome_word(posting))


def _site_url(client: Client | None, return_to: str, outcome: str) -> str:
    if client is None:
        return "/me/posting"
    if not is_of_site(client, return_to):
        return client.url
    parts = urlsplit(return_to)
    query = "&".join(part for part in (parts.query, urlencode({"posting": outcome})) if part)
    return parts._replace(query=query).geturl()


def _back(call: Call, client: Client | None, return_to: str, outcome: str) -> Response:
    url = _site_url(client, return_to, outcome)
    return leave(call, url, client.name) if client is not None else see_other(url)
