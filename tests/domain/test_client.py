"""Sites: which addresses may be registered and redirected to, what is asked, who sees which number."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import asked, client

from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.client import (
    OFFLINE,
    AuthMethod,
    Client,
    asked_claims,
    is_redirect_uri,
    difference,
    near_miss,
    redirect_matches,
)
from broker.domain.values import ClaimName, Scope

FORUM = "https://forum.test/cb"


def confidential(*uris: str) -> Client:
    return client(redirect_uris=uris or (FORUM,), auth_method=AuthMethod.BASIC)


def native(*uris: str) -> Client:
    return client(redirect_uris=uris, auth_method=AuthMethod.NONE)


@pytest.mark.parametrize(
    "registered", [FORUM, "https://forum.test/cb?tenant=7", "http://localhost:8001/cb", "https://forum.test:8443/"]
)
def test_a_registered_address_matches_itself(registered: str) -> None:
    assert redirect_matches(confidential("https://other.test/", registered), registered)


@pytest.mark.parametrize(
    "sent",
    [
        "https://forum.test/cb/",
        "https://forum.test/cb/more",
        "https://forum.test/c",
        "https://forum.test//cb",
        "https://forum.test/CB",
        "https://FORUM.test/cb",
        "HTTPS://forum.test/cb",
        "https://forum.test:443/cb",
        "https://forum.test./cb",
        "https://forum.test/cb?",
        "https://forum.test/cb?x=1",
        "https://www.forum.test/cb",
        "https://forum.test.evil.test/cb",
        "http://forum.test/cb",
        "https://forum.test/cb;a",
        "https://forum.test/%63b",
        "",
    ],
)
def test_what_only_resembles_a_registered_address_is_refused(sent: str) -> None:
    """Exact, character for character (catalogue 1)."""
    assert not redirect_matches(confidential(), sent)


@pytest.mark.parametrize("query", ["?tenant=8", "?tenant=7&more=1", "?TENANT=7", "?tenant=%37", ""])
def test_the_registered_query_is_part_of_the_address(query: str) -> None:
    """Changed, added and missing queries are refused (catalogue 1)."""
    assert not redirect_matches(confidential("https://forum.test/cb?tenant=7"), f"https://forum.test/cb{query}")


@pytest.mark.parametrize(
    "path",
    [
        "/cb/../evil",
        "/cb/./x",
        "/cb/..%2fevil",
        "/cb/%2e%2e/evil",
        "/cb/%2E./evil",
        "/cb/..;/evil",
        "/cb/..;jsession=1/evil",
        "/cb/..%5cevil",
        "/cb\\evil",
        "/cb%00\x00",
        "/cb\tx",
        "/cb\nx",
        "/cb x",
        "/cb\x7f",
        "/cb\u00a0",
        "/cb<script>",
        '/cb"x',
        "/cb`x",
        "/cb{x}",
        "/cb|x",
        "/cb^x",
    ],
)
def test_path_tricks_are_no_address_at_all(path: str) -> None:
    """Neither registered nor sent (catalogue 2)."""
    assert not is_redirect_uri(f"https://forum.test{path}")
    assert not redirect_matches(confidential(f"https://forum.test{path}"), f"https://forum.test{path}")


def test_a_doubly_encoded_path_is_literal_text() -> None:
    """`%252f` is not decoded twice, so it can only ever equal itself (catalogue 2)."""
    assert not redirect_matches(confidential(), "https://forum.test/cb%252f..%252fevil")


@pytest.mark.parametrize(
    "uri",
    [
        "https://forum.test@evil.test/cb",
        "http://localhost:80@attacker.test/cb",
        "https://user:word@forum.test/cb",
        "https://@forum.test/cb",
        "https://forum.test\\@evil.test/cb",
        "https://[::1/cb",
        "https://[::ffff:7f00:1",
        "https://forum.test:99999/cb",
        "https://forum.test:0/cb",
        "https://forum%2etest/cb",
        "https://forum.test%40evil.test/cb",
        "https://forum.test:80x/cb",
        "https:///cb",
        "https:/forum.test/cb",
        "https:forum.test/cb",
        "//forum.test/cb",
        "/cb",
        "https://fоrum.test/cb",  # a Cyrillic o
        "https://forum。test/cb",  # an ideographic full stop
        "https://",
        "https://?x",
    ],
)
def test_what_two_parsers_could_read_as_two_hosts_is_no_address(uri: str) -> None:
    """Refused when registered and when used (catalogue 3)."""
    assert not is_redirect_uri(uri)
    assert not redirect_matches(confidential(uri), uri)


def test_a_mapped_loopback_address_is_not_loopback() -> None:
    """`[::ffff:7f00:1]` is 127.0.0.1 to a socket, and another host to us (catalogue 3)."""
    assert not redirect_matches(native("http://127.0.0.1/cb"), "http://[::ffff:7f00:1]:4000/cb")


def test_a_dot_is_a_dot() -> None:
    """Registered addresses are no patterns (catalogue 4)."""
    assert not redirect_matches(confidential("https://foo.example.com/cb"), "https://fooaexample.com/cb")


@pytest.mark.parametrize("uri", ["*", "https://*/cb", "https://*.example.com/cb", "https://a*.example.com/cb"])
def test_a_star_is_refused(uri: str) -> None:
    """Catalogue 4."""
    assert not is_redirect_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "javascript://forum.test/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        " https://forum.test/cb",
        "https://forum.test/cb ",
        "\thttps://forum.test/cb",
        "file:///etc/passwd",
        "ftp://forum.test/cb",
        "Https://forum.test/cb",
        "about:blank",
    ],
)
def test_only_http_and_https_are_addresses(uri: str) -> None:
    """Catalogue 5."""
    assert not is_redirect_uri(uri)


@pytest.mark.parametrize("uri", ["https://forum.test/cb#", "https://forum.test/cb#x", "https://forum.test/#/cb"])
def test_no_address_has_a_fragment(uri: str) -> None:
    """Catalogue 6."""
    assert not is_redirect_uri(uri)
    assert not redirect_matches(confidential(uri), uri)


@pytest.mark.parametrize("name", ["code", "state", "iss", "error", "error_description", "error_uri", "response"])
def test_no_address_brings_parameters_of_our_answer(name: str) -> None:
    """They would occur twice (catalogue 7)."""
    assert not is_redirect_uri(f"https://forum.test/cb?{name}=x")
    assert not is_redirect_uri(f"https://forum.test/cb?a=1&{name}")


def test_an_address_is_at_most_2000_characters() -> None:
    base = "https://forum.test/"
    assert is_redirect_uri(base + "a" * (2000 - len(base)))
    assert not is_redirect_uri(base + "a" * (2001 - len(base)))


@pytest.mark.parametrize(
    ("registered", "sent"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
        ("http://127.0.0.1:9/cb", "http://127.0.0.1:51004/cb"),
        ("http://127.0.0.1:9/cb", "http://127.0.0.1/cb"),
        ("http://[::1]/cb?x=1", "http://[::1]:1/cb?x=1"),
    ],
)
def test_a_native_app_may_use_any_loopback_port(registered: str, sent: str) -> None:
    """RFC 8252 §7.3 (catalogue 11)."""
    assert redirect_matches(native(registered), sent)


@pytest.mark.parametrize(
    ("registered", "sent"),
    [
        ("http://localhost/cb", "http://localhost:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/other"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?x=1"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1.evil.test/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.10:51004/cb"),
        ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb"),
        ("http://127.0.0.1/cb", "http://[::1]:51004/cb"),
        ("https://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
        ("https://forum.test/cb", "https://forum.test:51004/cb"),
    ],
)
def test_nothing_but_the_port_of_a_loopback_number_may_differ(registered: str, sent: str) -> None:
    """RFC 8252 §7.3 and §8.3 (catalogue 11)."""
    assert not redirect_matches(native(registered), sent)


def test_a_confidential_client_may_not_use_another_port() -> None:
    """Catalogue 11."""
    assert not redirect_matches(confidential("http://127.0.0.1:8001/cb"), "http://127.0.0.1:8002/cb")


_TEXT = st.text(st.sampled_from("https://forum.tescbdx@:.?#%&=;*\\ 0129[]\t\u0430"), max_size=40)


@settings(max_examples=25)
@given(sent=_TEXT | _TEXT.map(lambda tail: FORUM + tail) | _TEXT.map(lambda tail: f"https://{tail}forum.test/cb"))
def test_only_the_registered_text_itself_ever_matches(sent: str) -> None:
    """Whatever is sent (catalogue 1)."""
    assert redirect_matches(confidential(), sent) == (sent == FORUM)


@settings(max_examples=25)
@given(uri=_TEXT.map(lambda tail: f"https://{tail}"))
def test_what_counts_as_an_address_reads_the_same_everywhere(uri: str) -> None:
    """One host, no user, no fragment, and the text is the address (catalogue 3)."""
    if is_redirect_uri(uri):
        parts = urlsplit(uri)
        assert parts.hostname
        assert (parts.username, parts.password, parts.fragment) == (None, None, "")
        assert parts.netloc == uri.removeprefix("https://").partition("/")[0].partition("?")[0]
        assert re.fullmatch(r"[\w.:\[\]-]+", parts.netloc, re.ASCII)


def test_the_nearest_registered_address_is_named_to_the_sites_admin() -> None:
    """Decision 25."""
    site = confidential("https://forum.test/cb", "https://www.forum.test/callback")
    assert near_miss(site, "https://www.forum.test/cb") == "https://www.forum.test/callback"
    assert near_miss(site, "https://forum.test/cb/") == "https://forum.test/cb"


def test_an_address_of_a_stranger_is_near_to_nothing() -> None:
    assert near_miss(confidential(), "http://evil.test/") is None
    assert near_miss(client(redirect_uris=()), FORUM) is None


# --- what a site is -----------------------------------------------------------------------------------


def test_only_a_client_without_a_secret_is_public() -> None:
    public = [method for method in AuthMethod if client(auth_method=method).is_public]
    assert public == [AuthMethod.NONE]


def test_people_see_the_host_they_go_back_to() -> None:
    assert client(url="https://forum.test:8443/home").host == "forum.test:8443"
    assert client(url="", redirect_uris=("https://app.forum.test/cb",)).host == "app.forum.test"


@pytest.mark.parametrize(
    ("sector", "uris", "expected"),
    [
        ("community.test", ("https://forum.test/cb",), "community.test"),
        ("", ("https://forum.test:8443/cb", "https://www.forum.test/cb"), "forum.test"),
        ("", ("http://[::1]/cb",), "::1"),
        ("", ("nowhere",), ""),
    ],
)
def test_the_sector_is_the_host_unless_one_is_set(sector: str, uris: tuple[str, ...], expected: str) -> None:
    """OpenID Connect Core §8.1, decision 11."""
    assert client(sector=sector, redirect_uris=uris).sector_identifier == expected


def test_the_host_of_the_list_is_the_sector_of_whoever_shares_it() -> None:
    """OpenID Connect Core §8.1: of the list, not of an address in it."""
    shared = "https://club.test/sites.json"
    for own in ("https://forum.test/cb", "https://wiki.test/cb"):
        assert client(sector="", redirect_uris=(own,), sector_identifier_uri=shared).sector_identifier == "club.test"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Another"},
        {"logo": "https://forum.example/other.png"},
        {"policy_uri": "https://forum.example/other"},
        {"redirect_uris": ("https://elsewhere.test/cb",)},
    ],
)
def test_a_site_that_looks_different_has_another_version(change: dict[str, object]) -> None:
    """Catalogue 133."""
    assert replace(client(), **change).version != client().version  # type: ignore[arg-type]


def test_another_path_on_the_same_hosts_is_the_same_site() -> None:
    site = client()
    moved = replace(site, redirect_uris=tuple(uri + "2" for uri in reversed(site.redirect_uris)))
    assert moved.version == site.version


@pytest.mark.parametrize(
    "change",
    [
        {"needed": True},
        {"why": {"en": "to sell it"}},
        {"why": {"en": "to show your email", "fr": "…"}},
        {"audience": "everyone else"},
    ],
)
def test_another_purpose_is_another_version(change: dict[str, object]) -> None:
    """Promise P6."""
    ask = asked(EMAIL, needed=False)
    assert replace(ask, **change).version != ask.version  # type: ignore[arg-type]


def test_a_request_asks_what_its_scopes_unlock_and_what_no_scope_does() -> None:
    site = client(asks=(asked(NAME, needed=True), asked(EMAIL, needed=False), asked(ClaimName("badge"), needed=False)))
    asks = asked_claims(site, frozenset({Scope("openid"), Scope("email")}))
    assert [ask.claim for ask in asks] == [EMAIL, "badge"]


def test_what_is_asked_by_name_needs_no_scope_but_a_purpose() -> None:
    """OpenID Connect Core §5.5; a claim the admin did not list is asked of nobody (promise P6)."""
    site = client(asks=(asked(EMAIL, needed=False), asked(PREFERRED_USERNAME, needed=True)))
    asks = asked_claims(site, frozenset({Scope("openid")}), frozenset({EMAIL, ClaimName("birthdate")}))
    assert [ask.claim for ask in asks] == [EMAIL]


def test_acting_while_the_person_is_away_is_asked_like_a_claim() -> None:
    """Catalogue 91."""
    site = client(asks=(asked(PREFERRED_USERNAME, needed=True),))
    asks = asked_claims(site, frozenset({Scope("openid"), Scope("profile"), Scope("offline_access")}))
    assert [ask.claim for ask in asks] == [PREFERRED_USERNAME, OFFLINE.claim]
    assert not OFFLINE.needed


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("https://forum.test/cb/", "last_slash"),
        ("http://forum.test/cb", "scheme"),
        ("https://forum.test:8443/cb", "port"),
        ("https://forum.tests/cb", "host"),
        ("https://forum.test/CB", "letter_case"),
        ("https://forum.test/cb2", "path"),
        ("https://forum.test/cb?a=b", "query"),
        ("https://forum.test/cb", None),
        ("https://evil.test/cb", None),
        ("https://forum.test/cb#x", None),
        ("nothing", None),
    ],
)
def test_an_address_that_differs_is_told_how(sent: str, kind: str | None) -> None:
    site = replace(client(), redirect_uris=("https://forum.test/cb",))
    found = difference(site, sent)
    assert (found.kind if found else None) == kind
    if found is not None:
        assert found.registered == "https://forum.test/cb"
        assert found.words
