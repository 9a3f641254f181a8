"""The log's own rules, one by one: which facts, in what shape, and what of an exception. Metrics count without people."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from broker.errors import InvalidGrant
from broker.log_lines import ALLOWED, MAX_VALUE, clean, escape, frames
from broker.telemetry import LibraryHandler, Log, Metrics, NoMetrics

SECRET = "canary-0123456789-secret"


def lines(write: Callable[[Log], None], *, console: bool = False, level: str = "info") -> list[str]:
    stream = io.BytesIO()
    write(Log(stream, console=console, level=level))
    return stream.getvalue().decode().splitlines()


def events(write: Callable[[Log], None]) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines(write)]


def test_only_facts_that_may_be_told_are_told() -> None:
    """Whatever else a caller hands over is dropped, and how much that was is said (catalogue 152)."""
    [event] = events(lambda log: log.event("x", client="forum", email="ana@people.test", name="Ana", token=SECRET))
    assert event["client"] == "forum"
    assert event["dropped"] == 3
    assert set(event) <= ALLOWED | {"dropped"}
    assert not {"email", "name", "token", "cookie", "code", "state", "claims", "sub"} & ALLOWED


@pytest.mark.parametrize(
    "value",
    [
        "ana@people.test", "to ana@people.test now", "eyJhbGciOiJSUzI1NiJ9.e30.x", "k7" * 25, "dwa_" + "A" * 40, "Zm9ydW06c2VjcmV0" * 3,
    ],
)  # fmt: skip
def test_what_could_be_a_person_or_a_key_is_withheld(value: str) -> None:
    """Even under a name that may be told (catalogue 152)."""
    assert clean(value) == "<withheld>"
    assert value not in lines(lambda log: log.event("x", check=value))[0]


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\x1b[31m", "\x00", "\u202eabc", "\u2028", "\x9b", "\ud800", "\ufeff", "\u200b"]
)
def test_a_value_cannot_begin_a_line_or_move_the_cursor(text: str) -> None:
    """In both shapes of the log (catalogue 151)."""
    told = clean(f"x{text}y")
    assert isinstance(told, str)
    assert told.isprintable()
    assert told == escape(f"x{text}y")
    for console in (False, True):
        [line] = lines(lambda log: log.event("e", check=f"x{text}y", client="forum"), console=console)
        assert line.isprintable()


def test_values_are_short_and_odd_ones_only_named() -> None:
    """catalogue 151."""
    assert clean("a b " * 500) == ("a b " * 500)[:MAX_VALUE]
    assert [clean(value) for value in (None, True, 3, 2.5)] == [None, True, 3, 2.5]
    assert clean({"a": SECRET}) == "<dict>"
    assert clean(b"bytes") == "<bytes>"


def _broken() -> None:
    raise ValueError(f"bad value {SECRET} of ana@people.test")


def test_an_exception_is_its_class_and_place_and_never_its_words() -> None:
    """Its causes too (catalogue 152)."""
    try:
        try:
            _broken()
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError as error:
        caught: BaseException = error
    [event] = events(lambda log: log.fault("fault", caught, reference="K7QM-2XPD"))
    told = json.dumps(event)
    assert SECRET not in told
    assert "ana@" not in told
    assert event["error"] == "KeyError"
    where = event["where"]
    assert isinstance(where, list)
    assert "ValueError" in where
    assert any("_broken" in frame and "test_log.py" in frame for frame in where)
    assert frames(caught) == where


def test_an_error_of_ours_is_told_by_its_code_and_check() -> None:
    [event] = events(lambda log: log.fault("fault", InvalidGrant(detail="code expired")))
    assert (event["reason"], event["check"]) == ("invalid_grant", "code expired")


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert frames(first) == ["ValueError", "KeyError"]


def test_a_request_is_told_by_the_name_of_its_route() -> None:
    [event] = events(lambda log: log.access("callback", "GET", 303, 0.0123, "K7QM-2XPD"))
    assert {
        "route": "callback",
        "method": "GET",
        "status": 303,
        "ms": 12.3,
        "reference": "K7QM-2XPD",
    }.items() <= event.items()


def test_what_is_bound_stands_on_every_line_until_it_is_cleared() -> None:
    def write(ours: Log) -> None:
        ours.bind(client="forum")
        ours.event("a")
        ours.warn("b")
        ours.clear()
        ours.event("c")

    assert [event.get("client") for event in events(write)] == ["forum", "forum", None]


def test_the_readable_shape_says_the_same_on_lines_for_people() -> None:
    told = lines(lambda log: log.fault("fault", KeyError(SECRET), route="token", reference="K7QM-2XPD"), console=True)
    assert "route=token" in told[0]
    assert "reference=K7QM-2XPD" in told[0]
    assert SECRET not in "\n".join(told)


def test_what_is_below_the_level_is_not_written() -> None:
    assert lines(lambda log: log.event("a"), level="warning") == []
    assert len(lines(lambda ours: ours.warn("a"), level="warning")) == 1


@pytest.mark.parametrize(
    ("message", "arguments"),
    [("could not reach %s", (f"postgresql://x:{SECRET}@db",)), ({"a": SECRET}, ()), ("plain", ())],
)
def test_a_library_is_quoted_without_what_it_filled_in(message: object, arguments: tuple[object, ...]) -> None:
    """The sentence in its source, never the values in it (catalogue 152)."""

    def write(log: Log) -> None:
        record = logging.LogRecord("asyncpg.pool", logging.WARNING, "x.py", 1, message, arguments, None)
        LibraryHandler(log).emit(record)

    [event] = events(write)
    assert SECRET not in json.dumps(event)
    assert event["library"] == "asyncpg.pool"
    assert (event["file"], event["line"]) == ("x.py", 1)


async def test_what_asyncio_says_of_a_broken_callback_names_nobody() -> None:
    """It fills in its sentence before it logs it, with what the callback was called with (catalogue 152)."""
    stream = io.BytesIO()
    logger, handler = logging.getLogger("asyncio"), LibraryHandler(Log(stream))

    def greet(person: str) -> None:
        raise ValueError(person)

    logger.addHandler(handler)
    try:
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()
        loop.set_exception_handler(None)
        loop.call_soon(greet, "Ana Marković of ana@people.test")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        loop.set_exception_handler(before)
    finally:
        logger.removeHandler(handler)
    [event] = [json.loads(line) for line in stream.getvalue().decode().splitlines()]
    assert (event["library"], event["error"]) == ("asyncio", "ValueError")
    assert "message" not in event
    assert "Ana" not in json.dumps(event, ensure_ascii=False)


def test_a_librarys_exception_is_its_class_and_place() -> None:
    """catalogue 152."""

    def write(log: Log) -> None:
        try:
            _broken()
        except ValueError as error:
            record = logging.LogRecord(
                "uvicorn.error", logging.ERROR, "x.py", 1, "oh no", (), (ValueError, error, error.__traceback__)
            )
            LibraryHandler(log).emit(record)

    [event] = events(write)
    assert event["error"] == "ValueError"
    assert SECRET not in json.dumps(event)


def test_metrics_count_without_people_and_strangers_make_no_new_ones() -> None:
    """Labels come from short lists: a made-up method or grant type is `other` (catalogue 152)."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for number in range(50):
        metrics.request("token", f"METHOD-{number}", 400, 0.01)
        metrics.token_issued(f"{SECRET}-{number}")
    metrics.sign_in("facebook", "callback", "SignedIn")
    metrics.egress("graph.facebook.test", "ok", 0.2)
    metrics.logout_token("forum", "delayed")
    told = generate_latest(registry).decode()
    assert SECRET not in told
    assert 'doorward_http_requests_total{method="other",route="token",status="400"} 50.0' in told
    assert 'doorward_tokens_issued_total{grant_type="other"} 50.0' in told
    assert 'doorward_logout_tokens_total{outcome="delayed",site="forum"} 1.0' in told


def test_without_a_reader_nothing_is_counted() -> None:
    nothing = NoMetrics()
    nothing.request("a", "GET", 200, 0.1)
    nothing.sign_in("facebook", "begin", "ok")
    nothing.token_issued("authorization_code")
    nothing.egress("host", "ok", 0.1)
    nothing.logout_token("forum", "delayed")
