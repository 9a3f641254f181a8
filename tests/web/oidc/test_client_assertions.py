"""Sites that prove themselves with a signature, at every endpoint for servers; and keys that they publish themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from joserfc.jwk import OctKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.support.client_keys import Key, assertion, key_set, new_key
from tests.support.house import DOORWARD_TOML, ISSUER, SITES_TOML, House, Sandboxes, Site, open_house, site_secret
from tests.support.sandbox import serve
from tests.web.desk import OFFLINE, connect, member

SIGNING_SECRET = site_secret("hashed")


def table(name: str, *lines: str) -> str:
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


@dataclass
class Publisher:
    """A site's server that publishes its keys."""

    body: bytes = b""
    status: int = 200
    asked: int = 0
    url: str = ""
    headers: dict[str, str] = field(default_factory=lambda: {"Cache-Control": "max-age=3600"})

    def publish(self, *keys: Key) -> None:
        self.body = key_set(*keys).encode()

    async def answer(self, _request: Request) -> Response:
        self.asked += 1
        return Response(self.body, self.status, headers=self.headers, media_type="application/json")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    one = Publisher()
    with serve(Starlette(routes=[Route("/jwks", one.answer)])) as url:
        one.url = url
        yield one


@asynccontextmanager
async def keyed_house(
    folder: Path, sandboxes: Sandboxes, publisher: Publisher, egress: str = ""
) -> AsyncIterator[House]:
    sites = (
        SITES_TOML
        + table("keyed", 'auth_method = "private_key_jwt"', f"jwks = '{key_set(new_key())}'")
        + table("far", 'auth_method = "private_key_jwt"', f'jwks_uri = "{publisher.url}/jwks"')
        + table("hashed", 'auth_method = "client_secret_jwt"', 'client_secret = { env = "HASHED_SECRET" }')
    )
    environ = {"HASHED_SECRET": SIGNING_SECRET}
    doorward = DOORWARD_TOML + egress
    async with open_house(folder, sandboxes, sites=sites, doorward=doorward, environ=environ) as opened:
        yield opened


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, publisher: Publisher) -> AsyncIterator[House]:
    publisher.publish(new_key())
    allowed = f'\n[egress."{publisher.url.removeprefix("http://")}"]\n'
    async with keyed_house(tmp_path, sandboxes, publisher, allowed) as opened:
        yield opened


async def post(house: House, path: str, form: dict[str, str], **headers: str) -> httpx2.Response:
    async with house.client() as client:
        return await client.post(path, data=form, headers=headers)


def proof(house: House, name: str, **changes: Any) -> dict[str, str]:
    key: Key = OctKey.import_key(SIGNING_SECRET) if name == "hashed" else new_key()
    given: dict[str, Any] = {"key": key, "audience": ISSUER, "algorithm": "HS256" if name == "hashed" else "ES256"}
    return assertion(client_id=name, now=house.clock.now(), **(given | changes))


async def redeemed(house: House, site: Site, name: str) -> dict[str, Any]:
    arrival = await connect(await member(house), site, scope=OFFLINE, tick=("offline_access",))
    form = {
        "grant_type": "authorization_code",
        "code": arrival.code,
        "redirect_uri": site.redirect_uri,
        "code_verifier": site.verifier_of(arrival),
    }
    answer = await post(house, "/token", form | proof(house, name))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("name", ["keyed", "far", "hashed"])
async def test_a_signature_is_taken_at_every_endpoint_for_servers(house: House, name: str) -> None:
    """Code, refresh, introspection and revocation (RFC 7523 §2.2, RFC 7662 §2.1, RFC 7009 §2.1)."""
    tokens = await redeemed(house, house.site(name), name)
    renewing = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    renewed = await post(house, "/token", renewing | proof(house, name))
    assert renewed.status_code == 200, renewed.text
    token = {"token": renewed.json()["access_token"]}
    asked = await post(house, "/introspect", token | proof(house, name))
    assert asked.json()["active"] is True
    assert (await post(house, "/revoke", token | proof(house, name))).status_code == 200
    asked = await post(house, "/introspect", token | proof(house, name))
    assert asked.json() == {"active": False}


async def test_one_signature_opens_one_door_once(house: House) -> None:
    """The same assertion again, at the same or another endpoint, is a stranger's (catalogue 55)."""
    once = proof(house, "keyed")
    assert (await post(house, "/introspect", {"token": "x"} | once)).status_code == 200
    for path in ("/introspect", "/revoke", "/token"):
        answer = await post(house, path, {"token": "x", "grant_type": "x"} | once)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), path


async def test_a_site_that_signs_is_let_in_by_nothing_else(house: House) -> None:
    """And one that holds a secret by no other use of it than its own (catalogue 55)."""
    for name, secret in (("keyed", ""), ("hashed", SIGNING_SECRET), ("forum", site_secret("forum"))):
        form = {"token": "x", "client_id": name, "client_secret": secret}
        answer = await post(house, "/introspect", form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), name
    async with house.client(auth=("tracker", site_secret("tracker"))) as client:
        answer = await client.post("/introspect", data={"token": "x"})
    assert answer.status_code == 401


async def test_the_log_tells_a_sites_admin_what_was_wrong(house: House) -> None:
    """By the name of the check; the site hears one refusal, and nothing of the token is written down."""
    for changes in ({"audience": "https://evil.test"}, {"exp": 1}, {"key": new_key("ES256", "other")}):
        bad = proof(house, "keyed", **changes)
        answer = await post(house, "/token", {"grant_type": "x"} | bad)
        assert answer.json()["error_description"] == "Client authentication failed."
        assert bad["client_assertion"] not in house.log
    lines = [line for line in map(orjson.loads, house.log.splitlines()) if line["event"] == "problem"]
    assert [(line["client"], line["check"]) for line in lines] == [
        ("keyed", "client_assertion aud"),
        ("keyed", "client_assertion exp"),
        ("keyed", "client_assertion kid"),
    ]


# --- keys at an address -------------------------------------------------------------------------------


async def asks(house: House, **changes: Any) -> int:
    return (await post(house, "/introspect", {"token": "x"} | proof(house, "far", **changes))).status_code


async def test_published_keys_are_fetched_once(house: House, publisher: Publisher) -> None:
    """When they are first needed; then kept as long as the site says."""
    assert publisher.asked == 0
    assert [await asks(house) for _ in range(5)] == [200] * 5
    assert publisher.asked == 1
    house.clock.move(minutes=61)
    assert await asks(house) == 200
    assert publisher.asked == 2


async def test_a_new_key_is_found_and_made_up_ones_cost_one_look_a_minute(house: House, publisher: Publisher) -> None:
    """(catalogue 70)"""
    assert await asks(house) == 200
    fresh = new_key("ES256", "site-2")
    publisher.publish(new_key(), fresh)
    assert await asks(house, key=fresh) == 200
    assert publisher.asked == 2
    assert [await asks(house, key=new_key("ES256", f"made-up-{number}")) for number in range(6)] == [401] * 6
    assert publisher.asked == 2
    house.clock.move(minutes=1)
    assert await asks(house, key=new_key("ES256", "made-up-7")) == 401
    assert publisher.asked == 3


async def test_a_key_taken_back_speaks_no_more(house: House, publisher: Publisher) -> None:
    assert await asks(house) == 200
    publisher.publish(new_key("ES256", "site-2"))
    house.clock.move(minutes=61)
    assert await asks(house) == 401


async def test_keys_last_known_serve_while_the_site_is_away(house: House, publisher: Publisher) -> None:
    publisher.status = 500
    assert await asks(house) == 401
    publisher.status = 200
    house.clock.move(seconds=5)
    assert await asks(house) == 200
    publisher.status = 503
    house.clock.move(minutes=61)
    assert await asks(house) == 200
    publisher.body, publisher.status = b"[]", 200
    house.clock.move(minutes=61)
    assert await asks(house) == 200
    assert "client_assertion status 500 jwks" in house.log


async def test_nobody_is_asked_for_a_strangers_sake(house: House, publisher: Publisher) -> None:
    """Neither a header's address nor a proof of another kind makes us connect anywhere (catalogue 71)."""
    assert (await post(house, "/token", {"client_id": "far", "client_secret": "x"})).status_code == 401
    assert (await post(house, "/token", {"grant_type": "x"} | proof(house, "keyed"))).status_code == 400
    assert await asks(house, algorithm="ES256", key=new_key(), sub="nobody") == 401
    assert publisher.asked == 0


async def test_keys_are_fetched_by_the_guarded_client(
    tmp_path: Path, sandboxes: Sandboxes, publisher: Publisher
) -> None:
    """Without an exception of the admin's, nothing inside is asked (catalogue 138)."""
    publisher.publish(new_key())
    async with keyed_house(tmp_path, sandboxes, publisher) as house:
        assert await asks(house) == 401
        assert "client_assertion scheme 127.0.0.1" in house.log
    assert publisher.asked == 0
