"""Which pages may read what apps are answered."""

from __future__ import annotations

import pytest
from tests.support.builders import client

from broker.domain.app_origins import AppOrigins
from broker.domain.client import AuthMethod, Client
from broker.domain.values import ClientId


def app(name: str, *addresses: str, **more: object) -> Client:
    given = {"client_id": ClientId(name), "auth_method": AuthMethod.NONE, "redirect_uris": addresses}
    return client(**(given | more))


MAP, NOTES = ClientId("map"), ClientId("notes")
ORIGINS = AppOrigins.of(
    [
        app("map", "https://map.test/callback", "https://map.test:443/other", "https://[::1]:8443/cb"),
        app("notes", "https://map.test/notes", "http://localhost:5173/"),
        app("forum", "https://forum.test/callback", auth_method=AuthMethod.BASIC),
        app("off", "https://off.test/callback", enabled=False),
        app("devices"),
    ]
)


def test_an_origin_is_a_public_sites_own_or_nobodys() -> None:
    """The site that asks counts where it is known (catalogue 145)."""
    assert set(ORIGINS.sites) == {"https://map.test", "https://[::1]:8443", "http://localhost:5173"}
    for site in (MAP, NOTES, None):
        assert ORIGINS.may_read("https://map.test", site)
    assert ORIGINS.may_read("http://localhost:5173", NOTES)
    assert ORIGINS.may_read("http://localhost:5173", None)
    assert not ORIGINS.may_read("http://localhost:5173", MAP)
    assert not ORIGINS.may_read("https://map.test", ClientId("forum"))


@pytest.mark.parametrize(
    "origin",
    [
        "https://forum.test", "https://off.test", "null", "", "*", "http://map.test", "https://map.test:443",
        "https://map.test.evil.test", "https://MAP.test", "https://map.test/", "https://evil.test",
    ],
)  # fmt: skip
@pytest.mark.parametrize("site", [None, MAP, ClientId("forum"), ClientId("off")])
def test_any_other_origin_reads_nothing(origin: str, site: ClientId | None) -> None:
    """Not even one that differs in a port or a letter (catalogue 145)."""
    assert not ORIGINS.may_read(origin, site)
