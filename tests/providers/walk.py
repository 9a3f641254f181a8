"""A browser's part of a sign-in against a running sandbox: go to the provider, come back with the callback's parameters."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit


def _fetch(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


async def come_back(url: str) -> dict[str, str]:
    """Follow one address without redirects; the parameters the provider sends the browser back with."""
    status, headers, body = await asyncio.to_thread(_fetch, "GET", url, None, {})
    assert status in {302, 303}, f"the provider showed a page: {status} {body[:300]!r}"
    return dict(parse_qsl(urlsplit(headers["location"]).query, keep_blank_values=True))


async def order(base: str, **orders: Any) -> None:
    """Steer a sandbox at its control plane."""
    body = json.dumps(orders).encode()
    status, _, answer = await asyncio.to_thread(
        _fetch, "POST", f"{base}/__emu__", body, {"Content-Type": "application/json"}
    )
    assert status == 200, answer


async def log_of(base: str) -> list[dict[str, Any]]:
    """What the sandbox was asked."""
    status, _, answer = await asyncio.to_thread(_fetch, "GET", f"{base}/__emu__/log", None, {})
    assert status == 200
    return list(json.loads(answer)["entries"])
