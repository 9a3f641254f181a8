"""What pages of other origins may read (CORS): apps what they are answered, and nobody anything with cookies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from tests.support.client_keys import new_key, proof
from tests.support.house import ISSUER, House, Sandboxes, Site
from tests.web.desk import connect, member, wide_house

from broker.web.routes import ROUTES

APP = "https://app.test"
NATIVE = "http://127.0.0.1"
STRANGERS = [
    "https://forum.test",
    "https://evil.test",
    "null",
    "*",
    "https://app.test.evil.test",
    "http://app.test",
    ISSUER,
]
OPEN = ("/token", "/userinfo", "/revoke")


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with wide_house(tmp_path, sandboxes) as opened:
        yield opened


async def ask(house: House, method: str, path: str, *origins: str, **more: object) -> httpx2.Response:
    headers = [*(("Origin", origin) for origin in origins), *more.pop("headers", {}).items()]  # type: ignore[attr-defined]
    async with house.client() as client:
        return await client.request(method, path, headers=headers, **more)  # type: ignore[arg-type]


def readers(answer: httpx2.Response) -> list[str]:
    """Whose pages may read it. Nobody's with cookies, ever."""
    assert "access-control-allow-credentials" not in answer.headers
    return answer.headers.get_list("access-control-allow-origin")


@pytest.mark.parametrize("path", OPEN)
async def test_a_browser_learns_what_a_page_may_send(house: House, path: str) -> None:
    """Fetch §3.2.2: no cookies; and only pages of sites without a secret (catalogue 145)."""
    wanted = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,dpop",
    }
    for origin in (APP, NATIVE):
        answer = await ask(house, "OPTIONS", path, origin, headers=wanted)
        assert (answer.status_code, answer.content, readers(answer)) == (204, b"", [origin])
        assert answer.headers["access-control-allow-headers"] == "Authorization, Content-Type, DPoP"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert ("GET" in answer.headers["access-control-allow-methods"]) is (path == "/userinfo")
        assert answer.headers["vary"] == "Origin"
    for origin in STRANGERS:
        assert readers(await ask(house, "OPTIONS", path, origin, headers=wanted)) == []
    assert readers(await ask(house, "OPTIONS", path)) == readers(await ask(house, "OPTIONS", path, APP, APP)) == []


async def form_of(site: Site) -> dict[str, str]:
    arrival = await connect(await member(site.house), site)
    return {
        "grant_type": "authorization_code", "code": arrival.code, "redirect_uri": site.redirect_uri,
        "code_verifier": site.verifier_of(arrival), "client_id": site.name,
    }  # fmt: skip


async def test_an_apps_page_reads_its_tokens_and_nobody_elses_does(house: House) -> None:
    """Answers and errors, with what the next proof needs (RFC 9449 §8; catalogue 145)."""
    site = Site(house, "app", "https://app.test/cb")
    shown = {"DPoP": proof(new_key(), "POST", f"{ISSUER}/token", house.clock.now())}
    answer = await ask(house, "POST", "/token", APP, data=await form_of(site), headers=shown)
    assert (answer.status_code, readers(answer)) == (200, [APP])
    assert answer.headers["access-control-expose-headers"] == "DPoP-Nonce, WWW-Authenticate"
    assert answer.headers["dpop-nonce"]
    token = {"Authorization": f"DPoP {answer.json()['access_token']}"}

    def keyed(number: int) -> dict[str, str]:
        access = answer.json()["access_token"]
        now = house.clock.now()
        return {**token, "DPoP": proof(new_key(), "GET", f"{ISSUER}/userinfo", now, token=access, jti=f"j-{number}")}

    told = await ask(house, "GET", "/userinfo", APP, headers=keyed(0))
    assert (told.status_code, readers(told), told.headers["vary"]) == (200, [APP], "Origin")
    for number, origin in enumerate(STRANGERS, 1):
        told = await ask(house, "GET", "/userinfo", origin, headers=keyed(number))
        assert (told.status_code, readers(told), told.headers["vary"]) == (200, [], "Origin")
    refused = await ask(house, "GET", "/userinfo", APP)
    assert (refused.status_code, readers(refused)) == (401, [APP])
    assert refused.headers["www-authenticate"]
    wrong = await ask(house, "POST", "/token", APP, data={"client_id": "app", "grant_type": "authorization_code"})
    assert (wrong.status_code, readers(wrong)) == (400, [APP])
    gone = await ask(house, "POST", "/revoke", APP, data={"client_id": "app", "token": answer.json()["access_token"]})
    assert (gone.status_code, readers(gone)) == (200, [APP])


async def test_a_site_with_a_secret_is_answered_to_its_server_alone(house: House) -> None:
    """No page reads its tokens, nor what they open: neither its own nor an app's (catalogue 145)."""
    forum = house.site("forum")
    form = await form_of(forum) | {"client_id": "forum"}
    answer = await ask(house, "POST", "/token", APP, data=form, headers=forum.auth)
    assert (answer.status_code, readers(answer)) == (200, [])
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    for origin in (APP, "https://forum.test"):
        told = await ask(house, "GET", "/userinfo", origin, headers=bearer)
        assert (told.status_code, readers(told)) == (200, [])


async def test_everything_else_is_closed_or_holds_nothing(house: House) -> None:
    """Documents without people are everybody's; all other answers are no page's but ours (catalogue 145)."""
    everybodys = {"/jwks", "/client-jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server",
                  "/.well-known/ssf-configuration"}  # fmt: skip
    for route in ROUTES:
        if route.apps or "{" in route.path:
            assert route.path in OPEN or not route.apps
            continue
        answer = await ask(house, route.method, route.path, APP)
        assert readers(answer) == (["*"] if route.path in everybodys else []), route.path
        if route.path not in everybodys:
            assert readers(await ask(house, "OPTIONS", route.path, APP)) == [], route.path
