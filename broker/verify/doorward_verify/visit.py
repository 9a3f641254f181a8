"""Who is there? One rule table for every request of a site.

| found | page load | anything else |
|---|---|---|
| good token | in | in |
| expired, renewed server to server | in, new cookies | in, new cookies |
| expired, renewal refused | to the broker, silently | 401 and its code |
| broker or keys out of reach | 503 page | 503 problem |
| ended by a sign-out | anonymous | 401 ``revoked`` |
| forged, foreign, oversized, twice | anonymous | anonymous |
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from .errors import NeedsNetwork, SessionError
from .fetch import Unreachable
from .provider import Refused, log_code
from .wire import Request, Visit, problem, redirect

if TYPE_CHECKING:
    from .kit import SignInKit

__all__ = ["identify"]

RENEWABLE: Final = frozenset({"missing", "expired", "unknown_key"})

log = logging.getLogger("doorward_verify")


def identify(kit: SignInKit, request: Request, *, network: bool) -> Visit:
    """Read the session of a request. Raises `NeedsNetwork` only if ``network`` is false."""
    bearer = _identify_bearer(kit, request, network=network) if kit.accept_bearer else None
    if bearer is not None:
        return bearer
    notices = request.cookies(kit.cookies.notice)
    notice = "declined" if notices == ["declined"] else None
    clear = (kit.cookies.clear(kit.cookies.notice),) if notices else ()
    visit = _identify_cookie(kit, request, network=network)
    if visit.answer is not None:
        return visit
    return Visit(session=visit.session, notice=notice, cookies=visit.cookies + clear)


def _identify_bearer(kit: SignInKit, request: Request, *, network: bool) -> Visit | None:
    """Bearer beats cookie (RFC 6750 §2.1). Anything odd is 401, never a fall back to the cookie."""
    headers = request.all("authorization")
    if len(headers) > 1:
        return Visit(answer=problem(SessionError("malformed")))
    scheme, _space, token = headers[0].partition(" ") if headers else ("", "", "")
    if scheme.lower() != "bearer":
        return None
    try:
        return Visit(session=kit.verifier.verify(token.strip(" ") or "-", network=network))
    except SessionError as error:
        return Visit(answer=problem(error))


def _identify_cookie(kit: SignInKit, request: Request, *, network: bool) -> Visit:
    tokens = request.cookies(kit.cookies.session)
    handles = request.cookies(kit.cookies.handle)
    if not tokens and not handles:
        return Visit()
    if len(tokens) > 1 or len(handles) > 1:
        # One of them was planted, and nobody can say which.
        return Visit(cookies=kit.cookies.clear_session())
    try:
        return Visit(session=kit.verifier.verify(tokens[0] if tokens else None, network=network))
    except SessionError as error:
        return _without_good_token(kit, request, error, network=network)


def _without_good_token(kit: SignInKit, request: Request, error: SessionError, *, network: bool) -> Visit:
    if error.status == 503:
        return _unavailable(kit, request, error)
    clear = kit.cookies.clear_session()
    if error.code == "revoked":
        return Visit(cookies=clear) if request.is_page_load else _refuse(error, clear)
    if error.code not in RENEWABLE:
        return Visit(cookies=clear)
    handle = kit.read_handle(request)
    if handle is None or not handle.get("rt"):
        if error.code != "expired":
            return Visit(cookies=clear)
        return _sign_in_again(kit, request, error, clear)
    if not network:
        raise NeedsNetwork
    return _renew(kit, request, handle, clear)


def _renew(kit: SignInKit, request: Request, handle: dict[str, Any], clear: tuple[str, ...]) -> Visit:
    try:
        tokens = kit.renewals.renew(handle["rt"], sub=handle["sub"])
        # The answer may have been remembered: a sign-out since then counts.
        session = kit.verifier.verify(tokens.session_token)
        return Visit(session=session, cookies=tuple(kit.session_cookies(tokens, before=handle)))
    except Unreachable:
        return _unavailable(kit, request, SessionError("keys_unavailable"))
    except Refused as refused:
        log.info("session not renewed: %s", log_code(refused.code))
        return _sign_in_again(kit, request, SessionError("expired"), clear)
    except SessionError as error:
        if error.status == 503:
            return _unavailable(kit, request, error)
        log.warning("renewed session refused: %s", error.code)
        return _sign_in_again(kit, request, error, clear)


def _sign_in_again(kit: SignInKit, request: Request, error: SessionError, clear: tuple[str, ...]) -> Visit:
    if not request.is_page_load:
        return _refuse(error, clear)
    return Visit(answer=redirect(kit.silent_url(kit.here(request))).with_cookies(clear))


def _refuse(error: SessionError, clear: tuple[str, ...]) -> Visit:
    return Visit(answer=problem(error).with_cookies(clear))


def _unavailable(kit: SignInKit, request: Request, error: SessionError) -> Visit:
    if not request.is_page_load:
        return Visit(answer=problem(error))
    return Visit(answer=kit.unavailable(kit.here(request)))
