"""Access tokens for a site's interfaces, judged by software that is none of ours: `oauth4webapi` in Node, and Authlib.

Whatever passes here was refused or accepted by rules of RFC 6749, 8707, 9068 and 9701 that others wrote down.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet
from tests.journeys.node_sites import Town, on_the_wire
from tests.support.house import ISSUER, SITES_TOML, Arrival, House, Sandboxes, open_house, site_secret
from tests.support.source import ROOT
from tests.support.tls import Authority
from tests.web.desk import member, tokens_of

INTERFACES = ROOT / "tests/node/interfaces.mjs"
API, SEARCH = "https://api.club.test/", "https://search.club.test/"
SITES: Final = SITES_TOML + "".join(
    f"""
[club-{algorithm.lower()}]
name = "Club {algorithm}"
url = "https://club.test"
sector = "club-{algorithm.lower()}"
redirect_uris = ["https://club.test/callback"]
client_secret = {{ env = "{algorithm}_SECRET" }}
signing_algorithm = "{algorithm}"
access_tokens = "jwt"
resources = ["{API}", "{SEARCH}"]
service_scopes = ["reports:read", "reports:write"]

[club-{algorithm.lower()}.asks.preferred_username]
use = "needed"
why = {{ en = "To greet you.", fr = "Pour vous saluer." }}
"""
    for algorithm in ("RS256", "ES256")
)
ENVIRON = {"RS256_SECRET": site_secret("club-rs256"), "ES256_SECRET": site_secret("club-es256")}


@pytest.fixture
async def town(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[Town]:
    environ = {"NODE_SECRET": site_secret("node"), **ENVIRON}
    async with on_the_wire(tmp_path, sandboxes, authority, sites=SITES, environ=environ) as opened:
        yield opened


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, sites=SITES, environ=ENVIRON) as opened:
        yield opened


async def judged(town: Town, algorithm: str) -> dict[str, Any]:
    name = f"club-{algorithm.lower()}"
    options = {
        "issuer": town.base,
        "clientId": name,
        "clientSecret": site_secret(name),
        "redirectUri": "https://club.test/callback",
        "alg": algorithm,
        "api": API,
        "search": SEARCH,
    }
    ana = await town.visitor("ana")
    async with town.node(str(INTERFACES), json.dumps(options)) as program:
        told = await program.said()
        assert "authorization_url" in told, told
        await ana.open(told["authorization_url"])
        end = await ana.press("decision=share", tick=("offline_access",))
        assert isinstance(end, Arrival), end
        await program.tell(end.url)
        return await program.said()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_oauth4webapi_lets_each_token_in_where_it_is_meant_to_go_and_nowhere_else(
    town: Town, algorithm: str
) -> None:
    """RFC 9068 §4, RFC 8707 §2: interfaces, userinfo, an ID token shown as an access token (catalogue 76, 77, 90)."""
    told = await judged(town, algorithm)
    assert told["ok"] is True, told
    refused = "OAUTH_JWT_CLAIM_COMPARISON_FAILED"
    name = f"club-{algorithm.lower()}"
    both, one, ours, own = told["both"], told["one"], told["ours"], told["own"]
    assert both["api"]["aud"] == [API, SEARCH]
    assert both["api"] == both["search"]
    assert (both["api"]["sub"], both["api"]["client_id"]) == (told["sub"], name)
    assert (one["api"], one["search"]["aud"], ours["api"]) == (refused, SEARCH, refused)
    assert (both["userinfo"], one["userinfo"], ours["userinfo"]) == (401, 401, 200)
    assert told["id_token"] == {"api": "OAUTH_INVALID_RESPONSE", "site": "OAUTH_INVALID_RESPONSE"}
    assert told["far"] == "invalid_target"
    assert (own["api"]["sub"], own["api"]["scope"], own["search"]) == (name, "reports:read", refused)
    assert own["keys"] == ["access_token", "expires_in", "scope", "token_type"]


async def test_oauth4webapi_believes_the_signed_answer_of_an_introspection(town: Town) -> None:
    """RFC 9701 §5: type, issuer, audience and signature are its own to check."""
    told = (await judged(town, "ES256"))["introspected"]
    assert {answer["type"] for answer in told.values()} == {"application/token-introspection+jwt"}
    assert (told["one"]["told"]["active"], told["one"]["told"]["aud"]) == (True, SEARCH)
    assert (told["own"]["told"]["sub"], told["own"]["told"]["scope"]) == ("club-es256", "reports:read")
    assert told["unknown"]["told"] == {"active": False}


class Interface(JWTBearerTokenValidator):  # type: ignore[misc]
    """Authlib's judge of RFC 9068 tokens, with our published keys."""

    def __init__(self, keys: KeySet, address: str) -> None:
        super().__init__(issuer=ISSUER, resource_server=address)
        self.keys = keys

    def get_jwks(self) -> KeySet:
        return self.keys


async def test_authlib_lets_a_token_in_at_its_interface(house: House) -> None:
    """RFC 9068 §4, by a second judge: audience, type and scope (catalogue 76, 77)."""
    site = house.site("club-rs256")
    tokens = await tokens_of(await member(house), site, resource=API)
    async with house.client() as client:
        keys = KeySet.import_key_set((await client.get("/jwks")).json())
    for address, token, fine in (
        (API, tokens["access_token"], True),
        (SEARCH, tokens["access_token"], False),
        (API, tokens["id_token"], False),
        ("club-rs256", tokens["id_token"], False),
    ):
        judge = Interface(keys, address)
        try:
            found = judge.authenticate_token(token)
            judge.validate_token(found, ["openid"], None)
            let_in = True
        except Exception:
            let_in = False
        assert let_in is fine, (address, fine)


async def test_authlib_gets_a_token_for_its_site(house: House) -> None:
    """RFC 6749 §4.4 by a client that is not ours."""
    transport = httpx2.ASGITransport(app=house.app)
    async with AsyncOAuth2Client(
        "club-rs256", site_secret("club-rs256"), transport=transport, scope="reports:write"
    ) as client:
        answer = await client.fetch_token(f"{ISSUER}/token", grant_type="client_credentials")
        assert (answer["scope"], "refresh_token" in answer, "id_token" in answer) == ("reports:write", False, False)
        told = (await client.introspect_token(f"{ISSUER}/introspect", token=answer["access_token"])).json()
        assert (told["active"], told["sub"], told["aud"]) == (True, "club-rs256", [API, SEARCH])
