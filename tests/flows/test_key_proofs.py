"""Keys that sites show, and what is bound to them, from the proof to the token (RFC 9449)."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.op import APP, FORUM, ISSUER, WIKI, Op
from tests.support.client_keys import Key, new_key, proof, proof_claims, public, signed, thumbprint

from broker.client_tokens import MAX_PROOF, read_key_proof
from broker.domain.checks.dpop import Nonces, Shown
from broker.domain.client import AccessTokenFormat, DpopUse
from broker.domain.session import Session
from broker.domain.values import ClientId, Scope
from broker.errors import (
    BoundToken,
    InvalidDpopProof,
    InvalidGrant,
    InvalidRequest,
    InvalidToken,
    StoreUnavailable,
    UseDpopNonce,
)
from broker.flows.key_proofs import KeyProofs

AWAY = "openid profile email offline_access"
MINE, OTHERS = Shown(jkt="m" * 43, has_nonce=True), Shown(jkt="o" * 43, has_nonce=True)
TOKEN = f"{ISSUER}/token"


@pytest.fixture
def op() -> Op:
    return Op()


@pytest.fixture
async def ana(op: Op) -> Session:
    return await op.person("ana")


def proofs_of(op: Op) -> KeyProofs:
    return KeyProofs(
        read=read_key_proof, nonces=Nonces(b"n" * 32), replay=op.memory.replay, clock=op.clock, issuer=ISSUER
    )


async def show(op: Op, text: str, **more: Any) -> Shown:
    return await proofs_of(op).check(text, **({"method": "POST", "path": "/token"} | more))


async def refused(op: Op, text: str) -> str:
    with pytest.raises(InvalidDpopProof) as refusal:
        await show(op, text)
    return refusal.value.detail


async def redeem(op: Op, code: str, client: ClientId, shown: Shown | None, **changes: str) -> Any:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": op.clients[client].redirect_uris[0],
        "code_verifier": "verifier-of-one-tab-0123456789-0123456789-abc",
        **changes,
    }
    return await op.exchange.exchange(op.clients[client], form, shown)


async def refresh(op: Op, token: str, client: ClientId, shown: Shown | None) -> Any:
    return await op.exchange.exchange(
        op.clients[client], {"grant_type": "refresh_token", "refresh_token": token}, shown
    )


# --- proofs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "Ed25519"])
async def test_a_key_is_known_by_its_thumbprint(op: Op, algorithm: str) -> None:
    key = new_key(algorithm, f"dpop-{algorithm}")
    shown = await show(op, proof(key, "POST", TOKEN, op.clock.now(), algorithm=algorithm))
    assert shown == Shown(jkt=thumbprint(key), has_nonce=False)
    nonce = proofs_of(op).nonce()
    shown = await show(op, proof(key, "POST", TOKEN, op.clock.now(), algorithm=algorithm, nonce=nonce))
    assert shown.has_nonce


async def test_a_proof_is_good_once(op: Op) -> None:
    """At any endpoint, in any process; another key may use the same name (RFC 9449 §11.1; catalogue 55)."""
    now = op.clock.now()
    once = proof(new_key(), "POST", TOKEN, now, jti="j-1")
    await show(op, once)
    assert await refused(op, once) == "proof used before"
    assert await refused(op, proof(new_key(), "POST", TOKEN, now, jti="j-1", iat=int(now.timestamp()) + 5)) == (
        "proof used before"
    )
    await show(op, proof(new_key("ES256", "another"), "POST", TOKEN, now, jti="j-1"))
    op.move(seconds=61)
    assert await refused(op, once) == "proof iat"


async def test_a_proof_that_nobody_can_remember_is_not_taken(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> bool:
        raise StoreUnavailable

    monkeypatch.setattr(op.memory.replay, "first_time", away)
    with pytest.raises(StoreUnavailable):
        await show(op, proof(new_key(), "POST", TOKEN, op.clock.now()))


async def test_a_proof_is_for_one_place_and_token(op: Op) -> None:
    now, userinfo = op.clock.now(), f"{ISSUER}/userinfo"
    mine = proof(new_key(), "GET", userinfo, now, token="dwa_mine")
    await show(op, mine, method="GET", path="/userinfo", token="dwa_mine")
    for more in ({"method": "POST"}, {"path": "/token"}, {"token": "dwa_other"}):
        given = {"method": "GET", "path": "/userinfo", "token": "dwa_mine"} | more
        with pytest.raises(InvalidDpopProof):
            await show(op, proof(new_key(), "GET", userinfo, now, token="dwa_mine"), **given)


def unsigned(claims: dict[str, Any], **changes: object) -> str:
    """A proof that nobody signed."""
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": public(new_key()), **changes}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return f"{'.'.join(parts)}.AA"


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", None, 5, "HS256", "RS256", "ES384"])
async def test_a_proof_without_a_signature_of_ours_to_take_is_refused(op: Op, algorithm: object) -> None:
    """(catalogue 69)"""
    assert await refused(op, unsigned(proof_claims("POST", TOKEN, op.clock.now()), alg=algorithm)) == "proof alg"


@pytest.mark.parametrize(
    ("header", "check"),
    [
        ({"typ": "JWT"}, "typ"), ({"typ": None}, "typ"), ({"typ": "client-authentication+jwt"}, "typ"),
        ({"b64": True}, "crit"), ({"jwk": None}, "jwk"), ({"jwk": {"kty": "oct", "k": "AA"}}, "jwk"),
        ({"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}, "jwk"),
        ({"jwk": new_key().as_dict(private=True)}, "jwk"), ({"jwk": public(new_key("RS256"))}, "jwk"),
        ({"jwk": public(new_key("ES256", "another"))}, "signature"),
        ({"jwk": None, "jku": "https://evil.test/keys"}, "jwk"), ({"jwk": None, "x5c": ["AA"]}, "jwk"),
        ({"pad": "x" * 2000}, "proof_form"),
    ],
)  # fmt: skip
async def test_a_proof_carries_the_public_key_that_signed_it(op: Op, header: dict[str, Any], check: str) -> None:
    """RFC 9449 §4.3, 4 to 7; nothing is fetched for anybody (catalogue 71, 72)."""
    assert await refused(op, proof(new_key(), "POST", TOKEN, op.clock.now(), header=header)) == f"proof {check}"


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "a.b.c.d.e", "é.é.é", "x" * (MAX_PROOF + 1)])
async def test_what_is_no_proof_at_all_is_refused(op: Op, text: str) -> None:
    """(catalogue 73, 74)"""
    assert (await refused(op, text)).startswith("proof proof_")


@pytest.mark.parametrize("jwk", ["x", 5, [], {"kty": "RSA", "e": "AQAB", "n": "v" * 171}, {"kty": "RSA", "n": 5}])
async def test_weak_and_odd_keys_show_nothing(op: Op, jwk: object) -> None:
    """RSA of 1024 bits is not even computed with (catalogue 75)."""
    claims = proof_claims("POST", TOKEN, op.clock.now())
    assert await refused(op, unsigned(claims, alg="PS256", jwk=jwk)) == "proof jwk"


async def test_claims_that_are_no_object_are_refused(op: Op) -> None:
    key: Key = new_key()
    text = signed(b"[1]", key, typ="dpop+jwt", kid=None, jwk=public(key))
    assert (await refused(op, text)).startswith("proof proof_json")


# --- tokens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [FORUM, APP])
async def test_what_is_got_with_a_key_is_of_use_with_it_alone(op: Op, ana: Session, name: ClientId) -> None:
    """Access tokens of every site; introspection says which key (RFC 9449 §5, §6.2, §7.1)."""
    answer = await redeem(op, await op.code(ana, name), name, MINE)
    assert answer["token_type"] == "DPoP"
    token = answer["access_token"]
    assert "sub" in await op.releaser.userinfo(token, MINE)
    for shown in (None, OTHERS):
        with pytest.raises(BoundToken):
            await op.releaser.userinfo(token, shown)
    if name == FORUM:
        described = await op.exchange.introspect(op.clients[FORUM], token)
        assert (described["token_type"], described["cnf"]) == ("DPoP", {"jkt": MINE.jkt})


@pytest.mark.parametrize("form", AccessTokenFormat)
async def test_a_bound_token_names_its_key_whatever_it_looks_like(
    op: Op, ana: Session, form: AccessTokenFormat
) -> None:
    """One that a site's interfaces check says it in `cnf` (RFC 9449 §6.1), one of the site's own too."""
    op.clients[FORUM] = replace(op.clients[FORUM], access_tokens=form, service_scopes=frozenset({Scope("reports")}))
    own = await op.exchange.exchange(op.clients[FORUM], {"grant_type": "client_credentials"}, MINE)
    hers = await redeem(op, await op.code(ana), FORUM, MINE)
    for answer in (own, hers):
        assert answer["token_type"] == "DPoP"
        described = await op.exchange.introspect(op.clients[FORUM], answer["access_token"])
        assert (described["token_type"], described["cnf"]) == ("DPoP", {"jkt": MINE.jkt})
        if form is AccessTokenFormat.JWT:
            body = answer["access_token"].split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            assert claims["cnf"] == {"jkt": MINE.jkt}
    assert "sub" in await op.releaser.userinfo(hers["access_token"], MINE)
    with pytest.raises(BoundToken):
        await op.releaser.userinfo(hers["access_token"])


async def test_without_a_key_nothing_changes(op: Op, ana: Session) -> None:
    answer = await op.tokens(ana)
    assert answer["token_type"] == "Bearer"
    described = await op.exchange.introspect(op.clients[FORUM], answer["access_token"])
    assert described["token_type"] == "Bearer"
    assert "cnf" not in described
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(answer["access_token"], MINE)


async def test_the_refresh_token_of_an_app_is_of_use_with_its_key_alone(op: Op, ana: Session) -> None:
    """Who only copied it cannot use it, and cannot end it either (RFC 9449 §5)."""
    first = await redeem(op, await op.code(ana, APP, scope=AWAY), APP, MINE)
    for shown in (None, OTHERS, None):
        with pytest.raises(InvalidGrant):
            await refresh(op, first["refresh_token"], APP, shown)
    second = await refresh(op, first["refresh_token"], APP, MINE)
    assert second["token_type"] == "DPoP"
    for shown in (None, OTHERS):
        with pytest.raises(InvalidGrant):
            await refresh(op, second["refresh_token"], APP, shown)
    again = await refresh(op, first["refresh_token"], APP, MINE)  # its answer was lost (catalogue 92)
    assert again["refresh_token"] == second["refresh_token"]
    await refresh(op, second["refresh_token"], APP, MINE)


async def test_an_app_that_begins_to_show_a_key_goes_on_with_it(op: Op, ana: Session) -> None:
    first = await op.tokens(ana, APP, scope=AWAY)
    second = await refresh(op, first["refresh_token"], APP, MINE)
    with pytest.raises(InvalidGrant):
        await refresh(op, second["refresh_token"], APP, None)
    await refresh(op, second["refresh_token"], APP, MINE)


async def test_a_site_that_proves_itself_may_change_its_key(op: Op, ana: Session) -> None:
    """Its refresh token is bound to the site, each access token to the key shown when it was made (RFC 9449 §5)."""
    first = await redeem(op, await op.code(ana, scope=AWAY), FORUM, MINE)
    second = await refresh(op, first["refresh_token"], FORUM, OTHERS)
    assert "sub" in await op.releaser.userinfo(second["access_token"], OTHERS)
    with pytest.raises(BoundToken):
        await op.releaser.userinfo(second["access_token"], MINE)
    assert (await refresh(op, second["refresh_token"], FORUM, None))["token_type"] == "Bearer"


@pytest.mark.parametrize("shown", [None, OTHERS])
async def test_a_code_goes_to_the_key_it_was_asked_for_with(op: Op, ana: Session, shown: Shown | None) -> None:
    """`dpop_jkt` (RFC 9449 §10): and a wrong try burns it."""
    assert "id_token" in await redeem(op, await op.code(ana, dpop_jkt=MINE.jkt), FORUM, MINE)
    code = await op.code(ana, dpop_jkt=MINE.jkt)
    for one in (shown, MINE):
        with pytest.raises(InvalidGrant):
            await redeem(op, code, FORUM, one)


@pytest.mark.parametrize("text", ["x", "k" * 44, "k" * 42 + "="])
async def test_a_thumbprint_that_is_none_is_refused(op: Op, text: str) -> None:
    with pytest.raises(InvalidRequest, match="dpop_jkt"):
        op.request(dpop_jkt=text)


async def test_a_key_shown_when_a_request_is_pushed_is_the_codes(op: Op) -> None:
    """RFC 9449 §10.1."""
    client = op.clients[FORUM]
    params = {"redirect_uri": client.redirect_uris[0], "response_type": "code", "scope": "openid"}
    params |= {"code_challenge": "c" * 43, "code_challenge_method": "S256"}
    uri = await op.pushed.push(client, params, address="192.0.2.1", shown=MINE)
    assert (await op.pushed.open(uri, client)).params["dpop_jkt"] == MINE.jkt
    with pytest.raises(InvalidRequest):
        await op.pushed.push(client, params | {"dpop_jkt": OTHERS.jkt}, address="192.0.2.1", shown=MINE)
    op.clients[FORUM] = replace(client, dpop=DpopUse.NONCE)
    with pytest.raises(UseDpopNonce):
        await op.pushed.push(op.clients[FORUM], params, address="192.0.2.1", shown=replace(MINE, has_nonce=False))


async def test_a_site_that_has_to_show_a_key_gets_nothing_without(op: Op, ana: Session) -> None:
    """The code is not touched, so that its software can ask again."""
    code = await op.code(ana, WIKI, scope=AWAY)
    op.clients[WIKI] = replace(op.clients[WIKI], dpop=DpopUse.NONCE)
    for shown, error in ((None, InvalidDpopProof), (replace(MINE, has_nonce=False), UseDpopNonce)):
        with pytest.raises(error):
            await redeem(op, code, WIKI, shown)
    answer = await redeem(op, code, WIKI, MINE)
    with pytest.raises(UseDpopNonce):
        await op.releaser.userinfo(answer["access_token"], replace(MINE, has_nonce=False))
    with pytest.raises(InvalidDpopProof):
        await refresh(op, answer["refresh_token"], WIKI, None)
    await refresh(op, answer["refresh_token"], WIKI, MINE)


async def test_a_bound_token_lives_no_longer_than_another(op: Op, ana: Session) -> None:
    answer = await redeem(op, await op.code(ana), FORUM, MINE)
    op.clock.move(timedelta(minutes=10))
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(answer["access_token"], MINE)
