"""Tokens with the code each must be given, for sites written in any language.

`write_vectors(folder)` writes ``vectors.json``: the issuer, the audience, a fixed time ``now``, a JWK
set, and a list of ``{name, token, expect, accept}``; under ``status`` the same for verifiers that
read status lists (`doorward_verify.status_vectors`); under ``access`` the same for access tokens, with the audience of
an interface (`doorward_verify.access_vectors`); under ``dpop`` requests that bring an access token with a proof of its
key (`doorward_verify.proof_vectors`). ``expect`` is ``ok`` or a code of
``errors.STATUS``; ``accept`` lists it and what a library that checks in another order may say instead.
The keys are new each time and worth nothing.
"""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from .access_vectors import build_access_vectors
from .proof_vectors import build_proof_vectors
from .status_vectors import build_status_vectors

__all__ = ["build_vectors", "write_vectors"]

ISSUER: Final = "https://login.example.org"
AUDIENCE: Final = "forum"
ALSO: Final = {
    "RS256 key named for an ES256 signature": ("unknown_key",),
    "a space in front": ("bad_signature",),
}


def _b64(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class _Maker:
    """Signs whatever it is told to, right or wrong."""

    def __init__(self, now: int, issuer: str) -> None:
        self.rsa = RSAKey.generate_key(2048, {"kid": "rsa-1"})
        self.ec = ECKey.generate_key("P-256", {"kid": "ec-1"})
        self.stranger = RSAKey.generate_key(2048, {"kid": "rsa-1"})
        self.claims: dict[str, Any] = {
            "iss": issuer,
            "aud": AUDIENCE,
            "sub": "a1B2c3D4e5F6g7H8",
            "sid": "s1S2s3S4s5S6",
            "iat": now,
            "exp": now + 600,
            "auth_time": now - 5,
            "acr": "1",
            "amr": ["fed"],
            "preferred_username": "ann",
        }

    def token(self, *, header: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
        """A session token with changes; ``None`` removes a claim or a header."""
        key = key or self.rsa
        alg = "ES256" if isinstance(key, ECKey) else "RS256"
        head = {
            "alg": alg,
            "kid": "ec-1" if alg == "ES256" else "rsa-1",
            "typ": "session+jwt",
            **(header or {}),
        }
        head = {name: value for name, value in head.items() if value is not None}
        body = {name: value for name, value in {**self.claims, **changes}.items() if value is not None}
        signing_input = f"{_b64(head)}.{_b64(body)}"
        signature = jws.JWSRegistry.algorithms[alg].sign(signing_input.encode(), key)
        return f"{signing_input}.{_b64(signature)}"

    def confused(self) -> str:
        """The public key, known to everybody, used as an HMAC secret (RFC 8725 §2.1)."""
        head = {"alg": "HS256", "kid": "rsa-1", "typ": "session+jwt"}
        signing_input = f"{_b64(head)}.{_b64(self.claims)}"
        pem = self.rsa.as_pem(private=False)
        return f"{signing_input}.{_b64(hmac.digest(pem, signing_input.encode(), 'sha256'))}"

    def unsigned(self, alg: str) -> str:
        return f"{_b64({'alg': alg, 'kid': 'rsa-1', 'typ': 'session+jwt'})}.{_b64(self.claims)}."


def build_vectors(now: int | None = None, issuer: str = ISSUER) -> dict[str, Any]:
    """All vectors as one object. ``now`` in seconds since 1970; default: the present."""
    at = int(time.time()) if now is None else now
    make = _Maker(at, issuer)
    good = make.token()
    head, body, signature = good.split(".")
    flipped = ("B" if signature[5] == "A" else "A").join((signature[:5], signature[6:]))
    cases = {
        "good RS256": (good, "ok"),
        "good ES256": (make.token(key=make.ec), "ok"),
        "good, audience in a list of one": (make.token(aud=[AUDIENCE]), "ok"),
        "good, issued up to a minute ahead": (make.token(iat=at + 30), "ok"),
        "expired": (make.token(iat=at - 900, exp=at - 1, auth_time=at - 900), "expired"),
        "not yet valid": (make.token(iat=at + 120, exp=at + 700), "not_yet_valid"),
        "signed in in the future": (make.token(auth_time=at + 120), "not_yet_valid"),
        "alg none": (make.unsigned("none"), "malformed"),
        "alg nOnE": (make.unsigned("nOnE"), "malformed"),
        "alg none with a signature": (
            f"{_b64({'alg': 'none', 'kid': 'rsa-1', 'typ': 'session+jwt'})}.{body}.{signature}",
            "malformed",
        ),
        "HS256 with the public key as secret": (make.confused(), "malformed"),
        "RS256 key named for an ES256 signature": (
            make.token(key=make.ec, header={"kid": "rsa-1"}),
            "bad_signature",
        ),
        "signed by a stranger": (make.token(key=make.stranger), "bad_signature"),
        "bad signature": (f"{head}.{body}.{flipped}", "bad_signature"),
        "body changed": (
            f"{head}.{_b64({**make.claims, 'sub': 'somebody-else'})}.{signature}",
            "bad_signature",
        ),
        "unknown kid": (make.token(header={"kid": "rsa-9"}), "unknown_key"),
        "kid is a path": (make.token(header={"kid": "../../dev/null"}), "unknown_key"),
        "no kid": (make.token(header={"kid": None}), "malformed"),
        "kid is a number": (make.token(header={"kid": 7}), "malformed"),
        "crit": (make.token(header={"crit": ["exp"]}), "malformed"),
        "own key in the header": (
            make.token(key=make.stranger, header={"jwk": make.stranger.as_dict(private=False)}),
            "bad_signature",
        ),
        "ID token": (make.token(header={"typ": "JWT"}), "wrong_type"),
        "access token": (make.token(header={"typ": "at+jwt"}), "wrong_type"),
        "logout token": (make.token(header={"typ": "logout+jwt"}), "wrong_type"),
        "no typ": (make.token(header={"typ": None}), "wrong_type"),
        "wrong aud": (make.token(aud="wiki"), "wrong_audience"),
        "two audiences": (make.token(aud=[AUDIENCE, "wiki"]), "wrong_audience"),
        "no aud": (make.token(aud=None), "wrong_audience"),
        "wrong iss": (make.token(iss="https://login.example.com"), "wrong_issuer"),
        "iss with a slash": (make.token(iss=issuer + "/"), "wrong_issuer"),
        "no sub": (make.token(sub=None), "malformed"),
        "no sid": (make.token(sid=None), "malformed"),
        "no exp": (make.token(exp=None), "malformed"),
        "exp is text": (make.token(exp=str(at + 600)), "malformed"),
        "exp is huge": (make.token(exp=10**30), "malformed"),
        "exp is a fraction": (make.token(exp=at + 0.5), "malformed"),
        "exp is true": (make.token(exp=True), "malformed"),
        "lives two days": (make.token(exp=at + 2 * 86400), "malformed"),
        "email_verified is text": (make.token(email_verified="true"), "malformed"),
        "groups is text": (make.token(groups="admin"), "malformed"),
        "two parts": (f"{head}.{body}", "malformed"),
        "four parts": (f"{good}.{signature}", "malformed"),
        "padding": (good + "==", "malformed"),
        "a space in front": (" " + good, "malformed"),
        "not base64": ("!!!.???.***", "malformed"),
        "body is a list": (f"{head}.{_b64([1, 2])}.{signature}", "bad_signature"),
        "too large": ("A" * 9000 + "." + body + "." + signature, "malformed"),
        "empty": ("", "missing"),
    }
    return {
        "issuer": issuer,
        "audience": AUDIENCE,
        "now": at,
        "jwks": {"keys": [make.rsa.as_dict(private=False), make.ec.as_dict(private=False)]},
        "vectors": [
            {"name": name, "token": token, "expect": code, "accept": [code, *ALSO.get(name, ())]}
            for name, (token, code) in cases.items()
        ],
        "access": build_access_vectors(at, make.token, {"key of ES256": make.ec, "stranger": make.stranger}),
        "dpop": build_proof_vectors(at, make.token, make.stranger),
        "status": build_status_vectors(issuer, at, make.token, make.stranger),
    }


def write_vectors(folder: Path) -> Path:
    """Write ``vectors.json`` into ``folder`` (made if needed) and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vectors.json"
    path.write_text(json.dumps(build_vectors(), indent=1) + "\n", encoding="utf-8")
    return path
