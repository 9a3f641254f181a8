"""`/register` over HTTP: a site that registers, signs people in, is changed, and leaves (RFC 7591, RFC 7592)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx2
import pytest
from tests.support.house import ISSUER, Arrival, Browser, House, Sandboxes, Shown, Site, open_house
from tests.web.desk import member

from broker import registered_sites
from broker.app import SITES_RELOADED_EVERY
from broker.client_metadata import read_metadata
from broker.domain.audit import Act
from broker.domain.values import ClientId, Scope
from broker.registered_sites import KnownSites

CALLBACK: Final = "https://library.test/cb"
SAID: Final[dict[str, Any]] = {"client_name": "Library", "redirect_uris": [CALLBACK], "scope": "openid profile email"}
SCOPES: Final = frozenset(map(Scope, ("openid", "profile", "email", "offline_access")))
DENIED: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"redirect_uris": []}, "invalid_redirect_uri"),
    ({"redirect_uris": ["ftp://library.test/cb"]}, "invalid_redirect_uri"),
    ({"redirect_uris": ["https://library.test/cb#here"]}, "invalid_redirect_uri"),
    ({"jwks_uri": "ftp://library.test/jwks"}, "invalid_client_metadata"),
    ({"subject_type": "public"}, "invalid_client_metadata"),
    ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
    ({"response_types": ["token"]}, "invalid_client_metadata"),
    ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
    ({"client_uri": "https://bank.test/"}, "invalid_client_metadata"),
    ({"client_name": "x" * 81}, "invalid_client_metadata"),
    ({"software_statement": "e30.e30."}, "invalid_client_metadata"),
)


@dataclass
class Registered(Site):
    """A site with what it was told when it registered."""

    told: dict[str, Any] = field(default_factory=dict)

    @property
    def secret(self) -> str:
        return str(self.told["client_secret"])


@dataclass
class Desk:
    """Where sites register."""

    house: House

    async def invited(self, uses: int = 1, scopes: frozenset[Scope] = SCOPES) -> str:
        flow = self.house.world.registrations
        assert flow is not None
        return (await flow.invite(scopes, uses=uses, days=1, note="", act=Act(by="test", why="test"))).reveal()

    async def send(
        self, method: str, path: str, token: str, body: Any = None, scheme: str = "Bearer"
    ) -> httpx2.Response:
        headers = {"Authorization": f"{scheme} {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self.house.client() as client:
            content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            return await client.request(method, path, content=content, headers=headers)

    async def registered(self, **said: Any) -> Registered:
        answer = await self.send("POST", "/register", await self.invited(), {**SAID, **said})
        assert answer.status_code == 201, answer.text
        told = answer.json()
        return Registered(self.house, told["client_id"], told["redirect_uris"][0], told=told)

    async def review(self, site: Registered) -> None:
        flow, kept = (
            self.house.world.registrations,
            await self.house.world.durable.registrations.load(ClientId(site.name)),
        )
        assert flow is not None
        assert kept is not None
        await flow.reviews.reviewed(kept, Act(by="test", why="test"))

    async def own(self, site: Registered, method: str = "GET", body: Any = None) -> httpx2.Response:
        return await self.send(method, f"/register/{site.name}", site.told["registration_access_token"], body)


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, change={"registration": "invited"}) as opened:
        yield opened


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk(house)


async def shared(browser: Browser, site: Site) -> Arrival:
    shown = await browser.open(site.request_url(scope="openid profile email"))
    assert shown.path.endswith("/site"), shown.text[:500]
    end = await browser.press("decision=share", tick=("name",))
    assert isinstance(end, Arrival)
    return end


async def test_a_site_registers_and_signs_somebody_in(house: House, desk: Desk) -> None:
    """RFC 7591 §3.2.1: told for the only time, and nobody may store the answer."""
    answer = await desk.send("POST", "/register", await desk.invited(), SAID)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["client_id"].startswith("r-")
    assert told["client_secret_expires_at"] == 0
    assert told["client_id_issued_at"] == int(house.clock.now().timestamp())
    assert told["registration_client_uri"] == f"{ISSUER}/register/{told['client_id']}"
    assert told["token_endpoint_auth_method"] == "client_secret_basic"
    assert told["redirect_uris"] == [CALLBACK]
    site = Registered(house, told["client_id"], CALLBACK, told=told)
    tokens = await site.redeem(await shared(await member(house), site))
    claims = await site.claims(tokens["access_token"])
    assert claims["name"] == "Ana Lund"
    assert "email" not in claims  # nothing is needed by a site that nobody configured


async def test_a_person_is_told_that_nobody_looked_at_it_yet(house: House, desk: Desk) -> None:
    """Where the name is its own word, and its address is what to look at."""
    site = await desk.registered()
    browser = await member(house)
    shown = await browser.open(site.request_url())
    assert "Nobody here has looked at this site yet" in shown.text
    assert "library.test" in shown.text
    forum = await (await member(house, "bo")).open(house.site("forum").request_url())
    assert "Nobody here has looked" not in forum.text


REFUSED_AT_ONCE: Final[tuple[dict[str, str], ...]] = (
    {"prompt": "none"}, {"response_type": "token"}, {"scope": "nonsense"}, {"code_challenge": ""},
)  # fmt: skip


@pytest.mark.parametrize("asked", REFUSED_AT_ONCE, ids=lambda asked: next(iter(asked)))
async def test_a_link_of_ours_leads_nobody_to_a_site_that_no_admin_looked_at(
    house: House, desk: Desk, asked: dict[str, str]
) -> None:
    """RFC 9700 §4.11.2; in a frame it hears the answer, and so does a site that was reviewed."""
    site = await desk.registered(post_logout_redirect_uris=["https://library.test/bye"])
    url = site.request_url(**asked)
    leave = {"client_id": site.name, "post_logout_redirect_uri": "https://library.test/bye"}
    async with house.client() as client:
        page = await client.get(url)
        assert page.status_code in {400, 401, 403}
        assert "Library could not sign you in" in page.text
        assert 'href="https://library.test/"' in page.text
        assert "Its address is <bdi>library.test</bdi>" in page.text
        framed = await client.get(url, headers={"Sec-Fetch-Dest": "iframe"})
        assert framed.headers["location"].startswith(f"{CALLBACK}?error=")
        assert (await client.get("/end-session", params=leave)).status_code == 200
        await desk.review(site)
        assert (await client.get(url)).headers["location"].startswith(f"{CALLBACK}?error=")
        assert (await client.get("/end-session", params=leave)).headers["location"] == "https://library.test/bye"


async def test_no_address_of_ours_hurries_anybody_on_to_a_site_that_no_admin_looked_at(
    house: House, desk: Desk
) -> None:
    """RFC 9700 §4.11.2: the page that says what ended leads on by a link alone, and in another browser not even so."""
    bye, out = "https://library.test/bye", "https://library.test/out"
    site = await desk.registered(post_logout_redirect_uris=[bye], frontchannel_logout_uri=out)
    browser = await member(house)
    await browser.open(site.request_url())
    await browser.press("decision=share")
    await browser.open(f"/end-session?client_id={site.name}&post_logout_redirect_uri={bye}")
    await browser.press("what=everything")
    page = next(str(one.url) for one in reversed(browser.history) if one.url.path == "/signed-out")
    shown = await browser.send("GET", page)
    assert f'href="{bye}"' in shown.text
    assert "refresh" not in shown.headers
    await desk.review(site)
    await house.world.clients.reload()
    assert (await browser.send("GET", page)).headers["refresh"] == f"3; url={bye}"
    elsewhere = await house.browser().send("GET", page)
    assert bye not in elsewhere.text
    assert "refresh" not in elsewhere.headers


async def test_a_site_without_an_invitation_is_refused(desk: Desk) -> None:
    """RFC 7591 §3: an initial access token, and no other token of ours."""
    for token in ("guessed", "x" * 2000):
        answer = await desk.send("POST", "/register", token, SAID)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert "Bearer" in answer.headers["www-authenticate"]
    bound = await desk.send("POST", "/register", await desk.invited(), SAID, scheme="DPoP")
    assert bound.status_code == 401
    async with desk.house.client() as client:
        assert (await client.post("/register", json=SAID)).status_code == 401


@pytest.mark.parametrize(("said", "code"), DENIED)
async def test_what_a_configured_site_could_not_have_a_registered_one_has_not(
    desk: Desk, said: dict[str, Any], code: str
) -> None:
    """The invitation is not used up by it."""
    token = await desk.invited()
    answer = await desk.send("POST", "/register", token, {**SAID, **said})
    assert (answer.status_code, answer.json()["error"]) == (400, code), answer.text
    assert answer.json()["error_description"]
    assert (await desk.send("POST", "/register", token, SAID)).status_code == 201


DEEP: Final = b'{"redirect_uris": ["https://library.test/cb"], "jwks": ' + b'{"x":' * 900 + b"1" + b"}" * 901


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff", b'{"scope": "a", "scope": "b"}', DEEP])
async def test_what_is_no_json_object_registers_nothing(desk: Desk, body: bytes) -> None:
    answer = await desk.send("POST", "/register", await desk.invited(), body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_a_form_registers_nothing(desk: Desk) -> None:
    async with desk.house.client() as client:
        headers = {"Authorization": f"Bearer {await desk.invited()}"}
        answer = await client.post("/register", data={"redirect_uris": CALLBACK}, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_scopes_are_those_of_the_invitation(desk: Desk) -> None:
    token = await desk.invited(scopes=frozenset(map(Scope, ("openid", "email"))))
    told = (await desk.send("POST", "/register", token, SAID)).json()
    assert told["scope"] == "email openid"


async def test_a_site_reads_what_is_kept_of_it(desk: Desk) -> None:
    """RFC 7592 §2.1; secrets were told once and are kept as digests."""
    site = await desk.registered(policy_uri="https://library.test/privacy", invented="x")
    answer = await desk.own(site)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["policy_uri"] == "https://library.test/privacy"
    assert {"client_secret", "registration_access_token", "invented"}.isdisjoint(told)


async def test_nobody_elses_token_opens_a_registration(desk: Desk) -> None:
    """(catalogue 157) Nor a secret, an access token or an invitation; and it is not told which exist."""
    one, other = await desk.registered(), await desk.registered()
    tokens = await one.redeem(await shared(await member(desk.house), one))
    wrong = (other.told["registration_access_token"], one.secret, tokens["access_token"], await desk.invited())
    for token in wrong:
        for method, body in (("GET", None), ("PUT", {**SAID, "client_id": one.name}), ("DELETE", None)):
            refused = await desk.send(method, f"/register/{one.name}", token, body)
            unknown = await desk.send(method, "/register/r-unknown", token, body)
            assert refused.status_code in {401, 429}
            if refused.status_code == 401 == unknown.status_code:
                assert refused.json()["error"] == unknown.json()["error"] == "invalid_token"
        desk.house.clock.move(minutes=2)
    assert (await desk.own(one)).status_code == 200


async def test_a_changed_registration_holds_at_once_and_wants_another_look(house: House, desk: Desk) -> None:
    """RFC 7592 §2.2: what is not said again is gone, and both secrets are others."""
    site = await desk.registered(policy_uri="https://library.test/privacy")
    body = {**SAID, "client_id": site.name, "redirect_uris": ["https://library.test/new"]}
    answer = await desk.own(site, "PUT", body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["client_id"] == site.name
    assert "policy_uri" not in told
    assert told["client_secret"] != site.secret
    assert (await desk.own(site)).status_code == 401
    browser = await member(house)
    old = await browser.go(site.request_url())
    assert isinstance(old, Shown)
    assert old.status == 400
    new = Registered(house, site.name, "https://library.test/new", told=told)
    arrival = await shared(browser, new)
    site.verifiers.update(new.verifiers)
    assert (await site.token(arrival)).status_code == 401
    await new.redeem(arrival)


async def test_a_site_never_learns_by_which_number_another_knows_people(house: House, desk: Desk) -> None:
    """It cannot move to the other's host with what it was granted at its own, and one number is not the other's (decision 11)."""
    site, forum = await desk.registered(), house.site("forum")
    browser = await member(house)
    tokens = await site.redeem(await shared(browser, site))
    before = (await site.claims(tokens["access_token"]))["sub"]
    answer = await desk.own(
        site, "PUT", {**SAID, "client_id": site.name, "redirect_uris": ["https://forum.test/other"]}
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    assert (await site.claims(tokens["access_token"]))["sub"] == before
    there = await desk.registered(redirect_uris=["https://forum.test/~other/cb"])
    known = (await there.claims((await there.redeem(await shared(browser, there)))["access_token"]))["sub"]
    await browser.open(forum.request_url())
    arrival = await browser.press("decision=share")
    assert isinstance(arrival, Arrival)
    assert known != (await forum.claims((await forum.redeem(arrival))["access_token"]))["sub"]


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "r-other"},
        {"client_id": None},
        {"registration_access_token": "x"},
        {"registration_client_uri": "x"},
        {"client_secret_expires_at": 0},
        {"client_id_issued_at": 0},
        {"client_secret": "another"},
    ],
)
async def test_a_change_that_says_what_only_we_say_changes_nothing(desk: Desk, change: dict[str, Any]) -> None:
    """RFC 7592 §2.2"""
    site = await desk.registered()
    answer = await desk.own(site, "PUT", {**SAID, "client_name": "Bank", "client_id": site.name, **change})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await desk.own(site)).json()["client_name"] == "Library"
    body = {**SAID, "client_id": site.name, "client_secret": site.secret}
    assert (await desk.own(site, "PUT", body)).status_code == 200


async def test_the_log_says_what_a_site_did_with_its_registration(house: House, desk: Desk) -> None:
    site = await desk.registered()
    answer = await desk.own(site, "PUT", {**SAID, "client_id": site.name})
    site.told = answer.json()
    await desk.own(site, "DELETE")
    said = [json.loads(line) for line in house.log.splitlines() if '"site_registration"' in line]
    assert [(line["client"], line["outcome"]) for line in said] == [
        (site.name, outcome) for outcome in ("registered", "changed", "removed")
    ]
    assert "library.test" not in "".join(map(str, said))


async def test_a_site_that_leaves_takes_its_tokens_with_it(house: House, desk: Desk) -> None:
    """RFC 7592 §2.3"""
    site = await desk.registered()
    browser = await member(house)
    tokens = await site.redeem(await shared(browser, site))
    answer = await desk.own(site, "DELETE")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await site.userinfo(tokens["access_token"])).status_code == 401
    assert (await site.post("/introspect", {"token": tokens["access_token"]})).status_code == 401
    shown = await browser.go(site.request_url())
    assert isinstance(shown, Shown)
    assert "We do not know the site" in shown.text
    assert (await desk.own(site, "DELETE")).status_code == 401
    sites = await browser.open("/me/sites")
    assert "Library" not in sites.text
    history = await browser.open(f"/me/history?site={site.name}")
    assert "Library" in history.text, "what was shared with a site that is gone keeps its name"
    assert f">{site.name}<" not in history.text


async def test_pkce_is_required_of_who_registers(house: House, desk: Desk) -> None:
    """Whatever else it registers (RFC 9700 §2.1.1)."""
    site = await desk.registered()
    await desk.review(site)
    end = await (await member(house)).go(site.request_url(code_challenge=None, code_challenge_method=None))
    assert isinstance(end, Arrival)
    assert end.params["error"] == "invalid_request"


async def test_a_site_that_the_rules_no_longer_take_is_read_once(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers who name it again and again do not make us read it again and again."""
    site = await desk.registered()
    unit = house.world.durable.unit()
    kept = await house.world.durable.registrations.load(ClientId(site.name))
    assert kept is not None
    unit.save_registration(replace(kept, metadata=kept.metadata.replace("https:", "ftp:")), shown=kept.token_digest)
    await unit.commit()
    reads: list[str] = []

    def counted(metadata: Any, client_id: str, *rest: Any) -> Any:
        reads.append(client_id)
        return read_metadata(metadata, client_id, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(registered_sites, "read_metadata", counted)
    for _ in range(3):
        assert await house.world.clients.look(site.name) is None
    assert len(reads) == 1


async def test_a_site_that_registers_while_all_are_read_stays_known(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, registrations = house.world.clients, house.world.durable.registrations
    after, site = registrations.after, await desk.registered()

    async def slow(last: ClientId, most: int) -> Any:
        page = await after(last, most)
        if not last:
            late.append(await desk.registered())
            page = tuple(one for one in page if one.client_id != late[0].name)
        return page

    late: list[Registered] = []
    monkeypatch.setattr(type(registrations), "after", lambda _, last, most: slow(last, most))
    await known.reload()
    assert {site.name, late[0].name} <= {str(one.client_id) for one in known.registered()}


async def test_one_process_knows_what_another_registered(house: House, desk: Desk) -> None:
    """By looking where a request names it, and in the background for the rest."""
    world, site = house.world, await desk.registered()
    another = KnownSites(house.settings.clients, world.durable.registrations, world.clients._rules)
    name = ClientId(site.name)
    assert name not in another
    assert await another.look(site.name) == world.clients[name]
    assert name in another
    assert list(another) == list(house.settings.clients)
    background = KnownSites(house.settings.clients, world.durable.registrations, world.clients._rules)
    await background.reload()
    assert background[name] == world.clients[name]
    await desk.own(site, "DELETE")
    await background.reload()
    assert name not in background
    assert await another.look(site.name) is None


async def test_another_process_hears_of_a_site_in_seconds_and_of_very_many_less_often(
    house: House, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reading them costs says how often they are read; nothing that goes wrong makes them rest."""
    registrations, taken, clock = house.world.durable.registrations, [0.0], [1000.0]
    another = KnownSites(house.settings.clients, registrations, house.world.clients._rules)
    after, asked = registrations.after, list[str]()

    async def measured(last: ClientId, most: int) -> Any:
        asked.append(last)
        clock[0] += taken[0]
        return await after(last, most)

    monkeypatch.setattr(type(registrations), "after", lambda _, last, most: measured(last, most))
    monkeypatch.setattr(registered_sites, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    site = await desk.registered()
    await another.keep_up()
    assert ClientId(site.name) in another
    clock[0] += SITES_RELOADED_EVERY
    taken[0], later = 0.05, await desk.registered()
    await another.keep_up()
    assert ClientId(later.name) in another
    reads = len(asked)
    clock[0] += SITES_RELOADED_EVERY
    await another.keep_up()
    assert len(asked) == reads, "a slow one rests"
    clock[0] += 2 * 0.05 * registered_sites.SHARE
    await another.keep_up()
    assert len(asked) > reads


@pytest.mark.parametrize("name", ["r-", "r-\x00", "r-ü", f"r-{'x' * 80}", ""])
async def test_what_can_be_no_id_is_looked_up_nowhere(house: House, name: str) -> None:
    assert await house.world.clients.look(name) is None


async def test_where_registration_is_off_there_is_nothing(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Neither an endpoint nor its address; and a site that registered before is not known."""
    async with open_house(tmp_path, sandboxes) as house:
        answer = await Desk(house).send("POST", "/register", "x", SAID)
        assert answer.status_code == 404
        async with house.client() as client:
            told = (await client.get("/.well-known/openid-configuration")).json()
        assert "registration_endpoint" not in told


async def test_discovery_says_where(house: House) -> None:
    async with house.client() as client:
        told = (await client.get("/.well-known/openid-configuration")).json()
    assert told["registration_endpoint"] == f"{ISSUER}/register"
