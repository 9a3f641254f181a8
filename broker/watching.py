"""The guarded client, watched: who tries a provider sees what was asked and answered; of everybody else nothing is kept.

A watch belongs to the task that began it and the tasks it starts, so that no sign-in beside it is seen.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from broker.chance import SystemClock
from broker.domain.trial import Exchange, is_secret
from broker.egress import Egress, Response
from broker.errors import UpstreamUnavailable

MOST: Final = 50
"""Exchanges that one watch remembers."""
_WATCH: Final[ContextVar[list[Exchange] | None]] = ContextVar("watch", default=None)


@contextmanager
def watching() -> Iterator[list[Exchange]]:
    """What is exchanged from here on, oldest first, as long as the block lasts."""
    seen: list[Exchange] = []
    token = _WATCH.set(seen)
    try:
        yield seen
    finally:
        _WATCH.reset(token)


class Watched:
    """An `Egress` that tells a watch, where there is one, what it did."""

    def __init__(self, http: Egress) -> None:
        self._http = http

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        """See `Egress.request`."""
        seen = _WATCH.get()
        if seen is None or len(seen) >= MOST:
            return await self._http.request(method, url, headers=headers, body=body)
        started, sent = time.perf_counter(), tuple(_secrets(url, headers or {}, body or b""))
        try:
            answer = await self._http.request(method, url, headers=headers, body=body)
        except UpstreamUnavailable as error:
            seen.append(_exchange(method, url, started, None, error.detail, sent))
            raise
        seen.append(_exchange(method, url, started, answer, "", sent))
        return answer


def _secrets(url: str, headers: Mapping[str, str], body: bytes) -> Iterator[str]:
    """What a request says that opens something: an answer may say it again."""
    for pairs in (urlsplit(url).query, body.decode("utf-8", "replace")):
        yield from (value for name, value in parse_qsl(pairs) if is_secret(name))
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    yield rest
    if scheme == "Basic":
        yield unquote_plus(base64.b64decode(rest).decode("utf-8", "replace").partition(":")[2])


def _exchange(
    method: str, url: str, started: float, answer: Response | None, failure: str, sent: tuple[str, ...]
) -> Exchange:
    parts = urlsplit(url)
    return Exchange(
        method=method,
        host=parts.netloc.rpartition("@")[2],
        path=parts.path,
        is_tls=parts.scheme == "https",
        at=SystemClock().now(),
        milliseconds=round((time.perf_counter() - started) * 1000),
        status=answer.status if answer is not None else None,
        failure=failure,
        headers=answer.headers if answer is not None else {},
        body=answer.body if answer is not None else b"",
        sent=sent,
    )
