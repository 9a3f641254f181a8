"""A browser's part of a sign-in against a running sandbox: go to the provider, come back with the callback's parameters."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from providers.preset import is_posting_scope


_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


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
    if status == 200 and b'method="post"' in body:  # form_post: the person's press sends it to us
        return {unescape(name): unescape(value) for name, value in _HIDDEN.findall(body.decode())}
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


def assert_harmless(lines: list[dict[str, Any]]) -> None:
    """What no sign-in may ever have asked of a Facebook-like sandbox, whoever it was (protocols.md §6.6).

    No posting scope; the proof on every Graph call; no token and no secret in an address that ends up in logs; no
    secret in a Referer; each code exchanged once.
    """
    codes: list[str] = []
    for line in lines:
        path = line["path"]
        assert not line["referer_secret"], path
        assert "client_secret" not in line["query"], path
        if "/dialog/" in path or path.startswith("/dialog/"):
            asked = line["query"].get("scope", "").replace(",", " ").split()
            assert not [scope for scope in asked if is_posting_scope(scope)], asked
        elif path.endswith("/oauth/access_token"):
            codes += [line["code_ref"]] if line.get("code_ref") else []
        elif "/.well-known/" not in path and "/picture" not in path and "/profilepic/" not in path:
            assert "appsecret_proof" in line["query"], path
            assert line.get("proof", "valid") == "valid", path
            assert line["auth"] == "bearer" or path.endswith(("/debug_token", "/access_token_info")), path
    assert len(set(codes)) == len(codes), "a code was exchanged twice"
