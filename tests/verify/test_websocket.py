"""Sockets of an ASGI site: who opened one is known by the same cookie, and nothing is renewed on the way."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from doorward_verify import SignInKit
from doorward_verify.asgi import SignInMiddleware
from stub_op import StubOP
from verify_sites import build_kit

SITE = "https://forum.example.org"


def opened(kit: SignInKit, token: str | None, *, origin: str = SITE, **headers: str) -> Any:
    """The session that a site finds in the state of a socket."""
    found: list[Any] = []

    async def site(scope: Any, _receive: Any, _send: Any) -> None:
        found.append(scope["state"]["session"])

    cookie = f"{kit.cookies.session}={token}" if token else ""
    sent = {"origin": origin, "cookie": cookie, **headers}
    scope = {
        "type": "websocket",
        "path": "/live",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    asyncio.run(SignInMiddleware(site, kit)(scope, nothing, nothing))
    return found[0]


def test_a_socket_knows_who_opened_it_also_before_anything_was_asked(op: StubOP) -> None:
    """The first request of a new process may be one: keys are loaded for it, and it does not become nobody's."""
    session = opened(build_kit(op, SITE), op.session_token())
    assert session is not None
    assert session.sub == "subject-1"
    assert opened(build_kit(op, SITE), None, authorization=f"Bearer {op.session_token()}").sub == "subject-1"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_a_socket_that_another_page_opens_is_nobodys(op: StubOP, origin: str) -> None:
    """Browsers send cookies along with sockets from anywhere."""
    assert opened(build_kit(op, SITE), op.session_token(), origin=origin) is None
    assert not op.calls


def test_a_socket_renews_nothing(op: StubOP) -> None:
    """It could not keep the new cookies, and the refresh token would be used up."""
    kit, now = build_kit(op, SITE), int(time.time())
    op.refresh["rt"] = 0
    handle = kit.sealer.seal(kit.cookies.handle, {"rt": "rt", "sub": "subject-1", "idt": None}, seconds=600)
    old = op.session_token(iat=now - 900, exp=now - 1, auth_time=1)
    assert opened(kit, f"{old}; {kit.cookies.handle}={handle}") is None
    assert op.refresh == {"rt": 0}


def test_a_socket_with_a_forged_token_or_in_an_outage_is_nobodys(op: StubOP) -> None:
    stranger = StubOP(issuer=op.issuer)
    assert opened(build_kit(op, SITE), stranger.session_token()) is None
    op.faults.add("keys down")
    assert opened(build_kit(op, SITE), op.session_token()) is None
