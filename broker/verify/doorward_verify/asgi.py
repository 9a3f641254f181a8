"""For Starlette, FastAPI, Litestar, Quart …: pure ASGI, needs none of them.

```python
kit = SignInKit(issuer=…, client_id=…, client_secret=…, public_url=…)
app.add_middleware(SignInMiddleware, kit=kit)
request.state.session          # Session or None
```
Nothing here blocks the event loop: a call to the broker is made in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from .errors import NeedsNetwork, SessionError
from .kit import SignInKit
from .wire import LARGEST_BODY, Answer, Request, Visit, page

__all__ = ["SignInMiddleware"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class SignInMiddleware:
    """Puts ``session`` (a `Session` or ``None``) and ``sign_in_notice`` into ``scope["state"]``.

    A `SessionError` that the site raises (`require_session`, ``session.require_recent``) becomes a
    redirect to sign in for page loads and a problem document for everything else.
    """

    def __init__(self, app: App, kit: SignInKit) -> None:
        self._app, self._kit = app, kit
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="doorward-verify")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _read_request(scope)
        if self._kit.owns(request.path):
            await _send_answer(await self._own(request, receive), send, head=scope["method"] == "HEAD")
            return
        visit = await self._identify(request)
        if visit.answer is not None:
            await _send_answer(visit.answer, send, head=scope["method"] == "HEAD")
            return
        started = False

        async def send_with_cookies(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if visit.cookies:
                    message = {**message, "headers": _add_cookies(message.get("headers", ()), visit.cookies)}
            await send(message)

        try:
            await self._app(_with_state(scope, visit), receive, send_with_cookies)
        except SessionError as error:
            if started:
                raise
            answer = self._kit.answer_error(request, error).with_cookies(visit.cookies)
            await _send_answer(answer, send, head=scope["method"] == "HEAD")

    async def _own(self, request: Request, receive: Receive) -> Answer:
        body = await _read_body(receive)
        if body is None:
            return page(413, "Too large", "This request is too large.")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._kit.handle, request, body)

    async def _identify(self, request: Request) -> Visit:
        try:
            return self._kit.identify(request, network=False)
        except NeedsNetwork:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._kit.identify, request)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A socket cannot be given new cookies: an expired session is no session here, and a page of
        another origin may not use this one's."""
        request = _read_request({**scope, "method": "GET"})
        visit = Visit()
        if request.one("origin") == self._kit.origin:
            try:
                visit = self._kit.identify(request, network=False)
            except NeedsNetwork:
                # Keys, a list or an answer have to be asked for; a renewal would lose the new cookies.
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, self._kit.look_up, request)
                with suppress(NeedsNetwork):
                    visit = self._kit.identify(request, network=False)
        await self._app(_with_state(scope, Visit() if visit.answer else visit), receive, send)


def _read_request(scope: Scope) -> Request:
    path, root = scope["path"], scope.get("root_path", "")
    if root and path.startswith(root):
        path = path[len(root) :] or "/"
    raw = scope.get("raw_path")
    if raw and not root:
        # The address as it was sent, so that the way back is the same page.
        path = raw.partition(b"?")[0].decode("latin-1")
    return Request(
        method=scope["method"],
        path=path,
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=[(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]],
    )


def _with_state(scope: Scope, visit: Visit) -> Scope:
    state = dict(scope.get("state") or {})
    return {**scope, "state": {**state, "session": visit.session, "sign_in_notice": visit.notice}}


def _add_cookies(headers: Any, cookies: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    """Append our cookies; an answer that carries them may not be kept by a shared cache."""
    kept = [(name, value) for name, value in headers if name.lower() != b"cache-control"]
    kept.append((b"cache-control", b"private, no-store"))
    return kept + [(b"set-cookie", cookie.encode("latin-1")) for cookie in cookies]


async def _read_body(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        piece: bytes = message.get("body", b"")
        body += piece
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body"):
            return body


async def _send_answer(answer: Answer, send: Send, *, head: bool) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
