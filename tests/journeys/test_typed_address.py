"""Somebody signs in with OpenID Connect by an address that they type: the whole way, through `oidc-provider`, somebody else's
software over TLS, where we register ourselves. Their address is at another host, which names that provider (WebFinger)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from tests.providers.witness import HOST, Witness, running_witness
from tests.support.house import (
    DOORWARD_TOML,
    ISSUER,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
)
from tests.support.sandbox import serve
from tests.support.tls import Authority

from broker.cli.provider_attempts import of_failures, read_attempts
from broker.domain.values import ProviderId

OWN = f"""
[own]
kind = "typed_openid_connect"
label = "OpenID Connect"
brand = "openid"
sandbox = true
discovery = "hosts"
hosts = ["127.0.0.1", "{HOST}"]
fields = ["name", "email", "picture"]
order = 3
"""
REL = "http://openid.net/specs/connect/1.0/issuer"


@pytest.fixture(scope="module")
def witness(authority: Authority) -> Iterator[Witness]:
    with running_witness(authority, OPEN_REGISTRATION="1") as running:
        yield running


@pytest.fixture(scope="module")
def people(witness: Witness) -> Iterator[str]:
    """The host of people's addresses: it names the provider of each, and has none itself."""

    def finger(request: Request) -> Response:
        resource = request.query_params["resource"]
        user = resource.removeprefix("acct:").partition("@")[0]
        if user == "moved":
            return RedirectResponse(f"/there?resource={resource}", 307)
        if user == "inside":
            return JSONResponse({"links": [{"rel": REL, "href": "https://127.0.0.1:6379"}]})
        if user == "elsewhere":
            return JSONResponse({"links": [{"rel": REL, "href": "https://elsewhere.test"}]})
        if not resource.startswith("acct:"):
            return Response(status_code=404)
        named = ours[0] if user == "ours" else witness.issuer
        return JSONResponse(
            {"subject": resource, "links": [{"rel": REL, "href": named}]}, media_type="application/jrd+json"
        )

    def there(request: Request) -> Response:
        return JSONResponse({"links": [{"rel": REL, "href": witness.issuer}]})

    ours = OURS
    with serve(Starlette(routes=[Route("/.well-known/webfinger", finger), Route("/there", there)])) as url:
        yield urlsplit(url).netloc


OURS: list[str] = []
"""The issuer of the provider that the configuration names."""


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, witness: Witness, people: str) -> AsyncIterator[House]:
    OURS[:] = [sandboxes.openid.url]
    doorward = DOORWARD_TOML.replace('[fields.email]\nuse = "needed"', '[fields.email]\nuse = "optional"')
    doorward += f'\n[egress."{people}"]\n\n[egress."{HOST}:{witness.port}"]\nca_file = "{witness.authority.ca}"\n'
    async with open_house(tmp_path, sandboxes, doorward=doorward, providers=PROVIDERS_TOML + OWN) as opened:
        yield opened


async def leave(browser: Browser, typed: str) -> Shown | Arrival:
    return await browser.press("provider=own", fill={"identifier": typed})


async def type_in(browser: Browser, witness: Witness, typed: str, name: str) -> Shown:
    """Away, through its pages as this person, and back."""
    gone = await leave(browser, typed)
    assert isinstance(gone, Arrival), gone
    shown = await browser.go(await witness.sign_in(gone.url, name))
    assert isinstance(shown, Shown)
    return shown


async def opened(house: House) -> Browser:
    browser = house.browser()
    await browser.open("/sign-in")
    return browser


async def test_a_typed_address_is_a_way_to_an_account_and_back_in(house: House, witness: Witness, people: str) -> None:
    """Registered at once and then known; a second address of the same provider leads to the same account."""
    browser = house.browser()
    chooser = await browser.open("/sign-in")
    assert "Your OpenID Connect address" in chooser.text
    assert "For example ana@example.org" in chooser.text
    preview = await type_in(browser, witness, f"zoe@{people}", "zoe")
    assert preview.path.endswith("/details")
    assert "Zoe Witness" in preview.text
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "zoe"})

    again = await opened(house)
    assert (await type_in(again, witness, f"acct:moved@{people}", "zoe")).path == "/me"
    assert await house.accounts() == 1
    for part in (people, HOST, "zoe@", "acct:"):
        assert part not in house.log


async def test_the_address_to_come_back_to_is_that_issuers_own(house: House, witness: Witness, people: str) -> None:
    """RFC 9700 §4.4.2 (catalogue 39): registered there is no other, and each browser is known there as it was expected."""
    gone = await leave(await opened(house), f"zoe@{people}")
    assert isinstance(gone, Arrival)
    query = {name: value for name, (value,) in parse_qs(urlsplit(gone.url).query).items()}
    assert query["redirect_uri"].startswith(f"{ISSUER}/callback/own/")
    assert (query["login_hint"], query["code_challenge_method"]) == (f"zoe@{people}", "S256")
    assert len(query["nonce"]) > 20
    forged = gone.url.replace(query["redirect_uri"].rpartition("/")[2], "0" * 24)
    async with witness.browser() as there:
        assert (await there.get(forged)).status_code == 400


async def test_an_address_that_leads_to_a_configured_provider_is_that_providers_sign_in(
    house: House, people: str
) -> None:
    """One person, one account, whichever of the two ways: its own client, its own address to come back to, nothing registered."""
    browser = await opened(house)
    assert isinstance(await browser.choose("openid", "ana"), Shown)
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    again = await opened(house)
    await house.openid.order(persona="ana")
    for typed in (f"ours@{people}", house.openid.host):
        shown = await again.agree_upstream(await leave(again, typed))
        assert isinstance(shown, Shown)
        assert shown.path == "/me"
        again = await opened(house)
    assert await house.accounts() == 1
    log = await house.openid.log()
    assert "/register" not in [line["path"] for line in log]
    assert {line["query"]["client_id"] for line in log if line["path"] == "/authorize"} == {"doorward"}


@pytest.mark.parametrize(
    ("typed", "words", "told"),
    [
        ("", "Type your address, or choose another way", "Somebody typed what is no address."),
        ("zoe", "This is no address that can be asked", "Somebody typed what is no address."),
        (
            "zoe@elsewhere.test",
            "Addresses of that place cannot be used here",
            "Somebody typed an address that is at a host",
        ),
        (
            "elsewhere@{people}",
            "Addresses of that place cannot be used here",
            "Somebody typed an address that is at a host",
        ),
        ("inside@{people}", "That address does not answer", "(server "),
        ("{people}", "No provider that can be used is found", "Nothing there says in a way that can be used"),
        ("zoe@127.0.0.1:1", "That address does not answer", "(server "),
    ],
)
async def test_what_leads_nowhere_is_said_beside_the_box_and_kept_in_it(
    house: House, people: str, typed: str, words: str, told: str
) -> None:
    """The log says which check it was, and never who or where (catalogue 66, 152); the command line says it in words, from what is
    kept and from the log.
    """
    browser = await opened(house)
    typed = typed.format(people=people)
    shown = await leave(browser, typed)
    assert isinstance(shown, Shown), shown
    assert (shown.status, shown.path.endswith("/sign-in")) == (200, True)
    assert shown.text.count(words) == 2, "in the summary and beside the box"
    assert shown.value("identifier") == typed
    assert "elsewhere" not in house.log
    assert '"check":"' in house.log
    await house.opened.trace.flush()
    kept = await house.world.durable.failures.newest(ProviderId("own"), 9)
    (found,) = of_failures(kept)
    (read,) = read_attempts(house.log.splitlines(), "own")
    assert told in found.what
    assert (found.what, found.fix, found.reference) == (read.what, read.fix, "")
    assert found.fix.endswith(".")
