"""For Django.

```python
MIDDLEWARE = [..., "doorward_verify.django.SignInMiddleware"]
COMMUNITY_LOGIN = {"ISSUER": …, "CLIENT_ID": …, "CLIENT_SECRET": …, "PUBLIC_URL": …}   # SCOPE, PREFIX, …
request.community_session             # Session or None
```
Every key of ``COMMUNITY_LOGIN`` is an argument of `SignInKit` in capitals.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import quote

from .errors import ConfigurationError, SessionError
from .kit import SignInKit
from .wire import LARGEST_BODY, Answer, Request, page

__all__ = ["SignInMiddleware", "the_kit"]


@lru_cache(maxsize=1)
def the_kit() -> SignInKit:
    """The kit made from ``settings.COMMUNITY_LOGIN``. Raises `ConfigurationError`."""
    settings = import_module("django.conf").settings
    given = getattr(settings, "COMMUNITY_LOGIN", None)
    if not isinstance(given, dict):
        raise ConfigurationError("settings.COMMUNITY_LOGIN is missing")
    arguments: dict[str, Any] = {
        "client_secret": None,
        **{key.lower(): value for key, value in given.items()},
    }
    try:
        return SignInKit(**arguments)
    except TypeError:
        raise ConfigurationError("settings.COMMUNITY_LOGIN has an unknown or a missing key") from None


class SignInMiddleware:
    """Sets ``request.community_session`` and ``request.community_notice``.

    Put it before ``CsrfViewMiddleware``: the kit's own POST paths check their origin themselves, and
    the broker's back-channel call carries no CSRF cookie.
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._respond = get_response
        self._kit = the_kit()

    def __call__(self, request: Any) -> Any:
        """Handle one request."""
        seen = _read_request(request)
        if self._kit.owns(seen.path):
            if len(request.body) > LARGEST_BODY:
                return _response(page(413, "Too large", "This request is too large."))
            return _response(self._kit.handle(seen, request.body))
        visit = self._kit.identify(seen)
        if visit.answer is not None:
            return _response(visit.answer)
        request.community_session, request.community_notice = visit.session, visit.notice
        response = self._respond(request)
        if visit.cookies:
            response["Cache-Control"] = "private, no-store"
            _set_cookies(response, visit.cookies)
        return response

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """A `SessionError` raised by a view (`require_session`) becomes an answer."""
        if not isinstance(exception, SessionError):
            return None
        return _response(self._kit.answer_error(_read_request(request), exception))


def _read_request(request: Any) -> Request:
    return Request(
        method=request.method,
        path=quote(request.path_info, safe="/!$&'()*+,;=:@~"),
        query=request.META.get("QUERY_STRING", ""),
        headers=[(name.lower(), value) for name, value in request.headers.items()],
    )


def _response(answer: Answer) -> Any:
    response = import_module("django.http").HttpResponse(answer.body, status=answer.status)
    del response["Content-Type"]
    for name, value in answer.headers:
        if name != "Set-Cookie":
            response[name] = value
    _set_cookies(response, tuple(value for name, value in answer.headers if name == "Set-Cookie"))
    return response


def _set_cookies(response: Any, cookies: tuple[str, ...]) -> None:
    for cookie in cookies:
        pair, *attributes = cookie.split("; ")
        name, _sign, value = pair.partition("=")
        given = dict(item.partition("=")[::2] for item in attributes)
        response.set_cookie(
            name,
            value,
            max_age=int(given["Max-Age"]) if "Max-Age" in given else None,
            httponly=True,
            samesite="Lax",
            secure="Secure" in given,
        )
