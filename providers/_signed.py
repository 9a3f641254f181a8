"""Tokens of our own that providers want as proof: compact JWS with ES256 (RFC 7515 §3.1, RFC 7518 §3.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from broker.domain import base64url
from broker.domain.values import Secret


def read_signing_key(pem: Secret) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key out of PKCS #8 text without a password. Raises `ValueError` for anything else, unquoted."""
    try:
        key = serialization.load_pem_private_key(pem.reveal().encode(), None)
    except (ValueError, TypeError, UnicodeError):
        raise ValueError("no private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not P-256")  # noqa: TRY004 - whatever it is, the text was wrong
    return key


def sign(key: ec.EllipticCurvePrivateKey, kid: str, claims: Mapping[str, Any]) -> str:
    """These claims as a token that the key signed."""
    return sign_as(key, {"alg": "ES256", "kid": kid, "typ": "JWT"}, claims)


def sign_as(key: ec.EllipticCurvePrivateKey, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """The same with a header of the caller's, which says `ES256`."""
    text = f"{_part(header)}.{_part(claims)}"
    r, s = decode_dss_signature(key.sign(text.encode("ascii"), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{base64url.encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(value: Mapping[str, Any]) -> str:
    return base64url.encoded(json.dumps(value, separators=(",", ":")).encode())
