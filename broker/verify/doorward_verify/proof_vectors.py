"""Requests that show a key beside an access token, with the code each must be given (DPoP, RFC 9449 §4.3, §7).

`build_proof_vectors` gives the part of ``vectors.json`` called ``dpop``: the ``audience`` of the interface, and
``vectors`` as ``{name, method, url, authorization, proofs, expect, accept}``, where ``proofs`` are the values of the
`DPoP` headers. ``again`` in one means that the same request a second time is to be given ``invalid_dpop_proof``.
"""

from __future__ import annotations

import json
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from .access_vectors import API

__all__ = ["build_proof_vectors"]

URL: Final = f"{API}posts/7?draft=1"
HTU: Final = f"{API}posts/7"
_Key = ECKey | OKPKey | RSAKey


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _ath(token: str) -> str:
    return _b64(sha256(token.encode()).digest())


class _Prover:
    """Makes proofs, right or wrong, each with a name of its own."""

    def __init__(self, now: int) -> None:
        self.now, self.count = now, 0

    def proof(
        self, key: _Key, token: str, *, alg: str = "ES256", header: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """``None`` removes a claim or a header."""
        self.count += 1
        head = {"typ": "dpop+jwt", "alg": alg, "jwk": dict(key.as_dict(private=False)), **(header or {})}
        body = {
            "jti": f"proof-{self.count}",
            "htm": "POST",
            "htu": HTU,
            "iat": self.now,
            "ath": _ath(token),
            **changes,
        }
        parts = [
            _b64(json.dumps({name: value for name, value in part.items() if value is not None}).encode())
            for part in (head, body)
        ]
        signing_input = ".".join(parts)
        signature = jws.JWSRegistry.algorithms[alg].sign(signing_input.encode(), key)
        return f"{signing_input}.{_b64(signature)}"


def build_proof_vectors(now: int, token: Callable[..., str], rsa: RSAKey) -> dict[str, Any]:
    """``token(header=, **claims)`` signs a session token with changes; ``rsa`` is a key that shows itself."""
    own: dict[str, Any] = {"aud": API, "client_id": "forum", "scope": "posts:write", "sid": None}
    make = _Prover(now)
    ec, other, okp = ECKey.generate_key("P-256"), ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
    p384 = ECKey.generate_key("P-384")
    with warnings.catch_warnings(action="ignore"):  # that it is weak is the point
        weak = RSAKey.generate_key(1024)

    def access(name: str, cnf: object) -> str:
        return token(header={"typ": "at+jwt"}, **own, jti=f"grant-1.{name}", cnf=cnf)

    def bound(name: str, key: _Key) -> str:
        return access(name, {"jkt": key.thumbprint()})

    mine, hers, others, free = bound("ec", ec), bound("okp", okp), bound("rsa", rsa), access("bearer", None)
    cheap = bound("weak", weak)
    good = make.proof(ec, mine)
    head, body, signature = good.split(".")
    refused = "invalid_dpop_proof"
    public = dict(ec.as_dict(private=False))

    def changed(**changes: Any) -> list[str]:
        return [make.proof(ec, mine, **changes)]

    def headed(**header: Any) -> list[str]:
        return [make.proof(ec, mine, header=header)]

    # name: (Authorization, DPoP headers, code)
    cases: dict[str, tuple[str, list[str], str]] = {
        "dpop: good ES256": (f"DPoP {mine}", [good], "ok"),
        "dpop: good Ed25519": (f"DPoP {hers}", [make.proof(okp, hers, alg="Ed25519")], "ok"),
        "dpop: good PS256": (f"DPoP {others}", [make.proof(rsa, others, alg="PS256")], "ok"),
        "dpop: good, scheme in small letters": (f"dpop {mine}", changed(), "ok"),
        "dpop: good, htu with query and fragment": (f"DPoP {mine}", changed(htu=f"{HTU}?a=b#c"), "ok"),
        "dpop: good, htu spelt otherwise": (
            f"DPoP {mine}",
            changed(htu="HTTPS://API.Forum.example.org:443/%70osts/./x/../7"),
            "ok",
        ),
        "dpop: good, a minute old": (f"DPoP {mine}", changed(iat=now - 60), "ok"),
        "dpop: good, half a minute ahead": (f"DPoP {mine}", changed(iat=now + 30), "ok"),
        "dpop: good, with exp and nbf": (f"DPoP {mine}", changed(exp=now + 60, nbf=now), "ok"),
        "dpop: bound token as Bearer": (f"Bearer {mine}", changed(), "wrong_type"),
        "dpop: bound token as Bearer, no proof": (f"Bearer {mine}", [], "wrong_type"),
        "dpop: bearer token": (f"Bearer {free}", [], "ok"),
        "dpop: bearer token as DPoP": (f"DPoP {free}", [make.proof(ec, free)], "wrong_type"),
        "dpop: bound to a certificate": (f"DPoP {access('x', {'x5t#S256': 'A' * 43})}", changed(), "wrong_type"),
        "dpop: bound to a certificate, too": (
            f"DPoP {access('both', {'jkt': ec.thumbprint(), 'x5t#S256': 'A' * 43})}",
            changed(),
            "wrong_type",
        ),
        "dpop: thumbprint too short": (f"DPoP {access('short', {'jkt': 'A' * 42})}", changed(), "wrong_type"),
        "dpop: cnf is text": (f"DPoP {access('t', ec.thumbprint())}", changed(), "wrong_type"),
        "dpop: no token": ("", changed(), "missing"),
        "dpop: Basic": ("Basic Zm9ydW06c2VjcmV0", changed(), "missing"),
        "dpop: another key": (f"DPoP {mine}", [make.proof(other, mine)], "wrong_key"),
        "dpop: no proof": (f"DPoP {mine}", [], refused),
        "dpop: two proofs": (f"DPoP {mine}", [*changed(), *changed()], refused),
        "dpop: two proofs in one header": (f"DPoP {mine}", [", ".join([*changed(), *changed()])], refused),
        "dpop: not a JWT": (f"DPoP {mine}", ["proof"], refused),
        "dpop: four parts": (f"DPoP {mine}", [f"{good}.{signature}"], refused),
        "dpop: too large": (f"DPoP {mine}", headed(pad="x" * 5000), refused),
        "dpop: no typ": (f"DPoP {mine}", headed(typ=None), refused),
        "dpop: typ JWT": (f"DPoP {mine}", headed(typ="JWT"), refused),
        "dpop: crit": (f"DPoP {mine}", headed(crit=["exp"]), refused),
        "dpop: alg none": (
            f"DPoP {mine}",
            [f"{_b64(json.dumps({'typ': 'dpop+jwt', 'alg': 'none', 'jwk': public}).encode())}.{body}.AA"],
            refused,
        ),
        "dpop: RS256": (f"DPoP {others}", [make.proof(rsa, others, alg="RS256")], refused),
        "dpop: no jwk": (f"DPoP {mine}", headed(jwk=None), refused),
        "dpop: key at an address": (f"DPoP {mine}", headed(jwk=None, jku="https://evil.example/keys"), refused),
        "dpop: private key": (f"DPoP {mine}", headed(jwk=dict(ec.as_dict(private=True))), refused),
        "dpop: symmetric key": (f"DPoP {mine}", headed(jwk={"kty": "oct", "k": "AA"}), refused),
        "dpop: key of another curve": (f"DPoP {mine}", headed(jwk=dict(p384.as_dict(private=False))), refused),
        "dpop: point off the curve": (f"DPoP {mine}", headed(jwk={**public, "x": "A" * 43}), refused),
        "dpop: key for encryption": (f"DPoP {mine}", headed(jwk={**public, "use": "enc"}), refused),
        "dpop: RSA of 1024 bits": (f"DPoP {cheap}", [make.proof(weak, cheap, alg="PS256")], refused),
        "dpop: signed by another key": (f"DPoP {mine}", [make.proof(other, mine, header={"jwk": public})], refused),
        "dpop: body changed": (
            f"DPoP {mine}",
            [f"{head}.{make.proof(ec, mine).split('.')[1]}.{signature}"],
            refused,
        ),
        "dpop: another method": (f"DPoP {mine}", changed(htm="GET"), refused),
        "dpop: method in small letters": (f"DPoP {mine}", changed(htm="post"), refused),
        "dpop: no htm": (f"DPoP {mine}", changed(htm=None), refused),
        "dpop: another path": (f"DPoP {mine}", changed(htu=f"{API}posts/8"), refused),
        "dpop: path in capitals": (f"DPoP {mine}", changed(htu=f"{API}Posts/7"), refused),
        "dpop: a slash more": (f"DPoP {mine}", changed(htu=f"{HTU}/"), refused),
        "dpop: another host": (f"DPoP {mine}", changed(htu="https://evil.example/posts/7"), refused),
        "dpop: another port": (f"DPoP {mine}", changed(htu=HTU.replace("org/", "org:8443/")), refused),
        "dpop: http": (f"DPoP {mine}", changed(htu=HTU.replace("https", "http")), refused),
        "dpop: htu with a name before the host": (f"DPoP {mine}", changed(htu=HTU.replace("//", "//a@")), refused),
        "dpop: htu is a path": (f"DPoP {mine}", changed(htu="/posts/7"), refused),
        "dpop: no htu": (f"DPoP {mine}", changed(htu=None), refused),
        "dpop: older than a minute": (f"DPoP {mine}", changed(iat=now - 61), refused),
        "dpop: from the future": (f"DPoP {mine}", changed(iat=now + 31), refused),
        "dpop: no iat": (f"DPoP {mine}", changed(iat=None), refused),
        "dpop: iat is text": (f"DPoP {mine}", changed(iat=str(now)), refused),
        "dpop: exp is over": (f"DPoP {mine}", changed(exp=now), refused),
        "dpop: nbf is not yet": (f"DPoP {mine}", changed(nbf=now + 31), refused),
        "dpop: no ath": (f"DPoP {mine}", changed(ath=None), refused),
        "dpop: ath of another token": (f"DPoP {mine}", changed(ath=_ath(hers)), refused),
        "dpop: ath with padding": (f"DPoP {mine}", changed(ath=f"{_ath(mine)}="), refused),
        "dpop: no jti": (f"DPoP {mine}", changed(jti=None), refused),
        "dpop: jti is a number": (f"DPoP {mine}", changed(jti=7), refused),
        "dpop: jti too long": (f"DPoP {mine}", changed(jti="j" * 256), refused),
    }
    return {
        "audience": API,
        "vectors": [
            {
                "name": name,
                "method": "POST",
                "url": URL,
                "authorization": authorization,
                "proofs": proofs,
                "expect": code,
                "accept": [code],
                "again": code == "ok" and bool(proofs),
            }
            for name, (authorization, proofs, code) in cases.items()
        ],
    }
