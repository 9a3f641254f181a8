"""The modules of the OP plans Dynamic and Third-party-initiated login that need a client which registered itself, each as
a test of the same name.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from tests.conformance.suite import CALLBACK, Signed, Suite, conformance
from tests.support.house import ISSUER, House, Sandboxes, Shown
from tests.support.sandbox import serve
from tests.support.tls import Authority

from broker.domain.audit import Act
from broker.domain.claims import SCOPES
from broker.domain.values import ClientId
from providers.sandbox.avatar import portrait

OTHER: Final = "https://suite.club.example:8443/test/a/doorward/other"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Host:
    """The suite's own web server: keys of a client, and the list of a sector."""

    url: str = ""
    keys: list[RSAKey] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    request: str = ""
    """A request object."""
    logo: bytes = b""

    def new_key(self) -> RSAKey:
        """Instead of the one before, as a client that rotates does."""
        self.keys = [RSAKey.generate_key(2048, {"kid": f"rp-{len(self.keys)}-{time.monotonic_ns()}", "use": "sig"})]
        return self.keys[0]


@contextmanager
def hosting() -> Iterator[Host]:
    host = Host()

    async def jwks(_: Request) -> JSONResponse:
        return JSONResponse({"keys": [key.as_dict(private=False) for key in host.keys]})

    async def sector(_: Request) -> JSONResponse:
        return JSONResponse(host.listed)

    async def request_object(_: Request) -> PlainTextResponse:
        return PlainTextResponse(host.request)

    async def logo(_: Request) -> Response:
        return Response(host.logo, media_type="image/png")

    routes = [
        Route("/images/openid.png", logo),
        Route("/jwks", jwks),
        Route("/redirect_uris.json", sector),
        Route("/request.jwt", request_object),
    ]
    with serve(Starlette(routes=routes)) as url:
        host.url = url
        yield host


@dataclass
class Dynamic(Suite):
    """A client that registered itself, with the secret or the key it has."""

    secret: str = ""
    key: RSAKey | None = None

    async def token(self, form: dict[str, str]) -> httpx2.Response:
        """By the method that was registered."""
        headers = {}
        if self.key is None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{self.client}:{self.secret}".encode()).decode()
        else:
            form = {**form, "client_assertion_type": ASSERTION, "client_assertion": self.assertion(self.key)}
        async with self.house.client() as client:
            return await client.post(urlsplit(self.metadata["token_endpoint"]).path, data=form, headers=headers)

    def assertion(self, key: RSAKey) -> str:
        """To our issuer's address (OpenID Connect Core §9)."""
        now = int(self.house.clock.now().timestamp())
        claims = {"iss": self.client, "sub": self.client, "aud": ISSUER, "jti": str(time.monotonic_ns()), "iat": now}
        return jwt.encode({"alg": "RS256", "kid": key.kid}, claims | {"exp": now + 60}, key, algorithms=["RS256"])


@dataclass
class Office:
    """Where the modules' clients come from."""

    house: House
    host: Host
    suite: Suite

    async def answer(self, **said: Any) -> httpx2.Response:
        """What registration says; the suite sends its initial access token with each."""
        flow = self.house.world.registrations
        assert flow is not None
        token = await flow.invite(frozenset(SCOPES), uses=1, days=1, note="", act=Act(by="test", why="test"))
        path = urlsplit(self.suite.metadata["registration_endpoint"]).path
        body = {"client_name": "Suite", "redirect_uris": [CALLBACK], "response_types": ["code"]} | said
        async with self.house.client() as client:
            return await client.post(path, json=body, headers={"Authorization": f"Bearer {token.reveal()}"})

    async def client(self, *, key: RSAKey | None = None, **said: Any) -> Dynamic:
        answer = await self.answer(**said)
        assert answer.status_code == 201, answer.text
        told = answer.json()
        browser, metadata = self.house.browser(), self.suite.metadata
        secret = told.get("client_secret", "")
        return Dynamic(self.house, "query", metadata, browser, told["client_id"], secret=secret, key=key)

    async def keyed(self, **said: Any) -> Dynamic:
        """One that proves itself with a key that it publishes."""
        key, address = self.host.new_key(), f"{self.host.url}/jwks"
        return await self.client(key=key, token_endpoint_auth_method="private_key_jwt", jwks_uri=address, **said)


@pytest.fixture
def host() -> Iterator[Host]:
    with hosting() as opened:
        yield opened


@pytest.fixture
async def office(tmp_path: Path, sandboxes: Sandboxes, authority: Authority, host: Host) -> AsyncIterator[Office]:
    allowed = f'[egress."{urlsplit(host.url).netloc}"]\nregistered_sites = true\n\n'
    async with conformance(
        tmp_path, sandboxes, authority, broker=lambda text: text.replace("[egress.", f"{allowed}[egress.", 1)
    ) as house:
        yield Office(house, host, await Suite.begin(house, "query"))


def assert_page(end: dict[str, str] | Shown) -> None:
    """A page of ours, and no way on."""
    assert isinstance(end, Shown), end
    assert 400 <= end.status < 500
    assert end.url.startswith(ISSUER)
    assert {"location", "refresh"}.isdisjoint(end.response.headers)


async def test_oidcc_idtoken_rs256(office: Office) -> None:
    client = await office.client(id_token_signed_response_alg="RS256")
    signed = await client.sign_in()
    assert signed.header["alg"] == "RS256"


async def test_oidcc_userinfo_rs256(office: Office) -> None:
    """A JWT of ours, for it alone, with the subject of its ID token; and no ID token."""
    client = await office.client(userinfo_signed_response_alg="RS256")
    signed = await client.sign_in()
    async with client.house.client() as http:
        answer = await http.get("/userinfo", headers={"Authorization": f"Bearer {signed.access_token}"})
        keys = (await http.get("/jwks")).json()
    assert answer.headers["content-type"].split(";")[0] == "application/jwt"
    told = jwt.decode(answer.text, KeySet.import_key_set(keys), algorithms=["RS256"])
    assert (told.claims["iss"], told.claims["aud"]) == (ISSUER, client.client)
    assert told.claims["sub"] == signed.claims["sub"]
    assert told.header["typ"] != signed.header["typ"]
    assert client.house.world.signer.own(answer.text, typ=signed.header["typ"], now=client.house.clock.now()) is None


async def test_oidcc_ensure_redirect_uri_in_authorization_request(office: Office) -> None:
    client = await office.client(redirect_uris=[CALLBACK, OTHER])
    assert_page(await client.authorize(client.request(redirect_uri=None)))


async def test_oidcc_redirect_uri_query_ok(office: Office) -> None:
    client = await office.client(redirect_uris=[f"{CALLBACK}?foo=bar"])
    answer = await client.answered(redirect_uri=f"{CALLBACK}?foo=bar")
    assert answer["foo"] == "bar"
    assert answer["code"]


async def test_oidcc_redirect_uri_query_mismatch(office: Office) -> None:
    client = await office.client(redirect_uris=[f"{CALLBACK}?foo=bar"])
    assert_page(await client.authorize(client.request(redirect_uri=f"{CALLBACK}?bar=foo")))


async def test_oidcc_redirect_uri_query_added(office: Office) -> None:
    client = await office.client()
    assert_page(await client.authorize(client.request(redirect_uri=f"{CALLBACK}?foo=bar")))


async def test_oidcc_redirect_uri_regfrag(office: Office) -> None:
    answer = await office.answer(redirect_uris=[f"{CALLBACK}#foobar"])
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_redirect_uri", "invalid_client_metadata"}


async def test_oidcc_registration_policy_uri(office: Office) -> None:
    await assert_linked(office, "policy_uri")


async def test_oidcc_registration_tos_uri(office: Office) -> None:
    await assert_linked(office, "tos_uri")


async def test_oidcc_registration_logo_uri(office: Office) -> None:
    """Where the person signs in and where they decide, after an admin looked at it; before, it could be anybody's (catalogue 141)."""
    world, own = office.house.world, office.host.url
    office.host.logo = portrait("suite", 64, 64)
    client = await office.client(redirect_uris=[f"{own}/callback"], logo_uri=f"{own}/images/openid.png")
    request = client.request(redirect_uri=f"{own}/callback")
    address = f"{client.metadata['authorization_endpoint']}?{httpx2.QueryParams(request)}"
    shown = await client.browser.open(address)
    assert "<img " not in shown.response.text
    assert own not in shown.response.headers["content-security-policy"]
    kept = await world.durable.registrations.load(ClientId(client.client))
    known = await world.clients.look(client.client)
    assert world.registrations is not None
    assert kept is not None
    assert known is not None
    drawn = await world.logos.looked_at(known)
    assert drawn is not None
    await world.registrations.reviews.reviewed(kept, Act(by="test", why="test"), drawn.logo)
    await world.logos.reload()
    shown = await client.browser.open(address)
    assert shown.path.endswith("/sign-in")
    image = f'<img src="/logo/{drawn.logo.digest}.png" alt=""'
    assert image in shown.response.text
    await client.browser.choose("openid", "every-claim")
    await client.browser.press("decision=continue")
    await client.browser.press("decision=create", fill={"preferred_username": "evren"})
    assert client.browser.page.path.endswith("/site")
    assert image in client.browser.page.response.text


async def assert_linked(office: Office, member: str) -> None:
    """A link to it stands where the person decides."""
    address = f"https://suite.club.example:8443/test/a/doorward/{member}"
    client = await office.client(key=None, **{member: address})
    browser = client.browser
    await browser.open(f"{client.metadata['authorization_endpoint']}?{httpx2.QueryParams(client.request())}")
    await browser.choose("openid", "every-claim")
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "evren"})
    shown = browser.page
    assert shown.path.endswith("/site")
    assert f'href="{address}"' in shown.response.text


async def test_oidcc_registration_jwks_uri(office: Office) -> None:
    signed = await (await office.keyed()).sign_in()
    assert signed.access_token


async def test_oidcc_registration_sector_uri(office: Office) -> None:
    office.host.listed = [CALLBACK, OTHER]
    answer = await office.answer(subject_type="pairwise", sector_identifier_uri=f"{office.host.url}/redirect_uris.json")
    assert answer.status_code == 201, answer.text
    assert answer.json()["sector_identifier_uri"].endswith("/redirect_uris.json")


async def test_oidcc_registration_sector_bad(office: Office) -> None:
    office.host.listed = [OTHER]
    answer = await office.answer(subject_type="pairwise", sector_identifier_uri=f"{office.host.url}/redirect_uris.json")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_oidcc_request_uri_signed_rs256(office: Office) -> None:
    """What it left there counts, and not what stands beside it. The suite's address has a fragment, as §6.2 advises."""
    address, key = f"{office.host.url}/request.jwt#GkurKxf5T0Y", office.host.new_key()
    client = await office.client(request_uris=[address], jwks_uri=f"{office.host.url}/jwks")
    params = client.request()
    now = int(office.house.clock.now().timestamp())
    claims = {**params, "iss": client.client, "aud": ISSUER, "iat": now, "nbf": now, "exp": now + 60}
    header = {"alg": "RS256", "kid": key.kid, "typ": "oauth-authz-req+jwt"}
    office.host.request = jwt.encode(header, claims, key, algorithms=["RS256"])
    sent = {**params, "request_uri": address, "state": "beside", "nonce": "beside"}
    answer = await client.authorize(sent)
    assert isinstance(answer, dict), answer.text
    assert answer["state"] == params["state"]
    signed = await client.read(answer, await client.redeem(answer["code"]), params["nonce"])
    assert await client.userinfo(signed)


async def test_oidcc_3rd_party_init_login(office: Office) -> None:
    """It is registered, and told again to who asks at the registration's own address."""
    address = "https://suite.club.example:8443/test/a/doorward/initiate_login"
    told = (await office.answer(initiate_login_uri=address)).json()
    assert told["initiate_login_uri"] == address
    async with office.house.client() as client:
        headers = {"Authorization": f"Bearer {told['registration_access_token']}"}
        again = await client.get(urlsplit(told["registration_client_uri"]).path, headers=headers)
    assert again.json()["initiate_login_uri"] == address


async def test_oidcc_3rd_party_init_login_nohttps(office: Office) -> None:
    answer = await office.answer(initiate_login_uri="http://suite.club.example:8443/test/a/doorward/initiate_login")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_oidcc_server_rotate_keys(office: Office) -> None:
    """What was there stays, and something is new; what was signed before is still good."""
    client = await office.client()
    before = await client.keys()
    signed = await client.sign_in()
    await office.house.opened.keys.rotate()
    after = await client.keys()
    assert {key.kid for key in before.keys} < {key.kid for key in after.keys}
    read = jwt.decode(signed.tokens["id_token"], KeySet(list(after.keys)), algorithms=["RS256"])
    assert read.claims["sub"] == signed.claims["sub"]


async def test_oidcc_refresh_token_rp_key_rotation(office: Office) -> None:
    client = await office.keyed(grant_types=["authorization_code", "refresh_token"])
    signed = await client.sign_in(scope="openid offline_access", prompt="consent")
    office.house.clock.move(minutes=2)
    client.key = office.host.new_key()
    answer = await client.token({"grant_type": "refresh_token", "refresh_token": signed.tokens["refresh_token"]})
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.content)["access_token"] != signed.access_token


async def test_oidcc_ensure_client_assertion_with_iss_aud_succeeds(office: Office) -> None:
    signed = await (await office.keyed()).sign_in()
    assert isinstance(signed, Signed)
