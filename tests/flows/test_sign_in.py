"""Sending people upstream, and taking back who they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from tests.flows.front import (
    ACT,
    AGENT,
    CALLBACKS,
    FACEBOOK,
    OPENID,
    Front,
    ScriptedPictures,
    ScriptedProvider,
    identity,
    request,
    state_of,
)
from tests.support import builders
from tests.support.builders import NOW

from broker.domain.account import AccountStatus
from broker.domain.claims import EMAIL, NAME, PICTURE
from broker.domain.provider import Attempt, Found, Identified, Once, UpstreamTokens, Us
from broker.domain.session import Session
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import IdentityKey, ProviderId
from broker.errors import (
    AccountHeld,
    FormInvalid,
    GrantOver,
    IdentityTaken,
    ProviderOff,
    SignInCancelled,
    SignInFinished,
    SignInExpired,
    SignInRequired,
    StoreUnavailable,
    UpstreamInvalid,
    UpstreamUnavailable,
    WayEnded,
    WrongBrowser,
)
from broker.flows.sign_in import LINK_TOUCH_EVERY, Linked, NewPerson, PostingAllowed, SignedIn, SignInFlow
from broker.flows.support import AccountSupport


@pytest.fixture
def front() -> Front:
    return Front()


def signed_in(outcome: object) -> SignedIn:
    assert isinstance(outcome, SignedIn), outcome
    return outcome


# --- leaving ------------------------------------------------------------------------------------------


async def test_every_attempt_has_secrets_of_its_own(front: Front) -> None:
    """State, nonce and verifier are never used for two attempts (catalogue 35, 38)."""
    carried = await front.box.hold(front.transaction())
    for _ in range(3):
        await front.sign_in.begin(carried, FACEBOOK)
    attempts = front.facebook.attempts
    for name in ("state", "nonce", "code_verifier"):
        assert len({getattr(attempt, name) for attempt in attempts}) == 3
    assert all(len(attempt.code_verifier) >= 43 for attempt in attempts)


async def test_each_provider_has_an_address_of_its_own_to_come_back_to(front: Front) -> None:
    """(catalogue 39)"""
    await front.leave(FACEBOOK)
    await front.leave(OPENID)
    addresses = [front.facebook.attempts[0].redirect_uri, front.openid.attempts[0].redirect_uri]
    assert addresses == [f"{CALLBACKS}facebook", f"{CALLBACKS}openid"]


async def test_a_provider_hears_how_well_the_site_wants_somebody_checked(front: Front) -> None:
    """OpenID Connect Core §3.1.2.1, `acr_values`."""
    await front.leave(FACEBOOK, request=request(acr_values=("strong", "basic")))
    await front.leave(FACEBOOK)
    assert [attempt.acr_values for attempt in front.facebook.attempts] == [("strong", "basic"), ()]


async def test_the_state_is_kept_as_a_digest_only(front: Front) -> None:
    left = await front.leave()
    kept = repr(left.carried.transaction)
    assert state_of(left) not in kept
    assert state_of(left).startswith(f"{left.carried.transaction.id}.")
    assert left.carried.transaction.state_digest not in {None, b""}


@pytest.mark.parametrize(
    ("purpose", "asks", "is_forced"),
    [
        (TransactionPurpose.SIGN_IN, {}, False),
        (TransactionPurpose.SIGN_IN, {"prompt": frozenset({"login"})}, True),
        (TransactionPurpose.SIGN_IN, {"prompt": frozenset({"consent"})}, False),
        (TransactionPurpose.SIGN_IN, {"max_age": 0}, True),
        (TransactionPurpose.SIGN_IN, {"max_age": 3600}, True),
        (TransactionPurpose.FRESHEN, {}, True),
        (TransactionPurpose.LINK, {}, False),
    ],
)
async def test_a_fresh_sign_in_is_asked_for_where_it_is_needed(
    front: Front, purpose: TransactionPurpose, asks: dict[str, Any], is_forced: bool
) -> None:
    left = await front.leave(purpose=purpose, request=request(**asks))
    assert front.facebook.attempts[0].fresh is is_forced
    assert left.carried.transaction.forced_fresh is is_forced


async def test_the_site_is_never_named_upstream(front: Front) -> None:
    """The provider learns that somebody signs in here, and not where they are going."""
    left = await front.leave(request=request())
    attempt = front.facebook.attempts[0]
    told = " ".join([left.url, attempt.state, attempt.nonce, attempt.redirect_uri, *attempt.scopes])
    assert "forum" not in told


async def test_scopes_are_the_providers_unless_others_are_given(front: Front) -> None:
    carried = await front.box.hold(front.transaction())
    await front.sign_in.begin(carried, FACEBOOK)
    await front.sign_in.begin(carried, FACEBOOK, scopes=("publish",), ask_again=True, login_hint="ana@mail.test")
    first, second = front.facebook.attempts
    assert first.scopes == front.facebook.sign_in_scopes
    assert (second.scopes, second.ask_again, second.login_hint) == (("publish",), True, "ana@mail.test")
    assert not first.ask_again


class TypedProvider(ScriptedProvider):
    """Finds a place for every address but an empty one."""

    asks = "openid"

    async def find(self, typed: str) -> Found:
        if not typed:
            raise FormInvalid({"identifier": "identifier_missing"})
        return Found(endpoint=f"https://{typed}/openid", claimed_id=f"https://{typed}/")


async def test_what_a_typed_address_led_to_is_bound_to_the_attempt(front: Front) -> None:
    """Found before leaving and the same at the callback; asked once more, a person is sent to the same place (catalogue 59)."""
    typed = TypedProvider(OPENID)
    front.sign_in = replace(front.sign_in, providers={OPENID: typed, FACEBOOK: front.facebook})
    carried = await front.box.hold(replace(front.transaction(), typed="waiting.test"))
    left = await front.sign_in.begin(carried, OPENID, typed="ana.test")
    assert left.carried.transaction.typed is None
    again = await front.sign_in.begin(left.carried, OPENID, ask_again=True, typed="evil.test")
    waited = await front.sign_in.begin(carried, OPENID)
    places = [attempt.found.endpoint for attempt in typed.attempts if attempt.found is not None]
    assert places == ["https://ana.test/openid", "https://ana.test/openid", "https://waiting.test/openid"]
    await front.back(again, "ana")
    assert typed.identified[0][0].found == typed.attempts[0].found
    elsewhere = await front.sign_in.begin(waited.carried, FACEBOOK)
    assert elsewhere.carried.transaction.found is None
    for bare in (front.transaction(), replace(front.transaction(), provider=OPENID, typed="")):
        with pytest.raises(FormInvalid):
            await front.sign_in.begin(await front.box.hold(bare), OPENID, ask_again=True)


class ServersProvider(ScriptedProvider):
    """Each server has an address of its own to come back to."""

    asks = "server"

    async def find(self, typed: str) -> Found:
        return Found(endpoint=f"https://{typed}/", server=f"https://{typed}", place=f"at-{typed}")


async def test_one_server_cannot_have_the_answer_of_another_redeemed(front: Front) -> None:
    """RFC 9700 §4.4.2: the address that the person comes back to says whose answer it is, before it is told to anybody (catalogue 39)."""
    servers = ServersProvider(OPENID)
    front.sign_in = replace(front.sign_in, providers={OPENID: servers, FACEBOOK: front.facebook})
    left = await front.sign_in.begin(await front.box.hold(front.transaction()), OPENID, typed="evil.test")
    state = servers.attempts[0].state
    us = Us(name="Club", issuer=front.sign_in.callback_base.removesuffix("/callback/"), kept=cast("Any", None))
    assert (
        servers.attempts[0].redirect_uri == us.callback(OPENID, "at-evil.test") == f"{us.callback(OPENID)}/at-evil.test"
    )
    assert us.client_id(OPENID) == f"{us.issuer}/client-metadata/{OPENID}"
    for place in ("", "at-good.test"):
        with pytest.raises(WrongBrowser, match="another server"):
            await front.sign_in.identified(left.carried, OPENID, {"state": state, "code": "ana"}, place=place)
    assert servers.identified == []
    await front.sign_in.identified(left.carried, OPENID, {"state": state, "code": "ana"}, place="at-evil.test")
    plain = await front.leave()
    state = front.facebook.attempts[-1].state
    with pytest.raises(WrongBrowser, match="another server"):
        await front.sign_in.identified(plain.carried, FACEBOOK, {"state": state}, place="at-evil.test")


class LeadsElsewhere(TypedProvider):
    """Every address leads to a provider that stands in the configuration."""

    asks = "address"

    async def find(self, typed: str) -> Found:
        return Found(endpoint="", instead=ProviderId(typed))


async def test_an_address_that_leads_to_a_provider_of_the_configuration_is_its_own_way_in(front: Front) -> None:
    """As if its button had been pressed; who may not press that one gets no way around it (catalogue 39, 59)."""
    typed = LeadsElsewhere(OPENID)
    front.sign_in = replace(front.sign_in, providers={OPENID: typed, FACEBOOK: front.facebook})
    carried = await front.box.hold(front.transaction())
    left = await front.sign_in.begin(carried, OPENID, typed=FACEBOOK)
    assert (left.provider, left.carried.transaction.provider) == (front.facebook, FACEBOOK)
    assert left.carried.transaction.found is None
    assert front.facebook.attempts[-1].redirect_uri == f"{front.sign_in.callback_base}{FACEBOOK}"
    assert typed.attempts == []
    for other in ("off", OPENID):
        with pytest.raises(FormInvalid) as refused:
            await front.sign_in.begin(carried, OPENID, typed=other)
        assert refused.value.fields == {"identifier": "address_host"}
    state = front.facebook.attempts[-1].state
    with pytest.raises(WrongBrowser):
        await front.sign_in.identified(left.carried, OPENID, {"state": state, "code": "ana"})
    assert (
        await front.sign_in.identified(left.carried, FACEBOOK, {"state": state, "code": "ana"})
    ).identity.provider == FACEBOOK


async def test_a_picture_that_people_of_a_typed_server_name_is_fetched_by_a_client_of_its_own(front: Front) -> None:
    """It is let in nowhere where that provider's own is not (catalogue 139); where no picture is kept none is fetched."""
    of_strangers = ScriptedPictures()
    front.sign_in = replace(front.sign_in, pictures_of={OPENID: of_strangers})
    await front.back(await front.leave(OPENID), "ana")
    assert (of_strangers.asked, front.pictures.asked) == (["https://pictures.test/ana"], [])
    await front.back(await front.leave(FACEBOOK), "ana")
    assert (len(of_strangers.asked), front.pictures.asked) == (1, ["https://pictures.test/ana"])
    front.sign_in = replace(front.sign_in, pictures=None)
    await front.back(await front.leave(OPENID), "ana")
    assert len(of_strangers.asked) == 1


class MovedProvider(ScriptedProvider):
    """Knew people by another name; `agrees` is what that name says."""

    former: IdentityKey | None = None
    agrees: bool = True
    asked: int = 0

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        return replace(await super().identify(attempt, callback), former=self.former)

    async def succeeds(self, former: IdentityKey, key: IdentityKey) -> bool:
        self.asked += 1
        return self.agrees


@pytest.fixture
async def moved(front: Front) -> MovedProvider:
    """Ana has an account by her old name, and comes by her new one."""
    await front.person("ana", FACEBOOK)
    provider = MovedProvider(OPENID)
    provider.former = identity("ana", provider=FACEBOOK).key
    front.sign_in = replace(front.sign_in, providers={OPENID: provider, FACEBOOK: front.facebook})
    return provider


async def test_a_proved_older_name_leads_to_its_account_and_is_replaced(front: Front, moved: MovedProvider) -> None:
    """Once: from then on the new name is known by itself and the old one opens nothing."""
    (before,) = await front.durable.accounts.links(next(iter(front.accounts)))
    for _ in range(2):
        signed_in(await front.back(await front.leave(OPENID), "ana"))
    assert moved.asked == 1
    (link,) = await front.durable.accounts.links(next(iter(front.accounts)))
    assert (link.provider, link.key) == (OPENID, identity("ana", provider=OPENID).key)
    assert (link.id, link.receipt, link.linked_at) == (before.id, before.receipt, before.linked_at)
    assert isinstance(await front.back(await front.leave(FACEBOOK), "ana"), NewPerson)


async def test_an_older_name_that_does_not_agree_opens_nothing(front: Front, moved: MovedProvider) -> None:
    """(catalogue 59)"""
    moved.agrees = False
    assert isinstance(await front.back(await front.leave(OPENID), "ana"), NewPerson)
    moved.former = identity("nobody", provider=FACEBOOK).key
    assert isinstance(await front.back(await front.leave(OPENID), "ana"), NewPerson)
    assert moved.asked == 1, "nobody here has that name"
    moved.former = None
    assert isinstance(await front.back(await front.leave(OPENID), "ana"), NewPerson)
    signed_in(await front.back(await front.leave(FACEBOOK), "ana"))


async def test_an_older_name_opens_no_account_that_is_held(front: Front, moved: MovedProvider) -> None:
    (account,) = front.accounts.values()
    await AccountSupport(durable=front.durable, sessions=front.sessions, trail=front.trail).hold(account, ACT)
    with pytest.raises(AccountHeld):
        await front.back(await front.leave(OPENID), "ana")
    assert moved.asked == 0


async def test_two_tabs_rename_a_way_in_once(front: Front, moved: MovedProvider) -> None:
    """Also where nobody is written to."""
    front.sign_in = replace(front.sign_in, letters=None)
    lefts = [await front.leave(OPENID) for _ in range(2)]
    real, waiting = moved.succeeds, asyncio.Barrier(2)

    async def together(former: IdentityKey, key: IdentityKey) -> bool:
        await waiting.wait()
        return await real(former, key)

    moved.succeeds = together  # type: ignore[method-assign]
    outcomes = await asyncio.gather(*(front.back(left, "ana") for left in lefts))
    assert {signed_in(outcome).started.session.account for outcome in outcomes} == set(front.accounts)
    (link,) = await front.durable.accounts.links(next(iter(front.accounts)))
    assert link.provider == OPENID


async def test_a_way_that_is_taken_away_meanwhile_is_not_brought_back_under_a_new_name(
    front: Front, moved: MovedProvider
) -> None:
    """(catalogue 110)"""
    (account,) = front.accounts

    async def taken_away(former: IdentityKey, key: IdentityKey) -> bool:
        (link,) = await front.durable.accounts.links(account)
        unit = front.durable.unit()
        unit.add_link(replace(link, id="another", key=IdentityKey(issuer="x", subject="y")))
        unit.remove_link(account, link.id)
        await unit.commit()
        return True

    moved.succeeds = taken_away  # type: ignore[method-assign]
    assert isinstance(await front.back(await front.leave(OPENID), "ana"), NewPerson)
    assert [link.id for link in await front.durable.accounts.links(account)] == ["another"]


async def test_an_unknown_provider_is_off(front: Front) -> None:
    with pytest.raises(ProviderOff):
        await front.leave(ProviderId("myspace"))


async def test_an_attempt_that_cannot_start_changes_nothing(front: Front) -> None:
    carried = await front.box.hold(front.transaction())
    front.facebook.is_down = True
    with pytest.raises(UpstreamUnavailable):
        await front.sign_in.begin(carried, FACEBOOK)
    assert (await front.box.open(carried.transaction.id, carried.cookie)).transaction == carried.transaction


async def test_leaving_again_forgets_what_came_back_before(front: Front) -> None:
    """Asked once more, the provider's first answer is gone."""
    carried = await front.new_person("ana")
    left = await front.sign_in.begin(carried, FACEBOOK, ask_again=True)
    transaction = left.carried.transaction
    assert (transaction.identity, transaction.tokens, transaction.decision) == (None, None, None)
    assert transaction.asked_again


# --- coming back: bound to this browser, this attempt, this provider ----------------------------------


async def test_a_known_person_is_signed_in(front: Front) -> None:
    first = await front.person("ana")
    outcome = signed_in(await front.back(await front.leave(), "ana"))
    assert outcome.started.session.account == first.started.session.account
    assert await front.sessions.load(outcome.started.secret) is not None
    assert len(front.accounts) == 1


async def test_the_provider_gets_back_exactly_what_it_was_sent(front: Front) -> None:
    """Nonce, verifier and address of this attempt: a foreign code fails against them (catalogue 36, 37)."""
    left = await front.leave()
    await front.back(left, "ana")
    sent, got = front.facebook.attempts[0], front.facebook.identified[0][0]
    assert (got.nonce, got.code_verifier, got.redirect_uri, got.state, got.scopes) == (
        sent.nonce, sent.code_verifier, sent.redirect_uri, sent.state, sent.scopes,
    )  # fmt: skip
    assert got.nonce and got.code_verifier


@pytest.mark.parametrize("state", ["", "x", None])
async def test_a_callback_without_the_attempts_state_is_refused(front: Front, state: str | None) -> None:
    """Missing, empty, or cut to the transaction's id: no fail-open (catalogue 32)."""
    left = await front.leave()
    wrong = left.carried.transaction.id + "." if state is None else state
    with pytest.raises(WrongBrowser):
        await front.back(left, "ana", state=wrong)
    params: dict[str, str] = {"code": "ana"}
    with pytest.raises(WrongBrowser):
        await front.sign_in.complete(left.carried, FACEBOOK, params, session=None, user_agent=AGENT)
    assert front.facebook.identified == []


async def test_the_state_of_another_browser_is_refused(front: Front) -> None:
    """The attacker's own valid answer in the victim's browser signs nobody in (catalogue 33)."""
    victim, attacker = await front.leave(), await front.leave()
    with pytest.raises(WrongBrowser):
        await front.back(victim, "attacker", state=state_of(attacker))
    assert front.facebook.identified == []
    assert front.memory.sessions.rows == {}


async def test_an_answer_is_taken_once(front: Front) -> None:
    """(catalogue 34)"""
    await front.person("ana")
    left = await front.leave()
    await front.back(left, "ana")
    sessions = len(front.memory.sessions.rows)
    for _ in range(2):
        with pytest.raises(SignInFinished):
            await front.back(left, "ana")
    assert len(front.memory.sessions.rows) == sessions
    assert len(front.facebook.identified) == 2


async def test_of_twenty_answers_at_once_one_is_taken(front: Front) -> None:
    """(catalogue 34)"""
    await front.person("ana")
    left = await front.leave()
    outcomes = await asyncio.gather(*(front.back(left, "ana") for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, SignedIn) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, SignInFinished) for outcome in outcomes) == 19


async def test_an_answer_that_can_be_shown_by_itself_counts_the_first_time(front: Front) -> None:
    """(catalogue 60): also in another attempt; when it is too old the provider's own check refuses it."""
    await front.person("ana")
    front.facebook.once = Once(key="openid2:https://op.test 2026-01-01T00:00:00Zx", until=NOW + timedelta(minutes=6))
    assert isinstance(await front.back(await front.leave(), "ana"), SignedIn)
    sessions = len(front.memory.sessions.rows)
    with pytest.raises(UpstreamInvalid, match="replayed"):
        await front.back(await front.leave(), "ana")
    assert len(front.memory.sessions.rows) == sessions
    front.facebook.once = Once(key="openid2:https://op.test 2026-01-01T00:00:00Zy", until=NOW + timedelta(minutes=6))
    assert isinstance(await front.back(await front.leave(), "ana"), SignedIn)


async def test_without_its_memory_no_such_answer_counts(front: Front) -> None:
    """(catalogue 60): fails closed."""

    class Forgetful:
        async def first_time(self, key: str, expires_at: datetime) -> bool:
            if key.startswith("openid2:"):
                raise StoreUnavailable(detail="away")
            return await front.memory.replay.first_time(key, expires_at)

    await front.person("ana")
    sessions = len(front.memory.sessions.rows)
    front.facebook.once = Once(key="openid2:https://op.test 2026-01-01T00:00:00Zx", until=NOW + timedelta(minutes=6))
    left = await front.leave()
    front.sign_in = replace(front.sign_in, replay=Forgetful())
    with pytest.raises(StoreUnavailable):
        await front.back(left, "ana")
    assert len(front.memory.sessions.rows) == sessions


async def test_an_answer_of_another_provider_is_refused(front: Front) -> None:
    """Started for one, delivered to the other's address (catalogue 35, 39, 40)."""
    left = await front.leave(FACEBOOK)
    with pytest.raises(WrongBrowser):
        await front.back(left, "ana", provider=OPENID)
    assert front.openid.identified == front.facebook.identified == []


async def test_an_attempt_belongs_to_the_provider_chosen_last(front: Front) -> None:
    """(catalogue 35)"""
    first = await front.leave(FACEBOOK)
    second = await front.sign_in.begin(first.carried, OPENID)
    with pytest.raises(WrongBrowser):
        await front.sign_in.complete(
            second.carried, FACEBOOK, {"state": state_of(first), "code": "ana"}, session=None, user_agent=AGENT
        )
    assert isinstance(await front.back(second, "ana"), NewPerson)


async def test_a_transaction_that_never_left_takes_no_answer(front: Front) -> None:
    """(catalogue 36)"""
    carried = await front.box.hold(front.transaction())
    with pytest.raises(WrongBrowser):
        await front.sign_in.complete(
            carried, FACEBOOK, {"state": f"{carried.transaction.id}.x", "code": "a"}, session=None, user_agent=AGENT
        )


async def test_a_provider_switched_off_meanwhile_takes_no_answer(front: Front) -> None:
    """(catalogue 35)"""
    left = await front.leave()
    flow = replace(front.sign_in, providers={})
    with pytest.raises(ProviderOff):
        await flow.complete(left.carried, FACEBOOK, {"state": state_of(left)}, session=None, user_agent=AGENT)


async def test_saying_no_there_uses_the_answer_up_and_lets_one_try_again(front: Front) -> None:
    left = await front.leave()
    with pytest.raises(SignInCancelled):
        await front.back(left, "", error="access_denied")
    again = await front.sign_in.begin(left.carried, FACEBOOK)
    assert isinstance(await front.back(again, "ana"), NewPerson)


# --- who it is ----------------------------------------------------------------------------------------


async def test_somebody_unknown_is_kept_under_the_browsers_key_only(front: Front) -> None:
    """Nothing about a person reaches the database before they say yes."""
    carried = await front.new_person("ana")
    assert carried.is_stored
    known = carried.transaction.identity
    assert known is not None
    claims = {**identity("ana").claims, PICTURE: known.claims[PICTURE]}
    assert known == identity("ana", claims=claims)
    assert front.accounts == {}
    assert front.durable.tables.receipts == {}
    _, sealed = front.memory.transactions.rows[carried.transaction.id]
    assert b"ana" not in sealed
    assert (carried.transaction.nonce, carried.transaction.code_verifier) == (None, None)


@pytest.mark.parametrize("verified", [frozenset(), frozenset({EMAIL})])
@pytest.mark.parametrize("provider", [FACEBOOK, OPENID])
async def test_a_matching_email_does_not_link(front: Front, provider: ProviderId, verified: frozenset[Any]) -> None:
    """Whoever says it, and however sure: an address is no identity (decision 18; catalogue 113, 114, 116)."""
    await front.person("ana")
    front.facebook.people["eve"] = identity("eve", claims=identity("ana").claims, verified=verified)
    front.openid.people["eve"] = identity("eve", provider=OPENID, claims=identity("ana").claims, verified=verified)
    outcome = await front.back(await front.leave(provider), "eve")
    assert isinstance(outcome, NewPerson)
    assert len(front.links) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"claims": {NAME: "Renamed", EMAIL: "other@mail.test"}},
        {"claims": {}},
        {"account_hint": "other@mail.test"},
        {"verified": frozenset()},
    ],
    ids=["other values", "no values", "other hint", "nothing checked"],
)
async def test_what_a_provider_says_later_changes_nothing(front: Front, change: dict[str, Any]) -> None:
    """Issuer and subject are the identity; everything else is dropped unread (catalogue 115)."""
    first = await front.person("ana")
    account = first.started.session.account
    before, links = front.accounts[account], front.links
    front.facebook.people["ana"] = identity("ana", **change)
    outcome = signed_in(await front.back(await front.leave(), "ana"))
    assert outcome.started.session.account == account
    assert front.accounts[account] == before
    assert front.links == links


@pytest.mark.parametrize(
    "key",
    [
        IdentityKey(issuer="https://facebook.example", subject="Subject-of-ana"),
        IdentityKey(issuer="https://facebook.example/", subject="subject-of-ana"),
        IdentityKey(issuer="https://openid.example", subject="subject-of-ana"),
    ],
    ids=["other case", "other issuer", "other provider"],
)
async def test_an_identity_is_issuer_and_subject_to_the_letter(front: Front, key: IdentityKey) -> None:
    """(catalogue 115)"""
    await front.person("ana")
    front.facebook.people["ana"] = identity("ana", key=key)
    assert isinstance(await front.back(await front.leave(), "ana"), NewPerson)


async def test_nothing_of_the_provider_goes_on_with_somebody_known(front: Front) -> None:
    await front.person("ana")
    outcome = signed_in(await front.back(await front.leave(), "ana"))
    transaction = outcome.transaction
    assert (transaction.identity, transaction.tokens, transaction.nonce, transaction.code_verifier) == (
        None, None, None, None,
    )  # fmt: skip
    assert transaction.sid == outcome.started.session.sid
    assert front.durable.tables.upstream_tokens == {}


async def test_an_account_on_hold_lets_nobody_in(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await front.save(replace(front.accounts[session.account], status=AccountStatus.HELD))
    sessions = len(front.memory.sessions.rows)
    with pytest.raises(AccountHeld):
        await front.back(await front.leave(), "ana")
    assert len(front.memory.sessions.rows) == sessions


def right_before_the_session(front: Front, what: Callable[[], Awaitable[object]]) -> SignInFlow:
    """The flow, with something that happens once when everything is checked and no session is there yet."""
    waiting = [what]

    class Sessions:
        def __getattr__(self, name: str) -> Any:
            return getattr(front.sessions.sessions, name)

        async def save(self, session: Session) -> None:
            if waiting:
                await waiting.pop()()
            await front.sessions.sessions.save(session)

    return replace(front.sign_in, sessions=replace(front.sessions, sessions=cast("Any", Sessions())))


async def alive(front: Front) -> list[Session]:
    return [one for account in front.accounts for one in await front.memory.sessions.of_account(account, NOW)]


async def with_two_ways(front: Front) -> Session:
    """Ana, who can also sign in elsewhere, here with her first way."""
    ana = (await front.person("ana")).started.session
    await front.back(await front.leave(OPENID, TransactionPurpose.LINK, ana), "ana-elsewhere", session=ana)
    return ana


async def test_a_way_removed_while_somebody_signs_in_with_it_lets_nobody_in(front: Front) -> None:
    """They are as unknown as any stranger, and the owner stays signed in (catalogue 110)."""
    ana = await with_two_ways(front)
    link = next(link for link in front.links if link.provider == OPENID)
    front.sign_in = right_before_the_session(front, lambda: front.account.unlink(ana, link.id))
    outcome = await front.back(await front.leave(OPENID), "ana-elsewhere")
    assert isinstance(outcome, NewPerson)
    assert await alive(front) == [ana]


async def test_a_way_that_went_to_another_account_meanwhile_lets_nobody_into_the_old_one(front: Front) -> None:
    """Removed here and signed up with anew (catalogue 110, 176)."""
    ana = await with_two_ways(front)
    link = next(link for link in front.links if link.provider == OPENID)

    async def move() -> None:
        await front.account.unlink(ana, link.id)
        other = builders.account()
        unit = front.durable.unit()
        unit.add_account(other)
        unit.add_link(replace(link, id="moved", account=other.id))
        await unit.commit()

    front.sign_in = right_before_the_session(front, move)
    outcome = await front.back(await front.leave(OPENID), "ana-elsewhere")
    assert isinstance(outcome, NewPerson)
    assert await alive(front) == [ana]


async def test_an_account_closed_while_somebody_signs_in_lets_nobody_in(front: Front) -> None:
    """(catalogue 130)"""
    ana = (await front.person("ana")).started.session
    front.sign_in = right_before_the_session(front, lambda: front.account.close(ana))
    assert isinstance(await front.back(await front.leave(), "ana"), NewPerson)
    assert await front.memory.sessions.of_account(ana.account, NOW) == ()


async def test_an_account_held_while_somebody_signs_in_lets_nobody_in(front: Front) -> None:
    ana = (await front.person("ana")).started.session
    support = AccountSupport(durable=front.durable, sessions=front.sessions, trail=front.trail)
    account = front.accounts[ana.account]
    front.sign_in = right_before_the_session(front, lambda: support.hold(account, ACT))
    with pytest.raises(AccountHeld):
        await front.back(await front.leave(), "ana")
    assert await alive(front) == []


async def test_a_way_removed_while_it_proves_somebody_anew_proves_nothing(front: Front) -> None:
    """The session that was to be renewed is over: what was shown for it does not stand any more (catalogue 110)."""
    await with_two_ways(front)
    link = next(link for link in front.links if link.provider == OPENID)
    other = signed_in(await front.back(await front.leave(), "ana")).started.session
    here = signed_in(await front.back(await front.leave(OPENID), "ana-elsewhere")).started.session
    front.sign_in = right_before_the_session(front, lambda: front.account.unlink(other, link.id))
    left = await front.leave(OPENID, TransactionPurpose.FRESHEN, here)
    with pytest.raises(WayEnded):
        await front.back(left, "ana-elsewhere", session=here)
    assert await alive(front) == [other]


async def test_last_used_is_written_once_an_hour_at_most(front: Front) -> None:
    await front.person("ana")
    born = front.links[0].last_used_at
    front.clock.move(LINK_TOUCH_EVERY)
    await front.back(await front.leave(), "ana")
    assert front.links[0].last_used_at == born
    front.clock.move(timedelta(seconds=1))
    await front.back(await front.leave(), "ana")
    assert front.links[0].last_used_at == front.clock.now()


@pytest.mark.parametrize(
    ("says", "asks", "counts"),
    [
        (None, {}, timedelta()),
        (timedelta(hours=-3), {}, timedelta(hours=-3)),
        (timedelta(hours=3), {}, timedelta()),
        (timedelta(hours=-3), {"prompt": frozenset({"login"})}, timedelta()),
    ],
    ids=["says nothing", "says when", "says the future", "was made to ask"],
)
async def test_when_somebody_proved_who_they_are(
    front: Front, says: timedelta | None, asks: dict[str, Any], counts: timedelta
) -> None:
    """The provider's word, never later than now; its answer's time where it had to ask anew (decision 26)."""
    await front.person("ana")
    now = front.clock.now()
    front.facebook.people["ana"] = identity("ana", authenticated_at=None if says is None else now + says)
    outcome = signed_in(await front.back(await front.leave(request=request(**asks)), "ana"))
    assert outcome.started.session.auth_time == now + counts


async def test_signing_in_makes_a_new_secret_in_a_browser_that_had_one(front: Front) -> None:
    """(catalogue 93)"""
    first = (await front.person("ana")).started
    outcome = signed_in(await front.back(await front.leave(), "ana", session=first.session))
    assert outcome.started.secret != first.secret
    assert await front.sessions.load(first.secret) is None
    assert await front.sessions.load(outcome.started.secret) is not None


# --- adding a way to sign in --------------------------------------------------------------------------


async def linking(
    front: Front, session: Session, name: str, back_with: Session | None = None, *, gone: bool = False
) -> Any:
    left = await front.leave(OPENID, TransactionPurpose.LINK, session)
    return await front.back(left, name, session=None if gone else back_with or session)


async def test_a_second_way_is_added_with_a_receipt_and_no_values(front: Front) -> None:
    session = (await front.person("ana")).started.session
    before = front.accounts[session.account]
    outcome = await linking(front, session, "ana-elsewhere")
    assert isinstance(outcome, Linked)
    assert {link.key for link in front.links} == {identity("ana").key, outcome.link.key}
    assert outcome.link.account == session.account
    assert front.accounts[session.account] == before
    receipt = front.durable.tables.receipts[outcome.link.receipt]
    assert (receipt.shown, receipt.accepted, receipt.counterparty) == ((), (), "openid")
    assert front.durable.tables.upstream_tokens == {}


async def test_either_way_leads_to_the_same_account(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await linking(front, session, "ana-elsewhere")
    outcome = signed_in(await front.back(await front.leave(OPENID), "ana-elsewhere"))
    assert outcome.started.session.account == session.account


async def test_an_identity_of_another_account_is_refused_without_naming_it(front: Front) -> None:
    """(catalogue 123)"""
    ana, ben = (await front.person("ana")).started.session, (await front.person("ben", OPENID)).started.session
    with pytest.raises(IdentityTaken) as refused:
        await linking(front, ana, "ben")
    said = f"{refused.value.public} {refused.value.detail}"
    assert not [word for word in ("ben", "Ben", ben.account) if word in said]
    assert len(front.links) == 2
    assert len(front.durable.tables.receipts) == 2


async def test_adding_a_way_twice_is_refused_the_same(front: Front) -> None:
    """Whether it is one's own or somebody else's: one answer (catalogue 123, 127)."""
    session = (await front.person("ana")).started.session
    await linking(front, session, "ana-elsewhere")
    with pytest.raises(IdentityTaken) as refused:
        await linking(front, session, "ana-elsewhere")
    assert refused.value.public == IdentityTaken.public


async def test_who_started_it_must_be_who_is_here(front: Front) -> None:
    """Fixed at the start, equal at the callback: another account's or browser's session is refused (catalogue 122)."""
    ana, ben = (await front.person("ana")).started, (await front.person("ben")).started
    elsewhere = signed_in(await front.back(await front.leave(), "ana")).started
    for other in (ben.session, elsewhere.session):
        with pytest.raises(WrongBrowser):
            await linking(front, ana.session, "ana-elsewhere", other)
    with pytest.raises(SignInRequired):
        await linking(front, ana.session, "ana-elsewhere", gone=True)
    assert len(front.links) == 2


async def test_an_account_closed_meanwhile_gets_no_new_way(front: Front) -> None:
    """(catalogue 130)"""
    session = (await front.person("ana")).started.session
    left = await front.leave(OPENID, TransactionPurpose.LINK, session)
    await front.account.close(session)
    with pytest.raises(SignInRequired):
        await front.back(left, "ana-elsewhere", session=session)
    assert front.links == []


async def test_a_way_added_while_everybody_is_signed_out_goes_again(front: Front) -> None:
    """The session ended between the check and the writing: what was written is taken back (catalogue 122)."""
    session = (await front.person("ana")).started.session
    left = await front.leave(OPENID, TransactionPurpose.LINK, session)
    find, asked = front.sign_in.sessions.sessions.by_digest, []

    async def find_once(*given: Any) -> Any:
        asked.append(given)
        if len(asked) > 1:
            await front.sessions.sign_out_everywhere(session.account)
        return await find(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front.sign_in.sessions.sessions, "by_digest", find_once)
        with pytest.raises(SignInRequired):
            await front.back(left, "ana-elsewhere", session=session)
    assert len(asked) == 2
    assert len(await front.durable.accounts.links(session.account)) == 1


async def test_a_way_that_was_begun_long_ago_is_not_added(front: Front) -> None:
    """However often it is begun anew, it does not outlive the fresh sign-in it began with (catalogue 122)."""
    session = (await front.person("ana")).started.session
    left = await front.leave(OPENID, TransactionPurpose.LINK, session)
    front.clock.move(timedelta(minutes=11))
    with pytest.raises(SignInExpired):
        await front.back(left, "ana-elsewhere", session=session)
    assert len(await front.durable.accounts.links(session.account)) == 1


# --- proving it anew ----------------------------------------------------------------------------------


async def test_a_fresh_sign_in_renews_this_session_and_no_more(front: Front) -> None:
    first = (await front.person("ana")).started
    grant = await front.grant(first.session)
    front.clock.move(timedelta(hours=1))
    left = await front.leave(purpose=TransactionPurpose.FRESHEN, session=first.session, return_to="/me/ways")
    outcome = signed_in(await front.back(left, "ana", session=first.session))
    assert outcome.is_renewed
    assert outcome.started.session.sid == first.session.sid
    assert outcome.started.session.auth_time == front.clock.now()
    assert await front.sessions.load(outcome.started.secret) is not None
    assert await front.sessions.load(first.secret) is None
    assert await front.is_standing(grant)


async def test_any_way_of_ones_own_proves_it(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await linking(front, session, "ana-elsewhere")
    left = await front.leave(OPENID, TransactionPurpose.FRESHEN, session)
    assert signed_in(await front.back(left, "ana-elsewhere", session=session)).is_renewed


@pytest.mark.parametrize("who", ["ben", "nobody-we-know"])
async def test_somebody_else_proves_nothing(front: Front, who: str) -> None:
    """A known other and an unknown one hear the same, and everything stays as it was (catalogue 122, 127)."""
    first = (await front.person("ana")).started
    await front.person("ben")
    left = await front.leave(purpose=TransactionPurpose.FRESHEN, session=first.session)
    with pytest.raises(IdentityTaken) as refused:
        await front.back(left, who, session=first.session)
    assert refused.value.public == "That is not one of your ways to sign in. Please use one of yours."
    assert await front.sessions.load(first.secret) == first.session


async def test_proving_it_in_another_session_is_refused(front: Front) -> None:
    """(catalogue 122)"""
    ana, ben = (await front.person("ana")).started, (await front.person("ben")).started
    left = await front.leave(purpose=TransactionPurpose.FRESHEN, session=ana.session)
    with pytest.raises(WrongBrowser):
        await front.back(left, "ana", session=ben.session)


# --- posting ------------------------------------------------------------------------------------------


async def test_only_an_identity_of_ones_own_may_be_posted_with(front: Front) -> None:
    """(catalogue 189)"""
    session = (await front.person("ana")).started.session
    await front.person("ben")
    left = await front.leave(purpose=TransactionPurpose.POSTING, session=session)
    outcome = await front.back(left, "ana", session=session)
    assert isinstance(outcome, PostingAllowed)
    assert outcome.tokens == front.facebook.tokens["ana"]
    assert front.durable.tables.upstream_tokens == {}
    for other in ("ben", "nobody-we-know"):
        left = await front.leave(purpose=TransactionPurpose.POSTING, session=session)
        with pytest.raises(IdentityTaken):
            await front.back(left, other, session=session)


# --- taking back upstream -----------------------------------------------------------------------------


async def test_what_was_granted_upstream_is_taken_back_as_far_as_possible(front: Front) -> None:
    """(decision 19)"""
    carried = await front.new_person("ana")
    await front.sign_in.drop_upstream(FACEBOOK, carried.transaction.tokens)
    assert front.facebook.revoked == [front.facebook.tokens["ana"]]
    front.facebook.is_down = True
    await front.sign_in.drop_upstream(FACEBOOK, carried.transaction.tokens)
    await front.sign_in.drop_upstream(FACEBOOK, None)
    await front.sign_in.drop_upstream(ProviderId("gone"), carried.transaction.tokens)
    assert len(front.facebook.revoked) == 1


def test_the_callback_address_says_nothing_of_the_site(front: Front) -> None:
    assert urlsplit(front.sign_in.callback_base).query == ""


async def test_only_a_provider_that_renews_tokens_is_asked_to(front: Front) -> None:
    """Of any other, and of one that is gone from the settings, a refresh token is of no use any more."""
    tokens = builders.upstream_tokens()
    asked: list[UpstreamTokens] = []

    class Renewing(ScriptedProvider):
        async def renew(self, tokens: UpstreamTokens) -> UpstreamTokens:
            asked.append(tokens)
            return replace(tokens, access_token="new")

    front.sign_in = replace(front.sign_in, providers={OPENID: Renewing(OPENID), FACEBOOK: front.facebook})
    assert (await front.sign_in.renew_upstream(OPENID, tokens)).access_token == "new"
    assert asked == [tokens]
    for provider in (FACEBOOK, ProviderId("gone")):
        with pytest.raises(GrantOver):
            await front.sign_in.renew_upstream(provider, tokens)
