"""Requests that sites signed: whose keys check them, and from where they are fetched."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.flows.op import FORUM, ISSUER, WIKI, Op, site
from tests.support.client_keys import key_set, new_key, object_claims, request_object

from broker.client_tokens import SiteTokens
from broker.domain.client import Client, RequestObjectUse
from broker.domain.values import ClientId
from broker.errors import (
    BrokerError,
    InvalidRequest,
    InvalidRequestObject,
    InvalidRequestUri,
    RequestNotSupported,
    RequestUriNotSupported,
    TemporarilyUnavailable,
    TooManyAttempts,
    UpstreamUnavailable,
)
from broker.flows.request_objects import FETCHES_PER_MINUTE, RequestObjects

SHOP = ClientId("shop")
PLACE = "https://shop.test/request"


@pytest.fixture
def op() -> Op:
    op = Op()
    keys = key_set(new_key(), new_key("RS256", "rsa-1"))
    op.clients[SHOP] = site(SHOP, jwks=keys, request_uris=(PLACE,), redirect_uris=("https://shop.test/callback",))
    return op


def signed(op: Op, **more: Any) -> str:
    return request_object(more.pop("key", new_key()), "shop", ISSUER, op.clock.now(), **more)


async def opened(op: Op, client: ClientId = SHOP, /, **params: str) -> Mapping[str, str]:
    return await op.objects.opened(op.clients[client], params)


async def refused(op: Op, error: type[BrokerError], **params: str) -> str:
    with pytest.raises(error) as refusal:
        await opened(op, SHOP, **params)
    assert type(refusal.value) is error
    return refusal.value.detail


async def test_what_the_site_signed_counts_and_nothing_beside_it(op: Op) -> None:
    """RFC 9101 §6.3."""
    params = await opened(op, request=signed(op), scope="openid phone", state="of-the-browser", prompt="none")
    assert (params["scope"], params["state"]) == ("openid profile email", "state-signed")
    assert "prompt" not in params
    assert (await opened(op, request=signed(op, key=new_key("RS256", "rsa-1"), algorithm="PS256")))[
        "client_id"
    ] == "shop"


@pytest.mark.parametrize("kind", ["oauth-authz-req+jwt", "application/oauth-authz-req+jwt", "JWT", None])
@pytest.mark.parametrize("strict", [True, False])
async def test_a_request_need_not_name_its_type_but_names_no_other(op: Op, kind: str | None, *, strict: bool) -> None:
    """FAPI 2.0 Message Signing §5.3.2 only advises it, of a strict site too (RFC 9101 §10.8)."""
    op.clients[SHOP] = replace(op.clients[SHOP], strict_jwt=strict)
    assert await opened(op, request=signed(op, header={"typ": kind}))
    for other in ("dpop+jwt", "client-authentication+jwt"):
        text = signed(op, header={"typ": other})
        assert await refused(op, InvalidRequestObject, request=text) == "request object typ"


def unsigned(algorithm: object, claims: dict[str, Any]) -> str:
    parts = ({"alg": algorithm, "typ": "oauth-authz-req+jwt"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", None, "HS256"])
async def test_what_nobody_signed_is_no_request_object(op: Op, algorithm: object) -> None:
    """Nor what is signed as this site may not (RFC 9101 §6.2; catalogue 69)."""
    claims = object_claims("shop", ISSUER, op.clock.now())
    assert await refused(op, InvalidRequestObject, request=unsigned(algorithm, claims)) == "request object alg"
    op.clients[SHOP] = replace(op.clients[SHOP], strict_jwt=True)
    text = signed(op, key=new_key("RS256", "rsa-1"), algorithm="RS256")
    assert await refused(op, InvalidRequestObject, request=text) == "request object alg"


@pytest.mark.parametrize(
    ("header", "check"),
    [
        ({"typ": "client-authentication+jwt"}, "typ"), ({"typ": "dpop+jwt"}, "typ"), ({"kid": "unknown"}, "kid"),
        ({"b64": True}, "crit"), ({"jku": "https://evil.test/keys", "kid": "x"}, "kid"),
    ],
)  # fmt: skip
async def test_it_is_checked_with_the_registered_keys_alone(op: Op, header: dict[str, Any], check: str) -> None:
    """(catalogue 70, 71, 72)"""
    text = signed(op, header=header)
    assert await refused(op, InvalidRequestObject, request=text) == f"request object {check}"


async def test_a_strangers_or_changed_request_is_refused(op: Op) -> None:
    stranger = new_key("ES256", "stranger")
    text = signed(op, key=stranger, header={"kid": "site-1"})
    assert await refused(op, InvalidRequestObject, request=text) == "request object signature"
    head, _, signature = signed(op).split(".")
    body = base64.urlsafe_b64encode(b'{"iss":"shop"}').rstrip(b"=").decode()
    assert await refused(op, InvalidRequestObject, request=f"{head}.{body}.{signature}") == "request object signature"
    assert (await refused(op, InvalidRequestObject, request="x")).startswith("request object token_")
    assert await refused(op, InvalidRequestObject, request=signed(op, aud="x")) == "request object aud"
    assert await refused(op, InvalidRequest, request="x" * 8193) == "request too long"


async def test_a_site_without_keys_cannot_sign(op: Op) -> None:
    """And nothing is asked of anybody for it (catalogue 16)."""
    with pytest.raises(RequestNotSupported):
        await opened(op, FORUM, request=signed(op))
    with pytest.raises(RequestUriNotSupported):
        await opened(op, FORUM, request_uri=PLACE)


async def test_there_is_one_request(op: Op) -> None:
    """RFC 9101 §5."""
    assert await refused(op, InvalidRequest, request=signed(op), request_uri=PLACE) == "request and request_uri"


# --- by reference -------------------------------------------------------------------------------------


class Shelf:
    """What sites publish, without a network: tokens at addresses, and keys that may be away."""

    def __init__(self, op: Op) -> None:
        self.tokens = SiteTokens(None, op.clock)  # type: ignore[arg-type]
        self.published: dict[str, str] = {}
        self.asked: list[str] = []
        self.is_down = False

    async def claims(self, client: Client, token: str, **more: Any) -> Mapping[str, Any]:
        if self.is_down:
            raise UpstreamUnavailable("status 500 jwks")
        return await self.tokens.claims(client, token, **more)

    async def at(self, address: str) -> str:
        self.asked.append(address)
        if address not in self.published:
            raise UpstreamUnavailable("status 404 request object")
        return self.published[address]


@pytest.fixture
def shelf(op: Op) -> Shelf:
    shelf = Shelf(op)
    op.objects = RequestObjects(tokens=shelf, limits=op.memory.limits, clock=op.clock, issuer=ISSUER)
    return shelf


async def test_a_request_is_fetched_from_where_the_admin_said(op: Op, shelf: Shelf) -> None:
    shelf.published[PLACE] = signed(op)
    assert (await opened(op, request_uri=PLACE, state="x"))["state"] == "state-signed"
    assert shelf.asked == [PLACE]


async def test_what_stands_behind_a_fragment_is_no_part_of_where_it_lies(op: Op, shelf: Shelf) -> None:
    """It changes with what lies there, which is fetched each time (OpenID Connect Core §6.2)."""
    shelf.published[PLACE] = signed(op)
    for edition in ("GkurKxf5T0Y", "9mTXeGYJ6Y0", ""):
        assert (await opened(op, request_uri=f"{PLACE}#{edition}"))["state"] == "state-signed"
    assert shelf.asked == [PLACE] * 3


@pytest.mark.parametrize(
    "address", ["https://shop.test/request/", "https://shop.test/request?x=1", "https://169.254.169.254/", "x", "urn:x:y", "#",
                "https://evil.test/#https://shop.test/request"]
)  # fmt: skip
async def test_nothing_is_fetched_from_anywhere_else(op: Op, shelf: Shelf, address: str) -> None:
    """To the letter; no request goes out (RFC 9101 §10.4; catalogue 16)."""
    assert await refused(op, InvalidRequestUri, request_uri=address) == "request_uri not registered"
    assert not shelf.asked


async def test_what_is_not_there_is_said_to_the_site(op: Op, shelf: Shelf) -> None:
    assert await refused(op, InvalidRequestUri, request_uri=PLACE) == "request_uri status 404 request object"
    shelf.published[PLACE] = "x"
    assert (await refused(op, InvalidRequestObject, request_uri=PLACE)).startswith("request object token_")


async def test_a_sites_server_is_asked_so_many_times_a_minute(op: Op, shelf: Shelf) -> None:
    """However many browsers come with its address (RFC 9101 §10.4.2)."""
    shelf.published[PLACE] = signed(op)
    for _ in range(FETCHES_PER_MINUTE):
        await opened(op, request_uri=PLACE)
    await refused(op, TooManyAttempts, request_uri=PLACE)
    assert len(shelf.asked) == FETCHES_PER_MINUTE


async def test_keys_that_cannot_be_had_are_nobodys_mistake(op: Op, shelf: Shelf) -> None:
    shelf.is_down = True
    assert await refused(op, TemporarilyUnavailable, request=signed(op)) == "request object status 500 jwks"


# --- pushed -------------------------------------------------------------------------------------------


async def test_a_signed_request_can_be_pushed(op: Op) -> None:
    """What it holds is kept, and nothing beside it (RFC 9126 §3)."""
    uri = await op.pushed.push(op.clients[SHOP], {"request": signed(op), "state": "x"}, address="192.0.2.1")
    assert (await op.pushed.open(uri, op.clients[SHOP])).params["state"] == "state-signed"
    with pytest.raises(InvalidRequest, match="redirect_uri not registered"):
        await op.pushed.push(
            op.clients[SHOP], {"request": signed(op, redirect_uri="https://evil.test/")}, address="192.0.2.1"
        )


async def test_a_site_that_signs_everything_pushes_nothing_else(op: Op) -> None:
    client = replace(op.clients[SHOP], request_object=RequestObjectUse.REQUIRED)
    plain = {name: str(value) for name, value in object_claims("shop", ISSUER, op.clock.now()).items()}
    with pytest.raises(InvalidRequest, match="not signed"):
        await op.pushed.push(client, plain, address="192.0.2.1")
    await op.pushed.push(client, {"request": signed(op)}, address="192.0.2.1")


async def test_a_site_without_keys_cannot_push_a_signed_request(op: Op) -> None:
    with pytest.raises(RequestNotSupported):
        await op.pushed.push(op.clients[WIKI], {"request": signed(op)}, address="192.0.2.1")
