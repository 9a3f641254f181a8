"""Forward-auth: a proxy asks before each request who sends it, and hands the answer on to the site behind it.

Pure rules: which page a proxy speaks of, whether a browser is there to be sent to sign in, and what the site is told.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from broker.domain.browser_state import origin_of
from broker.domain.claims import EMAIL, EMAIL_VERIFIED, NAME, PREFERRED_USERNAME
from broker.domain.client import Client
from broker.domain.disclosure import Disclosure
from broker.domain.grant import OFFLINE_ACCESS

ENTRY_PATH: Final = "/.doorward/"
"""What a proxy passes on to us at the site's own host, so that the site gets a cookie of its own there."""
SIGN_IN: Final = f"{ENTRY_PATH}sign-in"
CALLBACK: Final = f"{ENTRY_PATH}callback"

USER: Final = "remote-user"
NAME_HEADER: Final = "remote-name"
EMAIL_HEADER: Final = "remote-email"
GROUPS: Final = "remote-groups"
ASSERTION: Final = "x-login-assertion"
HEADERS: Final = (USER, NAME_HEADER, EMAIL_HEADER, GROUPS, ASSERTION)
"""All of them stand in every answer, empty where there is nothing to say: what a browser forged is written over."""

MAX_PAGE: Final = 1500
"""Longest path with query that somebody is brought back to; from a longer one they come to the site's first page."""

Values = Mapping[str, Sequence[str]]
"""Each header by its name in lower case, with every value it was sent with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a proxy said about the request it holds."""

    url: str | None = field(repr=False)
    """The whole address; `None` if it did not say one clearly."""
    is_page_load: bool
    """Whether a browser opens a page, so that it can be sent elsewhere."""
    takes_redirects: bool
    """Whether the proxy passes a redirect on; nginx's `auth_request` passes nothing but 401 and 403."""


def read_question(headers: Values) -> Question:
    """nginx names the request in `X-Original-*`, Caddy and Traefik in `X-Forwarded-*`.

    Both at once means that a browser sent one of them: neither is believed.
    """
    original, forwarded = headers.get("x-original-url", ()), headers.get("x-forwarded-uri", ())
    url, method = None, ""
    if original and not forwarded:
        url, method = _one(headers, "x-original-url"), _one(headers, "x-original-method")
    elif forwarded and not original:
        parts = [_one(headers, f"x-forwarded-{name}") for name in ("proto", "host", "uri")]
        url = f"{parts[0]}://{parts[1]}{parts[2]}" if all(parts) and parts[2].startswith("/") else None
        method = _one(headers, "x-forwarded-method")
    return Question(url=url, is_page_load=_is_page_load(method, headers), takes_redirects=not original)


def _one(headers: Values, name: str) -> str:
    """The value of a header that was sent exactly once; nothing for any other."""
    values = headers.get(name, ())
    return values[0] if len(values) == 1 else ""


def _is_page_load(method: str, headers: Values) -> bool:
    """Whether a person would see where a redirect leads; a program or a script gets its 401 instead."""
    if method not in {"GET", "HEAD"}:
        return False
    mode = _one(headers, "sec-fetch-mode")
    if mode:
        return mode == "navigate" and _one(headers, "sec-fetch-dest") in {"", "document"}
    return "text/html" in _one(headers, "accept") and "x-requested-with" not in headers


def gate_of(client: Client) -> str:
    """The origin that the client's gate stands before."""
    return origin_of(client.url)


def callback_of(client: Client) -> str:
    """Where the handover arrives: an address of the site's own host, registered like any other."""
    return f"{gate_of(client)}{CALLBACK}"


def page_of(client: Client, url: str | None) -> str | None:
    """The page to come back to, at the site's own origin whatever was sent; `None` if it is about another host.

    What no address may hold, or what is too long, becomes the site's first page (catalogue 144).
    """
    if url is None:
        return None
    try:
        if origin_of(url) != gate_of(client):
            return None
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.username is not None or parts.password is not None:
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    safe = path.isascii() and all("!" <= ch <= "~" and ch != "\\" for ch in path) and len(path) <= MAX_PAGE
    return gate_of(client) + (path if safe and not path.startswith(ENTRY_PATH) else "/")


def scope_of(client: Client) -> str:
    """What the gate asks for: all that the site may, but nothing while the person is away."""
    return " ".join(sorted(client.scopes - {OFFLINE_ACCESS}))


def is_named(client: Client) -> bool:
    """Whether people are known by their user name at this site; otherwise by their number there."""
    return any(ask.claim == PREFERRED_USERNAME for ask in client.asks)


def identity(client: Client, disclosure: Disclosure) -> dict[str, str] | None:
    """The identity headers without the assertion; `None` if nobody can be named (catalogue 95, 142).

    An e-mail address goes only if we vouch for it: a header has no place to say that nobody checked it.
    """
    claims = disclosure.claims
    user = header_text(claims.get(PREFERRED_USERNAME)) if is_named(client) else disclosure.subject
    if not user:
        return None
    email = claims.get(EMAIL) if claims.get(EMAIL_VERIFIED) is True else None
    return {USER: user, NAME_HEADER: header_text(claims.get(NAME)), EMAIL_HEADER: header_text(email), GROUPS: ""}


def header_text(value: object) -> str:
    """A value on one line: whatever controls, formats or separates is a blank (catalogue 148)."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(" " if unicodedata.category(ch)[0] in "CZ" else ch for ch in value).split())
