"""The suite's two modules in which a relying party leaves its request for the provider to fetch (OpenID Connect Core §6.2).

We register ourselves with what we sign by, and the sandbox provider takes no other request of ours; it fetches our keys too.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from tests.conformance.test_relying_party import let_in
from tests.support.house import ISSUER, PROVIDERS_TOML, House, Sandboxes, Shown, open_house

from broker.egress import Egress, Exemption
from providers._registration import about_us, register

ASKED = "/authorize"


@asynccontextmanager
async def registered(
    folder: Path, sandboxes: Sandboxes, way: str, algorithm: str, *, allowed: str = ""
) -> AsyncIterator[House]:
    """A Doorward that registered itself with this way of asking. `allowed`: another algorithm than it uses."""
    host, _, port = sandboxes.openid.host.partition(":")
    egress = Egress(exemptions=[Exemption(host=host, port=int(port))])
    us = about_us(
        name="Club",
        issuer=ISSUER,
        provider="openid",
        request_object=way,
        request_object_signing_alg=allowed or algorithm,
    )
    try:
        made = await register(egress, sandboxes.openid.url, us, None)
    finally:
        await egress.aclose()
    options = f'request_object = "{way}"\nrequest_object_signing_alg = "{algorithm}"\n'
    providers = PROVIDERS_TOML.replace("%(openid_client)s", made.client_id) + options
    secret = {"OPENID_SECRET": made.secret.reveal()}
    async with open_house(folder, sandboxes, providers=providers, environ=secret) as house:
        loop = asyncio.get_running_loop()

        async def read(address: str) -> bytes:
            """The sandbox, in a thread of its own, reaches the house."""
            if not address.startswith(f"{ISSUER}/"):
                raise OSError(address)
            done = asyncio.run_coroutine_threadsafe(_get(house, address), loop)
            return await asyncio.wrap_future(done)

        sandboxes.openid.state.fetch = read
        yield house


async def _get(house: House, address: str) -> bytes:
    async with house.client() as client:
        answer = await client.get(address)
    if answer.status_code != 200:
        raise OSError(answer.status_code)
    return answer.content


async def sent(house: House) -> dict[str, str]:
    """What stands in the address that a browser is sent to."""
    browser = house.browser()
    await browser.open("/sign-in")
    await browser.press("provider=openid")
    away = str(browser.history[-1].url)
    return dict(parse_qsl(urlsplit(away).query))


async def asked_with(house: House) -> dict[str, Any]:
    (line,) = [line for line in await house.openid.log() if line["path"] == ASKED]
    return line


async def test_oidcc_client_test_request_uri_signed_rs256(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with registered(tmp_path, sandboxes, "by_reference", "RS256") as house:
        await let_in(house)
        line = await asked_with(house)
        assert line["object_signed_with"] == "RS256"
        assert set(line["query"]) == {"client_id", "response_type", "scope", "request_uri"}
        assert {"state", "nonce", "code_challenge", "redirect_uri"} <= set(line["object_says"])


async def test_oidcc_client_test_request_uri_signed_none(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Nobody signs it, and it is fetched from us: state, nonce and PKCE hold as ever."""
    async with registered(tmp_path, sandboxes, "by_reference", "none") as house:
        asked = [line["path"] for line in await let_in(house)]
        line = await asked_with(house)
        assert line["object_signed_with"] == "none"
        assert {"state", "nonce", "code_challenge", "redirect_uri"} <= set(line["object_says"])
        assert asked.count("/token") == 1
        assert await _get(house, f"{ISSUER}/client-jwks") == b'{"keys":[]}', "no key is made for nothing"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_an_object_in_the_address_is_signed_too(tmp_path: Path, sandboxes: Sandboxes, algorithm: str) -> None:
    async with registered(tmp_path, sandboxes, "by_value", algorithm) as house:
        await let_in(house)
        line = await asked_with(house)
        assert line["object_signed_with"] == algorithm
        assert set(line["query"]) == {"client_id", "response_type", "scope", "request"}


async def test_a_provider_that_wants_another_signature_takes_nobody(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with registered(tmp_path, sandboxes, "by_reference", "none", allowed="RS256") as house:
        shown = await come_in_or_not(house)
        assert shown.url.startswith(sandboxes.openid.url)
        assert "invalid_request_object" in shown.text
        assert "/token" not in [line["path"] for line in await house.openid.log()]


async def come_in_or_not(house: House) -> Shown:
    await house.openid.order(persona="lucas")
    browser = house.browser()
    await browser.open("/sign-in")
    shown = await browser.press("provider=openid")
    assert isinstance(shown, Shown)
    return shown


async def test_a_request_lies_there_for_minutes_and_says_nothing_of_the_person(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """As its own type, for nobody's cache, under keys that sign no token of ours; at any other address there is nothing."""
    async with registered(tmp_path, sandboxes, "by_reference", "ES256") as house:
        address = (await sent(house))["request_uri"]
        assert address.startswith(f"{ISSUER}/requests/openid/")
        assert len(address) <= 512, "OpenID Connect Core §6.2"
        async with house.client() as client:
            answer = await client.get(address)
            assert answer.headers["content-type"] == "application/oauth-authz-req+jwt"
            assert answer.headers["cache-control"] == "no-store"
            keys, tokens = (await client.get("/client-jwks")).json(), (await client.get("/jwks")).json()
            names = {key["kid"] for key in keys["keys"]}
            assert not names & {key["kid"] for key in tokens["keys"]}
            signed = jws.deserialize_compact(answer.text, KeySet.import_key_set(keys), algorithms=["ES256"])
            said = json.loads(signed.payload)
            assert said["aud"] == sandboxes.openid.url
            assert said["iss"] == said["client_id"]
            assert "sub" not in said
            assert said["exp"] - said["iat"] == 300
            assert (await client.get(address)).text == answer.text, "a page that is loaded again"
            for other in (address[:-1], address.replace("/openid/", "/facebook/"), f"{address}x"):
                assert (await client.get(other)).status_code == 404
            await house.move(minutes=5, seconds=1)
            assert (await client.get(address)).status_code == 404
        assert urlsplit(address).path.rpartition("/")[2] not in house.log


async def test_what_is_asked_changes_by_nothing_but_its_wrapping(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The same names, and numbers as numbers (OpenID Connect Core §6.1)."""
    async with open_house(tmp_path / "plain", sandboxes) as house:
        plain = await sent(house)
    async with registered(tmp_path / "object", sandboxes, "by_value", "RS256") as house:
        request = (await sent(house))["request"]
    body = request.split(".")[1]
    said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert set(said) == {*plain, "iss", "aud", "iat", "nbf", "exp", "jti"}
    assert said["redirect_uri"] == plain["redirect_uri"]
    assert said["code_challenge_method"] == "S256"
