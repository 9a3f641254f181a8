"""Addresses of pictures: read by us alone, unlike at every site, one spelling each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.picture import SharedPicture
from broker.domain.values import AccountId, ClientId
from broker.picture_addresses import FOLDER, SealedPictureAddresses

ADDRESSES = SealedPictureAddresses(b"p" * 32)
SHARED = SharedPicture(account=AccountId("account-of-ana"), picture="picture-1", client=ClientId("forum"))
NAME = ADDRESSES.path(SHARED).removeprefix(FOLDER)


def test_an_address_says_to_us_what_it_stands_for_and_to_others_nothing() -> None:
    assert ADDRESSES.read(NAME) == SHARED
    assert ADDRESSES.path(SHARED) == f"{FOLDER}{NAME}"
    assert not [part for part in ("account", "picture-1", "forum") if part in NAME]
    assert SealedPictureAddresses(b"q" * 32).read(NAME) is None


def test_the_addresses_of_two_sites_have_nothing_in_common() -> None:
    """(decision 11)"""
    other = SharedPicture(account=SHARED.account, picture=SHARED.picture, client=ClientId("forun"))
    name = ADDRESSES.path(other).removeprefix(FOLDER)
    alike = sum(one == two for one, two in zip(NAME, name, strict=True))
    assert alike < len(NAME) / 4


@pytest.mark.parametrize(
    "name",
    [
        "", ".jpg", "x.jpg", NAME.removesuffix(".jpg"), f"{NAME}.jpg", NAME.upper(), f"A{NAME}", NAME.replace(".jpg", "=.jpg"),
        "é" * 40 + ".jpg", "A" * 1001 + ".jpg", "A" * 5 + ".jpg", "../" + NAME,
    ],
)  # fmt: skip
def test_what_we_did_not_make_stands_for_nothing(name: str) -> None:
    assert ADDRESSES.read(name) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(NAME) - 5), st.sampled_from("ABCxyz019-_"))
def test_one_other_letter_is_another_address(place: int, letter: str) -> None:
    altered = NAME[:place] + letter + NAME[place + 1 :]
    assert ADDRESSES.read(altered) == (SHARED if altered == NAME else None)
