"""Logout tokens: what they say, that they arrive, and that nobody waits for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwk, jwt
from tests.flows.op import FORUM, ISSUER, WIKI, Op
from tests.support.builders import delivery

from broker.domain import tokens
from broker.domain.account import KeptNumber
from broker.domain.client import SigningAlgorithm
from broker.domain.session import Session, sid_for
from broker.domain.tokens import subject_for
from broker.domain.values import AccountId, ClientId
from broker.errors import StoreUnavailable, UpstreamUnavailable
from broker.flows.session import SessionFlow
from broker.outbox import BATCH, RETRIES, Deliverer
from broker.stores.memory import MemoryBrowser

BACKCHANNEL = "https://forum.test/backchannel"


@dataclass
class Post:
    """Sites that answer what they are told to; an exception is raised."""

    answers: dict[str, int | Exception] = field(default_factory=dict)
    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        raise NotImplementedError

    async def post_form(self, url: str, form: Mapping[str, str]) -> int:
        self.sent.append((url, dict(form)))
        answer = self.answers.get(url, 200)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def no_network(_provider: object, _tokens: object) -> None:
    raise NotImplementedError


@dataclass
class Log:
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def event(self, name: str, /, **facts: Any) -> None:
        self.events.append((name, facts))


class Town:
    """Two sites that want to be told, one that does not, and somebody signed in at all three."""

    def __init__(self) -> None:
        self.op = Op()
        for name in (FORUM, WIKI):
            site = self.op.clients[name]
            self.op.clients[name] = replace(site, backchannel_logout_uri=f"https://{name}.test/backchannel")
        self.post, self.log = Post(), Log()
        self.memory = MemoryBrowser(self.op.clock)
        self.sessions = SessionFlow(
            durable=self.op.durable,
            sessions=self.memory.sessions,
            clients=self.op.clients,
            clock=self.op.clock,
            entropy=self.op.entropy,
        )
        self.deliverer = Deliverer(
            durable=self.op.durable,
            clients=self.op.clients,
            http=self.post,
            signer=self.op.box,
            clock=self.op.clock,
            entropy=self.op.entropy,
            log=self.log,
            issuer=ISSUER,
            subject_key=b"s" * 32,
            sid_key=b"i" * 32,
            events=self.op.event_signer,
            take_back=no_network,
        )

    async def somebody(self) -> Session:
        session = await self.op.person("ana")
        await self.memory.sessions.save(session)
        for client in (FORUM, WIKI, ClientId("app")):
            await self.op.tokens(session, client)
        return session

    def read(self, token: str, algorithm: str) -> Any:
        keys = jwk.KeySet.import_key_set(json.loads(self.op.box.jwks))
        return jwt.decode(token, keys, algorithms=[algorithm])

    @property
    def waiting(self) -> int:
        return len(self.op.durable.tables.deliveries)


@pytest.fixture
def town() -> Town:
    return Town()


async def test_a_logout_token_names_the_number_that_the_site_knows(town: Town) -> None:
    """Also where that is the number of an account that was merged into this one."""
    session = await town.op.person("ana")
    await town.memory.sessions.save(session)
    kept = {"forum.test": KeptNumber(of=AccountId("ben"), sites=(FORUM,))}
    await town.op.change(session.account, kept_numbers=kept)
    tokens = await town.op.tokens(session, FORUM)
    await town.sessions.sign_out(session)
    await town.deliverer.once()
    ((_, form),) = town.post.sent
    sub = town.read(form["logout_token"], "RS256").claims["sub"]
    assert sub == town.read(tokens["id_token"], "RS256").claims["sub"]
    assert sub == subject_for(AccountId("ben"), town.op.clients[FORUM], b"s" * 32)


async def test_a_logout_token_is_what_the_specification_says(town: Town) -> None:
    """Type, events, jti, no nonce, two minutes; sub and sid as that site knows them (catalogue 105)."""
    session = await town.somebody()
    await town.sessions.sign_out(session)
    await town.deliverer.once()
    sent = {url: form["logout_token"] for url, form in town.post.sent}
    assert set(sent) == {"https://forum.test/backchannel", "https://wiki.test/backchannel"}
    for name, algorithm in ((FORUM, "RS256"), (WIKI, "ES256")):
        read = town.read(sent[f"https://{name}.test/backchannel"], algorithm)
        assert (read.header["typ"], read.header["alg"]) == ("logout+jwt", algorithm)
        now = int(town.op.clock.now().timestamp())
        assert read.claims == {
            "iss": ISSUER,
            "aud": name,
            "sub": tokens.subject_for(session.account, town.op.clients[name], b"s" * 32),
            "sid": sid_for(session.sid, name, b"i" * 32),
            "iat": now,
            "exp": now + 120,
            "jti": read.claims["jti"],
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }
    assert (
        len({town.read(token, alg).claims["jti"] for token, alg in zip(sent.values(), ("RS256", "ES256"), strict=True)})
        == 2
    )


async def test_only_the_token_is_sent(town: Town) -> None:
    await town.sessions.sign_out(await town.somebody())
    await town.deliverer.once()
    assert all(set(form) == {"logout_token"} for _, form in town.post.sent)


async def test_signing_out_waits_for_no_site(town: Town) -> None:
    """It is written down with the sign-out itself; sending comes later (catalogue 105)."""
    session = await town.somebody()
    told = await town.sessions.sign_out(session)
    assert town.post.sent == []
    assert town.waiting == 2
    assert {site.client for site in told if site.will_be_told} == {FORUM, WIKI}
    assert await town.memory.sessions.by_digest(session.secret_digest, town.op.clock.now()) is None


@pytest.mark.parametrize("answer", [500, 400, 302, 201, UpstreamUnavailable("connect")])
async def test_a_site_that_fails_is_tried_again_and_others_are_not_kept(town: Town, answer: int | Exception) -> None:
    """Every time later, and in the end given up and counted as not told (catalogue 105)."""
    town.post.answers[BACKCHANNEL] = answer
    await town.sessions.sign_out(await town.somebody())
    assert await town.deliverer.once() == 2
    assert town.waiting == 1
    for wait in RETRIES:
        town.op.clock.move(wait - timedelta(seconds=1))
        assert await town.deliverer.once() == 0
        town.op.clock.move(timedelta(seconds=1))
        assert await town.deliverer.once() == 1
    assert town.waiting == 0
    assert len(town.op.durable.tables.given_up) == 1
    assert len([url for url, _ in town.post.sent if url == BACKCHANNEL]) == len(RETRIES) + 1
    assert town.log.events[-1][0] == "logout_token_given_up"


async def test_a_token_is_signed_when_it_is_sent(town: Town) -> None:
    """However long a site was away, what arrives is fresh, and each try is another token (catalogue 105)."""
    town.post.answers[BACKCHANNEL] = 503
    await town.sessions.sign_out(await town.somebody())
    await town.deliverer.once()
    town.op.clock.move(timedelta(hours=3))
    town.post.answers.clear()
    await town.deliverer.once()
    first, second = [
        town.read(form["logout_token"], "RS256").claims for url, form in town.post.sent if url == BACKCHANNEL
    ]
    assert second["iat"] == first["iat"] + 3 * 3600
    assert second["jti"] != first["jti"]
    assert town.waiting == 0


async def test_after_a_rotation_the_current_key_signs(town: Town) -> None:
    await town.sessions.sign_out(await town.somebody())
    await town.op.keys.load()
    new = town.op.box.make(
        SigningAlgorithm.RS256,
        "rs-new",
        now=town.op.clock.now(),
        signs_from=town.op.clock.now() + timedelta(seconds=30),
    )
    await town.op.durable.keys.add(new)
    town.op.clock.move(timedelta(minutes=1))
    await town.op.keys.load()
    await town.deliverer.once()
    sent = {url: form["logout_token"] for url, form in town.post.sent}
    assert town.read(sent[BACKCHANNEL], "RS256").header["kid"] == "rs-new"


async def test_a_site_that_is_gone_is_given_up_at_once(town: Town) -> None:
    await town.sessions.sign_out(await town.somebody())
    town.op.clients[WIKI] = replace(town.op.clients[WIKI], backchannel_logout_uri=None)
    del town.op.clients[FORUM]
    assert await town.deliverer.once() == 2
    assert (town.waiting, town.post.sent) == (0, [])
    assert len(town.op.durable.tables.given_up) == 2


async def test_one_sign_out_tells_each_site_once(town: Town) -> None:
    """However often somebody visited it."""
    session = await town.somebody()
    for _ in range(3):
        await town.op.tokens(session, FORUM)
    await town.sessions.sign_out(session)
    await town.deliverer.once()
    assert len(town.post.sent) == 2


async def test_signing_out_of_one_site_tells_that_one(town: Town) -> None:
    session = await town.somebody()
    await town.sessions.sign_out_of(session, FORUM)
    await town.deliverer.once()
    assert [url for url, _ in town.post.sent] == [BACKCHANNEL]


async def test_what_one_process_has_taken_another_leaves(town: Town) -> None:
    """Until its minute is over: a process that died in between does not keep a site from being told."""
    await town.sessions.sign_out(await town.somebody())
    taken = await town.op.durable.outbox.claim(town.op.clock.now(), 10)
    assert len(taken) == 2
    assert await town.deliverer.once() == 0
    town.op.clock.move(timedelta(minutes=1))
    assert await town.deliverer.once() == 2


async def test_the_log_names_sites_and_never_tokens(town: Town) -> None:
    town.post.answers[BACKCHANNEL] = 500
    await town.sessions.sign_out(await town.somebody())
    await town.deliverer.once()
    assert sorted(name for name, _ in town.log.events) == ["logout_token_delayed", "logout_token_delivered"]
    for _, form in town.post.sent:
        assert form["logout_token"] not in repr(town.log.events)
    assert "ana" not in repr(town.log.events)


async def test_a_full_outbox_is_emptied_in_batches(town: Town) -> None:
    unit = town.op.durable.unit()
    for _ in range(BATCH + 5):
        unit.enqueue(delivery(client=FORUM, payload={"account": "account-x", "sid": "s"}, attempts=0))
    await unit.commit()
    assert [await town.deliverer.once() for _ in range(3)] == [BATCH, 5, 0]


async def test_the_work_goes_on_when_the_store_was_away(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop survives an outage and delivers afterwards."""
    monkeypatch.setattr("broker.outbox.IDLE", 0.001)
    claim, failures = town.op.durable.outbox.claim, 3

    async def failing(now: Any, limit: int) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreUnavailable("away")
        return await claim(now, limit)

    monkeypatch.setattr(town.op.durable.outbox, "claim", failing)
    await town.sessions.sign_out(await town.somebody())
    running = asyncio.create_task(town.deliverer.run())
    for _ in range(500):
        await asyncio.sleep(0.002)
        if not town.waiting:
            break
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert town.waiting == 0
    assert len(town.post.sent) == 2


async def test_a_delivery_that_breaks_keeps_no_other(town: Town) -> None:
    """A bug, or a payload nobody can read: it waits, the others go out."""
    unit = town.op.durable.unit()
    unit.enqueue(delivery(client=FORUM, payload={"nonsense": "x"}, attempts=0))
    unit.enqueue(delivery(client=WIKI, payload={"account": "account-x", "sid": "s"}, attempts=0))
    await unit.commit()
    assert await town.deliverer.once() == 2
    assert [url for url, _ in town.post.sent] == ["https://wiki.test/backchannel"]
    assert town.waiting == 1
    assert ("logout_token_delayed", "KeyError") in [(name, facts.get("reason")) for name, facts in town.log.events]


async def test_what_was_sent_and_could_not_be_noted_is_sent_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice rather than never, with another jti each time (catalogue 105)."""
    await town.sessions.sign_out_of(await town.somebody(), FORUM)

    async def away(delivery_id: str) -> None:
        raise StoreUnavailable(delivery_id)

    monkeypatch.setattr(town.op.durable.outbox, "done", away)
    with pytest.raises(StoreUnavailable):
        await town.deliverer.once()
    monkeypatch.undo()
    town.op.clock.move(timedelta(minutes=1))
    assert await town.deliverer.once() == 1
    one, two = [town.read(form["logout_token"], "RS256").claims for _, form in town.post.sent]
    assert one["jti"] != two["jti"]
    assert town.waiting == 0


async def test_the_work_goes_on_whatever_breaks(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the log says what kind of thing it was."""
    monkeypatch.setattr("broker.outbox.IDLE", 0.001)

    async def broken(now: Any, limit: int) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(town.op.durable.outbox, "claim", broken)
    running = asyncio.create_task(town.deliverer.run())
    for _ in range(500):
        await asyncio.sleep(0.002)
        if len(town.log.events) > 1:
            break
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert town.log.events[:2] == [("outbox_broken", {"error": "ZeroDivisionError"})] * 2
