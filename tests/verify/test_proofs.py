"""`Verifier.verify_request`: access tokens that are bound to a key, and the proofs that come with them (RFC 9449)."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from doorward_verify import ConfigurationError, MemoryReplays, SessionError, Verifier
from doorward_verify.errors import ALGORITHMS, NeedsNetwork
from doorward_verify.jws import decode_segment
from doorward_verify.proof import AHEAD, MAX_JTI, MAX_PROOF, NONCE_STEP, NONCE_STEPS, RECENT, KeyProofs, is_same_place
from doorward_verify.proof_key import read_proof_key
from doorward_verify.proof_key import thumbprint as kit_thumbprint
from doorward_verify.wire import problem
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from stub_op import StubOP
from test_verifier import VECTORS
from tests.flows.op import FORUM, Op
from tests.support.client_keys import new_key, proof, public, thumbprint
from tests.support.servers import program
from verify_servers import free_socket, serving

from broker import client_tokens
from broker.domain.checks import client as server_client
from broker.domain.checks import dpop as server
from broker.domain.client import AccessTokenFormat
from broker.domain.values import Scope
from broker.errors import InvalidDpopProof, UpstreamInvalid

PROOFS = VECTORS["dpop"]
API = PROOFS["audience"]
URL = f"{API}posts/7"
KEY = new_key()
ISSUERS = ECKey.generate_key("P-256", {"kid": "issuers"})
OFFLINE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here is fetched, and the certificates of the world take long to read."""
NODE = Path(__file__).parents[1] / "node" / "proofs.mjs"


class Interface:
    """An interface of a site at a moment that stands still, and a token of it that is bound to a key."""

    def __init__(self, **options: Any) -> None:
        self.now = time.time()
        self.op = StubOP(issuer="https://l.example", key=ISSUERS)
        keys = [self.op.key.as_dict(private=False)]
        self.verifier = Verifier(self.op.issuer, API, keys=keys, ssl_context=OFFLINE, clock=lambda: self.now, **options)
        self.token = self.op.access_token(cnf={"jkt": thumbprint(KEY)})

    def proof(self, **claims: Any) -> str:
        return proof(KEY, "GET", URL, datetime.fromtimestamp(self.now, UTC), token=self.token, **claims)

    def ask(self, shown: str | list[str], **more: Any) -> SessionError | None:
        """What is said to a request; `None` for yes."""
        given: dict[str, Any] = {"method": "GET", "url": URL, **more}
        try:
            access = self.verifier.verify_request(f"DPoP {self.token}", proofs=shown, **given)
        except SessionError as error:
            return error
        assert access.jkt == thumbprint(KEY)
        return None

    def code(self, shown: str | list[str], **more: Any) -> str:
        error = self.ask(shown, **more)
        return "ok" if error is None else error.code


def verifier_of_vectors() -> Verifier:
    return Verifier(VECTORS["issuer"], API, keys=VECTORS["jwks"], ssl_context=OFFLINE, clock=lambda: VECTORS["now"])


def judged(verifier: Verifier, vector: dict[str, Any]) -> str:
    try:
        verifier.verify_request(
            vector["authorization"], method=vector["method"], url=vector["url"], proofs=vector["proofs"]
        )
    except SessionError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize("vector", PROOFS["vectors"], ids=lambda vector: vector["name"])
def test_each_request_gets_its_code(vector: dict[str, Any]) -> None:
    """Each check of RFC 9449 §4.3, the scheme (§7.1), and the way round it (§7.2) (catalogue 69, 71, 72, 73, 74, 75)."""
    verifier = verifier_of_vectors()
    assert judged(verifier, vector) == vector["expect"]
    again = "invalid_dpop_proof" if vector["again"] else vector["expect"]
    assert judged(verifier, vector) == again


def server_says(vector: dict[str, Any], token: str) -> str:
    """What Doorward itself says to the same proof."""
    nonces = server.Nonces(b"n" * 32)
    now = datetime.fromtimestamp(VECTORS["now"], UTC)
    try:
        jkt, claims = client_tokens.read_key_proof(vector["proofs"][0])
        server.check_proof(claims, jkt, method=vector["method"], url=vector["url"], token=token, nonces=nonces, now=now)
    except (UpstreamInvalid, InvalidDpopProof):
        return "invalid_dpop_proof"
    return f"key {jkt}"


def test_doorward_and_the_kit_agree_about_every_proof() -> None:
    """Neither shares a line with the other. The kit alone takes an address that is spelt otherwise (RFC 3986 §6.2.2)."""
    compared = 0
    for vector in PROOFS["vectors"]:
        scheme, _, token = vector["authorization"].partition(" ")
        if len(vector["proofs"]) != 1 or scheme.lower() != "dpop" or vector["expect"] == "wrong_type":
            continue
        said = server_says(vector, token)
        if vector["expect"] == "invalid_dpop_proof":
            assert said == vector["expect"], vector["name"]
        elif vector["name"] == "dpop: good, htu spelt otherwise":
            assert said == "invalid_dpop_proof"
        else:
            bound = json.loads(_payload(token))["cnf"]["jkt"]
            assert (said == f"key {bound}") is (vector["expect"] == "ok"), vector["name"]
        compared += 1
    assert compared > 45


def _payload(token: str) -> bytes:
    return decode_segment(token.split(".")[1])


def test_the_rules_are_those_of_doorward() -> None:
    """Seconds, letters and algorithms: a proof that is good there is good here."""
    assert sorted(server.PROOF_ALGORITHMS) == sorted(ALGORITHMS)
    assert (server.RECENT.total_seconds(), server_client.AHEAD.total_seconds()) == (RECENT, AHEAD)
    assert (server.NONCE_STEP.total_seconds(), server.NONCE_STEPS) == (NONCE_STEP, NONCE_STEPS)
    assert (client_tokens.MAX_PROOF, server_client.MAX_JTI) == (MAX_PROOF, MAX_JTI)


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "Ed25519"])
def test_a_key_has_the_name_that_others_give_it(algorithm: str) -> None:
    """RFC 7638."""
    key = new_key(algorithm, f"kit-{algorithm}")
    assert kit_thumbprint(public(key)) == thumbprint(key) == key.thumbprint()


EC, RSA = public(KEY), public(new_key("PS256", "kit-PS256"))


@pytest.mark.parametrize(
    ("alg", "jwk"),
    [
        ("ES256", None), ("ES256", "x"), ("ES256", RSA), ("PS256", EC), ("Ed25519", EC), ("RS256", RSA),
        ("ES256", {**EC, "alg": "ES384"}), ("ES256", {**EC, "use": "enc"}), ("ES256", {**EC, "d": "AA"}),
        ("ES256", {**EC, "key_ops": ["sign"]}), ("ES256", {**EC, "key_ops": "verify"}),
        ("ES256", {**EC, "x": EC["y"], "y": EC["x"]}), ("ES256", {**EC, "x": 5}), ("ES256", {**EC, "x": "é"}),
        ("ES256", {**EC, "x": EC["x"] + "="}), ("ES256", {**EC, "x": "AAAA" + EC["x"]}),
        ("ES256", {**EC, "x": f"{EC['x'][:9]}!{EC['x'][9:]}"}),
        ("PS256", {**RSA, "n": "AAAA" + RSA["n"]}), ("PS256", {**RSA, "e": "AAEAAQ"}), ("PS256", {**RSA, "e": ""}),
        ("PS256", {**RSA, "e": RSA["n"]}), ("PS256", {**RSA, "e": "AQ"}), ("PS256", {**RSA, "e": "AQAAAAE"}), ("PS256", {**RSA, "n": "_" * 1368}),
        ("PS256", {**RSA, "n": RSA["n"][:200]}), ("Ed25519", {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        ("Ed25519", {"kty": "OKP", "crv": "X25519", "x": EC["x"]}),
    ],
)  # fmt: skip
def test_weak_private_and_odd_keys_show_nothing(alg: str, jwk: object) -> None:
    """(catalogue 75); and no key has two spellings, which would be two names."""
    assert read_proof_key(EC, "ES256") is not None
    assert read_proof_key({**RSA, "key_ops": ["verify"], "use": "sig", "alg": "PS256"}, "PS256") is not None
    assert read_proof_key(jwk, alg) is None


def test_a_signature_has_one_form() -> None:
    """Not DER, not longer, not shorter (RFC 7518 §3.4)."""
    api = Interface()
    head, body, signature = api.proof().split(".")
    raw = decode_segment(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    for form in (encode_dss_signature(r, s), raw + b"\0", raw[:32] + b"\0" + raw[32:], raw[:63], b"\0" * 64):
        error = api.ask(f"{head}.{body}.{urlsafe_b64encode(form).rstrip(b'=').decode()}")
        assert error is not None
        assert error.detail == "The signature of the proof does not fit its key."
    assert api.code(f"{head}.{body}.{signature}") == "ok"


async def test_a_token_of_doorward_is_taken_with_its_key_alone() -> None:
    op = Op()
    op.clients[FORUM] = replace(
        op.clients[FORUM], access_tokens=AccessTokenFormat.JWT, service_scopes=frozenset({Scope("reports")})
    )
    form = {"grant_type": "client_credentials"}
    shown = server.Shown(jkt=thumbprint(KEY), has_nonce=False)
    token = (await op.exchange.exchange(op.clients[FORUM], form, shown))["access_token"]
    claims = json.loads(_payload(token))
    verifier = Verifier(
        claims["iss"], claims["aud"], keys=json.loads(op.box.jwks), clock=lambda: op.clock.now().timestamp()
    )
    for key, code in ((KEY, "ok"), (new_key("ES256", "another"), "wrong_key")):
        made = proof(key, "GET", URL, op.clock.now(), token=token)
        vector = {"authorization": f"DPoP {token}", "method": "GET", "url": URL, "proofs": made}
        assert judged(verifier, vector) == code
    assert judged(verifier, vector | {"authorization": f"Bearer {token}"}) == "wrong_type"


# --- used before ----------------------------------------------------------------------------------------


def test_a_proof_is_good_once_whoever_is_first() -> None:
    api = Interface()
    once = api.proof()
    with ThreadPoolExecutor(8) as threads:
        codes = sorted(threads.map(lambda _: api.code(once), range(32)))
    assert codes == ["invalid_dpop_proof"] * 31 + ["ok"]
    assert api.code(api.proof(jti="one")) == "ok"
    assert api.code(api.proof(jti="one", iat=int(api.now) - 5)) == "invalid_dpop_proof"
    assert [api.code(api.proof(iat=int(api.now) - 5)) for _ in range(2)] == ["ok", "ok"]


def test_it_is_remembered_for_as_long_as_it_could_be_used() -> None:
    api = Interface()
    made = int(api.now)
    early = api.proof(iat=made + 29)
    assert api.code(early) == "ok"
    for later in (30, 59, 88):
        api.now = made + later
        assert api.ask(early).detail.startswith("The proof was used before"), later  # type: ignore[union-attr]
    api.now = made + 90
    assert api.ask(early).detail.startswith("The proof was not made within"), later  # type: ignore[union-attr]


def test_a_full_register_refuses_and_forgets_nothing() -> None:
    now = [1000.0]
    register = MemoryReplays(most=3, clock=lambda: now[0])
    assert [register.remember(name, 1090.0) for name in "abc"] == [True] * 3
    with pytest.raises(SessionError) as full:
        register.remember("d", 1090.0)
    assert (full.value.code, full.value.status, full.value.headers) == ("too_busy", 503, {"Retry-After": "5"})
    assert not register.remember("a", 1090.0)
    now[0] = 1090.0
    assert register.remember("d", 1180.0)
    assert len(register._seen) == 1


def test_processes_that_share_a_register_take_a_proof_once() -> None:
    """A register of a site may wait for its database: nothing of it is asked where nothing may block."""
    names: dict[str, float] = {}

    class Shared:
        def remember(self, name: str, until: float, /) -> bool:
            return names.setdefault(name, until) is until

    one, other = Interface(replay=Shared()), Interface(replay=Shared())
    other.token, other.now = one.token, one.now
    once = one.proof()
    with pytest.raises(NeedsNetwork):
        one.ask(once, network=False)
    assert not names
    assert (one.code(once), other.code(once)) == ("ok", "invalid_dpop_proof")
    assert set(names.values()) == {int(one.now) + RECENT + AHEAD}
    alone = Interface()
    assert alone.code(alone.proof(), network=False) == "ok"


def test_only_a_request_that_was_let_in_is_remembered() -> None:
    """Strangers fill no memory."""
    api = Interface()
    shown = api.proof()
    assert api.code(shown, method="POST") == api.code(shown, url=f"{API}posts/8") == "invalid_dpop_proof"
    stranger = proof(new_key("ES256", "another"), "GET", URL, datetime.fromtimestamp(api.now, UTC), token=api.token)
    assert api.code(stranger) == "wrong_key"
    assert api.code(shown) == "ok"


# --- nonces ---------------------------------------------------------------------------------------------


def test_a_site_may_want_a_nonce_of_its_own_in_each_proof() -> None:
    """§9: with the answer comes the one to use. A proof that was refused for it was not used."""
    api = Interface(nonce_key=b"k" * 32)
    for wrong in ({}, {"nonce": "made-up"}, {"nonce": 5}, {"nonce": "é"}):
        error = api.ask(api.proof(**wrong))
        assert error is not None
        assert (error.code, error.status) == ("use_dpop_nonce", 401)
        assert set(error.headers) == {"WWW-Authenticate", "DPoP-Nonce"}
        assert error.headers["WWW-Authenticate"].startswith('DPoP error="use_dpop_nonce", algs=')
    assert error is not None
    nonce = error.headers["DPoP-Nonce"]
    assert nonce == server.Nonces(b"k" * 32).now(datetime.fromtimestamp(api.now, UTC))
    assert api.code(api.proof(nonce=nonce)) == "ok"
    other = Interface(nonce_key=b"o" * 32)
    assert other.code(other.proof(nonce=nonce)) == "use_dpop_nonce"
    api.now += 599  # a token lives for ten minutes
    assert api.code(api.proof(nonce=nonce)) == "ok"
    assert not KeyProofs(nonce_key=b"k" * 32)._is_good(b"k" * 32, nonce, api.now + 301)


def test_a_site_that_wants_none_is_given_any() -> None:
    api = Interface()
    assert api.code(api.proof(nonce="of-the-broker")) == "ok"


def test_a_short_nonce_key_is_an_error_of_the_site() -> None:
    with pytest.raises(ConfigurationError, match="32 bytes"):
        Interface(nonce_key=b"short")


# --- what is said ---------------------------------------------------------------------------------------


def test_whoever_is_refused_learns_how_to_come() -> None:
    """RFC 9449 §7.1: the scheme, the error, the algorithms; and which check it was."""
    api = Interface()
    algs = 'algs="ES256 PS256 Ed25519"'
    free = api.op.access_token()
    for authorization, code, challenge in (
        (None, "missing", f"Bearer, DPoP {algs}"),
        ("Basic eA==", "missing", f"Bearer, DPoP {algs}"),
        ("DPoP", "malformed", f'DPoP error="invalid_token", {algs}'),
        (f"DPoP {free}", "wrong_type", f'DPoP error="invalid_token", {algs}'),
        (f"DPoP {api.token}", "invalid_dpop_proof", f'DPoP error="invalid_dpop_proof", {algs}'),
        (f"Bearer {api.token}", "wrong_type", f'Bearer error="invalid_token", DPoP {algs}'),
        ([f"DPoP {api.token}", f"DPoP {api.token}"], "malformed", f"Bearer, DPoP {algs}"),
    ):
        with pytest.raises(SessionError) as refused:
            api.verifier.verify_request(authorization, method="GET", url=URL, proofs=None)
        assert (refused.value.code, refused.value.headers) == (code, {"WWW-Authenticate": challenge})
    error = api.ask(api.proof(htm="POST"))
    assert error is not None
    assert json.loads(error.problem())["detail"] == "The proof is for another method (htm)."
    assert api.token not in repr(error)


def test_a_scope_that_is_missing_is_said_as_the_token_came() -> None:
    api = Interface()
    access = api.verifier.verify_request(f"DPoP {api.token}", method="GET", url=URL, proofs=api.proof())
    free = api.verifier.verify_request(f"Bearer {api.op.access_token()}", method="GET", url=URL, proofs=())
    for one, scheme in ((access, "DPoP"), (free, "Bearer")):
        with pytest.raises(SessionError) as refused:
            one.require_scope("admin")
        assert refused.value.challenge.startswith(f'{scheme} error="insufficient_scope"')


def test_the_middlewares_say_it_where_a_site_lets_it_rise() -> None:
    """The nonce as well; a person who has to sign in anew gets no challenge."""
    api = Interface(nonce_key=b"k" * 32)
    error = api.ask(api.proof())
    assert error is not None
    assert set(error.headers.items()) <= set(problem(error).headers)
    for code, header in (("missing", ("WWW-Authenticate", "Bearer")), ("too_busy", ("Retry-After", "5"))):
        assert header in problem(SessionError(code)).headers
    assert "WWW-Authenticate" not in dict(problem(SessionError("needs_recent_login")).headers)


def test_a_path_alone_is_an_error_of_the_site() -> None:
    api = Interface()
    with pytest.raises(ConfigurationError, match="whole address"):
        api.ask(api.proof(), url="/posts/7")


@pytest.mark.parametrize(
    ("htu", "url", "same"),
    [
        ("https://a.test", "https://a.test/", True),
        ("https://a.test:443/x", "https://A.TEST/x?y#z", True),
        ("http://a.test/x", "http://a.test:80/x", True),
        ("https://a.test/caf%c3%a9", "https://a.test/café", True),
        ("https://a.test/a%20b", "https://a.test/a b", True),
        ("https://a.test/a%2Fb", "https://a.test/a/b", False),
        ("https://a.test/a/./b/../c", "https://a.test/a/c", True),
        ("https://a.test/a/b/..", "https://a.test/a/", True),
        ("https://a.test/../../a", "https://a.test/a", True),
        ("https://a.test/%2e%2e/a", "https://a.test/a", True),
        ("https://a.test//a", "https://a.test/a", False),
        ("https://[2001:DB8::1]/", "https://[2001:db8::1]", True),
        ("https://a.test:99999/", "https://a.test/", False),
        ("https://[a.test/", "https://[a.test/", False),
        ("https:///x", "https:///x", False),
        ("https://a.test /", "https://a.test/", False),
        ("https://a.te\nst/", "https://a.test/", False),
        ("https://a.test/é", "https://a.test/é", False),
        ("ftp://a.test/", "ftp://a.test/", False),
        ("https://a.test@b.test/", "https://b.test/", False),
    ],
)
def test_addresses_are_one_place_or_two(htu: str, url: str, same: bool) -> None:
    """RFC 3986 §6.2.2 and §6.2.3."""
    assert is_same_place(htu, url) is same


# --- an independent client ------------------------------------------------------------------------------


def test_oauth4webapi_gets_in_with_its_key_alone() -> None:
    """Over the wire: its proofs are taken, our nonce is used by itself, and our challenges are understood."""
    op = StubOP(issuer="https://l.example", key=ISSUERS)
    verifier = Verifier(op.issuer, API, keys=[op.key.as_dict(private=False)], nonce_key=b"k" * 32)

    async def token(request: Request) -> Response:
        return PlainTextResponse(op.access_token(cnf={"jkt": request.query_params["jkt"]}))

    async def page(request: Request) -> Response:
        headers = request.headers
        try:
            verifier.verify_request(
                headers.getlist("authorization"), method=request.method, url=str(request.url),
                proofs=headers.getlist("dpop"),
            )  # fmt: skip
        except SessionError as error:
            return Response(error.problem(), error.status, error.headers, "application/problem+json")
        return PlainTextResponse("in")

    with serving(Starlette(routes=[Route("/token", token), Route("/café/7", page)]), free_socket()) as base:
        done = subprocess.run([program("node"), str(NODE), base], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        algorithm: {
            "own": [200, 200],
            "nonces": 1,
            "stranger": [401, [["dpop", "invalid_token"]]],
            "bearer": [401, [["bearer", "invalid_token"], ["dpop", None]]],
        }
        for algorithm in ALGORITHMS
    }
