"""Ids that are addresses of documents: which may be read, and for how long what was read holds."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest
from tests.support import builders

from broker.domain.client import AuthMethod, Client
from broker.domain.documents import (
    LEAST,
    LONGEST,
    MOST,
    USUAL,
    DocumentRules,
    fresh_until,
    host_of,
    is_document_id,
    mark,
)
from broker.domain.values import ClientId

NOW = builders.NOW.replace(microsecond=0)  # headers have whole seconds
ISSUER = "https://login.example.org"


@pytest.mark.parametrize(
    "text",
    [
        "https://app.example.org/client.json",
        "https://app.example.org/",
        "https://app.example.org:8443/client",
        "https://xn--bcher-kva.example/client",
        f"https://app.example.org/{'x' * (LONGEST - len('https://app.example.org/'))}",
    ],
)
def test_an_https_address_with_a_path_can_be_an_id(text: str) -> None:
    """draft-ietf-oauth-client-id-metadata-document §3"""
    assert is_document_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "forum",
        "r-0123456789abcdef",
        "https:",
        "https://",
        "https:///client",
        "https://app.example.org",
        "http://app.example.org/client",
        "HTTPS://app.example.org/client",
        "https://user@app.example.org/client",
        "https://user:word@app.example.org/client",
        "https://app.example.org/client#here",
        "https://app.example.org/client?x=1",
        "https://app.example.org/client?",
        "https://app.example.org/./client",
        "https://app.example.org/a/../client",
        "https://app.example.org/a/%2e%2E/client",
        "https://app.example.org/..",
        "https://APP.example.org/client",
        "https://app.example.org./client",
        "https://app.example.org.:8443/client",
        "https://app.example.org:/client",
        "https://app.example.org:443/client",
        "https://app.example.org:0/client",
        "https://app.example.org:99999/client",
        "https://app.example.org/cl ient",
        "https://app.example.org/client\n",
        "https://app.example.org\\@evil.example/client",
        "https://b\u00fccher.example/client",
        f"https://app.example.org/{'x' * LONGEST}",
    ],
)
def test_what_is_spelled_in_any_other_way_can_be_none(text: str) -> None:
    """So that one document has one id, and no host looks like another (catalogue 3)."""
    assert not is_document_id(text)


def test_a_host_is_what_people_see_of_an_id() -> None:
    assert host_of("https://app.example.org:8443/client") == "app.example.org:8443"


@pytest.mark.parametrize(
    ("name", "listed", "any_host"),
    [
        ("https://app.example.org/client", True, True),
        ("https://app.example.org:8443/client", False, True),
        ("https://other.example.org/client", False, True),
        ("https://login.example.org/client", False, False),
        ("https://app.example.org/client?x", False, False),
        ("forum", False, False),
    ],
)
def test_documents_are_read_of_whom_the_admin_said(name: str, *, listed: bool, any_host: bool) -> None:
    """Never our own: what is served here is none."""
    hosts = frozenset({"app.example.org", "login.example.org"})
    rules = DocumentRules(issuer=ISSUER, hosts=hosts, only_listed=True)
    assert rules.may_be_read(name) is listed
    assert DocumentRules(issuer=ISSUER, hosts=hosts, only_listed=False).may_be_read(name) is any_host
    assert rules.is_listed("https://app.example.org/client")
    assert not rules.is_listed("https://other.example.org/client")


def test_hosts_inside_are_read_only_if_they_are_listed() -> None:
    """(catalogue 138) An exception that the admin made for something else is not lent to strangers."""
    inside = "https://idp.internal.example.org:8443/client"
    closed = frozenset({"idp.internal.example.org:8443"})
    for hosts, expected in ((frozenset[str](), False), (closed, True)):
        rules = DocumentRules(issuer=ISSUER, hosts=hosts, only_listed=False, closed=closed)
        assert rules.may_be_read(inside) is expected


@pytest.mark.parametrize(
    ("headers", "span"),
    [
        ({}, USUAL),
        ({"cache-control": "public"}, USUAL),
        ({"cache-control": "max-age=1800"}, timedelta(seconds=1800)),
        ({"cache-control": 'Public, Max-Age="1800"'}, timedelta(seconds=1800)),
        ({"cache-control": "max-age=1800", "age": "600"}, timedelta(seconds=1200)),
        ({"cache-control": "max-age=1800", "age": "soon"}, timedelta(seconds=1800)),
        ({"cache-control": "max-age=1800, no-cache"}, LEAST),
        ({"cache-control": "no-store"}, LEAST),
        ({"cache-control": "max-age=0"}, LEAST),
        ({"cache-control": "max-age=-1"}, LEAST),
        ({"cache-control": "max-age=99999999"}, MOST),
        ({"cache-control": "max-age=99999999999999999999"}, LEAST),
        ({"cache-control": "max-age=\u0663600"}, LEAST),
        ({"expires": format_datetime(NOW + timedelta(minutes=30), usegmt=True)}, timedelta(minutes=30)),
        ({"expires": format_datetime(NOW + timedelta(minutes=30)).replace("+0000", "-0000")}, timedelta(minutes=30)),
        ({"expires": format_datetime(NOW - timedelta(minutes=30), usegmt=True)}, LEAST),
        ({"expires": "0"}, LEAST),
        ({"cache-control": "max-age=600", "expires": "0"}, timedelta(minutes=10)),
    ],
)
def test_what_was_read_holds_as_long_as_its_headers_say_within_bounds(headers: dict[str, str], span: timedelta) -> None:
    """RFC 9111 §4.2, §5.3"""
    assert fresh_until(headers, NOW) == NOW + span


def test_each_letter_of_a_document_makes_its_mark() -> None:
    assert mark("{}") != mark("{ }")
    assert mark("{}") == mark("{}")


def test_a_site_that_introduces_itself_is_known_by_each_of_its_addresses() -> None:
    """(catalogue 133) Where an admin put a site in, another path on the same host is no other site."""

    def version(name: str, *paths: str) -> str:
        return Client(
            client_id=ClientId(name),
            name="App",
            url="https://app.example.org/",
            redirect_uris=tuple(f"https://app.example.org/{path}" for path in paths),
            auth_method=AuthMethod.NONE,
        ).version

    own, put_in = "https://app.example.org/client", "app"
    assert version(own, "cb") != version(own, "cb", "new")
    assert version(put_in, "cb") == version(put_in, "cb", "new")
