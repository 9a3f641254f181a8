"""What a forum asks by DiscourseConnect, and what it is answered."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from tests.flows.op import site

from broker.domain.client import Client
from broker.domain.discourse import MAX_LENGTH, Asked, address, answered, failed, forum_of, read, returns_to, signature
from broker.domain.values import ClientId, Secret
from broker.errors import BadRequest

SECRET = Secret("secret-of-the-forum-0123456789abcdef")
RETURN = "https://talk.test/session/sso_login"
TALK = site(ClientId("talk"), redirect_uris=("https://talk.test/other", RETURN), discourse_connect_secret=SECRET)
OTHER = site(
    ClientId("other"),
    redirect_uris=("https://other.test/session/sso_login",),
    discourse_connect_secret=Secret("secret-of-the-other-0123456789abcdef"),
)
PLAIN = site(ClientId("plain"), redirect_uris=("https://plain.test/session/sso_login",))
CLIENTS = {one.client_id: one for one in (PLAIN, OTHER, TALK)}
ASKED = Asked(nonce="n-1", return_to=RETURN, is_silent=False)


def question(said: Any = None, *, secret: Secret = SECRET, lines: int = 0) -> dict[str, str]:
    """As Discourse sends it; older ones break the text into lines."""
    sso = base64.b64encode(urlencode(said or {"nonce": "n-1", "return_sso_url": RETURN}).encode()).decode()
    if lines:
        sso = "".join(f"{sso[at : at + lines]}\n" for at in range(0, len(sso), lines))
    return {"sso": sso, "sig": signature(sso, secret)}


def test_a_forum_is_known_by_its_address_and_its_secret() -> None:
    for asked in (question(), question(lines=60)):
        assert forum_of(asked, CLIENTS) == TALK
        assert read(asked, TALK) == ASKED
    silent = question({"nonce": "n-1", "return_sso_url": RETURN, "prompt": "none"})
    assert read(silent, TALK) == replace(ASKED, is_silent=True)
    assert (returns_to(TALK), returns_to(PLAIN)) == (RETURN, None)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"sso": "x", "sig": "y"},
        {"sso": "%%%", "sig": "y"},
        {"sso": base64.b64encode(b"\xff\xfe").decode(), "sig": ""},
        {"sso": "A" * (MAX_LENGTH + 1), "sig": ""},
        {**question(), "sig": ""},
        {**question(), "sig": question()["sig"].upper()},
        {**question(), "sig": "\udcff"},
        question(secret=Secret("another-secret-0123456789abcdef0123")),
        question({"nonce": "n-1", "return_sso_url": "https://evil.test/session/sso_login"}),
        question({"nonce": "n-1", "return_sso_url": "https://talk.test/other"}),
        question({"nonce": "n-1", "return_sso_url": "https://other.test/session/sso_login"}),
        question({"nonce": "n-1", "return_sso_url": "https://plain.test/session/sso_login"}),
        question({"nonce": "n-1"}),
        question({"nonce": "", "return_sso_url": RETURN}),
        question({"return_sso_url": RETURN}),
        question([("nonce", "n-1"), ("nonce", "n-2"), ("return_sso_url", RETURN)]),
        question([("nonce", "n-1"), ("return_sso_url", RETURN), ("return_sso_url", "https://evil.test/")]),
    ],
)
def test_what_no_forum_of_ours_signed_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        read(asked, forum_of(asked, CLIENTS))


def test_nothing_is_read_for_a_site_without_a_secret() -> None:
    with pytest.raises(BadRequest):
        read(question(), replace(TALK, discourse_connect_secret=None))


def test_a_forum_that_is_off_is_not_answered() -> None:
    off: dict[Any, Client] = {TALK.client_id: replace(TALK, enabled=False)}
    with pytest.raises(BadRequest):
        forum_of(question(), off)


def test_a_forum_hears_who_it_is_in_its_own_words() -> None:
    claims = {"preferred_username": "ana", "name": "Ana Lund", "email": "ana@mail.test", "email_verified": True}
    told = answered(ASKED, "s-1", {**claims, "picture": "https://x.test/1.png", "locale": "en"})
    assert told == {
        "nonce": "n-1",
        "external_id": "s-1",
        "username": "ana",
        "name": "Ana Lund",
        "email": "ana@mail.test",
        "require_activation": "false",
        "avatar_url": "https://x.test/1.png",
    }
    where = urlsplit(address(ASKED, told, SECRET))
    query = dict(parse_qsl(where.query))
    assert f"{where.scheme}://{where.netloc}{where.path}" == RETURN
    assert dict(parse_qsl(base64.b64decode(query["sso"]).decode())) == told
    assert query["sig"] == signature(query["sso"], SECRET)


@pytest.mark.parametrize("proof", [{}, {"email_verified": False}, {"email_verified": "true"}, {"email_verified": 1}])
def test_an_address_that_nobody_proved_is_the_forums_to_prove(proof: dict[str, Any]) -> None:
    """Discourse signs people in by a proved address: somebody else's would open their account."""
    told = answered(ASKED, "s-1", {"email": "ana@mail.test", **proof})
    assert told == {"nonce": "n-1", "external_id": "s-1", "email": "ana@mail.test", "require_activation": "true"}


def test_nobody_is_said_to_be_nobody() -> None:
    assert failed(ASKED) == {"nonce": "n-1", "failed": "true"}
