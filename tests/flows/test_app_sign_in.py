"""What an app of a site brings: a provider's word of who somebody is, kept for one browser, and counted when they say so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.front import AGENT, FACEBOOK, OPENID, Front, ScriptedProvider, identity, request
from tests.flows.op import APP, FORUM, site
from tests.support.builders import FixedClock

from broker.client_tokens import SiteTokens
from broker.domain.account import AccountStatus
from broker.domain.age import AgeAnswer, AgeRule
from broker.domain.checks.token import challenge_of
from broker.domain.client import AuthMethod
from broker.domain.provider import Brought, Once
from broker.domain.session import needs_fresh_sign_in
from broker.domain.transaction import SignInTransaction
from broker.domain.values import ClientId, ProviderId
from broker.egress import Egress
from broker.errors import (
    AccountHeld,
    InvalidAppToken,
    InvalidRequest,
    NotFound,
    ProviderOff,
    SignInElsewhere,
    SignInFinished,
    TooManyAttempts,
    UpstreamInvalid,
    UpstreamUnavailable,
)
from broker.flows.app_sign_in import AppSignIns
from broker.flows.pushed import LIFETIME, PREFIX, STRANGERS_PER_MINUTE, PushedRequests
from broker.flows.request_objects import RequestObjects
from broker.flows.sign_in import NEVER_FRESH, AgeUnknown, NewPerson, SignedIn

GOOD = {
    "redirect_uri": "https://forum.test/cb",
    "response_type": "code",
    "scope": "openid profile",
    "state": "state-1",
    "code_challenge": challenge_of("v" * 43),
    "code_challenge_method": "S256",
}


@dataclass
class AppProvider(ScriptedProvider):
    """Reads as a token whatever name somebody has; one called `bad` fails the check that the verifier names."""

    clock: FixedClock = field(default_factory=FixedClock)
    takes_app_tokens: bool = True
    read: list[tuple[str, str]] = field(default_factory=list)
    made: timedelta = timedelta()
    """How long before now the provider made the token."""

    async def read_app_token(self, token: str, verifier: str) -> Brought:
        if self.is_down:
            raise UpstreamUnavailable(detail="script")
        self.read.append((token, verifier))
        if token == "bad":
            raise UpstreamInvalid(verifier)
        now = self.clock.now()
        once = Once(key=f"app:{token}", until=now + timedelta(minutes=12))
        return Brought(identity=self.people.get(token) or identity(token), at=now - self.made, once=once)

    async def check_app_tokens(self) -> None:
        """Always usable."""


@dataclass
class Desk:
    """The front, and an app of the forum."""

    front: Front = field(default_factory=Front)

    def __post_init__(self) -> None:
        front = self.front
        self.facebook = AppProvider(FACEBOOK, clock=front.clock)
        front.facebook = self.facebook
        front.clients[APP] = site(APP, auth_method=AuthMethod.NONE)
        self.use(front.sign_in.age)
        self.pushed = PushedRequests(
            objects=RequestObjects(
                tokens=SiteTokens(Egress(), front.clock),
                limits=front.memory.limits,
                clock=front.clock,
                issuer="https://login.test",
            ),
            store=front.memory.transactions,
            seal=front.seal,
            replay=front.memory.replay,
            limits=front.memory.limits,
            clock=front.clock,
            entropy=front.entropy,
        )
        self.apps = AppSignIns(
            pushed=self.pushed,
            durable=front.durable,
            store=front.memory.transactions,
            seal=front.seal,
            replay=front.memory.replay,
            providers={FACEBOOK: self.facebook, OPENID: front.openid},
            clock=front.clock,
            entropy=front.entropy,
        )

    def use(self, age: AgeRule | None) -> None:
        providers = {FACEBOOK: self.facebook, OPENID: self.front.openid}
        self.front.sign_in = replace(self.front.sign_in, providers=providers, age=age)
        self.front.sign_up = replace(self.front.sign_up, sign_in=self.front.sign_in)

    async def push(
        self,
        token: str = "ana",
        *,
        verifier: str = "raw",
        client: ClientId = FORUM,
        provider: ProviderId = FACEBOOK,
        **changes: Any,
    ) -> str:
        one = self.front.clients[client]
        params = {
            name: value for name, value in (GOOD | {"redirect_uri": one.redirect_uris[0]} | changes).items() if value
        }
        form = {"id_token": token, "nonce_verifier": verifier}
        return await self.apps.push(one, provider, params, form, address="192.0.2.1")

    async def taken(self, request_uri: str, **more: Any) -> SignInTransaction:
        return await self.apps.take(request_uri, self.front.transaction(request=request(), **more))

    async def confirmed(self, taken: SignInTransaction, session: Any = None) -> SignedIn | NewPerson | AgeUnknown:
        carried = await self.front.box.keep(taken)
        return await self.front.sign_in.confirmed(carried, session=session, user_agent=AGENT)

    async def sessions_of(self, name: str) -> int:
        known = await self.front.durable.accounts.by_identity(identity(name).key)
        assert known is not None
        return len(await self.front.memory.sessions.of_account(known[0].id, self.front.clock.now()))

    @property
    def rows(self) -> dict[str, Any]:
        return self.front.memory.transactions.rows


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- what the app pushes ------------------------------------------------------------------------------


async def test_the_request_and_who_it_is_are_kept_for_a_minute(desk: Desk) -> None:
    request_uri = await desk.push()
    assert request_uri.startswith(PREFIX)
    opened = await desk.pushed.open(request_uri, desk.front.clients[FORUM])
    assert opened.brings
    assert opened.params["state"] == "state-1"
    assert not {"id_token", "nonce_verifier"} & set(opened.params)
    desk.front.clock.move(timedelta(seconds=59))
    taken = await desk.taken(request_uri)
    assert taken.brought is not None
    assert taken.brought.identity == identity("ana")
    assert taken.provider == FACEBOOK


async def test_after_a_minute_it_is_gone(desk: Desk) -> None:
    request_uri = await desk.push()
    desk.front.clock.move(LIFETIME)
    with pytest.raises(SignInElsewhere):
        await desk.taken(request_uri)


async def test_a_request_pushed_without_a_token_brings_nobody(desk: Desk) -> None:
    params = GOOD | {"redirect_uri": "https://forum.test/cb"}
    request_uri = await desk.pushed.push(desk.front.clients[FORUM], params, address="192.0.2.1")
    assert not (await desk.pushed.open(request_uri, desk.front.clients[FORUM])).brings
    with pytest.raises(SignInElsewhere):
        await desk.taken(request_uri)


async def test_who_reads_the_store_reads_nobody(desk: Desk) -> None:
    """It opens by the reference alone, which no store has, and not by our own key."""
    request_uri = await desk.push("ana")
    stored = b"".join(sealed for _, sealed in desk.rows.values())
    assert len(desk.rows) == 2
    assert b"ana" not in stored and b"Markovi" not in stored
    assert request_uri.removeprefix(PREFIX) not in "".join(desk.rows)
    (name,) = [name for name in desk.rows if name.startswith("brought:")]
    with pytest.raises(SignInElsewhere):
        await desk.taken(f"{PREFIX}{name}")
    end, sealed = desk.rows[name]
    desk.rows[name] = (end, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(SignInElsewhere):
        await desk.taken(request_uri)


@pytest.mark.parametrize("request_uri", [PREFIX, f"{PREFIX}x", "", f"{PREFIX}\ud800"])
async def test_a_made_up_reference_brings_nobody(desk: Desk, request_uri: str) -> None:
    await desk.push()
    with pytest.raises(SignInElsewhere):
        await desk.taken(request_uri)


@pytest.mark.parametrize("provider", [OPENID, ProviderId("gone")])
async def test_only_a_provider_that_was_switched_on_for_it_is_believed(desk: Desk, provider: ProviderId) -> None:
    """Any other is as if it were not there, and its token is not looked at (catalogue 52)."""
    with pytest.raises(NotFound):
        await desk.push(provider=provider)
    desk.facebook.takes_app_tokens = False
    with pytest.raises(NotFound):
        await desk.push()
    assert not desk.facebook.read and not desk.rows


@pytest.mark.parametrize("missing", ["id_token", "nonce_verifier"])
async def test_what_is_missing_is_named(desk: Desk, missing: str) -> None:
    given: dict[str, Any] = {"token": "ana", "verifier": "raw"} | {
        {"id_token": "token", "nonce_verifier": "verifier"}[missing]: ""
    }
    with pytest.raises(InvalidRequest) as refused:
        await desk.push(**given)
    assert missing in refused.value.public


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"prompt": "none"}, "prompt=none"),
        ({"prompt": "login"}, "prompt=login"),
        ({"prompt": "consent login"}, "prompt=login"),
        ({"max_age": "0"}, "max_age"),
        ({"max_age": "3600"}, "max_age"),
    ],
)
async def test_what_no_token_can_show_is_refused(desk: Desk, changes: dict[str, Any], word: str) -> None:
    """It was made before the site asked, and the person is asked by a page (OpenID Connect Core §3.1.2.1; decision 26)."""
    with pytest.raises(InvalidRequest) as refused:
        await desk.push(**changes)
    assert word in refused.value.public
    assert not desk.facebook.read


async def test_pkce_is_needed_of_old_software_too(desk: Desk) -> None:
    desk.front.clients[FORUM] = replace(desk.front.clients[FORUM], pkce_required=False)
    with pytest.raises(InvalidRequest) as refused:
        await desk.push(code_challenge="", code_challenge_method="")
    assert "code_challenge" in refused.value.public


async def test_a_mistake_in_the_request_spends_no_token(desk: Desk) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"redirect_uri": "https://evil.test/cb"},
        {"response_type": "token"},
        {"prompt": "none"},
    )
    for changes in wrong:
        with pytest.raises(Exception, match="invalid|unsupported"):
            await desk.push(**changes)
    assert not desk.facebook.read and not desk.rows
    await desk.push()


@pytest.mark.parametrize(
    ("check", "word"),
    [
        ("iss", "issuer"),
        ("aud", "another app"),
        ("exp", "expired"),
        ("nonce", "S256"),
        ("alg", "RS256"),
        ("sub", "our checks"),
    ],
)
async def test_the_app_hears_which_check_failed(desk: Desk, check: str, word: str) -> None:
    with pytest.raises(InvalidAppToken) as refused:
        await desk.push("bad", verifier=check)
    assert word in refused.value.public
    assert refused.value.code == "invalid_grant"
    assert not desk.rows


async def test_what_is_wrong_with_the_provider_is_not_the_apps_fault(desk: Desk) -> None:
    """Then the token is not spent: it may be brought again."""
    with pytest.raises(UpstreamInvalid):
        await desk.push("bad", verifier="jwks")
    desk.facebook.is_down = True
    with pytest.raises(UpstreamUnavailable):
        await desk.push()
    desk.facebook.is_down = False
    await desk.push()


async def test_a_token_counts_once_also_for_two_at_the_same_moment(desk: Desk) -> None:
    """catalogue 34, 53: whoever has seen one cannot use it again, at this site or at another."""
    outcomes = await asyncio.gather(desk.push(), desk.push(client=APP), desk.push(), return_exceptions=True)
    assert sum(isinstance(one, str) for one in outcomes) == 1
    (words,) = {one.public for one in outcomes if isinstance(one, InvalidAppToken)}
    assert "used before" in words
    assert len(desk.rows) == 2


async def test_apps_that_prove_nothing_push_so_many_a_minute(desk: Desk) -> None:
    for number in range(STRANGERS_PER_MINUTE):
        await desk.push(f"person-{number}", client=APP)
    with pytest.raises(TooManyAttempts):
        await desk.push(client=APP)
    assert len(desk.facebook.read) == STRANGERS_PER_MINUTE


# --- who opens it -------------------------------------------------------------------------------------


async def test_the_first_browser_takes_it_out_and_no_other_ever(desk: Desk) -> None:
    """catalogue 33: bound to one browser; two at the same moment are not two."""
    request_uri = await desk.push()
    outcomes = await asyncio.gather(*(desk.taken(request_uri) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(one, SignInTransaction) for one in outcomes) == 1
    assert sum(isinstance(one, SignInElsewhere) for one in outcomes) == 4


async def test_taking_it_out_signs_nobody_in(desk: Desk) -> None:
    """catalogue 51: it is the person's word that counts."""
    await desk.front.person("ana")
    before = await desk.sessions_of("ana")
    taken = await desk.taken(await desk.push("ana"))
    assert taken.brought_known
    assert (taken.account, taken.sid, taken.identity) == (None, None, None)
    assert await desk.sessions_of("ana") == before == 1


async def test_somebody_unknown_is_said_to_be(desk: Desk) -> None:
    assert not (await desk.taken(await desk.push("mia"))).brought_known


# --- who says yes -------------------------------------------------------------------------------------


async def test_whoever_is_known_is_signed_in_by_their_word(desk: Desk) -> None:
    ana = await desk.front.person("ana")
    outcome = await desk.confirmed(await desk.taken(await desk.push("ana")))
    assert isinstance(outcome, SignedIn)
    assert outcome.started.session.account == ana.started.session.account
    assert outcome.transaction.brought is None
    assert outcome.transaction.sid == outcome.started.session.sid


async def test_the_moment_that_counts_is_when_the_provider_said_so(desk: Desk) -> None:
    """And not when somebody was done reading our page (decision 26)."""
    await desk.front.person("ana")
    desk.facebook.made = timedelta(minutes=4)
    taken = await desk.taken(await desk.push("ana"))
    desk.front.clock.move(timedelta(minutes=20))
    outcome = await desk.confirmed(taken)
    assert isinstance(outcome, SignedIn)
    assert outcome.started.session.auth_time == desk.front.clock.now() - timedelta(minutes=24)


async def test_an_app_that_holds_the_token_opens_nothing_sensitive_with_it(desk: Desk) -> None:
    """It could open the reference and press for the person: no such session is a fresh one (catalogue 117)."""
    await desk.front.person("ana")
    outcome = await desk.confirmed(await desk.taken(await desk.push("ana")))
    assert isinstance(outcome, SignedIn)
    assert needs_fresh_sign_in(outcome.started.session, desk.front.clock.now())


async def test_whoever_is_signed_in_already_is_not_made_fresh_by_it(desk: Desk) -> None:
    """catalogue 117: nobody proved anything at this browser just now."""
    before = (await desk.front.person("ana")).started.session
    desk.front.clock.move(timedelta(minutes=30))
    outcome = await desk.confirmed(await desk.taken(await desk.push("ana")), before)
    assert isinstance(outcome, SignedIn)
    assert outcome.started.session.auth_time == before.auth_time


async def test_a_new_person_goes_on_to_the_preview(desk: Desk) -> None:
    desk.facebook.made = timedelta(minutes=2)
    outcome = await desk.confirmed(await desk.taken(await desk.push("mia")))
    assert isinstance(outcome, NewPerson)
    after = outcome.carried.transaction
    assert after.brought is None
    assert after.identity is not None and after.identity.key == identity("mia").key
    assert after.answered_at == desk.front.clock.now() - NEVER_FRESH
    decided = await desk.front.sign_up.decide(outcome.carried, ticked=frozenset(), edits={})
    made = await desk.front.sign_up.create(decided, desk.front.form("mia"), session=None, user_agent=AGENT)
    assert isinstance(made, SignedIn)
    assert made.started.session.auth_time == desk.front.clock.now() - NEVER_FRESH
    assert not desk.front.facebook.revoked


async def test_a_second_click_signs_in_nobody_twice(desk: Desk) -> None:
    await desk.front.person("ana")
    taken = await desk.taken(await desk.push("ana"))
    await desk.confirmed(taken)
    with pytest.raises(SignInFinished):
        await desk.confirmed(taken)
    with pytest.raises(SignInFinished):
        await desk.confirmed(replace(taken, brought=None))


async def test_a_provider_that_was_switched_off_meanwhile_lets_nobody_in(desk: Desk) -> None:
    """catalogue 52"""
    await desk.front.person("ana")
    taken = await desk.taken(await desk.push("ana"))
    desk.front.sign_in = replace(desk.front.sign_in, providers={OPENID: desk.front.openid})
    with pytest.raises(ProviderOff):
        await desk.confirmed(taken)


async def test_an_account_that_is_held_is_held_here_too(desk: Desk) -> None:
    ana = await desk.front.person("ana")
    held = replace(desk.front.accounts[ana.started.session.account], status=AccountStatus.HELD)
    await desk.front.save(held)
    with pytest.raises(AccountHeld):
        await desk.confirmed(await desk.taken(await desk.push("ana")))


async def test_an_account_that_is_gone_meanwhile_is_asked_for_the_age(desk: Desk) -> None:
    """And what was brought is dropped: it would have to be asked before (decision 24)."""
    desk.use(AgeRule(minimum=13))
    taken = replace(await desk.taken(await desk.push("mia")), brought_known=True)
    outcome = await desk.confirmed(taken)
    assert isinstance(outcome, AgeUnknown)
    after = outcome.carried.transaction
    assert (after.brought, after.identity) == (None, None)
    assert after.age is AgeAnswer.UNKNOWN_PERSON


async def test_whoever_chooses_another_way_drops_what_was_brought(desk: Desk) -> None:
    taken = await desk.taken(await desk.push("ana"))
    left = await desk.front.sign_in.begin(await desk.front.box.keep(taken), OPENID)
    assert left.carried.transaction.brought is None
