"""Sandbox Social: a Mastodon-shaped posting API (protocols.md §4) inside the OpenID Connect sandbox.

`POST /api/v1/statuses` with `Idempotency-Key` (kept one hour, returns the same status),
`DELETE /api/v1/statuses/:id` (returns the status with its `text`), `GET /api/v1/statuses/:id`,
`GET /api/v1/accounts/verify_credentials`, `GET /api/v2/instance`, `POST /oauth/revoke`. An access token
posts only with scope `write:statuses`, which the person allows on a page of its own. `/social` shows what was
posted. Faults are the `post-…` ones of openid_connect_faults.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from providers.sandbox import web
from providers.sandbox.openid_connect_authorize import LABEL
from providers.sandbox.openid_connect_faults import wired
from providers.sandbox.openid_connect_state import POSTING_SCOPE, Sandbox, Status, Token
from providers.sandbox.openid_connect_token import TokenError, authenticate, bearer

MAX_CHARACTERS = 500
KEY_LIFETIME = 3600  # seconds
WINDOW, ALLOWED = 300, 300  # 300 calls in 5 minutes
VISIBILITIES = ("public", "unlisted", "private", "direct")


def routes() -> list[Route]:
    """The API under Mastodon's paths, `/statuses` as a short name, and the page."""
    return [
        *(Route(f"{prefix}/statuses", wired("statuses", post_status), methods=["POST"]) for prefix in ("/api/v1", "")),
        *(Route(f"{prefix}/statuses/{{id}}", one_status, methods=["GET", "DELETE"]) for prefix in ("/api/v1", "")),
        Route("/api/v1/accounts/verify_credentials", credentials, methods=["GET"]),
        Route("/api/v2/instance", instance, methods=["GET"]),
        Route("/oauth/revoke", wired("revoke", revoke), methods=["POST"]),
        Route("/social", wall, methods=["GET"]),
        Route("/social/{id}", wall, methods=["GET"]),
    ]


def _sandbox(request: Request) -> Sandbox:
    found: Sandbox = request.app.state.sandbox
    return found


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)


def _allowed(request: Request, sandbox: Sandbox) -> Token | Response:
    """The token if it may post, else the refusal."""
    found = bearer(request, sandbox)
    if found is None or sandbox.faults.has("post-revoked"):
        return _error(401, "The access token is invalid")
    if POSTING_SCOPE not in found.scopes or sandbox.faults.has("post-forbidden"):
        return _error(403, "This action is outside the authorized scopes")
    return found


async def post_status(request: Request) -> Response:
    """`POST /api/v1/statuses`, form or JSON: `status`, `visibility`, `language`."""
    sandbox = _sandbox(request)
    found = _allowed(request, sandbox)
    if isinstance(found, Response):
        return found
    limits = _count(sandbox, found)
    if limits is None or sandbox.faults.has("post-rate-limited"):
        return _limited(sandbox)
    try:
        fields = await _fields(request)
        text, visibility = _checked(fields)
    except ValueError as problem:
        return _error(422, f"Validation failed: {problem}")
    if sandbox.faults.has("post-duplicate"):
        return _error(422, "Validation failed: Status has already been taken")
    status = _kept(request, sandbox, found, text, visibility, fields.get("language"))
    hang = sandbox.faults.take("post-accept-then-hang")
    if hang is not None:
        await web.wait_for_hang_up(request, hang.seconds)
        return _error(503, "Too late")
    if sandbox.faults.has("post-accept-then-500"):
        return _error(500, "Something went wrong on our end")
    return JSONResponse(_shape(request, sandbox, status), headers=limits)


async def _fields(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").startswith("application/json"):
        return await web.json_object(request)
    return dict(web.form(request))


def _checked(fields: dict[str, Any]) -> tuple[str, str]:
    text, visibility = fields.get("status"), fields.get("visibility") or "public"
    if not isinstance(text, str) or not text.strip():
        raise ValueError("Text can't be blank")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"Text character limit of {MAX_CHARACTERS} exceeded")
    if visibility not in VISIBILITIES:
        raise ValueError("Visibility is not included in the list")
    return text, str(visibility)


def _kept(request: Request, sandbox: Sandbox, token: Token, text: str, visibility: str, language: object) -> Status:
    """Keep the status; the same idempotency key within an hour returns the one that is there."""
    key = request.headers.get("idempotency-key")
    now = sandbox.now()
    if key is not None:
        made_at, known = sandbox.posted_keys.get((token.slug, key), (0.0, ""))
        if known in sandbox.statuses and now - made_at < KEY_LIFETIME:
            web.note(request, repeated=True)
            return sandbox.statuses[known]
    sandbox.last_status += 1
    status = Status(
        id=str(sandbox.last_status),
        slug=token.slug,
        author=sandbox.people[token.slug].name,
        text=text,
        visibility=visibility,
        language=language if isinstance(language, str) else None,
        created_at=datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
    sandbox.statuses[status.id] = status
    if key is not None:
        sandbox.posted_keys[token.slug, key] = (now, status.id)
    web.note(request, status_id=status.id)
    return status


def _count(sandbox: Sandbox, token: Token) -> dict[str, str] | None:
    """Count a call; the X-RateLimit headers, or None when the account's allowance is spent."""
    now = sandbox.now()
    calls = [moment for moment in sandbox.posts.get(token.slug, []) if moment > now - WINDOW]
    sandbox.posts[token.slug] = [*calls, now]
    if len(calls) >= ALLOWED:
        return None
    return _limit_headers(sandbox, ALLOWED - len(calls) - 1)


def _limit_headers(sandbox: Sandbox, left: int) -> dict[str, str]:
    reset = datetime.fromtimestamp(sandbox.now() + WINDOW, UTC).isoformat().replace("+00:00", "Z")
    return {"x-ratelimit-limit": str(ALLOWED), "x-ratelimit-remaining": str(left), "x-ratelimit-reset": reset}


def _limited(sandbox: Sandbox) -> Response:
    response = _error(429, "Too many requests")
    response.headers.update(_limit_headers(sandbox, 0))
    return response


def _shape(request: Request, sandbox: Sandbox, status: Status) -> dict[str, Any]:
    base = web.base_url(request, sandbox.fixed_issuer)
    return {
        "id": status.id,
        "uri": f"{base}/social/{status.id}",
        "url": f"{base}/social/{status.id}",
        "created_at": status.created_at,
        "visibility": status.visibility,
        "language": status.language,
        "content": f"<p>{escape(status.text)}</p>",
        "account": _account(request, sandbox, status.slug),
        "sensitive": False,
        "spoiler_text": "",
        "media_attachments": [],
    }


def _account(request: Request, sandbox: Sandbox, slug: str) -> dict[str, Any]:
    base = web.base_url(request, sandbox.fixed_issuer)
    name = sandbox.people[slug].name
    return {"id": slug, "username": slug, "acct": slug, "display_name": name, "url": f"{base}/social"}


async def one_status(request: Request) -> Response:
    """`GET` shows a status; `DELETE` removes the person's own one and returns it with `text`."""
    sandbox = _sandbox(request)
    status = sandbox.statuses.get(request.path_params["id"])
    if request.method == "GET":
        found: Token | Response | None = None
    else:
        found = _allowed(request, sandbox)
        if isinstance(found, Response):
            return found
    if status is None or (isinstance(found, Token) and found.slug != status.slug):
        return _error(404, "Record not found")
    shape = _shape(request, sandbox, status)
    if request.method == "GET":
        return JSONResponse(shape)
    del sandbox.statuses[status.id]
    return JSONResponse({**shape, "text": status.text})


async def credentials(request: Request) -> Response:
    """`GET /api/v1/accounts/verify_credentials`: whose token it is."""
    sandbox = _sandbox(request)
    found = bearer(request, sandbox)
    if found is None:
        return _error(401, "The access token is invalid")
    return JSONResponse(_account(request, sandbox, found.slug))


async def instance(request: Request) -> Response:
    """`GET /api/v2/instance`: the text limit."""
    domain = request.headers.get("host", "localhost")
    statuses = {"max_characters": MAX_CHARACTERS, "characters_reserved_per_url": 23}
    return JSONResponse(
        {
            "domain": domain,
            "title": "Sandbox Social",
            "version": "4.5.0",
            "configuration": {"statuses": statuses},
        }
    )


async def revoke(request: Request) -> Response:
    """`POST /oauth/revoke` with client credentials and `token`; `{}` also for an unknown token (RFC 7009)."""
    sandbox = _sandbox(request)
    try:
        client = authenticate(request, sandbox)
    except TokenError as error:
        return error.response()
    text = web.form(request).get("token", "")
    refresh = sandbox.refreshes.get(text)
    if refresh is not None and refresh.code.client_id == client.id:
        sandbox.end_refreshes(refresh.code)
        text = refresh.code.token or ""
    found = sandbox.tokens.get(text)
    if found is not None and found.client_id == client.id:
        found.revoked = True
        if POSTING_SCOPE in found.scopes:
            _forget_permission(sandbox, found)
    return JSONResponse({})


def _forget_permission(sandbox: Sandbox, token: Token) -> None:
    """After revocation the posting page is shown again."""
    for session in sandbox.sessions.values():
        if session.slug == token.slug:
            session.posting.discard(token.client_id)


async def wall(request: Request) -> Response:
    """`/social`: everything that was posted, newest first; `/social/{id}`: one status."""
    sandbox = _sandbox(request)
    wanted = request.path_params.get("id")
    if wanted is not None and wanted not in sandbox.statuses:
        return web.page("message.html", status=404, label=LABEL, title="Not here", text="This status is gone.")
    found = [status for status in reversed(sandbox.statuses.values()) if wanted in (None, status.id)]
    return web.page("statuses.html", label=LABEL, title="Sandbox Social", statuses=found)
