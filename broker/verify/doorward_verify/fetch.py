"""Server-to-server calls to the broker: no proxies, no redirects, a size cap and a deadline."""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from .errors import ConfigurationError

__all__ = ["Document", "Fetcher", "Reply", "Unreachable", "check_url"]

TIMEOUT: Final = 5.0
LARGEST: Final = 1_000_000


class Unreachable(Exception):
    """The broker could not be reached, or what came back was not an answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and the JSON object that came with it (empty if there was none)."""

    status: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """What is at an address, as text; ``None`` if it is still the copy with that ``etag``."""

    text: str | None
    etag: str


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, what: str) -> str:
    """Return ``url`` if it is https, or http on this very machine. Raises `ConfigurationError`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    fine = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))
    if not fine or not host or parts.username or parts.password or parts.fragment:
        raise ConfigurationError(f"{what} must be an https address (http only on this machine)")
    return url


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class Fetcher:
    """Calls the broker. Blocks; adapters for asyncio run it in a thread."""

    def __init__(self, *, timeout: float = TIMEOUT, ssl_context: ssl.SSLContext | None = None) -> None:
        self._timeout = timeout
        context = ssl_context or ssl.create_default_context()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirect(), urllib.request.HTTPSHandler(context=context)
        )

    def load(self, url: str) -> Reply:
        """GET a JSON document. Raises `Unreachable`."""
        return self._send(urllib.request.Request(url, headers=self._headers({})))

    def load_text(self, url: str, *, accept: str, etag: str = "") -> Document:
        """GET a document unless it is still the one with this ``etag``. Raises `Unreachable`."""
        headers = {**self._headers({"Accept": accept}), **({"If-None-Match": etag} if etag else {})}
        status, kind, found, raw = self._send_raw(urllib.request.Request(url, headers=headers))
        if status == 304 and etag:
            return Document(None, etag)
        if status != 200 or kind != accept:
            raise Unreachable
        try:
            return Document(raw.decode("ascii"), found)
        except UnicodeDecodeError:
            raise Unreachable from None

    def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """POST a form, read JSON. Raises `Unreachable`."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        request = urllib.request.Request(
            url, data=urlencode(form).encode(), headers=self._headers({**kind, **headers}), method="POST"
        )
        return self._send(request)

    def post_json(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        """POST a JSON object, read JSON. Raises `Unreachable`."""
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            url, data=json.dumps(body).encode(), headers=self._headers({**kind, **headers}), method="POST"
        )
        return self._send(request)

    @staticmethod
    def _headers(more: Mapping[str, str]) -> dict[str, str]:
        return {"Accept": "application/json", "User-Agent": "doorward-verify", **more}

    def _send(self, request: urllib.request.Request) -> Reply:
        status, _kind, _etag, raw = self._send_raw(request)
        if 300 <= status < 400:
            raise Unreachable
        try:
            body = json.loads(raw) if raw else {}
        except (ValueError, RecursionError):
            if status < 300:
                raise Unreachable from None
            body = {}
        if not isinstance(body, dict):
            if status < 300:
                raise Unreachable
            body = {}
        return Reply(status, body)

    def _send_raw(self, request: urllib.request.Request) -> tuple[int, str, str, bytes]:
        """Status, media type, entity tag and body."""
        deadline = time.monotonic() + self._timeout
        try:
            check_url(request.full_url, "the broker's address")
            try:
                with self._opener.open(request, timeout=self._timeout) as answer:
                    return self._read(answer, answer.status, deadline)
            except urllib.error.HTTPError as refused:
                with refused:
                    return self._read(refused, refused.code, deadline)
        except (OSError, HTTPException, ValueError):
            # The cause may quote the address or the body: it is dropped.
            raise Unreachable from None

    def _read(self, answer: Any, status: int, deadline: float) -> tuple[int, str, str, bytes]:
        """Read at most the cap, and not longer than the deadline (a drip is an outage too)."""
        chunks, size = [], 0
        while chunk := answer.read1(65536):
            size += len(chunk)
            if size > LARGEST or time.monotonic() > deadline:
                raise Unreachable
            chunks.append(chunk)
        if status >= 500 or status == 429:
            raise Unreachable
        return status, answer.headers.get_content_type(), answer.headers.get("ETag", ""), b"".join(chunks)
