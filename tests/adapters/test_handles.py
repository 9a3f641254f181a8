"""Access and refresh tokens: text that carries what it stands for, and that nobody else can make."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import NOW

from broker.domain.ports import AccessToken, RefreshToken
from broker.domain.values import GrantId
from broker.handles import KeyedHandles

HANDLES = KeyedHandles(b"h" * 32)
SCOPES = frozenset({"openid", "profile", "offline_access"})
STANDS_FOR = AccessToken(
    grant=GrantId("grant-1"),
    token_id="id-1",
    scopes=SCOPES,
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=10),
)
ACCESS = HANDLES.access_token(STANDS_FOR)
REFRESH = HANDLES.refresh_token("family-1", 7)


def test_an_access_token_says_what_it_stands_for() -> None:
    read = HANDLES.read_access_token(ACCESS)
    assert read is not None
    assert (read.grant, read.token_id, read.scopes) == ("grant-1", "id-1", SCOPES)
    assert read.issued_at == NOW.replace(microsecond=0)
    assert read.expires_at - read.issued_at == timedelta(minutes=10)


def test_a_refresh_token_says_family_and_generation() -> None:
    assert HANDLES.read_refresh_token(REFRESH) == RefreshToken(family="family-1", generation=7)


def test_tokens_say_which_key_they_are_bound_to() -> None:
    """RFC 9449 §5, §6: and without that word they are other tokens."""
    access = HANDLES.access_token(replace(STANDS_FOR, jkt="k" * 43, audience=("https://a.test",)))
    read = HANDLES.read_access_token(access)
    assert read is not None
    assert (read.grant, read.scopes, read.jkt) == ("grant-1", SCOPES, "k" * 43)
    assert (read.audience, read.expires_at - read.issued_at) == (("https://a.test",), timedelta(minutes=10))
    bound = HANDLES.refresh_token("family-1", 7, "k" * 43)
    assert HANDLES.read_refresh_token(bound) == RefreshToken(family="family-1", generation=7, jkt="k" * 43)
    assert {access, bound}.isdisjoint({ACCESS, REFRESH})


def test_the_same_step_gives_the_same_refresh_token() -> None:
    """That is how a lost answer is repeated without keeping it (catalogue 92, decision 21)."""
    assert HANDLES.refresh_token("family-1", 7) == REFRESH
    assert HANDLES.refresh_token("family-1", 8) != REFRESH


def test_one_kind_is_never_read_as_the_other() -> None:
    """Also with its prefix exchanged (catalogue 25, 76)."""
    assert HANDLES.read_refresh_token(ACCESS) is None
    assert HANDLES.read_access_token(REFRESH) is None
    assert HANDLES.read_refresh_token("dwr_" + ACCESS.removeprefix("dwa_")) is None
    assert HANDLES.read_access_token("dwa_" + REFRESH.removeprefix("dwr_")) is None


def test_another_key_makes_other_tokens() -> None:
    other = KeyedHandles(b"o" * 32)
    assert other.read_access_token(ACCESS) is None
    assert other.read_refresh_token(REFRESH) is None


def test_a_token_has_one_spelling() -> None:
    """No padding, no other alphabet, no stray bits: else a revoked token would have aliases."""
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for token in (ACCESS, REFRESH):
        read = HANDLES.read_access_token if token is ACCESS else HANDLES.read_refresh_token
        spellings = [token[:-1] + letter for letter in last if letter != token[-1]]
        spellings += [token + "=", token + "A", f" {token}", f"{token}\n", token.upper(), token[:4] + "+" + token[5:]]
        assert [one for one in spellings if read(one) is not None] == []


@pytest.mark.parametrize(
    "token",
    [
        "",
        "dwa_",
        "dwr_",
        "dwa_A",
        "dwa_AAAA",
        "dwa_" + "A" * 40,
        "dwa_\u2603",
        "dwa_\x00",
        "dwa_" + base64.urlsafe_b64encode(b"x" * 24).decode(),
    ],
)
def test_nonsense_is_nothing(token: str) -> None:
    assert HANDLES.read_access_token(token) is None
    assert HANDLES.read_refresh_token(token.replace("dwa_", "dwr_")) is None


def test_a_huge_token_is_refused_before_anything_is_decoded() -> None:
    """Catalogue 74."""
    start = time.process_time()
    assert HANDLES.read_access_token("dwa_" + "A" * 5_000_000) is None
    assert time.process_time() - start < 0.05


@settings(max_examples=40)
@given(place=st.integers(0, 200), letter=st.sampled_from("ABab01-_.=\x00é"))
def test_one_changed_letter_is_no_token(place: int, letter: str) -> None:
    place %= len(ACCESS)
    changed = ACCESS[:place] + letter + ACCESS[place + 1 :]
    assert changed == ACCESS or HANDLES.read_access_token(changed) is None


@settings(max_examples=40)
@given(
    family=st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=40),
    generation=st.integers(0, 2**40),
)
def test_every_family_and_generation_comes_back(family: str, generation: int) -> None:
    read = HANDLES.read_refresh_token(HANDLES.refresh_token(family, generation))
    assert read == RefreshToken(family=family, generation=generation)
