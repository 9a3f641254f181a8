"""Answers to authorization requests that we sign (JARM)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.flows.op import FORUM, ISSUER, WIKI, Op, answered

from broker.domain import tokens
from broker.domain.session import Session
from broker.domain.values import ClientId
from broker.flows.answers import Answer

MODES = [("jwt", "query"), ("query.jwt", "query"), ("form_post.jwt", "form_post")]


@pytest.fixture
def op() -> Op:
    return Op()


@pytest.fixture
async def ana(op: Op) -> Session:
    return await op.person("ana")


def read(op: Op, answer: Answer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of the one parameter, checked by software that is not ours."""
    assert set(answer.params) == {"response"}
    keys = KeySet.import_key_set(orjson.loads(op.box.jwks))
    token = jwt.decode(answer.params["response"], keys, algorithms=["RS256", "ES256"])
    return dict(token.header), dict(token.claims)


@pytest.mark.parametrize(("mode", "carrier"), MODES)
@pytest.mark.parametrize(("site", "algorithm"), [(FORUM, "RS256"), (WIKI, "ES256")])
async def test_an_answer_is_signed_for_the_site_that_asked(
    op: Op, ana: Session, mode: str, carrier: str, site: ClientId, algorithm: str
) -> None:
    """All it says, and nothing beside it (JARM §2.1, §2.3); the code in it is as good as any."""
    answer = await op.share(ana, site, response_mode=mode)
    assert answer.mode == carrier
    header, claims = read(op, answer)
    assert (header["alg"], header["typ"]) == (algorithm, "oauth-authz-resp+jwt")
    ends = int((op.clock.now() + tokens.RESPONSE_LIFETIME).timestamp())
    code = claims.pop("code")
    assert claims == {"iss": ISSUER, "aud": site, "exp": ends, "state": "state-1"}
    assert "id_token" in await op.redeem(code, site)


@pytest.mark.parametrize(("mode", "carrier"), MODES)
async def test_a_refusal_is_signed_too(op: Op, ana: Session, mode: str, carrier: str) -> None:
    situation = await op.look(ana, response_mode=mode, state=None)
    answer = await op.authorize.refuse(situation, op.transaction(), locale="en")
    _, claims = read(op, answer)
    assert (answer.mode, claims["error"], claims["iss"], claims["aud"]) == (carrier, "access_denied", ISSUER, FORUM)
    assert "state" not in claims


async def test_a_signed_answer_passes_for_no_token(op: Op, ana: Session) -> None:
    """It is of a type of its own (catalogue 76)."""
    response = (await op.share(ana, response_mode="jwt")).params["response"]
    for kind in (tokens.ID_TOKEN_TYPE, tokens.SESSION_TOKEN_TYPE, tokens.LOGOUT_TOKEN_TYPE, tokens.ACCESS_TOKEN_TYPE):
        assert op.box.own(response, typ=kind, now=op.clock.now()) is None
    assert not await op.is_active(response)


async def test_without_such_a_mode_nothing_is_signed(op: Op, ana: Session) -> None:
    assert set(answered(await op.share(ana))) == {"code", "state", "iss"}
