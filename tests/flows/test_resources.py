"""Tokens that are meant for one interface are good at that interface alone (RFC 8707)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.flows.op import FORUM, ISSUER, WIKI, Op
from tests.flows.test_access_tokens import AWAY, part

from broker.domain.account import AccountStatus
from broker.domain.client import AccessTokenFormat, Client
from broker.domain.session import Session
from broker.domain.values import Scope
from broker.errors import InvalidTarget, InvalidToken

API, SEARCH = "https://api.forum.test/", "https://search.forum.test/"
FORMATS = list(AccessTokenFormat)


@pytest.fixture(params=FORMATS)
def op(request: pytest.FixtureRequest) -> Op:
    op = Op()
    site = op.clients[FORUM]
    op.clients[FORUM] = replace(site, access_tokens=request.param, resources=frozenset({API, SEARCH}))
    return op


@pytest.fixture
async def ana(op: Op) -> Session:
    return await op.person("ana")


async def told(op: Op, token: str) -> dict[str, Any]:
    return dict(await op.exchange.introspect(op.clients[FORUM], token))


async def test_a_token_says_whom_it_is_for_and_userinfo_is_nobody_of_them(op: Op, ana: Session) -> None:
    """RFC 8707 §2, RFC 9068 §4 (catalogue 77)."""
    token = (await op.tokens(ana, resource=API))["access_token"]
    assert (await told(op, token))["aud"] == API
    if "." in token:
        assert part(token, 1)["aud"] == API
    with pytest.raises(InvalidToken, match="somebody else"):
        await op.releaser.userinfo(token)


async def test_several_stand_in_a_list(op: Op, ana: Session) -> None:
    token = (await op.tokens(ana, resource=f"{SEARCH} {API}"))["access_token"]
    assert (await told(op, token))["aud"] == [SEARCH, API]
    if "." in token:
        assert part(token, 1)["aud"] == [SEARCH, API]


async def test_without_one_a_token_is_for_userinfo(op: Op, ana: Session) -> None:
    token = (await op.tokens(ana))["access_token"]
    assert (await told(op, token))["aud"] == (ISSUER if "." in token else FORUM)
    assert "sub" in await op.releaser.userinfo(token)


async def test_each_request_chooses_and_the_grant_keeps_all(op: Op, ana: Session) -> None:
    """RFC 8707 §2.2: one for userinfo, then one for an interface, then one for all that was granted."""
    code = await op.code(ana, scope=AWAY, resource=f"{API} {SEARCH}")
    first = await op.redeem(code, resource=ISSUER)
    assert (await op.releaser.userinfo(first["access_token"]))["email"] == "ana@mail.test"
    second = await op.refresh(first["refresh_token"], resource=SEARCH, scope="openid")
    assert ((await told(op, second["access_token"]))["aud"], second["scope"]) == (SEARCH, "openid")
    third = await op.refresh(second["refresh_token"])
    assert (await told(op, third["access_token"]))["aud"] == [API, SEARCH]
    fourth = await op.refresh(third["refresh_token"], resource=f"{API} {ISSUER}")
    assert (await told(op, fourth["access_token"]))["aud"] == [API, ISSUER]
    assert "sub" in await op.releaser.userinfo(fourth["access_token"])


@pytest.mark.parametrize("resource", [SEARCH, "https://evil.test/", f"{API} {SEARCH}", "forum", "api"])
async def test_a_refresh_never_reaches_further_and_a_wrong_wish_costs_nothing(
    op: Op, ana: Session, resource: str
) -> None:
    """Catalogue 90: registered for the site or not."""
    first = await op.tokens(ana, scope=AWAY, resource=API)
    with pytest.raises(InvalidTarget):
        await op.refresh(first["refresh_token"], resource=resource)
    again = await op.refresh(first["refresh_token"])
    assert (await told(op, again["access_token"]))["aud"] == API


async def test_a_code_never_reaches_further(op: Op, ana: Session) -> None:
    """Catalogue 90: an address that the site did not name when the person was sent here."""
    for named in ({}, {"resource": SEARCH}):
        with pytest.raises(InvalidTarget):
            await op.redeem(await op.code(ana, **named), resource=API)


async def test_an_address_that_the_admin_took_away_is_gone_from_the_next_token(op: Op, ana: Session) -> None:
    first = await op.tokens(ana, scope=AWAY, resource=API)
    op.clients[FORUM] = replace(op.clients[FORUM], resources=frozenset({SEARCH}))
    with pytest.raises(InvalidTarget):
        await op.refresh(first["refresh_token"])


async def test_the_person_is_asked_the_same(op: Op, ana: Session) -> None:
    """Where a token goes changes nothing of what is shared: who agreed once is not asked again."""
    await op.tokens(ana)
    situation = await op.look(ana, resource=API)
    assert situation.is_covered
    assert situation.shown_digest == (await op.look(ana)).shown_digest


async def test_pushed_requests_may_name_some_too(op: Op) -> None:
    """RFC 9126 §2.1: refused before there is a reference."""
    params = {
        "redirect_uri": "https://forum.test/cb",
        "response_type": "code",
        "scope": "openid",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    for resource in (API, f"{API} {SEARCH}"):
        request_uri = await op.pushed.push(op.clients[FORUM], {**params, "resource": resource}, address="192.0.2.1")
        assert (await op.pushed.open(request_uri, op.clients[FORUM])).params["resource"] == resource
    with pytest.raises(InvalidTarget):
        await op.pushed.push(op.clients[FORUM], {**params, "resource": "https://evil.test/"}, address="192.0.2.1")


async def test_a_token_for_as_many_interfaces_as_there_can_be_is_read(op: Op, ana: Session) -> None:
    many = [f"https://api{number}.test/{'x' * 180}" for number in range(10)]
    op.clients[FORUM] = replace(op.clients[FORUM], resources=frozenset(many))
    token = (await op.tokens(ana, resource=" ".join(many)))["access_token"]
    assert (await told(op, token))["aud"] == many
    assert len(orjson.dumps(token)) < 4096


# --- who serves an interface ---------------------------------------------------------------------------


@pytest.fixture
def server(op: Op) -> Client:
    """The interface as a site of its own, with a secret of its own."""
    op.clients[WIKI] = replace(op.clients[WIKI], serves=frozenset({API}))
    return op.clients[WIKI]


async def test_who_serves_an_interface_may_ask_about_tokens_for_it(op: Op, ana: Session, server: Client) -> None:
    """RFC 7662 §2.1, RFC 8707 §2: the number is the asking site's, and its session and other interfaces are not told."""
    token = (await op.tokens(ana, resource=f"{API} {SEARCH}"))["access_token"]
    theirs, ours = await told(op, token), dict(await op.exchange.introspect(server, token))
    assert ours.pop("aud") == API
    assert ours == {name: value for name, value in theirs.items() if name not in {"aud", "sid"}}
    assert ours["client_id"] == FORUM
    op.move(minutes=10)
    assert await op.exchange.introspect(server, token) == {"active": False}


async def test_of_all_other_tokens_it_hears_nothing(op: Op, ana: Session, server: Client) -> None:
    """Catalogue 77: for another interface, for nobody named, or a session token."""
    op.clients[FORUM] = replace(op.clients[FORUM], session_token=True)
    for named in ({"resource": SEARCH}, {}):
        answer = await op.tokens(ana, **named)
        for name in ("access_token", "session_token", "id_token", "refresh_token"):
            assert await op.exchange.introspect(server, answer[name]) == {"active": False}
    token = (await op.tokens(ana, resource=API))["access_token"]
    await op.exchange.revoke(server, token)
    assert (await op.exchange.introspect(server, token))["active"]


@pytest.mark.parametrize("end", ["sign-out", "hold", "switched off", "gone"])
async def test_it_hears_of_the_end_of_a_token(op: Op, ana: Session, server: Client, end: str) -> None:
    """Catalogue 83: of the person, and of the site that the token was given to."""
    token = (await op.tokens(ana, resource=API))["access_token"]
    assert (await op.exchange.introspect(server, token))["active"]
    if end == "sign-out":
        unit = op.durable.unit()
        unit.revoke_grants(ana.account, op.clock.now())
        await unit.commit()
    elif end == "hold":
        await op.change(ana.account, status=AccountStatus.HELD)
    elif end == "switched off":
        op.clients[FORUM] = replace(op.clients[FORUM], enabled=False)
    else:
        del op.clients[FORUM]
    assert await op.exchange.introspect(server, token) == {"active": False}


async def test_it_hears_of_tokens_that_a_site_has_for_itself(op: Op, server: Client) -> None:
    op.clients[FORUM] = replace(op.clients[FORUM], service_scopes=frozenset({Scope("reports:read")}))
    answers = [
        await op.exchange.exchange(op.clients[FORUM], {"grant_type": "client_credentials", "resource": resource})
        for resource in (f"{API} {SEARCH}", SEARCH)
    ]
    mine, other = [dict(await op.exchange.introspect(server, one["access_token"])) for one in answers]
    assert (mine["sub"], mine["aud"], mine["scope"]) == (FORUM, API, "reports:read")
    assert other == {"active": False}
    op.clients[FORUM] = replace(op.clients[FORUM], enabled=False)
    assert await op.exchange.introspect(server, answers[0]["access_token"]) == {"active": False}


async def test_the_signed_answer_is_for_who_serves_it(op: Op, ana: Session, server: Client) -> None:
    """RFC 9701 §5: signed as the asking server has its tokens."""
    token = (await op.tokens(ana, resource=API))["access_token"]
    signed = await op.exchange.introspect_signed(server, token)
    assert part(signed, 0)["alg"] == server.signing_algorithm.value
    assert (part(signed, 1)["aud"], part(signed, 1)["token_introspection"]["client_id"]) == (WIKI, FORUM)
