"""What a person does about their own account."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from tests.flows.front import AGENT, OPENID, Front, identity, stale
from tests.flows.op import FORUM, WIKI
from tests.support import builders

from broker.domain.account import ProfileValue
from broker.domain.claims import ADDRESS, EMAIL, NAME, PICTURE, PREFERRED_USERNAME, UPDATED_AT, normalise, words_of
from broker.domain.client import asked_claims
from broker.domain.consent import ConsentReceipt, Purpose, covers, standing
from broker.domain.policy import PolicyVersion, Use
from broker.domain.posting import PostState
from broker.domain.session import FRESH, Session
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import AccountId, ClaimName, ClientId, Sid
from broker.errors import (
    FormInvalid,
    FreshSignInRequired,
    LastLink,
    NotFound,
    Overtaken,
    SignInRequired,
    TooManyAttempts,
)
from broker.flows.account import RENAMES_PER_DAY, AccountFlow
from broker.flows.sign_in import SignedIn
from broker.flows.anew import TRIES


@pytest.fixture
def front() -> Front:
    return Front()


async def sign_up(front: Front, name: str = "ana") -> Session:
    return (await front.person(name)).started.session


async def add_way(front: Front, session: Session) -> None:
    left = await front.leave(OPENID, TransactionPurpose.LINK, session)
    await front.back(left, "ana-elsewhere", session=session)


async def connect(front: Front, session: Session, client: ClientId = FORUM, **more: Any) -> ConsentReceipt:
    """The person shares everything the site asks for."""
    asks = front.clients[client].asks
    values: dict[str, Any] = {
        "counterparty": client,
        "shown": tuple(ask.claim for ask in asks),
        "accepted": tuple(ask.claim for ask in asks),
        "refused": (),
        "versions": {ask.claim: ask.version for ask in asks},
        "counterparty_version": front.clients[client].version,
        "withdraws": None,
    }
    receipt = builders.receipt(session.account, **(values | more))
    unit = front.durable.unit()
    unit.append_receipt(receipt)
    await unit.commit()
    return receipt


# --- agreeing -----------------------------------------------------------------------------------------


async def test_an_account_that_is_gone_is_nobodys(front: Front) -> None:
    """(catalogue 130)"""
    with pytest.raises(SignInRequired):
        await front.account.load(AccountId("gone"))


async def test_a_changed_policy_is_agreed_to_once(front: Front) -> None:
    session = await sign_up(front)
    assert await front.account.has_agreed(session.account)
    tomorrow = front.clock.now() + timedelta(days=1)
    changed = replace(
        front.policies, terms=(*front.policies.terms, PolicyVersion(version="4", effective_from=tomorrow.date()))
    )
    flow = replace(front.account, policies=changed)
    assert await flow.has_agreed(session.account)
    front.clock.move(timedelta(days=1))
    assert not await flow.has_agreed(session.account)
    await flow.agree(session.account)
    assert await flow.has_agreed(session.account)
    assert front.accounts[session.account].agreed_notice == "terms:4 privacy:2"


# --- correcting ---------------------------------------------------------------------------------------


async def test_a_corrected_value_is_the_persons_own(front: Front) -> None:
    """Whoever vouched for the old one does not vouch for the new (catalogue 119)."""
    session = await sign_up(front)
    assert front.accounts[session.account].verified == {EMAIL}
    await front.account.change(session.account, EMAIL, " New@Mail.test ")
    assert front.accounts[session.account].profile[EMAIL] == ProfileValue(value="New@mail.test", source="person")


async def test_the_same_value_again_changes_nothing(front: Front) -> None:
    session = await sign_up(front)
    before = front.accounts[session.account]
    await front.account.change(session.account, EMAIL, "ana@mail.test")
    assert front.accounts[session.account] == before


async def test_sites_learn_when_something_last_changed(front: Front) -> None:
    """OpenID Connect Core §5.1, `updated_at`: since the account was made, then since the last real change."""
    session = await sign_up(front)
    account = front.accounts[session.account]
    assert account.claims[UPDATED_AT] == str(int(account.created_at.timestamp()))
    front.clock.at += timedelta(hours=1)
    await front.account.change(session.account, EMAIL, "ana@mail.test")
    await front.account.set_locale(session.account, "fr")
    assert front.accounts[session.account].claims[UPDATED_AT] == account.claims[UPDATED_AT]
    await front.account.change(session.account, NAME, "Ana M.")
    assert front.accounts[session.account].claims[UPDATED_AT] == str(int(front.clock.now().timestamp()))


async def test_an_address_read_back_as_it_is_shown_keeps_its_parts(front: Front) -> None:
    session = await sign_up(front)
    kept = normalise(ADDRESS, {"street_address": "Hof 3", "locality": "Wien", "country": "Austria"})
    assert kept is not None
    account = front.accounts[session.account]
    held = ProfileValue(value=kept, source="provider:openid")
    front.durable.tables.accounts[account.id] = replace(account, profile={**account.profile, ADDRESS: held})
    front.account.fields[ADDRESS] = front.account.fields[NAME]  # type: ignore[index]
    await front.account.change(session.account, ADDRESS, " Hof 3, Wien, Austria ")
    assert front.accounts[session.account].profile[ADDRESS] == held
    await front.account.change(session.account, ADDRESS, "Hof 4, Wien")
    assert words_of(ADDRESS, front.accounts[session.account].profile[ADDRESS].value) == "Hof 4, Wien"


async def test_an_optional_field_can_be_removed(front: Front) -> None:
    session = await sign_up(front)
    for _ in range(2):
        await front.account.change(session.account, PICTURE, "")
        assert PICTURE not in front.accounts[session.account].profile


@pytest.mark.parametrize(
    ("claim", "text", "problem"),
    [
        (NAME, "", "missing"),
        (NAME, "   ", "missing"),
        (NAME, "\u202e", "bad_value"),
        (NAME, "x" * 201, "bad_value"),
        (EMAIL, "nonsense", "bad_value"),
        (PICTURE, "javascript:alert(1)", "bad_value"),
        (PREFERRED_USERNAME, "", "missing"),
        (PREFERRED_USERNAME, "a b", "characters"),
        (PREFERRED_USERNAME, "admin", "reserved"),
        (PREFERRED_USERNAME, "ben", "taken"),
        (PREFERRED_USERNAME, "b.e.n", "taken"),
        (ClaimName("role"), "admin", "not_editable"),
        (ClaimName("sub"), "1", "not_editable"),
        (ClaimName("email_verified"), "true", "not_editable"),
        (ClaimName("birthdate"), "1990-01-01", "not_editable"),
    ],
)
async def test_a_field_that_cannot_be_changed_like_that_stays(
    front: Front, claim: ClaimName, text: str, problem: str
) -> None:
    """(catalogue 125, 131)"""
    session = await sign_up(front)
    await sign_up(front, "ben")
    before = front.accounts[session.account]
    with pytest.raises(FormInvalid) as refused:
        await front.account.change(session.account, claim, text)
    assert refused.value.fields == {claim: problem}
    assert front.accounts[session.account] == before


@pytest.mark.parametrize("change", [{"use": Use.NEVER}, {"editable": False}])
async def test_a_field_that_is_off_or_fixed_is_not_editable(front: Front, change: dict[str, Any]) -> None:
    """(catalogue 125)"""
    session = await sign_up(front)
    front.fields[NAME] = replace(front.fields[NAME], **change)
    with pytest.raises(FormInvalid) as refused:
        await front.account.change(session.account, NAME, "Anna")
    assert refused.value.fields == {NAME: "not_editable"}


async def test_a_user_name_can_be_changed_to_a_free_one(front: Front) -> None:
    session = await sign_up(front)
    await front.account.change(session.account, PREFERRED_USERNAME, "anna")
    assert front.accounts[session.account].claims[PREFERRED_USERNAME] == "anna"


async def test_a_user_name_given_up_is_kept_for_whoever_had_it(front: Front) -> None:
    """Nobody becomes who somebody was; they themselves may."""
    ana, ben = await sign_up(front), await sign_up(front, "ben")
    await front.account.change(ana.account, PREFERRED_USERNAME, "anna")
    for name in ("ana", "ANA", "anna"):
        with pytest.raises(FormInvalid) as refused:
            await front.account.change(ben.account, PREFERRED_USERNAME, name)
        assert refused.value.fields == {PREFERRED_USERNAME: "taken"}
    await front.account.change(ana.account, PREFERRED_USERNAME, "ana")
    assert front.accounts[ana.account].claims[PREFERRED_USERNAME] == "ana"


async def test_nobody_collects_user_names_by_renaming(front: Front) -> None:
    """Each one given up stays theirs; tomorrow they may rename again."""
    session = (await front.person("ana")).started.session
    for number in range(RENAMES_PER_DAY):
        await front.account.change(session.account, PREFERRED_USERNAME, f"ana{number}")
    with pytest.raises(TooManyAttempts):
        await front.account.change(session.account, PREFERRED_USERNAME, "onemore")
    last = f"ana{RENAMES_PER_DAY - 1}"
    await front.account.change(session.account, PREFERRED_USERNAME, last)  # as it is: no change
    assert front.accounts[session.account].claims[PREFERRED_USERNAME] == last
    front.clock.move(timedelta(days=1))
    await front.account.change(session.account, PREFERRED_USERNAME, "onemore")


async def test_an_account_closed_meanwhile_is_not_changed(front: Front) -> None:
    """Loaded in one tab, closed in the other (catalogue 130)."""
    session = await sign_up(front)
    account = front.accounts[session.account]
    await front.account.close(session)

    class Behind:
        """Still sees the account."""

        async def load(self, _account: AccountId) -> Any:
            return account

    class Store:
        accounts = Behind()
        unit = staticmethod(front.durable.unit)

    flow = replace(front.account, durable=cast("Any", Store()))
    with pytest.raises(Overtaken):
        await flow.change(session.account, NAME, "Anna")
    assert front.accounts == {}
    with pytest.raises(SignInRequired):
        await front.account.change(session.account, NAME, "Anna")


class Overtaking:
    """Accounts of which each is changed by another tab right after it was loaded, a few times."""

    def __init__(self, front: Front, changes: Sequence[Callable[[], Awaitable[object]]]) -> None:
        self._front = front
        self._changes = list(changes)

    async def load(self, account: AccountId) -> Any:
        found = await self._front.durable.accounts.load(account)
        if self._changes:
            await self._changes.pop(0)()
        return found

    def flow(self) -> AccountFlow:
        class Store:
            accounts = self
            unit = staticmethod(self._front.durable.unit)

        return replace(self._front.account, durable=cast("Any", Store()))


CHANGES: dict[str, Callable[[AccountFlow, AccountId], Awaitable[object]]] = {
    "agree": lambda flow, account: flow.agree(account),
    "language": lambda flow, account: flow.set_locale(account, "fr"),
    "newsletters": lambda flow, account: flow.set_newsletters(account, frozenset({"club"})),
    "another field": lambda flow, account: flow.change(account, NAME, "Anna"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_removal_is_never_undone_by_a_change_on_its_way(front: Front, change: str) -> None:
    """The other tab removed a value between loading and saving."""
    session = await sign_up(front)
    before = front.accounts[session.account]
    removals: list[Callable[[], Awaitable[object]]] = [lambda: front.account.change(session.account, PICTURE, "")]
    await CHANGES[change](Overtaking(front, removals).flow(), session.account)
    assert PICTURE not in front.accounts[session.account].profile
    assert front.accounts[session.account].version == before.version + 2
    removals = [lambda: front.account.set_locale(session.account, "sr")]
    await Overtaking(front, removals).flow().change(session.account, PICTURE, "")
    assert (PICTURE in front.accounts[session.account].profile, front.accounts[session.account].locale) == (False, "sr")


async def test_a_change_that_is_overtaken_each_time_is_given_up_with_words(front: Front) -> None:
    session = await sign_up(front)
    others = [lambda: front.account.set_locale(session.account, "sr")] * TRIES
    with pytest.raises(Overtaken) as given_up:
        await Overtaking(front, others).flow().set_newsletters(session.account, frozenset({"club"}))
    assert "Try again" in given_up.value.public
    assert front.accounts[session.account].newsletters == ()
    await Overtaking(front, others[1:]).flow().set_newsletters(session.account, frozenset({"club"}))
    assert front.accounts[session.account].newsletters == ("club",)


async def test_newsletters_are_exactly_the_ticked_ones_there_are(front: Front) -> None:
    session = await sign_up(front)
    await front.account.set_newsletters(session.account, frozenset({"events", "club", "spam"}))
    assert front.accounts[session.account].newsletters == ("club", "events")
    await front.account.set_newsletters(session.account, frozenset())
    assert front.accounts[session.account].newsletters == ()


async def test_the_language_of_the_pages_is_kept(front: Front) -> None:
    session = await sign_up(front)
    await front.account.set_locale(session.account, "fr")
    assert front.accounts[session.account].locale == "fr"


# --- ways to sign in ----------------------------------------------------------------------------------


async def test_a_way_is_removed_only_after_a_fresh_sign_in(front: Front) -> None:
    """(catalogue 122)"""
    session = await sign_up(front)
    await add_way(front, session)
    old = stale(session, FRESH + timedelta(seconds=1))
    with pytest.raises(FreshSignInRequired):
        await front.account.unlink(old, front.links[0].id)
    assert len(front.links) == 2
    await front.account.unlink(stale(session, FRESH), front.links[0].id)
    assert len(front.links) == 1


async def test_the_last_way_in_cannot_be_removed(front: Front) -> None:
    """(catalogue 124)"""
    session = await sign_up(front)
    with pytest.raises(LastLink):
        await front.account.unlink(session, front.links[0].id)
    assert len(front.links) == 1


async def test_of_two_removals_at_once_one_stays(front: Front) -> None:
    """(catalogue 124)"""
    session = await sign_up(front)
    await add_way(front, session)
    both = [link.id for link in front.links]
    outcomes = await asyncio.gather(*(front.account.unlink(session, one) for one in both), return_exceptions=True)
    assert sum(isinstance(outcome, LastLink) for outcome in outcomes) == 1
    assert len(front.links) == 1


async def test_the_store_has_the_last_word_on_the_last_way(front: Front) -> None:
    """Two removals that both saw two ways (catalogue 124)."""
    session = await sign_up(front)
    await add_way(front, session)
    seen = await front.durable.accounts.links(session.account)
    await front.account.unlink(session, seen[0].id)

    class Behind:
        load = staticmethod(front.durable.accounts.load)

        async def links(self, _account: AccountId) -> Any:
            return seen

    class Store:
        accounts = Behind()
        unit = staticmethod(front.durable.unit)
        ledger = front.durable.ledger
        vault = front.durable.vault

    with pytest.raises(LastLink):
        await replace(front.account, durable=cast("Any", Store())).unlink(session, seen[1].id)
    assert len(front.links) == 1


async def test_nobody_removes_a_way_of_somebody_else(front: Front) -> None:
    ana, _ = await sign_up(front), await sign_up(front, "ben")
    await add_way(front, ana)
    theirs = next(link for link in front.links if link.key == identity("ben").key)
    with pytest.raises(NotFound):
        await front.account.unlink(ana, theirs.id)
    assert theirs in front.links


async def test_removing_a_way_ends_every_other_session_and_what_hung_on_it(front: Front) -> None:
    """Whoever used that way is out (catalogue 110)."""
    session = await sign_up(front)
    await add_way(front, session)
    elsewhere = await front.back(await front.leave(), "ana")
    grant = await front.grant(elsewhere.started.session)  # type: ignore[union-attr]
    mine = await front.grant(session)
    unit = front.durable.unit()
    unit.save_upstream_tokens(session.account, front.facebook.id, builders.upstream_tokens())
    await unit.commit()
    waiting = await front.posting(session, provider=front.facebook.id)
    link = next(link for link in front.links if link.provider == front.facebook.id)
    assert await front.account.unlink(session, link.id) == link
    assert await front.sessions.load(elsewhere.started.secret) is None  # type: ignore[union-attr]
    assert not await front.is_standing(grant)
    assert await front.is_standing(mine)
    assert front.durable.tables.upstream_tokens == {}
    assert front.durable.tables.postings[waiting.id].state is PostState.CANCELLED


async def test_without_posting_the_account_works_the_same(front: Front) -> None:
    session = await sign_up(front)
    await add_way(front, session)
    flow = replace(front.account, posting=None)
    await flow.unlink(session, front.links[0].id)
    await flow.close(session)
    assert front.accounts == {}


# --- connected sites ----------------------------------------------------------------------------------


async def test_the_connected_sites_are_those_that_get_something(front: Front) -> None:
    session = await sign_up(front)
    assert await front.account.sites(session.account) == ()
    await connect(front, session)
    await connect(front, session, WIKI)
    gone = front.clients.pop(WIKI)
    assert [site.client.client_id for site in await front.account.sites(session.account)] == [FORUM]
    front.clients[WIKI] = gone
    assert [site.client.client_id for site in await front.account.sites(session.account)] == [WIKI, FORUM]
    await front.account.disconnect(session, FORUM, locale="en")
    assert [site.client.client_id for site in await front.account.sites(session.account)] == [WIKI]


def is_covered(front: Front, client: ClientId = FORUM) -> bool:
    receipts = [one for one in front.durable.tables.receipts.values() if one.counterparty == client]
    site = front.clients[client]
    return covers(standing(receipts), asked_claims(site, site.scopes - {"offline_access"}), client_version=site.version)


async def test_one_field_can_be_taken_from_one_site(front: Front) -> None:
    """Its tokens die now, it is told, and the field is not asked again as long as it is optional (catalogue 137)."""
    session = await sign_up(front)
    for client in (FORUM, WIKI):
        await connect(front, session, client)
    forum, wiki = await front.grant(session), await front.grant(session, WIKI)
    await front.account.stop_sharing(session, FORUM, EMAIL, locale="fr")
    (site,) = [one for one in await front.account.sites(session.account) if one.client.client_id == FORUM]
    assert EMAIL not in site.standing.granted
    assert NAME in site.standing.granted
    assert (await front.is_standing(forum), await front.is_standing(wiki)) == (False, True)
    assert front.told() == [(FORUM, session.sid)]
    assert is_covered(front)
    newest = list(front.durable.tables.receipts.values())[-1]
    assert (newest.refused, newest.locale, newest.sid, newest.purpose) == (
        (EMAIL,), "fr", session.sid, Purpose.SHARE_WITH_CLIENT,
    )  # fmt: skip


async def test_a_needed_field_taken_away_is_asked_again(front: Front) -> None:
    """(catalogue 137)"""
    session = await sign_up(front)
    await connect(front, session)
    await front.account.stop_sharing(session, FORUM, PREFERRED_USERNAME, locale="en")
    assert not is_covered(front)


async def test_disconnecting_takes_everything_from_one_site(front: Front) -> None:
    """Its tokens die now, it is told, its posts are cancelled, and it must ask anew (catalogue 137, 194)."""
    session = await sign_up(front)
    for client in (FORUM, WIKI):
        await connect(front, session, client)
    forum, wiki = await front.grant(session), await front.grant(session, WIKI)
    mine, theirs = await front.posting(session), await front.posting(session, client=WIKI)
    await front.account.disconnect(session, FORUM, locale="en")
    assert not is_covered(front, FORUM)
    assert is_covered(front, WIKI)
    assert (await front.is_standing(forum), await front.is_standing(wiki)) == (False, True)
    assert front.told() == [(FORUM, session.sid)]
    states = [front.durable.tables.postings[one.id].state for one in (mine, theirs)]
    assert states == [PostState.CANCELLED, PostState.ASKED]


async def test_what_is_not_connected_cannot_be_disconnected(front: Front) -> None:
    session, other = await sign_up(front), await sign_up(front, "ben")
    await connect(front, other)
    before = dict(front.durable.tables.receipts)
    for client in (FORUM, WIKI, ClientId("unknown")):
        with pytest.raises(NotFound):
            await front.account.disconnect(session, client, locale="en")
        with pytest.raises(NotFound):
            await front.account.stop_sharing(session, client, EMAIL, locale="en")
    with pytest.raises(NotFound):
        await front.account.stop_sharing(other, FORUM, PICTURE, locale="en")
    assert front.durable.tables.receipts == before


# --- devices ------------------------------------------------------------------------------------------


async def test_one_other_device_can_be_signed_out(front: Front) -> None:
    here = (await front.person("ana")).started
    there = (await front.back(await front.leave(), "ana")).started  # type: ignore[union-attr]
    await front.account.end_device(here.session, there.session.sid)
    assert await front.sessions.load(there.secret) is None
    assert await front.sessions.load(here.secret) is not None


async def test_a_device_of_somebody_else_is_not_there(front: Front) -> None:
    ana, ben = (await front.person("ana")).started, (await front.person("ben")).started
    for sid in (ben.session.sid, Sid("unknown")):
        with pytest.raises(NotFound):
            await front.account.end_device(ana.session, sid)
    assert await front.sessions.load(ben.secret) is not None


# --- closing ------------------------------------------------------------------------------------------


async def test_closing_needs_a_fresh_sign_in(front: Front) -> None:
    session = await sign_up(front)
    with pytest.raises(FreshSignInRequired):
        await front.account.close(stale(session, FRESH + timedelta(seconds=1)))
    assert session.account in front.accounts


async def test_closing_erases_the_person_and_keeps_names_of_decisions(front: Front) -> None:
    """Profile, links, tokens, grants, posts, sessions: gone; every site told; receipts stay without a value
    (catalogue 110, 130, 194).
    """
    here = (await front.person("ana")).started
    there = (await front.back(await front.leave(), "ana")).started  # type: ignore[union-attr]
    await add_way(front, here.session)
    await connect(front, here.session)
    for one in (here, there):
        await front.grant(one.session)
    await front.posting(here.session)
    unit = front.durable.unit()
    unit.save_upstream_tokens(here.session.account, front.facebook.id, builders.upstream_tokens())
    await unit.commit()
    receipts = dict(front.durable.tables.receipts)
    await front.account.close(here.session)
    tables = front.durable.tables
    assert [tables.accounts, tables.links, tables.grants, tables.postings, tables.upstream_tokens] == [
        {},
        {},
        {},
        {},
        {},
    ]
    assert [await front.sessions.load(one.secret) for one in (here, there)] == [None, None]
    assert front.told() == sorted([(FORUM, here.session.sid), (FORUM, there.session.sid)])
    assert tables.receipts == receipts
    assert "ana@mail.test" not in repr(tables)


async def test_somebody_else_is_not_touched_by_it(front: Front) -> None:
    ana, ben = (await front.person("ana")).started, (await front.person("ben")).started
    grant = await front.grant(ben.session)
    await front.account.close(ana.session)
    assert set(front.accounts) == {ben.session.account}
    assert await front.sessions.load(ben.secret) is not None
    assert await front.is_standing(grant)


async def test_who_comes_back_after_closing_is_new(front: Front) -> None:
    """(catalogue 130)"""
    session = await sign_up(front)
    await front.account.close(session)
    with pytest.raises(SignInRequired):
        await front.account.load(session.account)
    carried = await front.new_person("ana")
    decided = await front.sign_up.decide(carried, ticked=frozenset(), edits={})
    again = await front.sign_up.create(decided, front.form("somebody"), session=None, user_agent=AGENT)
    assert isinstance(again, SignedIn)
    assert again.started.session.account != session.account
