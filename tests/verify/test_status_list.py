"""`mode="status"`: the rule of each request, and lists that are not to be believed."""

from __future__ import annotations

import threading
import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from doorward_verify import ConfigurationError, SessionError, Verifier
from doorward_verify.errors import NeedsNetwork
from doorward_verify.status_list import FRESH, MOST_BYTES, MOST_LISTS, PAUSE, STALE
from doorward_verify.testvectors import build_vectors
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from stub_op import StubOP
from test_websocket import SITE, opened
from verify_servers import free_socket, serving
from verify_sites import build_kit

PLACES = 4096


def packed(data: bytes) -> str:
    return urlsafe_b64encode(zlib.compress(data, 9)).rstrip(b"=").decode()


@dataclass
class Lists:
    """The lists of a stand-in broker, and two clocks that stand until they are moved."""

    op: StubOP
    ended: set[int] = field(default_factory=set)
    changes: dict[str, Any] = field(default_factory=dict)
    status_list: dict[str, Any] = field(default_factory=dict)
    typ: str = "statuslist+jwt"
    fault: str = ""
    asked: list[str] = field(default_factory=list)
    ahead: float = 0.0
    delay: float = 0.0

    def token(self, uri: str) -> str:
        bits = bytearray(PLACES // 8)
        for place in self.ended:
            bits[place >> 3] |= 1 << (place & 7)
        now = int(time.time() + self.ahead)
        claims = {
            "iss": self.op.issuer,
            "sub": uri,
            "iat": now,
            "exp": now + 900,
            "ttl": 60,
            "status_list": {"bits": 1, "lst": packed(bytes(bits)), **self.status_list},
            **self.changes,
        }
        return self.op.sign(claims, self.typ)

    async def answer(self, request: Request) -> Response:
        uri = f"{self.op.issuer}{request.url.path}"
        self.asked.append(request.headers.get("if-none-match", ""))
        assert request.headers["accept"] == "application/statuslist+jwt"
        if self.delay:
            import asyncio

            await asyncio.sleep(self.delay)
        if self.fault == "down":
            return Response(status_code=503)
        if self.fault == "gone":
            return Response(status_code=404)
        if self.fault == "redirect":
            return RedirectResponse("/elsewhere")
        if self.fault == "another type":
            return Response(self.token(uri), media_type="text/plain")
        if self.fault == "huge":
            return Response(b"a" * 1_100_000, media_type="application/statuslist+jwt")
        if self.fault == "nonsense":
            return Response("é".encode(), media_type="application/statuslist+jwt")
        etag = f'"{sorted(self.ended)}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        return Response(self.token(uri), media_type="application/statuslist+jwt", headers={"ETag": etag})

    def verifier(self, **more: Any) -> Verifier:
        found = Verifier(self.op.issuer, "forum", mode="status", clock=lambda: time.time() + self.ahead, **more)
        start = time.monotonic()
        found.statuses._clock = lambda: start + self.ahead
        return found

    def session(self, place: Any = 7, *, name: str = "a", **more: Any) -> str:
        reference = {"status_list": {"idx": place, "uri": f"{self.op.issuer}/status/{name}"}}
        return self.op.session_token(**({"status": reference, "exp": int(time.time()) + 80_000} | more))


@pytest.fixture
def lists() -> Iterator[Lists]:
    op = StubOP(key=ECKey.generate_key("P-256", {"kid": "k1"}))
    found, listener = Lists(op), free_socket()
    app = op.build_app()
    app.router.routes.append(Route("/status/{name}", found.answer))
    with serving(app, listener) as url:
        op.issuer = url
        yield found


def code(verifier: Verifier, token: str, *, network: bool = True) -> str:
    try:
        verifier.verify(token, network=network)
    except SessionError as error:
        return error.code
    return "ok"


def test_what_has_ended_is_seen_within_a_minute_by_one_call_for_all_tokens(lists: Lists) -> None:
    verifier = lists.verifier()
    tokens = [lists.session(place) for place in range(20)]
    assert {code(verifier, token) for token in tokens} == {"ok"}
    assert lists.asked == [""]
    lists.ended = {3, 4095}
    lists.ahead += FRESH - 1
    assert code(verifier, tokens[3]) == "ok"
    assert len(lists.asked) == 1
    lists.ahead += 1
    assert [code(verifier, token) for token in tokens] == ["ok"] * 3 + ["revoked"] + ["ok"] * 16
    assert code(verifier, lists.session(4095)) == "revoked"
    assert lists.asked == ["", '"[]"']


def test_a_list_that_is_the_same_is_not_sent_again(lists: Lists) -> None:
    verifier, token = lists.verifier(), lists.session()
    for _ in range(5):
        assert code(verifier, token) == "ok"
        lists.ahead += FRESH
    assert lists.asked == ["", *['"[]"'] * 4]


def test_a_list_may_want_to_be_asked_for_sooner(lists: Lists) -> None:
    lists.changes = {"ttl": 5}
    verifier, token = lists.verifier(), lists.session()
    assert code(verifier, token) == "ok"
    lists.ended, lists.ahead = {7}, 5.0
    assert code(verifier, token) == "revoked"


def test_each_list_is_fetched_for_itself_and_few_are_kept(lists: Lists) -> None:
    verifier = lists.verifier()
    for number in range(MOST_LISTS + 3):
        assert code(verifier, lists.session(name=f"n{number}")) == "ok"
    assert len(lists.asked) == MOST_LISTS + 3
    assert len(verifier.statuses._copies) == MOST_LISTS


@pytest.mark.parametrize("fault", ["down", "gone", "redirect", "another type", "huge", "nonsense"])
def test_an_outage_goes_by_the_last_list_for_ten_minutes_and_then_lets_nobody_in(lists: Lists, fault: str) -> None:
    """And signs nobody out: 503, not 401."""
    verifier, gone, here = lists.verifier(), lists.session(3), lists.session(4)
    lists.ended = {3}
    assert (code(verifier, gone), code(verifier, here)) == ("revoked", "ok")
    lists.fault, lists.ahead = fault, STALE - 1
    assert (code(verifier, gone), code(verifier, here)) == ("revoked", "ok")
    lists.ahead += 2
    assert (code(verifier, gone), code(verifier, here)) == ("keys_unavailable", "keys_unavailable")
    lists.fault = ""
    assert code(verifier, here) == "keys_unavailable"
    lists.ahead += PAUSE
    assert (code(verifier, gone), code(verifier, here)) == ("revoked", "ok")


def test_in_an_outage_the_broker_is_asked_every_ten_seconds(lists: Lists) -> None:
    verifier, token = lists.verifier(), lists.session()
    lists.fault = "down"
    assert {code(verifier, token) for _ in range(5)} == {"keys_unavailable"}
    assert len(lists.asked) == 1
    lists.fault, lists.ahead = "", PAUSE
    assert code(verifier, token) == "ok"
    lists.fault, lists.ahead = "down", PAUSE + FRESH
    assert {code(verifier, token) for _ in range(5)} == {"ok"}
    assert len(lists.asked) == 3
    lists.ahead += PAUSE
    assert code(verifier, token) == "ok"
    assert len(lists.asked) == 4


def test_no_list_is_gone_by_after_its_own_end(lists: Lists) -> None:
    """However often the broker says that it is still the same."""
    lists.changes = {"exp": int(time.time()) + 100}
    verifier, token = lists.verifier(), lists.session()
    assert code(verifier, token) == "ok"
    lists.ahead = 61
    assert code(verifier, token) == "ok"
    lists.ahead = 101
    assert code(verifier, token) == "keys_unavailable"


WRONG: dict[str, dict[str, Any]] = {
    "another type": {"typ": "session+jwt"},
    "no type": {"typ": "JWT"},
    "another issuer": {"changes": {"iss": "https://evil.example"}},
    "another list": {"changes": {"sub": "https://evil.example/status/a"}},
    "no name": {"changes": {"sub": None}},
    "over": {"changes": {"exp": 1}},
    "without end": {"changes": {"exp": None}},
    "from the future": {"changes": {"iat": 4_000_000_000, "exp": 4_000_000_900}},
    "a lasting one": {"changes": {"ttl": 0}},
    "a ttl in words": {"changes": {"ttl": "60"}},
    "no list": {"changes": {"status_list": None}},
    "a list of lists": {"changes": {"status_list": []}},
    "two bits": {"status_list": {"bits": 2}},
    "bits that are true": {"status_list": {"bits": True}},
    "no bits": {"status_list": {"bits": None}},
    "no text": {"status_list": {"lst": 5}},
    "not base64": {"status_list": {"lst": "!!"}},
    "not compressed": {"status_list": {"lst": urlsafe_b64encode(b"x" * 300).rstrip(b"=").decode()}},
    "cut short": {"status_list": {"lst": packed(bytes(range(256)))[:100]}},
    "something behind": {"status_list": {"lst": urlsafe_b64encode(zlib.compress(b"1") + b"22").decode().rstrip("=")}},
    "a bomb": {"status_list": {"lst": packed(bytes(MOST_BYTES + 1))}},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_list_that_is_not_to_be_believed_says_nothing(lists: Lists, wrong: str) -> None:
    """Type, issuer, address, times, shape; and what unpacks to too much (§8.3; catalogue 73, 76, 85)."""
    for name, value in WRONG[wrong].items():
        setattr(lists, name, value)
    assert code(lists.verifier(), lists.session()) == "keys_unavailable"


def test_a_list_of_somebody_else_is_not_believed(lists: Lists) -> None:
    """catalogue 70"""
    verifier = lists.verifier()
    assert code(verifier, lists.session(name="b")) == "ok"
    token, lists.op.key = lists.session(), ECKey.generate_key("P-256", {"kid": "k1"})
    assert code(verifier, token) == "keys_unavailable"


def test_the_largest_list_is_taken(lists: Lists) -> None:
    lists.status_list = {"lst": packed(bytes(MOST_BYTES - 1) + b"\x80")}
    verifier = lists.verifier()
    assert code(verifier, lists.session(8 * MOST_BYTES - 1)) == "revoked"
    assert code(verifier, lists.session(8 * MOST_BYTES - 2)) == "ok"
    assert code(verifier, lists.session(8 * MOST_BYTES)) == "malformed"


@pytest.mark.parametrize(
    "status",
    [
        [],
        "x",
        {},
        {"status_list": []},
        {"status_list": {"idx": 1}},
        {"status_list": {"idx": -1, "uri": "ISSUER/status/a"}},
        {"status_list": {"idx": True, "uri": "ISSUER/status/a"}},
        {"status_list": {"idx": "1", "uri": "ISSUER/status/a"}},
        {"status_list": {"idx": 1, "uri": "https://evil.example/status/a"}},
        {"status_list": {"idx": 1, "uri": "ISSUER.evil.example/status/a"}},
        {"status_list": {"idx": 1, "uri": "ISSUER@evil.example/status/a"}},
        {"status_list": {"idx": 1, "uri": "ISSUER/status/" + "a" * 2048}},
    ],
    ids=str,
)
def test_a_token_cannot_send_us_anywhere(lists: Lists, status: Any) -> None:
    """Its list is at the issuer's own address or nowhere."""
    if isinstance(status, dict) and isinstance(status.get("status_list"), dict):
        found = status["status_list"]
        status = {
            "status_list": {
                name: value.replace("ISSUER", lists.op.issuer) if isinstance(value, str) else value
                for name, value in found.items()
            }
        }
    assert code(lists.verifier(), lists.session(status=status)) == "malformed"
    assert not lists.asked


def test_a_token_that_names_no_list_is_checked_like_any_other(lists: Lists) -> None:
    """A broker may have the lists switched off."""
    assert code(lists.verifier(), lists.op.session_token()) == "ok"
    assert not lists.asked


def test_other_modes_do_not_look(lists: Lists) -> None:
    lists.ended = {7}
    assert code(Verifier(lists.op.issuer, "forum"), lists.session()) == "ok"
    assert not lists.asked
    with pytest.raises(ConfigurationError):
        Verifier(lists.op.issuer, "forum", mode="lists")  # type: ignore[arg-type]


def test_nothing_blocks_where_the_caller_may_not_wait(lists: Lists) -> None:
    verifier, token = lists.verifier(), lists.session()
    verifier.keys.find("k1")
    with pytest.raises(NeedsNetwork):
        verifier.verify(token, network=False)
    assert code(verifier, token) == "ok"
    assert code(verifier, token, network=False) == "ok"
    lists.ahead = FRESH
    with pytest.raises(NeedsNetwork):
        verifier.verify(token, network=False)
    assert len(lists.asked) == 1


def test_a_socket_opened_when_a_list_is_due_waits_for_it(lists: Lists) -> None:
    """Once a minute somebody opens one at that moment: they are not nobody."""
    kit = build_kit(lists.op, SITE, mode="status")
    kit.verifier.statuses = lists.verifier().statuses
    token = lists.session()
    assert opened(kit, token) is not None
    lists.ahead = FRESH
    assert opened(kit, token) is not None
    lists.ended, lists.ahead = {7}, 2 * FRESH
    assert opened(kit, token) is None
    assert len(lists.asked) == 3


def at_once(verifier: Verifier, tokens: list[str]) -> list[str]:
    found: list[str] = []
    threads = [threading.Thread(target=lambda t=token: found.append(code(verifier, t))) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_a_crowd_fetches_a_list_once(lists: Lists) -> None:
    verifier = lists.verifier()
    tokens = [lists.session(place) for place in range(12)]
    verifier.keys.find("k1")
    lists.delay = 0.2
    assert at_once(verifier, tokens) == ["ok"] * 12
    assert len(lists.asked) == 1
    lists.ahead, begun = FRESH, time.monotonic()
    assert at_once(verifier, tokens) == ["ok"] * 12
    assert len(lists.asked) == 2
    assert time.monotonic() - begun < 2


def test_a_crowd_in_an_outage_waits_for_one_try(lists: Lists) -> None:
    verifier = lists.verifier()
    verifier.keys.find("k1")
    lists.fault, lists.delay = "down", 0.2
    assert at_once(verifier, [lists.session(place) for place in range(12)]) == ["keys_unavailable"] * 12
    assert len(lists.asked) == 1


async def from_the_vectors(request: Request) -> Response:
    found = request.app.state.lists.get(f"{request.app.state.issuer}{request.url.path}")
    return Response(found, media_type="application/statuslist+jwt") if found else Response(status_code=404)


def test_each_vector_with_a_list_gets_its_code() -> None:
    """The same that other languages are given, over a real socket."""
    app, listener = Starlette(routes=[Route("/status/{name}", from_the_vectors)]), free_socket()
    with serving(app, listener) as url:
        found = build_vectors(issuer=url)
        app.state.issuer, app.state.lists = url, found["status"]["lists"]
        verifier = Verifier(url, found["audience"], keys=found["jwks"], mode="status", clock=lambda: found["now"])
        given = {one["name"]: one["expect"] for one in found["status"]["vectors"]}
        assert {one["name"]: code(verifier, one["token"]) for one in found["status"]["vectors"]} == given
        assert {"ok", "revoked", "malformed", "keys_unavailable"} == set(given.values())
        assert {one["name"]: code(verifier, one["token"]) for one in found["vectors"]} == {
            one["name"]: one["expect"] for one in found["vectors"]
        }


def test_a_token_seen_before_costs_microseconds_with_a_list_too(lists: Lists) -> None:
    verifier, token = lists.verifier(), lists.session()
    verifier.verify(token)
    begun = time.process_time()
    for _ in range(2000):
        verifier.verify(token)
    assert (time.process_time() - begun) / 2000 < 50e-6
