"""Who may come in: one guard per route, named in the table. A guard fills in the call or raises; it decides nothing else."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import unquote_plus

from broker.domain.checks.client import read_proof
from broker.domain.checks.token import read_params
from broker.domain.client import Client
from broker.domain.session import needs_fresh_sign_in
from broker.domain.values import ClientId
from broker.errors import (
    CookiesOff,
    Forbidden,
    FreshSignInRequired,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    NotFound,
    SignInElsewhere,
    SignInExpired,
    SignInFinished,
    SignInRequired,
)
from broker.flows.transactions import Carried
from broker.web.call import Call
from broker.web.forms import FORM, Form, parse_pairs, read_body, read_form


class Guard(StrEnum):
    """`public` and `protocol` let everybody in; what a `protocol` route needs it checks by its RFC, in its handler."""

    PUBLIC = "public"
    BROWSER = "browser"
    TRANSACTION = "transaction"
    SIGNED_IN = "signed_in"
    FRESH = "fresh"
    CLIENT = "client"
    BEARER = "bearer"
    PROTOCOL = "protocol"
    PROXY = "proxy"


SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


async def _public(_call: Call) -> None:
    return


async def _proxy(call: Call) -> None:
    """Only what the outermost layer let through as asked by a trusted proxy, under another name than ours."""
    if not call.request.scope.get("doorward.gate"):
        raise NotFound(detail="not asked by a trusted proxy")


async def _browser(call: Call) -> None:
    """Load the session if there is one; a POST must come from a form of ours."""
    secret = call.world.cookies.session_secret(call.request)
    if secret is not None:
        call.session = await call.world.sessions.load(secret)
    if call.request.method not in SAFE_METHODS:
        await _form_of_ours(call)


async def _form_of_ours(call: Call) -> None:
    """Three locks against forged forms: the browser's own word, the origin, and a token in the form (catalogue 97)."""
    headers = call.request.headers
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Forbidden(detail="sec-fetch-site")
    origin = headers.get("origin")
    if origin is not None and origin != call.world.settings.broker.public_url:
        raise Forbidden(detail="origin")
    call.form = await read_form(call.request)
    if not call.world.cookies.is_form_token(call.form.get("csrf", ""), call.binding):
        if "cookie" not in headers:
            raise CookiesOff(detail="form without any cookie")
        raise Forbidden(detail="form token")


async def _transaction(call: Call) -> None:
    """The page belongs to a sign-in that this very browser carries (catalogue 98)."""
    cookie = call.world.cookies.transaction(call.request, call.transaction_id)
    if cookie is None:
        raise _not_carried(call)
    await _browser(call)
    call.carried = await open_transaction(call, call.transaction_id, cookie)
    call.locale = call.world.renderer.choose_locale(call.request, begun_in=call.carried.transaction.locale)


JUST_BEGUN: Final = timedelta(minutes=2)
"""A browser that was sent to a page this young and brought nothing back keeps no cookies of ours."""


def _not_carried(call: Call) -> CookiesOff | SignInElsewhere:
    """Why this browser has no part in the sign-in, as far as anybody can know."""
    born, now = call.world.box.born(call.transaction_id), call.world.clock.now()
    if call.world.cookies.has_any(call.request) or born is None or now - born > JUST_BEGUN:
        return SignInElsewhere(detail="no cookie for this transaction")
    return CookiesOff(detail="transaction page without any cookie")


async def open_transaction(call: Call, transaction_id: str, cookie: str) -> Carried:
    """The transaction behind a cookie. Whatever goes wrong from here on, the page leads back to the site that waits."""
    client: ClientId | None = None
    try:
        carried = await call.world.box.open(transaction_id, cookie)
        client = carried.transaction.request.client_id if carried.transaction.request else None
    except (SignInExpired, SignInFinished):
        client = call.world.box.site_of(transaction_id, cookie)
        raise
    finally:
        call.client = await call.world.clients.look(client) if client is not None else None
    return carried


async def _signed_in(call: Call) -> None:
    secret = call.world.cookies.session_secret(call.request)
    call.session = await call.world.sessions.load(secret) if secret is not None else None
    if call.session is None:
        raise SignInRequired
    if call.request.method not in SAFE_METHODS:
        await _form_of_ours(call)


async def _fresh(call: Call) -> None:
    await _signed_in(call)
    if needs_fresh_sign_in(call.signed_in, call.world.clock.now()):
        raise FreshSignInRequired


async def _client(call: Call) -> None:
    """Client authentication at an endpoint for servers (RFC 6749 §2.3.1): one way, the registered one, never in a query."""
    call.form = await read_protocol_form(call)
    call.client = await authenticate(call, call.form)


async def bearer(call: Call) -> None:
    """Only that there is exactly one well-formed access token; what it is worth the flow says (RFC 6750 §2, RFC 9449 §7)."""
    call.scheme = "Bearer"
    values = call.request.headers.getlist("authorization")
    if call.request.scope["query_string"] and "access_token" in call.request.query_params:
        raise InvalidRequest(detail="access token in the query")
    if call.request.method == "POST" and call.request.headers.get("content-type", "").startswith(FORM):
        call.form = Form(parse_pairs(await read_body(call.request)))
        posted = call.form.all("access_token")
        if posted and (values or len(posted) > 1):
            raise InvalidRequest(detail="more than one access token")
        if posted:
            call.request.scope["doorward.token"] = posted[0]
            return
    if len(values) > 1:
        raise InvalidRequest(detail="more than one authorization header")
    scheme, _, token = values[0].partition(" ") if values else ("", "", "")
    if scheme.lower() == "dpop":
        call.scheme = "DPoP"
    elif scheme.lower() != "bearer":
        token = ""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidToken(detail="no bearer token")
    call.request.scope["doorward.token"] = token


GUARDS: Final[dict[Guard, Callable[[Call], Awaitable[None]]]] = {
    Guard.PUBLIC: _public,
    Guard.BROWSER: _browser,
    Guard.TRANSACTION: _transaction,
    Guard.SIGNED_IN: _signed_in,
    Guard.FRESH: _fresh,
    Guard.CLIENT: _client,
    Guard.BEARER: bearer,
    Guard.PROTOCOL: _public,
    Guard.PROXY: _proxy,
}


async def read_protocol_form(call: Call) -> Form:
    """A protocol endpoint's form: each parameter once (RFC 6749 §3.2)."""
    kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise InvalidRequest(detail="content type is not a form")
    pairs = parse_pairs(await read_body(call.request))
    return Form(list(read_params(pairs).items()))


async def authenticate(call: Call, form: Form) -> Client:
    """The client this request proves to be from. Raises `InvalidClient`, `InvalidRequest`, `TooManyAttempts`."""
    headers = call.request.headers.getlist("authorization")
    if len(headers) > 1:
        raise InvalidRequest(detail="more than one client authentication")
    proof = read_proof(_basic(headers[0]) if headers else None, form)
    # For the log, too: which of our sites was tried; nothing else reads it after an error.
    call.client = await call.world.clients.look(proof.client_id, visitor=call.address)
    return await call.world.client_auth.authenticate(proof, path=call.path, address=call.address)


def _basic(header: str) -> tuple[str, str]:
    """Id and secret, form-decoded as RFC 6749 §2.3.1 wants it."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient(detail="authorization scheme is not Basic")
    try:
        client_id, colon, secret = base64.b64decode(text.strip(), validate=True).decode("ascii").partition(":")
    except (ValueError, UnicodeError) as error:
        raise InvalidClient(detail="authorization header unreadable") from error
    if not colon:
        raise InvalidClient(detail="authorization header without a secret")
    return unquote_plus(client_id), unquote_plus(secret)
