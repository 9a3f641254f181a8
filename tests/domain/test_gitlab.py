"""A person in GitLab's shape: a number, a name, and an address only if it is proved."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.gitlab import BITS, number_of, profile, scopes_instead

ANA = {"sub": "s-1", "preferred_username": "ana", "name": "Ana Lund", "email": "ana@mail.test", "email_verified": True}


def test_a_person_has_gitlabs_fields() -> None:
    assert profile(ANA | {"picture": "https://x.test/1.png"}) == {
        "id": number_of("s-1"),
        "username": "ana",
        "name": "Ana Lund",
        "state": "active",
        "email": "ana@mail.test",
        "avatar_url": "https://x.test/1.png",
    }


@pytest.mark.parametrize("said", [{"email_verified": False}, {"email_verified": "true"}, {"email_verified": None}])
def test_an_address_that_nobody_proved_is_left_out(said: dict[str, Any]) -> None:
    """Such software signs people in by it: somebody else's would open their account."""
    assert profile(ANA | said)["email"] == ""
    assert profile({name: value for name, value in ANA.items() if name != "email_verified"})["email"] == ""


def test_who_shares_no_name_has_one_that_is_theirs_alone() -> None:
    told = profile({"sub": "s-1"})
    assert told["username"] == told["name"] == f"person-{number_of('s-1')}"
    assert (told["email"], told["avatar_url"]) == ("", None)
    assert profile({"sub": "s-1", "preferred_username": "ana"})["name"] == "ana"


@given(st.text())
def test_a_number_is_the_same_each_time_and_read_right_everywhere(subject: str) -> None:
    assert 0 < number_of(subject) < 2**BITS
    assert float(number_of(subject)) == number_of(subject)
    assert number_of(subject) == number_of(subject)
    assert number_of(subject) != number_of(f"{subject}x")


@pytest.mark.parametrize(
    ("asked", "instead"),
    [
        ("read_user", "openid profile email"),
        ("", "openid profile email"),
        ("read_user api openid", "openid profile email"),
        ("read_user offline_access", "openid profile email offline_access"),
    ],
)
def test_gitlabs_scopes_mean_the_fields_the_admin_listed(asked: str, instead: str) -> None:
    assert scopes_instead(asked) == instead
