"""Where a browser is sent that opens a site from here: never anywhere but to that site."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.support.builders import client

from broker.domain.client import Client
from broker.domain.opening import opening_address, place_of
from broker.domain.values import ClientId

ISSUER = "https://login.test"
FORUM = replace(client(), client_id=ClientId("forum"), url="https://forum.test/board/index.html")
WIKI = replace(FORUM, client_id=ClientId("wiki"), url="https://forum.test/wiki/")
OFF = replace(FORUM, client_id=ClientId("off"), url="https://off.test/", enabled=False)
SITES = (WIKI, FORUM, OFF)


@pytest.mark.parametrize(
    ("target", "site", "path"),
    [
        ("https://forum.test/board/thread?id=7&x=%2F", FORUM, "/board/thread?id=7&x=%2F"),
        ("https://forum.test/wiki/", WIKI, "/wiki/"),
        ("https://forum.test/wiki/Page", WIKI, "/wiki/Page"),
        ("https://forum.test:443/wiki/Page", WIKI, "/wiki/Page"),
        ("https://FORUM.test/board/", FORUM, "/board/"),
        ("https://forum.test", WIKI, "/"),  # near neither: the first
        ("https://forum.test/wikipedia", WIKI, "/wikipedia"),
    ],
)
def test_a_page_is_found_at_the_site_whose_it_is(target: str, site: Client, path: str) -> None:
    found = place_of(target, SITES)
    assert found is not None
    assert (found.client, found.path) == (site, path)


@pytest.mark.parametrize(
    "target",
    [
        "", "/wiki/", "//forum.test/wiki/", "http://forum.test/wiki/", "https://forum.test:8443/wiki/", "https://off.test/",
        "https://forum.test.evil.test/", "https://evil.test/https://forum.test/", "https://forum.test@evil.test/",
        "https://evil.test#https://forum.test/", "https://evil.test\\@forum.test/", "https:forum.test/", "javascript:alert(1)",
        "https://forum.test/../x", "https://forum.test/wiki/?code=x", "https://forum.test/wiki/\n", "https://fórum.test/",
    ],
)  # fmt: skip
def test_whatever_is_no_page_of_a_site_is_none(target: str) -> None:
    """(catalogue 99)"""
    assert place_of(target, SITES) is None


def test_a_site_that_cannot_be_told_is_opened_by_its_own_address() -> None:
    assert opening_address(FORUM, ISSUER) == "https://forum.test/board/index.html"
    assert opening_address(FORUM, ISSUER, "/board/7?a=b") == "https://forum.test/board/7?a=b"


@pytest.mark.parametrize("known", ["https://forum.test/start", "https://forum.test/start?via=club"])
def test_a_site_that_signs_people_in_is_told_by_whom_and_what_for(known: str) -> None:
    """OpenID Connect Core §4: `iss` and `target_link_uri`; what the address has already stays."""
    site = replace(FORUM, initiate_login_uri=known)
    address = opening_address(site, ISSUER, "/board/7?a=b&c=%26")
    assert address.startswith(known)
    told = dict(parse_qsl(urlsplit(address).query))
    assert told.pop("via", "club") == "club"
    assert told == {"iss": ISSUER, "target_link_uri": "https://forum.test/board/7?a=b&c=%26"}
    told = dict(parse_qsl(urlsplit(opening_address(site, ISSUER)).query))
    assert told["target_link_uri"] == FORUM.url
