"""Refresh tokens at providers (RFC 6749 §6), and the ID tokens that come with the answers (OpenID Connect Core §12.2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.domain.provider import Named, Renews, UpstreamTokens
from broker.domain.values import Secret
from broker.errors import GrantOver, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers.oauth2 import OAuth2
from providers.openid_connect import OpenIDConnect
from tests.providers.rig import (
    ACCESS_TOKEN,
    CALLBACK,
    CLIENT_ID,
    ISSUER,
    NONCE,
    NOW,
    SUBJECT,
    ScriptedHTTP,
    StandingClock,
    attempt,
    id_claims,
    json_answer,
    preset,
    sign,
    token_answer,
    upstream,
)

FIRST = {"auth_time": int(NOW.timestamp()) - 100}
OLD = UpstreamTokens(
    access_token="old",
    refresh_token="r-1",
    expires_at=NOW,
    scopes=frozenset({"openid", "write:statuses"}),
    named=Named(
        issuer=ISSUER,
        subject=SUBJECT,
        nonce=NONCE,
        auth_time=NOW - timedelta(seconds=100),
        issued_at=NOW - timedelta(hours=2),
    ),
)


def openid(http: ScriptedHTTP, **changes: Any) -> OpenIDConnect:
    return OpenIDConnect(preset(**changes), http, StandingClock())


def answered(**claims: Any) -> ScriptedHTTP:
    """A provider that renews, with an ID token that says so much more or other than a good one (`None`: says it not)."""
    return upstream(token=token_answer(sign(id_claims(**{"nonce": None, **claims})), refresh_token="r-2"))


async def test_new_tokens_for_those_that_ran_out() -> None:
    """One request, with our secret as ever; no scope, which asks for all that was granted (RFC 6749 §6)."""
    http = answered()
    fresh = await openid(http).renew(OLD)
    asked = http.only("/token")
    assert asked.form == {"grant_type": "refresh_token", "refresh_token": "r-1"}
    assert asked.headers["Authorization"].startswith("Basic ")
    assert (fresh.access_token, fresh.refresh_token) == (ACCESS_TOKEN, "r-2")
    assert fresh.expires_at == NOW + timedelta(hours=1)
    assert (fresh.scopes, fresh.named) == (OLD.scopes, OLD.named)


async def test_a_refresh_token_that_is_not_replaced_stays_the_one_to_use() -> None:
    fresh = await openid(upstream(token=token_answer(None))).renew(OLD)
    assert fresh.refresh_token == "r-1"


async def test_scopes_that_were_taken_back_are_gone_from_the_new_ones() -> None:
    fresh = await openid(upstream(token=token_answer(None, scope="openid"))).renew(OLD)
    assert fresh.scopes == {"openid"}


async def test_an_answer_without_an_id_token_is_taken() -> None:
    """OpenID Connect Core §12.2: it might not contain one."""
    assert (await openid(upstream(token=token_answer(None))).renew(OLD)).access_token == ACCESS_TOKEN


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": NONCE}, {"auth_time": None}, {"aud": [CLIENT_ID]}, {"sub": SUBJECT}, {"amr": ["face"], "acr": "other"},
    ],
    ids=str,
)  # fmt: skip
async def test_an_id_token_that_says_the_same_is_taken(claims: dict[str, Any]) -> None:
    assert (await openid(answered(**claims)).renew(OLD)).access_token == ACCESS_TOKEN


@pytest.mark.parametrize(
    ("claims", "check"),
    [
        ({"iss": "https://evil.example"}, "iss"),
        ({"sub": "somebody-else"}, "renewed_sub"),
        ({"sub": None}, "sub"),
        ({"aud": "somebody-else"}, "aud"),
        ({"aud": [CLIENT_ID, "somebody-else"]}, "aud"),
        ({"azp": CLIENT_ID}, "renewed_azp"),
        ({"nonce": "another"}, "renewed_nonce"),
        ({"nonce": 7}, "renewed_nonce"),
        ({"auth_time": int(NOW.timestamp()) - 5}, "renewed_auth_time"),
        ({"iat": int(NOW.timestamp()) - 86_400}, "iat"),
        ({"exp": int(NOW.timestamp()) - 3600}, "exp"),
        ({"at_hash": "A" * 22}, "at_hash"),
    ],
    ids=str,
)
async def test_an_id_token_of_another_is_refused(claims: dict[str, Any], check: str) -> None:
    """OpenID Connect Core §12.2: an answer that is not for the same person is none."""
    with pytest.raises(UpstreamInvalid) as refused:
        await openid(answered(**claims)).renew(OLD)
    assert refused.value.check == check


async def test_an_id_token_older_than_the_first_one_is_refused() -> None:
    old = replace(OLD, named=replace(OLD.named, issued_at=NOW))  # type: ignore[type-var]
    with pytest.raises(UpstreamInvalid, match="renewed_iat"):
        await openid(answered()).renew(old)


async def test_another_tenant_of_one_issuer_is_refused() -> None:
    """Where many issuers share their keys, the first one's is the one."""
    old = replace(OLD, named=replace(OLD.named, issuer="https://other.example"))  # type: ignore[type-var]
    with pytest.raises(UpstreamInvalid, match="renewed_iss"):
        await openid(answered()).renew(old)


@pytest.mark.parametrize("token", [sign(id_claims(), alg="none"), f"{sign(id_claims())}x", "a.b.c", ""])
async def test_an_id_token_that_nobody_signed_is_refused(token: str) -> None:
    with pytest.raises(UpstreamInvalid):
        await openid(upstream(token=token_answer(token, refresh_token="r-2"))).renew(OLD)


async def test_the_first_id_token_is_remembered_only_where_tokens_can_be_renewed() -> None:
    seen: list[UpstreamTokens] = []
    for refresh in (None, "r-1"):
        http = upstream(token=token_answer(sign(id_claims(azp=CLIENT_ID)), refresh_token=refresh))
        tokens = (await openid(http).identify(attempt(), CALLBACK)).tokens
        assert tokens is not None
        seen.append(tokens)
    without, tokens = seen
    assert without.named is None
    assert tokens.named == Named(
        issuer=ISSUER,
        subject=SUBJECT,
        nonce=NONCE,
        azp=CLIENT_ID,
        auth_time=NOW - timedelta(seconds=100),
        issued_at=NOW - timedelta(seconds=1),
    )
    assert SUBJECT not in repr(tokens)
    assert NONCE not in repr(tokens.named)


async def test_tokens_of_nobody_in_particular_cannot_be_renewed() -> None:
    """Kept before it was written down whom they are of: nothing could be compared, so the person is asked anew."""
    http = answered()
    for old in (replace(OLD, named=None), replace(OLD, refresh_token=None)):
        with pytest.raises(GrantOver):
            await openid(http).renew(old)
    assert http.count("/token") == 0


def oauth2(http: ScriptedHTTP, **changes: Any) -> OAuth2:
    endpoints = {name: f"{ISSUER}/{name}" for name in ("authorization", "token", "userinfo")}
    endpoints["revocation"] = f"{ISSUER}/revoke"
    return OAuth2(preset(kind="oauth2", endpoints=endpoints, subject="sub", **changes), http, StandingClock())


async def test_a_service_without_id_tokens_renews_just_so() -> None:
    http = upstream(token=token_answer(None, refresh_token="r-2", expires_in=7200, scope="tweet.write users.read"))
    old = replace(OLD, named=None)
    fresh = await oauth2(http).renew(old)
    assert http.only("/token").form == {"grant_type": "refresh_token", "refresh_token": "r-1"}
    assert (fresh.refresh_token, fresh.expires_at) == ("r-2", NOW + timedelta(hours=2))
    assert fresh.scopes == {"tweet.write", "users.read"}


async def test_a_client_without_a_secret_says_who_it_is() -> None:
    http = upstream(token=token_answer(None))
    await oauth2(http, client_secret=Secret(""), token_endpoint_auth_method="none").renew(OLD)
    assert http.only("/token").form["client_id"] == CLIENT_ID


@pytest.mark.parametrize("kind", [openid, oauth2])
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "invalid_grant"}, GrantOver),
        (400, {"error": "invalid_client"}, UpstreamRejected),
        (401, {"error": "unauthorized_client"}, UpstreamRejected),
        (200, {"error": "temporarily_unavailable"}, UpstreamRejected),
        (503, {}, UpstreamUnavailable),
        (429, {}, UpstreamUnavailable),
        (200, {"access_token": "x"}, UpstreamInvalid),
        (302, {}, UpstreamInvalid),
    ],
)
async def test_only_a_refresh_token_that_is_good_no_more_ends_the_grant(
    kind: Any, status: int, body: dict[str, Any], error: type[Exception]
) -> None:
    """RFC 6749 §5.2: whatever else is wrong may be right again, and the tokens are kept."""
    with pytest.raises(error) as refused:
        await kind(upstream(token=json_answer(body, status))).renew(OLD)
    assert type(refused.value) is error


def test_which_kinds_renew() -> None:
    assert isinstance(openid(upstream()), Renews)
    assert isinstance(oauth2(upstream()), Renews)
