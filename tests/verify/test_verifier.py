"""`Verifier`: the table of tokens, keys during rotation and outage, and what verification costs."""

from __future__ import annotations

import json
import random
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import doorward_verify.keys as key_rules
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from doorward_verify import ConfigurationError, MemoryRegister, SessionError, Verifier, require_session
from doorward_verify.client_auth import basic_authorization
from doorward_verify.__main__ import main
from doorward_verify.errors import MESSAGES, STATUS, NeedsNetwork
from doorward_verify.testvectors import build_vectors
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from stub_op import CLIENT_SECRET, StubOP

VECTORS = build_vectors()


def _modulus(bits: int) -> str:
    number = rsa.generate_private_key(65537, bits).public_key().public_numbers().n
    return urlsafe_b64encode(number.to_bytes(bits // 8, "big")).rstrip(b"=").decode()


def _code(verifier: Verifier, token: str | None) -> str:
    try:
        verifier.verify(token)
    except SessionError as error:
        return error.code
    return "ok"


def _access_code(verifier: Verifier, token: str | None) -> str:
    try:
        verifier.verify_access_token(token)
    except SessionError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_each_vector_gets_its_code(vector: dict[str, str]) -> None:
    """catalogue 69, 70, 71, 72, 73, 74, 76: algorithms, key ids, header keys, sizes and types"""
    verifier = Verifier(VECTORS["issuer"], VECTORS["audience"], keys=VECTORS["jwks"], clock=lambda: VECTORS["now"])
    assert _code(verifier, vector["token"]) == vector["expect"]
    assert _code(verifier, vector["token"]) == vector["expect"]


@pytest.mark.parametrize("vector", VECTORS["access"]["vectors"], ids=lambda vector: vector["name"])
def test_each_access_token_gets_its_code(vector: dict[str, str]) -> None:
    """catalogue 76, 77: types, audiences and forms of RFC 9068"""
    audience = VECTORS["access"]["audience"]
    verifier = Verifier(VECTORS["issuer"], audience, keys=VECTORS["jwks"], clock=lambda: VECTORS["now"])
    for _ in range(2):
        assert _access_code(verifier, vector["token"]) == vector["expect"]
        assert _code(verifier, vector["token"]) != "ok"


def test_a_token_is_of_one_kind_also_when_it_was_seen_before() -> None:
    """catalogue 76: what was remembered of a session token is nothing that an interface goes by, and the reverse."""
    op = StubOP(issuer="https://l.example")
    verifier = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)])
    session, access = op.session_token(), op.access_token(aud="forum", sid="sid-1", auth_time=int(time.time()))
    for _ in range(2):
        assert (_code(verifier, session), _access_code(verifier, session)) == ("ok", "wrong_type")
        assert (_access_code(verifier, access), _code(verifier, access)) == ("ok", "wrong_type")


def test_an_access_token_says_what_it_allows() -> None:
    op = StubOP(issuer="https://l.example")
    verifier = Verifier(op.issuer, "https://api.forum.example.org/", keys=[op.key.as_dict(private=False)])
    access = verifier.verify_access_token(op.access_token(acr="2", amr=["fed"], auth_time=7))
    assert (access.sub, access.client_id, access.scopes) == ("subject-1", "forum", frozenset({"openid", "profile"}))
    assert (access.auth_time, access.acr, access.amr) == (7, "2", ("fed",))
    assert access.require_scope("openid", "profile") is access
    with pytest.raises(SessionError) as refused:
        access.require_scope("openid", "email")
    assert (refused.value.code, refused.value.status) == ("insufficient_scope", 403)


def test_an_access_token_expires_although_it_was_seen_before() -> None:
    op, now = StubOP(issuer="https://l.example"), [time.time()]
    keys = [op.key.as_dict(private=False)]
    verifier = Verifier(op.issuer, "https://api.forum.example.org/", keys=keys, clock=lambda: now[0])
    token = op.access_token()
    assert _access_code(verifier, token) == "ok"
    now[0] += 601
    assert _access_code(verifier, token) == "expired"


def test_joserfc_agrees_about_every_vector() -> None:
    """The cold path is our own; an independent library must not accept less or refuse less."""
    keys = KeySet.import_key_set(VECTORS["jwks"])
    for vector in (*VECTORS["vectors"], *VECTORS["access"]["vectors"]):
        try:
            jwt.decode(vector["token"], keys, algorithms=["RS256", "ES256"])
            accepted = True
        except (JoseError, ValueError):
            accepted = False
        if vector["expect"] == "ok":
            assert accepted, vector["name"]
        if not accepted:
            assert vector["expect"] != "ok", vector["name"]


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_no_single_changed_letter_is_accepted(alg: str) -> None:
    op = StubOP(issuer="https://l.example")
    op.key = RSAKey.generate_key(2048, {"kid": "k"}) if alg == "RS256" else ECKey.generate_key("P-256", {"kid": "k"})
    verifier = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)])
    token = op.session_token()
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    assert _code(verifier, token) == "ok"
    for place in range(len(token)):
        letter = choose.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
        changed = token[:place] + letter + token[place + 1 :]
        assert changed == token or _code(verifier, changed) != "ok", f"place {place}, seed {seed}"


def test_the_session_says_what_was_shared_and_nothing_else() -> None:
    op = StubOP(issuer="https://l.example")
    verifier = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)])
    session = verifier.verify(op.session_token(groups=["a", "b"], email="a@b.example", email_verified=False))
    assert (session.username, session.name, session.email) == ("ann", "Ann Été", "a@b.example")
    assert session.email_verified is False
    assert session.groups == ("a", "b")
    assert session.picture is None
    assert session.locale is None
    assert "Ann" not in repr(session)
    assert "a@b.example" not in repr(session)


def test_a_recent_sign_in_can_be_asked_for() -> None:
    op = StubOP(issuer="https://l.example", auth_time=int(time.time()) - 700)
    session = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)]).verify(op.session_token())
    assert session.require_recent(800) is session
    with pytest.raises(SessionError) as refused:
        session.require_recent(600)
    assert (refused.value.code, refused.value.status) == ("needs_recent_login", 403)


def test_an_anonymous_visitor_is_missing_a_session() -> None:
    with pytest.raises(SessionError, match="^missing$"):
        require_session(None)


def test_every_code_has_a_status_and_a_sentence() -> None:
    assert set(STATUS) == set(MESSAGES)
    for code in STATUS:
        error = SessionError(code)
        assert json.loads(error.problem())["code"] == code
        assert error.message.endswith(".")


def test_a_token_expires_although_it_was_seen_before() -> None:
    op = StubOP(issuer="https://l.example", life=1)
    verifier = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)])
    token = op.session_token()
    assert _code(verifier, token) == "ok"
    time.sleep(1.1)
    assert _code(verifier, token) == "expired"


def test_revocation_is_asked_for_a_token_seen_before() -> None:
    op = StubOP(issuer="https://l.example")
    register = MemoryRegister()
    verifier = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)], is_revoked=register.is_ended)
    token = op.session_token()
    assert _code(verifier, token) == "ok"
    register.end(sid=op.sid, sub=None, issued_until=int(time.time()))
    assert _code(verifier, token) == "revoked"
    assert _code(verifier, op.session_token(sid="sid-2")) == "ok"


def test_the_register_is_bounded_and_refuses_rather_than_forgets() -> None:
    register = MemoryRegister(most=3)
    assert all(register.remember(f"j{n}", time.time() + 60) for n in range(3))
    assert not register.remember("j4", time.time() + 60)
    assert not register.remember("j0", time.time() + 60)


def test_the_memory_of_seen_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    import doorward_verify.verifier as rules

    monkeypatch.setattr(rules, "SEEN", 16)
    op = StubOP(issuer="https://l.example", key=ECKey.generate_key("P-256", {"kid": "k"}))
    verifier = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)])
    for number in range(60):
        verifier.verify(op.session_token(sid=f"s{number}"))
    assert len(verifier._seen) <= 16


def test_keys_are_found_by_discovery_and_loaded_once(op: StubOP) -> None:
    verifier = Verifier(op.issuer, "forum")
    for number in range(5):
        verifier.verify(op.session_token(sid=f"s{number}"))
    assert op.calls == {"/.well-known/openid-configuration": 1, "/jwks": 1}


def test_nothing_blocks_when_the_caller_may_not_wait(op: StubOP) -> None:
    verifier = Verifier(op.issuer, "forum")
    with pytest.raises(NeedsNetwork):
        verifier.verify(op.session_token(), network=False)
    assert not op.calls
    verifier.verify(op.session_token())
    verifier.verify(op.session_token(sid="s2"), network=False)


def test_a_new_key_is_fetched_and_both_verify(op: StubOP, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalogue 166, as the receiver: no token is refused while keys rotate"""
    monkeypatch.setattr(key_rules, "COOLDOWN", 0.0)
    verifier = Verifier(op.issuer, "forum")
    old = op.session_token()
    verifier.verify(old)
    op.key = ECKey.generate_key("P-256", {"kid": "k2"})
    op.published.append(op.key)
    assert _code(verifier, op.session_token()) == "ok"
    assert _code(verifier, old) == "ok"


def test_a_key_that_was_withdrawn_no_longer_verifies_not_even_a_token_seen_before(
    op: StubOP, monkeypatch: pytest.MonkeyPatch
) -> None:
    """catalogue 166"""
    monkeypatch.setattr(key_rules, "COOLDOWN", 0.0)
    verifier = Verifier(op.issuer, "forum")
    old = op.session_token()
    verifier.verify(old)
    op.key = RSAKey.generate_key(2048, {"kid": "k2"})
    op.published = [op.key]
    assert _code(verifier, op.session_token()) == "ok"
    assert _code(verifier, old) == "unknown_key"


def test_unknown_key_ids_cause_one_call_in_thirty_seconds(op: StubOP) -> None:
    """catalogue 70"""
    verifier = Verifier(op.issuer, "forum")
    verifier.verify(op.session_token())
    clock = [time.monotonic() + 31]
    verifier.keys._clock = lambda: clock[0]
    stranger = StubOP(issuer=op.issuer, key=ECKey.generate_key("P-256", {"kid": "zz"}))
    codes = {_code(verifier, stranger.session_token(sid=f"s{number}")) for number in range(20)}
    assert codes == {"unknown_key"}
    assert op.calls["/jwks"] == 2
    clock[0] += 31
    _code(verifier, stranger.session_token())
    assert op.calls["/jwks"] == 3


def test_old_keys_serve_one_more_period_in_an_outage_then_503(op: StubOP) -> None:
    verifier = Verifier(op.issuer, "forum")
    verifier.verify(op.session_token())
    start = time.monotonic()
    clock = [start + 700.0]
    verifier.keys._clock = lambda: clock[0]
    op.faults.add("keys down")
    assert _code(verifier, op.session_token(sid="s2")) == "ok"
    clock[0] = start + 1300
    assert _code(verifier, op.session_token(sid="s3")) == "keys_unavailable"
    op.faults.clear()
    clock[0] += 31
    assert _code(verifier, op.session_token(sid="s4")) == "ok"


def test_an_unknown_key_in_an_outage_is_an_outage(op: StubOP) -> None:
    verifier = Verifier(op.issuer, "forum")
    verifier.verify(op.session_token())
    clock = [time.monotonic() + 31]
    verifier.keys._clock = lambda: clock[0]
    op.faults.add("keys down")
    op.key = ECKey.generate_key("P-256", {"kid": "k2"})
    assert _code(verifier, op.session_token()) == "keys_unavailable"
    assert _code(verifier, op.session_token(sid="s2")) == "keys_unavailable"


@pytest.mark.parametrize("fault", ["down", "redirect", "wrong issuer", "huge keys", "keys down"])
def test_without_keys_the_answer_is_503(op: StubOP, fault: str) -> None:
    op.faults.add(fault)
    verifier = Verifier(op.issuer, "forum")
    assert _code(verifier, op.session_token()) == "keys_unavailable"


def test_a_broker_that_is_not_there_is_503_within_the_time_limit() -> None:
    verifier = Verifier("http://127.0.0.1:21098", "forum", timeout=1.0)
    begun = time.monotonic()
    token = StubOP(issuer="http://127.0.0.1:21098").session_token()
    assert _code(verifier, token) == "keys_unavailable"
    assert time.monotonic() - begun < 3


def test_threads_share_one_fetch(op: StubOP) -> None:
    verifier = Verifier(op.issuer, "forum")
    tokens = [op.session_token(sid=f"s{number}") for number in range(12)]
    found: list[str] = []
    threads = [threading.Thread(target=lambda t=token: found.append(_code(verifier, t))) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["ok"] * 12
    assert op.calls["/jwks"] == 1


def test_a_broker_that_cannot_be_asked_signs_nobody_out(op: StubOP) -> None:
    verifier = Verifier(op.issuer, "forum", mode="online", client_secret=CLIENT_SECRET)
    assert _code(verifier, op.session_token()) == "keys_unavailable"
    op.faults = {"down"}
    assert _code(verifier, op.session_token(sid="s3")) == "keys_unavailable"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_newline_of_a_secrets_file_is_none_of_the_secret(end: str) -> None:
    """As at the broker: a site reads the same file, or one that was copied."""
    assert basic_authorization("forum", CLIENT_SECRET + end) == basic_authorization("forum", CLIENT_SECRET)
    assert basic_authorization("forum", f"{CLIENT_SECRET}\n{end}") != basic_authorization("forum", CLIENT_SECRET)


def test_online_mode_needs_a_secret() -> None:
    with pytest.raises(ConfigurationError):
        Verifier("https://l.example", "forum", mode="online")


N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's group (FIPS 186-5, D.1.2.3)."""


def _malleated(token: str) -> str:
    """The same token with the other good signature: (r, n - s) for (r, s)."""
    signed, _, signature = token.rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    other = raw[:32] + (N - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    return f"{signed}.{urlsafe_b64encode(other).rstrip(b'=').decode()}"


def test_a_token_that_was_given_up_does_not_come_back_with_another_signature() -> None:
    """ECDSA signatures come in pairs: a copy with the other one is the same token."""
    op = StubOP(issuer="https://l.example", key=ECKey.generate_key("P-256", {"kid": "k"}))
    verifier = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)])
    token, later = op.session_token(), op.session_token(sid="s2")
    other = _malleated(token)
    assert other != token
    assert _code(verifier, other) == _code(verifier, token) == "ok"
    verifier.give_up(token)
    assert _code(verifier, token) == "revoked"
    assert _code(verifier, other) == "revoked"
    assert _code(Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)]), other) == "ok"
    assert _code(verifier, later) == "ok"


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        "http://login.example.org",
        "ftp://localhost",
        "login.example.org",
        "https://",
        "https://u:p@l.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.nip.io",
    ],
)
def test_plain_http_is_for_this_machine_only(issuer: str) -> None:
    with pytest.raises(ConfigurationError):
        Verifier(issuer, "forum")


def test_an_audience_is_needed() -> None:
    with pytest.raises(ConfigurationError):
        Verifier("https://l.example", "")


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "RSA", "kid": "k", "e": "AQAB", "n": _modulus(1024)},
        ECKey.generate_key("P-384", {"kid": "k"}).as_dict(private=False),
        {**RSAKey.generate_key(2048, {"kid": "k"}).as_dict(private=False), "use": "enc"},
        {**RSAKey.generate_key(2048, {"kid": "k"}).as_dict(private=False), "alg": "RS512"},
        {"kty": "oct", "k": "AAAA", "kid": "k"},
        {"kty": "RSA", "n": "!!", "e": "AQAB", "kid": "k"},
        {"kty": "RSA", "kid": "k"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "k"},
        {"kid": 3},
    ],
    ids=lambda jwk: str(jwk.get("kty")),
)
def test_a_key_that_is_weak_or_broken_is_left_out(jwk: dict[str, Any]) -> None:
    assert key_rules.read_keys({"keys": [jwk, "text", None]}) == {}


def test_the_command_writes_the_vectors(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["testvectors", str(tmp_path / "v")]) == 0
    written = json.loads((tmp_path / "v" / "vectors.json").read_text())
    assert len(written["vectors"]) == len(VECTORS["vectors"])
    assert main(["nonsense"]) == 2


def test_a_seen_token_costs_microseconds() -> None:
    """The measured target is 5; the bound here is wide because machines are busy."""
    op = StubOP(issuer="https://l.example")
    verifier = Verifier(op.issuer, "forum", keys=[op.key.as_dict(private=False)], is_revoked=MemoryRegister().is_ended)
    token = op.session_token()
    verifier.verify(token)
    begun = time.process_time()
    for _ in range(2000):
        verifier.verify(token)
    assert (time.process_time() - begun) / 2000 < 50e-6


def test_an_issuer_of_another_spelling_is_named_in_the_sites_log(op: StubOP, caplog: pytest.LogCaptureFixture) -> None:
    """One stroke too many is no outage, though nobody is let in either way (OpenID Connect Discovery §4.3)."""
    verifier = Verifier(op.issuer + "/", "forum")
    with pytest.raises(SessionError) as refused:
        verifier.verify(op.session_token())
    assert refused.value.code == "keys_unavailable"
    assert f"the issuer is not '{op.issuer}/': it calls itself '{op.issuer}', so configure exactly that" in caplog.text
