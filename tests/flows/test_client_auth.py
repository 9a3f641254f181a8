"""Who is answered: the one method a site registered, and a signature that is good once."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from joserfc.jwk import OctKey
from tests.flows.op import FORUM, ISSUER, Op, site
from tests.support.client_keys import assertion, key_set, new_key, public, signed

from broker import hashing
from broker.client_tokens import SiteTokens
from broker.domain.checks.client import Proof, read_proof
from broker.domain.client import AuthMethod, Client
from broker.domain.values import ClientId, Secret
from broker.egress import Egress
from broker.errors import InvalidClient, TooManyAttempts
from broker.flows.client_auth import ClientAuth

SECRET = "secret-of-the-forum-0123456789abcdef"
KEYED, HASHED = ClientId("keyed"), ClientId("hashed")


@pytest.fixture
def op() -> Op:
    op = Op()
    digests = (hashing.digest(SECRET),)
    op.clients |= {
        FORUM: site(FORUM, secret_digests=digests),
        KEYED: site(KEYED, auth_method=AuthMethod.PRIVATE_KEY_JWT, jwks=key_set(new_key(), new_key("RS256", "rsa-1"))),
        HASHED: site(
            HASHED,
            auth_method=AuthMethod.SECRET_JWT,
            secret_digests=digests,
            secrets=(Secret("o" * 32), Secret(SECRET)),
        ),
    }
    return op


def auth_of(op: Op) -> ClientAuth:
    return ClientAuth(
        clients=op.clients,
        secret_matches=hashing.matches,
        tokens=SiteTokens(Egress(), op.clock),
        replay=op.memory.replay,
        limits=op.memory.limits,
        clock=op.clock,
        issuer=ISSUER,
        failures_per_minute=5,
    )


async def ask(op: Op, proof: Proof, path: str = "/token", address: str = "192.0.2.1") -> Client:
    return await auth_of(op).authenticate(proof, path=path, address=address)


async def refused(op: Op, proof: Proof, path: str = "/token") -> str:
    """Why, as the log has it."""
    with pytest.raises(InvalidClient) as refusal:
        await ask(op, proof, path)
    return refusal.value.detail


def by_key(op: Op, client_id: str = "keyed", **changes: Any) -> Proof:
    key = changes.pop("key", new_key())
    audience = changes.pop("audience", ISSUER)
    return read_proof(None, assertion(key, client_id=client_id, audience=audience, now=op.clock.now(), **changes))


def by_secret(op: Op, secret: str = SECRET, **changes: Any) -> Proof:
    return by_key(op, "hashed", key=OctKey.import_key(secret), algorithm="HS256", **changes)


def header(**changes: Any) -> str:
    """A JOSE header as somebody could write it by hand."""
    named = {"alg": "ES256", "kid": "site-1"} | changes
    return base64.urlsafe_b64encode(json.dumps(named).encode()).decode().rstrip("=")


async def test_each_registered_method_lets_its_site_in(op: Op) -> None:
    """Basic and post by digest, a signature by the site's key or by its secret, and a name where there is no secret."""
    assert (await ask(op, Proof(method=AuthMethod.BASIC, client_id="forum", secret=SECRET))).client_id == FORUM
    assert (await ask(op, Proof(method=AuthMethod.NONE, client_id="app"))).is_public
    assert (await ask(op, by_key(op))).client_id == KEYED
    assert (await ask(op, by_key(op, key=new_key("RS256", "rsa-1"), algorithm="RS256"))).client_id == KEYED
    assert (await ask(op, by_secret(op))).client_id == HASHED
    assert (await ask(op, by_secret(op, "o" * 32))).client_id == HASHED


async def test_no_other_method_than_the_registered_one_is_taken(op: Op) -> None:
    """Also with the right secret: what is registered cannot be weakened by who asks (catalogue 55)."""
    everything = {
        "forum": Proof(method=AuthMethod.POST, client_id="forum", secret=SECRET),
        "app": Proof(method=AuthMethod.POST, client_id="app", secret=SECRET),
        "keyed": Proof(method=AuthMethod.BASIC, client_id="keyed", secret=""),
        "hashed": Proof(method=AuthMethod.BASIC, client_id="hashed", secret=SECRET),
    }
    for name, proof in everything.items():
        registered = op.clients[ClientId(name)].auth_method
        assert await refused(op, proof) == f"{proof.method} used, {registered} registered"
    assert "used, client_secret_jwt registered" in await refused(op, by_key(op, "hashed"))


async def test_the_wrong_site_or_secret_is_refused(op: Op) -> None:
    assert await refused(op, Proof(method=AuthMethod.BASIC, client_id="nobody", secret=SECRET)) == "client unknown"
    assert await refused(op, Proof(method=AuthMethod.BASIC, client_id="forum", secret="x")) == "client secret wrong"
    op.clients[FORUM] = replace(op.clients[FORUM], enabled=False)
    assert await refused(op, Proof(method=AuthMethod.BASIC, client_id="forum", secret=SECRET)) == "client disabled"


async def test_failures_are_counted_by_address(op: Op) -> None:
    """(catalogue 81)"""
    for _ in range(5):
        await refused(op, by_key(op, key=new_key("ES256", "another")))
    with pytest.raises(TooManyAttempts):
        await ask(op, by_key(op, key=new_key("ES256", "another")))
    assert (await ask(op, by_key(op))).client_id == KEYED


async def test_an_assertion_is_good_once_at_whatever_endpoint(op: Op) -> None:
    """The same one again, there or elsewhere, is refused (catalogue 55)."""
    for make in (by_key, by_secret):
        proof = make(op)
        await ask(op, proof)
        for path in ("/token", "/introspect"):
            assert await refused(op, proof, path) == "client_assertion used before"
    op.move(seconds=61)
    assert await refused(op, proof) == "client_assertion exp"


async def test_one_that_was_refused_is_not_used_up_by_it(op: Op) -> None:
    """Whoever guesses numbers of others takes none from them."""
    forged = by_key(op, key=new_key("ES256", "site-1b"), jti="number-1")
    await refused(op, forged)
    await ask(op, by_key(op, jti="number-1"))
    await ask(op, by_secret(op, jti="number-1"))


async def test_the_audience_may_be_the_endpoint_that_is_asked(op: Op) -> None:
    """Or the token endpoint; a strict site names the issuer alone (catalogue 55)."""
    for audience in (ISSUER, f"{ISSUER}/token", f"{ISSUER}/revoke", [f"{ISSUER}/revoke"]):
        await ask(op, by_key(op, audience=audience), "/revoke")
    assert await refused(op, by_key(op, audience=f"{ISSUER}/introspect"), "/revoke") == "client_assertion aud"
    op.clients[KEYED] = replace(op.clients[KEYED], strict_jwt=True)
    for audience in (f"{ISSUER}/token", f"{ISSUER}/revoke", [ISSUER]):
        assert await refused(op, by_key(op, audience=audience), "/revoke") == "client_assertion aud"
    await ask(op, by_key(op), "/revoke")


async def test_a_strict_site_signs_without_rs256(op: Op) -> None:
    """(catalogue 55)"""
    op.clients[KEYED] = replace(op.clients[KEYED], strict_jwt=True)
    rsa = new_key("RS256", "rsa-1")
    assert await refused(op, by_key(op, key=rsa, algorithm="RS256")) == "client_assertion alg"
    await ask(op, by_key(op, key=rsa, algorithm="PS256"))


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", ""])
async def test_what_nobody_signed_proves_nothing(op: Op, algorithm: str) -> None:
    """(catalogue 69)"""
    good = by_key(op).assertion
    unsigned = header(alg=algorithm)
    for forged in (f"{unsigned}.{good.split('.')[1]}.", f"{unsigned}.{good.split('.')[1]}.{good.split('.')[2]}"):
        assert await refused(op, Proof(method=AuthMethod.PRIVATE_KEY_JWT, client_id="keyed", assertion=forged)) in {
            "client_assertion alg",
            "client_assertion token_form",
        }


async def test_a_public_key_is_no_secret(op: Op) -> None:
    """Neither as an HS256 secret of its own client, nor with a header that brings keys (catalogue 69, 71)."""
    known = key_set(new_key())
    forged = by_key(op, key=OctKey.import_key(known), algorithm="HS256")
    assert "client_secret_jwt used" in await refused(op, forged)
    stranger = new_key("ES256", "stranger")
    for brings in ({"jwk": public(stranger)}, {"jku": "https://evil.test/jwks"}, {"x5u": "https://evil.test/x"}):
        token = signed({"sub": "keyed", "iss": "keyed", "aud": ISSUER, "exp": op.clock.now().timestamp() + 60, "jti": "1"},
                       stranger, kid="site-1", **brings)  # fmt: skip
        proof = Proof(method=AuthMethod.PRIVATE_KEY_JWT, client_id="keyed", assertion=token)
        assert await refused(op, proof) == "client_assertion signature"


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1", "https://evil.test/jwks", "x" * 10_000, 7, ["site-1"]])
async def test_a_key_name_is_a_name_and_nothing_else(op: Op, kid: Any) -> None:
    """(catalogue 70)"""
    token = signed({"sub": "keyed"}, new_key(), kid="site-1")
    forged = f"{header(kid=kid)}.{token.split('.', 1)[1]}"
    proof = Proof(method=AuthMethod.PRIVATE_KEY_JWT, client_id="keyed", assertion=forged)
    assert await refused(op, proof) in {"client_assertion kid", "client_assertion token_form"}


async def test_another_kind_of_token_is_no_assertion(op: Op) -> None:
    """A request object, a DPoP proof or an access token that its site signed proves nothing here (catalogue 76)."""
    claims = {"sub": "keyed", "iss": "keyed", "aud": ISSUER, "exp": op.clock.now().timestamp() + 60}
    for kind in ("oauth-authz-req+jwt", "dpop+jwt", "at+jwt"):
        token = signed(claims | {"jti": str(kind)}, new_key(), typ=kind)
        proof = Proof(method=AuthMethod.PRIVATE_KEY_JWT, client_id="keyed", assertion=token)
        assert await refused(op, proof) == "client_assertion typ"
    for right in ("JWT", "client-authentication+jwt", None):
        token = signed(claims | {"jti": f"fine {right}"}, new_key(), typ=right)
        await ask(op, Proof(method=AuthMethod.PRIVATE_KEY_JWT, client_id="keyed", assertion=token))


async def test_a_critical_extension_is_not_understood(op: Op) -> None:
    """(catalogue 72)"""
    claims = {"sub": "keyed", "iss": "keyed", "aud": ISSUER, "exp": op.clock.now().timestamp() + 60, "jti": "1"}
    token = signed(claims, new_key())
    extensions: tuple[dict[str, Any], ...] = ({"crit": ["exp"]}, {"crit": []}, {"b64": False})
    for more in extensions:
        forged = f"{header(**more)}.{token.split('.', 1)[1]}"
        proof = Proof(method=AuthMethod.PRIVATE_KEY_JWT, client_id="keyed", assertion=forged)
        assert await refused(op, proof) == "client_assertion crit"


async def test_the_key_of_one_site_speaks_for_no_other(op: Op) -> None:
    op.clients[ClientId("other")] = site(
        ClientId("other"), auth_method=AuthMethod.PRIVATE_KEY_JWT, jwks=key_set(new_key("ES256", "site-2"))
    )
    assert await refused(op, by_key(op, "other")) == "client_assertion kid"
    assert await refused(op, by_key(op, iss="other")) == "client_assertion iss or sub"


async def test_a_site_without_keys_is_refused(op: Op) -> None:
    op.clients[ClientId("bare")] = site(ClientId("bare"), auth_method=AuthMethod.PRIVATE_KEY_JWT)
    assert await refused(op, by_key(op, "bare")) == "client_assertion keys none registered"
