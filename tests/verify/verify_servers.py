"""Real servers on loopback for these tests, and a browser of forty lines."""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import uvicorn

__all__ = ["Browser", "Page", "free_socket", "serving", "serving_wsgi"]

PORTS = range(21000, 21060)


def free_socket() -> socket.socket:
    """A listening socket on the first free port of this suite's range."""
    for port in PORTS:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(64)
        except OSError:
            listener.close()
            continue
        return listener
    raise RuntimeError("no free port between 21000 and 21059")


@contextmanager
def serving(app: Any, listener: socket.socket) -> Iterator[str]:
    """Serve an ASGI ``app`` on ``listener`` in a thread; gives the base address."""
    config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://localhost:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


class _ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name the base class has
        """Say nothing."""


@contextmanager
def serving_wsgi(app: Any, listener: socket.socket) -> Iterator[str]:
    """Serve a WSGI ``app`` with the standard library; gives the base address."""
    server = _ThreadingServer(listener.getsockname(), _Quiet, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = "localhost", listener.getsockname()[1]
    server.setup_environ()
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@dataclass(frozen=True)
class Page:
    """An answer as a browser sees it."""

    url: str
    status: int
    headers: list[tuple[str, str]]
    text: str

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def set_cookies(self) -> list[str]:
        return [value for key, value in self.headers if key.lower() == "set-cookie"]


@dataclass
class Browser:
    """Keeps cookies (one jar for all ports, as browsers do), follows redirects if asked."""

    cookies: dict[str, str] = field(default_factory=dict)
    navigation: tuple[tuple[str, str], ...] = (
        ("Accept", "text/html"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    )

    def open(self, url: str, *, follow: bool = True, **headers: str) -> Page:
        """Load a page like a person does."""
        page = self.send("GET", url, headers={**dict(self.navigation), **headers})
        for _hop in range(10):
            target = page.header("location")
            if not follow or not target:
                return page
            page = self.send("GET", urljoin(page.url, target), headers=dict(self.navigation))
        raise AssertionError("redirects without end")

    def send(self, method: str, url: str, *, body: bytes = b"", headers: dict[str, str] | None = None) -> Page:
        """One request, nothing followed."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=20)
        sent = {"Host": parts.netloc, **(headers or {})}
        if self.cookies and "Cookie" not in sent:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, sent)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            page = Page(url, answer.status, answer.getheaders(), text)
        finally:
            connection.close()
        for cookie in page.set_cookies:
            name, _sign, value = cookie.partition(";")[0].partition("=")
            if "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return page
