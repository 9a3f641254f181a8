"""Graph of the Facebook-like sandbox (protocols.md §1.5-§1.9, §6.4): one dispatcher over path segments."""

from __future__ import annotations

import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from providers.sandbox import web
from providers.sandbox.avatar import clamp_side
from providers.sandbox.facebook_errors import TOKEN_MESSAGES, GraphError, invalid_token
from providers.sandbox.facebook_people import Person
from providers.sandbox.facebook_state import DATA_ACCESS_LIFETIME, FOREIGN_APP, LATEST, App, Sandbox, Token
from providers.sandbox.facebook_token import access_token, access_token_info

_VERSION = re.compile(r"v(\d{1,4})\.(\d{1,4})")
_NEEDS = {  # field → permission; a field that is missing here needs public_profile only
    "email": "email",
    "birthday": "user_birthday",
    "age_range": "user_age_range",
    "gender": "user_gender",
    "link": "user_link",
    "location": "user_location",
    "hometown": "user_hometown",
}
_PROFILE = {"name", "first_name", "last_name", "middle_name", "name_format", "short_name"}
_DEAD = {"username", "verified", "bio", "timezone", "locale", "updated_time"}  # answered by omission
_NO_USER = "An active access token must be used to query information about the current user."
_SIZES = {"small": 50, "normal": 100, "album": 50, "large": 200, "square": 50}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a Graph call speaks for: a user token, or an app token (then `token` is None)."""

    app: App | None
    token: Token | None
    text: str


async def graph(request: Request) -> Response:
    """Every path that is not a page: strip the version, find the edge, add Graph's headers."""
    sandbox: Sandbox = request.app.state.sandbox
    version, parts = _split(request.path_params["path"])
    try:
        if version is not None and version > LATEST:
            raise GraphError(2500, "Unknown path components: /" + "/".join(parts))
        response = await _dispatch(request, sandbox, parts)
    except GraphError as error:
        web.note(request, graph_error=error.code, graph_subcode=error.subcode)
        response = error.response()
    shown = version or LATEST
    response.headers["facebook-api-version"] = f"v{shown[0]}.{shown[1]}"
    response.headers.setdefault("x-fb-trace-id", secrets.token_urlsafe(9))
    response.headers.setdefault("x-app-usage", _usage(sandbox))
    if isinstance(response, JSONResponse):
        response.headers["content-type"] = "application/json; charset=UTF-8"
    return response


def _split(path: str) -> tuple[tuple[int, int] | None, list[str]]:
    parts = [part for part in path.split("/") if part]
    found = _VERSION.fullmatch(parts[0]) if parts else None
    if found is None:
        return None, parts
    return (int(found[1]), int(found[2])), parts[1:]


async def _dispatch(request: Request, sandbox: Sandbox, parts: list[str]) -> Response:
    method = request.method
    if method == "POST" and _params(request).get("method", "").lower() == "delete":
        method = "DELETE"
    match parts:
        case ["oauth", "access_token"]:
            return await access_token(request, sandbox)
        case ["oauth", "access_token_info"]:
            return await access_token_info(request, sandbox)
        case ["debug_token"]:
            return debug_token(request, sandbox)
        case [node] if node in sandbox.apps:
            return await _app(request, sandbox, node)
        case [node]:
            return await _node(request, sandbox, node)
        case [node, "picture"]:
            return await _picture_edge(request, sandbox, node)
        case [node, "permissions"] if method == "DELETE":
            return await _revoke(request, sandbox, node, None)
        case [node, "permissions"]:
            return await _permissions(request, sandbox, node)
        case [node, "permissions", name] if method == "DELETE":
            return await _revoke(request, sandbox, node, name)
        case [_, "feed"] if method == "POST":
            raise GraphError(
                200,
                "(#200) The permission publish_actions is deprecated and no longer available.",
                status=403,
            )
        case [_, "accounts", "test-users"]:
            return _test_users(request, sandbox, method)
    raise GraphError(2500, "Unknown path components: /" + "/".join(parts))


def _params(request: Request) -> dict[str, str]:
    return {**request.query_params, **web.form(request)}


def _token_text(request: Request) -> str:
    header = request.headers.get("authorization", "")
    scheme, _, rest = header.partition(" ")
    return rest.strip() if scheme.lower() in {"bearer", "oauth"} else _params(request).get("access_token", "")


async def _caller(request: Request, sandbox: Sandbox, *, app_token: bool = False) -> Caller:
    """Resolve the access token in the order §6.4 lists. Raises GraphError."""
    text = _token_text(request)
    if not text:
        raise GraphError(2500, _NO_USER)
    web.note(request, token_ref=web.ref(text))
    app = sandbox.app_of_token(text)
    if app is not None:
        _check_proof(request, app, text, required=False)
        if not app_token:
            raise GraphError(2500, _NO_USER)
        return Caller(app=app, token=None, text=text)
    token = sandbox.tokens.get(text)
    if token is None:
        raise invalid_token(None, "Invalid OAuth access token - Cannot parse access token")
    _check_alive(sandbox, token)
    app = sandbox.apps.get(token.app_id)
    if app is not None:
        switch = sandbox.switches.require_proof
        _check_proof(request, app, text, required=app.require_proof if switch is None else switch)
    await _persona_fault(request, sandbox, token)
    _count(sandbox, token.app_id)
    return Caller(app=app, token=token, text=text)


def _check_alive(sandbox: Sandbox, token: Token) -> None:
    code = _broken_subcode(sandbox, token)
    if code is not None:
        raise invalid_token(code, _token_message(sandbox, token, code))


def _broken_subcode(sandbox: Sandbox, token: Token) -> int | None:
    if token.broken in {458, 460, 467}:
        return token.broken
    return 463 if sandbox.now() >= token.expires_at else token.broken


def _token_message(sandbox: Sandbox, token: Token, code: int) -> str:
    def shown(moment: float) -> str:
        return datetime.fromtimestamp(moment, UTC).strftime("%A, %d-%b-%y %H:%M:%S UTC")

    text = TOKEN_MESSAGES[code]
    return text.format(app=token.app_id, ended=shown(token.expires_at), now=shown(sandbox.now()))


def _check_proof(request: Request, app: App, text: str, *, required: bool) -> None:
    """`appsecret_proof`: checked when sent, asked for when required. Its verdict goes to the log."""
    params = _params(request)
    sent = params.get("appsecret_proof")
    message = f"{text}|{params['appsecret_time']}" if "appsecret_time" in params else text
    valid = sent is not None and hmac.compare_digest(sent.encode(), app.proof(message).encode())
    web.note(request, proof="missing" if sent is None else "valid" if valid else "invalid")
    if sent is None and required:
        text = "API calls from the server require an appsecret_proof argument"
        raise GraphError(100, text, kind="GraphMethodException")
    if sent is not None and not valid:
        text = "Invalid appsecret_proof provided in the API argument"
        raise GraphError(100, text, kind="GraphMethodException")


class _RawAnswerError(GraphError):
    """A fault whose answer is not the envelope."""

    def __init__(self, answer: Response) -> None:
        super().__init__(2, "raw")
        self._answer = answer

    def response(self) -> JSONResponse:
        return self._answer  # type: ignore[return-value]  # deliberately not JSON of ours


async def _persona_fault(request: Request, sandbox: Sandbox, token: Token) -> None:
    fault = sandbox.people[token.slug].fault
    if fault not in {
        "ratelimited",
        "server-error",
        "server-error-html",
        "server-error-false",
        "slow",
        "never",
    }:
        return
    if not sandbox.fault_due(token.app_id, token.slug):
        return
    if fault == "ratelimited":
        raise _throttled(sandbox)
    if fault == "server-error":
        raise GraphError(2, "Service temporarily unavailable", status=500, transient=True)
    if fault == "server-error-html":
        raise _RawAnswerError(HTMLResponse("<html><body><h1>502 Bad Gateway</h1></body></html>", status_code=502))
    if fault == "server-error-false":
        raise _RawAnswerError(JSONResponse(False))
    await web.wait_for_hang_up(request, sandbox.switches.slow_seconds if fault == "slow" else None)


def _throttled(sandbox: Sandbox) -> GraphError:
    return GraphError(
        4, "(#4) Application request limit reached", status=sandbox.switches.throttle_status, transient=True
    )


def _count(sandbox: Sandbox, app_id: str) -> None:
    sandbox.calls[app_id] = sandbox.calls.get(app_id, 0) + 1
    limit = sandbox.switches.call_limit
    if limit is not None and sandbox.calls[app_id] > limit:
        raise _throttled(sandbox)


def _usage(sandbox: Sandbox) -> str:
    limit = sandbox.switches.call_limit or 10_000
    share = min(100, max(sandbox.calls.values(), default=0) * 100 // limit)
    return json.dumps({"call_count": share, "total_time": share, "total_cputime": share})


def debug_token(request: Request, sandbox: Sandbox) -> Response:
    """`GET /debug_token`: also a token that no longer works is described with HTTP 200."""
    text = _token_text(request)
    app = sandbox.app_of_token(text)
    if app is None:
        if not text:
            raise GraphError(2500, "An access token is required to request this resource.")
        raise GraphError(
            100,
            "(#100) You must provide an app access token, or a user access token that is an owner "
            "or developer of the app",
        )
    web.note(request, token_ref=web.ref(text), token_kind="app")
    _check_proof(request, app, text, required=False)
    inspected = _params(request).get("input_token", "")
    if not inspected:
        raise GraphError(100, "(#100) The parameter input_token is required")
    web.note(request, input_token_ref=web.ref(inspected))
    token = sandbox.tokens.get(inspected)
    if token is None:
        own = sandbox.app_of_token(inspected)
        if own is not None:
            return JSONResponse(
                {
                    "data": {
                        "app_id": own.id,
                        "type": "APP",
                        "application": own.name,
                        "is_valid": True,
                        "scopes": [],
                    }
                }
            )
        error = {"code": 190, "message": "Invalid OAuth access token - Cannot parse access token"}
        return JSONResponse({"data": {"error": error, "is_valid": False, "scopes": []}})
    return JSONResponse({"data": _inspection(sandbox, token)})


def _inspection(sandbox: Sandbox, token: Token) -> dict[str, Any]:
    person = sandbox.people[token.slug]
    app = sandbox.apps.get(token.app_id)
    broken = _broken_subcode(sandbox, token)
    own_app = token.app_id if app else next(iter(sandbox.apps))
    data: dict[str, Any] = {
        "app_id": token.app_id,
        "type": "USER",
        "application": app.name if app else "Another app",
        "data_access_expires_at": int(token.issued_at + DATA_ACCESS_LIFETIME),
        "expires_at": int(token.expires_at),
        "is_valid": broken is None,
        "issued_at": int(token.issued_at),
        "scopes": sandbox.granted(own_app, token.slug),
        "user_id": token.shown_user or person.id_in(token.app_id),
    }
    metadata = {"auth_type": token.auth_type, "auth_nonce": token.auth_nonce}
    if any(metadata.values()):
        data["metadata"] = {name: value for name, value in metadata.items() if value}
    if broken is not None:
        data["error"] = {"code": 190, "message": _token_message(sandbox, token, broken), "subcode": broken}
    return data


def _person(sandbox: Sandbox, caller: Caller, node: str) -> Person:
    """The person a path names: `me`, or the app-scoped id. Raises GraphError 100 (33) for anybody else."""
    if caller.token is not None:
        own = sandbox.people[caller.token.slug]
        if node in {"me", own.id_in(caller.token.app_id)}:
            return own
    elif caller.app is not None and node != "me":
        found = sandbox.person_of_id(caller.app.id, node)
        if found is not None:
            return found
    raise GraphError(
        100,
        f"Unsupported get request. Object with ID '{node[:60]}' does not exist, cannot be loaded due to "
        "missing permissions, or does not support this operation",
        subcode=33,
        kind="GraphMethodException",
    )


async def _app(request: Request, sandbox: Sandbox, node: str) -> Response:
    """`/{app-id}`: all of its settings for the app itself, the name alone for anybody else."""
    caller = await _caller(request, sandbox, app_token=True)
    is_own = caller.token is None and caller.app is not None and caller.app.id == node
    known = sandbox.apps[node].settings
    asked = _fields(_params(request).get("fields") or "name")
    return JSONResponse(
        {name: known[name] for name in asked if name in known and (is_own or name == "name")} | {"id": node}
    )


async def _node(request: Request, sandbox: Sandbox, node: str) -> Response:
    """`/me` or `/{id}`: the requested fields that are known, granted and not null, and `id` last."""
    caller = await _caller(request, sandbox)
    person = _person(sandbox, caller, node)
    token = caller.token
    if token is None:  # cannot be: only user tokens get here
        raise GraphError(2500, _NO_USER)
    app_id = token.app_id
    grants = _granted(sandbox, token)
    known = person.fields()
    if sandbox.switches.unverified_leaks and person.leaked_email:
        known["email"] = person.leaked_email
    known["link"] = f"https://www.facebook.com/app_scoped_user_id/{person.id_in(app_id)}/"
    answer: dict[str, Any] = {}
    for field in _fields(_params(request).get("fields") or "name,id"):
        name = re.split(r"[.{(]", field, maxsplit=1)[0]
        if name not in _PROFILE | set(_NEEDS) | _DEAD | {"id", "picture", "permissions"}:
            raise GraphError(100, f"(#100) Tried accessing nonexisting field ({name[:60]}) on node type (User)")
        if name == "picture":
            answer["picture"] = {"data": _picture(request, sandbox, person, app_id, *_picture_size(field))}
        elif name == "permissions":
            answer["permissions"] = {"data": _permission_rows(sandbox, app_id, person)}
        elif name in known and (name not in _NEEDS or _NEEDS[name] in grants):
            answer[name] = known[name]
    answer["id"] = person.id_in(app_id)
    return JSONResponse(answer)


def _granted(sandbox: Sandbox, token: Token) -> set[str]:
    """Grants behind a token; the other app's token carries the grants of the app that asked."""
    app_id = next(iter(sandbox.apps)) if token.app_id == FOREIGN_APP else token.app_id
    return set(sandbox.granted(app_id, token.slug))


def _fields(text: str) -> list[str]:
    """Split at commas outside of parentheses and braces."""
    found, depth, current = [], 0, ""
    for char in text:
        depth += (char in "({") - (char in ")}")
        if char == "," and depth == 0:
            found.append(current.strip())
            current = ""
        else:
            current += char
    return [name for name in [*found, current.strip()] if name]


def _picture_size(field: str) -> tuple[int, int]:
    asked = dict(re.findall(r"\.(type|width|height)\((\w+)\)", field))
    return _size(asked)


def _size(asked: dict[str, str]) -> tuple[int, int]:
    side = _SIZES.get(asked.get("type", ""), 50)
    width = clamp_side(asked.get("width") or asked.get("height"), side)
    return width, clamp_side(asked.get("height"), width)


def _picture(
    request: Request, sandbox: Sandbox, person: Person, app_id: str, width: int, height: int
) -> dict[str, Any]:
    ends = int(sandbox.now()) + 30 * 86_400
    base = web.base_url(request, sandbox.base_url)
    seed = web.ref(f"{person.slug}:{app_id}:{ends}")
    size = f"height={height}&width={width}"
    url = f"{base}/platform/profilepic/?asid={person.id_in(app_id)}&{size}&ext={ends}&hash=Af{seed}"
    return {"height": height, "is_silhouette": person.silhouette, "url": url, "width": width}


async def _picture_edge(request: Request, sandbox: Sandbox, node: str) -> Response:
    """302 to the image, or its description with `redirect=false`."""
    caller = await _caller(request, sandbox, app_token=True)
    person = _person(sandbox, caller, node)
    app_id = caller.token.app_id if caller.token else caller.app.id if caller.app else ""
    params = _params(request)
    found = _picture(request, sandbox, person, app_id, *_size(params))
    if params.get("redirect") in {"false", "0"}:
        return JSONResponse({"data": found})
    return RedirectResponse(found["url"], status_code=302)


def _permission_rows(sandbox: Sandbox, app_id: str, person: Person) -> list[dict[str, str]]:
    rows = sandbox.permissions(app_id, person.slug)
    return [{"permission": name, "status": status} for name, status in sorted(rows.items())]


async def _permissions(request: Request, sandbox: Sandbox, node: str) -> Response:
    caller = await _caller(request, sandbox, app_token=True)
    person = _person(sandbox, caller, node)
    app_id = caller.token.app_id if caller.token else caller.app.id if caller.app else ""
    return JSONResponse({"data": _permission_rows(sandbox, app_id, person)})


async def _revoke(request: Request, sandbox: Sandbox, node: str, name: str | None) -> Response:
    """Take back one permission, or the whole app."""
    caller = await _caller(request, sandbox, app_token=True)
    person = _person(sandbox, caller, node)
    app_id = caller.token.app_id if caller.token else caller.app.id if caller.app else ""
    if name is None:
        sandbox.remove_app(app_id, person.slug)
    elif name in sandbox.permissions(app_id, person.slug):
        sandbox.decide(app_id, person.slug, granted=set(), declined={name})
    return JSONResponse(True if sandbox.switches.delete_answers_true else {"success": True})


def _test_users(request: Request, sandbox: Sandbox, method: str) -> Response:
    """Listing answers nothing; making one is suspended, as on the real network (protocols.md §1.12)."""
    if sandbox.app_of_token(_token_text(request)) is None:
        raise invalid_token(None, "Invalid OAuth access token - Cannot parse access token")
    if method == "GET":
        return JSONResponse({"data": []})
    raise GraphError(100, "We are temporarily removing the ability for apps to create new test users.")
