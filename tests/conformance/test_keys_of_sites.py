"""Sites that show a key with all they do (DPoP, RFC 9449), made with `openid-client` and `oauth4webapi`, none of ours.

The rules are those of the FAPI 2.0 test plan with `sender_constrain=dpop`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.conformance.test_signing_sites import signing_site
from tests.journeys.node_sites import NODE_SITES, Town, on_the_wire
from tests.support.house import Arrival, Sandboxes, site_secret
from tests.support.source import ROOT
from tests.support.tls import Authority

PROGRAM = ROOT / "tests/node/dpop.mjs"
SITES = (
    signing_site("showing", 'client_secret = { env = "SHOWING_SECRET" }', 'dpop = "required"')
    + signing_site("fresh", 'client_secret = { env = "FRESH_SECRET" }', 'dpop = "nonce"')
    + signing_site("phone", 'auth_method = "none"', 'dpop = "nonce"')
)
ENVIRON = {f"{name.upper()}_SECRET": site_secret(name) for name in ("showing", "fresh", "node")}


@pytest.fixture
async def town(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[Town]:
    async with on_the_wire(tmp_path, sandboxes, authority, sites=NODE_SITES + SITES, environ=ENVIRON) as opened:
        yield opened


async def by_openid_client(town: Town, name: str, **options: Any) -> dict[str, Any]:
    """A whole sign-in; what the program says at its end."""
    secret = {} if name == "phone" else {"secret": site_secret(name)}
    given = {"issuer": town.base, "clientId": name, "redirectUri": f"https://{name}.test/callback", "alg": "ES256"}
    ana = await town.visitor("ana")
    town.house.clock.at = datetime.now(UTC)
    async with town.node(str(PROGRAM), json.dumps(given | secret | options)) as flow:
        told = await flow.said()
        if "authorization_url" not in told:
            return told
        await ana.open(told["authorization_url"])
        end = await ana.press("decision=share", tick=("offline_access",))
        assert isinstance(end, Arrival)
        town.house.clock.at = datetime.now(UTC)
        await flow.tell(end.url)
        return await flow.said() | {"asked": told["authorization_url"]}


@pytest.mark.parametrize(
    ("name", "algorithm", "more"),
    [
        ("node", "ES256", {}),
        ("showing", "PS256", {"par": True}),
        ("showing", "Ed25519", {"tie": True}),
        ("fresh", "ES256", {"par": True}),
        ("phone", "ES256", {"tie": True}),
    ],
)
async def test_openid_client_gets_what_is_of_use_with_its_key_alone(
    town: Town, name: str, algorithm: str, more: dict[str, Any]
) -> None:
    """Code, userinfo, refresh and introspection, with our nonces where the site is held to them (RFC 9449 §5 to §10)."""
    result = await by_openid_client(town, name, alg=algorithm, **more)
    assert result["ok"] is True, result
    assert result["types"] == ["dpop", "dpop"]
    assert result["userinfo"]["preferred_username"] == "ana"
    assert result["refused"] == {"bearer": [401, "dpop", "invalid_token"], "stranger": [401, "dpop", "invalid_token"]}
    if name == "phone":
        assert result["stolen"] == "invalid_grant"
    else:
        assert result["described"]["token_type"] == "DPoP"
        assert result["described"]["cnf"] == {"jkt": result["thumbprint"]}
    if more.get("par"):
        assert set(parse_qs(urlsplit(result["asked"]).query)) == {"client_id", "request_uri"}


@pytest.mark.parametrize("more", [{"tie": True}, {"par": True}])
async def test_openid_client_cannot_redeem_a_code_with_another_key(town: Town, more: dict[str, Any]) -> None:
    """RFC 9449 §10: neither when the request named the key, nor when it was shown as the request was pushed."""
    result = await by_openid_client(town, "showing", steal=True, **more)
    assert (result["ok"], result["step"], result["error"]) == (False, "code", "invalid_grant")
