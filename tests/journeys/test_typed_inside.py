"""What somebody types leads to no address that is open to us alone: an exception of the admin's holds for what the admin wrote down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.support.house import DOORWARD_TOML, PROVIDERS_TOML, House, Sandboxes, Shown, open_house
from tests.support.sandbox import serve
from tests.support.tls import Authority, names_on_loopback

from broker.domain.values import ProviderId

INSIDE = "internal.test"
OPENID = """
[{id}]
kind = "openid2"
label = "OpenID {id}"
fields = ["name"]
{policy}
"""
POLICIES = {
    "any": 'discovery = "any"',
    "under": 'discovery = "hosts"\nhosts = ["*.test"]',
    "listed": 'discovery = "hosts"\nhosts = ["internal.test"]',
}
SERVER = """
[bluesky]
kind = "atproto"
label = "Bluesky"
issuer = "https://people.test"
fields = ["name"]
"""
ASKED: list[str] = []


@pytest.fixture(scope="module")
def inside(authority: Authority) -> Iterator[str]:
    """A server in our own network that notes what it is asked."""

    def answer(request: Request) -> Response:
        ASKED.append(request.url.path)
        return PlainTextResponse("for us alone")

    leaf = authority.leaf(INSIDE)
    app = Starlette(routes=[Route("/{path:path}", answer)])
    with serve(app, host=INSIDE, certificate=leaf.certificate, key=leaf.key) as url, names_on_loopback():
        yield url


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, inside: str, authority: Authority) -> AsyncIterator[House]:
    ASKED.clear()
    doorward = f'{DOORWARD_TOML}\n[egress."{urlsplit(inside).netloc}"]\nca_file = "{authority.ca}"\n'
    providers = (
        PROVIDERS_TOML + "".join(OPENID.format(id=id_, policy=policy) for id_, policy in POLICIES.items()) + SERVER
    )
    async with open_house(tmp_path, sandboxes, doorward=doorward, providers=providers) as opened:
        yield opened


@pytest.mark.parametrize(("provider", "is_asked"), [("any", False), ("under", False), ("listed", True)])
async def test_an_exception_holds_for_a_typed_address_only_where_its_host_is_listed(
    house: House, inside: str, provider: str, *, is_asked: bool
) -> None:
    """Else whoever types it looks around in our network (catalogue 66); by name, and not by all that lies under one."""
    browser = house.browser()
    await browser.open("/sign-in")
    shown = await browser.press(f"provider={provider}", fill={"identifier": f"{inside}/ana"})
    assert isinstance(shown, Shown)
    assert (shown.status, ASKED) == (200, ["/ana"] if is_asked else [])
    assert ("There is no OpenID at this address" if is_asked else "That address does not answer") in shown.text


@pytest.mark.parametrize(
    ("provider", "is_asked"), [("any", False), ("under", False), ("bluesky", False), ("listed", True), ("openid", True)]
)
async def test_so_it_is_with_the_pictures_that_they_name(
    house: House, inside: str, provider: str, *, is_asked: bool
) -> None:
    """The address of a picture is a stranger's word as well (catalogue 139); a configured provider's is fetched as ever."""
    sign_in = house.world.sign_in
    pictures = sign_in.pictures_of.get(ProviderId(provider), sign_in.pictures)
    assert pictures is not None
    assert await pictures.fetch(f"{inside}/ana.png") is None
    assert (ASKED == ["/ana.png"]) is is_asked
