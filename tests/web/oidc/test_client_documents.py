"""Sites whose id is the address of a document (draft-ietf-oauth-client-id-metadata-document), served over TLS on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.config.folder import DOORWARD, load, write
from tests.support.client_keys import Key, assertion, new_key, public
from tests.support.house import DOORWARD_TOML, ISSUER, Arrival, Browser, House, Sandboxes, Shown, Site, open_house
from tests.support.sandbox import serve
from tests.support.tls import Authority, names_on_loopback
from tests.web.desk import OFFLINE, member

from broker import egress
from broker.app import document_rules
from broker.client_documents import PER_LISTED_HOST, PER_VISITOR
from broker.domain.values import ClientId, ProviderId
from broker.errors import InvalidToken, TooManyAttempts
from broker.domain.audit import Act
from broker.flows.registration import Reviews
from broker.registered_sites import KnownSites
from broker.web.share import NEW_SITES_A_DAY

HOST: Final = "app.test"
UNREAD: Final = "We could not read what the site that sent you here says of itself"

ACT = Act(by="test", why="test")
NOT_SENT_ON = "so we do not send you back to it by ourselves"
"""As nobody looked at the site, a link of ours alone leads nobody there."""


def reviews_of(house: House) -> Reviews:
    return Reviews(durable=house.world.durable, trail=house.opened.trail, clock=house.clock)


@dataclass
class Publisher:
    """A web server with documents on it. It counts who came."""

    base: str = ""
    pages: dict[str, tuple[bytes, dict[str, str], int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def host(self) -> str:
        return self.base.removeprefix("https://")

    @property
    def id(self) -> str:
        return f"{self.base}/client.json"

    def put(self, path: str = "/client.json", *, headers: dict[str, str] | None = None, **changes: Any) -> str:
        """A document that is good but for the changes (`None` leaves a member out); the id."""
        said = {
            "client_id": f"{self.base}{path}",
            "client_name": "Library",
            "redirect_uris": [f"{self.base}/cb"],
            "scope": "openid profile email offline_access",
            **changes,
        }
        body = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
        return self.say(body, path, headers=headers)

    def say(
        self, body: bytes, path: str = "/client.json", *, headers: dict[str, str] | None = None, status: int = 200
    ) -> str:
        self.pages[path] = (body, {"content-type": "application/json", **(headers or {})}, status)
        return f"{self.base}{path}"

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        await asyncio.sleep(self.seconds)
        body, headers, status = self.pages.get(request.url.path, (b"gone", {"content-type": "text/plain"}, 404))
        return Response(body, status, headers)


@dataclass
class Stranger(Site):
    """A site that nobody put in, with or without a key."""

    key: Key | None = None

    async def post(self, path: str, form: Any, *, auth: bool = True) -> httpx2.Response:
        data = {**form, "client_id": self.name}
        if self.key is not None:
            data |= assertion(self.key, client_id=self.name, audience=ISSUER, now=self.house.clock.now())
        async with self.house.client() as client:
            return await client.post(path, data=data)


@pytest.fixture
def publisher(authority: Authority) -> Iterator[Publisher]:
    made = Publisher()
    app = Starlette(routes=[Route("/{path:path}", made.answer)])
    leaf = authority.leaf(HOST)
    with names_on_loopback(), serve(app, host=HOST, certificate=leaf.certificate, key=leaf.key) as base:
        made.base = base
        yield made


@asynccontextmanager
async def documents_house(
    folder: Path, sandboxes: Sandboxes, publisher: Publisher, authority: Authority, **change: Any
) -> AsyncIterator[House]:
    doorward = f'{DOORWARD_TOML}\n[egress."{publisher.host}"]\nca_file = "{authority.ca}"\n'
    given = {"client_documents": "listed", "client_document_hosts": (publisher.host,), **change}
    async with open_house(folder, sandboxes, doorward=doorward, change=given) as opened:
        yield opened


@pytest.fixture
async def house(
    tmp_path: Path, sandboxes: Sandboxes, publisher: Publisher, authority: Authority
) -> AsyncIterator[House]:
    async with documents_house(tmp_path, sandboxes, publisher, authority) as opened:
        yield opened


def stranger(house: House, name: str, key: Key | None = None) -> Stranger:
    origin = "/".join(name.split("/")[:3])
    return Stranger(house, name, f"{origin}/cb", key=key)


async def shared(browser: Browser, site: Site, **changes: str | None) -> Arrival:
    shown = await browser.open(site.request_url(**changes))
    assert shown.path.endswith("/site"), shown.text[:500]
    asked = changes.get("scope") or ""
    end = await browser.press("decision=share", tick=("name", "offline_access") if "offline" in asked else ("name",))
    assert isinstance(end, Arrival)
    return end


async def refused(house: House, site: Site) -> Shown:
    """The page somebody gets instead."""
    shown = await house.browser().go(site.request_url())
    assert isinstance(shown, Shown), shown
    assert shown.status in {400, 429}, shown.text[:300]
    return shown


def another(house: House) -> KnownSites:
    """What another process knows of the same store."""
    known = house.world.clients
    return KnownSites(house.settings.clients, house.world.durable.registrations, known._rules, known._documents)


async def test_a_site_that_nobody_put_in_signs_somebody_in(house: House, publisher: Publisher) -> None:
    site = stranger(house, publisher.put())
    ana = await member(house)
    tokens = await site.redeem(await shared(ana, site, scope=OFFLINE))
    claims = await site.claims(tokens["access_token"])
    assert claims["name"] == "Ana Lund"
    assert "email" not in claims  # nothing is needed by a site that nobody configured
    assert (await site.refresh(tokens["refresh_token"])).status_code == 200
    assert publisher.asked == ["/client.json"]  # once, for all of it
    sites = await ana.open("/me/sites")
    assert "Library" in sites.text
    assert f'"host":"{publisher.host}"' in house.log
    assert isinstance(await ana.go(site.request_url()), Arrival)  # asked once


async def test_a_person_is_told_whose_it_is_and_that_nobody_looked(house: House, publisher: Publisher) -> None:
    """(catalogue 136) Its host stands out: the name is its own word."""
    site = stranger(house, publisher.put(client_name="Your Bank"))
    shown = await (await member(house)).open(site.request_url())
    assert "Nobody here has looked at this site yet: it came by itself." in shown.text
    assert f"{publisher.host}, which calls itself Your Bank" in shown.text
    forum = await (await member(house, "bo")).open(house.site("forum").request_url())
    assert "which calls itself" not in forum.text


async def test_a_person_has_a_number_of_their_own_at_each_document(house: House, publisher: Publisher) -> None:
    """Of the same host, too: it may be shared by people who do not know each other."""
    numbers = set()
    for path in ("/client.json", "/other/client.json"):
        site = stranger(house, publisher.put(path))
        tokens = await site.redeem(await shared(await member(house, path.strip("/").replace("/", ".")), site))
        numbers.add((await site.claims(tokens["access_token"]))["sub"])
    ana = await member(house)
    ours = [stranger(house, f"{publisher.base}{path}") for path in ("/client.json", "/other/client.json")]
    subjects = [
        (await site.claims((await site.redeem(await shared(ana, site)))["access_token"]))["sub"] for site in ours
    ]
    assert len(numbers | set(subjects)) == 4


async def test_a_site_proves_itself_with_the_keys_of_its_document(house: House, publisher: Publisher) -> None:
    key = new_key()
    jwks = {"keys": [public(key)]}
    name = publisher.put(token_endpoint_auth_method="private_key_jwt", jwks=jwks)
    arrival = await shared(await member(house), site := stranger(house, name, key))
    bare = stranger(house, name)
    bare.verifiers.update(site.verifiers)
    assert (await bare.token(arrival)).status_code == 401
    await site.redeem(arrival)


async def test_or_with_those_it_publishes_beside_it(house: House, publisher: Publisher) -> None:
    key, wrong = new_key(), new_key(kid="wrong")
    publisher.say(json.dumps({"keys": [public(key)]}).encode(), "/jwks")
    name = publisher.put(token_endpoint_auth_method="private_key_jwt", jwks_uri=f"{publisher.base}/jwks")
    arrival = await shared(await member(house), site := stranger(house, name, key))
    forger = stranger(house, name, wrong)
    forger.verifiers.update(site.verifiers)
    assert (await forger.token(arrival)).status_code == 401
    await site.redeem(arrival)


async def test_pkce_is_required_of_it(house: House, publisher: Publisher) -> None:
    key = new_key()
    name = publisher.put(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [public(key)]})
    site = stranger(house, name, key)
    url = site.request_url(code_challenge=None, code_challenge_method=None)
    assert NOT_SENT_ON in (await (await member(house)).open(url)).text


async def test_it_pushes_its_request(house: House, publisher: Publisher) -> None:
    """The document is read where a request first names it, wherever that is."""
    site = stranger(house, publisher.put(require_pushed_authorization_requests=True))
    assert NOT_SENT_ON in (await (await member(house)).open(site.request_url())).text
    params = dict(httpx2.URL(site.request_url()).params)
    answer = await site.post("/par", params)
    assert answer.status_code == 201, answer.text
    pushed = httpx2.URL(f"{ISSUER}/authorize").copy_merge_params(
        {"client_id": site.name, "request_uri": answer.json()["request_uri"]}
    )
    shown = await (await member(house, "bo")).open(str(pushed))
    assert shown.path.endswith("/site")
    assert publisher.asked == ["/client.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": None},
        {"client_id": "https://app.test/other"},
        {"client_secret": "s" * 43},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"redirect_uris": None},
        {"redirect_uris": ["https://evil.test/cb"]},
        {"redirect_uris": ["http://127.0.0.1/cb"]},
        {"backchannel_logout_uri": "https://evil.test/out"},
        {"jwks_uri": "https://127.0.0.1/jwks"},
        {"sector_identifier_uri": "https://app.test/sector"},
        {"subject_type": "public"},
        {"client_name": "x" * 81},
        {"padding": "x" * 5000},
    ],
)
async def test_a_document_that_says_what_it_may_not_is_not_taken(
    house: House, publisher: Publisher, change: dict[str, Any]
) -> None:
    """(catalogue 138, 140) Nor is one too large; what people are told is the same whatever it was."""
    shown = await refused(house, stranger(house, publisher.put(**change)))
    assert UNREAD in shown.text
    assert publisher.asked == ["/client.json"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"content-type": "application/json"}, 404),
        (b"", {"location": "/other.json"}, 302),
        (b"{}", {"content-type": "text/html"}, 200),
        (b"[]", {}, 200),
        (b"\xff", {}, 200),
        (b'{"client_id":"a","client_id":"b"}', {}, 200),
    ],
)
async def test_what_is_no_document_is_none(
    house: House, publisher: Publisher, body: bytes, headers: dict[str, str], status: int
) -> None:
    """(catalogue 139) A redirect is not followed (§5)."""
    publisher.put("/other.json")
    site = stranger(house, publisher.say(body, headers=headers, status=status))
    assert UNREAD in (await refused(house, site)).text
    assert publisher.asked == ["/client.json"]
    answer = await site.post("/token", {"grant_type": "authorization_code", "code": "x"})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_other_kinds_of_json_are_json(house: House, publisher: Publisher) -> None:
    name = publisher.put(headers={"content-type": "application/client+json; charset=utf-8"})
    await shared(await member(house), stranger(house, name))


async def test_nothing_inside_is_asked(
    tmp_path: Path, sandboxes: Sandboxes, publisher: Publisher, authority: Authority
) -> None:
    """(catalogue 138, 139) Any host may introduce itself here, and the server on loopback hears of nobody."""
    port = publisher.host.rpartition(":")[2]
    async with open_house(tmp_path, sandboxes, change={"client_documents": "any"}) as house:
        for host in ("127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "0x7f000001", HOST, "u@app.test"):
            for where in (host, f"{host}:{port}"):
                shown = await refused(house, stranger(house, f"https://{where}/client.json"))
                assert UNREAD in shown.text or "We do not know the site" in shown.text or shown.status == 429
            house.clock.move(minutes=2)
        kept = await house.world.durable.registrations.after(ClientId(""))
    assert publisher.asked == []
    assert kept == ()


async def test_an_id_that_may_not_be_read_costs_nothing(house: House, publisher: Publisher) -> None:
    """Not a host that was not listed, not our own, and nothing that is no plain address."""
    names = (
        "https://other.test/client.json", f"{ISSUER}/client.json", publisher.base, f"{publisher.id}?x", f"{publisher.id}#x",
        f"{publisher.base}/a/../client.json", f"{publisher.base}/%2e%2e/client.json", publisher.id.replace("app", "APP"),
        publisher.id.replace("https", "http"), f"{publisher.base}/{'x' * 200}",
    )  # fmt: skip
    for name in names:
        shown = await refused(house, stranger(house, name))
        assert "We do not know the site" in shown.text, name
    assert publisher.asked == []
    assert "client_document" not in house.log


async def test_a_document_is_asked_once_at_a_time(house: House, publisher: Publisher) -> None:
    publisher.put()
    publisher.seconds = 0.3
    looks = [house.world.clients.look(publisher.id, visitor=f"192.0.2.{number}") for number in range(20)]
    found = await asyncio.gather(*looks)
    assert all(client is not None and client.name == "Library" for client in found)
    assert publisher.asked == ["/client.json"]


async def test_who_waits_may_leave_and_the_others_hear(house: House, publisher: Publisher) -> None:
    publisher.put()
    publisher.seconds = 0.3
    first = asyncio.create_task(house.world.clients.look(publisher.id, visitor="192.0.2.1"))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(house.world.clients.look(publisher.id, visitor="192.0.2.2"))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await second is not None
    assert publisher.asked == ["/client.json"]


async def test_one_visitor_makes_us_ask_a_few_times_a_minute(house: House, publisher: Publisher) -> None:
    """And nobody else is kept waiting by them."""
    publisher.put()
    for number in range(PER_VISITOR + 5):
        shown = await refused(house, stranger(house, f"{publisher.base}/x{number}"))
        assert shown.status == (400 if number < PER_VISITOR else 429)
    assert len(publisher.asked) == PER_VISITOR
    assert await house.world.clients.look(publisher.id, visitor="192.0.2.200") is not None


async def test_so_does_who_opens_sites_from_their_account(house: House, publisher: Publisher) -> None:
    """Any address can stand in that link, too."""
    ana = await member(house)
    statuses = [
        (await ana.open(f"/me/sites/open?site={publisher.base}/x{number}")).status for number in range(PER_VISITOR + 5)
    ]
    assert statuses == [404] * PER_VISITOR + [429] * 5
    assert len(publisher.asked) == PER_VISITOR


async def test_one_account_makes_us_keep_a_few_sites_a_day(house: House, publisher: Publisher) -> None:
    """Whoever writes documents could have us keep as many as they like; sites that are in use already cost nothing."""
    ana, bo = await member(house), await member(house, "bo")
    for number in range(NEW_SITES_A_DAY):
        await shared(ana, stranger(house, publisher.put(f"/{number}.json")))
        await house.move(minutes=1)
    last = stranger(house, publisher.put("/last.json"))
    await ana.open(last.request_url())
    refused = await ana.press("decision=share")
    assert isinstance(refused, Shown)
    assert refused.status == 429
    assert await house.world.durable.registrations.load(ClientId(last.name)) is None
    await shared(bo, last)
    await shared(ana, last)


async def test_names_that_take_their_time_hold_up_no_provider_and_no_letter_to_a_site(
    tmp_path: Path,
    sandboxes: Sandboxes,
    publisher: Publisher,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever runs a name server answers as late as they like, and looking a name up takes a thread until then."""
    late, look_up = threading.Event(), egress._look_up

    def slow(host: str, port: int) -> list[str]:
        if host.endswith(".slow.test"):
            late.wait(10)
        return look_up(host, port)

    monkeypatch.setattr(egress, "_look_up", slow)
    async with documents_house(tmp_path, sandboxes, publisher, authority, client_documents="any") as house:
        names = [f"https://n{number}.slow.test/x" for number in range(8)]
        looks = [
            asyncio.create_task(house.world.clients.look(name, visitor=f"192.0.2.{number}"))
            for number, name in enumerate(names)
        ]
        await asyncio.sleep(0.1)
        provider: Any = house.world.providers[ProviderId("openid")]
        told: Any = house.opened.deliverer.http
        found = [provider._http._http._resolver(HOST, 443), told.egress._resolver(HOST, 443)]
        try:
            assert all(await asyncio.wait_for(asyncio.gather(*found), 2))
            assert not any(one.done() for one in looks)
        finally:
            late.set()
        assert await asyncio.gather(*looks) == [None] * 8


async def test_strangers_use_up_nothing_of_sites_that_people_use(house: House, publisher: Publisher) -> None:
    """Many visitors together spend what a host has for new addresses; a site in use does not count for it."""
    site = stranger(house, publisher.put())
    await shared(await member(house), site)
    for number in range(PER_LISTED_HOST):
        with_room = await _asks(house, f"{publisher.base}/y{number}", f"192.0.2.{number}")
        assert with_room or number == PER_LISTED_HOST - 1
    assert not await _asks(house, f"{publisher.base}/z", "192.0.2.250")
    house.clock.move(hours=2)
    for number in range(PER_LISTED_HOST + 1):
        await _asks(house, f"{publisher.base}/w{number}", f"192.0.2.{number}")
    publisher.asked.clear()
    assert await house.world.clients.look(site.name, visitor="192.0.2.251", begins=True) is not None
    assert publisher.asked == ["/client.json"]


async def _asks(house: House, name: str, visitor: str) -> bool:
    """Whether there was room to ask at all."""

    try:
        await house.world.clients.look(name, visitor=visitor)
    except TooManyAttempts:
        return False
    return True


async def test_what_failed_is_not_asked_again_for_a_moment(house: House, publisher: Publisher) -> None:
    site = stranger(house, f"{publisher.base}/client.json")
    await refused(house, site)
    publisher.put()
    await refused(house, site)
    assert publisher.asked == ["/client.json"]
    house.clock.move(seconds=31)
    await shared(await member(house), site)


async def test_a_document_is_read_anew_when_it_is_no_longer_fresh(house: House, publisher: Publisher) -> None:
    """(RFC 9111 §4.2) Within five minutes and a day, whatever it says; and what it says then holds."""
    publisher.put(headers={"cache-control": "max-age=600"})
    site = stranger(house, publisher.id)
    ana = await member(house)
    await shared(ana, site)
    house.clock.move(minutes=9)
    assert isinstance(await ana.go(site.request_url()), Arrival)
    assert len(publisher.asked) == 1
    house.clock.move(minutes=2)
    assert isinstance(await ana.go(site.request_url()), Arrival)  # it says the same: nobody is asked again
    assert len(publisher.asked) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"client_name": "Bank"},
        {"redirect_uris": ["/cb", "/new"]},
        {"policy_uri": "/privacy"},
    ],
)
async def test_a_site_that_looks_different_asks_anew(
    house: House, publisher: Publisher, change: dict[str, Any]
) -> None:
    """(catalogue 133) Its name, its policy, and each address people are sent to."""
    site = stranger(house, publisher.put())
    ana = await member(house)
    await shared(ana, site)
    if "redirect_uris" in change:
        change = {"redirect_uris": [f"{publisher.base}{path}" for path in change["redirect_uris"]]}
    if "policy_uri" in change:
        change = {"policy_uri": f"{publisher.base}/privacy"}
    publisher.put(**change)
    house.clock.move(hours=2)
    end = await ana.go(site.request_url())
    assert isinstance(end, Shown)
    assert end.path.endswith("/site")


async def test_a_site_that_asks_for_more_asks_for_it(house: House, publisher: Publisher) -> None:
    site = stranger(house, publisher.put(scope="openid profile"))
    ana = await member(house)
    await shared(ana, site)
    publisher.put(scope="openid profile email")
    house.clock.move(hours=2)
    end = await ana.go(site.request_url())
    assert isinstance(end, Shown)
    assert "It asks for 1 new thing." in end.text


async def test_an_address_that_was_taken_out_is_answered_no_more(house: House, publisher: Publisher) -> None:
    site = stranger(house, publisher.put())
    ana = await member(house)
    await shared(ana, site)
    publisher.put(redirect_uris=[f"{publisher.base}/new"])
    house.clock.move(hours=2)
    end = await ana.go(site.request_url())
    assert isinstance(end, Shown)
    assert end.status == 400


async def test_a_document_that_is_away_begins_nothing_and_breaks_nothing(house: House, publisher: Publisher) -> None:
    """(§5.1) Tokens live on for a day on what was read last; no sign-in begins on it. Then the site is switched off."""
    site = stranger(house, publisher.put())
    ana = await member(house)
    tokens = await site.redeem(await shared(ana, site, scope=OFFLINE))
    publisher.pages.clear()
    house.clock.move(hours=2)
    assert UNREAD in (await refused(house, site)).text
    renewed = await site.refresh(tokens["refresh_token"])
    assert renewed.status_code == 200
    house.clock.move(hours=24)
    assert (await site.refresh(renewed.json()["refresh_token"])).status_code == 401
    assert (await site.userinfo(renewed.json()["access_token"])).status_code == 401
    publisher.put()
    house.clock.move(minutes=1)
    assert (await site.refresh(renewed.json()["refresh_token"])).status_code == 200


async def test_one_process_knows_what_another_kept(house: House, publisher: Publisher) -> None:
    """As soon as somebody uses it, and with the same words; deliveries find it without asking anybody."""
    site = stranger(house, publisher.put(backchannel_logout_uri=f"{publisher.base}/out"))
    name = ClientId(site.name)
    assert await house.world.clients.look(site.name) is not None
    assert await house.world.durable.registrations.load(name) is None  # nobody uses it yet
    await shared(await member(house), site)
    elsewhere = another(house)
    await elsewhere.reload()
    assert elsewhere[name] == await house.world.clients.look(site.name)
    assert elsewhere[name].backchannel_logout_uri == f"{publisher.base}/out"
    publisher.put(client_name="Archive")
    house.clock.move(hours=2)
    found = await elsewhere.look(site.name)
    assert found is not None
    assert found.name == "Archive"
    asked = len(publisher.asked)
    here = await house.world.clients.look(site.name)
    assert here == found
    assert len(publisher.asked) == asked
    assert list(elsewhere) == list(house.settings.clients)


async def test_a_blocked_site_is_out_at_once(house: House, publisher: Publisher) -> None:
    """With whatever it was granted; let in again, it has nothing of that, and who agreed before is not asked twice."""
    site = stranger(house, publisher.put())
    ana = await member(house)
    tokens = await site.redeem(await shared(ana, site, scope=OFFLINE))
    reviews = reviews_of(house)
    await reviews.block(ClientId(site.name), ACT)
    assert (await site.userinfo(tokens["access_token"])).status_code == 401
    assert (await site.refresh(tokens["refresh_token"])).status_code == 401
    assert UNREAD in (await refused(house, site)).text
    house.clock.move(hours=2)
    assert UNREAD in (await refused(house, site)).text
    assert publisher.asked == ["/client.json"]  # a site that is shut out is not asked
    assert "Library" not in (await ana.open("/me/sites")).text
    assert await reviews.unblock(ClientId(site.name), ACT)
    house.clock.move(minutes=1)
    assert isinstance(await ana.go(site.request_url()), Arrival)
    assert (await site.refresh(tokens["refresh_token"])).status_code == 400


async def test_a_look_lasts_until_the_document_says_something_else(house: House, publisher: Publisher) -> None:
    """(catalogue 136) People are told again that nobody looked."""
    site = stranger(house, publisher.put())
    await shared(await member(house), site)
    kept = await house.world.durable.registrations.load(ClientId(site.name))
    assert kept is not None
    assert await reviews_of(house).reviewed(kept, ACT)
    shown = await (await member(house, "bo")).open(site.request_url())
    assert "Nobody here has looked" not in shown.text
    assert f"{publisher.host}, which calls itself Library" in shown.text
    publisher.put(logo_uri=f"{publisher.base}/logo.png")
    house.clock.move(hours=2)
    shown = await (await member(house, "cy")).open(site.request_url())
    assert "Nobody here has looked" in shown.text


async def test_a_document_is_no_key_to_a_registration(
    tmp_path: Path, sandboxes: Sandboxes, publisher: Publisher, authority: Authority
) -> None:
    """(catalogue 157) What it says is public: it opens nothing at the endpoint of sites that registered."""
    async with documents_house(tmp_path, sandboxes, publisher, authority, registration="invited") as house:
        site = stranger(house, publisher.put())
        await shared(await member(house), site)
        kept = await house.world.durable.registrations.load(ClientId(site.name))
        assert kept is not None
        flow = house.world.registrations
        assert flow is not None

        for token in (kept.metadata, f"document\0{kept.metadata}", kept.token_digest.hex()):
            with pytest.raises(InvalidToken):
                await flow.opened(site.name, token, address="192.0.2.1")


async def test_it_goes_out_with_the_session(house: House, publisher: Publisher) -> None:
    """Its sign-out address is used like anybody's: exactly as its document has it."""
    site = stranger(house, publisher.put(post_logout_redirect_uris=[f"{publisher.base}/bye"]))
    ana = await member(house)
    tokens = await site.redeem(await shared(ana, site))
    url = httpx2.URL(f"{ISSUER}/end-session").copy_merge_params(
        {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": f"{publisher.base}/bye"}
    )
    end = await ana.go(str(url))
    if isinstance(end, Shown):
        assert "Library" in end.text
    other = await ana.go(str(url).replace("bye", "elsewhere"))
    assert isinstance(other, Shown)
    assert other.status == 400


@pytest.mark.parametrize(("mode", "is_told"), [("off", None), ("listed", True), ("any", True)])
async def test_discovery_says_whether_documents_are_read(
    tmp_path: Path,
    sandboxes: Sandboxes,
    publisher: Publisher,
    authority: Authority,
    mode: str,
    is_told: bool | None,
) -> None:
    """(§6) And where they are not, nothing is asked, and what was kept is not known."""
    async with documents_house(tmp_path, sandboxes, publisher, authority, client_documents=mode) as house:
        async with house.client() as client:
            for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
                told = (await client.get(path)).json()
                assert told.get("client_id_metadata_document_supported") is is_told
        site = stranger(house, publisher.put())
        if mode == "off":
            assert "We do not know the site" in (await refused(house, site)).text
            assert publisher.asked == []
        else:
            await shared(await member(house), site)


async def test_what_was_kept_is_judged_by_the_rules_of_today(house: House, publisher: Publisher) -> None:
    """A host that is not listed any more, or documents switched off: the site is gone, here and in the background."""
    site = stranger(house, publisher.put())
    await shared(await member(house), site)
    known, world = house.world.clients, house.world
    off = KnownSites(house.settings.clients, world.durable.registrations, known._rules, None)
    await off.reload()
    assert await off.look(site.name) is None
    assert ClientId(site.name) not in off
    assert known._documents is not None

    whose = replace(known._documents.whose, hosts=frozenset({"other.test"}))
    unlisted = KnownSites(
        house.settings.clients, world.durable.registrations, None, replace(known._documents, whose=whose)
    )
    await unlisted.reload()
    assert ClientId(site.name) not in unlisted
    assert await unlisted.look(site.name) is None


async def test_what_nobody_uses_is_forgotten_before_memory_fills(
    house: House, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those asked for longest ago first."""
    monkeypatch.setattr("broker.registered_sites.UNUSED_MOST", 2)
    names = [publisher.put(f"/{number}.json") for number in range(3)]
    for name in (names[0], names[1], names[0], names[2]):
        assert await house.world.clients.look(name) is not None
    assert [ClientId(name) in house.world.clients for name in names] == [True, False, True]


async def test_what_failed_is_forgotten_before_memory_fills(
    house: House, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.client_documents.REMEMBERED_MOST", 1)
    for path in ("/a", "/b", "/b", "/a"):
        assert await house.world.clients.look(f"{publisher.base}{path}") is None
    assert publisher.asked == ["/a", "/b", "/a"]


async def test_keys_of_many_sites_do_not_fill_memory(
    house: House, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read again when they are needed again."""
    monkeypatch.setattr("broker.client_tokens.SITES_MOST", 1)
    key = new_key()
    publisher.say(json.dumps({"keys": [public(key)]}).encode(), "/jwks")
    said: dict[str, Any] = {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": f"{publisher.base}/jwks"}
    one, two = (stranger(house, publisher.put(f"/{number}.json", **said), key) for number in range(2))
    for site in (one, one, two, one):
        answer = await site.post("/token", {"grant_type": "authorization_code", "code": "x", "redirect_uri": "x"})
        assert answer.json()["error"] == "invalid_grant", answer.text
    assert publisher.asked.count("/jwks") == 3


@pytest.mark.parametrize(
    ("hosts", "lent", "may"),
    [("", "", False), ('"idp.internal:8443"', "", True), ("", "registered_sites = true", True)],
)
def test_an_exception_made_for_something_else_is_lent_to_nobody(
    tmp_path: Path,
    hosts: str,
    lent: str,
    may: bool,
) -> None:
    """(catalogue 138) Unless the admin lists the host or says so."""
    lines = f'[broker]\nclient_documents = "any"\nclient_document_hosts = [{hosts}]\n'
    text = DOORWARD.replace("[broker]\n", lines) + f'\n[egress."idp.internal:8443"]\n{lent}\n'
    rules = document_rules(load(write(tmp_path, doorward=text)))
    assert rules.may_be_read("https://idp.internal:8443/client") is may
    assert rules.may_be_read("https://app.example.org/client")
