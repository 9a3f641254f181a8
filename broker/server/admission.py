"""Who is let in: nobody while the stores are away, no more than the server can work on, and no new faces at the end.

The only answers here are short and plain: there is nothing yet, or no time, to make a page with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

HEALTH: Final = "/healthz"
READY: Final = "/readyz"
RETRY_AFTER: Final = 5
"""Seconds until a browser should try again."""

_AWAY: Final = b"Something we need is not answering. Nothing was lost. Try again in a moment."
_BUSY: Final = b"Too many people are here at once. Nothing was lost. Try again in a moment."
_STOPPING: Final = b"This server is stopping. Nothing was lost. Try again in a moment."


class Admission:
    """ASGI middleware around the whole application. `limit`: requests worked on at once; others are told to come back."""

    def __init__(self, app: Any, *, limit: int, reference: Callable[[], str], log: Any) -> None:
        self._app, self._limit, self._reference, self._log = app, limit, reference, log
        self._running = 0
        self.opened = asyncio.Event()
        """The application has its stores."""
        self.stopping = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        path, opened = scope["path"], self.opened.is_set()
        if path == HEALTH and not opened:
            await _answer(send, 200, b"ok", "")
        elif not opened:
            await self._refuse(send, path, "stores_away", _AWAY)
        elif self.stopping and path == READY:
            await _answer(send, 503, _STOPPING, "")
        elif self._running >= self._limit:
            await self._refuse(send, path, "too_many_requests_at_once", _BUSY)
        else:
            self._running += 1
            try:
                await self._app(scope, receive, send)
            except asyncio.CancelledError:
                if not self.stopping:
                    raise
                with suppress(RuntimeError):  # an answer that has begun cannot become another one
                    await self._refuse(send, path, "stopped", _STOPPING)
            finally:
                self._running -= 1

    async def _refuse(self, send: Any, path: str, reason: str, text: bytes) -> None:
        reference = "" if path == READY else self._reference()
        if reference:
            self._log.event("refused", reason=reason, reference=reference, status=503)
        await _answer(send, 503, text, reference)


async def _answer(send: Any, status: int, text: bytes, reference: str) -> None:
    body = text + (f" Reference: {reference}".encode() if reference else b"")
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    ]
    if status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
