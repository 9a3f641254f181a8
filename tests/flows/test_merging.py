"""Merging two accounts of one person: proof of both, all or nothing, and nothing that widens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.front import AGENT, FACEBOOK, OPENID, Front, identity
from tests.flows.op import FORUM, WIKI
from tests.flows.test_account import connect
from tests.support import builders
from tests.support.passkeys import SoftKey

from broker.domain import tokens
from broker.domain.account import AccountStatus, KeptNumber, Link, ProfileValue
from broker.domain.audit import Act, Action
from broker.domain.claims import EMAIL, NAME, PICTURE
from broker.domain.consent import Purpose
from broker.domain.events import CHOICES, SECURITY_EVENT
from broker.domain.grant import Grant
from broker.domain.letters import Letter
from broker.domain.mail_code import BY_MAIL
from broker.domain.merging import MERGE_WITHIN, Choice, Side
from broker.domain.passkey import AT_MOST, BY_PASSKEY
from broker.domain.policy import Use
from broker.domain.ports import UnitOfWork
from broker.domain.posting import PostState, counterparty
from broker.domain.provider import Identified
from broker.domain.removal import RemovalState
from broker.domain.session import Session
from broker.domain.staff import Member, Role
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import AccountId, ClaimName, ClientId, IdentityKey, ProviderId
from broker.errors import (
    AccountHeld,
    FormInvalid,
    FreshSignInRequired,
    MergeNobody,
    MergeOfStaff,
    MergeSame,
    MergeWaits,
    NotFound,
    SignInExpired,
    SignInFinished,
    SignInRequired,
    WrongBrowser,
)
from broker.flows.account import AccountFlow
from broker.flows.audit import AuditTrail
from broker.flows.merging import FORM, Merged
from broker.flows.posting import Ended
from broker.flows.sign_in import OtherShown, SignedIn
from broker.flows.transactions import Carried

MERGE = TransactionPurpose.MERGE


@pytest.fixture
def front() -> Front:
    return Front()


async def pair(front: Front) -> tuple[Session, Session]:
    """Ana by Facebook, in this browser; and ben by OpenID, elsewhere. Both are the same person."""
    ben = (await front.person("ben", OPENID)).started.session
    return (await front.person("ana")).started.session, ben


async def show(front: Front, session: Session, who: str = "ben", provider: ProviderId = OPENID) -> Carried:
    outcome = await front.back(await front.leave(provider, MERGE, session), who, session=session)
    assert isinstance(outcome, OtherShown)
    return outcome.carried


async def choice(front: Front, shown: Carried, session: Session, **more: Any) -> Choice:
    both = await front.merging.look(shown.transaction, session)
    values: dict[str, Any] = {"stays": Side.THIS, "fields": {}, "ways": frozenset(), "seen": both.seen}
    return Choice(**(values | more))


async def merge(front: Front, shown: Carried, session: Session, chosen: Choice | None = None, **more: Any) -> Merged:
    chosen = chosen or await choice(front, shown, session, **more)
    return await front.merging.merge(shown.transaction, session, chosen, user_agent=AGENT, locale="en")


def letters(front: Front) -> list[tuple[str, str]]:
    return [
        (one.payload["letter"], one.payload["to"])
        for one in front.durable.tables.deliveries.values()
        if "letter" in one.payload
    ]


def events(front: Front, account: AccountId) -> list[tuple[str, str]]:
    return [
        (str(one.client), one.payload["event"])
        for one in front.durable.tables.deliveries.values()
        if one.kind == SECURITY_EVENT and one.payload["account"] == account
    ]


def payloads(front: Front) -> list[Mapping[str, str]]:
    return [one.payload for one in front.durable.tables.deliveries.values()]


def kept(front: Front) -> tuple[Any, ...]:
    """Everything that a refusal leaves as it was."""
    tables = front.durable.tables
    return tables.accounts, tables.links, tables.receipts, tables.grants, letters(front), tables.audit


# --- done ---------------------------------------------------------------------------------------------


async def test_of_two_accounts_one_is_left_that_both_ways_open(front: Front) -> None:
    """(catalogue 116)"""
    front.clients[FORUM] = replace(front.clients[FORUM], security_events=frozenset(CHOICES))
    ana, ben = await pair(front)
    await connect(front, ben, FORUM, id="ben-forum")
    await connect(front, ana, WIKI, id="ana-wiki")
    theirs, ours = await front.grant(ben, id="of-ben"), await front.grant(ana, WIKI, id="of-ana")
    shown = await show(front, ana)
    assert front.openid.attempts[-1].fresh
    both = await front.merging.look(shown.transaction, ana)
    assert (both.this.sites, both.other.sites) == ((WIKI,), (FORUM,))
    assert both.fields == (NAME, EMAIL, PICTURE)
    done = await merge(front, shown, ana, fields={NAME: Side.OTHER})
    assert (done.stays, done.started) == (ana.account, None)

    assert set(front.accounts) == {ana.account}
    profile = front.accounts[ana.account].profile
    assert (profile[NAME].value, profile[EMAIL].value) == ("Ben Marković", "ana@mail.test")
    for provider, name in ((FACEBOOK, "ana"), (OPENID, "ben")):
        known = await front.back(await front.leave(provider), name)
        assert isinstance(known, SignedIn)
        assert known.started.session.account == ana.account
    assert await front.sessions.sessions.of_account(ben.account, front.clock.now()) == ()
    assert await front.sessions.sessions.by_digest(ana.secret_digest, front.clock.now()) is not None
    assert not await front.is_standing(theirs)
    assert await front.is_standing(ours)
    assert letters(front) == [("merged", "ana@mail.test"), ("merged_away", "ben@mail.test")]
    assert events(front, ben.account) == [(FORUM, "session-revoked"), (FORUM, "credential-change")]
    (entry,) = [one async for one in front.trail.entries()]
    assert (entry.action, entry.subject) == (Action.ACCOUNTS_MERGED, f"{ana.account} {ben.account}")
    receipts = await front.durable.ledger.receipts(ana.account)
    assert {one.counterparty for one in receipts if one.purpose is Purpose.SHARE_WITH_CLIENT} == {WIKI}


async def test_the_other_account_may_be_the_one_that_stays(front: Front) -> None:
    """This browser is signed in to it then, and what it had before opens nothing."""
    ana, ben = await pair(front)
    before = (await front.durable.pictures.load(ana.account)).jpeg  # type: ignore[union-attr]
    shown = await show(front, ana)
    fields: Mapping[ClaimName, Side] = {EMAIL: Side.THIS, PICTURE: Side.THIS}
    done = await merge(front, shown, ana, stays=Side.OTHER, fields=fields)
    assert done.started is not None
    assert done.started.session.account == done.stays == ben.account
    assert set(front.accounts) == {ben.account}
    assert {link.account for link in front.links} == {ben.account}
    assert await front.sessions.sessions.by_digest(ana.secret_digest, front.clock.now()) is None
    account = front.accounts[ben.account]
    assert account.verified == {EMAIL}
    assert (account.profile[EMAIL].value, account.profile[NAME].value) == ("ana@mail.test", "Ben Marković")
    assert (await front.durable.pictures.load(ben.account)).jpeg == before  # type: ignore[union-attr]


async def test_a_picture_that_is_not_wanted_goes(front: Front) -> None:
    ana, ben = await pair(front)
    await front.account.change(ben.account, PICTURE, "")
    await merge(front, await show(front, ana), ana, fields={PICTURE: Side.OTHER})
    assert PICTURE not in front.accounts[ana.account].profile
    assert await front.durable.pictures.load(ana.account) is None


async def test_the_page_can_show_the_other_picture(front: Front) -> None:
    ana, ben = await pair(front)
    shown = await show(front, ana)
    picture = await front.merging.picture(shown.transaction, ana)
    assert picture == await front.durable.pictures.load(ben.account)
    await front.account.change(ben.account, PICTURE, "")
    with pytest.raises(NotFound):
        await front.merging.picture(shown.transaction, ana)


async def test_what_every_account_needs_is_there_afterwards(front: Front) -> None:
    ana, _ = await pair(front)
    account = front.accounts[ana.account]
    await front.save(replace(account, profile={k: v for k, v in account.profile.items() if k != NAME}))
    assert front.fields[NAME].use is Use.NEEDED
    await merge(front, await show(front, ana), ana, fields={NAME: Side.THIS})
    assert front.accounts[ana.account].profile[NAME].value == "Ben Marković"


# --- numbers at sites -----------------------------------------------------------------------------------

KEY = b"s" * 32


def hearing(front: Front) -> None:
    """Forum and wiki hear of everything."""
    for site in (FORUM, WIKI):
        front.clients[site] = replace(front.clients[site], security_events=frozenset(CHOICES))


def number(front: Front, account: AccountId, site: ClientId = FORUM) -> str:
    """The person's number at a site, as it is computed for whoever signs in there now."""
    client = front.clients[site]
    return tokens.subject_for(front.accounts[account].number_for(site, client.subject_sector), client, KEY)


async def test_a_site_that_knew_the_account_that_went_sees_the_same_person(front: Front) -> None:
    """It hears that the session is over and that other ways stand behind that number, never that the number is over."""
    hearing(front)
    ana, ben = await pair(front)
    await front.back(await front.leave(FACEBOOK, TransactionPurpose.LINK, ben), "eve", session=ben)
    await connect(front, ben, FORUM)
    await front.grant(ben)
    before, wiki = number(front, ben.account), number(front, ana.account, WIKI)
    await merge(front, await show(front, ana), ana)
    assert number(front, ana.account) == before
    assert number(front, ana.account, WIKI) == wiki
    assert front.accounts[ana.account].kept_numbers == {"forum.test": KeptNumber(of=ben.account, sites=(FORUM,))}
    told = [one.payload for one in front.durable.tables.deliveries.values() if one.kind == SECURITY_EVENT]
    assert [(one["event"], one["account"], one.get("change")) for one in told[-3:]] == [
        ("session-revoked", ben.account, None),
        ("credential-change", ben.account, "create"),
        ("credential-change", ben.account, "revoke"),
    ]
    assert not any("sites" in one for one in payloads(front))


async def test_a_site_that_knew_both_keeps_the_number_of_the_account_that_stays(front: Front) -> None:
    """The other one is over: the site hears so, and so does the person."""
    hearing(front)
    ana, ben = await pair(front)
    for session in (ana, ben):
        await connect(front, session, FORUM, id=f"forum-{session.account}")
    ours = await front.grant(ana, id="of-ana")
    before = number(front, ana.account)
    shown = await show(front, ana)
    assert (await front.merging.look(shown.transaction, ana)).sectors == ("forum.test",)
    await merge(front, shown, ana)
    assert number(front, ana.account) == before
    assert front.accounts[ana.account].kept_numbers == {}
    assert await front.is_standing(ours)
    assert events(front, ben.account) == [(FORUM, "account-purged")]
    assert events(front, ana.account) == [(FORUM, "credential-change")]
    assert {one.get("letter"): one.get("sites") for one in payloads(front) if "letter" in one} == {
        "merged": None,
        "merged_away": "Forum",
    }


async def test_a_site_that_knew_both_goes_on_by_the_number_that_was_chosen(front: Front) -> None:
    """What it held of the other number ends: no token ever speaks of two, and nobody has that number any more."""
    hearing(front)
    ana, ben = await pair(front)
    for session in (ana, ben):
        await connect(front, session, FORUM, id=f"forum-{session.account}")
    await connect(front, ana, WIKI)
    ended, stays = await front.grant(ana, id="of-ana"), await front.grant(ana, WIKI, id="of-wiki")
    before, wiki = number(front, ben.account), number(front, ana.account, WIKI)
    assert await front.durable.streams.remove_subject(FORUM, number(front, ben.account), 9)
    await merge(front, await show(front, ana), ana, numbers={"forum.test": Side.OTHER})
    assert (number(front, ana.account), number(front, ana.account, WIKI)) == (before, wiki)
    assert not await front.is_standing(ended)
    assert await front.is_standing(stays)
    assert events(front, ana.account) == [
        (FORUM, "session-revoked"),
        (FORUM, "account-purged"),
        (WIKI, "credential-change"),
    ]
    assert events(front, ben.account) == [], "out of the stream of the forum, and that stays so"
    assert await front.durable.streams.is_removed(FORUM, before)
    assert {one.get("letter"): one.get("sites") for one in payloads(front) if "letter" in one} == {
        "merged": "Forum",
        "merged_away": None,
    }
    await front.account.close(ana)
    assert (FORUM, "account-purged") not in events(front, ben.account), "out of the stream to the end"


@pytest.mark.parametrize("site", [FORUM, WIKI])
async def test_a_grant_given_in_that_moment_speaks_of_no_other_number(front: Front, site: ClientId) -> None:
    """A site of theirs gets something of the account that stays between looking and saving (catalogue 83).

    Also the wiki, which knew neither of the two, and knows people by the same numbers as the forum.
    """
    front.clients[WIKI] = replace(front.clients[WIKI], sector="forum.test")
    ana, ben = await pair(front)
    await connect(front, ben, FORUM)
    shown = await show(front, ana)
    chosen = await choice(front, shown, ana)
    prepared = front.merging.account.queue_erasure
    late: list[Grant] = []

    class _Slow(AccountFlow):
        async def queue_erasure(self, *args: Any, **more: Any) -> Ended:
            done = await prepared(*args, **more)
            late.append(await front.grant(ana, site))
            return done

    values = {name: getattr(front.account, name) for name in AccountFlow.__dataclass_fields__}
    flow = replace(front.merging, account=_Slow(**values))
    await flow.merge(shown.transaction, ana, chosen, user_agent=AGENT, locale="en")
    assert not await front.is_standing(late[0])


async def test_numbers_go_on_through_merges_and_end_with_the_account(front: Front) -> None:
    """Every site that ever knew one of the accounts hears when the last of them is erased, by the number it knows."""
    hearing(front)
    ana, ben = await pair(front)
    eve = (await front.person("eve")).started.session
    await connect(front, eve, FORUM, id="eve-forum")
    await connect(front, ben, WIKI, id="ben-wiki")
    forum, wiki = number(front, eve.account), number(front, ben.account, WIKI)
    await merge(front, await show(front, ben, "eve", FACEBOOK), ben)
    assert await front.durable.accounts.load(eve.account) is None
    shown = await show(front, ana)
    assert (await front.merging.look(shown.transaction, ana)).other.sites == (WIKI, FORUM)
    await merge(front, shown, ana)
    assert (number(front, ana.account), number(front, ana.account, WIKI)) == (forum, wiki)
    await front.account.close(ana)
    assert (events(front, eve.account)[-1], events(front, ben.account)[-1]) == (
        (FORUM, "account-purged"),
        (WIKI, "account-purged"),
    )
    assert front.accounts == {}


async def test_a_site_that_is_not_set_up_any_more_is_nobody_to_ask_about(front: Front) -> None:
    hearing(front)
    ana, ben = await pair(front)
    for session in (ana, ben):
        await connect(front, session, FORUM, id=f"forum-{session.account}")
    del front.clients[FORUM]
    shown = await show(front, ana)
    assert (await front.merging.look(shown.transaction, ana)).sectors == ()
    await merge(front, shown, ana)
    assert front.accounts[ana.account].kept_numbers == {}


async def test_a_site_that_was_not_set_up_meanwhile_sees_the_same_person(front: Front) -> None:
    """Also at its stream of events, through a second merge, and to the end."""
    hearing(front)
    ana, ben = await pair(front)
    eve = (await front.person("eve")).started.session
    await connect(front, ben, FORUM, id="ben-forum")
    before, forum = number(front, ben.account), front.clients.pop(FORUM)
    shown = await show(front, ana)
    assert (await front.merging.look(shown.transaction, ana)).sectors == ()
    await merge(front, shown, ana)
    front.clients[FORUM] = forum
    assert number(front, ana.account) == before
    given = await front.grant(ana)
    await connect(front, ana, FORUM, id="ana-forum")
    shown = await show(front, eve, "ben")
    assert (await front.merging.look(shown.transaction, eve)).sectors == ()
    await merge(front, shown, eve)
    assert number(front, eve.account) == before
    assert not await front.is_standing(given)
    assert (FORUM, "account-purged") not in events(front, ben.account)
    await front.account.close(eve)
    assert events(front, ben.account)[-1] == (FORUM, "account-purged")


async def test_a_site_that_was_not_set_up_keeps_the_number_of_the_account_that_stays(front: Front) -> None:
    """Also where another site goes on by the other number, and it comes back as one of the same sector."""
    hearing(front)
    front.clients[WIKI] = replace(front.clients[WIKI], sector="forum.test")
    ana, ben = await pair(front)
    await connect(front, ana, FORUM, id="ana-forum")
    await connect(front, ben, WIKI, id="ben-wiki")
    given = await front.grant(ana)
    ours, theirs, forum = number(front, ana.account), number(front, ben.account, WIKI), front.clients.pop(FORUM)
    await merge(front, await show(front, ana), ana)
    front.clients[FORUM] = forum
    assert (number(front, ana.account), number(front, ana.account, WIKI)) == (ours, theirs)
    assert front.accounts[ana.account].sites_from_before == {WIKI}
    assert await front.is_standing(given)
    await front.account.close(ana)
    assert (events(front, ana.account)[-1], events(front, ben.account)[-1]) == (
        (FORUM, "account-purged"),
        (WIKI, "account-purged"),
    )


async def test_no_site_hears_that_a_number_is_over_by_which_it_goes_on(front: Front) -> None:
    """The forum knew one account alone, from when it was not set up; the wiki of its sector goes on by that one's number."""
    hearing(front)
    front.clients[WIKI] = replace(front.clients[WIKI], sector="forum.test")
    ana, ben = await pair(front)
    eve = (await front.person("eve")).started.session
    await connect(front, ben, FORUM, id="ben-forum")
    forum = front.clients.pop(FORUM)
    await merge(front, await show(front, eve), eve)
    front.clients[FORUM] = forum
    await connect(front, eve, WIKI, id="eve-wiki")
    await connect(front, ana, FORUM, id="ana-forum")
    given = await front.grant(ana)
    ours, theirs = number(front, ana.account), number(front, eve.account, WIKI)
    shown = await show(front, ana, "eve", FACEBOOK)
    assert (await front.merging.look(shown.transaction, ana)).sectors == ()
    await merge(front, shown, ana)
    assert (number(front, ana.account), number(front, ana.account, WIKI)) == (ours, theirs)
    assert await front.is_standing(given)
    assert (FORUM, "account-purged") not in events(front, ana.account)
    assert events(front, ben.account)[-1] == (FORUM, "account-purged"), "of the number that is over there"
    assert (WIKI, "account-purged") not in events(front, eve.account)


# --- what never widens --------------------------------------------------------------------------------


async def test_posting_is_off_afterwards_on_both_sides(front: Front) -> None:
    """An opt-in moves to nobody, and what waits is not posted."""
    ana, ben = await pair(front)
    for session in (ana, ben):
        await connect(
            front,
            session,
            id=f"posting-{session.account}",
            purpose=Purpose.POST_UPSTREAM,
            counterparty=counterparty(session.provider, FORUM),
        )
    waiting = await front.posting(ana, state=PostState.ASKED)
    shown = await show(front, ana)
    await merge(front, shown, ana)
    assert await front.gate.switches(ana.account) == ()
    assert (await front.durable.postings.load(waiting.id)).state is PostState.CANCELLED  # type: ignore[union-attr]


async def test_a_lurking_way_gains_nothing(front: Front) -> None:
    """Somebody linked theirs to an account long before its owner merges it: it opens nothing then (catalogue 116)."""
    ana, ben = await pair(front)
    await front.back(await front.leave(FACEBOOK, TransactionPurpose.LINK, ben), "eve", session=ben)
    await merge(front, await show(front, ana), ana)
    assert {link.key.subject for link in front.links} == {"subject-of-ana", "subject-of-ben"}


async def test_a_way_that_is_known_comes_along_when_ticked(front: Front) -> None:
    ana, ben = await pair(front)
    await front.back(await front.leave(FACEBOOK, TransactionPurpose.LINK, ben), "ben-too", session=ben)
    shown = await show(front, ana)
    ticked = frozenset(link.id for link in front.links)
    await merge(front, shown, ana, ways=ticked)
    assert len(await front.durable.accounts.links(ana.account)) == 3


async def test_no_address_becomes_proved_by_a_merge(front: Front) -> None:
    """An attacker's account with the victim's address, typed and never proved (catalogue 116)."""
    ana, ben = await pair(front)
    await front.account.change(ben.account, EMAIL, "victim@mail.test")
    await merge(front, await show(front, ana), ana, fields={EMAIL: Side.OTHER})
    assert front.accounts[ana.account].profile[EMAIL] == ProfileValue(value="victim@mail.test", source="person")
    assert await front.durable.accounts.by_email("victim@mail.test") is None


async def test_an_address_that_gives_way_has_a_way_back(front: Front) -> None:
    """Whoever was in the account and merged theirs into it is out again, ways and all (catalogue 117)."""
    ana, _ = await pair(front)
    await front.mail_code.add(ana, locale="en")
    await merge(front, await show(front, ana), ana, fields={EMAIL: Side.OTHER})
    assert {link.provider for link in front.links} == {FACEBOOK, OPENID}
    assert front.accounts[ana.account].profile[EMAIL].value == "ben@mail.test"
    (undo,) = [
        one.payload
        for one in front.durable.tables.deliveries.values()
        if one.payload.get("letter") == "address_changed"
    ]
    assert undo["to"] == "ana@mail.test"
    await front.address.undo_change(undo["token"])
    assert front.accounts[ana.account].profile[EMAIL].value == "ana@mail.test"
    assert {link.provider for link in front.links} == {FACEBOOK, BY_MAIL}


# --- proof of both ------------------------------------------------------------------------------------


async def code_for(front: Front, carried: Carried, address: str) -> tuple[Carried, str]:
    sent = await front.mail_code.send(carried, address, session=None, network="192.0.2.1")
    codes = [
        one.payload["code"]
        for one in front.durable.tables.deliveries.values()
        if one.payload.get("letter") == Letter.SIGN_IN_CODE
    ]
    return sent, codes[-1]


@pytest.mark.parametrize("moves", [True, False])
async def test_a_code_by_e_mail_shows_the_other_account_and_moves_with_its_address(front: Front, moves: bool) -> None:
    ana, ben = await pair(front)
    await front.mail_code.add(ben, locale="en")
    begun = await front.box.hold(front.transaction(MERGE, ana))
    sent, code = await code_for(front, begun, "ben@mail.test")
    outcome = await front.mail_code.redeem(sent, code, session=ana, user_agent=AGENT)
    assert isinstance(outcome, OtherShown)
    assert outcome.carried.transaction.code_to is None
    await merge(front, outcome.carried, ana, fields={EMAIL: Side.OTHER if moves else Side.THIS})
    assert {link.provider for link in front.links} == ({FACEBOOK, BY_MAIL} if moves else {FACEBOOK})


async def test_codes_that_end_with_their_address_still_let_this_browser_in(front: Front) -> None:
    """The account that stays was shown by a code to the address that it gives up."""
    ana, ben = await pair(front)
    await front.mail_code.add(ben, locale="en")
    sent, code = await code_for(front, await front.box.hold(front.transaction(MERGE, ana)), "ben@mail.test")
    outcome = await front.mail_code.redeem(sent, code, session=ana, user_agent=AGENT)
    assert isinstance(outcome, OtherShown)
    done = await merge(front, outcome.carried, ana, stays=Side.OTHER, fields={EMAIL: Side.THIS})
    assert done.started is not None
    assert (done.started.session.account, done.started.session.key) == (ben.account, ana.key)


async def test_no_provider_is_ever_shown_what_another_one_said(front: Front) -> None:
    """The way that was shown is gone in the moment of the merge: with the other way goes its own ID token."""
    ana, ben = await pair(front)
    ana = replace(ana, id_token="said by ana's provider")
    await front.sessions.sessions.save(ana)
    carried = await show(front, ana)
    merging = carried.transaction.merging
    assert merging is not None
    kept = replace(merging, identity=replace(merging.identity, id_token="said by ben's provider"))
    carried = await front.box.hold(replace(carried.transaction, merging=kept), carried)
    look, gone = front.durable.accounts.by_identity, merging.identity.key

    async def after_it(key: IdentityKey) -> object:
        is_merged = await front.durable.accounts.load(ana.account) is None
        return None if key == gone and is_merged else await look(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front.durable.accounts, "by_identity", after_it)
        done = await merge(front, carried, ana, stays=Side.OTHER)
    assert done.started is not None
    session = done.started.session
    assert (session.account, session.key, session.id_token) == (ben.account, ana.key, ana.id_token)


async def test_a_passkey_shows_the_other_account(front: Front) -> None:
    ana, ben = await pair(front)
    key = SoftKey()
    making = await front.passkeys.begin(ben)
    answer = key.make(making.challenge, making.owner)
    await front.passkeys.add(ben, answer, name="Phone", user_agent=AGENT, locale="en")
    begun = await front.box.hold(front.transaction(MERGE, ana))
    used = key.use(front.passkeys.challenge(begun.transaction))
    outcome = await front.passkeys.enter(begun, used, session=ana, user_agent=AGENT)
    assert isinstance(outcome, OtherShown)
    front.clients[FORUM] = replace(front.clients[FORUM], security_events=frozenset(CHOICES))
    await connect(front, ana, FORUM)
    await merge(front, outcome.carried, ana)
    assert {link.provider for link in front.links} == {FACEBOOK, BY_PASSKEY}
    told = [one.payload for one in front.durable.tables.deliveries.values() if "credential" in one.payload]
    assert [(one["account"], one["credential"]) for one in told] == [(ana.account, "fido2-platform")]


async def test_there_are_never_more_passkeys_than_there_may_be(front: Front) -> None:
    ana, ben = await pair(front)
    for session, count in ((ana, AT_MOST), (ben, 1)):
        for _ in range(count):
            making = await front.passkeys.begin(session)
            await front.passkeys.add(
                session, SoftKey().make(making.challenge, making.owner), name="Key", user_agent=AGENT, locale="en"
            )
    before = kept(front)
    with pytest.raises(FormInvalid) as refused:
        await merge(front, await show(front, ana), ana, ways=frozenset(link.id for link in front.links))
    assert refused.value.fields == {FORM: "passkeys"}
    assert kept(front) == before


async def test_nobody_known_is_nobody_to_merge_with(front: Front) -> None:
    """And what they granted there is taken back."""
    ana, _ = await pair(front)
    with pytest.raises(MergeNobody):
        await front.back(await front.leave(OPENID, MERGE, ana), "nobody", session=ana)
    assert front.openid.tokens["nobody"] in front.openid.revoked


async def test_an_account_is_not_merged_with_itself(front: Front) -> None:
    ana, _ = await pair(front)
    with pytest.raises(MergeSame):
        await front.back(await front.leave(FACEBOOK, MERGE, ana), "ana", session=ana)


async def test_an_account_on_hold_is_not_shown(front: Front) -> None:
    ana, ben = await pair(front)
    await front.save(replace(front.accounts[ben.account], status=AccountStatus.HELD))
    with pytest.raises(AccountHeld):
        await front.back(await front.leave(OPENID, MERGE, ana), "ben", session=ana)


async def test_the_other_sign_in_is_for_the_browser_and_the_session_that_began(front: Front) -> None:
    """(catalogue 122)"""
    ana, ben = await pair(front)
    for session, error in ((None, SignInRequired), (ben, WrongBrowser)):
        with pytest.raises(error):
            await front.back(await front.leave(OPENID, MERGE, ana), "ben", session=session)
    left = await front.leave(OPENID, MERGE, ana)
    front.clock.move(timedelta(minutes=11))
    with pytest.raises(SignInExpired):
        await front.back(left, "ben", session=ana)
    shown = await show(front, ana)
    for session, error in ((None, SignInRequired), (ben, WrongBrowser)):
        with pytest.raises(error):
            await front.merging.look(shown.transaction, session)
    await front.sessions.sessions.end(ana.sid)
    with pytest.raises(SignInRequired):
        await front.merging.look(shown.transaction, ana)


async def test_both_proofs_are_minutes_old_at_most(front: Front) -> None:
    ana, _ = await pair(front)
    front.clock.move(timedelta(minutes=6))
    shown = await show(front, ana)
    chosen = await choice(front, shown, ana)
    front.clock.move(timedelta(minutes=5))
    before = kept(front)
    with pytest.raises(FreshSignInRequired):
        await merge(front, shown, ana, chosen)
    front.clock.move(MERGE_WITHIN)
    with pytest.raises(SignInExpired):
        await merge(front, shown, ana, chosen)
    with pytest.raises(SignInExpired):
        await front.merging.look(front.transaction(MERGE, ana), ana)
    assert kept(front) == before


async def test_another_try_forgets_the_account_that_was_shown(front: Front) -> None:
    ana, _ = await pair(front)
    left = await front.sign_in.begin(await show(front, ana), OPENID)
    assert left.carried.transaction.merging is None


# --- refused, with nothing lost -----------------------------------------------------------------------


@pytest.mark.parametrize("side", [0, 1])
async def test_what_is_on_hold_or_in_review_or_helps_to_run_it_is_not_merged(front: Front, side: int) -> None:
    sessions = await pair(front)
    ana, whose = sessions[0], sessions[side].account
    shown = await show(front, ana)
    chosen = await choice(front, shown, ana)
    unit = front.durable.unit()
    unit.put_member(Member(account=whose, role=Role.SUPPORT, since=front.clock.now()))
    await unit.commit()
    before = kept(front)
    with pytest.raises(MergeOfStaff):
        await merge(front, shown, ana, chosen)
    assert kept(front) == before
    unit = front.durable.unit()
    unit.drop_member(whose)
    unit.put_removal(builders.removal(code="c", account=whose, state=RemovalState.WAITING), over=None)
    await unit.commit()
    before = kept(front)
    with pytest.raises(MergeWaits):
        await merge(front, shown, ana, chosen)
    assert kept(front) == before
    await front.save(replace(front.accounts[whose], status=AccountStatus.HELD))
    with pytest.raises(AccountHeld):
        await merge(front, shown, ana, chosen)


async def test_a_role_that_is_given_in_this_very_moment_is_not_lost(front: Front) -> None:
    """Whoever helps to run the service is seen by the merge, or the merge by who gives the role (catalogue 176)."""

    class Overtaken(AuditTrail):
        async def prepared(self, action: Action, subject: str, act: Act) -> Callable[[UnitOfWork], None]:
            unit = front.durable.unit()
            unit.put_member(Member(account=ben.account, role=Role.OWNER, since=front.clock.now()))
            await unit.commit()
            return await super().prepared(action, subject, act)

    ana, ben = await pair(front)
    shown = await show(front, ana)
    chosen = await choice(front, shown, ana)
    trail = Overtaken(durable=front.durable, clock=front.clock, key=b"a" * 32)
    flow = replace(front.merging, trail=trail)
    with pytest.raises(MergeOfStaff):
        await flow.merge(shown.transaction, ana, chosen, user_agent=AGENT, locale="en")
    assert set(front.accounts) == {ana.account, ben.account}
    assert [one.account for one in await front.durable.staff.all()] == [ben.account]


async def test_what_changed_since_the_page_is_looked_at_again(front: Front) -> None:
    ana, ben = await pair(front)
    shown = await show(front, ana)
    chosen = await choice(front, shown, ana)
    await front.account.change(ben.account, NAME, "Benjamin")
    before = kept(front)
    with pytest.raises(FormInvalid) as refused:
        await merge(front, shown, ana, chosen)
    assert refused.value.fields == {FORM: "changed"}
    assert kept(front) == before


async def test_a_second_click_finds_it_done(front: Front) -> None:
    """(catalogue 177)"""
    ana, _ = await pair(front)
    shown = await show(front, ana)
    chosen = await choice(front, shown, ana)
    await merge(front, shown, ana, chosen)
    before = kept(front)
    with pytest.raises(SignInFinished):
        await merge(front, shown, ana, chosen)
    assert kept(front) == before


async def test_of_two_at_once_one_wins(front: Front) -> None:
    """Also where each is to go into the other (catalogue 176)."""
    ana, ben = await pair(front)
    one, two = await show(front, ana), await show(front, ben, "ana", FACEBOOK)
    chosen = [(one, ana, await choice(front, one, ana)), (two, ben, await choice(front, two, ben))]
    ends = await asyncio.gather(
        *(merge(front, shown, session, choice_) for shown, session, choice_ in [*chosen, chosen[0]]),
        return_exceptions=True,
    )
    assert sum(isinstance(end, Merged) for end in ends) == 1
    assert all(isinstance(end, Merged | SignInFinished | SignInRequired) for end in ends), ends
    assert len(front.accounts) == 1
    assert len(front.links) == 2


async def test_a_way_or_an_account_that_went_meanwhile_is_not_merged(front: Front) -> None:
    ana, ben = await pair(front)
    shown = await show(front, ana)
    await front.account.close(ben)
    with pytest.raises(MergeNobody):
        await front.merging.look(shown.transaction, ana)
    decided = await front.sign_up.decide(await front.new_person("ben", OPENID), ticked=frozenset(), edits={})
    await front.sign_up.create(decided, front.form("benny"), session=None, user_agent=AGENT)
    with pytest.raises(MergeNobody):
        await front.merging.look(shown.transaction, ana)


async def test_an_account_that_goes_between_two_looks_is_asked_to_sign_in(front: Front) -> None:
    ana, _ = await pair(front)
    shown = await show(front, ana)
    front.durable.tables.accounts.pop(ana.account)
    with pytest.raises(SignInRequired):
        await front.merging.look(shown.transaction, ana)


async def test_a_way_taken_away_in_that_moment_is_not_brought_back(front: Front) -> None:
    """Whoever removes a way wants it out: it does not open the other account by a merge that began before."""
    ana, ben = await pair(front)
    await front.back(await front.leave(FACEBOOK, TransactionPurpose.LINK, ben), "ben-too", session=ben)
    shown = await show(front, ana)
    extra = next(link for link in front.links if link.key == identity("ben-too").key)
    chosen = await choice(front, shown, ana, ways=frozenset({extra.id}))
    prepared = front.merging.trail.prepared
    done: list[Link] = []

    class _Slow:
        """Between looking and saving, the way goes."""

        async def prepared(self, *args: Any) -> Any:
            if not done:
                done.append(await front.account.unlink(ben, extra.id))
            return await prepared(*args)

    flow = replace(front.merging, trail=_Slow())  # type: ignore[arg-type]
    with pytest.raises(FormInvalid) as refused:
        await flow.merge(shown.transaction, ana, chosen, user_agent=AGENT, locale="en")
    assert refused.value.fields == {FORM: "changed"}
    assert len(front.accounts) == 2


async def test_where_nobody_is_written_to_it_works_as_well(front: Front) -> None:
    ana, _ = await pair(front)
    flow = replace(front.merging, account=replace(front.account, address=None))
    shown = await show(front, ana)
    chosen = await choice(front, shown, ana, fields={EMAIL: Side.OTHER})
    await flow.merge(shown.transaction, ana, chosen, user_agent=AGENT, locale="en")
    assert front.accounts[ana.account].profile[EMAIL].value == "ben@mail.test"


async def test_a_trial_or_another_sign_in_shows_nothing_to_merge(front: Front) -> None:
    ana, _ = await pair(front)
    with pytest.raises(WrongBrowser):
        await front.sign_in.show_other(
            await front.box.hold(front.transaction()), Identified(identity=identity("ben"), tokens=None), ana
        )
