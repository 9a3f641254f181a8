"""What the spelling of a host tells."""

from __future__ import annotations

import pytest

from broker.domain.hosts import is_inside, is_literal

LITERALS = ("127.0.0.1", "10.0.0.5", "127.1", "2130706433", "0x7f000001", "169.254.169.254", "fd00::1", "::ffff:7f00:1")
LOCAL = ("localhost", "internal", "db.local", "DB.Local.", "app.localhost", "idp.internal", "nas.home.arpa", "")
PUBLIC = ("forum.example.org", "forum.example.org.", "0x.example.org", "1.example", "localhost.example.org")


@pytest.mark.parametrize("host", LITERALS)
def test_an_address_is_one_in_every_spelling(host: str) -> None:
    """(catalogue 138)"""
    assert is_literal(host)
    assert is_inside(host)


@pytest.mark.parametrize("host", LOCAL)
def test_a_name_of_a_local_network_is_inside(host: str) -> None:
    """(catalogue 138)"""
    assert is_inside(host)
    assert not is_literal(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_name_is_neither(host: str) -> None:
    assert not is_inside(host)
