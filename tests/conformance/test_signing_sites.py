"""Sites that sign what they send, made with software that is none of ours: `openid-client` in Node, and Authlib.

The rules are those of the FAPI 2.0 and OpenID Connect test plans for `private_key_jwt` and `client_secret_jwt`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from authlib.common.security import generate_token
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT
from tests.journeys.node_sites import NODE_SITES, Town, on_the_wire
from tests.support.client_keys import key_set, new_key
from tests.support.house import ISSUER, SITES_TOML, Arrival, House, Sandboxes, open_house, site_secret
from tests.support.source import ROOT
from tests.support.tls import Authority
from tests.web.desk import OFFLINE, member

SIGNED = ROOT / "tests/node/signed.mjs"


def signing_site(name: str, *lines: str) -> str:
    return f"""
[{name}]
name = "{name.title()}"
url = "https://{name}.test"
redirect_uris = ["https://{name}.test/callback"]
{chr(10).join(lines)}

[{name}.asks.preferred_username]
use = "needed"
why = {{ en = "To greet you.", fr = "Pour vous saluer." }}
"""


def keyed(name: str, *lines: str) -> str:
    keys = key_set(new_key("ES256"), new_key("RS256", "rsa-1"), new_key("Ed25519", "ed-1"))
    return signing_site(name, 'auth_method = "private_key_jwt"', f"jwks = '{keys}'", *lines)


HASHED = signing_site("hashed", 'auth_method = "client_secret_jwt"', 'client_secret = { env = "HASHED_SECRET" }')
PUSHING = keyed("pushing", "strict_jwt = true", "par_required = true")
SIGNING = keyed("signing", "strict_jwt = true", 'request_object = "required"')
PROFILED = keyed("profiled", 'profile = "fapi2"') + keyed("all-signed", 'profile = "fapi2-message-signing"')
SITES = SIGNING + PROFILED + keyed("keyed") + keyed("strict", "strict_jwt = true") + PUSHING + HASHED
ENVIRON = {"HASHED_SECRET": site_secret("hashed"), "NODE_SECRET": site_secret("node")}
CHALLENGED = "OAUTH_WWW_AUTHENTICATE_CHALLENGE"
"""What `openid-client` calls 401 with a challenge (RFC 6749 §5.2)."""
KIDS = {"ES256": "site-1", "RS256": "rsa-1", "PS256": "rsa-1", "Ed25519": "ed-1"}


# --- openid-client ------------------------------------------------------------------------------------


@pytest.fixture
async def town(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[Town]:
    async with on_the_wire(tmp_path, sandboxes, authority, sites=NODE_SITES + SITES, environ=ENVIRON) as opened:
        yield opened


def private_jwk(algorithm: str) -> dict[str, Any]:
    family = "RS256" if algorithm == "PS256" else algorithm
    return dict(new_key(family, KIDS[algorithm]).as_dict(private=True))


async def by_openid_client(
    town: Town, name: str, *, person: str = "ana", signature: str = "", **options: Any
) -> dict[str, Any]:
    """A whole sign-in; what the program says at its end."""
    given = {"issuer": town.base, "clientId": name, "redirectUri": f"https://{name}.test/callback", **options}
    ana = await town.visitor(person)
    async with town.node(str(SIGNED), json.dumps(given)) as flow:
        told = await flow.said()
        if "authorization_url" not in told:
            return told
        end = await ana.go(told["authorization_url"])
        if not isinstance(end, Arrival):
            end = await ana.press("decision=share", tick=("offline_access",))
        assert isinstance(end, Arrival)
        await flow.tell(end.url[: -len(signature)] + signature if signature else end.url)
        return await flow.said() | {"asked": told["authorization_url"]}


@pytest.mark.parametrize(
    ("name", "algorithm"), [("keyed", "ES256"), ("keyed", "RS256"), ("keyed", "PS256"), ("keyed", "Ed25519"), ("strict", "ES256")]
)  # fmt: skip
async def test_openid_client_proves_itself_with_a_key(town: Town, name: str, algorithm: str) -> None:
    """At the token, introspection and revocation endpoints."""
    result = await by_openid_client(town, name, auth="private_key_jwt", key=private_jwk(algorithm), alg=algorithm)
    assert result["ok"] is True, result
    assert result["active"] == [True, False]
    assert result["userinfo"]["preferred_username"] == "ana"


async def test_openid_client_proves_itself_with_a_secret_that_it_never_sends(town: Town) -> None:
    result = await by_openid_client(town, "hashed", auth="client_secret_jwt", secret=site_secret("hashed"))
    assert result["ok"] is True, result
    assert result["active"] == [True, False]


async def test_openid_client_pushes_its_requests(town: Town) -> None:
    """With a key, to a site whose requests are taken in no other way; the browser carries a reference alone."""
    refused = await by_openid_client(town, "pushing", auth="private_key_jwt", key=private_jwk("ES256"), alg="ES256")
    assert (refused["ok"], refused["step"], refused["error"]) == (False, "code", "invalid_request")
    result = await by_openid_client(
        town, "pushing", person="ben", auth="private_key_jwt", key=private_jwk("ES256"), alg="ES256", par=True
    )
    assert result["ok"] is True, result
    assert set(parse_qs(urlsplit(result["asked"]).query)) == {"client_id", "request_uri"}


@pytest.mark.parametrize(("algorithm", "more"), [("ES256", {}), ("PS256", {}), ("Ed25519", {"par": True})])
async def test_openid_client_signs_its_requests(town: Town, algorithm: str, more: dict[str, Any]) -> None:
    """Brought by the browser or pushed, to a site that is heard in no other way (RFC 9101)."""
    given: dict[str, Any] = {"auth": "private_key_jwt", "key": private_jwk(algorithm), "alg": algorithm}
    refused = await by_openid_client(town, "signing", **given)
    assert (refused["ok"], refused["error"]) == (False, "invalid_request")
    town.house.clock.at = datetime.now(UTC)
    result = await by_openid_client(town, "signing", person="ben", jar=True, **given, **more)
    assert result["ok"] is True, result
    names = {"client_id", "request_uri" if more else "request"}
    assert set(parse_qs(urlsplit(result["asked"]).query)) == names


@pytest.mark.parametrize("more", [{}, {"jar": True}, {"jar": True, "par": True}])
async def test_openid_client_has_its_answers_signed(town: Town, more: dict[str, Any]) -> None:
    """It checks signature, issuer, audience and end itself (JARM §2.4), also where it signs and pushes what it asks."""
    town.house.clock.at = datetime.now(UTC)
    given: dict[str, Any] = {"auth": "private_key_jwt", "key": private_jwk("ES256"), "alg": "ES256"}
    result = await by_openid_client(town, "keyed", jarm=True, **given, **more)
    assert result["ok"] is True, result
    assert result["userinfo"]["preferred_username"] == "ana"


async def test_openid_client_believes_no_answer_that_was_changed(town: Town) -> None:
    """JARM §2.4."""
    given: dict[str, Any] = {"auth": "private_key_jwt", "key": private_jwk("ES256"), "alg": "ES256"}
    result = await by_openid_client(town, "keyed", jarm=True, signature="A" * 20, **given)
    assert (result["ok"], result["step"]) == (False, "code"), result


@pytest.mark.parametrize(
    ("name", "more", "missing"),
    [("profiled", {}, ()), ("all-signed", {"jar": True, "jarm": True}, ("jar", "jarm"))],
)
async def test_openid_client_speaks_fapi(town: Town, name: str, more: dict[str, Any], missing: tuple[str, ...]) -> None:
    """With all that the profile wants; without a key, a signature or signed answers it gets nothing."""
    key = {"auth": "private_key_jwt", "key": private_jwk("ES256"), "alg": "ES256"}
    whole: dict[str, Any] = {**key, **more, "par": True, "dpop": True}
    for left_out, person in zip(("dpop", *missing), ("ben", "cleo", "dan"), strict=False):
        town.house.clock.at = datetime.now(UTC)
        refused = await by_openid_client(town, name, person=person, **{**whole, left_out: False})
        assert refused["ok"] is False, left_out
    town.house.clock.at = datetime.now(UTC)
    result = await by_openid_client(town, name, **whole)
    assert result["ok"] is True, result
    assert (result["type"], result["rotated"], result["active"]) == ("dpop", False, [True, False])


async def test_openid_client_with_another_key_or_secret_gets_nothing(town: Town) -> None:
    """Nor a strict site with RS256 (catalogue 55)."""
    stranger = dict(new_key("ES256", "stranger").as_dict(private=True)) | {"kid": "site-1"}
    refused = await by_openid_client(town, "keyed", auth="private_key_jwt", key=stranger, alg="ES256")
    assert (refused["ok"], refused["step"], refused["error"]) == (False, "code", CHALLENGED)
    refused = await by_openid_client(town, "hashed", person="ben", auth="client_secret_jwt", secret="o" * 32)
    assert (refused["ok"], refused["step"], refused["error"]) == (False, "code", CHALLENGED)
    refused = await by_openid_client(
        town, "strict", person="cleo", auth="private_key_jwt", key=private_jwk("RS256"), alg="RS256"
    )
    assert (refused["ok"], refused["step"], refused["error"]) == (False, "code", CHALLENGED)


# --- Authlib ------------------------------------------------------------------------------------------


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, sites=SITES_TOML + SITES, environ=ENVIRON) as opened:
        yield opened


@pytest.mark.parametrize(("name", "lives"), [("keyed", 60), ("hashed", 60), ("keyed", 3600)])
async def test_authlib_proves_itself_with_a_signature(house: House, name: str, lives: int) -> None:
    """As long as the signature ends within five minutes; Authlib's own hour is too long (catalogue 55)."""
    ends = {"exp": int(house.clock.now().timestamp()) + lives}
    endpoint = f"{ISSUER}/token"
    method = PrivateKeyJWT(endpoint, claims=ends, alg="ES256", headers={"kid": "site-1"})
    if name == "hashed":
        method = ClientSecretJWT(endpoint, claims=ends)
    client: Any = AsyncOAuth2Client(
        client_id=name,
        client_secret=site_secret("hashed") if name == "hashed" else new_key(),
        token_endpoint_auth_method=method.name,
        redirect_uri=f"https://{name}.test/callback",
        scope=OFFLINE,
        code_challenge_method="S256",
        transport=httpx2.ASGITransport(app=house.app),
    )
    client.register_client_auth_method(method)
    ana, verifier = await member(house), generate_token(64)
    url, state = client.create_authorization_url(f"{ISSUER}/authorize", code_verifier=verifier, nonce="n-1")
    await ana.open(url)
    end = await ana.press("decision=share")
    assert isinstance(end, Arrival)
    redeeming = client.fetch_token(endpoint, authorization_response=end.url, state=state, code_verifier=verifier)
    if lives > 300:
        with pytest.raises(Exception, match="invalid_client"):
            await redeeming
        return
    assert {"access_token", "id_token"} <= set(await redeeming)
