"""Accounts: links, and user names that nobody can mistake."""

from __future__ import annotations

import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import builders

from broker.domain.account import (
    PLACE_LENGTH,
    RESERVED_USER_NAMES,
    USER_NAME_MAX,
    USER_NAME_MIN,
    NamedBy,
    Places,
    check_may_unlink,
    from_provider,
    suggest_user_names,
    user_name_key,
    user_name_problem,
    ways_since,
)
from broker.domain.claims import EMAIL
from broker.domain.values import AccountId, IdentityKey, ProviderId
from broker.errors import LastLink

ME = AccountId("me")


# --- telling ways apart ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named_by", "issuer", "subject", "place"),
    [
        (NamedBy.ISSUER, "https://social.example", "https://social.example/users/ana", "social.example"),
        (NamedBy.ISSUER, "https://id.example/realms/club", "4711", "id.example/realms/club"),
        (NamedBy.ISSUER, "http://localhost:9311", "4711", "localhost:9311"),
        (NamedBy.SUBJECT, "http://specs.openid.net/auth/2.0", "https://ana.example/#a1b2", "ana.example"),
        (NamedBy.SUBJECT, "http://specs.openid.net/auth/2.0", "https://id.example/?user=ana", "id.example/?user=ana"),
        (NamedBy.SUBJECT, "http://specs.openid.net/auth/2.0", "=ana", "=ana"),
        (NamedBy.SUBJECT, "http://specs.openid.net/auth/2.0", "https://a.example/\u202egpj\n" + "x" * 300, None),
    ],
)
def test_two_ways_of_one_kind_are_told_apart_by_what_is_typed(
    named_by: NamedBy, issuer: str, subject: str, place: str | None
) -> None:
    """Nothing that turns the text around, and no more than fits a page (catalogue 149)."""
    found = Places({ProviderId("typed"): named_by}).of(ProviderId("typed"), IdentityKey(issuer=issuer, subject=subject))
    assert found == place or place is None
    assert len(found) <= PLACE_LENGTH
    assert not set(found) & set("\u202e\n#")


def test_where_there_is_one_server_for_everybody_nothing_is_said() -> None:
    key = IdentityKey(issuer="https://facebook.example", subject="4711")
    assert Places().of(ProviderId("facebook"), key) == ""
    assert Places({ProviderId("typed"): NamedBy.ISSUER}).of(ProviderId("facebook"), key) == ""
    assert Places({ProviderId("typed"): NamedBy.ISSUER}).of(None, key) == ""


# --- links --------------------------------------------------------------------------------------------


def test_the_only_way_in_stays() -> None:
    """(catalogue 124)"""
    link = builders.link(ME)
    with pytest.raises(LastLink):
        check_may_unlink([link], link.id)


def test_one_of_two_ways_may_go() -> None:
    """(catalogue 124)"""
    first, second = builders.link(ME), builders.link(ME)
    assert check_may_unlink([first, second], second.id) is second


def test_a_way_that_is_switched_off_is_no_other_way_in() -> None:
    """The last one that is on stays; one that is off may always go (catalogue 124)."""
    on, off, other = builders.link(ME), builders.link(ME), builders.link(ME)
    with pytest.raises(LastLink):
        check_may_unlink([on, off], on.id, lambda link: link is on)
    assert check_may_unlink([on, off], off.id, lambda link: link is on) is off
    assert check_may_unlink([on, off, other], on.id, lambda link: link is not off) is on
    assert check_may_unlink([on, off], off.id, lambda _link: False) is off


@pytest.mark.parametrize("count", [0, 1, 2])
def test_only_a_link_of_ones_own_may_go(count: int) -> None:
    with pytest.raises(KeyError):
        check_may_unlink([builders.link(ME) for _ in range(count)], "somebody else's")


def test_an_account_vouches_only_for_what_was_checked() -> None:
    """(catalogue 119)"""
    assert builders.account(profile=builders.profile("zoe", verified=True)).verified == {EMAIL}
    assert builders.account(profile=builders.profile("zoe", verified=False)).verified == frozenset()


def test_an_account_shows_no_value_in_its_repr() -> None:
    account = builders.account()
    assert not [value for value in account.claims.values() if value in repr(account)]
    assert "hint of" not in repr(builders.link(ME))
    assert from_provider(ProviderId("facebook")) == "provider:facebook"


# --- user names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("zoe", None),
        ("Zoë.Ünal", None),
        ("anna-maria_2", None),
        ("李小龙", None),
        ("маша", None),
        ("7of9", None),
        ("हिन्दी", None),
        ("ab", "too_short"),
        ("", "too_short"),
        ("x" * 31, "too_long"),
        ("x" * 30, None),
        ("zoe smith", "characters"),
        ("zoe@mail", "characters"),
        ("zoe\u200d", "characters"),
        ("zoe\u202e", "characters"),
        ("zoe\u034f", "characters"),  # marks and letters that show nothing
        ("adm\ufe0fin", "characters"),
        ("z\u180boe", "characters"),
        ("zo\u17b4e", "characters"),
        ("zoe\U000e0100", "characters"),
        ("\u3164\u3164\u3164", "characters"),
        ("\uffa0\u115f\u1160", "characters"),
        ("zoe\x00", "characters"),
        ("zoe\ud800", "characters"),
        ("zoe😀", "characters"),
        ("zoe<b>", "characters"),
        ("-zoe", "edges"),
        ("_zoe", "edges"),
        ("zoe.", "edges"),
        ("zoe_", "edges"),
        ("\u0301oe", "edges"),
        ("zoе", "mixed_scripts"),  # the last letter is Cyrillic
        ("αlpha", "mixed_scripts"),
        ("admin", "reserved"),
        ("Admin", "reserved"),
        ("adm1n", "reserved"),
        ("a.d.m.i.n", "reserved"),
        ("rnoderator", "reserved"),
        ("r00t", "reserved"),
        ("5upport", "reserved"),
        ("admin-2", None),
    ],
)
def test_a_user_name_has_its_problem_or_none(name: str, problem: str | None) -> None:
    """Emoji, overrides, zero-width characters, mixed scripts and names of the staff (catalogue 131)."""
    assert user_name_problem(name) == problem


@pytest.mark.parametrize("name", sorted(RESERVED_USER_NAMES))
def test_names_of_the_house_are_nobodys(name: str) -> None:
    assert user_name_problem(name) == ("too_short" if len(name) < USER_NAME_MIN else "reserved")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("zoe", "ZOE"),
        ("zoe", "z0e"),
        ("zoe", "zo.e"),
        ("paul", "pau1"),
        ("paul", "paui"),
        ("modern", "modem"),
        ("savvy", "sawy"),
        ("Straße", "STRASSE"),
        ("ﬁona", "fiona"),
    ],
)
def test_names_that_look_alike_are_one_name(one: str, other: str) -> None:
    """Nobody signs up as somebody else's double (catalogue 131)."""
    assert user_name_key(one) == user_name_key(other)


@pytest.mark.parametrize(("one", "other"), [("zoe", "joe"), ("anna", "hanna"), ("маша", "саша")])
def test_different_names_stay_different(one: str, other: str) -> None:
    assert user_name_key(one) != user_name_key(other)


@pytest.mark.parametrize(
    ("display", "first"),
    [
        ("Ana Marković", "ana"),
        ("  Zoë   Ünal ", "zoë"),
        ("Jean-Luc O'Neil", "jeanluc"),
        ("李 小龙", None),
        ("Admin", None),
        ("😀", None),
        ("", None),
        (None, None),
    ],
)
def test_suggestions_come_from_the_name_and_can_be_used(display: str | None, first: str | None) -> None:
    ideas = suggest_user_names(display, "123")
    assert ideas
    assert all(user_name_problem(idea) is None for idea in ideas)
    assert first is None or ideas[0] == first
    assert first is not None or any("123" in idea for idea in ideas)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=200))
def test_every_suggestion_is_a_user_name(display: str) -> None:
    """Whatever a provider says somebody is called (catalogue 131)."""
    ideas = suggest_user_names(display, "407")
    assert ideas
    assert len(set(ideas)) == len(ideas)
    assert all(user_name_problem(idea) is None for idea in ideas)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=40))
def test_what_passes_as_a_user_name_is_safe_to_show(name: str) -> None:
    """Whatever is typed: one script, no control, format or bidi character, no blank, sensible length (catalogue 131)."""
    if user_name_problem(name) is None:
        assert USER_NAME_MIN <= len(name) <= USER_NAME_MAX
        assert all(unicodedata.category(ch)[0] in "LNM" or ch in "._-" for ch in name)
        assert user_name_key(name)
        assert user_name_key(name) == user_name_key(name.upper()) or name.upper().casefold() != name.casefold()


def test_ways_added_since_go_while_something_else_opens_the_account() -> None:
    """Before, or beside them; else they stay (catalogue 117, 124)."""
    before, after = builders.link(AccountId("ana")), builders.link(AccountId("ana"), linked_at=builders.NOW)
    since = builders.NOW - timedelta(seconds=1)
    assert ways_since((before, after), since, is_open=False) == (after,)
    assert ways_since((after,), since, is_open=True) == (after,)
    assert ways_since((after,), since, is_open=False) == ()
    assert ways_since((before,), since, is_open=True) == ()
