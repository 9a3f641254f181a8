"""Demo wiki: plain WSGI with the sign-in kit, served by the standard library.

Run: ``python -m broker.demo.sites.wiki --client-secret-file FILE``
"""

from __future__ import annotations

import re
import signal
import socketserver
from collections.abc import Callable, Iterable
from html import escape
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from doorward_verify import Session, SignInKit, require_session
from doorward_verify.wire import Request as KitRequest
from doorward_verify.wsgi import WSGISession

from .look import DECLINED, STYLE, Look, Visitor, message, only_shared
from .run import read_settings

__all__ = ["create_app"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

LARGEST: Final = 32_768
MOST: Final = 500
TITLE: Final = re.compile(r"[\w .,'()-]{1,80}\Z")
FIRST_PAGES: Final = {
    "Home": "This is a wiki about a shared garden.\nSee also: Compost, Opening hours.",
    "Compost": "Leaves, kitchen scraps, patience.",
    "Opening hours": "Every day from sunrise to sunset.",
}


class Wiki:
    """The wiki's pages. They live in memory and are gone when it stops."""

    def __init__(self, kit: SignInKit, issuer: str) -> None:
        self.kit = kit
        self.pages: dict[str, tuple[str, str]] = {title: (text, "The gardeners") for title, text in FIRST_PAGES.items()}
        self.look = Look(title="Wiki", kind="wiki", theme="wiki", issuer=issuer, logout_path=kit.logout_path)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Find the page for an address (WSGI)."""
        path = environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace") or "/"
        method = environ["REQUEST_METHOD"]
        if path == "/style.css":
            return _send(start_response, 200, STYLE, {"Content-Type": "text/css; charset=utf-8"})
        if path == "/me":
            status, heading, body, note = self.show_me(environ)
        elif path == "/" and method in {"GET", "HEAD"}:
            status, heading, body, note = self.show_index()
        elif path.startswith("/page/") and method in {"GET", "HEAD"}:
            status, heading, body, note = self.show_page(path.removeprefix("/page/"), environ)
        elif path.startswith("/edit/") and method in {"GET", "HEAD"}:
            status, heading, body, note = self.edit(path.removeprefix("/edit/"), environ)
        elif path.startswith("/edit/") and method == "POST":
            return self.save(path.removeprefix("/edit/"), environ, start_response)
        elif path == "/new" and method in {"GET", "HEAD"}:
            return self.go_to_new(environ, start_response)
        else:
            status, heading, body, note = _not_found()
        return self.render(environ, start_response, status, heading, body, note)

    def render(
        self, environ: Environ, start_response: StartResponse, status: int, heading: str, body: str, note: str
    ) -> Iterable[bytes]:
        """A page in the wiki's frame."""
        session: Session | None = environ["community.session"]
        visitor = None if session is None else _visitor(session)
        if environ["community.notice"] == "declined":
            note = DECLINED + note
        here = quote(environ.get("PATH_INFO", "/").encode("latin-1"))
        html = self.look.page(heading, body, visitor=visitor, sign_in=self.kit.start_url(here), note=note)
        headers = {"Content-Type": "text/html; charset=utf-8", **self.look.headers}
        return _send(start_response, status, html.encode(), headers)

    def show_index(self) -> tuple[int, str, str, str]:
        """The first page: all titles."""
        items = "".join(f'<li><a href="/page/{quote(title)}">{escape(title)}</a></li>' for title in sorted(self.pages))
        form = (
            '<h2>Write a new page</h2><form method="get" action="/new"><label for="title">Its title</label>'
            '<input id="title" name="title" required maxlength="80"><button>Write it</button></form>'
        )
        return 200, "All pages", f'<ul class="list">{items}</ul>{form}', ""

    def show_page(self, title: str, environ: Environ) -> tuple[int, str, str, str]:
        """One page of the wiki."""
        found = self.pages.get(title)
        if found is None:
            return _not_found()
        text, author = found
        note = (
            message("Saved.", "Your change is there for all to read.") if environ.get("QUERY_STRING") == "saved" else ""
        )
        body = (
            f'<article><p>{escape(text)}</p></article><p class="by">Last changed by {escape(author)}</p>'
            f'<p><a class="button" href="/edit/{quote(title)}">Edit this page</a></p><p><a href="/">All pages</a></p>'
        )
        return 200, title, body, note

    def edit(self, title: str, environ: Environ) -> tuple[int, str, str, str]:
        """The form to change a page; a visitor is sent to sign in first."""
        require_session(environ["community.session"])
        if not TITLE.match(title):
            return _not_found()
        text = self.pages.get(title, ("", ""))[0]
        body = (
            f'<form method="post" action="/edit/{quote(title)}"><label for="text">Text</label>'
            f'<textarea id="text" name="text" required maxlength="8000">{escape(text)}</textarea>'
            f'<button>Save</button></form><p><a href="/page/{quote(title)}">Do not change it</a></p>'
        )
        return 200, f"Edit: {title}", body, ""

    def save(self, title: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Keep a changed page."""
        headers = [
            (name[5:].replace("_", "-").lower(), value) for name, value in environ.items() if name.startswith("HTTP_")
        ]
        if not self.kit.is_same_origin(KitRequest(method="POST", path="/", headers=headers)):
            return self.render(environ, start_response, 403, "Not allowed", "<p>This form came from elsewhere.</p>", "")
        session = require_session(environ["community.session"])
        text = _read_form(environ).get("text", "").strip()[:8000]
        if not TITLE.match(title) or not text or (title not in self.pages and len(self.pages) >= MOST):
            body = '<p>A page needs a title and some text.</p><p><a href="/">All pages</a></p>'
            return self.render(environ, start_response, 422, "Something is missing", body, "")
        self.pages[title] = (text, _visitor(session).name)
        return _send(start_response, 303, b"", {"Location": f"/page/{quote(title)}?saved"})

    def go_to_new(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """From the title form to the edit page."""
        title = dict(parse_qsl(environ.get("QUERY_STRING", ""))).get("title", "").strip()
        target = f"/edit/{quote(title)}" if TITLE.match(title) else "/"
        return _send(start_response, 303, b"", {"Location": target})

    def show_me(self, environ: Environ) -> tuple[int, str, str, str]:
        """Exactly what this site received."""
        visitor = _visitor(require_session(environ["community.session"]))
        return 200, "What the wiki knows about you", self.look.about_person(visitor), ""


def _visitor(session: Session) -> Visitor:
    return Visitor(sub=session.sub, shared=only_shared(session.claims))


def _not_found() -> tuple[int, str, str, str]:
    return 404, "Page not found", '<p>There is no such page.</p><p><a href="/">All pages</a></p>', ""


def _read_form(environ: Environ) -> dict[str, str]:
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length[:8]) > LARGEST:
        return {}
    return dict(parse_qsl(environ["wsgi.input"].read(int(length)).decode("utf-8", "replace")))


def _send(start_response: StartResponse, status: int, body: bytes, headers: dict[str, str]) -> list[bytes]:
    listed = [*headers.items(), ("Content-Length", str(len(body)))]
    start_response(f"{status} {HTTPStatus(status).phrase}", listed)
    return [body]


def create_app(*, issuer: str, client_id: str, client_secret: str, public_url: str, **kit_options: Any) -> WSGISession:
    """The wiki as a WSGI application."""
    kit = SignInKit(
        issuer=issuer, client_id=client_id, client_secret=client_secret, public_url=public_url, **kit_options
    )
    return WSGISession(Wiki(kit, issuer), kit, set_remote_user=True)


class ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    """One thread for each request."""

    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    """Logs no addresses: they would carry codes and states. Gives up on slow clients."""

    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name the base class has
        """Say nothing."""


def main() -> None:
    """Serve the wiki on this machine."""
    given = read_settings("wiki", port=8002)
    app = create_app(
        issuer=given.issuer,
        client_id=given.client_id,
        client_secret=given.client_secret,
        public_url=given.public_url,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ThreadingServer(("127.0.0.1", given.port), QuietHandler) as server:
        server.set_app(app)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
