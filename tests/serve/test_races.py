"""Many at once, at two server processes on one database: a code is redeemed once, a refresh token has one child.

The codes are laid into the database as the share page would; everything else goes over HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlencode

import pytest
from tests.serve.rig import Answer, Folder, Server, Start, starter, token_headers
from tests.support.builders import account, code, grant
from tests.support.servers import PostgresServer

from broker.chance import SystemClock
from broker.domain.account import AccountStatus
from broker.domain.claims import NAME
from broker.domain.grant import OFFLINE_ACCESS
from broker.domain.ports import Durable
from broker.domain.values import AccountId, Scope
from broker.settings import load_settings
from broker.stores import open_stores

T = TypeVar("T")
REDIRECT = "https://forum.test/callback"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
MANY = 20


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[Server]:
    """Two workers, listening and ready; one such server for all tests of a database."""
    more = f'database_url = "{postgres_server.create()}"' if request.param == "postgresql" else ""
    with starter(Folder(tmp_path_factory.mktemp("races") / "config")) as start:
        yield start(workers=2, more=more)


def in_database(server: Server, work: Callable[[Durable], Awaitable[T]]) -> T:
    """Do something in the server's own database, beside it."""

    async def run() -> T:
        broker = load_settings(server.folder.path, {}).broker
        clock = SystemClock()
        stores = await open_stores(
            database_url=broker.database_url, redis_url=None, master_key=broker.master_key_bytes, clock=clock
        )
        try:
            return await work(stores.durable)
        finally:
            await stores.close()

    return asyncio.run(run())


def new_code(server: Server, name: str = "") -> str:
    """A code of somebody who lets the forum act while they are away."""
    secret = f"dwc_{secrets.token_urlsafe(32)}"
    name = name or secrets.token_hex(8)

    async def lay(durable: Durable) -> str:
        now = SystemClock().now()
        who = account(name, status=AccountStatus.ACTIVE)
        ours = grant(
            who.id,
            id=secrets.token_hex(8),
            created_at=now,
            auth_time=now,
            resources=(),
            expires_at=now + timedelta(days=30),
            scopes=frozenset({Scope("openid"), Scope("profile"), OFFLINE_ACCESS}),
            claims={NAME: "v"},
        )
        unit = durable.unit()
        unit.add_account(who)
        unit.add_grant(ours)
        unit.add_code(
            code(
                ours,
                digest=hashlib.sha256(secret.encode()).digest(),
                redirect_uri=REDIRECT,
                code_challenge=CHALLENGE,
                expires_at=now + timedelta(seconds=60),
            )
        )
        await unit.commit()
        return secret

    return in_database(server, lay)


async def sign_ben_out(durable: Durable) -> None:
    """Of everything, as another process does it."""
    unit = durable.unit()
    unit.revoke_grants(AccountId("ben"), SystemClock().now())
    await unit.commit()


def post(server: Server, path: str, **form: str) -> Answer:
    return server.ask("POST", path, body=urlencode(form), headers=token_headers())


def redeem(server: Server, secret: str) -> Answer:
    form = {"grant_type": "authorization_code", "code": secret, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    return post(server, "/token", **form)


def refresh(server: Server, token: str) -> Answer:
    return post(server, "/token", grant_type="refresh_token", refresh_token=token)


def is_active(server: Server, token: str) -> bool:
    return bool(post(server, "/introspect", token=token).json()["active"])


def at_once(work: Callable[[], Answer], many: int = MANY) -> list[Answer]:
    """The same request from many threads, let go together."""
    gate, answers = threading.Barrier(many), list[Answer]()

    def run() -> None:
        gate.wait(30)
        answers.append(work())

    threads = [threading.Thread(target=run) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == many
    return answers


def test_of_twenty_takers_of_one_code_at_most_one_is_answered(server: Server) -> None:
    """And what the one got is dead, since the code came back: never two live families, never one (catalogue 21)."""
    for _ in range(3):
        secret = new_code(server)
        answers = at_once(lambda secret=secret: redeem(server, secret))  # type: ignore[misc]
        good = [one.json() for one in answers if one.status == 200]
        assert len(good) <= 1
        assert {(one.status, one.json()["error"]) for one in answers if one.status != 200} == {(400, "invalid_grant")}
        for tokens in good:
            assert not is_active(server, tokens["access_token"])
            assert refresh(server, tokens["refresh_token"]).status == 400


def test_a_code_for_one_taker_is_answered_however_busy_it_is(server: Server) -> None:
    """Twenty codes at once, each once."""
    waiting = [new_code(server) for _ in range(MANY)]
    answers = at_once(lambda: redeem(server, waiting.pop()))
    assert [one.status for one in answers] == [200] * MANY
    assert all(is_active(server, one.json()["access_token"]) for one in answers)


def test_of_twenty_refreshes_of_one_token_there_is_never_more_than_one_child(server: Server) -> None:
    """The same one again for whoever came second, then the family is over, also for whoever came first (catalogue 88)."""
    for _ in range(3):
        first = redeem(server, new_code(server)).json()
        answers = at_once(lambda first=first: refresh(server, first["refresh_token"]))  # type: ignore[misc]
        good = [one.json() for one in answers if one.status == 200]
        assert len({one["refresh_token"] for one in good}) <= 1
        assert len(good) <= 2
        assert {(one.status, one.json()["error"]) for one in answers if one.status != 200} == {(400, "invalid_grant")}
        for tokens in (first, *good):
            assert refresh(server, tokens["refresh_token"]).status == 400
            assert not is_active(server, tokens["access_token"])


def test_two_refreshes_at_once_have_the_same_child_and_it_lives(server: Server) -> None:
    """A site with two processes of its own does not sign anybody out by renewing twice (catalogue 88, 92)."""
    first = redeem(server, new_code(server)).json()
    answers = at_once(lambda: refresh(server, first["refresh_token"]), 2)
    assert [one.status for one in answers] == [200, 200]
    (child,) = {one.json()["refresh_token"] for one in answers}
    assert refresh(server, child).status == 200


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_is_over_is_over_after_a_restart(start: Start, postgres_url: str, database: str) -> None:
    """Rotation, retry, reuse, and signing out of everything: nothing of it lives in a process (catalogue 83, 84, 89, 92)."""
    server = start(more=f'database_url = "{postgres_url}"' if database == "postgresql" else "")
    first = redeem(server, new_code(server)).json()
    second = refresh(server, first["refresh_token"]).json()
    ended = redeem(server, new_code(server, "ben")).json()
    assert is_active(server, ended["access_token"])
    in_database(server, sign_ben_out)
    assert not is_active(server, ended["access_token"])
    assert server.stop() == 0
    server = start()
    assert not is_active(server, ended["access_token"])
    assert refresh(server, ended["refresh_token"]).json()["error"] == "invalid_grant"
    assert is_active(server, second["access_token"])
    again = refresh(server, first["refresh_token"]).json()
    assert again["refresh_token"] == second["refresh_token"]
    assert refresh(server, first["refresh_token"]).json()["error"] == "invalid_grant"
    assert refresh(server, second["refresh_token"]).json()["error"] == "invalid_grant"
    assert not is_active(server, second["access_token"])
