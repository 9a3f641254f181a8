"""The posting gate's flow on memory stores: each of the seven locks, every outcome, and random histories."""

from __future__ import annotations

import ast
import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import builders as make
from tests.support.builders import FORUM, WIKI, FixedClock
from tests.support.network import Network
from tests.support.source import ROOT, tree

from broker.chance import SystemEntropy
from broker.domain.account import Account, AccountStatus, KeptNumber, Link
from broker.domain.client import Client
from broker.domain.consent import Purpose
from broker.domain.policy import Policies
from broker.domain.posting import Message, Posting, PostState, counterparty, one_post
from broker.domain.taking_back import TAKE_BACK
from broker.domain.provider import PostUnknown, UpstreamTokens
from broker.domain.session import Session
from broker.domain.tokens import subject_for
from broker.domain.values import AccountId, ClientId, ProviderId
from broker.errors import (
    ConfigurationError,
    FreshSignInRequired,
    InvalidRequest,
    LastLink,
    NotFound,
    PostingNotPermitted,
    SignInRequired,
    StoreUnavailable,
    TooManyAttempts,
    UpstreamRejected,
    UpstreamUnavailable,
    WayMissing,
)
from broker.flows.account import AccountFlow
from broker.flows.audit import AuditTrail
from broker.flows.ledger import LedgerWriter
from broker.flows.posting import Asked, PostingGate, Sent, is_of_site
from broker.flows.session import SessionFlow
from broker.stores.memory import MemoryBrowser, MemoryDurable

MASTODON, FACEBOOK, OTHER = ProviderId("mastodon"), ProviderId("facebook"), ProviderId("other")
ISSUER: Final = "https://login.example"
KEY: Final = b"k" * 32
POSTS_PER_HOUR: Final = 5
TOKEN: Final = UpstreamTokens(access_token="token-to-post", scopes=frozenset({"openid", "write:statuses"}))


@dataclass
class Person:
    account: Account
    session: Session
    links: dict[ProviderId, Link]


@dataclass
class Room:
    """One gate with its publishers, two sites and the account page beside it."""

    durable: Any = None
    clock: FixedClock = field(default_factory=FixedClock)
    at_once: list[tuple[ProviderId, str]] = field(default_factory=list)
    renewed: list[tuple[ProviderId, str]] = field(default_factory=list)
    answer: UpstreamTokens | BaseException | None = None
    before_answer: Callable[[], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        self.durable = self.durable or MemoryDurable(self.clock)
        memory = MemoryBrowser(self.clock)
        entropy = SystemEntropy()
        self.ledger = LedgerWriter(clock=self.clock, entropy=entropy)
        self.mastodon = Network(self.clock)
        self.facebook = Network(self.clock, provider=FACEBOOK, scopes=(), needs_person=True)
        self.clients: dict[ClientId, Client] = {
            FORUM: make.client(may_post=True),
            WIKI: make.client(
                client_id=WIKI,
                may_post=True,
                url="https://wiki.example/",
                redirect_uris=("https://wiki.example/cb",),
                sector="",
            ),
        }
        policies = Policies(terms=(), privacy=())
        self.gate = PostingGate(
            durable=self.durable,
            limits=memory.limits,
            publishers={MASTODON: self.mastodon, FACEBOOK: self.facebook},
            clients=self.clients,
            policies=policies,
            clock=self.clock,
            entropy=entropy,
            ledger=self.ledger,
            issuer=ISSUER,
            subject_key=KEY,
            posts_per_hour=POSTS_PER_HOUR,
            renew=self.renew,
            revoke=self.revoke,
        )
        sessions = SessionFlow(
            durable=self.durable, sessions=memory.sessions, clients=self.clients, clock=self.clock, entropy=entropy
        )
        self.accounts = AccountFlow(
            durable=self.durable,
            sessions=sessions,
            ledger=self.ledger,
            clients=self.clients,
            fields={},
            policies=policies,
            newsletters=frozenset(),
            limits=memory.limits,
            clock=self.clock,
            trail=AuditTrail(durable=self.durable, clock=self.clock, key=b"a" * 32),
            posting=self.gate,
        )

    async def renew(self, provider: ProviderId, tokens: UpstreamTokens) -> UpstreamTokens:
        self.renewed.append((provider, tokens.refresh_token or ""))
        if self.before_answer is not None:
            await self.before_answer()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer or replace(
            tokens,
            access_token=f"renewed-{len(self.renewed)}",
            refresh_token=f"refresh-{len(self.renewed)}",
            expires_at=self.clock.now() + timedelta(hours=2),
        )

    async def revoke(self, provider: ProviderId, tokens: UpstreamTokens | None) -> None:
        if tokens is not None:
            self.at_once.append((provider, tokens.access_token))

    @property
    def revoked(self) -> list[tuple[ProviderId, str]]:
        """What was taken back at once, and then what is on its way back."""
        sent = [one.payload for one in self.durable.tables.deliveries.values() if one.kind == TAKE_BACK]
        return self.at_once + [(ProviderId(one["provider"]), one["access_token"]) for one in sent]

    def forget(self) -> None:
        """Begin to look at what is taken back from here on."""
        self.at_once.clear()
        self.durable.tables.deliveries.clear()

    async def person(self, *providers: ProviderId) -> Person:
        account = make.account(status=AccountStatus.ACTIVE)
        links = {provider: make.link(account, provider=provider) for provider in providers or (MASTODON, FACEBOOK)}
        unit = self.durable.unit()
        unit.add_account(account)
        for link in links.values():
            unit.add_link(link)
        await unit.commit()
        return Person(account, make.session(account.id, now=self.clock.now()), links)

    def subject(self, person: Person, client: ClientId = FORUM) -> str:
        return subject_for(person.account.id, self.clients[client], KEY)

    async def allow(self, person: Person, provider: ProviderId = MASTODON, client: ClientId = FORUM) -> None:
        tokens = TOKEN if provider == MASTODON else None
        now = self.clock.now()
        await self.gate.allow(
            self.fresh(person), provider, client, tokens=tokens, pressed_at=now, transaction="t", locale="en"
        )

    def fresh(self, person: Person) -> Session:
        return replace(person.session, auth_time=self.clock.now())

    async def off(self, person: Person, provider: ProviderId = MASTODON, client: ClientId = FORUM) -> None:
        await self.gate.turn_off(person.session, provider, client, locale="en")

    def asked(self, person: Person, provider: ProviderId = MASTODON, client: ClientId = FORUM, **more: Any) -> Asked:
        site = self.clients[client].url
        values = {"text": "hello", "url": f"{site}t/1", "return_to": f"{site}t/1"} | more
        return Asked(subject=self.subject(person, client), provider=provider, **values)

    async def ask(
        self, person: Person, provider: ProviderId = MASTODON, client: ClientId = FORUM, **more: Any
    ) -> Posting:
        return await self.gate.ask(self.clients[client], self.asked(person, provider, client, **more))

    async def post(self, person: Person, posting: Posting) -> Sent:
        return await self.gate.post(person.session, posting.id, shown=posting.message.digest, locale="en")

    async def state(self, posting: Posting) -> PostState:
        found = await self.durable.postings.load(posting.id)
        return found.state if found is not None else PostState.CANCELLED

    def sent(self) -> list[tuple[ProviderId, AccountId, ClientId, str]]:
        return [
            (network.provider, one.permit.account, one.permit.client, one.message.text)
            for network in (self.mastodon, self.facebook)
            for one in network.sent
        ]

    async def receipts(self, person: Person) -> list[tuple[str, bool, bool]]:
        """(counterparty, accepted, denied) of every posting receipt."""
        found = await self.durable.ledger.receipts(person.account.id, Purpose.POST_UPSTREAM)
        return [(one.counterparty, bool(one.accepted), one.denied) for one in found]


@pytest.fixture
def room() -> Room:
    return Room()


# --- lock 1: not asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["write:statuses", "publish_actions", "w_member_social", "pages_manage_posts"])
def test_a_provider_that_asks_to_post_at_sign_in_is_refused(scope: str) -> None:
    """(catalogue 189)"""
    from providers.preset import Preset

    table = {"kind": "openid_connect", "client_id": "x", "issuer": "https://op.example", "scopes": ["openid", scope]}
    with pytest.raises(ConfigurationError, match="configuration"):
        Preset.from_table("op", table)


# --- lock 2: not held ---------------------------------------------------------------------------------


async def test_only_an_opt_in_puts_a_token_into_the_vault(room: Room) -> None:
    ana = await room.person()
    assert not await room.durable.vault.holds(ana.account.id, MASTODON)
    await room.gate.refuse(ana.session, MASTODON, FORUM, transaction="t", locale="en")
    assert not await room.durable.vault.holds(ana.account.id, MASTODON)
    await room.allow(ana)
    assert await room.durable.vault.holds(ana.account.id, MASTODON)


async def test_a_network_that_needs_no_permission_leaves_no_token(room: Room) -> None:
    ana = await room.person()
    now = room.clock.now()
    await room.gate.allow(ana.session, FACEBOOK, FORUM, tokens=TOKEN, pressed_at=now, transaction="t", locale="en")
    assert not await room.durable.vault.holds(ana.account.id, FACEBOOK)


@pytest.mark.parametrize(
    "tokens",
    [None, replace(TOKEN, scopes=frozenset({"openid"})), replace(TOKEN, scopes=frozenset())],
    ids=["no token", "not for posting", "for nothing"],
)
async def test_what_was_not_granted_upstream_is_no_opt_in(room: Room, tokens: UpstreamTokens | None) -> None:
    """And a token that is of no use is taken back at once (catalogue 189)."""
    ana = await room.person()
    now = room.clock.now()
    with pytest.raises(PostingNotPermitted):
        await room.gate.allow(ana.session, MASTODON, FORUM, tokens=tokens, pressed_at=now, transaction="t", locale="en")
    assert await room.gate.switches(ana.account.id) == ()
    assert not await room.durable.vault.holds(ana.account.id, MASTODON)
    assert room.revoked == ([(MASTODON, "token-to-post")] if tokens else [])


async def test_what_is_kept_for_one_site_is_not_taken_back_for_another(room: Room) -> None:
    """Some networks give the same token a second time (catalogue 189)."""
    ana = await room.person()
    await room.allow(ana, MASTODON, FORUM)
    room.forget()
    assert await room.gate.keeps(ana.account.id, MASTODON, TOKEN)
    await room.gate.give_back(ana.account.id, MASTODON, TOKEN)
    assert room.revoked == []
    other = replace(TOKEN, access_token="another", refresh_token=None)
    await room.gate.give_back(ana.account.id, MASTODON, other)
    assert room.revoked == [(MASTODON, "another")]


# --- lock 3: default is absence -----------------------------------------------------------------------


async def test_nothing_is_on_for_a_new_person(room: Room) -> None:
    """(catalogue 189)"""
    ana = await room.person()
    assert await room.gate.switches(ana.account.id) == ()
    for provider in (MASTODON, FACEBOOK):
        for client in (FORUM, WIKI):
            with pytest.raises(PostingNotPermitted):
                await room.ask(ana, provider, client)


async def test_an_opt_in_is_for_one_person_one_network_and_one_site(room: Room) -> None:
    """(catalogue 189)"""
    ana, ben = await room.person(), await room.person()
    await room.allow(ana, MASTODON, FORUM)
    await room.ask(ana, MASTODON, FORUM)
    for person, provider, client in ((ana, FACEBOOK, FORUM), (ana, MASTODON, WIKI), (ben, MASTODON, FORUM)):
        with pytest.raises(PostingNotPermitted):
            await room.ask(person, provider, client)
    assert [(one.provider, one.client) for one in await room.gate.switches(ana.account.id)] == [(MASTODON, FORUM)]


async def test_opting_in_needs_a_fresh_sign_in(room: Room) -> None:
    ana = await room.person()
    stale = replace(ana.session, auth_time=room.clock.now() - timedelta(minutes=6))
    now = room.clock.now()
    with pytest.raises(FreshSignInRequired):
        await room.gate.allow(stale, MASTODON, FORUM, tokens=TOKEN, pressed_at=now, transaction="t", locale="en")
    assert await room.gate.switches(ana.account.id) == ()
    assert room.revoked == [(MASTODON, "token-to-post")]


async def test_taking_ones_time_at_the_network_needs_no_second_sign_in(room: Room) -> None:
    """Fresh is measured when the button was pressed, not when the network sends the person back."""
    ana = await room.person()
    pressed_at = room.clock.now()
    room.clock.move(timedelta(minutes=20))
    await room.gate.allow(
        ana.session, MASTODON, FORUM, tokens=TOKEN, pressed_at=pressed_at, transaction="t", locale="en"
    )
    assert len(await room.gate.switches(ana.account.id)) == 1


@pytest.mark.parametrize("why", ["site may not", "site disabled", "site unknown", "no network", "not linked"])
async def test_there_is_nothing_to_opt_in_to_where_posting_cannot_be(room: Room, why: str) -> None:
    ana = await room.person(MASTODON)
    provider, client = MASTODON, FORUM
    if why == "site may not":
        room.clients[FORUM] = replace(room.clients[FORUM], may_post=False)
    elif why == "site disabled":
        room.clients[FORUM] = replace(room.clients[FORUM], enabled=False)
    elif why == "site unknown":
        client = ClientId("nobody")
    else:
        provider = OTHER if why == "no network" else FACEBOOK
    with pytest.raises(PostingNotPermitted) as refusal:
        await room.allow(ana, provider, client)
    assert isinstance(refusal.value, WayMissing) is (why == "not linked")
    assert await room.receipts(ana) == []


async def test_an_account_on_hold_posts_nothing(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    account = await room.durable.accounts.load(ana.account.id)
    unit = room.durable.unit()
    unit.save_account(replace(account, status=AccountStatus.HELD))
    await unit.commit()
    with pytest.raises(PostingNotPermitted):
        await room.post(ana, posting)
    assert room.sent() == []


async def test_an_opt_in_without_its_way_in_counts_for_nothing(room: Room) -> None:
    """However the link went: nobody posts with an identity that is not theirs any more."""
    ana = await room.person(MASTODON, OTHER)
    await room.allow(ana)
    posting = await room.ask(ana)
    unit = room.durable.unit()
    unit.remove_link(ana.account.id, ana.links[MASTODON].id)
    await unit.commit()
    with pytest.raises(PostingNotPermitted):
        await room.post(ana, posting)
    with pytest.raises(PostingNotPermitted):
        await room.ask(ana)
    assert room.sent() == []


# --- lock 4: one rule ---------------------------------------------------------------------------------


async def test_a_site_that_changed_its_face_asks_anew(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    room.clients[FORUM] = replace(room.clients[FORUM], name="Another Forum")
    with pytest.raises(PostingNotPermitted):
        await room.post(ana, posting)
    with pytest.raises(PostingNotPermitted):
        await room.ask(ana)
    assert room.sent() == []
    await room.allow(ana)
    await room.post(ana, await room.ask(ana))
    assert len(room.sent()) == 1


async def test_another_message_than_the_one_shown_is_not_posted(room: Room) -> None:
    """(catalogue 191)"""
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    for other in (Message(text="hello!"), Message(text="hello", url="https://evil.example/")):
        with pytest.raises(PostingNotPermitted):
            await room.gate.post(ana.session, posting.id, shown=other.digest, locale="en")
    with pytest.raises(PostingNotPermitted):
        await room.gate.post(ana.session, posting.id, shown="", locale="en")
    assert room.sent() == []
    assert await room.state(posting) is PostState.ASKED


async def test_what_is_posted_is_what_was_asked_character_by_character(room: Room) -> None:
    """(catalogue 191, 195)"""
    ana = await room.person()
    await room.allow(ana)
    text = "👩🏽‍🚀 שלום\u200f\n\n@ben #tag  <b>  https://example.org/ "
    posting = await room.ask(ana, text=text)
    await room.post(ana, posting)
    assert [one.message.text for one in room.mastodon.sent] == [text]
    assert room.mastodon.sent[0].message.url == posting.message.url


async def test_nobody_decides_about_another_persons_post(room: Room) -> None:
    ana, ben = await room.person(), await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    with pytest.raises(NotFound):
        await room.post(ben, posting)
    with pytest.raises(NotFound):
        await room.gate.decline(ben.session, posting.id, locale="en")
    with pytest.raises(NotFound):
        await room.gate.undo(ben.session, posting.id)
    with pytest.raises(NotFound):
        await room.gate.load(ben.account.id, posting.id)
    assert await room.state(posting) is PostState.ASKED
    assert room.sent() == []


# --- lock 5: one holder -------------------------------------------------------------------------------


def test_only_the_gate_calls_a_publisher() -> None:
    """`publish`, `undo` of a publisher, `permit` and the vault's `open` are called in one module of the broker; the vault is
    opened in one more, which the gate alone holds, and which has tokens renewed.
    """
    callers: dict[str, set[str]] = {"publish": set(), "open": set(), "permit": set(), "permit_to_take_back": set()}
    for path in sorted((ROOT / "broker").rglob("*.py")):
        if (ROOT / "broker" / "verify") in path.parents:
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                of_vault = isinstance(node.func, ast.Attribute) and ast.unparse(node.func).endswith("vault.open")
                if name in callers and (name != "open" or of_vault):
                    callers[name].add(str(path.relative_to(ROOT)))
    gate = "broker/flows/posting.py"
    assert callers == {name: {gate} for name in callers} | {"open": {"broker/flows/renewing.py"}}
    holders = {path for path in (ROOT / "broker").rglob("*.py") if "flows.renewing import" in path.read_text()}
    assert {str(path.relative_to(ROOT)) for path in holders} == {gate}


def test_only_the_composition_root_makes_publishers() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "broker").rglob("*.py")
        if (ROOT / "broker" / "verify") not in path.parents and "load_publishers" in path.read_text(encoding="utf-8")
    }
    assert users == {"broker/app.py"}


# --- lock 6: one key ----------------------------------------------------------------------------------


async def test_the_vault_opens_for_a_permit_and_for_nothing_else(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    for key in (ana.account.id, ana.account, ana.session.sid, (ana.account.id, MASTODON)):
        with pytest.raises(AttributeError):
            await room.durable.vault.open(key)
    await room.post(ana, await room.ask(ana))
    assert room.mastodon.sent[0].token == "token-to-post"


async def test_a_token_that_is_over_is_not_used(room: Room) -> None:
    """And the opt-in ends with it, so that nobody tries again and again (catalogue 193)."""
    ana = await room.person()
    token = replace(TOKEN, expires_at=room.clock.now() + timedelta(minutes=10))
    now = room.clock.now()
    await room.gate.allow(ana.session, MASTODON, FORUM, tokens=token, pressed_at=now, transaction="t", locale="en")
    posting = await room.ask(ana)
    room.clock.move(timedelta(minutes=10))
    sent = await room.post(ana, posting)
    assert sent.posting.state is PostState.FAILED
    assert room.sent() == []
    assert await room.gate.switches(ana.account.id) == ()


# --- lock 7: one record -------------------------------------------------------------------------------


async def test_every_yes_and_no_is_in_the_ledger(room: Room) -> None:
    ana = await room.person()
    both, single = counterparty(MASTODON, FORUM), one_post(MASTODON, FORUM)
    await room.gate.refuse(ana.session, MASTODON, FORUM, transaction="t", locale="en")
    assert await room.receipts(ana) == [(both, False, True)]
    await room.allow(ana)
    first, second = await room.ask(ana), await room.ask(ana)
    await room.gate.decline(ana.session, first.id, locale="en")
    await room.post(ana, second)
    await room.off(ana)
    assert await room.receipts(ana) == [
        (both, False, True), (both, True, False), (single, False, True), (single, True, False), (both, False, False),
    ]  # fmt: skip
    kept = await room.durable.ledger.receipts(ana.account.id, Purpose.POST_UPSTREAM)
    assert [one.transaction for one in kept[2:4]] == [first.id, second.id]
    assert kept[4].withdraws == kept[1].id
    assert {one.sid for one in kept} == {ana.session.sid}


async def test_receipts_hold_nothing_of_what_was_posted(room: Room) -> None:
    """Neither text nor address nor a digest of them (decision 15)."""
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana, text="canary-text")
    await room.post(ana, posting)
    kept = repr(await room.durable.ledger.receipts(ana.account.id))
    assert "canary-text" not in kept
    assert str(posting.message.url) not in kept
    assert posting.message.digest not in kept


async def test_a_post_is_written_down_before_it_is_handed_over(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    seen: list[object] = []

    async def look() -> None:
        seen.append(await room.state(posting))
        seen.append((await room.receipts(ana))[-1])

    room.mastodon.before = look
    await room.post(ana, posting)
    assert seen == [PostState.SENDING, (one_post(MASTODON, FORUM), True, False)]


async def test_what_cannot_be_written_down_does_not_happen(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    await room.durable.close()
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: room.ask(ana),
        lambda: room.post(ana, posting),
        lambda: room.gate.decline(ana.session, posting.id, locale="en"),
        lambda: room.off(ana),
        lambda: room.gate.undo(ana.session, posting.id),
    ]
    for attempt in attempts:
        with pytest.raises(StoreUnavailable):
            await attempt()
    assert room.sent() == []
    assert room.revoked == []


# --- a site asks --------------------------------------------------------------------------------------


async def test_one_refusal_for_every_reason(room: Room) -> None:
    """A site learns nothing about who exists, who opted in, and what is possible (catalogue 189)."""
    ana, ben = await room.person(), await room.person()
    await room.allow(ana)
    room.clients[WIKI] = replace(room.clients[WIKI], may_post=False)
    asks: list[tuple[Client, Asked]] = [
        (room.clients[FORUM], replace(room.asked(ana), subject="nobody")),
        (room.clients[FORUM], room.asked(ben)),
        (room.clients[FORUM], room.asked(ana, FACEBOOK)),
        (room.clients[FORUM], room.asked(ana, OTHER)),
        (room.clients[WIKI], room.asked(ana, MASTODON, WIKI)),
    ]
    said = set()
    for client, asked in asks:
        with pytest.raises(PostingNotPermitted) as caught:
            await room.gate.ask(client, asked)
        said.add((caught.value.code, caught.value.status, caught.value.public))
    assert len(said) == 1


async def test_another_sites_number_of_a_person_leads_nowhere(room: Room) -> None:
    ana = await room.person()
    room.clients[FORUM] = replace(
        room.clients[FORUM], sector="forum", subject_type=type(room.clients[FORUM].subject_type)("pairwise")
    )
    room.clients[WIKI] = replace(
        room.clients[WIKI], sector="wiki", subject_type=type(room.clients[WIKI].subject_type)("pairwise")
    )
    await room.allow(ana, MASTODON, FORUM)
    await room.allow(ana, MASTODON, WIKI)
    assert room.subject(ana, FORUM) != room.subject(ana, WIKI)
    with pytest.raises(PostingNotPermitted):
        await room.gate.ask(room.clients[FORUM], replace(room.asked(ana), subject=room.subject(ana, WIKI)))


@pytest.mark.parametrize(
    "change",
    [
        {"text": ""}, {"text": "x" * 10_000}, {"text": "a\x00b"}, {"url": "javascript:alert(1)"},
        {"return_to": "https://evil.example/"}, {"return_to": "https://forum.example.evil.example/"},
        {"return_to": "https://forum.example@evil.example/"}, {"return_to": "//forum.example/"}, {"return_to": ""},
        {"return_to": "http://forum.example/"}, {"return_to": "https://forum.example:444/"},
    ],
)  # fmt: skip
async def test_a_request_that_cannot_be_shown_or_returned_from_is_refused(room: Room, change: dict[str, Any]) -> None:
    """Whoever it is about: the answer is the same for people there are and people there are not (catalogue 195)."""
    ana = await room.person()
    await room.allow(ana)
    for subject in (room.subject(ana), "nobody"):
        with pytest.raises(InvalidRequest):
            await room.gate.ask(room.clients[FORUM], replace(room.asked(ana, **change), subject=subject))
    assert await room.durable.postings.recent(ana.account.id) == ()


async def test_a_share_window_needs_an_address(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana, FACEBOOK)
    with pytest.raises(InvalidRequest):
        await room.ask(ana, FACEBOOK, url=None)


@pytest.mark.parametrize(
    "address", ["https://forum.example/t/1?a=b#c", "https://www.forum.example/", "https://forum.example"]
)
def test_a_site_sends_people_back_to_its_own_addresses(address: str) -> None:
    assert is_of_site(make.client(), address)


async def test_a_site_can_ask_only_so_often_for_one_person(room: Room) -> None:
    """Whether there is such a person or not (catalogue 195)."""
    ana, ben = await room.person(), await room.person()
    await room.allow(ana)
    await room.allow(ben)
    for _ in range(3 * POSTS_PER_HOUR):
        await room.ask(ana)
        with pytest.raises(PostingNotPermitted):
            await room.gate.ask(room.clients[FORUM], replace(room.asked(ana), subject="nobody"))
    with pytest.raises(TooManyAttempts):
        await room.ask(ana)
    with pytest.raises(TooManyAttempts):
        await room.gate.ask(room.clients[FORUM], replace(room.asked(ana), subject="nobody"))
    await room.ask(ben)


async def test_a_site_can_ask_only_so_often_in_all(room: Room) -> None:
    """(catalogue 195)"""
    ana = await room.person()
    for number in range(30 * POSTS_PER_HOUR):
        with pytest.raises(PostingNotPermitted):
            await room.gate.ask(room.clients[FORUM], replace(room.asked(ana), subject=f"nobody-{number}"))
    with pytest.raises(TooManyAttempts):
        await room.gate.ask(room.clients[FORUM], room.asked(ana))
    with pytest.raises(PostingNotPermitted):
        await room.gate.ask(room.clients[WIKI], room.asked(ana, MASTODON, WIKI))


async def test_a_person_posts_only_so_often(room: Room) -> None:
    """Through whatever sites, and what is stopped can be posted later (catalogue 195)."""
    ana = await room.person()
    await room.allow(ana, MASTODON, FORUM)
    await room.allow(ana, MASTODON, WIKI)
    for number in range(POSTS_PER_HOUR):
        await room.post(ana, await room.ask(ana, MASTODON, (FORUM, WIKI)[number % 2]))
    late = await room.ask(ana)
    with pytest.raises(TooManyAttempts):
        await room.post(ana, late)
    assert await room.state(late) is PostState.ASKED
    assert len(room.sent()) == POSTS_PER_HOUR
    room.clock.move(timedelta(minutes=25))
    await room.post(ana, late)
    assert len(room.sent()) == POSTS_PER_HOUR + 1


# --- once -----------------------------------------------------------------------------------------------


async def test_pressing_twice_posts_once(room: Room) -> None:
    """(catalogue 192)"""
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    again: list[Sent] = []

    async def press_again() -> None:
        again.append(await room.post(ana, posting))

    room.mastodon.before = press_again
    first = await room.post(ana, posting)
    last = await room.post(ana, posting)
    assert [one.posting.state for one in (again[0], first, last)] == [
        PostState.SENDING,
        PostState.POSTED,
        PostState.POSTED,
    ]
    assert len(room.sent()) == 1


async def test_of_many_pressing_at_once_one_posts() -> None:
    """Also when their reads and writes mix in any order (catalogue 192)."""
    for seed in range(50):
        room = mixed(seed)
        ana = await room.person()
        await room.allow(ana)
        posting = await room.ask(ana)
        await asyncio.gather(*(room.post(ana, posting) for _ in range(5)), return_exceptions=True)
        assert len(room.sent()) == 1
        assert await room.state(posting) is PostState.POSTED


async def test_every_post_has_a_key_of_its_own(room: Room) -> None:
    """The network tells a second try from a second post by it (catalogue 192)."""
    ana = await room.person()
    await room.allow(ana)
    for _ in range(3):
        await room.post(ana, await room.ask(ana))
    keys = [one.message.idempotency_key for one in room.mastodon.sent]
    assert len(set(keys)) == 3
    assert all(len(key) > 15 for key in keys)


async def test_no_answer_is_unknown_and_never_tried_again(room: Room) -> None:
    """(catalogue 192)"""
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    room.mastodon.outcome = PostUnknown(reason="timeout")
    assert (await room.post(ana, posting)).posting.state is PostState.UNKNOWN
    room.mastodon.outcome = None
    assert (await room.post(ana, posting)).posting.state is PostState.UNKNOWN
    assert len(room.sent()) == 1


@pytest.mark.parametrize(
    "end", [asyncio.CancelledError(), RuntimeError("cut off"), KeyError("x")], ids=["cancelled", "fault", "bug"]
)
async def test_a_post_cut_off_is_unknown(room: Room, end: BaseException) -> None:
    """(catalogue 192)"""
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    room.mastodon.outcome = end
    with pytest.raises(type(end)):
        await room.post(ana, posting)
    room.mastodon.outcome = None
    assert (await room.post(ana, posting)).posting.state is PostState.UNKNOWN
    assert len(room.sent()) == 1


async def test_a_crash_while_sending_leaves_unknown(room: Room) -> None:
    """The process is gone: whoever looks later finds it on its way for too long (catalogue 192)."""
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    unit = room.durable.unit()
    room.gate._decided_once(unit, posting, accepted=True, sid=ana.session.sid, locale="en")
    unit.move_posting(posting.id, expected=PostState.ASKED, state=PostState.SENDING, now=room.clock.now())
    await unit.commit()
    assert (await room.gate.load(ana.account.id, posting.id)).state is PostState.SENDING
    room.clock.move(timedelta(minutes=2, seconds=1))
    assert (await room.gate.recent(ana.account.id))[0].state is PostState.UNKNOWN
    assert (await room.post(ana, posting)).posting.state is PostState.UNKNOWN
    assert room.sent() == []


@pytest.mark.parametrize(
    "error", [UpstreamRejected("status 422 status"), UpstreamUnavailable("connect"), UpstreamUnavailable("status 429")]
)
async def test_what_the_network_refuses_is_failed_and_the_opt_in_stands(room: Room, error: Exception) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    room.mastodon.outcome = error
    assert (await room.post(ana, posting)).posting.state is PostState.FAILED
    assert len(await room.gate.switches(ana.account.id)) == 1


async def test_a_permission_that_ended_there_turns_posting_off_here(room: Room) -> None:
    """For every site, since it is one token; and nobody tries again (catalogue 193)."""
    ana = await room.person()
    await room.allow(ana, MASTODON, FORUM)
    await room.allow(ana, MASTODON, WIKI)
    await room.allow(ana, FACEBOOK, FORUM)
    posting, waiting = await room.ask(ana), await room.ask(ana, MASTODON, WIKI)
    room.mastodon.outcome = PostingNotPermitted("status 401")
    assert (await room.post(ana, posting)).posting.state is PostState.FAILED
    assert [(one.provider, one.client) for one in await room.gate.switches(ana.account.id)] == [(FACEBOOK, FORUM)]
    assert not await room.durable.vault.holds(ana.account.id, MASTODON)
    assert await room.state(waiting) is PostState.CANCELLED
    with pytest.raises(PostingNotPermitted):
        await room.ask(ana)
    assert len(room.mastodon.sent) == 1
    withdrawal = (await room.durable.ledger.receipts(ana.account.id, Purpose.POST_UPSTREAM))[-1]
    assert withdrawal.withdraws is not None
    assert withdrawal.sid is None


# --- time, windows and undo ---------------------------------------------------------------------------


async def test_what_nobody_decides_is_cancelled_after_half_an_hour(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    room.clock.move(timedelta(minutes=30))
    assert (await room.post(ana, posting)).posting.state is PostState.CANCELLED
    assert room.sent() == []


async def test_once_declined_it_stays_declined(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    assert (await room.gate.decline(ana.session, posting.id, locale="en")).state is PostState.DECLINED
    assert (await room.post(ana, posting)).posting.state is PostState.DECLINED
    assert room.sent() == []


async def test_saying_no_after_posting_changes_nothing(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    await room.post(ana, posting)
    assert (await room.gate.decline(ana.session, posting.id, locale="en")).state is PostState.POSTED


async def test_only_the_person_can_go_on_in_the_networks_window(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana, FACEBOOK)
    posting = await room.ask(ana, FACEBOOK)
    sent = await room.post(ana, posting)
    assert sent.posting.state is PostState.NEEDS_PERSON
    assert sent.window is not None
    assert room.facebook.sent[0].token is None
    again = await room.post(ana, posting)
    assert again.window is None
    assert len(room.facebook.sent) == 1
    assert not await room.gate.undo(ana.session, posting.id)


def key_of(posting: Posting) -> str:
    return posting.message.return_url.rpartition("=")[2]


async def test_the_windows_way_back_is_known_to_the_network_alone(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana, FACEBOOK)
    posting = await room.ask(ana, FACEBOOK)
    assert posting.message.return_url.startswith(f"{ISSUER}/posting/{posting.id}/returned?")
    await room.post(ana, posting)
    for key in ("", "x", key_of(posting)[:-1], "ü", posting.id):
        with pytest.raises(NotFound):
            await room.gate.returned(posting.id, key, cancelled=True)
    with pytest.raises(NotFound):
        await room.gate.returned("nothing", key_of(posting), cancelled=True)
    assert await room.state(posting) is PostState.NEEDS_PERSON
    assert (await room.gate.returned(posting.id, key_of(posting), cancelled=False)).state is PostState.NEEDS_PERSON
    assert (await room.gate.returned(posting.id, key_of(posting), cancelled=True)).state is PostState.CANCELLED


@pytest.mark.parametrize("state", [PostState.ASKED, PostState.POSTED, PostState.DECLINED])
async def test_the_window_cancels_nothing_but_what_is_in_it(room: Room, state: PostState) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    if state is PostState.POSTED:
        await room.post(ana, posting)
    elif state is PostState.DECLINED:
        await room.gate.decline(ana.session, posting.id, locale="en")
    assert (await room.gate.returned(posting.id, key_of(posting), cancelled=True)).state is state


async def test_a_post_can_be_taken_back_where_the_network_can(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    assert not await room.gate.undo(ana.session, posting.id)
    posted = (await room.post(ana, posting)).posting
    assert room.gate.can_undo(posted, await room.gate.switches(ana.account.id))
    assert await room.gate.undo(ana.session, posting.id)
    assert await room.state(posting) is PostState.UNDONE
    assert await room.gate.undo(ana.session, posting.id)
    assert room.mastodon.undone == ["remote-1"]


async def test_a_post_can_be_taken_back_though_the_site_may_post_no_more(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    await room.post(ana, posting)
    room.clients[FORUM] = replace(room.clients[FORUM], enabled=False, may_post=False)
    assert await room.gate.undo(ana.session, posting.id)


async def test_without_an_opt_in_there_is_no_key_to_take_back_with(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana)
    posted = (await room.post(ana, await room.ask(ana))).posting
    await room.off(ana)
    assert not room.gate.can_undo(posted, await room.gate.switches(ana.account.id))
    assert not await room.gate.undo(ana.session, posted.id)
    assert room.mastodon.undone == []
    assert await room.state(posted) is PostState.POSTED


# --- ending -------------------------------------------------------------------------------------------


async def test_a_site_asks_to_post_by_the_number_it_knows(room: Room) -> None:
    """Also where that is the number of an account that was merged into this one."""
    ana, ben = await room.person(), await room.person()
    sector = room.clients[FORUM].subject_sector
    unit = room.durable.unit()
    unit.save_account(replace(ana.account, kept_numbers={sector: KeptNumber(of=ben.account.id, sites=(FORUM,))}))
    await unit.commit()
    await room.allow(ana)
    assert await room.durable.postings.account_of(FORUM, room.subject(ben)) == ana.account.id
    assert await room.durable.postings.account_of(FORUM, room.subject(ana)) is None
    await room.off(ana)
    assert await room.durable.postings.account_of(FORUM, room.subject(ben)) is None


async def test_turning_off_ends_everything_at_once(room: Room) -> None:
    """Receipt, token, what waits, the site's way to ask, and the permission upstream (catalogue 194)."""
    ana = await room.person()
    await room.allow(ana)
    waiting = await room.ask(ana)
    await room.off(ana)
    assert await room.gate.switches(ana.account.id) == ()
    assert not await room.durable.vault.holds(ana.account.id, MASTODON)
    assert await room.state(waiting) is PostState.CANCELLED
    assert room.revoked == [(MASTODON, "token-to-post")]
    assert await room.durable.postings.account_of(FORUM, room.subject(ana)) is None
    assert (await room.post(ana, waiting)).posting.state is PostState.CANCELLED
    with pytest.raises(PostingNotPermitted):
        await room.ask(ana)
    assert room.sent() == []


async def test_turning_off_for_one_site_leaves_the_others(room: Room) -> None:
    ana = await room.person()
    await room.allow(ana, MASTODON, FORUM)
    await room.allow(ana, MASTODON, WIKI)
    await room.allow(ana, FACEBOOK, FORUM)
    await room.off(ana, MASTODON, FORUM)
    assert await room.durable.vault.holds(ana.account.id, MASTODON)
    assert room.revoked == []
    await room.post(ana, await room.ask(ana, MASTODON, WIKI))
    await room.ask(ana, FACEBOOK, FORUM)
    await room.off(ana, MASTODON, WIKI)
    assert room.revoked == [(MASTODON, "token-to-post")]
    assert {(one.provider, one.client) for one in await room.gate.switches(ana.account.id)} == {(FACEBOOK, FORUM)}


async def test_turning_off_what_is_off_writes_nothing(room: Room) -> None:
    ana = await room.person()
    await room.off(ana)
    assert await room.receipts(ana) == []
    await room.allow(ana)
    await room.off(ana)
    await room.off(ana)
    assert len(await room.receipts(ana)) == 2


async def test_removing_the_way_in_ends_posting_there_for_good(room: Room) -> None:
    """Linking it again does not turn posting on again (catalogue 194)."""
    ana = await room.person()
    await room.allow(ana)
    waiting = await room.ask(ana)
    await room.accounts.unlink(room.fresh(ana), ana.links[MASTODON].id)
    assert await room.state(waiting) is PostState.CANCELLED
    assert room.revoked == [(MASTODON, "token-to-post")]
    unit = room.durable.unit()
    unit.add_link(make.link(ana.account, provider=MASTODON))
    await unit.commit()
    assert await room.gate.switches(ana.account.id) == ()
    with pytest.raises(PostingNotPermitted):
        await room.ask(ana)


async def test_a_way_in_that_must_stay_keeps_posting_as_it_is(room: Room) -> None:
    ana = await room.person(MASTODON)
    await room.allow(ana)
    with pytest.raises(LastLink):
        await room.accounts.unlink(room.fresh(ana), ana.links[MASTODON].id)
    assert len(await room.gate.switches(ana.account.id)) == 1
    assert room.revoked == []


async def connect(room: Room, person: Person, client: ClientId) -> None:
    unit = room.durable.unit()
    unit.append_receipt(make.receipt(person.account.id, counterparty=str(client), withdraws=None))
    await unit.commit()


async def test_disconnecting_a_site_ends_its_posting_alone(room: Room) -> None:
    """(catalogue 194)"""
    ana = await room.person()
    await connect(room, ana, FORUM)
    await room.allow(ana, MASTODON, FORUM)
    await room.allow(ana, MASTODON, WIKI)
    waiting = await room.ask(ana)
    await room.accounts.disconnect(ana.session, FORUM, locale="en")
    assert await room.state(waiting) is PostState.CANCELLED
    assert [one.client for one in await room.gate.switches(ana.account.id)] == [WIKI]
    assert room.revoked == []


async def test_closing_the_account_ends_everything_and_revokes_upstream(room: Room) -> None:
    """(catalogue 194)"""
    ana = await room.person()
    await room.allow(ana)
    subject, waiting = room.subject(ana), await room.ask(ana)
    await room.accounts.close(room.fresh(ana))
    assert room.revoked == [(MASTODON, "token-to-post")]
    assert await room.durable.postings.load(waiting.id) is None
    assert await room.durable.postings.account_of(FORUM, subject) is None
    assert await room.gate.switches(ana.account.id) == ()
    with pytest.raises(NotFound):
        await room.post(ana, waiting)
    with pytest.raises(PostingNotPermitted):
        await room.ask(ana)
    assert room.sent() == []


@pytest.mark.parametrize("change", [{"enabled": False}, {"may_post": False}])
async def test_a_site_that_may_not_post_any_more_has_nothing_waiting(room: Room, change: dict[str, Any]) -> None:
    """(catalogue 194)"""
    ana = await room.person()
    await room.allow(ana)
    waiting = await room.ask(ana)
    room.clients[FORUM] = replace(room.clients[FORUM], **change)
    assert (await room.gate.load(ana.account.id, waiting.id)).state is PostState.CANCELLED
    assert (await room.post(ana, waiting)).posting.state is PostState.CANCELLED
    with pytest.raises(PostingNotPermitted):
        await room.gate.ask(room.clients[FORUM], room.asked(ana))
    assert room.sent() == []


# --- at the same time ---------------------------------------------------------------------------------


class Mixed:
    """A store whose every call takes its turn: other work runs in between, in an order that a seed decides."""

    def __init__(self, inner: Any, dice: random.Random) -> None:
        self._inner, self._dice = inner, dice

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in {"accounts", "ledger", "postings", "vault", "grants"}:
            return Mixed(found, self._dice)
        if name == "unit":
            return lambda: Mixed(found(), self._dice)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def in_turn(*given: Any, **named: Any) -> Any:
            for _ in range(self._dice.randrange(3)):
                await asyncio.sleep(0)
            return await found(*given, **named)

        return in_turn


def mixed(seed: int) -> Room:
    clock = FixedClock()
    return Room(durable=Mixed(MemoryDurable(clock), random.Random(seed)), clock=clock)


@pytest.mark.parametrize(("provider", "others"), [(MASTODON, ()), (MASTODON, (WIKI,)), (FACEBOOK, ())])
async def test_after_an_opt_out_nothing_is_handed_over(provider: ProviderId, others: tuple[ClientId, ...]) -> None:
    """Posting and turning off at once, a thousand times in any order; also when the token stays for another site
    (catalogue 190).
    """
    outcomes = set()
    for seed in range(1000):
        room = mixed(seed)
        ana = await room.person()
        for client in (FORUM, *others):
            await room.allow(ana, provider, client)
        posting = await room.ask(ana, provider)
        is_off: list[bool] = []
        sent_after_off: list[bool] = []
        network = room.mastodon if provider == MASTODON else room.facebook

        async def note(sent: list[bool] = sent_after_off, off: list[bool] = is_off) -> None:
            sent.append(bool(off))

        network.before = note

        async def turn_off(room: Room = room, ana: Person = ana, is_off: list[bool] = is_off) -> None:
            await room.off(ana, provider)
            is_off.append(True)

        await asyncio.gather(turn_off(), room.post(ana, posting), return_exceptions=True)
        assert sent_after_off in ([], [False])
        state = await room.state(posting)
        assert bool(network.sent) is (state in {PostState.POSTED, PostState.NEEDS_PERSON})
        outcomes.add((len(network.sent), state))
        with pytest.raises(PostingNotPermitted):
            await room.ask(ana, provider)
    assert {sent for sent, _ in outcomes} == {0, 1}, "every seed took the same order: nothing was tried"


async def test_what_was_handed_over_before_the_opt_out_is_recorded_as_it_went(room: Room) -> None:
    """It cannot be called back, and it is not sent again (catalogue 190)."""
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)

    async def turn_off() -> None:
        await room.off(ana)

    room.mastodon.before = turn_off
    assert (await room.post(ana, posting)).posting.state is PostState.POSTED
    assert (await room.post(ana, posting)).posting.state is PostState.POSTED
    assert len(room.sent()) == 1


# --- random histories ---------------------------------------------------------------------------------

PEOPLE: Final = 2
STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "allow", "allow", "refuse", "off", "ask", "ask", "post", "post", "decline", "undo", "unlink", "link",
                "connect", "disconnect", "close", "disable", "enable", "wait", "broken", "well",
            ]
        ),
        st.integers(0, PEOPLE - 1),
        st.sampled_from([MASTODON, FACEBOOK]),
        st.sampled_from([FORUM, WIKI]),
    ),
    max_size=40,
)  # fmt: skip


class History:
    """What a person would say stands, kept beside the house without looking at it."""

    def __init__(self) -> None:
        self.room = Room()
        self.on: set[tuple[int, ProviderId, ClientId]] = set()
        self.linked: set[tuple[int, ProviderId]] = set()
        self.connected: set[tuple[int, ClientId]] = set()
        self.closed: set[int] = set()
        self.disabled: set[ClientId] = set()
        self.asked: list[tuple[int, ProviderId, ClientId, Posting]] = []
        self.said_yes: set[str] = set()
        self.people: list[Person] = []

    async def begin(self) -> None:
        for who in range(PEOPLE):
            self.people.append(await self.room.person(MASTODON, FACEBOOK, OTHER))
            self.linked |= {(who, MASTODON), (who, FACEBOOK)}

    def may_post(self, who: int, provider: ProviderId, client: ClientId) -> bool:
        return (who, provider, client) in self.on and who not in self.closed and client not in self.disabled

    async def step(self, what: str, who: int, provider: ProviderId, client: ClientId) -> None:
        before = len(self.room.sent())
        with suppress(PostingNotPermitted, NotFound, SignInRequired, TooManyAttempts, LastLink):
            await getattr(self, f"do_{what}")(who, provider, client)
        if what != "post":
            assert len(self.room.sent()) == before, f"{what} posted something"
        await self.check(who)

    async def check(self, who: int) -> None:
        """What My Account shows is what the person would say."""
        shown = {(one.provider, one.client) for one in await self.room.gate.switches(self.people[who].account.id)}
        expected = {(p, c) for w, p, c in self.on if w == who} if who not in self.closed else set()
        assert shown == expected
        held = await self.room.durable.vault.holds(self.people[who].account.id, MASTODON)
        assert held is any(provider == MASTODON for provider, _ in expected)

    async def do_allow(self, who: int, provider: ProviderId, client: ClientId) -> None:
        await self.room.allow(self.people[who], provider, client)
        assert (who, provider) in self.linked
        assert client not in self.disabled
        self.on.add((who, provider, client))

    async def do_refuse(self, who: int, provider: ProviderId, client: ClientId) -> None:
        await self.room.gate.refuse(self.people[who].session, provider, client, transaction="t", locale="en")

    async def do_off(self, who: int, provider: ProviderId, client: ClientId) -> None:
        await self.room.off(self.people[who], provider, client)
        self.on.discard((who, provider, client))

    async def do_ask(self, who: int, provider: ProviderId, client: ClientId) -> None:
        posting = await self.room.ask(self.people[who], provider, client, text=f"post {len(self.asked)}")
        assert self.may_post(who, provider, client)
        self.asked.append((who, provider, client, posting))

    async def do_post(self, who: int, provider: ProviderId, client: ClientId) -> None:
        for index, (asker, network, site, posting) in reversed(list(enumerate(self.asked))):
            if asker != who:
                continue
            before = self.room.sent()
            may = self.may_post(asker, network, site)
            try:
                await self.room.post(self.people[who], posting)
            finally:
                after = self.room.sent()
                new = [one for one in after if one not in before]
                assert len(after) - len(before) == len(new) <= 1
                if new:
                    assert may
                    assert posting.id not in self.said_yes
                    assert new == [(network, self.people[who].account.id, site, f"post {index}")]
                    self.said_yes.add(posting.id)
                await self.forget_what_failed(who)
            break

    async def forget_what_failed(self, who: int) -> None:
        """A network that refuses the token turns posting there off."""
        if isinstance(self.room.mastodon.outcome, PostingNotPermitted) and who not in self.closed:
            shown = {(one.provider, one.client) for one in await self.room.gate.switches(self.people[who].account.id)}
            if not any(provider == MASTODON for provider, _ in shown):
                self.on = {one for one in self.on if one[0] != who or one[1] != MASTODON}

    async def do_decline(self, who: int, provider: ProviderId, client: ClientId) -> None:
        for asker, _, _, posting in reversed(self.asked):
            if asker == who:
                await self.room.gate.decline(self.people[who].session, posting.id, locale="en")
                break

    async def do_undo(self, who: int, provider: ProviderId, client: ClientId) -> None:
        for asker, _, _, posting in reversed(self.asked):
            if asker == who:
                await self.room.gate.undo(self.people[who].session, posting.id)
                break

    async def do_unlink(self, who: int, provider: ProviderId, client: ClientId) -> None:
        person = self.people[who]
        await self.room.accounts.unlink(self.room.fresh(person), person.links[provider].id)
        self.linked.discard((who, provider))
        self.on = {one for one in self.on if one[:2] != (who, provider)}

    async def do_link(self, who: int, provider: ProviderId, client: ClientId) -> None:
        if (who, provider) not in self.linked and who not in self.closed:
            link = make.link(self.people[who].account, provider=provider)
            unit = self.room.durable.unit()
            unit.add_link(link)
            await unit.commit()
            self.people[who].links[provider] = link
            self.linked.add((who, provider))

    async def do_connect(self, who: int, provider: ProviderId, client: ClientId) -> None:
        if who not in self.closed:
            await connect(self.room, self.people[who], client)
            self.connected.add((who, client))

    async def do_disconnect(self, who: int, provider: ProviderId, client: ClientId) -> None:
        await self.room.accounts.disconnect(self.people[who].session, client, locale="en")
        self.connected.discard((who, client))
        self.on = {one for one in self.on if (one[0], one[2]) != (who, client)}

    async def do_close(self, who: int, provider: ProviderId, client: ClientId) -> None:
        if who not in self.closed:
            await self.room.accounts.close(self.room.fresh(self.people[who]))
            self.closed.add(who)
            self.on = {one for one in self.on if one[0] != who}
            self.linked = {one for one in self.linked if one[0] != who}

    async def do_disable(self, who: int, provider: ProviderId, client: ClientId) -> None:
        self.disabled.add(client)
        self.room.clients[client] = replace(self.room.clients[client], enabled=False)

    async def do_enable(self, who: int, provider: ProviderId, client: ClientId) -> None:
        self.disabled.discard(client)
        self.room.clients[client] = replace(self.room.clients[client], enabled=True)

    async def do_wait(self, who: int, provider: ProviderId, client: ClientId) -> None:
        self.room.clock.move(timedelta(minutes=11))

    async def do_broken(self, who: int, provider: ProviderId, client: ClientId) -> None:
        self.room.mastodon.outcome = PostingNotPermitted("status 401")

    async def do_well(self, who: int, provider: ProviderId, client: ClientId) -> None:
        self.room.mastodon.outcome = None


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_whatever_happens_only_what_was_agreed_to_goes_out(steps: list[tuple[str, int, ProviderId, ClientId]]) -> None:
    """Over random histories of opting in and out, asking, posting, unlinking, disconnecting and closing: a message goes
    out only while an opt-in of that person for that network and site stands, exactly as asked, and once (catalogue 189).
    """

    async def live() -> None:
        history = History()
        await history.begin()
        for what, who, provider, client in steps:
            await history.step(what, who, provider, client)

    asyncio.run(live())
