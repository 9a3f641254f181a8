"""Claim sets: what is in each token, and what is never in it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.builders import FORUM, NOW, WIKI, client, grant

from broker.domain import tokens
from broker.domain.claims import EMAIL, NAME
from broker.domain.client import SubjectType
from broker.domain.disclosure import Disclosure, Via, release
from broker.domain.ports import AccessToken
from broker.domain.values import AccountId, ClaimName

KEY = b"k" * 32
ANA, BEN = AccountId("ana"), AccountId("ben")
ISSUER = "https://login.test"
SITE = client()
VERSIONS = {ask.claim: ask.version for ask in SITE.asks}


def disclosed(via: Via = Via.ID_TOKEN, *, verified: bool = True, **more: object) -> Disclosure:
    held = grant(ANA, claims=VERSIONS, **more)
    profile = {NAME: "Ana", EMAIL: "ana@canary.test", ClaimName("gender"): "never asked"}
    who = frozenset({EMAIL}) if verified else frozenset[ClaimName]()
    return release(held, SITE, profile, who, subject="sub-ana", via=via, now=NOW)


def made(disclosure: Disclosure, **more: object) -> dict[str, object]:
    values: dict[str, object] = {"issuer": ISSUER, "sid": "sid-1", "nonce": "n-1", "access_token": "dwa_x"}
    return tokens.id_token(disclosure, **(values | more))  # type: ignore[arg-type]


# --- subjects -----------------------------------------------------------------------------------------


def test_a_person_has_one_number_per_sector() -> None:
    """OpenID Connect Core §8.1."""
    forum = client(subject_type=SubjectType.PAIRWISE, sector="community.test")
    wiki = replace(forum, client_id=WIKI, redirect_uris=("https://wiki.test/cb",))
    other = replace(wiki, sector="")
    assert tokens.subject_for(ANA, forum, KEY) == tokens.subject_for(ANA, wiki, KEY)
    assert tokens.subject_for(ANA, forum, KEY) != tokens.subject_for(ANA, other, KEY)


def test_public_numbers_are_the_same_everywhere_and_no_pairwise_one() -> None:
    forum = client(subject_type=SubjectType.PUBLIC, sector="a.test")
    wiki = client(client_id=WIKI, subject_type=SubjectType.PUBLIC, sector="b.test")
    pairwise = replace(forum, subject_type=SubjectType.PAIRWISE)
    assert tokens.subject_for(ANA, forum, KEY) == tokens.subject_for(ANA, wiki, KEY)
    assert tokens.subject_for(ANA, forum, KEY) != tokens.subject_for(ANA, pairwise, KEY)


def test_two_people_and_two_keys_have_different_numbers() -> None:
    assert tokens.subject_for(ANA, SITE, KEY) != tokens.subject_for(BEN, SITE, KEY)
    assert tokens.subject_for(ANA, SITE, KEY) != tokens.subject_for(ANA, SITE, b"o" * 32)


def test_a_number_is_short_ascii_and_says_nothing() -> None:
    """OpenID Connect Core §2: at most 255 ASCII characters."""
    subject = tokens.subject_for(ANA, SITE, KEY)
    assert subject.isascii() and len(subject) == 43
    assert "ana" not in subject


def test_sector_and_account_cannot_be_shifted_into_each_other() -> None:
    one = tokens.subject_for(AccountId("b"), client(subject_type=SubjectType.PAIRWISE, sector="a"), KEY)
    two = tokens.subject_for(AccountId("ab"), client(subject_type=SubjectType.PAIRWISE, sector=""), KEY)
    assert one != two


# --- ID token -----------------------------------------------------------------------------------------


def test_an_id_token_says_who_for_whom_and_since_when() -> None:
    """OpenID Connect Core §2."""
    payload = made(disclosed())
    assert payload == {
        "iss": ISSUER,
        "aud": FORUM,
        "azp": FORUM,
        "sub": "sub-ana",
        "sid": "sid-1",
        "nonce": "n-1",
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + timedelta(minutes=10)).timestamp()),
        "auth_time": int((NOW - timedelta(minutes=7)).timestamp()),
        "amr": ["fed", "pwd"],
        "acr": "urn:example:2",
        "at_hash": tokens.half_hash("dwa_x"),
        "name": "Ana",
        "email": "ana@canary.test",
        "email_verified": True,
    }


def test_an_id_token_without_a_disclosure_of_claims_is_minimal() -> None:
    """No name and no e-mail unless the site has claims_in_id_token (catalogue 86)."""
    bare = release(grant(ANA, claims=VERSIONS), SITE, {}, frozenset(), subject="s", via=Via.ID_TOKEN, now=NOW)
    assert set(made(bare)) == {
        "iss",
        "aud",
        "azp",
        "sub",
        "sid",
        "nonce",
        "iat",
        "exp",
        "auth_time",
        "amr",
        "acr",
        "at_hash",
    }


def test_what_is_not_known_is_left_out() -> None:
    payload = made(disclosed(amr=(), acr=None), nonce=None, access_token=None)
    assert {"amr", "acr", "nonce", "at_hash"}.isdisjoint(payload)


def test_a_claim_can_never_take_the_place_of_a_fact_of_the_token() -> None:
    """A profile field named like a protocol claim does not speak for us."""
    odd = {
        ClaimName(name): "forged"
        for name in ("iss", "aud", "sub", "sid", "exp", "iat", "nonce", "azp", "at_hash", "auth_time")
    }
    site = client(asks=tuple(replace(SITE.asks[0], claim=claim) for claim in odd))
    held = grant(ANA, claims={ask.claim: ask.version for ask in site.asks})
    one = release(held, site, odd, frozenset(), subject="s", via=Via.ID_TOKEN, now=NOW)
    assert "forged" not in made(one).values()


def test_at_hash_is_the_left_half_of_the_digest() -> None:
    """OpenID Connect Core §3.1.3.6, with the example's own arithmetic."""
    half = hashlib.sha256(b"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y").digest()[:16]
    assert tokens.half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y") == base64.urlsafe_b64encode(
        half
    ).decode().rstrip("=")
    assert tokens.half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y") == "77QmUPtjPfzWtF2AnpK9RQ"


# --- the others ---------------------------------------------------------------------------------------


def test_a_session_token_is_an_id_token_without_the_request() -> None:
    """Decision 10."""
    one = disclosed(Via.SESSION_TOKEN)
    payload = tokens.session_token(one, issuer=ISSUER, sid="sid-1", token_id="t1")
    assert payload.pop("jti") == f"{one.grant.id}.t1"
    assert payload == {name: value for name, value in made(one).items() if name not in {"nonce", "azp", "at_hash"}}
    assert payload["exp"] - payload["iat"] == 600


def test_a_session_token_leads_back_to_its_grant() -> None:
    one = disclosed(Via.SESSION_TOKEN)
    claims = tokens.session_token(one, issuer=ISSUER, sid="sid-1", token_id="t1")
    assert tokens.read_session_token(claims) == AccessToken(
        grant=one.grant.id,
        token_id="t1",
        scopes=frozenset(),
        issued_at=NOW.replace(microsecond=0),
        expires_at=NOW.replace(microsecond=0) + timedelta(minutes=10),
    )
    del claims["jti"]
    assert tokens.read_session_token(claims).grant == ""


@pytest.mark.parametrize("sid", ["sid-1", None])
def test_a_logout_token_says_what_ended_and_nothing_else(sid: str | None) -> None:
    """OpenID Connect Back-Channel Logout §2.4: no nonce, two minutes at most (catalogue 105)."""
    payload = tokens.logout_token(issuer=ISSUER, client=FORUM, subject="s", sid=sid, jti="j-1", now=NOW)
    expected = {
        "iss": ISSUER,
        "aud": FORUM,
        "sub": "s",
        "iat": int(NOW.timestamp()),
        "jti": "j-1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }
    assert payload.pop("exp") - payload["iat"] <= 120
    assert payload == expected | ({"sid": sid} if sid else {})


def test_each_kind_of_token_has_a_type_of_its_own() -> None:
    """RFC 8725 §3.11 (catalogue 76)."""
    assert len({tokens.ID_TOKEN_TYPE, tokens.SESSION_TOKEN_TYPE, tokens.LOGOUT_TOKEN_TYPE}) == 3


def test_userinfo_is_the_number_and_what_was_released() -> None:
    """OpenID Connect Core §5.3.2 (catalogue 86)."""
    answer = tokens.userinfo(disclosed(Via.USERINFO, verified=False))
    assert answer == {"sub": "sub-ana", "name": "Ana", "email": "ana@canary.test", "email_verified": False}


def test_an_address_is_an_object() -> None:
    """OpenID Connect Core §5.1.1."""
    address = ClaimName("address")
    site = client(asks=(replace(SITE.asks[0], claim=address),))
    held = grant(ANA, claims={address: site.asks[0].version})
    one = release(held, site, {address: "1 Rue de la Paix, Paris"}, frozenset(), subject="s", via=Via.USERINFO, now=NOW)
    assert tokens.userinfo(one) == {"sub": "s", "address": {"formatted": "1 Rue de la Paix, Paris"}}


def test_introspection_tells_a_tokens_worth_and_no_claim() -> None:
    """RFC 7662 §2.2 (catalogue 86)."""
    one = disclosed(Via.INTROSPECTION)
    presented = AccessToken(
        grant=one.grant.id,
        token_id="t1",
        scopes=frozenset({"profile", "openid"}),
        issued_at=NOW,
        expires_at=NOW + timedelta(minutes=10),
    )
    answer = tokens.introspection(one, presented, issuer=ISSUER, token_type="Bearer")
    assert answer == {
        "active": True,
        "iss": ISSUER,
        "client_id": FORUM,
        "aud": FORUM,
        "sub": "sub-ana",
        "scope": "openid profile",
        "token_type": "Bearer",
        "exp": int((NOW + timedelta(minutes=10)).timestamp()),
        "iat": int(NOW.timestamp()),
        "auth_time": int((NOW - timedelta(minutes=7)).timestamp()),
    }
    without = replace(presented, scopes=frozenset())
    assert "scope" not in tokens.introspection(one, without, issuer=ISSUER, token_type="session+jwt")
