"""Requests as bytes: what no well-behaved client library would send, straight into the application.

The scope is what uvicorn makes of such a request: the path percent-decoded, the query as it came, header names small.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request; `repr` is what a failed test shows."""

    method: str = "GET"
    path: str = "/"
    query: bytes = b""
    headers: Headers = ()
    body: tuple[bytes, ...] = ()
    host: bytes = b"login.test"
    peer: str = "192.0.2.1"
    hangs_up: bool = False
    """Gone before the last part of the body."""

    def __str__(self) -> str:
        parts = [
            f"{self.method} {self.path}?{_short(self.query)}",
            *(f"{_short(n)}: {_short(v)}" for n, v in self.headers),
        ]
        return "\n  ".join([*parts, *(_short(part) for part in self.body)])


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        wanted = name.lower().encode()
        return [value.decode("latin-1") for found, value in self.headers if found.lower() == wanted]

    def __getitem__(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


async def ask(app: ASGIApp, asked: Asked) -> Answer:
    """Send it; whatever the application raises is raised here."""
    answer = Answer()
    waiting = list(asked.body)
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "https",
        "path": unquote(asked.path),
        "raw_path": asked.path.encode("ascii"),
        "root_path": "",
        "query_string": asked.query,
        "headers": [(b"host", asked.host), *asked.headers] if asked.host else list(asked.headers),
        "client": (asked.peer, 40_000),
        "server": ("127.0.0.1", 443),
        "state": {},
    }

    async def receive() -> Message:
        if not waiting:
            return (
                {"type": "http.disconnect"} if asked.hangs_up or asked.body else {"type": "http.request", "body": b""}
            )
        if asked.hangs_up and len(waiting) == 1:
            waiting.clear()
            return {"type": "http.disconnect"}
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(bytes(name), bytes(value)) for name, value in message["headers"]]
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


def lower(headers: Iterable[tuple[str, str | bytes]]) -> Headers:
    """Header fields as a server hands them on: small names, Latin-1 values without line ends."""
    found = []
    for name, value in headers:
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        found.append((name.lower().encode(), raw.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")))
    return tuple(found)


def _short(data: bytes) -> str:
    text = repr(data)[2:-1]
    return text if len(text) <= 400 else f"{text[:300]}…({len(data)} bytes)…{text[-60:]}"
