"""Logout tokens reach their sites: retried, never lost, never twice at once, and one that breaks stops no other."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from tests.flows.op import FORUM, ISSUER, WIKI, Op
from tests.support import builders as make

from broker.domain import tokens
from broker.domain.client import Client, SigningAlgorithm
from broker.domain.ports import Delivery
from broker.domain.session import sid_for
from broker.domain.provider import UpstreamTokens
from broker.domain.taking_back import TAKE_BACK, payload_of
from broker.domain.values import AccountId, ClientId, ProviderId, Sid
from broker.errors import BrokerError, ProviderOff, StoreUnavailable, UpstreamRejected, UpstreamUnavailable
from broker.outbox import BATCH, IDLE, RETRIES, Deliverer
from broker.stores.memory import MemoryOutbox

ACCOUNT, SESSION = AccountId("account-ana"), Sid("session-1")
Answer = int | Exception


@dataclass
class Sites:
    """The sites' logout addresses: what each answers, and what each got."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    got: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    pushed: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    slow: str = ""
    at_once: int = 0
    most_at_once: int = 0

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.pushed.append((url, body.decode(), headers))
        return await self.post_form(url, {})

    async def post_form(self, url: str, form: Mapping[str, str]) -> int:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self.hold.wait() if self.hold is not None else asyncio.sleep(0))
            for _ in range(50 if url == self.slow else 0):
                await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        self.got.append((url, form))
        answers = self.answers.get(url, [])
        answer = answers.pop(0) if answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Networks:
    """The providers that take tokens back: what each attempt comes to, and what they were given."""

    answers: list[Exception] = field(default_factory=list)
    given: list[tuple[ProviderId, UpstreamTokens]] = field(default_factory=list)

    async def take_back(self, provider: ProviderId, tokens: UpstreamTokens) -> None:
        self.given.append((provider, tokens))
        if self.answers:
            raise self.answers.pop(0)


@dataclass
class Events:
    """What was logged."""

    lines: list[tuple[str, Mapping[str, str | int | float | None]]] = field(default_factory=list)

    def event(self, name: str, /, **facts: str | float | None) -> None:
        self.lines.append((name, facts))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.lines]


def address(client: ClientId) -> str:
    return f"https://{client}.test/backchannel"


@dataclass
class Office:
    """A deliverer on memory stores, with the sites it sends to."""

    op: Op = field(default_factory=Op)
    sites: Sites = field(default_factory=Sites)
    networks: Networks = field(default_factory=Networks)
    events: Events = field(default_factory=Events)
    counted: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in (FORUM, WIKI):
            self.op.clients[name] = replace(self.op.clients[name], backchannel_logout_uri=address(name))
        self.deliverer = Deliverer(
            durable=self.op.durable,
            clients=self.op.clients,
            http=self.sites,
            signer=self.op.box,
            clock=self.op.clock,
            entropy=self.op.entropy,
            log=self.events,
            issuer=ISSUER,
            subject_key=b"s" * 32,
            sid_key=b"i" * 32,
            events=self.op.event_signer,
            take_back=self.networks.take_back,
            count=lambda site, outcome: self.counted.append((site, outcome)),
        )

    async def enqueue(self, client: ClientId = FORUM, **more: object) -> Delivery:
        now = self.op.clock.now()
        values: dict[str, object] = {
            "client": client,
            "payload": {"account": ACCOUNT, "sid": SESSION},
            "created_at": now,
            "due_at": now,
            "attempts": 0,
            "last_error": "",
        }
        delivery = make.delivery(**(values | more))
        unit = self.op.durable.unit()
        unit.enqueue(delivery)
        await unit.commit()
        return delivery

    async def waiting(self) -> tuple[Delivery, ...]:
        return await self.op.durable.outbox.pending("account", ACCOUNT)


@pytest.fixture
def office() -> Office:
    return Office()


def claims_of(office: Office, form: Mapping[str, str]) -> Mapping[str, object]:
    found = office.op.box.own(form["logout_token"], typ=tokens.LOGOUT_TOKEN_TYPE, now=office.op.clock.now())
    assert found is not None
    return found


async def test_a_site_gets_a_logout_token_made_for_it_alone(office: Office) -> None:
    await office.enqueue(FORUM)
    await office.enqueue(WIKI)
    assert await office.deliverer.once() == 2
    assert {url for url, _ in office.sites.got} == {address(FORUM), address(WIKI)}
    by_site = {url: claims_of(office, form) for url, form in office.sites.got}
    for client in (FORUM, WIKI):
        claims = by_site[address(client)]
        assert claims["aud"] == client
        assert claims["iss"] == ISSUER
        assert claims["sid"] == sid_for(SESSION, client, b"i" * 32)
        assert claims["sub"] == tokens.subject_for(ACCOUNT, office.op.clients[client], b"s" * 32)
        assert "nonce" not in claims
    assert by_site[address(FORUM)]["sub"] != by_site[address(WIKI)]["sub"]
    assert by_site[address(FORUM)]["jti"] != by_site[address(WIKI)]["jti"]
    assert await office.waiting() == ()
    assert office.events.names == ["logout_token_delivered"] * 2


@pytest.mark.parametrize("status", [200, 204])
async def test_what_a_site_took_is_sent_once(office: Office, status: int) -> None:
    office.sites.answers[address(FORUM)] = [status]
    await office.enqueue()
    assert [await office.deliverer.once() for _ in range(3)] == [1, 0, 0]
    assert office.counted == [(FORUM, "delivered")]
    office.op.move(days=3)
    assert await office.deliverer.once() == 0
    assert len(office.sites.got) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, "status 500"),
        (400, "status 400"),
        (302, "status 302"),
        (UpstreamUnavailable("refused"), UpstreamUnavailable.code),
        (RuntimeError("a bug"), "RuntimeError"),
    ],
)
async def test_what_a_site_did_not_take_is_sent_again_later(office: Office, answer: Answer, reason: str) -> None:
    office.sites.answers[address(FORUM)] = [answer]
    delivery = await office.enqueue()
    assert await office.deliverer.once() == 1
    now = office.op.clock.now()
    assert await office.waiting() == (replace(delivery, attempts=1, last_error=reason, due_at=now + RETRIES[0]),)
    assert office.events.lines == [("logout_token_delayed", {"client": FORUM, "reason": reason, "attempts": 1})]
    assert office.counted == [(FORUM, "delayed")]
    assert await office.deliverer.once() == 0
    office.op.clock.move(RETRIES[0])
    assert await office.deliverer.once() == 1
    assert await office.waiting() == ()


async def test_a_site_is_tried_for_two_days_at_growing_distances_and_then_given_up(office: Office) -> None:
    office.sites.answers[address(FORUM)] = [503] * 99
    await office.enqueue()
    begun = office.op.clock.now()
    times = []
    while await office.waiting():
        if await office.deliverer.once():
            times.append(office.op.clock.now() - begun)
        held = await office.waiting()
        if held:
            office.op.clock.at = held[0].due_at
    assert len(times) == len(RETRIES) + 1 == 11
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == list(RETRIES)
    assert list(RETRIES) == sorted(RETRIES)
    assert times[-1] > timedelta(days=1, hours=12)
    assert office.events.lines[-1] == ("logout_token_given_up", {"client": FORUM, "reason": "status 503"})
    assert office.counted[-2:] == [(FORUM, "delayed"), (FORUM, "given_up")]
    assert await office.waiting() == ()
    office.op.move(days=20)
    assert await office.deliverer.once() == 0


async def test_a_token_is_signed_when_it_is_sent_so_that_a_late_one_is_fresh(office: Office) -> None:
    office.sites.answers[address(FORUM)] = [500]
    await office.enqueue()
    await office.deliverer.once()
    office.op.move(minutes=5)
    await office.deliverer.once()
    first, second = (form["logout_token"] for _, form in office.sites.got)
    assert first != second
    assert claims_of(office, office.sites.got[1][1])["iat"] == int(office.op.clock.now().timestamp())


async def test_the_site_s_own_algorithm_signs(office: Office) -> None:
    office.op.clients[FORUM] = replace(office.op.clients[FORUM], signing_algorithm=SigningAlgorithm.ES256)
    await office.enqueue()
    await office.deliverer.once()
    header = office.sites.got[0][1]["logout_token"].split(".")[0]
    read = json.loads(base64.urlsafe_b64decode(header + "=="))
    assert (read["alg"], read["typ"]) == ("ES256", tokens.LOGOUT_TOKEN_TYPE)


def gone(clients: dict[ClientId, Client]) -> None:
    del clients[FORUM]


def without_an_address(clients: dict[ClientId, Client]) -> None:
    clients[FORUM] = replace(clients[FORUM], backchannel_logout_uri=None)


@pytest.mark.parametrize("change", [gone, without_an_address])
async def test_a_site_that_is_gone_gets_nothing_and_holds_nobody_up(
    office: Office, change: Callable[[dict[ClientId, Client]], None]
) -> None:
    await office.enqueue(FORUM)
    await office.enqueue(WIKI)
    change(office.op.clients)
    assert await office.deliverer.once() == 2
    assert [url for url, _ in office.sites.got] == [address(WIKI)]
    assert await office.waiting() == ()


async def test_a_delivery_that_makes_no_sense_waits_alone(office: Office) -> None:
    odd = await office.enqueue(FORUM, payload={"account": ACCOUNT})
    await office.enqueue(WIKI)
    assert await office.deliverer.once() == 2
    assert [url for url, _ in office.sites.got] == [address(WIKI)]
    (left,) = await office.waiting()
    assert (left.id, left.attempts, left.last_error) == (odd.id, 1, "KeyError")


async def test_a_slow_site_does_not_hold_up_the_others_of_its_batch(office: Office) -> None:
    office.sites.hold = asyncio.Event()
    for _ in range(BATCH):
        await office.enqueue()
    sending = asyncio.create_task(office.deliverer.once())
    for _ in range(5):
        await asyncio.sleep(0)
    assert office.sites.at_once == BATCH
    office.sites.hold.set()
    assert await sending == BATCH


async def test_two_processes_share_the_work_and_send_nothing_twice(office: Office) -> None:
    for _ in range(3 * BATCH):
        await office.enqueue()
    other = replace(office.deliverer)
    while any(await asyncio.gather(office.deliverer.once(), other.once())):
        pass
    assert len(office.sites.got) == 3 * BATCH
    jtis = {claims_of(office, form)["jti"] for _, form in office.sites.got}
    assert len(jtis) == 3 * BATCH


async def test_what_a_process_had_claimed_when_it_died_is_sent_by_another_a_minute_later(office: Office) -> None:
    """(catalogue 179)"""
    delivery = await office.enqueue()
    office.sites.hold = asyncio.Event()
    dying = asyncio.create_task(office.deliverer.once())
    for _ in range(5):
        await asyncio.sleep(0)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    assert await office.waiting() == (delivery,)
    office.sites.hold = None
    other = replace(office.deliverer)
    assert await other.once() == 0
    office.op.move(seconds=60)
    assert await other.once() == 1
    assert len(office.sites.got) == 1


class AwayOutbox(MemoryOutbox):
    """A memory outbox whose database is away for some calls."""

    def __init__(self, office: Office, away: Mapping[str, BrokerError | RuntimeError]) -> None:
        super().__init__(office.op.durable)
        self.away = dict(away)
        self.asked: list[str] = []

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        error = self.away.pop(name, None)
        if error is not None:
            raise error

    async def claim(self, now: datetime, limit: int) -> tuple[Delivery, ...]:
        self._ask("claim")
        return await super().claim(now, limit)

    async def done(self, delivery_id: str) -> None:
        self._ask("done")
        await super().done(delivery_id)


async def test_what_was_sent_and_could_not_be_noted_is_sent_again_rather_than_lost(office: Office) -> None:
    """(catalogue 162)"""
    office.op.durable.outbox = AwayOutbox(office, {"done": StoreUnavailable("away")})
    office.sites.slow = address(WIKI)
    await office.enqueue(FORUM)
    await office.enqueue(WIKI)
    with pytest.raises(StoreUnavailable):
        await office.deliverer.once()
    assert len(office.sites.got) == 2, "the other was waited for"
    assert len(await office.waiting()) == 1
    office.op.move(seconds=60)
    assert await office.deliverer.once() == 1
    assert await office.waiting() == ()


@pytest.mark.parametrize(
    ("error", "logged"), [(StoreUnavailable("away"), []), (RuntimeError("a bug"), ["outbox_broken"])]
)
async def test_the_deliverer_goes_on_when_the_database_is_back(
    office: Office, monkeypatch: pytest.MonkeyPatch, error: BrokerError | RuntimeError, logged: list[str]
) -> None:
    """(catalogue 162)"""
    assert 0 < IDLE <= 5
    monkeypatch.setattr("broker.outbox.IDLE", 0.001)
    outbox = AwayOutbox(office, {"claim": error})
    office.op.durable.outbox = outbox
    await office.enqueue()
    running = asyncio.create_task(office.deliverer.run())
    async with asyncio.timeout(5):
        while not office.sites.got or len(outbox.asked) < 6:
            await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert office.events.names == [*logged, "logout_token_delivered"]
    assert await office.waiting() == ()


async def test_the_log_of_deliveries_names_sites_and_reasons_and_nobody(office: Office) -> None:
    office.sites.answers[address(FORUM)] = [500]
    await office.enqueue(FORUM)
    await office.enqueue(WIKI)
    await office.deliverer.once()
    assert {key for _, facts in office.events.lines for key in facts} == {"client", "reason", "attempts"}
    text = repr(office.events.lines)
    for secret in (ACCOUNT, SESSION, office.sites.got[0][1]["logout_token"]):
        assert secret not in text


# --- tokens that go back to their provider ------------------------------------------------------------

MASTODON = ProviderId("mastodon")
TOKENS = UpstreamTokens(access_token="at-of-ana", refresh_token="rt-of-ana")


async def to_take_back(office: Office, tokens: UpstreamTokens = TOKENS) -> Delivery:
    return await office.enqueue(ClientId(""), kind=TAKE_BACK, payload=payload_of(MASTODON, tokens))


async def on_its_way(office: Office) -> tuple[tuple[Delivery, bool], ...]:
    return await office.op.durable.outbox.traces("provider", MASTODON)


@pytest.mark.parametrize("tokens", [TOKENS, replace(TOKENS, refresh_token=None)])
async def test_tokens_that_nobody_holds_any_more_go_back_once(office: Office, tokens: UpstreamTokens) -> None:
    await to_take_back(office, tokens)
    assert [await office.deliverer.once() for _ in range(2)] == [1, 0]
    assert office.networks.given == [(MASTODON, tokens)]
    assert await on_its_way(office) == ()
    assert office.events.lines == [("upstream_token_taken_back", {"provider": MASTODON, "attempts": 1})]
    assert office.counted == []


@pytest.mark.parametrize(
    "problem",
    [UpstreamUnavailable("timeout"), UpstreamRejected("revocation invalid_client"), RuntimeError("at-of-ana")],
    ids=lambda problem: type(problem).__name__,
)
async def test_a_provider_that_is_away_gets_them_when_it_is_back(office: Office, problem: Exception) -> None:
    """However long the person waits for nothing; and no token is ever logged (catalogue 152)."""
    office.networks.answers = [problem] * 3
    await to_take_back(office)
    for wait in RETRIES[:3]:
        assert await office.deliverer.once() == 1
        office.op.clock.move(wait)
    assert await office.deliverer.once() == 1
    assert office.networks.given == [(MASTODON, TOKENS)] * 4
    assert await on_its_way(office) == ()
    assert office.events.names == ["upstream_token_delayed"] * 3 + ["upstream_token_taken_back"]
    assert "of-ana" not in repr(office.events.lines)


async def test_what_a_provider_never_takes_back_is_not_kept_here(office: Office) -> None:
    """After two days nobody tries any more: a token that lies about is of use to thieves alone."""
    office.networks.answers = [UpstreamUnavailable("connect")] * 99
    await to_take_back(office)
    while await on_its_way(office):
        await office.deliverer.once()
        office.op.clock.move(timedelta(minutes=30))
    assert len(office.networks.given) == len(RETRIES) + 1
    assert office.events.names[-1] == "upstream_token_given_up"


async def test_a_provider_that_left_the_settings_is_asked_nothing(office: Office) -> None:
    office.networks.answers = [ProviderOff(detail="provider unknown")]
    await to_take_back(office)
    assert await office.deliverer.once() == 1
    assert await on_its_way(office) == ()
    assert office.events.lines == [("upstream_token_given_up", {"provider": MASTODON, "reason": "provider is gone"})]


def test_what_waits_to_go_back_says_nothing_of_whose_it_was(office: Office) -> None:
    """Nor does what is written of it anywhere (catalogue 152)."""
    kept = payload_of(MASTODON, replace(TOKENS, scopes=frozenset({"write"})))
    assert set(kept) == {"provider", "access_token", "refresh_token"}
    assert "of-ana" not in repr(make.delivery(kind=TAKE_BACK, payload=kept))
