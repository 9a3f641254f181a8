"""Places that nobody shares and nobody can read anything from, and lists as the specification has them."""

from __future__ import annotations

import base64
import json
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import NOW, grant

from broker.domain import status
from broker.domain.grant import SESSION_TOKEN_LIFETIME, StatusPlace
from broker.domain.values import AccountId

KEY, OTHER = b"k" * 32, b"o" * 32
ISSUER = "https://login.test"
VECTOR = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
"""The example of the specification (§4.1), whose two bytes are 0xB9 and 0xA3."""


def opened(lst: str) -> bytes:
    return zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))


@settings(max_examples=20, deadline=None)
@given(start=st.integers(0, 2**40), count=st.just(500))
def test_no_two_numbers_share_a_place(start: int, count: int) -> None:
    """Also where one list ends and the next begins."""
    start = start // status.SIZE * status.SIZE + status.SIZE - count // 2
    places = {status.place_of(start + step, KEY) for step in range(count)}
    assert len(places) == count
    assert len({place.list for place in places}) == 2
    assert all(0 <= place.index < status.SIZE for place in places)


def test_a_place_stays_the_same() -> None:
    """Tokens that are out name it: another permutation would name somebody else."""
    assert status.place_of(0, KEY) == status.place_of(0, KEY)
    assert status.place_of(0, KEY) != status.place_of(0, OTHER)
    assert status.place_of(5, KEY) == StatusPlace(list=status.list_name(0, KEY), index=status.place_of(5, KEY).index)


def test_places_tell_neither_order_nor_number() -> None:
    """The first thousand people are all over the list, and who comes after whom is a coin toss (§12.1; catalogue 85)."""
    indexes = [status.place_of(number, KEY).index for number in range(1000)]
    quarters = [sum(index * 4 // status.SIZE == quarter for index in indexes) for quarter in range(4)]
    assert all(180 < count < 320 for count in quarters)
    rising = sum(one < other for one, other in pairwise(indexes))
    assert 420 < rising < 580
    assert status.place_of(status.SIZE, KEY).index != indexes[0]


def test_names_of_lists_tell_no_order() -> None:
    names = [status.list_name(which, KEY) for which in range(200)]
    assert len(set(names)) == 200
    assert {len(name) for name in names} == {16}
    assert names != sorted(names)


@pytest.mark.parametrize(("numbers", "lists"), [(0, 0), (1, 1), (status.SIZE, 1), (status.SIZE + 1, 2)])
def test_there_are_as_many_lists_as_are_needed(numbers: int, lists: int) -> None:
    assert status.lists_for(numbers) == lists


def test_a_list_is_packed_as_the_specification_says() -> None:
    """§4.1: the first place is the least significant bit of the first byte."""
    bits = opened(status.packed([place for place, bit in enumerate(VECTOR) if bit]))
    assert bits[:2] == b"\xb9\xa3"
    assert set(bits[2:]) == {0}


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, status.SIZE - 1), max_size=50))
def test_exactly_the_bits_of_those_who_ended_are_set(indexes: set[int]) -> None:
    bits = opened(status.packed(indexes))
    assert len(bits) * 8 == status.SIZE
    assert {8 * at + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1} == indexes


def test_an_empty_list_says_nothing_by_its_size() -> None:
    """A million places or ten in use: as long as nobody leaves, the same couple of hundred letters (catalogue 85)."""
    assert len(status.packed([])) < 256


def test_a_list_names_itself_its_issuer_and_its_end() -> None:
    claims = status.list_claims(issuer=ISSUER, name="abc", indexes=[3], now=NOW)
    now = int(NOW.timestamp())
    lst = claims["status_list"].pop("lst")
    assert claims == {
        "iss": ISSUER,
        "sub": f"{ISSUER}/status/abc",
        "iat": now,
        "exp": now + 900,
        "ttl": 60,
        "status_list": {"bits": 1},
    }
    assert opened(lst)[0] == 8


def test_a_token_says_where_its_status_is() -> None:
    """§6.2: for a grant that has a place, and nothing for any other."""
    held: Any = grant(AccountId("ana"), status=StatusPlace(list="abc", index=7))
    assert json.loads(json.dumps(status.status_claim(held, ISSUER))) == {
        "status": {"status_list": {"idx": 7, "uri": f"{ISSUER}/status/abc"}}
    }
    assert status.status_claim(grant(AccountId("ana")), ISSUER) == {}


def test_a_bit_outlives_every_token_that_names_it() -> None:
    assert status.KEEP > SESSION_TOKEN_LIFETIME
    assert status.RENEW < status.LIFETIME
    assert status.TTL < status.LIFETIME
