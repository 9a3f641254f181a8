"""Tokens that a site gets for itself: no person, no ID token, nothing to renew (RFC 6749 §4.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.flows.op import APP, FORUM, ISSUER, WIKI, Op
from tests.flows.test_access_tokens import part

from broker.domain.client import AccessTokenFormat
from broker.domain.session import Session
from broker.domain.values import ClientId, Scope
from broker.errors import InvalidGrant, InvalidScope, InvalidTarget, InvalidToken, UnauthorizedClient

API = "https://api.forum.test/"
SCOPES = frozenset({Scope("reports:read"), Scope("reports:write")})


@pytest.fixture(params=list(AccessTokenFormat))
def op(request: pytest.FixtureRequest) -> Op:
    op = Op()
    for site in (FORUM, WIKI):
        op.clients[site] = replace(op.clients[site], access_tokens=request.param, service_scopes=SCOPES)
    return op


async def own(op: Op, site: ClientId = FORUM, **more: str) -> dict[str, Any]:
    return dict(await op.exchange.exchange(op.clients[site], {"grant_type": "client_credentials", **more}))


async def told(op: Op, token: str, site: ClientId = FORUM) -> dict[str, Any]:
    return dict(await op.exchange.introspect(op.clients[site], token))


async def test_a_site_gets_a_token_for_itself_and_nothing_else(op: Op) -> None:
    """RFC 6749 §4.4.3: neither an ID token nor a refresh token; and nothing is written down."""
    before = repr(op.durable.tables)
    answer = await own(op)
    token = answer.pop("access_token")
    assert answer == {"token_type": "Bearer", "expires_in": 600, "scope": "reports:read reports:write"}
    assert repr(op.durable.tables) == before
    if "." in token:
        now = int(op.clock.now().timestamp())
        assert part(token, 0)["typ"] == "at+jwt"
        claims = part(token, 1)
        assert claims.pop("jti").startswith(".")
        assert claims == {
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": FORUM,
            "client_id": FORUM,
            "iat": now,
            "exp": now + 600,
            "scope": "reports:read reports:write",
        }


async def test_introspection_says_that_it_is_the_sites_own(op: Op) -> None:
    """RFC 7662 §2.2: no session, no sign-in; the site stands where the person would."""
    token = (await own(op, scope="reports:read"))["access_token"]
    now = int(op.clock.now().timestamp())
    described = await told(op, token)
    assert described.pop("jti").startswith(".")
    assert described == {
        "active": True,
        "iss": ISSUER,
        "client_id": FORUM,
        "sub": FORUM,
        "aud": ISSUER if "." in token else FORUM,
        "token_type": "Bearer",
        "scope": "reports:read",
        "iat": now,
        "exp": now + 600,
    }
    op.move(minutes=10)
    assert await told(op, token) == {"active": False}


async def test_userinfo_knows_nobody_behind_it(op: Op) -> None:
    token = (await own(op))["access_token"]
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(token)


async def test_it_passes_for_no_code_and_no_refresh_token(op: Op) -> None:
    """Catalogue 25."""
    token = (await own(op))["access_token"]
    with pytest.raises(InvalidGrant):
        await op.redeem(token)
    with pytest.raises(InvalidGrant):
        await op.refresh(token)
    assert (await told(op, token))["active"]


async def test_only_its_own_site_learns_of_it_and_can_end_it(op: Op) -> None:
    """Catalogue 77, 82."""
    token, other = [(await own(op))["access_token"] for _ in range(2)]
    assert await told(op, token, WIKI) == {"active": False}
    await op.exchange.revoke(op.clients[WIKI], token)
    assert (await told(op, token))["active"]
    await op.exchange.revoke(op.clients[FORUM], token)
    assert await told(op, token) == {"active": False}
    assert (await told(op, other))["active"]


async def test_what_the_admin_takes_away_is_gone_at_once(op: Op) -> None:
    token = (await own(op))["access_token"]
    fewer = (await own(op, scope="reports:read"))["access_token"]
    op.clients[FORUM] = replace(op.clients[FORUM], service_scopes=frozenset({Scope("reports:read")}))
    assert await told(op, token) == {"active": False}
    assert (await told(op, fewer))["active"]


async def test_sites_that_may_not_are_refused(op: Op) -> None:
    """Whoever holds no secret, or was not allowed to (RFC 6749 §5.2)."""
    op.clients[APP] = replace(op.clients[APP], service_scopes=SCOPES)
    op.clients[WIKI] = replace(op.clients[WIKI], service_scopes=frozenset())
    for site in (APP, WIKI):
        with pytest.raises(UnauthorizedClient):
            await own(op, site)
    with pytest.raises(InvalidScope):
        await own(op, scope="openid")


async def test_it_is_for_the_interfaces_that_are_registered(op: Op) -> None:
    """All of them or those it names (RFC 8707 §2)."""
    more = "https://search.forum.test/"
    op.clients[FORUM] = replace(op.clients[FORUM], resources=frozenset({API, more}))
    assert (await told(op, (await own(op))["access_token"]))["aud"] == [API, more]
    assert (await told(op, (await own(op, resource=API))["access_token"]))["aud"] == API
    with pytest.raises(InvalidTarget):
        await own(op, resource="https://evil.test/")


async def test_a_site_called_like_a_person_is_nobody(op: Op) -> None:
    """RFC 9068 §5: whose token it is does not hang on `sub`."""
    ana: Session = await op.person("ana")
    theirs = (await op.tokens(ana))["access_token"]
    number = (await told(op, theirs))["sub"]
    site = ClientId(number)
    op.clients[site] = replace(op.clients[FORUM], client_id=site)
    token = (await own(op, site))["access_token"]
    assert (await told(op, token, site))["sub"] == number
    assert await told(op, token) == {"active": False}
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(token)


# --- the answer of an introspection, signed -------------------------------------------------------------


async def test_an_introspection_may_be_signed(op: Op) -> None:
    """RFC 9701 §5: for whoever asked, of a type that is no token's, with nothing of the token outside its own member."""
    token = (await own(op))["access_token"]
    signed = await op.exchange.introspect_signed(op.clients[FORUM], token)
    assert part(signed, 0)["typ"] == "token-introspection+jwt"
    assert part(signed, 1) == {
        "iss": ISSUER,
        "aud": FORUM,
        "iat": int(op.clock.now().timestamp()),
        "token_introspection": await told(op, token),
    }


async def test_to_somebody_else_it_is_inactive_and_signed_for_them(op: Op) -> None:
    """Catalogue 77."""
    token = (await own(op))["access_token"]
    claims = part(await op.exchange.introspect_signed(op.clients[WIKI], token), 1)
    assert (claims["aud"], claims["token_introspection"]) == (WIKI, {"active": False})


async def test_a_signed_answer_is_no_token(op: Op) -> None:
    """RFC 9701 §8.1 (catalogue 76)."""
    signed = await op.exchange.introspect_signed(op.clients[FORUM], (await own(op))["access_token"])
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(signed)
    assert await told(op, signed) == {"active": False}
