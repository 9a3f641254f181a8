"""The watch over a journey's log finds what it must: otherwise no journey's log would prove anything."""

from __future__ import annotations

import json
import logging

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.support import watch
from tests.support.watch import Watched, check_lines


async def _redirect(_request: Request) -> Response:
    answer = RedirectResponse("https://forum.test/callback?code=code-0123456789abc&state=state-012345")
    answer.set_cookie("session", "cookie-0123456789abcdef")
    return answer


async def _tokens(request: Request) -> Response:
    await request.form()
    return JSONResponse({"access_token": "access-0123456789abcdef", "token_type": "Bearer"})


def _journey(log: str) -> Watched:
    """A short journey through a tiny application that logs `log`."""
    app = Starlette(routes=[Route("/a", _redirect), Route("/t", _tokens, methods=["POST"])])
    watched = Watched(app, lambda: log, is_json=False)
    watch._open.remove(watched)
    with TestClient(watched, follow_redirects=False) as client:
        client.get("/a?sealed=sealed-0123456789abcdef", headers={"Cookie": "tx=transaction-0123456789"})
        client.post(
            "/t",
            data={"refresh_token": "refresh-0123456789abc", "v-name": "Zoë Ünal"},
            auth=("forum", "secret-of-forum-1"),
        )
    return watched


@pytest.mark.parametrize(
    "leaked",
    [
        "code-0123456789abc", "state-012345", "cookie-0123456789abcdef", "access-0123456789abcdef", "secret-of-forum-1",
        "sealed-0123456789abcdef", "transaction-0123456789", "refresh-0123456789abc", "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS} Ünal",
        "ana.markovic@people.test", "Ana Marković", "sandbox-lucas", "Zm9ydW06c2VjcmV0LW9mLWZvcnVtLTE=", b"cookie-0123456789abcdef".hex(),
    ],
)  # fmt: skip
def test_a_secret_or_a_person_in_the_log_is_found(leaked: str) -> None:
    """Codes, states, tokens, cookies, secrets, typed values and everybody in the sandboxes (catalogue 152)."""
    with pytest.raises(AssertionError, match="the log contains"):
        _journey(f"event=problem detail={leaked}!").check()


def test_a_log_of_ids_and_codes_is_quiet() -> None:
    _journey("event=problem reference=K7QM-2XPD client=forum check=refresh token reused").check()


def test_a_failure_names_the_place_and_never_the_value() -> None:
    with pytest.raises(AssertionError) as caught:
        _journey("refresh-0123456789abc").check()
    assert "refresh_token in a form" in str(caught.value)
    assert "refresh-0123456789abc" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        '{"event": "problem", "level": "info", "timestamp": "now"}',
        '{"event": "request"}',
        '{"event": "a",\n"level": "info", "timestamp": "now"}',
    ],
)
def test_a_line_that_is_no_event_is_found(text: str) -> None:
    """catalogue 151: one event, one line; and what went wrong has a reference code."""
    with pytest.raises((AssertionError, ValueError)):
        check_lines(text)


def test_a_line_that_is_an_event_passes() -> None:
    check_lines(json.dumps({"event": "problem", "level": "info", "timestamp": "now", "reference": "K7QM-2XPD"}))


def test_pythons_own_log_is_searched_too(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("some.library").warning("oh no: %s", "ana.markovic@people.test")
    assert "ana.markovic@people.test" in "\n".join(watch._lines(caplog))
    with pytest.raises(AssertionError, match="contains email of"):
        watch.check_text("Python's log", "\n".join(watch._lines(caplog)), watch.PERSONAL)
