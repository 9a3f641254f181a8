"""Access tokens that a site's own interfaces check by themselves (RFC 9068): what they say, and what they are good for."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.flows.op import FORUM, ISSUER, KIT, WIKI, Op

from broker.domain.client import AccessTokenFormat, SigningAlgorithm
from broker.domain.session import Session
from broker.domain.tokens import ID_TOKEN_TYPE, USERINFO_TYPE
from broker.domain.values import ClientId
from broker.errors import InvalidGrant, InvalidToken

AWAY = "openid profile email offline_access"


@pytest.fixture
def op() -> Op:
    op = Op()
    for site in (FORUM, KIT):
        op.clients[site] = replace(op.clients[site], access_tokens=AccessTokenFormat.JWT)
    return op


@pytest.fixture
async def ana(op: Op) -> Session:
    return await op.person("ana")


def part(token: str, number: int) -> dict[str, Any]:
    text = token.split(".")[number]
    return dict(orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


async def test_an_access_token_says_who_may_do_what_where_and_until_when(op: Op, ana: Session) -> None:
    """RFC 9068 §2: its own type, and no claim of the profile (catalogue 86). The number is the one of this site."""
    answer = await op.tokens(replace(ana, acr="urn:club:two"))
    keys = KeySet.import_key_set(orjson.loads(op.box.jwks))
    read = jwt.decode(answer["access_token"], keys, algorithms=["RS256"])
    assert read.header == {"alg": "RS256", "kid": "rs256-1", "typ": "at+jwt"}
    claims, told = read.claims, part(answer["id_token"], 1)
    jti, status = claims.pop("jti"), claims.pop("status")
    assert claims == {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": told["sub"],
        "client_id": FORUM,
        "iat": told["iat"],
        "exp": told["iat"] + 600,
        "scope": "email openid profile",
        "auth_time": told["auth_time"],
        "amr": ["fed"],
        "acr": "urn:club:two",
    }
    assert status["status_list"]["uri"].startswith(f"{ISSUER}/status/")
    assert jti != part((await op.tokens(ana))["access_token"], 1)["jti"]


async def test_its_status_is_that_of_its_grant_for_good(op: Op, ana: Session) -> None:
    """Token Status List §6.2: the same place after a refresh, as in the session token beside it."""
    first = await op.tokens(ana, KIT)
    second = await op.refresh(first["refresh_token"], KIT)
    places = [
        part(answer[name], 1)["status"] for answer in (first, second) for name in ("access_token", "session_token")
    ]
    assert all(place == places[0] for place in places)
    other = part((await op.tokens(ana, KIT))["access_token"], 1)
    assert other["status"] != places[0]


async def test_it_is_signed_as_the_site_has_its_tokens(op: Op, ana: Session) -> None:
    op.clients[FORUM] = replace(op.clients[FORUM], signing_algorithm=SigningAlgorithm.ES256)
    token = (await op.tokens(ana))["access_token"]
    assert part(token, 0)["alg"] == "ES256"
    assert set(await op.releaser.userinfo(token)) > {"sub", "email"}


async def test_a_signed_answer_says_whose_word_it_is_and_for_whom(op: Op, ana: Session) -> None:
    """OpenID Connect Core §5.3.2; and it is no ID token of ours."""
    client = op.clients[FORUM]
    claims = await op.releaser.userinfo((await op.tokens(ana))["access_token"])
    signed = op.exchange.userinfo_signed(client, claims)
    told = op.box.own(signed, typ=USERINFO_TYPE, now=op.clock.now())
    assert told == {**claims, "iss": op.exchange.issuer, "aud": FORUM}
    assert op.box.own(signed, typ=ID_TOKEN_TYPE, now=op.clock.now()) is None


async def test_it_is_good_at_userinfo_and_introspection(op: Op, ana: Session) -> None:
    answer = await op.tokens(ana, scope="openid email")
    told = await op.releaser.userinfo(answer["access_token"])
    assert (told["email"], told["sub"]) == ("ana@mail.test", part(answer["access_token"], 1)["sub"])
    described = await op.exchange.introspect(op.clients[FORUM], answer["access_token"])
    claims = part(answer["access_token"], 1)
    assert described == {
        "active": True,
        **{name: claims[name] for name in ("iss", "aud", "sub", "client_id", "iat", "exp", "scope", "auth_time")},
        "sid": part(answer["id_token"], 1)["sid"],
        "token_type": "Bearer",
    }
    op.move(minutes=10)
    assert not await op.is_active(answer["access_token"])
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(answer["access_token"])


async def test_a_narrowed_one_unlocks_no_more_than_it_says(op: Op, ana: Session) -> None:
    """RFC 6749 §6 (catalogue 90, 135)."""
    first = await op.tokens(ana, scope=AWAY)
    narrow = await op.refresh(first["refresh_token"], scope="openid")
    assert part(narrow["access_token"], 1)["scope"] == "openid"
    assert set(await op.releaser.userinfo(narrow["access_token"])) == {"sub"}


async def test_another_sites_is_as_inactive_as_an_unknown_one(op: Op, ana: Session) -> None:
    """Catalogue 77: and that site cannot revoke it either (catalogue 82)."""
    token = (await op.tokens(ana))["access_token"]
    assert await op.exchange.introspect(op.clients[WIKI], token) == {"active": False}
    await op.exchange.revoke(op.clients[WIKI], token)
    assert await op.is_active(token)


async def test_revoking_one_ends_that_one_only(op: Op, ana: Session) -> None:
    """RFC 7009 §2.1: the refresh token stays, and takes everything along when it goes (catalogue 82)."""
    first = await op.tokens(ana, scope=AWAY)
    second = await op.refresh(first["refresh_token"])
    await op.exchange.revoke(op.clients[FORUM], second["access_token"])
    assert not await op.is_active(second["access_token"])
    assert await op.is_active(first["access_token"])
    await op.exchange.revoke(op.clients[FORUM], second["refresh_token"])
    assert not await op.is_active(first["access_token"])


async def test_the_list_shows_a_grant_that_ended(op: Op, ana: Session) -> None:
    """What a site that never asks us goes by (catalogue 83)."""
    answer = await op.tokens(ana, scope=AWAY)
    place = part(answer["access_token"], 1)["status"]["status_list"]
    await op.exchange.revoke(op.clients[FORUM], answer["refresh_token"])
    now = op.clock.now()
    ended = await op.durable.statuses.ended(now.replace(year=now.year - 1), now)
    assert [found.index for found, _ in ended] == [place["idx"]]


async def test_no_other_token_of_ours_passes_for_one(op: Op, ana: Session) -> None:
    """An ID token, a session token, a logout token; nor an access token with another type (catalogue 76)."""
    answer = await op.tokens(ana, KIT)
    claims = part(answer["access_token"], 1)
    others = [answer["id_token"], answer["session_token"]]
    others += [
        op.box.sign(claims, typ=typ, algorithm=SigningAlgorithm.RS256) for typ in ("JWT", "logout+jwt", "fwd+jwt")
    ]
    for other in others:
        with pytest.raises(InvalidToken):
            await op.releaser.userinfo(other)
    assert "sub" in await op.releaser.userinfo(answer["access_token"])


async def test_one_passes_for_no_other_token_of_ours(op: Op, ana: Session) -> None:
    """Not as a hint who it is, not as a session token, not as a code or refresh token (catalogue 25, 69, 76)."""
    answer = await op.tokens(ana, KIT)
    token = answer["access_token"]
    assert (await op.exchange.introspect(op.clients[KIT], token))["token_type"] == "Bearer"
    situation = await op.look(ana, KIT, id_token_hint=answer["id_token"])
    assert op.authorize.facts(situation, None).identified
    situation = await op.look(ana, KIT, id_token_hint=token)
    assert not op.authorize.facts(situation, None).identified
    with pytest.raises(InvalidGrant):
        await op.redeem(token, KIT)
    with pytest.raises(InvalidGrant):
        await op.refresh(token, KIT)


async def test_somebody_elses_signature_makes_none(op: Op, ana: Session) -> None:
    """Changed, cut, or with the words of another token (catalogue 69-76)."""
    token, other = [(await op.tokens(ana, scope=scope))["access_token"] for scope in ("openid", "openid email")]
    head, _, signature = token.split(".")
    changed = (
        f"{head}.{other.split('.')[1]}.{signature}",
        token[:-4] + "AAAA",
        f"{head}.{token.split('.')[1]}.",
        token + "=",
        " " + token,
    )
    for one in changed:
        with pytest.raises(InvalidToken):
            await op.releaser.userinfo(one)
        assert await op.exchange.introspect(op.clients[FORUM], one) == {"active": False}


async def test_tokens_outlive_a_change_of_their_format(op: Op, ana: Session) -> None:
    """Ten minutes: whoever holds one is not signed out by a line of the configuration."""
    signed = (await op.tokens(ana))["access_token"]
    op.clients[FORUM] = replace(op.clients[FORUM], access_tokens=AccessTokenFormat.OPAQUE)
    opaque = (await op.tokens(ana))["access_token"]
    assert (opaque[:4], signed.count(".")) == ("dwa_", 2)
    for token in (signed, opaque):
        assert await op.is_active(token)
    op.clients[FORUM] = replace(op.clients[FORUM], access_tokens=AccessTokenFormat.JWT)
    assert await op.is_active(opaque)


@pytest.mark.parametrize("site", [FORUM, WIKI])
async def test_only_sites_that_check_by_themselves_use_up_a_place(op: Op, ana: Session, site: ClientId) -> None:
    await op.tokens(ana, site)
    (grant,) = op.durable.tables.grants.values()
    assert (grant.status is not None) == (site == FORUM)
