"""A site that knows nothing of us, behind nginx and Caddy as the recipes have them: who gets in, and under which name."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.serve.guarded import RECIPES, Guarded, Visitor, guarded
from tests.serve.rig import LIMIT
from tests.support.house import ISSUER, Sandboxes, Shown
from tests.support.tls import Authority

pytestmark = pytest.mark.parametrize("proxy", list(RECIPES))

FORGED = [
    ("Remote-User", "admin"), ("remote-user", "admin"), ("REMOTE-USER", "admin"), ("Remote_User", "admin"),
    ("REMOTE_USER", "admin"), ("remote-User", "admin"), ("Remote-Groups", "admins"), ("Remote_Groups", "admins"),
    ("Remote-Email", "admin@mail.test"), ("Remote_Email", "admin@mail.test"), ("Remote-Name", "Admin"),
    ("X-Login-Assertion", "e30.e30."), ("X_Login_Assertion", "e30.e30."), ("X-Login_Assertion", "e30.e30."),
    ("X_Login-Assertion", "e30.e30."),
]  # fmt: skip


def forget(visitor: Visitor) -> None:
    """The browser loses what it kept for the site's host."""
    for one in [one for one in visitor.jar.jar if one.domain.startswith("guarded")]:
        visitor.jar.jar.clear(one.domain, one.path, one.name)


async def direct(front: Guarded, path: str, headers: dict[str, str]) -> Any:
    """What a proxy on this machine is answered; status, and headers by their name in lower case."""

    def ask() -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", front.doorward, timeout=LIMIT)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


@pytest.fixture
async def front(tmp_path: Path, sandboxes: Sandboxes, authority: Authority, proxy: str) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path, sandboxes, authority, RECIPES[proxy]) as opened:
        yield opened


async def test_a_person_comes_back_to_exactly_their_page_and_is_named(front: Guarded) -> None:
    """Through sign-up and the page that shares, as at any site; then each request carries who they are."""
    page = "/notes/2026?tag=a%2Fb&q=x+y&q=%C3%A9"
    visitor = await front.member(page, tick=["name"])
    assert front.site.requests[-1][:2] == ("GET", page)
    named = front.site.named()
    assertion = named.pop("x-login-assertion")[0]
    assert set(named) == {"remote-user", "remote-name"}
    assert named["remote-user"] == ["zoe"]
    name = named["remote-name"][0].encode("latin-1").decode()
    async with front.house.client() as client:
        keys = KeySet.import_key_set((await client.get("/jwks")).json())
    token = jwt.decode(assertion, keys, algorithms=["ES256"])
    assert (token.header["typ"], token.claims["aud"], token.claims["iss"]) == ("fwd+jwt", "notes", ISSUER)
    assert (token.claims["preferred_username"], token.claims["name"]) == ("zoe", name)
    names = [one.name for one in visitor.jar.jar if one.domain.startswith("guarded")]
    assert names == ["__Host-doorward_at_notes"]


async def test_nobody_reaches_the_site_unnamed(front: Guarded) -> None:
    """Whatever the path, the method or the program's name (catalogue 95, 144)."""
    visitor = front.visitor()
    paths = [
        "/", "/robots.txt", "/healthz", "/ping", "/a/..;/b", "/%2e%2e/a", "/a%2f..%2fb", "//a", "/.doorward/../a", "/a?x=/.doorward/",
        "/.doorwardx", "/static/..%5ca", "/;/.doorward/sign-in",
    ]  # fmt: skip
    for path in paths:
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"):
            answer = await visitor.ask(method, path, headers={"User-Agent": "kube-probe/1.30"})
            assert answer.status_code in {400, 401, 403, 404, 405}, (method, path, answer.status_code)
            assert "location" not in answer.headers
    assert not front.site.requests


async def test_programs_keep_their_401_and_page_loads_are_sent_to_sign_in(front: Guarded) -> None:
    visitor = front.visitor()
    for headers in ({"Accept": "application/json"}, {"Accept": "text/html", "X-Requested-With": "XMLHttpRequest"},
                    {"Sec-Fetch-Mode": "cors", "Accept": "text/html"}):  # fmt: skip
        answer = await visitor.ask("GET", "/api", headers=headers)
        assert (answer.status_code, answer.headers.get("location")) == (401, None)
    sent = await visitor.ask("GET", "/page?a=1", headers={"Accept": "text/html"})
    assert sent.status_code in {302, 303}
    assert sent.headers["location"].startswith(f"{front.origin}/.doorward/sign-in?to=")
    assert not front.site.requests


@pytest.mark.parametrize("signed_in", [True, False], ids=["signed-in", "signed-out"])
async def test_forged_names_never_reach_the_site(front: Guarded, signed_in: bool) -> None:
    """Every spelling, doubled, and as hop-by-hop headers, of somebody signed in or not (catalogue 142)."""
    visitor = await front.member() if signed_in else front.visitor()
    seen = len(front.site.requests)
    tries = [[pair] for pair in FORGED]
    tries += [[pair, pair] for pair in FORGED] + [FORGED]
    tries += [[("Remote-User", "admin"), ("Connection", "Remote-User, X-Login-Assertion")]]
    tries += [[("Remote-User", "zoe, admin")], [("Remote-User", "admin"), ("Connection", "Cookie")]]
    for headers in tries:
        answer = await visitor.ask("GET", "/", headers=headers)
        if not signed_in:
            assert answer.status_code == 401
        elif answer.status_code == 200:
            named = front.site.named()
            assert named.get("remote-user", ["zoe"]) == ["zoe"], headers
            assert set(named) <= {"remote-user", "x-login-assertion"}, (headers, named)
            assert named.get("x-login-assertion", ["e30.x."])[0] != "e30.e30."
    assert (len(front.site.requests) > seen) == signed_in
    assert (await visitor.ask("GET", "/")).status_code == (200 if signed_in else 401)


async def test_signing_out_reaches_the_gate_at_the_next_request(front: Guarded) -> None:
    """(catalogue 83)"""
    visitor = await front.member()
    assert (await visitor.ask("GET", "/")).status_code == 200
    await visitor.open("/signout")
    await visitor.press("what=everything")
    assert (await visitor.ask("GET", "/")).status_code == 401
    again = await visitor.go(f"{front.origin}/after?x=1")
    assert isinstance(again, Shown)
    assert again.path.endswith("/sign-in")
    await visitor.choose()
    assert front.site.requests[-1][1] == "/after?x=1"


async def test_somebody_signed_in_elsewhere_is_asked_once_and_then_no_more(front: Guarded) -> None:
    """A lost cookie of the site's host is made good without a page."""
    visitor = await front.member()
    forget(visitor)
    seen = len(visitor.history)
    await visitor.go(f"{front.origin}/deep?x=1")
    assert front.site.requests[-1][1] == "/deep?x=1"
    assert all(answer.is_redirect for answer in visitor.history[seen:-1])


async def test_who_shares_nothing_is_told_so_in_words(front: Guarded) -> None:
    visitor = front.visitor()
    await visitor.go(f"{front.origin}/")
    await visitor.choose()
    await visitor.press("decision=continue")
    await visitor.press("decision=create", fill={"preferred_username": "zoe"})
    end = await visitor.press("decision=refuse")
    assert isinstance(end, Shown), end
    assert (end.status, end.headings[0]) == (403, "Notes did not let you in")
    assert not front.site.requests


async def test_another_browsers_answer_opens_nothing(front: Guarded) -> None:
    """Somebody plants the end of their own sign-in into another browser (catalogue 98)."""
    visitor = await front.member()
    forget(visitor)
    begun = await visitor.ask("GET", "/mine", headers={"Accept": "text/html"})
    begun = await visitor.ask("GET", begun.headers["location"].removeprefix(front.origin))
    answered = await visitor.send("GET", begun.headers["location"])
    there = answered.headers["location"].removeprefix(front.origin)
    assert there.startswith("/.doorward/callback?")
    victim = front.visitor()
    planted = await victim.ask("GET", there)
    assert planted.headers["location"].startswith(f"{ISSUER}/entry?")
    assert "set-cookie" not in planted.headers
    end = await victim.go(planted.headers["location"])
    assert isinstance(end, Shown)
    assert end.headings[0] == "We could not be sure this sign-in was yours"


async def test_a_cookie_of_nobodys_making_opens_nothing(front: Guarded) -> None:
    """Malformed, huge or doubled (catalogue 94, 95)."""
    visitor = await front.member()
    good = next(one.value for one in visitor.jar.jar if "_at_" in one.name)
    name = "__Host-doorward_at_notes"
    for cookie in (
        f"{name}=", f"{name}=x", f"{name}={'A' * 5000}", f"{name}={good}A", f"{name}={good}; {name}=x", f"{name}=x; {name}={good}",
        f"{name.lower()}={good}", f"__Host-doorward_at_forum={good}", f'{name}="\\', f"{name}=dwe_%00",
    ):  # fmt: skip
        answer = await visitor.ask("GET", "/", headers={"Cookie": cookie}, cookies=False)
        assert answer.status_code in {400, 401}, cookie
    assert (await visitor.ask("GET", "/", headers={"Cookie": f"{name}={good}"}, cookies=False)).status_code == 200


async def test_another_host_than_the_sites_leads_nowhere(front: Guarded, proxy: str) -> None:
    """A poisoned host or forwarding header changes no address that we name (catalogue 143, 145)."""
    visitor = front.visitor()
    for headers in (
        {"X-Forwarded-Host": "evil.test"}, {"X-Forwarded-Uri": "//evil.test/"}, {"X-Original-URL": "https://evil.test/"},
        {"X-Forwarded-Proto": "javascript"}, {"X-Original-Method": "GET", "X-Original-URL": f"{front.origin}/other"},
        {"Forwarded": "host=evil.test"}, {"X-Forwarded-For": "a"},
    ):  # fmt: skip
        answer = await visitor.ask("GET", "/mine", headers={"Accept": "text/html", **headers})
        assert answer.status_code in {302, 303, 401}, headers
        if answer.status_code != 401:
            way = parse_qs(urlsplit(answer.headers["location"]).query)["to"][0]
            found = front.house.world.gate.destination(way)
            assert found is not None
            assert found[1] == f"{front.origin}/mine", (headers, found[1])
    answer = await visitor.ask("GET", "/", headers={"Host": "evil.test", "Accept": "text/html"})
    assert "location" not in answer.headers or "evil" not in answer.headers["location"]


async def test_the_question_is_for_proxies_and_not_for_the_public(front: Guarded) -> None:
    """Not by our public name, not for another peer, not through the site's own proxy (catalogue 142, 143)."""
    async with front.house.client() as client:
        assert (await client.get("/forward-auth?client=notes")).status_code == 404
        assert (await client.get("/.doorward/sign-in?to=x")).status_code == 404
    visitor = front.visitor()
    for path in ("/.doorward/ask", "/forward-auth?client=notes"):
        assert (await visitor.ask("GET", path)).status_code in {401, 404}


async def test_every_answer_to_a_proxy_carries_all_names(front: Guarded) -> None:
    """Empty where there is nothing to say: signed out, unknown site, way to sign in, a fault (catalogue 142)."""
    names = {"remote-user", "remote-name", "remote-email", "remote-groups", "x-login-assertion"}
    for query, headers in (
        ("client=notes", {}), ("client=nobody", {}), ("client=forum", {}), ("", {}),
        ("client=notes", {"X-Original-URL": f"{front.origin}/", "X-Original-Method": "GET", "Accept": "text/html"}),
    ):  # fmt: skip
        status, found = await direct(front, f"/forward-auth?{query}", headers)
        assert {name: found.get(name) for name in names} == dict.fromkeys(names, ""), query
        assert status in {401, 403}
        assert "strict-transport-security" not in found
    visitor = await front.member()
    good = next(one for one in visitor.jar.jar if "_at_" in one.name)
    cookie = {"Cookie": f"{good.name}={good.value}"}
    assert (await direct(front, "/forward-auth?client=notes", cookie))[1]["remote-user"] == "zoe"
    await front.house.world.durable.close()
    for status, headers in ((503, cookie), (400, {**cookie, "X-Forwarded-For": "a"})):
        got, found = await direct(front, "/forward-auth?client=notes", headers)
        assert got == status
        assert {name: found.get(name) for name in names} == dict.fromkeys(names, "")


async def test_a_site_that_is_switched_off_lets_nobody_in(front: Guarded) -> None:
    visitor = await front.member()
    clients = front.house.settings.clients
    clients["notes"] = replace(clients["notes"], enabled=False)  # type: ignore[index]
    assert (await visitor.ask("GET", "/")).status_code == 403
