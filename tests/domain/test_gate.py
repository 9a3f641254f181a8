"""What a proxy's question means, and what is told to the site behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import asked
from tests.support import builders as make

from broker.domain import gate

from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.client import AuthMethod, Client
from broker.domain.disclosure import Via, release
from broker.domain.values import AccountId, ClientId

SITE = Client(
    client_id=ClientId("wiki"),
    name="Wiki",
    url="https://wiki.test/",
    redirect_uris=("https://wiki.test/.doorward/callback",),
    auth_method=AuthMethod.NONE,
    asks=(asked(PREFERRED_USERNAME, needed=True), asked(NAME, needed=False), asked(EMAIL, needed=False)),
    forward_auth=True,
)
PAGE = {"accept": ["text/html,*/*;q=0.8"]}
NGINX = {"x-original-url": ["https://wiki.test/a?b=c"], "x-original-method": ["GET"]}
CADDY = {
    "x-forwarded-proto": ["https"],
    "x-forwarded-host": ["wiki.test"],
    "x-forwarded-uri": ["/a?b=c"],
    "x-forwarded-method": ["GET"],
}


def told(client: Client = SITE, *, verified: bool = True, **profile: str) -> dict[str, str] | None:
    """The headers for somebody who shares all that the site asks."""
    grant = replace(
        make.grant(AccountId("account-ana"), client=client.client_id),
        claims={ask.claim: ask.version for ask in client.asks},
        revoked_at=None,
    )
    claims: Any = {"preferred_username": "ana", "name": "Ana Lund", "email": "ana@mail.test"} | profile
    one = release(
        grant, client, claims, frozenset({EMAIL} if verified else ()), subject="number", via=Via.FORWARD_AUTH,
        now=grant.created_at,
    )  # fmt: skip
    return gate.identity(client, one)


@pytest.mark.parametrize("sent", [NGINX, CADDY])
def test_each_kind_of_proxy_names_the_page(sent: dict[str, list[str]]) -> None:
    question = gate.read_question({**sent, **PAGE})
    assert (question.url, question.is_page_load) == ("https://wiki.test/a?b=c", True)
    assert question.takes_redirects is (sent is CADDY)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {**NGINX, **CADDY},
        {**NGINX, "x-original-url": ["https://wiki.test/a", "https://wiki.test/b"]},
        {**CADDY, "x-forwarded-host": ["wiki.test", "evil.test"]},
        {**CADDY, "x-forwarded-proto": []},
        {**CADDY, "x-forwarded-uri": ["a"]},
    ],
)
def test_a_page_that_is_not_named_clearly_is_no_page(sent: dict[str, list[str]]) -> None:
    """Doubled, contradicting or missing forwarding headers (catalogue 143)."""
    assert not gate.read_question({**sent, **PAGE}).url


@pytest.mark.parametrize(
    ("sent", "is_page_load"),
    [
        (PAGE, True),
        ({"accept": ["application/json"]}, False),
        ({}, False),
        ({**PAGE, "x-requested-with": ["XMLHttpRequest"]}, False),
        ({**PAGE, "x-original-method": ["POST"]}, False),
        ({**PAGE, "x-original-method": ["OPTIONS"]}, False),
        ({**PAGE, "x-original-method": ["HEAD"]}, True),
        ({**PAGE, "x-original-method": ["GET", "POST"]}, False),
        ({"sec-fetch-mode": ["navigate"], "sec-fetch-dest": ["document"]}, True),
        ({"sec-fetch-mode": ["navigate"]}, True),
        ({"sec-fetch-mode": ["navigate"], "sec-fetch-dest": ["iframe"]}, False),
        ({**PAGE, "sec-fetch-mode": ["cors"]}, False),
    ],
)
def test_only_a_page_load_is_sent_to_sign_in(sent: dict[str, list[str]], is_page_load: bool) -> None:
    assert gate.read_question({**NGINX, **sent}).is_page_load is is_page_load


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://wiki.test/a?b=c&d=%2F..%2F", "https://wiki.test/a?b=c&d=%2F..%2F"),
        ("https://wiki.test", "https://wiki.test/"),
        ("https://wiki.test:443/a", "https://wiki.test/a"),
        ("https://wiki.test//evil.test/", "https://wiki.test//evil.test/"),
        ("https://wiki.test/a\\b", "https://wiki.test/"),
        ("https://wiki.test/\xe9", "https://wiki.test/"),
        ("https://wiki.test/" + "a" * 2000, "https://wiki.test/"),
        ("https://wiki.test/.doorward/sign-in?to=x", "https://wiki.test/"),
        ("https://evil.test/a", None),
        ("http://wiki.test/a", None),
        ("https://wiki.test:8443/a", None),
        ("https://ana@wiki.test/a", None),
        ("https://ana:x@wiki.test/a", None),
        ("https://wiki.test:x/a", None),
        ("https://[wiki.test/a", None),
        ("", None),
        (None, None),
    ],
)
def test_the_page_to_come_back_to_is_at_the_sites_own_origin(url: str | None, page: str | None) -> None:
    """Whatever path was sent, and never at another host (catalogue 99, 144, 145)."""
    assert gate.page_of(SITE, url) == page


def test_the_gate_asks_for_nothing_while_the_person_is_away() -> None:
    assert gate.scope_of(SITE) == "address email openid phone profile"


def test_people_are_named_as_the_site_asks() -> None:
    assert told() == {
        "remote-user": "ana", "remote-name": "Ana Lund", "remote-email": "ana@mail.test", "remote-groups": "",
    }  # fmt: skip
    numbered = replace(SITE, asks=(asked(NAME, needed=False),))
    assert told(numbered) == {
        "remote-user": "number", "remote-name": "Ana Lund", "remote-email": "", "remote-groups": "",
    }  # fmt: skip


def test_nobody_without_a_name_gets_in() -> None:
    """A site that knows people by their user name is never told of one who has none (catalogue 95)."""
    assert told(preferred_username="") is None


def test_an_address_that_nobody_checked_stays_here() -> None:
    """The headers cannot say that it is unverified (catalogue 123)."""
    headers = told(verified=False)
    assert headers is not None
    assert headers["remote-email"] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Zoë Núñez", "Zoë Núñez"),
        ("a\r\nRemote-User: admin", "a Remote-User: admin"),
        ("a\x00b\u2028c\u202ed", "a b c d"),
        ("  a   b ", "a b"),
        (None, ""),
        (True, ""),
    ],
)
def test_a_value_is_one_line(value: object, text: str) -> None:
    """(catalogue 148)"""
    assert gate.header_text(value) == text
