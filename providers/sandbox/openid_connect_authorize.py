"""Authorization and sign-out pages of the OpenID Connect sandbox (Core §3.1.2, RP-Initiated Logout)."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from providers.sandbox import web
from providers.sandbox.openid_connect_faults import claims_of
from providers.sandbox.openid_connect_request import RequestError, opened
from providers.sandbox.openid_connect_state import (
    ACR_VALUES,
    OFFLINE_SCOPE,
    POSTING_SCOPE,
    RESPONSE_MODES,
    SCOPES,
    Client,
    Code,
    Sandbox,
    Session,
    grouped,
)

LABEL = "SANDBOX - not a real provider"
COOKIE = "sandbox_oidc"


def _sandbox(request: Request) -> Sandbox:
    found: Sandbox = request.app.state.sandbox
    return found


def error_page(text: str) -> Response:
    """Shown instead of redirecting to an address that is not registered."""
    return web.page("message.html", status=400, label=LABEL, title="This request can't be answered", text=text)


async def authorize(request: Request) -> Response:
    """`GET|POST /authorize`: check, then answer from the session, ask who it is, or ask for posting."""
    sandbox = _sandbox(request)
    params = {**request.query_params, **web.form(request)}
    client = sandbox.clients.get(params.get("client_id", ""))
    if client is None:
        return error_page("The client is not known here.")
    try:
        params = await opened(sandbox, web.base_url(request, sandbox.fixed_issuer), client, params)
    except RequestError as error:
        if params.get("redirect_uri") in client.redirect_uris:
            return answer(request, params, [("error", str(error))])
        return error_page(f"The request cannot be read: {error}.")
    web.note(request, object_signed_with=params.get("signed_with"), object_says=sorted(params))
    if params.get("redirect_uri") not in client.redirect_uris:
        return error_page("The redirect address is not registered for this client.")
    if sandbox.faults.has("response-error"):
        return answer(request, params, [("error", "temporarily_unavailable")])
    problem = _problem(sandbox, client, params)
    if problem is not None:
        return answer(request, params, [("error", problem[0]), ("error_description", problem[1])])
    return _go_on(request, sandbox, client, params)


def _problem(sandbox: Sandbox, client: Client, params: dict[str, str]) -> tuple[str, str] | None:
    scopes = set(params.get("scope", "").split())
    prompts = set(params.get("prompt", "").split())
    if params.get("response_type") != "code":
        return "unsupported_response_type", "Only code is offered."
    if params.get("response_mode", "query") not in RESPONSE_MODES:
        return "invalid_request", "Answers come by query or form_post."
    if not scopes & {"openid", POSTING_SCOPE} or scopes - set(SCOPES):
        return "invalid_scope", "Ask for openid, profile, email, address, phone, offline_access or write:statuses."
    if params.get("code_challenge_method", "S256") != "S256" or len(params.get("code_challenge", "x" * 43)) != 43:
        return "invalid_request", "PKCE is offered with S256 only."
    if "code_challenge" not in params and (sandbox.require_pkce or client.secret is None):
        return "invalid_request", "PKCE is required."
    if "none" in prompts and len(prompts) > 1:
        return "invalid_request", "prompt=none stands alone."
    return None


def _go_on(request: Request, sandbox: Sandbox, client: Client, params: dict[str, str]) -> Response:
    """Answer at once when somebody is signed in and nothing needs a page."""
    preset = sandbox.persona or sandbox.next_persona
    if preset is not None:
        sandbox.next_persona = None
        session = Session(slug=preset, auth_time=int(sandbox.now()), posting={client.id})
        return _with_code(request, sandbox, params, session)
    session_found = sandbox.sessions.get(request.cookies.get(COOKIE, ""))
    prompts = set(params.get("prompt", "").split())
    fresh_enough = session_found is not None and (
        "max_age" not in params or sandbox.now() - session_found.auth_time <= float(_number(params["max_age"]))
    )
    if session_found is None or not fresh_enough or prompts & {"login", "select_account"}:
        if "none" in prompts:
            return answer(request, params, [("error", "login_required")])
        return _chooser(sandbox, client, params)
    if _posting_unasked(session_found, client, params) or "consent" in prompts:
        if "none" in prompts:
            return answer(request, params, [("error", "consent_required")])
        return _posting_page(sandbox, client, params, session_found)
    return _with_code(request, sandbox, params, session_found)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _posting_unasked(session: Session, client: Client, params: dict[str, str]) -> bool:
    return POSTING_SCOPE in params.get("scope", "").split() and client.id not in session.posting


def _chooser(sandbox: Sandbox, client: Client, params: dict[str, str]) -> Response:
    return web.page(
        "choose.html",
        label=LABEL,
        title=f"Sign in to {client.name} as …",
        text="Choose one of these made-up people to sign in.",
        action="/sign-in",
        pending=sandbox.new_pending(params),
        groups=grouped(),
    )


def _posting_page(sandbox: Sandbox, client: Client, params: dict[str, str], session: Session) -> Response:
    posting = POSTING_SCOPE in params.get("scope", "").split()
    return web.page(
        "consent.html",
        label=LABEL,
        title=f"Allow {client.name} to post for you?" if posting else f"Continue to {client.name}?",
        app_name=client.name,
        person=sandbox.people[session.slug],
        action="/allow",
        pending=sandbox.new_pending(params),
        yes="Allow posting" if posting else "Continue",
        permissions=[{"name": POSTING_SCOPE, "label": "May post statuses in your name", "fixed": True, "ticked": True}]
        if posting
        else [],
    )


async def sign_in(request: Request) -> Response:
    """`POST /sign-in`: a persona was picked, or Cancel (`access_denied`)."""
    sandbox = _sandbox(request)
    fields = web.form(request)
    params = sandbox.pending.pop(fields.get("pending", ""), None)
    if params is None:
        return error_page("This page is too old. Go back to the site and start again.")
    slug = fields.get("persona", "")
    if slug not in sandbox.people:
        return answer(request, params, [("error", "access_denied"), ("error_description", "The person cancelled.")])
    client = sandbox.clients[params["client_id"]]
    session = Session(slug=slug, auth_time=int(sandbox.now()))
    name = secrets.token_urlsafe(16)
    sandbox.sessions.pop(request.cookies.get(COOKIE, ""), None)
    sandbox.sessions[name] = session
    if _posting_unasked(session, client, params):
        response = _posting_page(sandbox, client, params, session)
    else:
        response = _with_code(request, sandbox, params, session)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, name, httponly=True, samesite="lax", secure=secure)
    return response


async def allow(request: Request) -> Response:
    """`POST /allow`: posting (or a consent prompt) was allowed or cancelled, or another account wanted."""
    sandbox = _sandbox(request)
    fields = web.form(request)
    params = sandbox.pending.pop(fields.get("pending", ""), None)
    session = sandbox.sessions.get(request.cookies.get(COOKIE, ""))
    if params is None or session is None:
        return error_page("This page is too old. Go back to the site and start again.")
    client = sandbox.clients[params["client_id"]]
    if fields.get("action") == "switch":
        return _chooser(sandbox, client, params)
    if fields.get("action") != "continue":
        return answer(request, params, [("error", "access_denied"), ("error_description", "The person cancelled.")])
    if POSTING_SCOPE in params.get("scope", "").split():
        session.posting.add(client.id)
    return _with_code(request, sandbox, params, session)


def _with_code(request: Request, sandbox: Sandbox, params: dict[str, str], session: Session) -> Response:
    code = Code(
        client_id=params["client_id"],
        slug=session.slug,
        redirect_uri=params["redirect_uri"],
        scopes=set(params["scope"].split()),
        challenge=params.get("code_challenge", ""),
        nonce=params.get("nonce", ""),
        auth_time=session.auth_time,
        show_auth_time="max_age" in params or "login" in params.get("prompt", ""),
        acr=next((acr for acr in params.get("acr_values", "").split() if acr in ACR_VALUES), ""),
        issued_at=sandbox.now(),
        offline=OFFLINE_SCOPE in params["scope"].split() and "consent" in params.get("prompt", "").split(),
    )
    return answer(request, params, [("code", sandbox.new_code(code))])


def answer(request: Request, params: dict[str, str], found: list[tuple[str, str]]) -> Response:
    """Back to the client with `state` and `iss` (RFC 9207), spoiled when a response fault is on."""
    sandbox = _sandbox(request)
    issuer = web.base_url(request, sandbox.fixed_issuer)
    state = [("state", params["state"])] if "state" in params else []
    if sandbox.faults.has("response-state-missing"):
        state = []
    if sandbox.faults.has("response-state-wrong"):
        state = [("state", "another-state")]
    source = [("iss", "https://evil.test" if sandbox.faults.has("response-iss-wrong") else issuer)]
    if sandbox.faults.has("response-iss-missing"):
        source = []
    if params.get("response_mode") == "form_post":
        return web.post_back(params["redirect_uri"], [*found, *state, *source], label=LABEL)
    return web.redirect(params["redirect_uri"], [*found, *state, *source])


async def end_session(request: Request) -> Response:
    """`GET|POST /end-session`: ends the browser's session; goes back only to a registered address."""
    sandbox = _sandbox(request)
    params = {**request.query_params, **web.form(request)}
    audience = params.get("client_id") or claims_of(params.get("id_token_hint", "")).get("aud")
    client = sandbox.clients.get(audience) if isinstance(audience, str) else None
    target = params.get("post_logout_redirect_uri")
    sandbox.sessions.pop(request.cookies.get(COOKIE, ""), None)
    response: Response
    if client is not None and target in client.post_logout_redirect_uris and target is not None:
        state = [("state", params["state"])] if "state" in params else []
        if sandbox.faults.has("logout-state-wrong"):
            state = [("state", "another-state")]
        if sandbox.faults.has("logout-state-missing"):
            state = []
        response = web.redirect(target, state)
    else:
        response = web.page("message.html", label=LABEL, title="Signed out", text="You are signed out of the sandbox.")
    response.delete_cookie(COOKIE)
    return response


async def home(request: Request) -> Response:
    """Who is signed in here, and the way to what was posted."""
    sandbox = _sandbox(request)
    session = sandbox.sessions.get(request.cookies.get(COOKIE, ""))
    person = sandbox.people[session.slug] if session else None
    links = [("/social", "See what was posted on Sandbox Social")]
    links += [(f"/people/{one.slug}", f"The OpenID 2.0 address of {one.name}") for one in grouped()[0][1]]
    response = web.page("home.html", label=LABEL, title="Sandbox OpenID provider", person=person, links=links)
    response.headers["X-XRDS-Location"] = f"{web.base_url(request, sandbox.fixed_issuer)}/xrds"
    return response


async def sign_out(request: Request) -> Response:
    """`POST /sandbox/sign-out`."""
    _sandbox(request).sessions.pop(request.cookies.get(COOKIE, ""), None)
    response = RedirectResponse("/", status_code=303)
    response.delete_cookie(COOKIE)
    return response
