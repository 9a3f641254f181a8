"""A store goes away under a running Doorward, at every step of everybody: nothing slips through, and it comes back by itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from tests.security.fuzz import FORM, Held, Larder, check
from tests.security.raw import Answer, Asked, ask, lower
from tests.security.routes_under_fire import open_larder
from tests.support.house import ISSUER, Sandboxes
from tests.support.servers import PostgresServer, RedisServer, free_port
from tests.support.watch import check_lines

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def redis_to_stop() -> Iterator[RedisServer]:
    """One of this module's own, to stop."""
    with tempfile.TemporaryDirectory(prefix="doorward-redis-", ignore_cleanup_errors=True) as folder:
        server = RedisServer(Path(folder), free_port())
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def postgres_to_stop() -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(prefix="doorward-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), free_port())
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
async def larder(
    tmp_path: Path, sandboxes: Sandboxes, redis_to_stop: RedisServer, postgres_to_stop: PostgresServer
) -> AsyncIterator[Larder]:
    """A house whose browser memory is in Redis and whose records are in PostgreSQL."""
    if redis_to_stop.process is None or redis_to_stop.process.poll() is not None:
        redis_to_stop.start()
    redis_to_stop.clear()
    async with open_larder(tmp_path, sandboxes, postgres_to_stop.create(), redis_url=redis_to_stop.url) as opened:
        yield opened


@dataclass(frozen=True)
class Step:
    """One request, what it must come to while the store is away, and the same request once it is back."""

    name: str
    asked: Asked
    away: int
    back: int


def steps(larder: Larder, held: Held, *, redis_away: bool) -> list[Step]:
    """Twelve steps of people and sites. 503 wherever the store that is away would have had a say."""
    house = larder.house
    world, forum = house.world, house.site("forum")
    session = f"{world.cookies.session_name}={held.session}"
    chooser = held.transactions[0]
    basic = ("authorization", forum.auth["Authorization"])

    def get(path: str, *headers: tuple[str, str]) -> Asked:
        parts = urlsplit(path)
        return Asked(path=parts.path, query=parts.query.encode(), headers=lower(headers))

    def post(path: str, form: dict[str, str], *headers: tuple[str, str]) -> Asked:
        return Asked(
            method="POST",
            path=path,
            headers=lower([*headers, ("content-type", FORM), ("origin", ISSUER)]),
            body=(urlencode(form).encode(),),
        )

    def carrying(transaction: tuple[str, str]) -> tuple[str, str]:
        return "cookie", f"{world.cookies.transaction_prefix}{transaction[0]}={transaction[1]}; {session}"

    stranger = ("cookie", f"{world.cookies.transaction_prefix}{chooser[0]}={chooser[1]}")
    details = next(one for one in held.transactions if one[1].startswith("k."))
    code, verifier = held.codes[0]
    form_token = {"csrf": world.cookies.form_token(f"f:{chooser[0]}")}
    own_token = {"csrf": world.cookies.form_token(f"s:{held.sid}")}
    redis, both = (503 if redis_away else 0), 503
    return [
        Step("start", post(f"/f/{chooser[0]}/sign-in", {**form_token, "provider": "openid"}, stranger), redis or 200, 200),
        Step("preview", get(f"/f/{details[0]}/details", carrying(details)), both, 200),
        Step("my account", get("/me", ("cookie", session)), both, 200),
        Step("code", get(forum.request_url(), ("cookie", session)), both, 303),
        Step("token", post("/token", {"grant_type": "authorization_code", "code": code, "redirect_uri": forum.redirect_uri, "code_verifier": verifier}, basic), 200 if redis_away else 503, 200),
        Step("refresh", post("/token", {"grant_type": "refresh_token", "refresh_token": held.tokens["refresh_token"]}, basic), 200 if redis_away else 503, 200),
        Step("userinfo", get("/userinfo", ("authorization", f"Bearer {held.tokens['access_token']}")), 200 if redis_away else 503, 200),
        Step("introspect", post("/introspect", {"token": held.tokens["access_token"]}, basic), 200 if redis_away else 503, 200),
        Step("wrong secret", post("/introspect", {"token": "x"}, ("authorization", "Basic Zm9ydW06d3Jvbmc=")), redis or 401, 401),
        Step("consent", post("/me/sites/stop", {**own_token, "client": "forum", "claim": "name"}, ("cookie", session)), both, 303),
        Step("sign out", post("/signout", {**own_token, "what": "everything"}, ("cookie", session)), both, 303),
        Step("ready", get("/readyz"), both, 200),
    ]  # fmt: skip


PUBLIC = ("/healthz", "/jwks", "/.well-known/openid-configuration", "/privacy", "/help")


async def walk(larder: Larder, held: Held, *, redis_away: bool, is_away: bool) -> None:
    for step in steps(larder, held, redis_away=redis_away):
        answer = await ask(larder.app, step.asked)
        wanted = step.away if is_away else step.back
        assert answer.status == wanted, (
            f"{step.name}: {answer.status}\n{answer.text[-500:]}\n{larder.house.log[-1500:]}"
        )
        assert not check(larder.house, step.asked, answer), step.name
        if answer.status == 503:
            assert_deliberate(answer)
    for path in PUBLIC:
        assert (await ask(larder.app, Asked(path=path))).status == 200, path


def assert_deliberate(answer: Answer) -> None:
    """It says when to try again, and a reference; and gives nothing away."""
    assert answer["retry-after"].isdigit()
    for cookie in answer.all("set-cookie"):
        assert "session" not in cookie
    if "json" in answer["content-type"]:
        told = json.loads(answer.body)
        assert told["error"] == "temporarily_unavailable"
        assert told["reference"]
        assert "access_token" not in told
    else:
        assert "We cannot answer right now" in answer.text


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_without_redis_nothing_passes_that_needs_it(larder: Larder, redis_to_stop: RedisServer, how: str) -> None:
    """Sessions, replay marks and limits fail closed with 503; sites' servers go on; it recovers by itself (catalogue 161)."""
    held, later = await larder.held(), await larder.held()
    assert redis_to_stop.process is not None
    if how == "killed":
        redis_to_stop.process.kill()
        redis_to_stop.process.wait(20)
    else:
        redis_to_stop.process.send_signal(19)  # SIGSTOP: takes connections, answers nothing
    try:
        await walk(larder, held, redis_away=True, is_away=True)
        callback = Asked(
            path="/callback/openid", query=f"state={held.states[0]}&code=x".encode(),
            headers=lower([("cookie", "; ".join(f"{larder.house.world.cookies.transaction_prefix}{i}={c}" for i, c in held.transactions))]),
        )  # fmt: skip
        answer = await ask(larder.app, callback)
        assert answer.status == 503
        assert_deliberate(answer)
    finally:
        redis_to_stop.start() if how == "killed" else redis_to_stop.process.send_signal(18)
    if how == "silent":
        await walk(larder, later, redis_away=True, is_away=False)
    else:  # everybody was signed out with it, nobody else was signed in, and all can start anew
        session = f"{larder.house.world.cookies.session_name}={later.session}"
        assert (await ask(larder.app, Asked(path="/me", headers=lower([("cookie", session)])))).status == 303
        await walk(larder, await larder.held(), redis_away=True, is_away=False)
    check_lines(larder.house.log)


async def test_an_emptied_redis_lets_no_callback_and_no_old_page_in(larder: Larder, redis_to_stop: RedisServer) -> None:
    """Whoever was under way starts again (catalogue 161)."""
    held = await larder.held()
    redis_to_stop.clear()
    details = next(one for one in held.transactions if one[1].startswith("k."))
    cookie = ("cookie", f"{larder.house.world.cookies.transaction_prefix}{details[0]}={details[1]}")
    answer = await ask(larder.app, Asked(path=f"/f/{details[0]}/details", headers=lower([cookie])))
    assert answer.status in {409, 410}
    for path in ("/me", "/me/close", "/me/sites"):
        session = f"{larder.house.world.cookies.session_name}={held.session}"
        assert (await ask(larder.app, Asked(path=path, headers=lower([("cookie", session)])))).status == 303


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_without_the_database_nothing_half_done_is_left(
    larder: Larder, postgres_to_stop: PostgresServer, how: str
) -> None:
    """Every step that needs it is a 503 in time; the same code and the same form work once it is back (catalogue 162)."""
    held = await larder.held()
    before = await larder.house.world.durable.ledger.receipts(larder.account) if larder.account else ()
    assert postgres_to_stop.process is not None
    stopped = postgres_to_stop.process.pid
    if how == "killed":
        postgres_to_stop.process.kill()
        postgres_to_stop.process.wait(20)
    else:
        backends(stopped, 19)
    try:
        await walk(larder, held, redis_away=False, is_away=True)
    finally:
        postgres_to_stop.launch() if how == "killed" else backends(stopped, 18)
    assert larder.account is not None
    assert await larder.house.world.durable.ledger.receipts(larder.account) == before
    await walk(larder, held, redis_away=False, is_away=False)
    check_lines(larder.house.log)


def backends(pid: int, signal: int) -> None:
    """The whole cluster falls silent, or goes on."""
    import os

    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in (pid, *map(int, children)):
        try:
            os.kill(one, signal)
        except ProcessLookupError:
            continue
