"""Codes and refresh tokens become tokens; tokens are described and revoked."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flows.op import APP, FORUM, ISSUER, KIT, VERIFIER, WIKI, Op

from broker.domain.account import AccountStatus, KeptNumber
from broker.domain.checks.token import challenge_of
from broker.domain.claims import EMAIL, NAME
from broker.domain.client import AccessTokenFormat, Profile, SigningAlgorithm, SubjectType
from broker.domain.disclosure import Via
from broker.domain.session import Session
from broker.domain.values import ClientId
from broker.errors import (
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    StoreUnavailable,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from broker.flows.device import GRANT_TYPE as DEVICE_GRANT

AWAY = "openid profile email offline_access"


@pytest.fixture
def op() -> Op:
    return Op()


@pytest.fixture
async def ana(op: Op) -> Session:
    return await op.person("ana")


def header(token: str) -> dict[str, Any]:
    return dict(orjson.loads(decoded(token.split(".", maxsplit=1)[0])))


def payload(token: str) -> dict[str, Any]:
    return dict(orjson.loads(decoded(token.split(".")[1])))


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def is_dead(op: Op, answer: Mapping[str, Any], client: ClientId = FORUM) -> bool:
    """Whether nothing of a token answer works any more."""
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(answer["access_token"])
    if "refresh_token" in answer:
        with pytest.raises(InvalidGrant):
            await op.refresh(answer["refresh_token"], client)
    return not await op.is_active(answer["access_token"], client)


# --- codes --------------------------------------------------------------------------------------------


async def test_a_code_becomes_an_access_token_and_an_id_token(op: Op, ana: Session) -> None:
    """RFC 6749 §5.1, OpenID Connect Core §3.1.3.3; no refresh token without offline_access (catalogue 91)."""
    answer = await op.tokens(ana)
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope", "id_token"}
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 600, "email openid profile")
    assert await op.is_active(answer["access_token"])


async def test_an_id_token_is_minimal_and_typed(op: Op, ana: Session) -> None:
    """No name and no e-mail, though both are shared (catalogue 86)."""
    token = (await op.tokens(ana))["id_token"]
    assert header(token) == {"alg": "RS256", "kid": "rs256-1", "typ": "JWT"}
    assert set(payload(token)) == {
        "iss",
        "aud",
        "azp",
        "sub",
        "sid",
        "iat",
        "exp",
        "auth_time",
        "nonce",
        "amr",
        "at_hash",
    }
    assert payload(token)["nonce"] == "nonce-1"


async def test_a_site_may_have_its_claims_in_the_id_token(op: Op, ana: Session) -> None:
    """Only those the person shares, and recorded before it is signed (catalogue 86)."""
    answer = await op.tokens(ana, WIKI, ticked=frozenset({NAME}))
    assert header(answer["id_token"])["alg"] == "ES256"
    claims = payload(answer["id_token"])
    assert (claims["preferred_username"], claims["name"]) == ("ana", "Ana Lund")
    assert {"email", "email_verified"}.isdisjoint(claims)
    (row,) = op.durable.tables.disclosures.values()
    assert (row.via, row.client, set(row.claims)) == (Via.ID_TOKEN, WIKI, {"name", "preferred_username"})


async def test_the_kits_site_gets_a_session_token_beside_it(op: Op, ana: Session) -> None:
    """Decision 10: ten minutes, its own type, and a way to renew it while the session lasts."""
    answer = await op.tokens(ana, KIT)
    assert header(answer["session_token"])["typ"] == "session+jwt"
    claims = payload(answer["session_token"])
    assert (claims["aud"], claims["email"], claims["email_verified"]) == (KIT, "ana@mail.test", True)
    assert (answer["session_token_expires_in"], claims["exp"] - claims["iat"]) == (600, 600)
    assert claims["sid"] == payload(answer["id_token"])["sid"]
    op.move(days=13)
    answer = await op.refresh(answer["refresh_token"], KIT)
    op.move(days=1)
    with pytest.raises(InvalidGrant):
        await op.refresh(answer["refresh_token"], KIT)


async def test_each_site_sees_its_own_number_and_session(op: Op, ana: Session) -> None:
    """Pairwise subjects per sector, `sid` per site (decision 11)."""
    seen = [payload((await op.tokens(ana, one))["id_token"]) for one in (FORUM, WIKI, KIT)]
    assert len({claims["sub"] for claims in seen}) == 3
    assert len({claims["sid"] for claims in seen}) == 3
    again = payload((await op.tokens(ana, FORUM))["id_token"])
    assert (again["sub"], again["sid"]) == (seen[0]["sub"], seen[0]["sid"])


async def test_sites_of_one_sector_see_one_number_and_two_sessions(op: Op, ana: Session) -> None:
    for one in (FORUM, WIKI):
        op.clients[one] = replace(op.clients[one], sector="club.test")
    forum, wiki = [payload((await op.tokens(ana, one))["id_token"]) for one in (FORUM, WIKI)]
    assert forum["sub"] == wiki["sub"]
    assert forum["sid"] != wiki["sid"]


async def test_a_number_kept_by_a_merge_is_the_one_in_everything_a_site_gets(op: Op, ana: Session) -> None:
    """ID token, session token, access token, userinfo, introspection and renewal; other sites see the account's own."""
    ben = await op.person("ben")
    op.clients[KIT] = replace(op.clients[KIT], access_tokens=AccessTokenFormat.JWT)
    before = {one: payload((await op.tokens(ben, one))["id_token"])["sub"] for one in (FORUM, KIT, WIKI)}
    own = payload((await op.tokens(ana, WIKI))["id_token"])["sub"]
    kept = {f"{one}.test": KeptNumber(of=ben.account, sites=(one,)) for one in (FORUM, KIT)}
    await op.change(ana.account, kept_numbers=kept)
    got = await op.tokens(ana, KIT)
    renewed = await op.refresh(got["refresh_token"], KIT)
    forum = await op.tokens(ana, FORUM)
    seen = [
        *(payload(tokens[name]) for tokens in (got, renewed) for name in ("id_token", "session_token", "access_token")),
        await op.releaser.userinfo(renewed["access_token"]),
        await op.exchange.introspect(op.clients[KIT], renewed["access_token"]),
    ]
    assert {claims["sub"] for claims in seen} == {before[KIT]}
    userinfo = await op.releaser.userinfo(forum["access_token"])
    assert {payload(forum["id_token"])["sub"], userinfo["sub"]} == {before[FORUM]}
    assert payload((await op.tokens(ana, WIKI))["id_token"])["sub"] == own != before[WIKI]


async def test_a_site_that_becomes_public_or_pairwise_sees_the_number_of_where_it_is_then(op: Op, ana: Session) -> None:
    """A kept number is of one sector; a site that leaves it sees what all others see there, and coming back the kept one."""
    ben = await op.person("ben")
    await op.change(ana.account, kept_numbers={"forum.test": KeptNumber(of=ben.account, sites=(FORUM,))})
    kept = payload((await op.tokens(ana, FORUM))["id_token"])["sub"]
    pairwise = op.clients[FORUM]
    op.clients[WIKI] = replace(op.clients[WIKI], subject_type=SubjectType.PUBLIC)
    op.clients[FORUM] = replace(pairwise, subject_type=SubjectType.PUBLIC)
    public = [payload((await op.tokens(ana, one))["id_token"])["sub"] for one in (FORUM, WIKI)]
    assert len({*public, kept}) == 2
    op.clients[FORUM] = pairwise
    assert payload((await op.tokens(ana, FORUM))["id_token"])["sub"] == kept


async def test_a_code_is_redeemed_once_and_a_replay_kills_what_it_led_to(op: Op, ana: Session) -> None:
    """RFC 6749 §4.1.2 (catalogue 20)."""
    code = await op.code(ana, scope=AWAY)
    answer = await op.redeem(code)
    assert await op.is_active(answer["access_token"])
    op.move(seconds=31)
    with pytest.raises(InvalidGrant, match="used before"):
        await op.redeem(code)
    assert await is_dead(op, answer)


async def test_a_replay_by_anybody_kills_it_too(op: Op, ana: Session) -> None:
    """Also with a wrong verifier, or long after the code's minute (catalogue 20)."""
    code = await op.code(ana)
    answer = await op.redeem(code)
    op.move(minutes=5)
    with pytest.raises(InvalidGrant):
        await op.redeem(code, WIKI, code_verifier="x" * 43)
    assert await is_dead(op, answer)


@pytest.mark.parametrize("client", [FORUM, WIKI, KIT])
async def test_of_fifty_takers_of_one_code_at_most_one_is_answered(op: Op, ana: Session, client: ClientId) -> None:
    """And nothing that anybody got lives on (catalogue 21)."""
    code = await op.code(ana, client)
    outcomes = await asyncio.gather(*(op.redeem(code, client) for _ in range(50)), return_exceptions=True)
    answers = [one for one in outcomes if isinstance(one, Mapping)]
    assert len(answers) <= 1
    assert all(isinstance(one, InvalidGrant) for one in outcomes if one not in answers)
    for answer in answers:
        assert await is_dead(op, answer, client)


async def test_a_grant_revoked_between_code_and_answer_is_no_fault(op: Op, ana: Session) -> None:
    """A replay or a sign-out that comes in between is a refusal (catalogue 21)."""
    code = await op.code(ana, KIT)
    consume = op.durable.grants.consume_code

    async def consume_and_lose(digest: bytes, now: Any) -> Any:
        outcome = await consume(digest, now)
        unit = op.durable.unit()
        unit.revoke_grants(ana.account, now)
        await unit.commit()
        return outcome

    op.durable.grants.consume_code = consume_and_lose  # type: ignore[method-assign]
    with pytest.raises(InvalidGrant, match="meanwhile"):
        await op.redeem(code, KIT)
    assert not op.durable.tables.families


@pytest.mark.parametrize(
    ("changes", "client"),
    [
        ({}, WIKI),
        ({}, APP),
        ({"redirect_uri": "https://forum.test/other"}, FORUM),
        ({"redirect_uri": None}, FORUM),
        ({"code_verifier": None}, FORUM),
        ({"code_verifier": "wrong-verifier-of-the-right-length-0123456789"}, FORUM),
    ],
)
async def test_one_wrong_try_burns_the_code(
    op: Op, ana: Session, changes: dict[str, str | None], client: ClientId
) -> None:
    """Another client, another address, no verifier or a wrong one; then even the right one is too late (catalogue 22, 23, 29, 30)."""
    code = await op.code(ana)
    with pytest.raises(InvalidGrant):
        await op.redeem(code, client, **changes)
    with pytest.raises(InvalidGrant, match="used before"):
        await op.redeem(code)


async def test_a_code_is_good_for_a_minute(op: Op, ana: Session) -> None:
    """Catalogue 24."""
    good, late = await op.code(ana), await op.code(ana)
    op.move(seconds=59)
    await op.redeem(good)
    op.move(seconds=2)
    with pytest.raises(InvalidGrant, match="expired"):
        await op.redeem(late)


async def test_two_tabs_cannot_swap_their_codes(op: Op, ana: Session) -> None:
    """Catalogue 31."""
    other = "another-verifier-of-another-tab-0123456789-01"
    tab_b = await op.code(ana, code_challenge=challenge_of(other))
    with pytest.raises(InvalidGrant, match="wrong"):
        await op.redeem(tab_b, code_verifier=VERIFIER)


async def test_without_pkce_a_verifier_is_refused(op: Op, ana: Session) -> None:
    """The downgrade of one site is not a way around (catalogue 28)."""
    op.clients[FORUM] = replace(op.clients[FORUM], pkce_required=False)
    plain = {"code_challenge": None, "code_challenge_method": None}
    assert "id_token" in await op.redeem(await op.code(ana, **plain), code_verifier=None)
    with pytest.raises(InvalidGrant, match="without code_challenge"):
        await op.redeem(await op.code(ana, **plain))


async def test_nothing_else_passes_for_a_code(op: Op, ana: Session) -> None:
    """Refresh, access and ID tokens, grant ids and digests; and none of them is used up by the try (catalogue 25)."""
    answer = await op.tokens(ana, scope=AWAY)
    grant = next(iter(op.durable.tables.grants))
    others = [
        answer["refresh_token"],
        answer["access_token"],
        answer["id_token"],
        grant,
        ana.sid,
        "dwc_",
        "\u2603",
        "x" * 4000,
    ]
    for other in others:
        with pytest.raises(InvalidGrant):
            await op.redeem(other)
    assert await op.is_active(answer["access_token"])
    assert "refresh_token" in await op.refresh(answer["refresh_token"])


async def test_a_code_of_an_account_that_closed_meanwhile_is_gone(op: Op, ana: Session) -> None:
    """Catalogue 83, 130."""
    for client in (FORUM, WIKI):
        code = await op.code(ana, client)
        unit = op.durable.unit()
        unit.erase_account(ana.account, op.clock.now())
        await unit.commit()
        with pytest.raises(InvalidGrant):
            await op.redeem(code, client)
        ana = await op.person(f"ana{client}")


@pytest.mark.parametrize("client", [WIKI, KIT])
async def test_a_code_of_a_held_account_brings_no_claims(op: Op, ana: Session, client: ClientId) -> None:
    """Catalogue 83."""
    code = await op.code(ana, client)
    await op.change(ana.account, status=AccountStatus.HELD)
    with pytest.raises(InvalidGrant, match="not active"):
        await op.redeem(code, client)


async def test_an_account_that_goes_between_code_and_claims_is_a_refusal(op: Op, ana: Session) -> None:
    code = await op.code(ana, WIKI)
    op.durable.tables.accounts.clear()
    with pytest.raises(InvalidGrant, match="account gone"):
        await op.redeem(code, WIKI)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({}, InvalidRequest),
        ({"grant_type": "authorization_code"}, InvalidRequest),
        ({"grant_type": "refresh_token"}, InvalidRequest),
        ({"grant_type": "password"}, UnsupportedGrantType),
        ({"grant_type": "client_credentials"}, UnauthorizedClient),
        ({"grant_type": "Authorization_Code", "code": "x"}, UnsupportedGrantType),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}, UnsupportedGrantType),
        ({"grant_type": "authorization_code", "code": "x", "resource": "https://api.test"}, InvalidTarget),
        ({"grant_type": "password", "resource": "https://api.test"}, InvalidTarget),
    ],
)
async def test_other_requests_are_refused_by_their_names(
    op: Op, params: dict[str, str], error: type[Exception]
) -> None:
    """RFC 6749 §5.2, RFC 8707."""
    with pytest.raises(error):
        await op.exchange.exchange(op.clients[FORUM], params)


@pytest.mark.parametrize(
    ("grant_type", "missing"),
    [
        (None, "grant_type"),
        ("authorization_code", "code"),
        ("refresh_token", "refresh_token"),
        (DEVICE_GRANT, "device_code"),
    ],
)
async def test_a_parameter_that_is_missing_is_named(op: Op, grant_type: str | None, missing: str) -> None:
    client = replace(op.clients[FORUM], device_grant=True)
    with pytest.raises(InvalidRequest) as refused:
        await op.exchange.exchange(client, {} if grant_type is None else {"grant_type": grant_type})
    assert refused.value.public == f"The parameter {missing} is missing."


async def test_no_record_no_token(op: Op, ana: Session) -> None:
    """If the ledger cannot be written, nothing is signed."""
    code = await op.code(ana, WIKI)
    signed: list[object] = []
    op.box.sign = lambda *a, **k: signed.append(a)  # type: ignore[method-assign, assignment]
    unit_of = op.durable.unit

    def broken() -> Any:
        unit = unit_of()

        async def commit() -> None:
            raise StoreUnavailable("disk full")

        unit.commit = commit  # type: ignore[method-assign]
        return unit

    op.durable.unit = broken  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await op.redeem(code, WIKI)
    assert not signed


async def test_the_second_token_of_a_day_costs_no_new_record(op: Op, ana: Session) -> None:
    """Decision 14: one row per grant, claims, way and day."""
    answer = await op.tokens(ana, KIT)
    await op.refresh(answer["refresh_token"], KIT)
    assert len(op.durable.tables.disclosures) == 1
    op.restart()
    op.move(hours=23)  # another day, and the session is not over yet
    await op.refresh((await op.tokens(ana, KIT))["refresh_token"], KIT)
    assert len(op.durable.tables.disclosures) == 2


# --- refresh ------------------------------------------------------------------------------------------


async def test_refreshing_rotates(op: Op, ana: Session) -> None:
    """A new refresh token each time; the ID token keeps who and when, without the nonce (OpenID Connect Core §12.2)."""
    first = await op.tokens(ana, scope=AWAY)
    op.move(minutes=20)
    second = await op.refresh(first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    before, after = payload(first["id_token"]), payload(second["id_token"])
    same = ("iss", "sub", "aud", "azp", "sid", "auth_time")
    assert [before[name] for name in same] == [after[name] for name in same]
    assert "nonce" not in after
    assert after["iat"] == before["iat"] + 1200


@pytest.mark.parametrize("profile", [Profile.FAPI2, Profile.FAPI2_MESSAGE_SIGNING])
async def test_a_site_of_fapi_renews_with_one_token(op: Op, ana: Session, profile: Profile) -> None:
    """FAPI 2.0 Security Profile §5.3.2.1, 9: each use keeps it from lying idle, and it ends as any other does."""
    first = await op.tokens(ana, scope=AWAY)
    op.clients[FORUM] = replace(op.clients[FORUM], profile=profile)
    for _ in range(3):
        op.move(days=29)
        renewed = await op.refresh(first["refresh_token"])
        assert renewed["refresh_token"] == first["refresh_token"]
        assert await op.is_active(renewed["access_token"])
    with pytest.raises(InvalidGrant):
        await op.refresh(first["refresh_token"], WIKI)
    op.move(days=31)
    with pytest.raises(InvalidGrant, match="not usable"):
        await op.refresh(first["refresh_token"])


async def test_a_rotated_token_that_comes_back_revokes_the_family(op: Op, ana: Session) -> None:
    """Access tokens and the newest refresh token as well (catalogue 87)."""
    first = await op.tokens(ana, scope=AWAY)
    second = await op.refresh(first["refresh_token"])
    op.move(seconds=31)
    with pytest.raises(InvalidGrant, match="reused"):
        await op.refresh(first["refresh_token"])
    assert await is_dead(op, first)
    assert await is_dead(op, second)


async def test_reuse_is_remembered_after_a_restart_and_when_the_clock_steps_back(op: Op, ana: Session) -> None:
    """Catalogue 89."""
    first = await op.tokens(ana, scope=AWAY)
    op.move(minutes=1)
    second = await op.refresh(first["refresh_token"])
    third = await op.refresh(second["refresh_token"])
    op.restart()
    op.move(minutes=-1)
    with pytest.raises(InvalidGrant, match="reused"):
        await op.refresh(first["refresh_token"])
    for token in (second, third):
        with pytest.raises(InvalidGrant):
            await op.refresh(token["refresh_token"])


async def test_a_lost_answer_can_be_had_once_more_and_is_the_same(op: Op, ana: Session) -> None:
    """The retry window: the same successor, so never two live children (catalogue 88, 92; decision 21)."""
    first = await op.tokens(ana, scope=AWAY)
    lost = await op.refresh(first["refresh_token"])
    op.move(seconds=30)
    again = await op.refresh(first["refresh_token"])
    assert again["refresh_token"] == lost["refresh_token"]
    with pytest.raises(InvalidGrant, match="reused"):
        await op.refresh(first["refresh_token"])
    assert await is_dead(op, again)


async def test_of_twenty_parallel_refreshes_there_is_never_more_than_one_child(op: Op, ana: Session) -> None:
    """Catalogue 88."""
    first = await op.tokens(ana, scope=AWAY)
    outcomes = await asyncio.gather(*(op.refresh(first["refresh_token"]) for _ in range(20)), return_exceptions=True)
    children = {one["refresh_token"] for one in outcomes if isinstance(one, Mapping)}
    assert len(children) == 1
    assert all(isinstance(one, InvalidGrant) for one in outcomes if not isinstance(one, Mapping))


async def test_a_refresh_token_is_its_clients_alone(op: Op, ana: Session) -> None:
    """And another client's try changes nothing (catalogue 90)."""
    first = await op.tokens(ana, scope=AWAY)
    for other in (WIKI, APP, KIT):
        with pytest.raises(InvalidGrant):
            await op.refresh(first["refresh_token"], other)
        with pytest.raises(InvalidGrant):
            await op.refresh(first["refresh_token"], other, scope="openid")
    assert "refresh_token" in await op.refresh(first["refresh_token"])


async def test_a_refresh_never_widens_the_scope_and_a_wrong_wish_costs_nothing(op: Op, ana: Session) -> None:
    """Catalogue 90."""
    first = await op.tokens(ana, scope="openid profile offline_access")
    with pytest.raises(InvalidScope):
        await op.refresh(first["refresh_token"], scope="openid email")
    with pytest.raises(InvalidTarget):
        await op.refresh(first["refresh_token"], resource="https://api.test")
    assert (await op.refresh(first["refresh_token"]))["scope"] == "offline_access openid profile"


async def test_a_narrowed_token_unlocks_no_more_than_it_says(op: Op, ana: Session) -> None:
    """RFC 6749 §6; the next one may have all again (catalogue 135)."""
    op.clients[FORUM] = replace(op.clients[FORUM], claims_in_id_token=True)
    first = await op.tokens(ana, scope=AWAY)
    narrow = await op.refresh(first["refresh_token"], scope="openid email")
    assert narrow["scope"] == "email openid"
    assert set(await op.releaser.userinfo(narrow["access_token"])) == {"sub", "email", "email_verified"}
    assert "name" not in payload(narrow["id_token"])
    assert payload(narrow["id_token"])["email"] == "ana@mail.test"
    wide = await op.refresh(narrow["refresh_token"])
    assert "name" in await op.releaser.userinfo(wide["access_token"])


async def test_a_family_ends_when_it_lies_idle(op: Op, ana: Session) -> None:
    """Thirty days (catalogue 91)."""
    first = await op.tokens(ana, scope=AWAY)
    op.move(days=29)
    second = await op.refresh(first["refresh_token"])
    op.move(days=30)
    with pytest.raises(InvalidGrant):
        await op.refresh(second["refresh_token"])


async def test_a_family_ends_however_often_it_is_used(op: Op, ana: Session) -> None:
    """A hundred and eighty days (catalogue 91)."""
    answer = await op.tokens(ana, scope=AWAY)
    for _ in range(8):
        op.move(days=22)
        answer = await op.refresh(answer["refresh_token"])
    op.move(days=4)
    with pytest.raises(InvalidGrant):
        await op.refresh(answer["refresh_token"])


@pytest.mark.parametrize("client", [FORUM, WIKI, KIT])
async def test_a_held_account_is_not_refreshed(op: Op, ana: Session, client: ClientId) -> None:
    """Catalogue 83."""
    first = await op.tokens(ana, client, scope=AWAY)
    await op.change(ana.account, status=AccountStatus.HELD)
    with pytest.raises(InvalidGrant):
        await op.refresh(first["refresh_token"], client)
    assert not await op.is_active(first["access_token"], client)
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(first["access_token"])


async def test_what_the_grant_no_longer_covers_is_not_refreshed(op: Op, ana: Session) -> None:
    """A withdrawal, a closed account, a grant that is gone (catalogue 83, 84)."""
    first = await op.tokens(ana, scope=AWAY)
    second = await op.tokens(ana, scope=AWAY)
    unit = op.durable.unit()
    unit.revoke_grants(ana.account, op.clock.now())
    await unit.commit()
    op.restart()
    assert await is_dead(op, first)
    op.durable.tables.grants.clear()
    with pytest.raises(InvalidGrant):
        await op.refresh(second["refresh_token"])


async def test_a_grant_that_ends_after_its_family_stepped_gives_nothing(op: Op, ana: Session) -> None:
    """The grant is looked at after the rotation, not before."""
    first = await op.tokens(ana, scope=AWAY)
    rotate = op.durable.grants.rotate

    async def rotate_and_lose(*args: Any) -> Any:
        outcome = await rotate(*args)
        unit = op.durable.unit()
        unit.revoke_grants(ana.account, op.clock.now())
        await unit.commit()
        return outcome

    op.durable.grants.rotate = rotate_and_lose  # type: ignore[method-assign, assignment]
    with pytest.raises(InvalidGrant, match="gone or revoked"):
        await op.refresh(first["refresh_token"])


@pytest.mark.parametrize("token", ["", "dwr_", "dwr_AAAA", "dwa_x", "x" * 2000, "\u2603", "a.b.c"])
async def test_what_we_did_not_make_is_no_refresh_token(op: Op, token: str) -> None:
    with pytest.raises(InvalidGrant):
        await op.refresh(token)
    with pytest.raises(InvalidGrant):
        await op.refresh(token, scope="openid")


async def test_a_family_that_is_gone_cannot_be_narrowed(op: Op, ana: Session) -> None:
    first = await op.tokens(ana, scope=AWAY)
    op.durable.tables.families.clear()
    with pytest.raises(InvalidGrant):
        await op.refresh(first["refresh_token"], scope="openid")


async def test_disclosures_of_a_refresh_on_a_new_day_are_recorded(op: Op, ana: Session) -> None:
    first = await op.tokens(ana, WIKI, scope=AWAY)
    op.move(days=1)
    await op.refresh(first["refresh_token"], WIKI)
    days = sorted(row.day for row in op.durable.tables.disclosures.values())
    assert days == [op.clock.now().date() - timedelta(days=1), op.clock.now().date()]


# --- introspection ------------------------------------------------------------------------------------


async def test_introspection_tells_a_site_what_its_token_is_worth(op: Op, ana: Session) -> None:
    """RFC 7662 §2.2: and no claim of the person (catalogue 86)."""
    answer = await op.tokens(ana)
    told = await op.exchange.introspect(op.clients[FORUM], answer["access_token"])
    claims = payload(answer["id_token"])
    assert told == {
        "active": True,
        "iss": ISSUER,
        "client_id": FORUM,
        "aud": FORUM,
        "sub": claims["sub"],
        "sid": claims["sid"],
        "scope": "email openid profile",
        "token_type": "Bearer",
        "iat": claims["iat"],
        "exp": claims["iat"] + 600,
        "auth_time": claims["auth_time"],
    }
    op.move(minutes=10)
    assert await op.exchange.introspect(op.clients[FORUM], answer["access_token"]) == {"active": False}


async def test_another_sites_token_is_as_inactive_as_an_unknown_one(op: Op, ana: Session) -> None:
    """The same answer after the same look-up (catalogue 77, 81)."""
    token = (await op.tokens(ana, WIKI))["access_token"]
    looked: list[str] = []
    with_account = op.durable.grants.with_account

    async def watched(grant: Any, token_id: str) -> Any:
        looked.append(grant)
        return await with_account(grant, token_id)

    op.durable.grants.with_account = watched  # type: ignore[method-assign]
    for other in (token, "unknown", token[:-1], "", "x" * 5000):
        looked.clear()
        assert await op.exchange.introspect(op.clients[FORUM], other) == {"active": False}
        assert len(looked) == 1


async def test_a_public_client_may_not_introspect(op: Op, ana: Session) -> None:
    """Catalogue 81."""
    token = (await op.tokens(ana, APP))["access_token"]
    with pytest.raises(InvalidClient):
        await op.exchange.introspect(op.clients[APP], token)


async def test_no_other_kind_of_token_is_active(op: Op, ana: Session) -> None:
    """ID and refresh tokens are nothing to ask about, and a session token is no access token (catalogue 76)."""
    answer = await op.tokens(ana, KIT)
    for name in ("id_token", "refresh_token"):
        assert not await op.is_active(answer[name], KIT)
    for name in ("id_token", "session_token", "refresh_token"):
        with pytest.raises(InvalidToken):
            await op.releaser.userinfo(answer[name])


async def test_a_site_may_ask_what_its_session_token_is_worth(op: Op, ana: Session) -> None:
    """RFC 7662 §2.2, and no claim of the person (catalogue 86); named so that it passes for no access token."""
    answer = await op.tokens(ana, KIT)
    claims = payload(answer["session_token"])
    assert await op.exchange.introspect(op.clients[KIT], answer["session_token"]) == {
        "active": True,
        "iss": ISSUER,
        "client_id": KIT,
        "aud": KIT,
        "sub": claims["sub"],
        "sid": claims["sid"],
        "token_type": "session+jwt",
        "iat": claims["iat"],
        "exp": claims["exp"],
        "auth_time": claims["auth_time"],
    }
    op.move(minutes=10)
    assert not await op.is_active(answer["session_token"], KIT)


async def test_another_sites_session_token_is_as_inactive_as_an_unknown_one(op: Op, ana: Session) -> None:
    """Catalogue 77: also one that somebody changed."""
    token = (await op.tokens(ana, KIT))["session_token"]
    assert not await op.is_active(token, FORUM)
    assert not await op.is_active(token[:-10] + "AAAAAAAAAA", KIT)
    assert await op.is_active(token, KIT)


async def test_a_session_token_of_before_it_named_its_grant_is_inactive(op: Op, ana: Session) -> None:
    claims = payload((await op.tokens(ana, KIT))["session_token"])
    del claims["jti"]
    token = op.box.sign(claims, typ="session+jwt", algorithm=SigningAlgorithm.RS256)
    assert not await op.is_active(token, KIT)


@pytest.mark.parametrize("end", ["sign-out", "disconnect", "close", "hold"])
async def test_a_session_token_is_worth_nothing_once_it_is_over(op: Op, ana: Session, end: str) -> None:
    """At once, with nothing remembered (catalogue 83, 108)."""
    token, other = (await op.tokens(ana, KIT))["session_token"], (await op.tokens(ana))["access_token"]
    assert await op.is_active(token, KIT)
    unit, now = op.durable.unit(), op.clock.now()
    if end == "sign-out":
        unit.revoke_grants(ana.account, now, sid=ana.sid, keep_offline=True)
    elif end == "disconnect":
        unit.revoke_grants(ana.account, now, client=KIT)
    elif end == "close":
        unit.erase_account(ana.account, now)
    await unit.commit()
    if end == "hold":
        await op.change(ana.account, status=AccountStatus.HELD)
    assert not await op.is_active(token, KIT)
    assert await op.is_active(other) is (end == "disconnect")


async def test_an_access_token_ends_with_its_session(op: Op, ana: Session) -> None:
    short = replace(ana, expires_at=op.clock.now() + timedelta(minutes=5))
    token = (await op.tokens(short))["access_token"]
    assert await op.is_active(token)
    op.move(minutes=5)
    assert not await op.is_active(token)


# --- revocation ---------------------------------------------------------------------------------------


async def test_revoking_a_refresh_token_takes_its_access_tokens_along(op: Op, ana: Session) -> None:
    """RFC 7009 §2.1 (catalogue 82)."""
    first = await op.tokens(ana, scope=AWAY)
    second = await op.refresh(first["refresh_token"])
    await op.exchange.revoke(op.clients[FORUM], first["refresh_token"])
    assert await is_dead(op, first)
    assert await is_dead(op, second)


async def test_revoking_an_access_token_ends_that_one_only(op: Op, ana: Session) -> None:
    first = await op.tokens(ana, scope=AWAY)
    second = await op.refresh(first["refresh_token"])
    await op.exchange.revoke(op.clients[FORUM], second["access_token"])
    assert not await op.is_active(second["access_token"])
    assert await op.is_active(first["access_token"])
    assert "refresh_token" in await op.refresh(second["refresh_token"])


@pytest.mark.parametrize("minutes", [0, 30])
async def test_revoking_a_session_token_ends_the_sign_in_at_that_site(op: Op, ana: Session, minutes: int) -> None:
    """Its refresh token would make another; and no sign-in elsewhere. Nobody else's word does it (RFC 7009 §2.1)."""
    kit, forum = await op.tokens(ana, KIT), await op.tokens(ana)
    op.move(minutes=minutes)
    await op.exchange.revoke(op.clients[FORUM], kit["session_token"])
    kit = await op.refresh(kit["refresh_token"], KIT)
    op.move(minutes=minutes)
    await op.exchange.revoke(op.clients[KIT], kit["session_token"])
    assert not await op.is_active(kit["session_token"], KIT)
    assert await is_dead(op, kit, KIT)
    assert "refresh_token" in await op.refresh((await op.tokens(ana, scope=AWAY))["refresh_token"])
    assert await op.is_active(forum["access_token"]) is (minutes == 0)


async def test_another_clients_token_is_not_revoked(op: Op, ana: Session) -> None:
    """No effect, and no word about it (catalogue 82)."""
    first = await op.tokens(ana, scope=AWAY)
    for name in ("access_token", "refresh_token"):
        await op.exchange.revoke(op.clients[WIKI], first[name])
    assert await op.is_active(first["access_token"])
    assert "refresh_token" in await op.refresh(first["refresh_token"])


async def test_revoking_what_is_not_there_changes_nothing(op: Op, ana: Session) -> None:
    first = await op.tokens(ana, scope=AWAY)
    before = repr(op.durable.tables)
    for token in ("unknown", "", first["id_token"], op.handles.refresh_token("gone", 0)):
        await op.exchange.revoke(op.clients[FORUM], token)
    assert repr(op.durable.tables) == before
    op.durable.tables.grants.clear()
    await op.exchange.revoke(op.clients[FORUM], first["access_token"])
    assert not op.durable.tables.revoked_tokens


async def test_a_revocation_that_cannot_be_written_is_an_error(op: Op, ana: Session) -> None:
    """Never a 200 for something still alive (catalogue 82)."""
    first = await op.tokens(ana, scope=AWAY)
    await op.durable.close()
    for name in ("access_token", "refresh_token"):
        with pytest.raises(StoreUnavailable):
            await op.exchange.revoke(op.clients[FORUM], first[name])


# --- keys ---------------------------------------------------------------------------------------------


async def test_a_site_chooses_its_algorithm(op: Op, ana: Session) -> None:
    """RS256 unless it says ES256; all its tokens alike."""
    for algorithm in SigningAlgorithm:
        op.clients[KIT] = replace(op.clients[KIT], signing_algorithm=algorithm, client_id=KIT)
        answer = await op.tokens(ana, KIT)
        assert header(answer["id_token"])["alg"] == header(answer["session_token"])["alg"] == algorithm.value


async def test_the_email_of_one_person_is_verified_only_where_we_vouch(op: Op) -> None:
    """Catalogue 119."""
    ana = await op.person("ana")
    account = await op.durable.accounts.load(ana.account)
    assert account is not None
    doubtful = {**account.profile, EMAIL: replace(account.profile[EMAIL], verified=False)}
    await op.change(ana.account, profile=doubtful)
    answer = await op.tokens(ana)
    assert (await op.releaser.userinfo(answer["access_token"]))["email_verified"] is False


# --- any history --------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    history=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 1, 29, 30, 31, 3600])), min_size=1, max_size=12)
)
def test_whatever_is_presented_when_there_is_one_living_child_at_most(history: list[tuple[int, int]]) -> None:
    """The rule of rotation, told once more in other words and held against any history (catalogue 87, 88, 92).

    `history`: how many steps back the presented token is, and the seconds that pass before.
    """

    async def live() -> None:
        op = Op()
        known = [(await op.tokens(await op.person("ana"), scope=AWAY))["refresh_token"]]
        rotated_at, may_repeat, is_dead = op.clock.now(), False, False
        for back, seconds in history:
            now = op.move(seconds=seconds)
            presented = max(0, len(known) - 1 - back)
            is_newest = presented == len(known) - 1
            in_window = presented == len(known) - 2 and may_repeat and (now - rotated_at).total_seconds() <= 30
            try:
                child = (await op.refresh(known[presented]))["refresh_token"]
            except InvalidGrant:
                assert is_dead or not (is_newest or in_window)
                is_dead = True
                continue
            assert not is_dead
            if is_newest:
                assert child not in known
                known.append(child)
                rotated_at, may_repeat = now, True
            else:
                assert in_window
                assert child == known[-1]
                may_repeat = False

    asyncio.run(live())
