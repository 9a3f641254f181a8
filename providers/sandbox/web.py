"""What both sandboxes share on the web side: pages, the request log, the loopback guard, waiting."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit, urlunsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTROL = "/__emu__"
MAX_BODY = 1_000_000
_HERE = Path(__file__).parent / "pages"
_PAGES = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
_PAGE_HEADERS = {
    # No form-action: after a form is sent, the answer is a redirect to the client, another origin.
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Parameters whose value tells a test something and identifies nobody; every other value is masked in the log.
_SHOWN = frozenset(
    {
        "acr_values",
        "app_id",
        "auth_type",
        "auto",
        "client_id",
        "code_challenge_method",
        "display",
        "fields",
        "grant_type",
        "height",
        "language",
        "max_age",
        "method",
        "post_logout_redirect_uri",
        "prompt",
        "redirect",
        "redirect_uri",
        "response_mode",
        "response_type",
        "return_scopes",
        "scope",
        "token_type_hint",
        "type",
        "ui_locales",
        "visibility",
        "width",
    }
)


def page(name: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Render `pages/<name>` with autoescaping and the sandbox's headers."""
    return HTMLResponse(_PAGES.get_template(name).render(**values), status_code=status, headers=_PAGE_HEADERS)


def post_back(url: str, params: Iterable[tuple[str, str]], *, label: str) -> HTMLResponse:
    """A form that takes the answer to `url` (OAuth 2.0 Form Post Response Mode); a person sends it, without a script."""
    host = urlsplit(url).netloc
    return page(
        "post_back.html", label=label, title="Back to where you came from", action=url, host=host, fields=params
    )


def privacy_page(label: str) -> HTMLResponse:
    """What a sandbox keeps: the page its privacy address leads to."""
    return page(
        "message.html",
        label=label,
        title="Privacy",
        text="Everybody here is made up. This sandbox runs on your machine, asks for no password, sends "
        "nothing elsewhere, and remembers in one cookie which made-up person you chose.",
    )


async def stylesheet(request: Request) -> Response:
    """The one style sheet, from the same origin."""
    return Response((_HERE / "sandbox.css").read_bytes(), media_type="text/css")


_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#b45309"/>'
    '<path fill="#fff" d="M6 19h20l-3 6H9zM15 6h2v11h-2zM18 8l6 8h-6z"/></svg>'
)


async def icon(request: Request) -> Response:
    """A mark of no provider's own: browsers ask for one at this address whatever a page says."""
    return Response(_ICON, media_type="image/svg+xml", headers={"cache-control": "public, max-age=86400"})


def redirect(url: str, params: Iterable[tuple[str, str]], *, fragment: str = "") -> RedirectResponse:
    """302 to `url` with `params` after an existing query, and `fragment` (no `#`) when the URL has none."""
    parts = urlsplit(url)
    query = "&".join(piece for piece in (parts.query, urlencode(list(params))) if piece)
    target = urlunsplit(parts._replace(query=query, fragment=parts.fragment or fragment))
    answer = RedirectResponse("/", status_code=302, headers={"cache-control": "no-store"})
    # Set directly: RedirectResponse would quote characters that must come back byte for byte.
    answer.headers["location"] = target
    return answer


def base_url(request: Request, fixed: str | None) -> str:
    """The sandbox's own address without a final slash: the configured one, else what the client called."""
    return (fixed or str(request.base_url)).rstrip("/")


def form(request: Request) -> dict[str, str]:
    """Fields of an url-encoded body, read by the log middleware; the last one wins."""
    fields: dict[str, str] = request.scope.get("sandbox.form", {})
    return fields


def form_list(request: Request, name: str) -> list[str]:
    """Every value of one field of an url-encoded body."""
    pairs: list[tuple[str, str]] = request.scope.get("sandbox.form_pairs", [])
    return [value for key, value in pairs if key == name]


def note(request: Request, **facts: object) -> None:
    """Add facts about this request to its line in the log. Never a secret: use `ref`."""
    request.scope.setdefault("sandbox.facts", {}).update(facts)


def ref(secret: str) -> str:
    """A short fingerprint, to recognise the same code or token in two log lines."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def basic_credentials(header: str | None) -> tuple[str, str] | None:
    """Client id and secret of an HTTP Basic header, form-decoded (RFC 6749 §2.3.1); None if it is not one."""
    if not header or not header.lower().startswith("basic "):
        return None
    try:
        name, colon, secret = base64.b64decode(header[6:].strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (unquote_plus(name), unquote_plus(secret)) if colon else None


async def wait_for_hang_up(request: Request, seconds: float | None) -> None:
    """Wait `seconds` (None: ten minutes), or until the client hangs up."""

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(hang_up(), 600 if seconds is None else seconds)
    except TimeoutError:
        return


def is_loopback(request: Request) -> bool:
    """Whether the caller sits on this machine, came through no proxy and is no page of another site."""
    try:
        here = request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
    proxied = "forwarded" in request.headers or "x-forwarded-for" in request.headers
    foreign_page = request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
    return here and not proxied and not foreign_page


def control_refused() -> JSONResponse:
    """The answer to a control-plane call that does not come from this machine."""
    return JSONResponse({"error": "The control plane answers this machine only."}, status_code=403)


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises ValueError for anything else."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise ValueError("send a JSON object with Content-Type: application/json")
    value = await request.json()
    if not isinstance(value, dict):
        raise ValueError("send a JSON object")  # noqa: TRY004 (callers hear of one kind of wrong order)
    return value


class RequestLog:
    """The last 5,000 requests, values masked unless harmless; read by tests at `GET /__emu__/log`."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=5000)
        self._count = 0

    def add(self, entry: dict[str, Any]) -> None:
        """Append one entry and number it from 1."""
        self._count += 1
        self._entries.append({"n": self._count, **entry})

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """Entries numbered above `since`, oldest first."""
        return [entry for entry in self._entries if entry["n"] > since]

    def clear(self) -> None:
        """Forget every entry; numbering goes on."""
        self._entries.clear()

    async def endpoint(self, request: Request) -> Response:
        """`GET` (`?since=n`) reads, `DELETE` clears. Loopback only."""
        if not is_loopback(request):
            return control_refused()
        if request.method == "DELETE":
            self.clear()
            return JSONResponse({"ok": True})
        since = request.query_params.get("since", "0")
        return JSONResponse({"entries": self.entries(int(since) if since.isdigit() else 0)})


class LogMiddleware:
    """Read the body once (413 above 1 MB), hand its form fields to the handlers, and log what was asked."""

    def __init__(self, app: ASGIApp, *, log: RequestLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            await Response("Too large.", status_code=413)(scope, receive, send)
            return
        request = Request(scope)
        pairs = _form_pairs(request, body)
        scope["sandbox.form_pairs"] = pairs
        scope["sandbox.form"] = dict(pairs)
        facts: dict[str, Any] = {}
        scope["sandbox.facts"] = facts
        status = 0
        replayed = False

        async def receive_again() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        entry = {"at": time.time(), **_describe(request, pairs)}
        try:
            await self._app(scope, receive_again, send_watched)
        finally:
            if not scope["path"].startswith(CONTROL) and scope["path"] != "/sandbox.css":
                self._log.add({**entry, "status": status, **facts})


async def _read_body(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _form_pairs(request: Request, body: bytes) -> list[tuple[str, str]]:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return []
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return []


def _describe(request: Request, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Facts without secrets: which parameters came where, and by which way the caller showed who it is."""
    referer = request.headers.get("referer", "")
    return {
        "method": request.method,
        "host": request.headers.get("host", ""),
        "path": request.url.path,
        "query": _masked(request.query_params.multi_items()),
        "form": _masked(pairs),
        "auth": _auth_method(request.headers.get("authorization"), dict(request.query_params), dict(pairs)),
        "referer_secret": any(word in referer for word in ("access_token=", "code=", "client_secret=")),
        "idempotency_key": "idempotency-key" in request.headers,
        "user_agent": request.headers.get("user-agent", "")[:120],
    }


def _masked(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value[:500] if name in _SHOWN else "***" for name, value in pairs}


def _auth_method(header: str | None, query: Mapping[str, str], fields: Mapping[str, str]) -> str:
    """`basic`, `bearer`, `oauth`, `form` or `query` by where the credential was found, else `none`."""
    if header:
        return header.split(" ", 1)[0].lower()
    for place, values in (("form", fields), ("query", query)):
        if "client_secret" in values or "access_token" in values:
            return place
    return "none"
