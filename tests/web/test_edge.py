"""What the outermost layer tells the rest of a request."""

from __future__ import annotations

import pytest

from broker.web.edge import counted_as


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("testclient", "testclient"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("2001:0DB8:0001:0002:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_address_of_the_sixth_version_counts_as_its_network(address: str, counted: str) -> None:
    """Whoever has one such address has 2^64 of them: counted one by one, none would ever reach a limit."""
    assert counted_as(address) == counted
