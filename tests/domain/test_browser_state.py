"""What a site's page may watch of a session: a value that opens nothing, hashed for one origin."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from tests.flows.op import site

from broker.domain.browser_state import BrowserStates, askers, origin_of
from broker.domain.values import ClientId, Sid

STATES = BrowserStates(key=b"k" * 32)
FORUM = ClientId("forum")


def test_the_state_changes_with_the_session_and_says_nothing_of_it() -> None:
    """(catalogue 103)"""
    one, other = STATES.of(Sid("session-1")), STATES.of(Sid("session-2"))
    assert one == STATES.of(Sid("session-1"))
    assert one != other
    assert "session" not in one
    assert BrowserStates(key=b"l" * 32).of(Sid("session-1")) != one
    assert "k" * 8 not in repr(STATES)


def test_a_site_gets_a_hash_for_its_own_origin_alone() -> None:
    """As Session Management 1.0 §3.2 has it: client, origin, what the browser keeps, and a salt (catalogue 103)."""
    stated = STATES.for_site(FORUM, "https://forum.test/cb?x=1", Sid("s"), "salt")
    plain = f"forum https://forum.test {STATES.of(Sid('s'))} salt"
    assert stated == f"{hashlib.sha256(plain.encode()).hexdigest()}.salt"
    for client, uri, salt in (
        ("wiki", "https://forum.test/cb", "salt"),
        ("forum", "https://other.test/cb", "salt"),
        ("forum", "https://forum.test/cb", "other"),
    ):
        assert STATES.for_site(ClientId(client), uri, Sid("s"), salt).partition(".")[0] != stated.partition(".")[0]


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://Forum.test/cb", "https://forum.test"),
        ("https://forum.test:443/cb", "https://forum.test"),
        ("http://localhost:80/", "http://localhost"),
        ("http://localhost:8001/cb", "http://localhost:8001"),
        ("https://forum.test:80/", "https://forum.test:80"),
        ("http://[::1]:8001/cb", "http://[::1]:8001"),
        ("http://[::1]/cb", "http://[::1]"),
    ],
)
def test_origins_are_named_as_browsers_name_them(address: str, origin: str) -> None:
    assert origin_of(address) == origin


def test_whom_the_frame_answers_is_known_by_digests_of_enabled_sites() -> None:
    """(catalogue 103)"""
    forum = site(FORUM, redirect_uris=("https://forum.test/a", "https://forum.test/b", "https://m.forum.test/a"))
    known = askers([forum])
    assert known == tuple(
        sorted(
            hashlib.sha256(f"forum {o}".encode()).hexdigest() for o in ("https://forum.test", "https://m.forum.test")
        )
    )
    assert askers([replace(forum, enabled=False)]) == ()
