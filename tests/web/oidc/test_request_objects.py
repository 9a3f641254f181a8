"""Requests that sites signed, over HTTP: brought, posted, pushed, and fetched from where they were left (RFC 9101)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.support.client_keys import key_set, new_key, request_object
from tests.support.house import DOORWARD_TOML, ISSUER, SITES_TOML, Arrival, House, Sandboxes, Shown, open_house
from tests.support.sandbox import serve
from tests.web.desk import member
from tests.web.oidc.test_client_assertions import post, proof, table


@dataclass
class Shelf:
    """A site's server where it leaves what it signed."""

    body: str = ""
    status: int = 200
    asked: int = 0
    url: str = ""

    async def answer(self, _request: Request) -> Response:
        self.asked += 1
        return Response(self.body, self.status, media_type="application/oauth-authz-req+jwt")


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    one = Shelf()
    with serve(Starlette(routes=[Route("/request", one.answer)])) as url:
        one.url = f"{url}/request"
        yield one


@asynccontextmanager
async def opened(folder: Path, sandboxes: Sandboxes, shelf: Shelf, egress: str) -> AsyncIterator[House]:
    keys, place = f"jwks = '{key_set(new_key())}'", f'request_uris = ["{shelf.url}"]'
    sites = (
        SITES_TOML
        + table("keyed", 'auth_method = "private_key_jwt"', keys, place)
        + table("signing", 'auth_method = "private_key_jwt"', keys, 'request_object = "required"')
    )
    async with open_house(folder, sandboxes, sites=sites, doorward=DOORWARD_TOML + egress) as house:
        yield house


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, shelf: Shelf) -> AsyncIterator[House]:
    allowed = f'\n[egress."{shelf.url.removeprefix("http://").removesuffix("/request")}"]\n'
    async with opened(tmp_path, sandboxes, shelf, allowed) as one:
        yield one


def signed(house: House, name: str = "keyed", **more: Any) -> str:
    return request_object(more.pop("key", new_key()), name, ISSUER, house.clock.now(), **more)


def url_of(name: str, **params: str) -> str:
    return f"{ISSUER}/authorize?{urlencode({'client_id': name, **params})}"


BACK = "https://keyed.test/callback"


async def test_a_signed_request_leads_to_an_answer(house: House) -> None:
    """With the address, scope and state it holds; what the browser brings beside it says nothing (RFC 9101 §6.3)."""
    ana = await member(house)
    beside = {"redirect_uri": "https://evil.test/", "state": "x", "scope": "openid email", "prompt": "none"}
    shown = await ana.open(url_of("keyed", request=signed(house, state="signed"), **beside))
    assert shown.path.endswith("/site")
    end = await ana.press("decision=share")
    assert isinstance(end, Arrival)
    assert end.url.startswith(f"{BACK}?")
    assert end.params["state"] == "signed"
    assert "code" in end.params


async def test_it_may_be_posted_and_longer_than_any_other_parameter(house: House) -> None:
    """The limit of the others is not its own (catalogue 17)."""
    ana, text = await member(house), signed(house, unknown="x" * 3000)
    assert len(text) > 4096
    for method in ("get", "post"):
        shown = await ana.submit(method, f"{ISSUER}/authorize", [("client_id", "keyed"), ("request", text)])
        assert isinstance(shown, Shown)
        assert shown.path.endswith("/site")


async def test_what_is_wrong_with_it_is_said_to_the_site_at_its_own_address(house: House) -> None:
    """And to the person where the browser names none of the site's (catalogue 1, 9)."""
    ana = await member(house)
    wrong = [
        (signed(house, aud="https://evil.test"), "invalid_request_object"),
        (signed(house, key=new_key("ES256", "stranger"), header={"kid": "site-1"}), "invalid_request_object"),
        (signed(house, exp=1), "invalid_request_object"),
        ("eyJhbGciOiJub25lIn0.e30.", "invalid_request_object"),
        ("x" * 8193, "invalid_request"),
    ]
    for text, error in wrong:
        end = await ana.go(url_of("keyed", request=text, redirect_uri=BACK, state="s-1"))
        assert isinstance(end, Arrival), text[:20]
        assert (end.params["error"], end.params["state"], end.params["iss"]) == (error, "s-1", ISSUER)
        for elsewhere in ({}, {"redirect_uri": "https://evil.test/"}):
            page = await ana.go(url_of("keyed", request=text, **elsewhere))
            assert isinstance(page, Shown)
            assert (page.status, "location" in page.response.headers) == (400, False)
    page = await ana.go(url_of("keyed", request=signed(house, redirect_uri="https://evil.test/"), redirect_uri=BACK))
    assert isinstance(page, Shown)
    assert "location" not in page.response.headers


async def test_a_site_that_signs_everything_is_heard_in_no_other_way(house: House) -> None:
    """Neither from a browser nor pushed (RFC 9101 §10.5)."""
    ana, signing = await member(house), house.site("signing")
    end = await ana.go(signing.request_url(state="s-1"))
    assert isinstance(end, Arrival)
    assert (end.params["error"], end.params["state"]) == ("invalid_request", "s-1")
    assert "signed" in end.params["error_description"]
    shown = await ana.open(url_of("signing", request=signed(house, "signing")))
    assert shown.path.endswith("/site")
    plain = await post(house, "/par", {"response_type": "code", "redirect_uri": "x"} | proof(house, "signing"))
    assert (plain.status_code, plain.json()["error"]) == (400, "invalid_request")
    form = {"request": signed(house, "signing", unknown="x" * 3000)}
    pushed = await post(house, "/par", form | proof(house, "signing"))
    assert pushed.status_code == 201, pushed.text
    shown = await ana.open(url_of("signing", request_uri=pushed.json()["request_uri"]))
    assert shown.path.endswith("/site")


async def test_a_request_is_fetched_where_the_site_left_it(house: House, shelf: Shelf) -> None:
    """Only there (RFC 9101 §5.2.2, §10.4; catalogue 16)."""
    ana = await member(house)
    shelf.body = f"{signed(house)}\n"
    shown = await ana.open(url_of("keyed", request_uri=shelf.url, redirect_uri=BACK))
    assert (shown.path.endswith("/site"), shelf.asked) == (True, 1)
    for name, address, error in (
        ("keyed", f"{shelf.url}?x=1", "invalid_request_uri"),
        ("forum", shelf.url, "request_uri_not_supported"),
    ):
        end = await ana.go(url_of(name, request_uri=address, redirect_uri=f"https://{name}.test/callback"))
        assert isinstance(end, Arrival)
        assert end.params["error"] == error
    assert shelf.asked == 1
    for body, status, error in (("x", 200, "invalid_request_object"), ("", 404, "invalid_request_uri")):
        shelf.body, shelf.status = body, status
        end = await ana.go(url_of("keyed", request_uri=shelf.url, redirect_uri=BACK))
        assert isinstance(end, Arrival)
        assert end.params["error"] == error


async def test_it_is_fetched_by_the_guarded_client(tmp_path: Path, sandboxes: Sandboxes, shelf: Shelf) -> None:
    """Without an exception of the admin's, nothing inside is asked, whatever is registered (catalogue 138)."""
    async with opened(tmp_path, sandboxes, shelf, "") as house:
        assert any(problem.key.endswith("request_uris.0") for problem in house.settings.warnings)
        end = await (await member(house)).go(url_of("keyed", request_uri=shelf.url, redirect_uri=BACK))
        assert isinstance(end, Arrival)
        assert end.params["error"] == "invalid_request_uri"
        assert "request_uri scheme 127.0.0.1" in house.log
    assert shelf.asked == 0


@pytest.mark.parametrize(
    "name", ["state", "nonce", "login_hint", "ui_locales", "acr_values", "idp_hint", "id_token_hint"]
)
async def test_half_a_character_is_refused_as_any_other_nonsense(house: House, name: str) -> None:
    """JSON can spell one, no address and no cookie can hold one: brought by a browser, and pushed."""
    text = signed(house, redirect_uri="https://keyed.test/callback", **{name: "\ud800"})
    end = await (await member(house)).go(url_of("keyed", request=text, redirect_uri="https://keyed.test/callback"))
    assert isinstance(end, Arrival)
    assert end.params["error"] == "invalid_request"
    pushed = await post(house, "/par", {"request": text, **proof(house, "keyed")})
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request")
