"""The modules of the plans for transmitters of security events (Shared Signals, CAEP interoperability), by their names.

The receiver is software of the tests: requests by a plain HTTP client with a token of the client credentials grant, events
read with joserfc. Where a module is run for both ways of delivery, so is its test. What a module says of TLS is the proxy's.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.conformance.suite import Suite, conformance, secret_of
from tests.support.house import ISSUER, House, Sandboxes, Shown
from tests.support.sandbox import serve
from tests.support.tls import Authority

PUSH: Final = "urn:ietf:rfc:8935"
POLL: Final = "urn:ietf:rfc:8936"
SCHEMAS: Final = "https://schemas.openid.net/secevent"
VERIFICATION: Final = f"{SCHEMAS}/ssf/event-type/verification"
REVOKED: Final = f"{SCHEMAS}/caep/event-type/session-revoked"
CHANGED: Final = f"{SCHEMAS}/caep/event-type/credential-change"
COMPLIANCE: Final = f"{SCHEMAS}/caep/event-type/device-compliance-change"
KNOWN: Final = {REVOKED, CHANGED, COMPLIANCE}
SHIPPED_PUSH: Final = "https://suite.club.example:8443/test/a/doorward-events/ssf-push"
CALLBACK: Final = "https://suite.club.example:8443/test/a/doorward-events/callback"
BROKEN: Final = b";{ broken"
MAIL: Final = {"format": "email", "email": "example.user@example.com"}


@dataclass
class Ear:
    """Where events are pushed to."""

    url: str = ""
    heard: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Ear]:
    ear = Ear()

    async def hear(request: Request) -> Response:
        ear.heard.append(((await request.body()).decode(), dict(request.headers)))
        return Response(status_code=202)

    with serve(Starlette(routes=[Route("/ssf-push", hear, methods=["POST"])])) as url:
        ear.url = f"{url}/ssf-push"
        yield ear


@dataclass
class Receiver:
    """The suite: one client, one way of delivery, and one stream at a time."""

    house: House
    ear: Ear
    method: str
    about: dict[str, Any] = field(default_factory=dict)
    """Our `ssf-configuration`."""
    token: str = ""
    header: str | None = None
    """What it wants to see where events are pushed to."""
    stream: dict[str, Any] = field(default_factory=dict)
    state: str = ""
    """What it last asked to see again."""

    @property
    def client(self) -> str:
        return "conformance-push" if self.method == PUSH else "conformance-events"

    async def begin(self) -> Receiver:
        """What every module begins with: what we say of ourselves, a token of a short life, and no stream."""
        async with self.house.client() as client:
            found = await client.get("/.well-known/ssf-configuration")
            server = (await client.get("/.well-known/openid-configuration")).json()
            assert (found.status_code, found.headers["content-type"]) == (200, "application/json")
            self.about = found.json()
            assert self.method in self.about["delivery_methods_supported"]
            basic = base64.b64encode(f"{self.client}:{secret_of(self.client)}".encode()).decode()
            form = {"grant_type": "client_credentials", "scope": "ssf.read ssf.manage", "client_id": self.client}
            path = urlsplit(server["token_endpoint"]).path
            answer = await client.post(path, data=form, headers={"Authorization": f"Basic {basic}"})
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        assert tokens["token_type"].lower() == "bearer"
        assert 0 < tokens["expires_in"] <= 3600
        self.token = tokens["access_token"]
        if self.method == PUSH:
            self.header = f"Bearer push_token_{secrets.token_urlsafe(16)}"
        for stream in (await self.call("GET", "configuration_endpoint")).json():
            self.stream = stream
            assert (await self.delete()).status_code == 204
        self.stream = {}
        return self

    async def call(
        self, method: str, endpoint: str, *, json: Any = None, body: bytes | None = None, token: str | None = None
    ) -> httpx2.Response:
        """One request to an endpoint that we named, or to an address; about the stream, where it has no body."""
        url = self.about.get(endpoint, endpoint)
        assert url.startswith(f"{ISSUER}/")
        query = {}
        if json is None and body is None and "stream_id" in self.stream:
            query = {"stream_id": self.stream["stream_id"]}
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        async with self.house.client() as client:
            if body is not None:
                return await client.request(method, urlsplit(url).path, content=body, headers=headers)
            return await client.request(method, urlsplit(url).path, params=query, json=json, headers=headers)

    def wanted(self, **more: Any) -> dict[str, Any]:
        """The configuration that it asks for."""
        delivery = {"method": self.method}
        if self.method == PUSH:
            delivery["endpoint_url"] = self.ear.url
            if self.header is not None:
                delivery["authorization_header"] = self.header
        return {
            "description": "Stream of the suite",
            "events_requested": sorted(KNOWN),
            "delivery": delivery,
            **more,
        }

    async def create(self, **more: Any) -> httpx2.Response:
        answer = await self.call("POST", "configuration_endpoint", json=self.wanted(), **more)
        if answer.status_code == 201:
            self.stream = answer.json()
        return answer

    async def delete(self, **more: Any) -> httpx2.Response:
        return await self.call("DELETE", "configuration_endpoint", **more)

    async def change(self, method: str, **more: Any) -> httpx2.Response:
        """PATCH or PUT, as `OIDSSFUpdateStream…` and `OIDSSFReplaceStream…` do."""
        said = self.wanted(stream_id=self.stream.get("stream_id"), description=f"Stream after {method}")
        return await self.call(method, "configuration_endpoint", json=said, **more)

    async def thrown_away(self) -> None:
        """A stream that was there: its id is known, and there is none of that id."""
        assert (await self.create()).status_code == 201
        assert (await self.delete()).status_code == 204

    async def verify(self) -> None:
        self.state = secrets.token_urlsafe(16)
        said = {"stream_id": self.stream["stream_id"], "state": self.state}
        answer = await self.call("POST", "verification_endpoint", json=said)
        assert answer.status_code == 204, answer.text

    async def poll(self, *, ack: Any = None, most: int = 10) -> dict[str, str]:
        """RFC 8936 §2.4: to poll, to acknowledge, or both."""
        said: dict[str, Any] = {"maxEvents": most, "returnImmediately": True}
        if ack is not None:
            said["ack"] = sorted(ack)
        answer = await self.call("POST", self.stream["delivery"]["endpoint_url"], json=said)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        return dict(answer.json()["sets"])

    async def pushed(self, count: int) -> list[str]:
        """So many events, each with the header that was asked for, if any was."""
        for _ in range(50):
            await self.house.opened.deliverer.once()
            if len(self.ear.heard) >= count:
                break
            await asyncio.sleep(0.05)
        heard, self.ear.heard = self.ear.heard, []
        assert len(heard) == count
        for _, headers in heard:
            assert headers.get("authorization") == self.header
            assert headers["content-type"] == "application/secevent+jwt"
        return [token for token, _ in heard]

    async def read(self, token: str) -> dict[str, Any]:
        """What is checked of every event; its claims."""
        async with self.house.client() as client:
            keys = KeySet.import_key_set((await client.get(urlsplit(self.about["jwks_uri"]).path)).json())
        decoded = jwt.decode(token, keys, algorithms=["RS256"])
        claims = dict(decoded.claims)
        assert (decoded.header["alg"], decoded.header["typ"]) == ("RS256", "secevent+jwt")
        assert len(claims["events"]) == 1
        assert {"sub", "exp"}.isdisjoint(claims)
        assert claims["iss"] == self.about["issuer"] == self.stream["iss"]
        assert claims["iat"] <= self.house.clock.now().timestamp()
        assert claims["aud"] == self.stream["aud"]
        return claims

    async def assert_verified(self, token: str) -> None:
        """About the stream, with the state that was asked for."""
        claims = await self.read(token)
        assert claims["events"] == {VERIFICATION: {"state": self.state}}
        assert claims["sub_id"] == {"format": "opaque", "id": self.stream["stream_id"]}

    def assert_stream(self, answer: httpx2.Response, status: int) -> None:
        """A stream as it has to be (SSF 1.0 §8.1.1)."""
        assert answer.status_code == status, answer.text
        told = answer.json()
        assert {"stream_id", "iss", "aud", "events_delivered", "delivery"} <= told.keys()
        assert told["iss"] == self.about["issuer"]
        assert told["aud"]
        assert told["delivery"]["method"] == self.method
        assert set(told["events_supported"]) & KNOWN
        assert {uri.startswith(SCHEMAS) for uri in told["events_supported"]} == {True}
        assert set(told["events_delivered"]) == set(told["events_supported"]) & set(told["events_requested"])


@pytest.fixture
def ear() -> Iterator[Ear]:
    with listening() as opened:
        yield opened


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, authority: Authority, ear: Ear) -> AsyncIterator[House]:
    """The shipped configuration, with the receiver where the suite's own is in it."""
    place = f'[egress."{urlsplit(ear.url).netloc}"]\n\n'

    def sites(text: str) -> str:
        assert text.count(SHIPPED_PUSH) == 1
        return text.replace(SHIPPED_PUSH, ear.url)

    async with conformance(
        tmp_path,
        sandboxes,
        authority,
        change=sites,
        broker=lambda text: text.replace("[egress.", f"{place}[egress.", 1),
    ) as opened:
        yield opened


@pytest.fixture(params=[PUSH, POLL], ids=["push", "poll"])
async def either(house: House, ear: Ear, request: pytest.FixtureRequest) -> Receiver:
    return await Receiver(house, ear, request.param).begin()


@pytest.fixture
async def poller(house: House, ear: Ear) -> Receiver:
    return await Receiver(house, ear, POLL).begin()


@pytest.fixture
async def pushee(house: House, ear: Ear) -> Receiver:
    return await Receiver(house, ear, PUSH).begin()


def wrong() -> str:
    """As the suite makes one: no letter of it is in our tokens' alphabet at that place."""
    return f"invalid:{secrets.token_urlsafe(16)}"


def assert_unauthorized(answer: httpx2.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")


# --- what we say of ourselves -----------------------------------------------------------------------------


async def test_openid_ssf_transmitter_metadata(poller: Receiver) -> None:
    about = poller.about
    assert about["issuer"] == ISSUER
    assert about["spec_version"] == "1_0"
    for name in (
        "jwks_uri", "configuration_endpoint", "status_endpoint", "verification_endpoint", "add_subject_endpoint",
        "remove_subject_endpoint",
    ):  # fmt: skip
        assert about[name].startswith("https://")
    assert about["default_subjects"] in {"ALL", "NONE"}
    assert set(about["delivery_methods_supported"]) == {PUSH, POLL}
    schemes = [scheme["spec_urn"] for scheme in about["authorization_schemes"]]
    assert "urn:ietf:rfc:6749" in schemes
    assert all(urn.startswith("urn:") for urn in schemes)
    assert all(value for value in about.values() if isinstance(value, list))
    async with poller.house.client() as client:
        keys = (await client.get(urlsplit(about["jwks_uri"]).path)).json()["keys"]
    assert "RS256" in {key["alg"] for key in keys}
    assert len({key["kid"] for key in keys}) == len(keys)
    assert all({"d", "p", "q", "k"}.isdisjoint(key) for key in keys)


# --- streams ----------------------------------------------------------------------------------------------


async def test_openid_ssf_stream_control_happy_path(either: Receiver) -> None:
    """Create, read, update, replace, status, each status, delete."""
    suite = either
    suite.assert_stream(await suite.create(), 201)
    read = await suite.call("GET", "configuration_endpoint")
    suite.assert_stream(read, 200)
    assert read.json() == suite.stream
    for method in ("PATCH", "PUT"):
        answer = await suite.change(method)
        suite.assert_stream(answer, 200)
        assert answer.json()["description"] == f"Stream after {method}"
    named = {"stream_id": suite.stream["stream_id"]}
    status = await suite.call("GET", "status_endpoint")
    assert (status.status_code, status.json()) == (200, named | {"status": "enabled"})
    for value in ("enabled", "paused", "disabled"):
        said = named | {"status": value, "reason": f"Now {value}"}
        answer = await suite.call("POST", "status_endpoint", json=said)
        assert (answer.status_code, answer.json()) == (200, said)
    assert (await suite.delete()).status_code == 204
    suite.stream = {}
    assert (await suite.call("GET", "configuration_endpoint")).json() == []


async def test_openid_ssf_stream_control_error_create_stream_with_broken_input(either: Receiver) -> None:
    answer = await either.call("POST", "configuration_endpoint", body=BROKEN)
    assert answer.status_code == 400
    assert (await either.call("GET", "configuration_endpoint")).json() == []


async def test_openid_ssf_stream_control_error_create_stream_with_invalid_token(poller: Receiver) -> None:
    assert_unauthorized(await poller.create(token=wrong()))
    assert (await poller.call("GET", "configuration_endpoint")).json() == []


async def test_openid_ssf_stream_control_error_create_stream_with_duplicate_config(either: Receiver) -> None:
    assert (await either.create()).status_code == 201
    assert (await either.create()).status_code == 409


async def test_openid_ssf_stream_control_error_read_stream_with_invalid_token(poller: Receiver) -> None:
    assert_unauthorized(await poller.call("GET", "configuration_endpoint", token=wrong()))


async def test_openid_ssf_stream_control_error_read_unknown_stream(poller: Receiver) -> None:
    await poller.thrown_away()
    assert (await poller.call("GET", "configuration_endpoint")).status_code == 404


async def test_openid_ssf_stream_control_error_update_stream_with_invalid_token(poller: Receiver) -> None:
    assert_unauthorized(await poller.change("PATCH", token=wrong()))


async def test_openid_ssf_stream_control_error_update_stream_with_invalid_body(poller: Receiver) -> None:
    assert (await poller.call("PATCH", "configuration_endpoint", body=BROKEN)).status_code == 400


async def test_openid_ssf_stream_control_error_update_unknown_stream(either: Receiver) -> None:
    await either.thrown_away()
    assert (await either.change("PATCH")).status_code == 404


async def test_openid_ssf_stream_control_error_replace_stream_with_invalid_body(poller: Receiver) -> None:
    assert (await poller.call("PUT", "configuration_endpoint", body=BROKEN)).status_code == 400


async def test_openid_ssf_stream_control_error_replace_stream_with_invalid_token(poller: Receiver) -> None:
    assert_unauthorized(await poller.change("PUT", token=wrong()))


async def test_openid_ssf_stream_control_error_replace_unknown_stream(either: Receiver) -> None:
    await either.thrown_away()
    assert (await either.change("PUT")).status_code == 404


async def test_openid_ssf_stream_control_error_delete_stream_with_invalid_token(poller: Receiver) -> None:
    await poller.thrown_away()
    assert_unauthorized(await poller.delete(token=wrong()))


async def test_openid_ssf_stream_control_error_delete_unknown_stream(poller: Receiver) -> None:
    await poller.thrown_away()
    assert (await poller.delete()).status_code == 404


async def test_openid_ssf_stream_subject_control(either: Receiver) -> None:
    """Somebody is added by an address and removed by it."""
    assert (await either.create()).status_code == 201
    named = {"stream_id": either.stream["stream_id"], "subject": MAIL}
    added = await either.call("POST", "add_subject_endpoint", json=named | {"verified": True})
    assert (added.status_code, added.content) == (200, b"")
    removed = await either.call("POST", "remove_subject_endpoint", json=named)
    assert (removed.status_code, removed.content) == (204, b"")


# --- verification -----------------------------------------------------------------------------------------


async def test_openid_ssf_transmitter_stream_verification_push(pushee: Receiver) -> None:
    """With the header that the stream was created with."""
    assert (await pushee.create()).status_code == 201
    await pushee.verify()
    (token,) = await pushee.pushed(1)
    assert pushee.header
    await pushee.assert_verified(token)


async def test_openid_ssf_transmitter_stream_verification_error_push_no_auth(pushee: Receiver) -> None:
    """A stream that asks for no header gets none, also where the one before it did."""
    assert (await pushee.create()).status_code == 201
    assert (await pushee.delete()).status_code == 204
    pushee.header = None
    assert (await pushee.create()).status_code == 201
    await pushee.verify()
    (token,) = await pushee.pushed(1)
    await pushee.assert_verified(token)


async def test_openid_ssf_transmitter_stream_verification_poll_only(poller: Receiver) -> None:
    assert (await poller.create()).status_code == 201
    await poller.verify()
    (token,) = (await poller.poll()).values()
    await poller.assert_verified(token)


async def test_openid_ssf_transmitter_stream_verification_poll_and_ack(poller: Receiver) -> None:
    """The first is acknowledged with the request that fetches the second."""
    assert (await poller.create()).status_code == 201
    await poller.verify()
    first = await poller.poll()
    await poller.assert_verified(*first.values())
    await poller.verify()
    second = await poller.poll(ack=first)
    assert second.keys().isdisjoint(first)
    await poller.assert_verified(*second.values())


async def test_openid_ssf_transmitter_stream_verification_ack_only(poller: Receiver) -> None:
    assert (await poller.create()).status_code == 201
    await poller.verify()
    sets = await poller.poll()
    await poller.assert_verified(*sets.values())
    assert await poller.poll(ack=sets, most=0) == {}
    assert await poller.poll() == {}


# --- what happens to people -------------------------------------------------------------------------------


async def test_openid_ssf_transmitter_stream_caep_interop(either: Receiver) -> None:
    """Stream, status, verification, and every event that the stream says it delivers, in whatever order they come."""
    suite = either
    suite.assert_stream(await suite.create(), 201)
    expected = set(suite.stream["events_delivered"]) & KNOWN
    assert expected == {REVOKED, CHANGED}
    suite.assert_stream(await suite.call("GET", "configuration_endpoint"), 200)
    assert (await suite.call("GET", "status_endpoint")).json()["status"] == "enabled"
    await suite.verify()
    person = (await Suite.begin(suite.house, "query")).another(suite.client)
    assert isinstance(await person.authorize(person.request(redirect_uri=CALLBACK)), dict)
    await add_a_way(person)
    await person.browser.open("/me/devices")
    await person.browser.press("Sign out here")
    received: dict[str, dict[str, Any]] = {}
    for claims in await everything(suite):
        ((uri, said),) = claims["events"].items()
        if uri == VERIFICATION:
            assert said == {"state": suite.state}
            assert claims["sub_id"] == {"format": "opaque", "id": suite.stream["stream_id"]}
        else:
            assert uri in expected
            assert isinstance(said["event_timestamp"], int)
            received[uri] = said | {"sub_id": claims["sub_id"]}
    assert received.keys() == expected
    changed = received[CHANGED]
    assert isinstance(changed["credential_type"], str)
    assert changed["change_type"] in {"create", "revoke", "update", "delete"}
    assert received[REVOKED]["sub_id"]["user"] == changed["sub_id"]
    assert changed["sub_id"]["format"] == "iss_sub"
    assert (await suite.delete()).status_code == 204


async def add_a_way(person: Suite) -> None:
    """What the operator does by hand: another account of the provider, added in My account."""
    await person.browser.open("/me/ways")
    await person.house.openid.order(persona="lucas")
    shown = await person.browser.agree_upstream(await person.browser.press("provider=openid"))
    assert isinstance(shown, Shown)
    assert shown.path == "/me/ways"


async def everything(suite: Receiver) -> list[dict[str, Any]]:
    """The verification and the two events: pushed, or fetched until there are no more."""
    if suite.method == PUSH:
        return [await suite.read(token) for token in await suite.pushed(3)]
    found, sets = [], await suite.poll()
    while sets:
        found += [await suite.read(token) for token in sets.values()]
        sets = await suite.poll(ack=sets)
    return found
