"""Logos: whose are shown, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support import builders as make
from tests.support.builders import NOW

from broker.domain.logo import (
    PROBLEMS,
    Logo,
    LogoUnusable,
    is_address,
    of_provider,
    path_of,
    put_itself_in,
    read_name,
    seen_version,
    shown_logo,
    whose,
)
from broker.domain.registration import Registration
from broker.domain.values import ClientId, ProviderId

DIGEST = "0123456789abcdef" * 4
ADDRESS = "https://forum.example/logo.png"
SITE = make.client(logo=ADDRESS)
LOGO = Logo(owner="forum", source=ADDRESS, digest=DIGEST, size=9, is_shown=True)


def test_a_logo_stands_beside_the_name_of_its_site() -> None:
    assert shown_logo(SITE, LOGO) == DIGEST
    from_file = replace(SITE, logo="/etc/doorward/logo.png")
    assert shown_logo(from_file, replace(LOGO, source="/etc/doorward/logo.png#0a1b")) == DIGEST


@pytest.mark.parametrize(
    ("site", "logo"),
    [
        ({}, None),
        ({"logo": ""}, {}),
        ({"logo": "https://forum.example/other.png"}, {}),
        ({"logo": "https://forum.example/logo"}, {}),
        ({"is_unreviewed": True}, {}),
        ({}, {"is_shown": False}),
    ],
)
def test_a_logo_that_no_admin_looked_at_is_shown_to_nobody(site: dict[str, Any], logo: dict[str, Any] | None) -> None:
    """(catalogue 141)"""
    changed: dict[str, Any] = logo or {}
    assert shown_logo(replace(SITE, **site), None if logo is None else replace(LOGO, **changed)) == ""


def test_another_logo_is_another_thing_to_look_at() -> None:
    """(catalogue 133)"""
    kept = Registration(
        client_id=ClientId("r-1"),
        invitation="i",
        metadata="{}",
        scopes=frozenset(),
        token_digest=b"t",
        registered_at=NOW,
    )
    versions = {
        seen_version(kept, None),
        seen_version(kept, LOGO),
        seen_version(kept, replace(LOGO, digest=DIGEST[::-1])),
        seen_version(replace(kept, metadata='{"client_name":"x"}'), LOGO),
    }
    assert len(versions) == 4
    assert seen_version(kept, None) == kept.version
    assert seen_version(kept, replace(LOGO, is_shown=False)) == seen_version(kept, LOGO)


def test_an_address_of_a_logo_leads_to_one_picture() -> None:
    path = path_of(DIGEST)
    assert path == f"/logo/{DIGEST}.png"
    assert read_name(path.rpartition("/")[2]) == DIGEST
    assert path_of("") == ""


@pytest.mark.parametrize("name", ["", ".png", DIGEST, f"{DIGEST}.jpg", f"{DIGEST.upper()}.png", f"{DIGEST}0.png"])
def test_anything_else_is_no_name_of_a_logo(name: str) -> None:
    assert read_name(name) is None


def test_whose_a_logo_is() -> None:
    owner = of_provider(ProviderId("acme"))
    assert whose(owner) == {"provider": "acme"}
    assert whose("forum") == {"client": "forum"}
    assert [put_itself_in(one) for one in ("r-1", "https://app.example/x", "forum", owner)] == [
        True,
        True,
        False,
        False,
    ]
    assert [is_address(one) for one in (ADDRESS, "http://localhost/x", "/etc/passwd")] == [True, True, False]


def test_where_the_configuration_lies_is_nothing_that_people_agreed_to() -> None:
    """(catalogue 133)"""
    here, there = replace(SITE, logo="/etc/doorward/logo.png"), replace(SITE, logo="/srv/config/logo.png")
    assert here.version == there.version != replace(SITE, logo="/etc/doorward/other.png").version


def test_what_is_wrong_is_said_in_words() -> None:
    assert LogoUnusable("svg").words == PROBLEMS["svg"]
    assert LogoUnusable("status", "404").words.endswith("an error. (404)")
    assert "encoding" in LogoUnusable("encoding").words
