"""A request and an answer, as much of them as the kit needs, for any framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final
from urllib.parse import parse_qsl

from .errors import SessionError
from .session import Session

__all__ = ["Answer", "Request", "Visit", "page", "problem", "read_form"]

LARGEST_BODY: Final = 64 * 1024
_NO_STORE: Final = ("Cache-Control", "no-store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. ``path`` is below the site's root; header names are lower case."""

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str:
        """The value of a header that may appear once; empty if absent or repeated."""
        values = self.all(name)
        return values[0] if len(values) == 1 else ""

    def cookies(self, name: str) -> list[str]:
        """Every value sent for a cookie of this name (RFC 6265 §5.4 allows more than one)."""
        found = []
        for header in self.all("cookie"):
            for pair in header.split(";"):
                key, sign, value = pair.strip(" \t").partition("=")
                if sign and key == name:
                    found.append(value)
        return found

    def cookie_names(self) -> list[str]:
        """Names of all cookies, in the order sent."""
        pairs = (pair for header in self.all("cookie") for pair in header.split(";"))
        return [pair.strip(" \t").partition("=")[0] for pair in pairs]

    @property
    def is_page_load(self) -> bool:
        """A person opening a page, as opposed to a form, a script or a picture."""
        if self.method not in {"GET", "HEAD"}:
            return False
        mode = self.one("sec-fetch-mode")
        if mode:
            return mode == "navigate" and self.one("sec-fetch-dest") in {"", "document"}
        return "text/html" in self.one("accept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A finished response."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    def with_cookies(self, cookies: Sequence[str]) -> Answer:
        """The same answer that also sets these cookies."""
        more = tuple(("Set-Cookie", cookie) for cookie in cookies)
        return Answer(status=self.status, headers=self.headers + more, body=self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What the kit found out about a request.

    ``answer`` is set when the request must not reach the site; ``cookies`` are then already in it.
    ``notice`` is ``"declined"`` once, on the page a person returns to without signing in.
    """

    session: Session | None = None
    notice: str | None = None
    cookies: tuple[str, ...] = field(default=(), repr=False)
    answer: Answer | None = None


def redirect(url: str) -> Answer:
    """Send the browser elsewhere with a GET."""
    return Answer(status=303, headers=(("Location", url), _NO_STORE, ("Referrer-Policy", "no-referrer")))


def problem(error: SessionError) -> Answer:
    """A stable code for programs (RFC 9457)."""
    headers = [("Content-Type", "application/problem+json"), _NO_STORE]
    if error.code != "needs_recent_login":  # for a person, whom a browser shows no challenge
        headers.extend(error.headers.items())
    return Answer(status=error.status, headers=tuple(headers), body=error.problem())


def page(
    status: int,
    title: str,
    text: str,
    links: Sequence[tuple[str, str]] = (),
    *,
    refresh: str | None = None,
) -> Answer:
    """A plain page that loads nothing: one heading, one sentence, links.

    With ``refresh`` the browser goes on by itself and the link is for those that do not. That, not a
    redirect, follows a form: Chromium applies the site's ``form-action`` to the whole chain.
    """
    items = "".join(f'<p><a href="{escape(href)}">{escape(label)}</a></p>' for label, href in links)
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title></head><body><main><h1>{escape(title)}</h1>"
        f"<p>{escape(text)}</p>{items}</main></body></html>"
    )
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        _NO_STORE,
    ]
    if refresh is not None:
        headers.append(("Refresh", f"0; url={refresh}"))
    if status == 503:
        headers.append(("Retry-After", "5"))
    return Answer(status=status, headers=tuple(headers), body=body.encode())


def read_form(text: str) -> dict[str, str] | None:
    """A query or form in which no name appears twice, else ``None`` (RFC 6749 §3.1)."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=50, errors="strict")
    except (ValueError, UnicodeDecodeError):
        return None
    form = dict(pairs)
    return form if len(form) == len(pairs) else None
