"""Two accounts become one: which may, what is chosen between, and what never moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flows.front import identity
from tests.support.builders import NOW, account, link

from broker.domain.account import Account, AccountStatus, KeptNumber, Link, Passkey, ProfileValue, alone, is_alone
from broker.domain.claims import EMAIL, NAME, PICTURE, PREFERRED_USERNAME
from broker.domain.mail_code import BY_MAIL, new_key
from broker.domain.merging import (
    MERGE_WITHIN,
    Choice,
    Half,
    Side,
    both_known,
    differing,
    going_on,
    is_over,
    kept_numbers,
    keeps_picture,
    merge_problem,
    merged,
    merging_of,
    moving,
    placed,
    seen_of,
    taken_from,
    takes_address,
    too_many_passkeys,
)
from broker.domain.passkey import AT_MOST
from broker.domain.values import AccountId, ClaimName, ClientId

NICKNAME = ClaimName("nickname")
LATER = NOW + timedelta(hours=1)
NONE: frozenset[ClaimName] = frozenset()


def said(value: str, *, verified: bool = False) -> ProfileValue:
    return ProfileValue(value=value, source="person", verified=verified)


def person(called: str, **more: ProfileValue) -> Account:
    profile = {PREFERRED_USERNAME: said(called)} | {ClaimName(claim): held for claim, held in more.items()}
    return account(called, profile=profile, status=AccountStatus.ACTIVE, newsletters=("club",), locale="en")


def half(of: Account, *links: Link, sites: tuple[str, ...] = (), sectors: str | None = None) -> Half:
    """`sectors`: of the sites, one after the other; where they are more than the sectors, the rest is not set up."""
    key = links[0].key if links else identity(of.id).key
    known = tuple(map(ClientId, sites))
    named = dict(zip(known, (sectors or "").split(), strict=False))
    return Half(account=of, links=links, proved=key, sites=known, sectors=named)


def keeping(of: Account, **numbers: str) -> Account:
    """By sector, `account site site`."""
    kept = {}
    for sector, said_ in numbers.items():
        whose, *sites = said_.split()
        kept[sector] = KeptNumber(of=AccountId(whose), sites=tuple(map(ClientId, sites)))
    return replace(of, kept_numbers=kept)


def going(stays: Half, goes: Half, **numbers: Side) -> frozenset[str]:
    return going_on(stays, goes, Choice(stays=Side.THIS, fields={}, numbers=numbers, ways=frozenset(), seen=""))


ANA = person("ana", name=said("Ana"), email=said("ana@mail.test", verified=True), nickname=said("an"))
BEN = person("ben", name=said("Ben"), email=said("ben@mail.test", verified=True), picture=said("picture:b"))


def test_of_the_other_sign_in_only_who_it_was_is_left() -> None:
    waiting = merging_of(identity("ben"), AccountId("ben"), NOW)
    assert waiting.identity.key == identity("ben").key
    assert (waiting.identity.claims, waiting.identity.verified, waiting.identity.account_hint) == ({}, NONE, None)
    assert not is_over(waiting, NOW + MERGE_WITHIN)
    assert is_over(waiting, NOW + MERGE_WITHIN + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("this", "other", "has_role", "waits", "problem"),
    [
        (ANA, BEN, False, False, None),
        (replace(ANA, status=AccountStatus.HELD), BEN, False, False, "held"),
        (ANA, replace(BEN, status=AccountStatus.CLOSED), True, True, "held"),
        (ANA, BEN, True, True, "role"),
        (ANA, BEN, False, True, "waits"),
    ],
)
def test_some_accounts_are_not_merged(
    this: Account, other: Account, has_role: bool, waits: bool, problem: str | None
) -> None:
    assert merge_problem(this, other, has_role=has_role, waits=waits) == problem


def test_what_differs_is_chosen_between_and_the_user_name_is_not() -> None:
    """A user name belongs to its account for good."""
    assert differing(ANA, BEN) == (NAME, EMAIL, NICKNAME, PICTURE)
    assert differing(ANA, replace(ANA, id=AccountId("other"))) == ()


def test_what_is_taken_comes_as_it_is_and_what_is_not_stays() -> None:
    after = merged(ANA, BEN, frozenset({EMAIL, PICTURE, NICKNAME}), NONE, LATER)
    assert after.id == ANA.id
    assert after.profile == {
        PREFERRED_USERNAME: ANA.profile[PREFERRED_USERNAME],
        NAME: ANA.profile[NAME],
        EMAIL: BEN.profile[EMAIL],
        PICTURE: BEN.profile[PICTURE],
    }
    assert after.changed_at == LATER
    assert takes_address(ANA, after)
    assert not keeps_picture(ANA, after)
    kept = merged(ANA, BEN, NONE, NONE, LATER)
    assert kept == ANA
    assert not takes_address(ANA, kept)
    assert keeps_picture(ANA, kept)


def test_a_needed_field_is_never_lost() -> None:
    without = replace(ANA, profile={PREFERRED_USERNAME: said("ana")})
    needed = frozenset({NAME, EMAIL})
    assert merged(without, BEN, NONE, needed, LATER).profile[NAME] == BEN.profile[NAME]
    assert merged(BEN, without, frozenset({NAME}), needed, LATER).profile[NAME] == BEN.profile[NAME]
    assert PICTURE not in merged(without, BEN, NONE, needed, LATER).profile


def test_no_address_becomes_checked_that_was_not() -> None:
    """Whoever typed somebody's address into an account gains no proof of it by a merge (catalogue 116)."""
    typed = person("eve", email=said("ana@mail.test"))
    assert EMAIL not in merged(BEN, typed, frozenset({EMAIL}), NONE, LATER).verified
    assert EMAIL not in merged(typed, BEN, NONE, NONE, LATER).verified
    assert EMAIL in merged(typed, ANA, NONE, NONE, LATER).verified  # proved by who is proved to own both


def test_news_go_on_only_where_both_accounts_wanted_them() -> None:
    both = replace(ANA, newsletters=("club", "events"))
    assert merged(both, BEN, NONE, NONE, LATER).newsletters == ("club",)
    assert merged(both, replace(BEN, newsletters=()), NONE, NONE, LATER).newsletters == ()


def test_what_to_take_is_told_by_account() -> None:
    fields = {NAME: Side.OTHER, EMAIL: Side.THIS}
    choice = Choice(stays=Side.THIS, fields=fields, ways=frozenset(), seen="")
    assert taken_from(choice, (NAME, EMAIL, PICTURE)) == {NAME}
    assert taken_from(replace(choice, stays=Side.OTHER), (NAME, EMAIL, PICTURE)) == {EMAIL}
    assert taken_from(choice, ()) == NONE


def test_a_way_moves_if_it_was_just_used_or_is_ticked() -> None:
    """Whoever put a way into the account that goes, long before, gains nothing by it (catalogue 116)."""
    used, known, lurking = (link(BEN, id=name, key=identity(name).key) for name in ("used", "known", "lurking"))
    codes = link(BEN, id="codes", provider=BY_MAIL, key=new_key("x"))
    goes = half(BEN, used, known, lurking, codes)
    assert moving(goes, frozenset({"known", "codes"}), ANA) == (used, known)
    with_address = merged(ANA, BEN, frozenset({EMAIL}), NONE, LATER)
    assert moving(goes, frozenset({"known", "codes"}), with_address) == (used, known, codes)
    assert moving(half(BEN, codes), frozenset(), ANA) == ()


def test_passkeys_are_not_too_many_afterwards() -> None:
    key = Passkey(public_key=b"k", owner=b"o", counter=0, can_be_copied=False, is_copied=False)
    ours = tuple(link(ANA, id=f"a{n}", passkey=key) for n in range(AT_MOST))
    assert not too_many_passkeys(half(ANA, *ours), (link(BEN, passkey=None),))
    assert too_many_passkeys(half(ANA, *ours), (link(BEN, passkey=key),))
    assert not too_many_passkeys(half(ANA, *ours[1:]), (link(BEN, passkey=key),))


def test_whatever_the_page_showed_is_in_what_stands_for_it() -> None:
    this, other = half(ANA, link(ANA, id="x"), sites=("forum",)), half(BEN)
    seen = seen_of(this, other)
    assert seen == seen_of(this, other)
    others = {
        seen_of(other, this),
        seen_of(replace(this, account=replace(ANA, version=1)), other),
        seen_of(replace(this, links=()), other),
        seen_of(replace(this, sites=()), other),
        seen_of(replace(this, sectors={ClientId("forum"): "club"}), other),
    }
    assert seen not in others
    assert len(others) == 5


# --- numbers at sites -----------------------------------------------------------------------------------


def test_a_site_that_knew_one_of_the_two_goes_on_knowing_the_person() -> None:
    """By the number it had, whichever account stays; the account's other numbers are as they were."""
    ana = half(ANA, sites=("wiki",), sectors="wiki.test")
    ben = half(BEN, sites=("forum", "shop", "map"), sectors="forum.test forum.test map.test")
    assert both_known(ana, ben) == ()
    assert going(ana, ben) == {"forum.test", "map.test"}
    kept = kept_numbers(ana, ben, going(ana, ben))
    assert kept == keeping(ANA, **{"forum.test": "ben forum shop", "map.test": "ben map"}).kept_numbers
    after = replace(ANA, kept_numbers=kept)
    assert [after.number_at(name) for name in ("forum.test", "map.test", "wiki.test", "new.test")] == [
        "ben",
        "ben",
        "ana",
        "ana",
    ]
    assert going(ben, ana) == {"wiki.test"}


def test_where_a_site_knew_both_the_number_of_the_account_that_stays_is_kept_unless_chosen() -> None:
    ana = half(ANA, sites=("forum", "wiki"), sectors="club club")
    ben = half(BEN, sites=("forum", "shop"), sectors="club club")
    assert both_known(ana, ben) == ("club",)
    assert going(ana, ben) == going(ana, ben, club=Side.THIS) == NONE
    assert kept_numbers(ana, ben, frozenset()) == {}
    assert going(ana, ben, club=Side.OTHER) == {"club"}
    assert kept_numbers(ana, ben, frozenset({"club"})) == keeping(ANA, club="ben forum shop").kept_numbers


def test_a_choice_about_sites_that_know_one_alone_changes_nothing() -> None:
    """Nobody takes a number away from a site by naming it in a form."""
    ana, ben = half(ANA, sites=("wiki",), sectors="wiki"), half(BEN, sites=("forum",), sectors="forum")
    assert going(ana, ben, forum=Side.THIS, wiki=Side.OTHER, other=Side.OTHER) == {"forum"}


def test_numbers_go_on_through_one_merge_after_another() -> None:
    """The number is that of the account that the site knew first, of which nothing else is left."""
    ben = half(
        keeping(BEN, forum="zoe forum", shop="zoe shop"), sites=("forum", "shop", "map"), sectors="forum shop map"
    )
    ana = half(keeping(ANA, shop="yan shop", wiki="yan wiki"), sites=("shop", "wiki"), sectors="shop wiki")
    assert both_known(ana, ben) == ("shop",)
    kept = kept_numbers(ana, ben, going(ana, ben))
    after = keeping(ANA, shop="yan shop", wiki="yan wiki", forum="zoe forum", map="ben map")
    assert kept == after.kept_numbers
    chosen = kept_numbers(ana, ben, going(ana, ben, shop=Side.OTHER))
    assert chosen["shop"].of == "zoe"


def test_a_number_of_sites_that_are_not_set_up_for_now_is_not_lost() -> None:
    """And one site that moved to another sector is asked about there, not where it was."""
    ben = half(keeping(BEN, old="zoe gone", club="zoe forum"), sites=("gone", "forum"))
    moved = replace(ben, sectors={ClientId("forum"): "elsewhere"})
    assert ben.known_in == {"old": ("gone",), "club": ("forum",)}
    assert moved.known_in == {"old": ("gone",), "club": ("forum",), "elsewhere": ("forum",)}
    assert kept_numbers(half(ANA), ben, going(half(ANA), ben)) == ben.account.kept_numbers


def test_no_number_is_that_of_two_accounts() -> None:
    """Whatever is chosen, each sector has one number afterwards, and the other one is nobody's."""
    ben = half(keeping(BEN, forum="zoe forum"), sites=("forum", "wiki"), sectors="forum wiki")
    ana = half(keeping(ANA, wiki="yan wiki"), sites=("wiki", "forum"), sectors="wiki forum")
    for forum in Side:
        for wiki in Side:
            kept = kept_numbers(ana, ben, going(ana, ben, forum=forum, wiki=wiki))
            after = replace(ANA, kept_numbers=kept)
            assert after.number_at("forum") == ("zoe" if forum is Side.OTHER else "ana")
            assert after.number_at("wiki") == ("ben" if wiki is Side.OTHER else "yan")


def test_a_site_that_is_not_set_up_for_now_sees_the_same_person_when_it_comes_back() -> None:
    """It knew one of the two, so nobody is asked; what it knows stays for it alone, as nobody knows its sector."""
    forum = ClientId("forum")
    ana, ben = placed(half(ANA, sites=("wiki",), sectors="wiki"), half(BEN, sites=("wiki", "forum"), sectors="wiki"))
    assert both_known(ana, ben) == ("wiki",)
    after = replace(ANA, kept_numbers=kept_numbers(ana, ben, going(ana, ben)))
    assert (after.number_for(forum, "club"), after.number_for(ClientId("map"), "club")) == ("ben", "ana")
    assert after.number_for(ClientId("wiki"), "wiki") == "ana"


@pytest.mark.parametrize("side", Side)
def test_what_knew_both_and_is_not_set_up_keeps_the_number_of_the_account_that_stays(side: Side) -> None:
    """Nobody can be asked about it, and no form that names it changes anything."""
    forum = ClientId("forum")
    for ours, theirs in ((ANA, BEN), (keeping(ANA, club="yan forum"), BEN), (ANA, keeping(BEN, club="zoe forum"))):
        ana, ben = placed(half(ours, sites=("forum",)), half(theirs, sites=("forum",)))
        (place,) = ana.known_in
        assert (place,) == tuple(ben.known_in)
        if is_alone(place):
            assert both_known(ana, ben) == ()
            assert going(ana, ben, **{place: side}) == NONE
        after = replace(ours, kept_numbers=kept_numbers(ana, ben, going(ana, ben)))
        assert after.number_for(forum, "club") == ours.number_at("club")


def test_a_site_that_came_back_is_still_alone_in_the_next_merge() -> None:
    """Whichever of the two had it so, and whatever becomes of its sector."""
    lone = replace(
        BEN, kept_numbers={alone(ClientId("forum")): KeptNumber(of=AccountId("zoe"), sites=(ClientId("forum"),))}
    )
    ana, ben = placed(
        half(ANA, sites=("shop",), sectors="club"), half(lone, sites=("forum", "shop"), sectors="club club")
    )
    assert both_known(ana, ben) == ("club",)
    after = replace(ANA, kept_numbers=kept_numbers(ana, ben, going(ana, ben)))
    assert [after.number_for(ClientId(site), "club") for site in ("forum", "shop", "map")] == ["zoe", "ana", "ana"]
    ben, ana = placed(half(lone, sites=("forum",), sectors="club"), half(ANA, sites=("forum",), sectors="club"))
    assert going(ben, ana) == NONE
    assert going(ana, ben) == NONE


SITES = {
    ClientId(name): sector for name, sector in (("forum", "club"), ("wiki", "club"), ("shop", "shop"), ("map", "map"))
}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_two_accounts_ever_have_one_number_at_a_site(data: st.DataObject) -> None:
    """Whoever is merged into whom, in any order, whatever is chosen, and whichever sites are set up at each moment. A site
    that knew one of the two, and was always set up or is so for the first time again, goes on by the number it had; one that
    knew the account that stays has its number, unless the other one was chosen.
    """
    living = {name: person(name) for name in "abcd"}
    known: dict[str, set[ClientId]] = {name: set(data.draw(st.sets(st.sampled_from(sorted(SITES))))) for name in living}
    while len(living) > 1:
        stays, goes = data.draw(st.permutations(sorted(living)))[:2]
        up = {site for site in SITES if data.draw(st.booleans())}
        this, other = placed(
            *(
                Half(
                    account=living[name],
                    links=(),
                    proved=identity(name).key,
                    sites=tuple(
                        sorted({*known[name], *(s for k in living[name].kept_numbers.values() for s in k.sites)})
                    ),
                    sectors={site: SITES[site] for site in known[name] if site in up},
                )
                for name in (stays, goes)
            )
        )
        asked = {place: data.draw(st.sampled_from(Side)) for place in both_known(this, other)}
        ends = going(this, other, **asked)
        before, ours = living[goes], living[stays]
        living[stays] = replace(living[stays], kept_numbers=kept_numbers(this, other, ends))
        del living[goes]
        for site in known[goes] - known[stays]:
            if (place := other.sectors[site]) in ends and place in {SITES[site], alone(site)}:
                assert living[stays].number_for(site, SITES[site]) == before.number_at(place)
        for site in known[stays]:
            is_certain = site in up or all(map(is_alone, ours.kept_numbers))
            if is_certain and asked.get(this.sectors[site]) is not Side.OTHER:
                assert living[stays].number_for(site, SITES[site]) == ours.number_for(site, SITES[site])
        known[stays] |= {site for site in known[goes] if data.draw(st.booleans())}
        for site, sector in SITES.items():
            numbers = [account.number_for(site, sector) for account in living.values()]
            assert len(set(numbers)) == len(numbers)
