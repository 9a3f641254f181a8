"""From what a provider sent to an account: only what the person says yes to, and all of it or nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.front import AGENT, FACEBOOK, OPENID, Front, identity, request

from broker.domain.account import ProfileValue
from broker.domain.claims import EMAIL, LOCALE, NAME, PICTURE, PREFERRED_USERNAME, ZONEINFO
from broker.domain.consent import Purpose
from broker.domain.joining import Address
from broker.domain.picture import kept_as
from broker.domain.session import needs_fresh_sign_in
from broker.domain.values import ClaimName, IdentityKey
from broker.errors import Conflict, FormInvalid, ProviderOff, SignInExpired
from broker.flows.sign_in import SignedIn
from broker.flows.sign_up import AddressTaken
from broker.flows.transactions import Carried


@pytest.fixture
def front() -> Front:
    return Front()


async def decided(
    front: Front, name: str = "ana", *ticked: ClaimName, provider: Any = FACEBOOK, **edits: str
) -> Carried:
    """Back from the provider, and the preview's form sent."""
    carried = await front.new_person(name, provider, request=request())
    return await front.sign_up.decide(
        carried, ticked=frozenset(ticked), edits={ClaimName(claim): text for claim, text in edits.items()}
    )


async def create(front: Front, carried: Carried, user_name: str = "ana", **more: Any) -> SignedIn:
    outcome = await front.sign_up.create(carried, front.form(user_name, **more), session=None, user_agent=AGENT)
    assert isinstance(outcome, SignedIn)
    return outcome


# --- preview and decision -----------------------------------------------------------------------------


async def test_the_preview_is_for_somebody_who_came_back(front: Front) -> None:
    """(catalogue 129)"""
    carried = await front.new_person("ana")
    assert [row.claim for row in front.sign_up.rows(carried.transaction)] == [NAME, EMAIL, PICTURE]
    with pytest.raises(SignInExpired):
        front.sign_up.rows(front.transaction())


async def test_after_the_decision_only_what_is_kept_is_anywhere(front: Front) -> None:
    """What was refused, and what was not decided, is gone from the transaction, whoever opens it (decision 20)."""
    carried = await decided(front)
    opened = (await front.box.open(carried.transaction.id, carried.cookie)).transaction
    assert opened.decision is not None
    assert set(opened.decision.kept) == {NAME, EMAIL}
    assert opened.identity is not None
    assert opened.identity.claims == {}
    assert opened.tokens is None
    everything = front.seal._encoder.encode(opened)
    assert b"pictures.test" not in everything
    assert front.facebook.tokens["ana"].access_token.encode() not in everything


@pytest.mark.parametrize(("edits", "hint"), [({}, "ana@mail.test"), ({"email": "other@mail.test"}, None)])
async def test_the_name_of_the_identity_is_kept_only_if_its_value_is(
    front: Front, edits: dict[str, str], hint: str | None
) -> None:
    """How a person knows their identity may be the very address they did not want kept (decision 20)."""
    carried = await decided(front, **edits)
    assert carried.transaction.identity is not None
    assert carried.transaction.identity.account_hint == hint


async def test_a_form_with_a_problem_changes_nothing(front: Front) -> None:
    carried = await front.new_person("ana")
    with pytest.raises(FormInvalid) as refused:
        await front.sign_up.decide(carried, ticked=frozenset({PICTURE}), edits={EMAIL: "not an address"})
    assert refused.value.fields == {"email": "bad_value"}
    again = await front.box.open(carried.transaction.id, carried.cookie)
    assert again.transaction == carried.transaction


async def test_not_using_a_provider_shreds_what_it_sent_and_takes_back_the_grant(front: Front) -> None:
    """ "Do not use Facebook" (decision 19)."""
    carried = await front.new_person("ana", request=request())
    fresh = await front.sign_up.refuse(carried)
    assert front.memory.transactions.rows == {}
    assert front.facebook.revoked == [front.facebook.tokens["ana"]]
    assert (fresh.identity, fresh.tokens, fresh.provider, fresh.decision) == (None, None, None, None)
    assert fresh.id != carried.transaction.id
    assert (fresh.request, fresh.return_to) == (carried.transaction.request, carried.transaction.return_to)
    assert front.accounts == {}


async def test_refusing_before_anybody_was_chosen_revokes_nothing(front: Front) -> None:
    await front.sign_up.refuse(await front.box.keep(front.transaction()))
    assert front.facebook.revoked == []


# --- what is asked then -------------------------------------------------------------------------------


async def test_only_what_is_missing_is_asked(front: Front) -> None:
    front.facebook.people["ana"] = identity("ana", claims={NAME: "Ana"}, declined=frozenset({EMAIL}))
    assert front.sign_up.to_ask((await decided(front)).transaction) == (EMAIL,)
    assert front.sign_up.to_ask((await decided(front, "ben")).transaction) == ()


async def test_the_user_name_is_asked_once_and_in_its_own_place(front: Front) -> None:
    front.fields[PREFERRED_USERNAME] = replace(front.fields[NAME], claim=PREFERRED_USERNAME)
    carried = await decided(front)
    assert front.sign_up.to_ask(carried.transaction) == ()
    await create(front, carried)


async def test_suggested_user_names_are_free(front: Front) -> None:
    front.facebook.people["other"] = identity("other", claims=identity("ana").claims)
    before = await front.sign_up.suggestions((await decided(front, "other")).transaction)
    assert before[0] == "ana"
    assert len(before) == 3
    await front.person("ana")
    after = await front.sign_up.suggestions((await decided(front, "other")).transaction)
    assert "ana" not in after
    assert after


async def test_suggestions_come_from_what_is_kept(front: Front) -> None:
    """A name the person did not keep is not used behind their back."""
    front.fields[NAME] = replace(front.fields[PICTURE], claim=NAME)
    ideas = await front.sign_up.suggestions((await decided(front)).transaction)
    assert not [idea for idea in ideas if "ana" in idea]


# --- the account --------------------------------------------------------------------------------------


async def test_an_account_is_born_with_its_link_and_its_receipt(front: Front) -> None:
    """One unit of work: all three or none (decision 16; catalogue 164)."""
    outcome = await create(front, await decided(front, "ana", PICTURE), newsletters=frozenset({"club", "unknown"}))
    account = front.accounts[outcome.started.session.account]
    (link,) = front.links
    receipt = front.durable.tables.receipts[link.receipt]
    assert {name: held.value for name, held in account.profile.items()} == {
        **identity("ana").claims,
        PICTURE: kept_as(front.durable.tables.pictures[account.id].id),
        PREFERRED_USERNAME: "ana",
    }
    assert account.newsletters == ("club",)
    assert account.agreed_notice == "terms:3 privacy:2"
    assert (link.account, link.key, link.hint) == (account.id, identity("ana").key, "ana@mail.test")
    assert (receipt.account, receipt.purpose, receipt.counterparty) == (account.id, Purpose.PREFILL_SIGN_UP, FACEBOOK)
    assert receipt.accepted == (NAME, EMAIL, PICTURE)
    assert receipt.versions == {name: front.fields[name].version for name in receipt.shown}
    assert receipt.notice_version == account.agreed_notice
    assert outcome.transaction.decision is None


async def test_refused_fields_are_not_stored(front: Front) -> None:
    """Only their names are in the receipt (decision 20)."""
    outcome = await create(front, await decided(front))
    account = front.accounts[outcome.started.session.account]
    assert PICTURE not in account.profile
    (receipt,) = front.durable.tables.receipts.values()
    assert receipt.refused == (PICTURE,)
    assert "pictures.test" not in repr(list(front.durable.tables.receipts.values()))


async def test_a_newsletter_is_never_subscribed_by_itself(front: Front) -> None:
    outcome = await create(front, await decided(front))
    assert front.accounts[outcome.started.session.account].newsletters == ()


async def test_what_the_person_types_is_theirs(front: Front) -> None:
    """Nobody vouches for it, whatever the provider could have said (catalogue 119)."""
    front.facebook.people["ana"] = identity("ana", claims={NAME: "Ana"})
    outcome = await create(front, await decided(front), typed={EMAIL: " Ana@Mail.test "})
    account = front.accounts[outcome.started.session.account]
    assert account.profile[EMAIL] == ProfileValue(value="Ana@mail.test", source="person")
    assert account.verified == frozenset()


async def test_nothing_but_the_asked_fields_is_taken_from_the_form(front: Front) -> None:
    """Role, subject, e-mail word and whatever else is posted are ignored (catalogue 125)."""
    more = {
        ClaimName(name): "x" for name in ("role", "sub", "email_verified", "created_at", "status", "id", "consents")
    }
    outcome = await create(
        front, await decided(front), typed={**more, EMAIL: "evil@mail.test", PICTURE: "https://x.test"}
    )
    account = front.accounts[outcome.started.session.account]
    held = {name: kept.value for name, kept in account.profile.items()}
    assert held == {NAME: "Ana Marković", EMAIL: "ana@mail.test", PREFERRED_USERNAME: "ana"}
    assert account.created_at == front.clock.now()


@pytest.mark.parametrize(
    ("typed", "user_name", "problems"),
    [
        ({}, "ana", {"email": "missing"}),
        ({EMAIL: "  "}, "ana", {"email": "missing"}),
        ({EMAIL: "nonsense"}, "ana", {"email": "bad_value"}),
        ({EMAIL: "x" * 300 + "@mail.test"}, "ana", {"email": "bad_value"}),
        ({EMAIL: "ana@mail.test"}, "", {"preferred_username": "missing"}),
        ({EMAIL: "ana@mail.test"}, "\u202e", {"preferred_username": "missing"}),
        ({EMAIL: "ana@mail.test"}, "admin", {"preferred_username": "reserved"}),
        ({EMAIL: "ana@mail.test"}, "a b", {"preferred_username": "characters"}),
        ({EMAIL: "ana@mail.test"}, "x" * 10_000, {"preferred_username": "too_long"}),
        ({}, "ab", {"email": "missing", "preferred_username": "too_short"}),
    ],
)
async def test_every_problem_is_said_at_once_and_nothing_is_saved(
    front: Front, typed: dict[ClaimName, str], user_name: str, problems: dict[str, str]
) -> None:
    """(catalogue 131)"""
    front.facebook.people["ana"] = identity("ana", claims={NAME: "Ana"})
    with pytest.raises(FormInvalid) as refused:
        await create(front, await decided(front), user_name, typed=typed)
    assert refused.value.fields == problems
    assert front.accounts == {}
    assert front.durable.tables.receipts == {}


async def test_a_user_name_is_given_once(front: Front) -> None:
    """To the letter or alike, and after its account was closed as well (catalogue 130)."""
    ana = await front.person("ana")
    for name in ("ana", "ANA", "a.n.a"):
        with pytest.raises(FormInvalid) as refused:
            await create(front, await decided(front, "ben"), name)
        assert refused.value.fields == {"preferred_username": "taken"}
    await front.account.close(ana.started.session)
    with pytest.raises(FormInvalid) as refused:
        await create(front, await decided(front, "ben"), "ana")
    assert refused.value.fields == {"preferred_username": "taken"}


async def test_signing_up_again_after_closing_is_a_new_account(front: Front) -> None:
    """The old id is never given again (catalogue 130)."""
    old = (await front.person("ana")).started.session
    await front.account.close(old)
    new = await create(front, await decided(front), "ana-again")
    assert new.started.session.account != old.account
    assert len(front.accounts) == 1


async def test_what_the_browser_says_fills_gaps_only(front: Front) -> None:
    outcome = await create(front, await decided(front), zoneinfo="Europe/Vienna", locale="de")
    account = front.accounts[outcome.started.session.account]
    assert account.profile[ZONEINFO] == ProfileValue(value="Europe/Vienna", source="browser")
    assert account.profile[LOCALE] == ProfileValue(value="de", source="browser")
    assert account.locale == "de"


async def test_what_nobody_configured_is_not_kept_from_the_browser(front: Front) -> None:
    del front.fields[ZONEINFO], front.fields[LOCALE]
    outcome = await create(front, await decided(front), zoneinfo="Europe/Vienna")
    account = front.accounts[outcome.started.session.account]
    assert not {ZONEINFO, LOCALE} & set(account.profile)
    assert account.locale == "en"


# --- two at once --------------------------------------------------------------------------------------


async def test_twenty_sign_ups_of_one_identity_make_one_account(front: Front) -> None:
    """The others land in it (catalogue 176)."""
    carried = [await decided(front) for _ in range(20)]
    outcomes = await asyncio.gather(*(create(front, one, f"ana-{number}") for number, one in enumerate(carried)))
    assert len({outcome.started.session.account for outcome in outcomes}) == 1
    assert len(front.accounts) == len(front.links) == len(front.durable.tables.receipts) == 1


async def test_a_way_that_was_switched_off_meanwhile_makes_no_account(front: Front) -> None:
    """catalogue 52: who came from it and decided already is refused all the same; another way is theirs to choose."""
    carried = await decided(front)
    without = replace(front.sign_in, providers={OPENID: front.openid})
    with pytest.raises(ProviderOff):
        await replace(front.sign_up, sign_in=without).create(carried, front.form("ana"), session=None, user_agent=AGENT)
    assert front.accounts == {}
    assert front.memory.sessions.rows == {}


async def test_creating_twice_makes_one_account(front: Front) -> None:
    """A double click (catalogue 177)."""
    carried = await decided(front)
    first, second = await create(front, carried), await create(front, carried)
    assert first.started.session.account == second.started.session.account
    assert len(front.accounts) == 1


async def test_a_checked_address_belongs_to_one_account(front: Front) -> None:
    """Nothing is linked, nothing is saved; the person says whose the address is (decision 18; catalogue 113, 116)."""
    front.openid.people["eve"] = identity("eve", provider=OPENID, claims=identity("ana").claims)
    carried = await decided(front, "eve", provider=OPENID)
    await front.person("ana")  # in this very moment
    outcome = await front.sign_up.create(carried, front.form("eve"), session=None, user_agent=AGENT)
    assert isinstance(outcome, AddressTaken)
    assert outcome.carried.transaction.address is Address.ASKED
    assert len(front.accounts) == len(front.links) == 1


async def test_an_unchecked_address_takes_nothing_from_anybody(front: Front) -> None:
    """Whoever types somebody else's address gets no account of theirs, and does not keep them out (catalogue 116)."""
    front.facebook.people["eve"] = identity("eve", claims={NAME: "Eve"})
    eve = await create(front, await decided(front, "eve"), "eve", typed={EMAIL: "ana@mail.test"})
    ana = await front.person("ana")
    assert eve.started.session.account != ana.started.session.account
    assert front.accounts[eve.started.session.account].verified == frozenset()
    assert front.accounts[ana.started.session.account].verified == {EMAIL}
    assert [link.account for link in front.links if link.key == identity("ana").key] == [ana.started.session.account]


async def test_nobody_is_given_a_way_in_that_they_did_not_make(front: Front) -> None:
    """An account has at its birth exactly the identity it was made with (catalogue 117)."""
    front.facebook.people["eve"] = identity("eve", claims={NAME: "Eve"})
    await create(front, await decided(front, "eve"), "eve", typed={EMAIL: "ana@mail.test"})
    ana = await front.person("ana")
    mine = await front.durable.accounts.links(ana.started.session.account)
    assert [link.key for link in mine] == [identity("ana").key]


async def test_any_other_broken_expectation_is_no_guess(front: Front) -> None:
    """A link id that exists already can only be a fault: nothing is saved, and nobody is told their address is taken."""
    await front.person("ana")

    class Stuck:
        """Gives one id for ever."""

        def token(self, nbytes: int = 32) -> str:
            return front.links[0].id

        def __getattr__(self, name: str) -> Any:
            return getattr(front.entropy, name)

    flow = replace(front.sign_up, entropy=Stuck())
    front.facebook.people["ben"] = identity("ben", key=IdentityKey(issuer="i", subject="ben"))
    carried = await decided(front, "ben")
    with pytest.raises(Conflict):
        await flow.create(carried, front.form("ben"), session=None, user_agent=AGENT)
    assert len(front.accounts) == 1


# --- steps skipped ------------------------------------------------------------------------------------


async def test_no_step_can_be_skipped(front: Front) -> None:
    """Nobody signs up without having come back and decided (catalogue 129)."""
    with pytest.raises(SignInExpired):
        await create(front, await front.box.keep(front.transaction()))
    undecided = await front.new_person("ana")
    with pytest.raises(SignInExpired):
        await create(front, undecided)
    with pytest.raises(SignInExpired):
        front.sign_up.to_ask(undecided.transaction)
    with pytest.raises(SignInExpired):
        await front.sign_up.suggestions(undecided.transaction)
    assert front.accounts == {}


@pytest.mark.parametrize("max_age", [None, 3600])
async def test_filling_in_the_form_proves_nothing(front: Front, max_age: int | None) -> None:
    """Who signs up proved who they are when the provider said so (decision 26), not when they sent the form."""
    answered = front.clock.now()
    carried = await front.new_person("ana", request=request(max_age=max_age))
    front.clock.move(timedelta(minutes=3))
    carried = await front.sign_up.decide(carried, ticked=frozenset(), edits={})
    front.clock.move(timedelta(minutes=3))
    session = (await create(front, carried)).started.session
    assert session.auth_time == answered
    assert session.created_at == front.clock.now()
    assert needs_fresh_sign_in(session, front.clock.now())


async def test_another_try_counts_from_its_own_answer(front: Front) -> None:
    """Back from one provider, a known person goes on with another: the first answer is forgotten."""
    await front.person("ana")
    carried = await front.new_person("ben", OPENID)
    front.clock.move(timedelta(minutes=6))
    outcome = await front.back(await front.sign_in.begin(carried, FACEBOOK), "ana")
    assert isinstance(outcome, SignedIn)
    assert outcome.started.session.auth_time == front.clock.now()


async def test_a_session_of_somebody_else_in_this_browser_ends(front: Front) -> None:
    """(catalogue 93)"""
    ana = (await front.person("ana")).started
    front.clock.move(timedelta(minutes=1))
    carried = await decided(front, "ben")
    ben = await front.sign_up.create(carried, front.form("ben"), session=ana.session, user_agent=AGENT)
    assert isinstance(ben, SignedIn)
    assert await front.sessions.load(ana.secret) is None
    assert await front.sessions.load(ben.started.secret) is not None
