"""A minimal HTTP/1.1 client: one kept-alive connection for each host, a cookie jar, redirects by hand.

It exists because a load client has to cost much less CPU than the server it loads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urljoin, urlsplit


class Broken(Exception):
    """No whole answer came, or not the one that was expected."""


@dataclass(slots=True)
class Answer:
    """One response."""

    status: int
    url: str
    head: bytes
    body: bytes

    def headers(self, name: str) -> list[str]:
        """All values of a header, in order."""
        wanted = name.lower().encode() + b":"
        lines = self.head.split(b"\r\n")[1:]
        return [line[len(wanted) :].strip().decode("latin-1") for line in lines if line.lower().startswith(wanted)]

    def header(self, name: str) -> str:
        """The first value, or nothing."""
        return next(iter(self.headers(name)), "")

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Connections:
    """The connections of one worker, one for each host, one request at a time."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self.requests = 0

    async def send(self, netloc: str, url: str, payload: bytes) -> Answer:
        """One request; once more on a new connection if the kept one was closed meanwhile."""
        self.requests += 1
        kept = netloc in self._open
        try:
            return await asyncio.wait_for(self._exchange(netloc, url, payload), 30)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._drop(netloc)
            if not kept:
                raise Broken(f"{netloc} closed the connection") from None
            return await asyncio.wait_for(self._exchange(netloc, url, payload), 30)

    async def _exchange(self, netloc: str, url: str, payload: bytes) -> Answer:
        if netloc not in self._open:
            host, _, port = netloc.partition(":")
            self._open[netloc] = await asyncio.open_connection(host, int(port or 80))
        reader, writer = self._open[netloc]
        writer.write(payload)
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        body = b""
        if b"\r\ntransfer-encoding: chunked" in lower:
            body = await _chunks(reader)
        elif (at := lower.find(b"\r\ncontent-length:")) >= 0:
            length = int(lower[at + 17 : lower.find(b"\r\n", at + 2)])
            body = await reader.readexactly(length) if length else b""
        if b"\r\nconnection: close" in lower:
            self._drop(netloc)
        return Answer(int(head[9:12]), url, head, body)

    def _drop(self, netloc: str) -> None:
        pair = self._open.pop(netloc, None)
        if pair is not None:
            pair[1].close()

    def close(self) -> None:
        """Close all of them."""
        for netloc in list(self._open):
            self._drop(netloc)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


@dataclass(slots=True)
class Browser:
    """One browser, or one site's server: cookies by host and path."""

    connections: Connections
    is_site: bool = False
    """A site's server sends no `Origin`."""
    jar: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("GET", url, headers=headers)

    async def post(self, url: str, form: list[tuple[str, str]], headers: Mapping[str, str] | None = None) -> Answer:
        origin = {} if self.is_site else {"Origin": "{0.scheme}://{0.netloc}".format(urlsplit(url))}
        return await self.request("POST", url, urlencode(form).encode(), {**origin, **(headers or {})})

    async def request(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request with this browser's cookies; follows nothing."""
        parts = urlsplit(url)
        path = parts.path or "/"
        target = f"{path}?{parts.query}" if parts.query else path
        lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Accept: text/html,*/*;q=0.8"]
        if cookies := self._cookies(parts.netloc, path):
            lines.append(f"Cookie: {cookies}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        payload = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")
        answer = await self.connections.send(parts.netloc, url, payload)
        self._keep(parts.netloc, path, answer)
        return answer

    def target(self, answer: Answer) -> str | None:
        """Where a redirect, or a page that refreshes at once, sends this browser."""
        if answer.status in {301, 302, 303, 307, 308}:
            return urljoin(answer.url, answer.header("location"))
        refresh = answer.header("refresh")
        return urljoin(answer.url, refresh.partition("url=")[2]) if "url=" in refresh else None

    def _cookies(self, netloc: str, path: str) -> str:
        kept = self.jar.get(netloc, {})
        return "; ".join(f"{name}={value}" for (name, under), value in kept.items() if path.startswith(under))

    def _keep(self, netloc: str, path: str, answer: Answer) -> None:
        for line in answer.headers("set-cookie"):
            first, *attributes = [part.strip() for part in line.split(";")]
            name, _, value = first.partition("=")
            under, gone = path.rpartition("/")[0] or "/", not value
            for attribute in attributes:
                key, _, word = attribute.partition("=")
                if key.lower() == "path":
                    under = word or "/"
                gone = gone or (key.lower() == "max-age" and word == "0")
            jar = self.jar.setdefault(netloc, {})
            if gone:
                jar.pop((name, under), None)
            else:
                jar[name, under] = value
