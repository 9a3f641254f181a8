"""For Flask, Trac, MoinMoin and everything else that speaks WSGI (PEP 3333).

```python
app.wsgi_app = WSGISession(app.wsgi_app, kit, set_remote_user=True)
environ["community.session"]          # Session or None
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

from .errors import SessionError
from .kit import SignInKit
from .session import Session
from .wire import LARGEST_BODY, Answer, Request, Visit, page

__all__ = ["WSGISession"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


class WSGISession:
    """Puts ``community.session`` and ``community.notice`` into the environment.

    With ``set_remote_user`` also ``REMOTE_USER``: the subject, which never changes and is never
    given to anybody else. ``remote_user="username"``: the user name at the broker, or
    ``sub:<subject>`` if that was not shared; people may change theirs. What a client sends under
    that name, or under any ``Remote-…`` header, is deleted first in any case.
    """

    def __init__(
        self,
        app: App,
        kit: SignInKit,
        *,
        set_remote_user: bool = False,
        remote_user: Literal["username", "sub"] = "sub",
    ) -> None:
        self._app, self._kit = app, kit
        self._set_remote_user, self._remote_user = set_remote_user, remote_user

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        remove_forged(environ)
        request = _read_request(environ)
        if self._kit.owns(request.path):
            body = _read_body(environ)
            if body is None:
                return _send(page(413, "Too large", "This request is too large."), start_response)
            return _send(self._kit.handle(request, body), start_response)
        visit = self._kit.identify(request)
        if visit.answer is not None:
            return _send(visit.answer, start_response)
        self._tell(environ, visit)

        def start_with_cookies(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, _add_cookies(headers, visit.cookies), *more)

        try:
            return self._app(environ, start_with_cookies)
        except SessionError as error:
            return _send(self._kit.answer_error(request, error).with_cookies(visit.cookies), start_response)

    def _tell(self, environ: Environ, visit: Visit) -> None:
        environ["community.session"] = visit.session
        environ["community.notice"] = visit.notice
        if self._set_remote_user and visit.session is not None:
            environ["REMOTE_USER"] = self._name(visit.session)
            environ["AUTH_TYPE"] = "Doorward"

    def _name(self, session: Session) -> str:
        """WSGI strings are latin-1 that stand for bytes (PEP 3333): the name is UTF-8 in that form."""
        plain = session.sub if self._remote_user == "sub" else session.username or f"sub:{session.sub}"
        return plain.encode().decode("latin-1")


def remove_forged(environ: Environ) -> None:
    """Delete every identity a client may have sent (CVE-2025-64484, CVE-2017-6413).

    `Remote-User`, `Remote_User` and `REMOTE-USER` all arrive as ``HTTP_REMOTE_USER``.
    """
    for name in list(environ):
        plain = name.upper().replace("-", "_")
        forged = plain.startswith(("HTTP_REMOTE_", "HTTP_X_REMOTE_", "COMMUNITY.", "HTTP_X_LOGIN_ASSERTION"))
        if forged or plain in {"REMOTE_USER", "AUTH_TYPE", "HTTP_REMOTE"}:
            del environ[name]


def _read_request(environ: Environ) -> Request:
    headers = [
        (name[5:].replace("_", "-").lower(), value) for name, value in environ.items() if name.startswith("HTTP_")
    ]
    headers.append(("content-type", environ.get("CONTENT_TYPE", "")))
    path = quote(environ.get("PATH_INFO", "").encode("latin-1"), safe="/!$&'()*+,;=:@~")
    return Request(
        method=environ["REQUEST_METHOD"],
        path=path or "/",
        query=environ.get("QUERY_STRING", ""),
        headers=headers,
    )


def _read_body(environ: Environ) -> bytes | None:
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()) or len(length) > 8 or int(length) > LARGEST_BODY:
        return None
    body = environ["wsgi.input"].read(int(length)) if int(length) else b""
    return body if isinstance(body, bytes) else None


def _add_cookies(headers: list[tuple[str, str]], cookies: tuple[str, ...]) -> list[tuple[str, str]]:
    """Append our cookies; an answer that carries them may not be kept by a shared cache."""
    if not cookies:
        return headers
    kept = [(name, value) for name, value in headers if name.lower() != "cache-control"]
    kept.append(("Cache-Control", "private, no-store"))
    return kept + [("Set-Cookie", cookie) for cookie in cookies]


def _send(answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    start_response(status, [*answer.headers, ("Content-Length", str(len(answer.body)))])
    return [answer.body]
