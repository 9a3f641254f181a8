"""The login dialog of the Facebook-like sandbox (protocols.md §1.3, §6.2), and the share dialogs (§1.13)."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from providers.sandbox import web
from providers.sandbox.facebook_people import Person, grouped
from providers.sandbox.facebook_state import PERMISSIONS, App, Code, Sandbox, Token
from providers.sandbox.facebook_tokens import EXPIRED_BEFORE, id_token, lifetime

LABEL = "SANDBOX - not the real Facebook"
COOKIE = "emu_persona"
_RESPONSE_TYPES = {
    frozenset(words.split())
    for words in (
        "code",
        "token",
        "code token",
        "granted_scopes",
        "code granted_scopes",
        "id_token",
        "id_token token",
    )
}
_IN_FRAGMENT = {"token", "id_token"}


def _sandbox(request: Request) -> Sandbox:
    found: Sandbox = request.app.state.sandbox
    return found


def error_page(title: str, text: str) -> Response:
    """The page that Facebook shows instead of redirecting: to an address it does not trust, from an app that is not live."""
    return web.page("message.html", status=400, label=LABEL, title=title, text=text)


async def login(request: Request) -> Response:
    """`GET /dialog/oauth`: check the app and the address, find out who it is, then ask or go back."""
    sandbox = _sandbox(request)
    params = dict(request.query_params)
    app = sandbox.apps.get(params.get("client_id", ""))
    if app is None:
        return error_page("Invalid App ID", "The provided app ID does not look like a valid app ID.")
    refused = _refuse_redirect(sandbox, app, params.get("redirect_uri", ""))
    if refused is not None:
        return refused
    if frozenset(params.get("response_type", "code").replace(",", " ").split()) not in _RESPONSE_TYPES:
        return _bare_error(params, 100, "Invalid parameter: response_type")
    unknown = scopes(params) - set(PERMISSIONS) - {"openid"}
    if unknown:
        return error_page("Invalid Scopes", f"Invalid Scopes: {', '.join(sorted(unknown))}.")
    pending = sandbox.new_pending(params)
    slug = _who(request, sandbox)
    if slug is None:
        return _chooser(pending, params)
    return _ask(request, sandbox, app, sandbox.people[slug], pending)


async def choose(request: Request) -> Response:
    """`POST /dialog/choose`: a persona was picked on the chooser page, or Cancel."""
    sandbox = _sandbox(request)
    fields = web.form(request)
    params = sandbox.pending.get(fields.get("pending", ""))
    if params is None:
        return error_page("Start again", "This page is too old. Go back to the site and start again.")
    slug = fields.get("persona", "")
    if slug not in sandbox.people:
        return _cancelled(params)
    answer = _ask(request, sandbox, sandbox.apps[params["client_id"]], sandbox.people[slug], fields["pending"])
    answer.set_cookie(COOKIE, slug, httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return answer


async def confirm(request: Request) -> Response:
    """`POST /dialog/confirm`: Continue with the ticked permissions, Cancel, or another account."""
    sandbox = _sandbox(request)
    fields = web.form(request)
    params = sandbox.pending.get(fields.get("pending", ""))
    slug = params.get("sandbox persona", "") if params else ""
    if params is None or slug not in sandbox.people:
        return error_page("Start again", "This page is too old. Go back to the site and start again.")
    if fields.get("action") == "switch":
        answer = _chooser(fields["pending"], params)
        answer.delete_cookie(COOKIE)
        return answer
    del sandbox.pending[fields["pending"]]
    if fields.get("action") != "continue":
        return _cancelled(params)
    app, person = sandbox.apps[params["client_id"]], sandbox.people[slug]
    asked = _to_ask(sandbox, app, person, params)
    granted = (set(web.form_list(request, "permission")) | {"public_profile"}) & asked
    sandbox.decide(app.id, slug, granted=granted, declined=asked - granted)
    return _finish(request, sandbox, app, person, params)


def scopes(params: dict[str, str]) -> set[str]:
    """Requested permissions, comma or space separated; public_profile always."""
    return set(params.get("scope", "").replace(",", " ").split()) | {"public_profile"}


def _refuse_redirect(sandbox: Sandbox, app: App, uri: str) -> Response | None:
    if uri not in app.redirect_uris:
        return error_page(
            "URL Blocked",
            "This redirect failed because the redirect URI is not whitelisted in the app's client OAuth settings.",
        )
    parts = urlsplit(uri)
    local = app.mode == "dev" and parts.hostname == "localhost"
    if sandbox.switches.enforce_https and parts.scheme != "https" and not local:
        return error_page(
            "Insecure Login Blocked",
            "You can't get an access token or log in to this app from an insecure page.",
        )
    return None


def _who(request: Request, sandbox: Sandbox) -> str | None:
    """Cookie first, then what the control plane preset; `persona` there overrides both. None: ask."""
    if sandbox.persona is not None:
        return sandbox.persona
    cookie = request.cookies.get(COOKIE)
    if cookie in sandbox.people:
        return cookie
    slug, sandbox.next_persona = sandbox.next_persona, None
    return slug


def _chooser(pending: str, params: dict[str, str]) -> Response:
    wanted = params.get("response_type", "code").replace(",", " ").split()
    return web.page(
        "choose.html",
        label=LABEL,
        title="Who are you today?",
        text="Choose one of these made-up people to continue.",
        action="/dialog/choose",
        pending=pending,
        groups=grouped(id_token="id_token" in wanted or "openid" in scopes(params)),
    )


def _to_ask(sandbox: Sandbox, app: App, person: Person, params: dict[str, str]) -> set[str]:
    """Permissions the page must show: not granted yet, and declined ones only on `rerequest`."""
    known = sandbox.permissions(app.id, person.slug)
    again = params.get("auth_type") == "rerequest"
    asked = scopes(params) - {"openid"}
    return {name for name in asked if known.get(name) != "granted" and (again or known.get(name) != "declined")}


def _ask(request: Request, sandbox: Sandbox, app: App, person: Person, pending: str) -> Response:
    params = sandbox.pending[pending]
    early = _fault_redirect(app, person, params)
    if early is not None:
        return early
    asked = _to_ask(sandbox, app, person, params)
    again = params.get("auth_type", "")
    without_page = sandbox.switches.auto or params.get("auto") == "1" or (person.decides and again != "rerequest")
    if again == "rerequest" and sandbox.switches.rerequest_grants:
        sandbox.decide(app.id, person.slug, granted=asked, declined=set())
    elif asked and without_page:
        sandbox.decide(app.id, person.slug, granted=asked - person.declines, declined=asked & person.declines)
    elif asked or (again == "reauthenticate" and not without_page):
        params["sandbox persona"] = person.slug
        return _consent_page(app, person, pending, asked)
    del sandbox.pending[pending]
    return _finish(request, sandbox, app, person, params)


def _consent_page(app: App, person: Person, pending: str, asked: set[str]) -> Response:
    first = person.first_name[:40]
    return web.page(
        "consent.html",
        label=LABEL,
        title=f"Continue to {app.name}?" if asked else "Please confirm that it is you",
        app_name=app.name,
        person=person,
        action="/dialog/confirm",
        pending=pending,
        yes=f"Continue as {first}",
        permissions=[
            {
                "name": name,
                "label": label,
                "fixed": name == "public_profile",
                "ticked": name not in person.declines,
            }
            for name, label in PERMISSIONS.items()
            if name in asked
        ],
    )


def _fault_redirect(app: App, person: Person, params: dict[str, str]) -> Response | None:
    has_no_role = app.mode == "dev" and person.slug not in app.roles
    if person.fault == "dev-mode" or (has_no_role and not app.is_for_business):
        return error_page(
            "App not active",
            "This app is not accessible right now, and its developer is aware of that. You will be able to log in when the "
            "app is active again.",
        )
    if person.fault in {"cancels", "dev-mode-business"} or has_no_role:
        return _cancelled(params)
    if person.fault == "bare-error":
        return _bare_error(params, 1349048, "This content isn't available right now")
    return None


def _state(params: dict[str, str]) -> list[tuple[str, str]]:
    return [("state", params["state"])] if "state" in params else []


def _cancelled(params: dict[str, str]) -> Response:
    return web.redirect(
        params["redirect_uri"],
        [
            ("error", "access_denied"),
            ("error_code", "200"),
            ("error_description", "Permissions error"),
            ("error_reason", "user_denied"),
            *_state(params),
        ],
        fragment="_=_",
    )


def _bare_error(params: dict[str, str], code: int, message: str) -> Response:
    """A dialog failure as Facebook sends it: no `error` parameter at all."""
    found = [("error_code", str(code)), ("error_message", message), *_state(params)]
    return web.redirect(params["redirect_uri"], found, fragment="_=_")


def _finish(request: Request, sandbox: Sandbox, app: App, person: Person, params: dict[str, str]) -> Response:
    """Go back with a code, or with tokens in the fragment."""
    wanted = set(params.get("response_type", "code").replace(",", " ").split())
    found: list[tuple[str, str]] = []
    if wanted & {"code", "granted_scopes"}:
        found.append(("code", sandbox.new_code(_code(sandbox, app, person, params))))
    if wanted & _IN_FRAGMENT:
        found += _tokens(request, sandbox, app, person, params, wanted)
    found += _state(params)
    if person.fault == "wrong-state":
        found = [(name, "x" + value if name == "state" else value) for name, value in found]
    if person.fault == "missing-state":
        found = [(name, value) for name, value in found if name != "state"]
    if params.get("return_scopes") == "true" or "granted_scopes" in wanted:
        found.append(("granted_scopes", ",".join(sandbox.granted(app.id, person.slug))))
        found.append(("denied_scopes", ",".join(sandbox.declined(app.id, person.slug))))
    if wanted & _IN_FRAGMENT:
        return web.redirect(params["redirect_uri"], [], fragment=urlencode(found))
    return web.redirect(params["redirect_uri"], found, fragment="_=_")


def _code(sandbox: Sandbox, app: App, person: Person, params: dict[str, str]) -> Code:
    swapped = person.fault == "swapped-code"
    return Code(
        app_id=app.id,
        slug=person.slug,
        redirect_uri="https://elsewhere.test/callback" if swapped else params["redirect_uri"],
        openid="openid" in scopes(params),
        challenge=params.get("code_challenge", ""),
        challenge_method=params.get("code_challenge_method", "plain"),
        nonce=params.get("nonce", ""),
        auth_type=params.get("auth_type", ""),
        auth_nonce=params.get("auth_nonce", ""),
        issued_at=sandbox.now(),
        used=person.fault == "replayed-code",
    )


def _tokens(
    request: Request, sandbox: Sandbox, app: App, person: Person, params: dict[str, str], wanted: set[str]
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    token = None
    if "token" in wanted:
        now = sandbox.now()
        ends = now - EXPIRED_BEFORE if person.fault == "expired" else now + lifetime(person)
        token = sandbox.new_token(Token(app_id=app.id, slug=person.slug, issued_at=now, expires_at=ends))
        found += [("access_token", token), ("expires_in", str(lifetime(person)))]
    if "id_token" in wanted:
        issuer = web.base_url(request, sandbox.base_url)
        found.append(("id_token", id_token(sandbox, issuer, app, person, params.get("nonce", ""), token)))
    return found


async def share(request: Request) -> Response:
    """`GET /dialog/share` and `/dialog/feed`: nothing is posted unless the person presses Share."""
    sandbox = _sandbox(request)
    params = dict(request.query_params)
    app = sandbox.apps.get(params.get("app_id", ""))
    address = params.get("href") or params.get("link", "")
    if app is None:
        return error_page("Invalid App ID", "The provided app ID does not look like a valid app ID.")
    if urlsplit(address).scheme not in {"http", "https"}:
        return error_page("Nothing to share", "The parameter 'href' or 'link' must be a valid URL.")
    back = params.get("redirect_uri")
    if back is not None and back not in app.redirect_uris and not _same_origin(back, app):
        return error_page("URL Blocked", "The redirect_uri URL is not in the app's domains.")
    return web.page(
        "share.html",
        label=LABEL,
        title="Share on the sandbox network",
        app_name=app.name,
        address=address,
        hashtag=params.get("hashtag", ""),
        pending=sandbox.new_pending(params),
    )


async def share_answer(request: Request) -> Response:
    """`POST /dialog/share/answer`: back with nothing (or `post_id` never), or with cancel code 4201."""
    sandbox = _sandbox(request)
    fields = web.form(request)
    params = sandbox.pending.pop(fields.get("pending", ""), None)
    if params is None:
        return error_page("Start again", "This page is too old. Go back to the site and start again.")
    shared = fields.get("action") == "share"
    back = params.get("redirect_uri")
    if back is None:
        text = "You shared it." if shared else "Nothing was shared."
        return web.page("message.html", label=LABEL, title="You can close this window", text=text)
    cancel = [("error_code", "4201"), ("error_message", "User canceled the Dialog flow")]
    return web.redirect(back, [] if shared else cancel, fragment="_=_")


def _same_origin(uri: str, app: App) -> bool:
    """Whether a share window may go back there: the origin of one of the app's listed addresses."""
    parts = urlsplit(uri)
    known = {urlsplit(one)[:2] for one in app.redirect_uris}
    return (parts.scheme, parts.netloc) in known
