"""The public key in the header of a DPoP proof: read strictly, named by its thumbprint, asked about one signature."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .errors import ALGORITHMS, SessionError
from .jws import decode_segment

__all__ = ["is_signed", "is_thumbprint", "read_proof_key", "thumbprint"]

_SHA256: Final = hashes.SHA256()
_PSS: Final = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=32)
_KINDS: Final = {"ES256": ("EC", "P-256"), "PS256": ("RSA", None), "Ed25519": ("OKP", "Ed25519")}
_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA_BITS: Final = range(2048, 8193)
"""Too short to trust, too long to compute with."""
_LARGEST_EXPONENT: Final = 2**32

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


def read_proof_key(jwk: object, alg: str) -> PublicKey | None:
    """The key of a JWK (RFC 7517) that may be used with ``alg``; ``None`` for anything else: private, weak, odd."""
    if not isinstance(jwk, dict) or _PRIVATE & jwk.keys() or alg not in ALGORITHMS:
        return None
    if (jwk.get("kty"), jwk.get("crv")) != _KINDS[alg] or jwk.get("alg", alg) != alg or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        return _READERS[alg](jwk)
    except (ValueError, UnsupportedAlgorithm, SessionError):
        return None


def _read_bytes(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise ValueError(name)
    raw = decode_segment(value)
    # base64 of Python skips letters it does not know: one key would have many names.
    if urlsafe_b64encode(raw).rstrip(b"=") != value.encode():
        raise ValueError(name)
    return raw


def _read_point(jwk: Mapping[str, Any], name: str) -> bytes:
    raw = _read_bytes(jwk, name)
    if len(raw) != 32:
        raise ValueError(name)
    return raw


def _read_number(jwk: Mapping[str, Any], name: str) -> int:
    raw = _read_bytes(jwk, name)
    if not raw or not raw[0]:  # RFC 7518 §2: no more octets than it needs
        raise ValueError(name)
    return int.from_bytes(raw, "big")


def _read_ec(jwk: Mapping[str, Any]) -> PublicKey:
    x, y = (int.from_bytes(_read_point(jwk, name), "big") for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def _read_rsa(jwk: Mapping[str, Any]) -> PublicKey:
    n, e = _read_number(jwk, "n"), _read_number(jwk, "e")
    if n.bit_length() not in _RSA_BITS or e > _LARGEST_EXPONENT:
        raise ValueError("size")
    return rsa.RSAPublicNumbers(e, n).public_key()


def _read_okp(jwk: Mapping[str, Any]) -> PublicKey:
    return ed25519.Ed25519PublicKey.from_public_bytes(_read_point(jwk, "x"))


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], PublicKey]]] = {
    "ES256": _read_ec,
    "PS256": _read_rsa,
    "Ed25519": _read_okp,
}


def is_signed(key: PublicKey, signing_input: bytes, signature: bytes) -> bool:
    """Whether ``key`` made this signature, with the one algorithm that its kind has here."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signing_input, _PSS, _SHA256)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signing_input)
        elif len(signature) == 64:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(utils.encode_dss_signature(r, s), signing_input, ec.ECDSA(_SHA256))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a key that `read_proof_key` took (RFC 7638)."""
    members = {name: jwk[name] for name in _MEMBERS[jwk["kty"]]}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


def is_thumbprint(value: object) -> bool:
    """Whether this can be a SHA-256 thumbprint in base64url."""
    return (
        isinstance(value, str)
        and len(value) == 43
        and value.isascii()
        and value.replace("-", "_").replace("_", "a").isalnum()
    )
