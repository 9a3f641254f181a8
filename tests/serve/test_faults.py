"""Stores that are away, cut off or silent: a deliberate 503, nothing half done, and recovery without a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from tests.serve.rig import Half, Server, Start, Valve, valve
from tests.support.servers import PostgresServer, RedisServer


@pytest.fixture
def database(postgres_server: PostgresServer, postgres_url: str) -> Iterator[tuple[Valve, str]]:
    """A valve before a fresh PostgreSQL database, and the address that leads through it."""
    with valve(postgres_server.port) as between:
        yield between, postgres_url.replace(f":{postgres_server.port}/", f":{between.port}/")


@pytest.fixture
def redis(redis_server: RedisServer, redis_url: str) -> Iterator[tuple[Valve, str]]:
    with valve(redis_server.port) as between:
        yield between, redis_url.replace(f":{redis_server.port}/", f":{between.port}/")


def assert_away(server: Server) -> None:
    """Everything that needs the store says so in words and when to come back; the process says that it lives."""
    ready = server.get("/readyz")
    assert ready.status == 503
    assert int(ready.headers["retry-after"]) > 0
    assert server.get("/healthz").status == 200
    refused = server.wrong_secret()
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) > 0
    assert b"invalid_client" not in refused.body


def test_a_database_that_is_away_at_the_start_is_waited_for(start: Start, database: tuple[Valve, str]) -> None:
    """503 with a reference meanwhile, and work as soon as it is back, without a restart (catalogue 162)."""
    between, url = database
    between.cut()
    server = start(ready=False, more=f'database_url = "{url}"')
    server.wait_for(lambda: server.status("/healthz") == 200, "listening")
    assert_away(server)
    page = server.get("/")
    assert page.status == 503
    reference = page.text.rpartition("Reference: ")[2]
    assert len(reference) == 9
    server.wait_for(lambda: reference in server.log, "the reference in the log")
    assert "postgresql://" not in server.log
    workers = server.children
    between.open()
    server.wait_until_ready()
    assert server.wrong_secret().status == 401
    assert server.children == workers


def test_a_database_that_goes_away_later_is_waited_for(start: Start, database: tuple[Valve, str]) -> None:
    """(catalogue 162)"""
    between, url = database
    server = start(more=f'database_url = "{url}"')
    assert server.wrong_secret().status == 401
    workers = server.children
    between.cut()
    server.wait_for(lambda: server.status("/readyz") == 503, "not being ready")
    assert_away(server)
    assert server.get("/jwks").status == 200
    between.open()
    server.wait_until_ready()
    assert server.wrong_secret().status == 401
    assert server.children == workers


def test_a_database_that_is_silent_does_not_hold_anybody_for_long(start: Start, database: tuple[Valve, str]) -> None:
    """(catalogue 162)"""
    between, url = database
    server = start(more=f'database_url = "{url}"')
    assert server.wrong_secret().status == 401
    between.silent = True
    started = time.monotonic()
    answer = server.wrong_secret()
    assert answer.status == 503
    assert time.monotonic() - started < 20
    between.cut()
    between.open()
    server.wait_until_ready()
    assert server.wrong_secret().status == 401


def test_a_redis_that_is_away_fails_closed_and_comes_back(start: Start, redis: tuple[Valve, str]) -> None:
    """No limit can be counted without it, so nothing that has one is let through (catalogue 161)."""
    between, url = redis
    server = start(more=f'redis_url = "{url}"')
    assert server.wrong_secret().status == 401
    between.cut()
    server.wait_for(lambda: server.status("/readyz") == 503, "not being ready")
    refused = server.wrong_secret()
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) > 0
    assert server.get("/.well-known/openid-configuration").status == 200
    assert server.get("/jwks").status == 200
    between.open()
    server.wait_until_ready()
    assert server.wrong_secret().status == 401


def test_a_redis_that_is_away_at_the_start_is_waited_for(start: Start, redis: tuple[Valve, str]) -> None:
    """(catalogue 161)"""
    between, url = redis
    between.cut()
    server = start(ready=False, more=f'redis_url = "{url}"')
    server.wait_for(lambda: server.status("/healthz") == 200, "listening")
    assert server.status("/readyz") == 503
    between.open()
    server.wait_until_ready()


def test_stopping_lets_running_requests_finish(start: Start) -> None:
    """(catalogue 179)"""
    server = start(workers=2)
    running = [Half(server.folder.port) for _ in range(20)]
    server.process.terminate()
    server.wait_for_log("server_stopping")
    server.wait_for(lambda: server.status("/healthz") == 0, "listening no more")
    ends = [half.finish() for half in running]
    assert [status for status, _ in ends] == [400] * 20
    assert all(b"invalid_grant" in body for _, body in ends)
    assert server.wait() == 0


def test_stopping_does_not_wait_for_ever(start: Start) -> None:
    server = start(more="", limits="")
    text = (server.folder.path / "doorward.toml").read_text().replace("stop_seconds = 10", "stop_seconds = 1")
    (server.folder.path / "doorward.toml").write_text(text)
    server.reload()
    running = Half(server.folder.port)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 12
    assert running.finish()[0] == 503


def test_a_server_that_stops_says_so_before_it_stops_listening(start: Start) -> None:
    """A load balancer that asks /readyz looks elsewhere in time."""
    server = start(more="drain_seconds = 4")
    server.process.terminate()
    server.wait_for_log("server_stopping")
    server.wait_for(lambda: server.status("/readyz") == 503, "saying no")
    assert server.get("/healthz").status == 200
    assert server.token_request().status == 400
    assert server.wait() == 0


def test_more_requests_than_can_be_worked_on_are_sent_away(start: Start) -> None:
    server = start(limits="[limits]\nconnections = 16\n")
    running = [Half(server.folder.port) for _ in range(16)]
    server.wait_for(lambda: server.status("/jwks") == 503, "being full")
    refused = server.get("/jwks")
    assert int(refused.headers["retry-after"]) > 0
    assert "Reference: " in refused.text
    assert [half.finish()[0] for half in running] == [400] * 16
    assert server.get("/jwks").status == 200


def test_a_flood_of_headers_is_refused_and_nobody_else_notices(start: Start) -> None:
    """(catalogue 180)"""
    server = start()
    assert server.get("/", **{f"X-Flood-{number}": "1" for number in range(120)}).status == 431
    assert server.get("/", Cookie="a=" + "b" * 64_000).status == 431
    assert server.get("/jwks").status == 200


def test_a_body_that_is_too_large_is_refused_before_it_has_come(start: Start) -> None:
    """(catalogue 181)"""
    server = start()
    started = time.monotonic()
    answer = server.ask(
        "POST",
        "/token",
        body=b"x",
        headers={"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "1000000000"},
    )
    assert answer.status == 413
    assert time.monotonic() - started < 10


def test_slow_visitors_keep_nobody_from_being_answered(start: Start) -> None:
    server = start()
    slow = [Half(server.folder.port) for _ in range(100)]
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(server.status("/jwks"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 5
    assert {half.finish()[0] for half in slow} == {400}
