"""Keys and compact JWS for the sandboxes, written so that a token can also be made wrong on purpose.

joserfc makes and exports the keys; the signing itself is done by hand, because a library that is any good
refuses to make the tokens that the fault mode needs (alg none, HS256 over a public key, no kid).
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from joserfc.jwk import RSAKey

Json = dict[str, Any]


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact_json(value: object) -> bytes:
    """JSON without spaces, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One RSA key with its key id."""

    kid: str
    private: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """A fresh 2048-bit key with a random key id."""
        made = RSAKey.generate_key(2048)
        private = cast("rsa.RSAPrivateKey", made.private_key)
        return cls(kid=secrets.token_hex(8), private=private)

    def public_jwk(self) -> Json:
        """The public half as a JWK with `kid`, `use` and `alg`."""
        key = RSAKey.import_key(self.public_pem())
        return {**key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": "RS256"}

    def public_pem(self) -> bytes:
        """The public half as PEM (SubjectPublicKeyInfo)."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def private_pem(self) -> bytes:
        """The private half as PEM (PKCS #8, not encrypted): for a throw-away TLS server in a test."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def certificate_pem(self) -> bytes:
        """A self-signed X.509 certificate over the public half, PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Doorward sandbox")])
        now = dt.datetime.now(dt.UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
        )
        return built.sign(self.private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sign_rs256(claims: Json, key: SigningKey, *, kid: str | None = "") -> str:
    """A compact RS256 JWS. `kid`: "" takes the key's own id, None leaves it out, else it is written as is."""
    header: Json = {"alg": "RS256", "typ": "JWT"}
    if kid is not None:
        header["kid"] = kid or key.kid
    signed = _signing_input(header, claims)
    return f"{signed}.{b64url(key.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def sign_hs256(claims: Json, secret: bytes, *, kid: str | None = None) -> str:
    """A compact HS256 JWS over any bytes, also over a public key (security.md case 46)."""
    header: Json = {"alg": "HS256", "typ": "JWT", **({"kid": kid} if kid else {})}
    signed = _signing_input(header, claims)
    return f"{signed}.{b64url(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def unsigned(claims: Json) -> str:
    """A compact JWS with `alg: none` and an empty signature."""
    return f"{_signing_input({'alg': 'none', 'typ': 'JWT'}, claims)}."


def broken_signature(token: str) -> str:
    """The same token with one bit of its signature turned."""
    head, body, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    raw[len(raw) // 2] ^= 1
    return f"{head}.{body}.{b64url(bytes(raw))}"


def half_hash(value: str) -> str:
    """`at_hash` for a SHA-256 algorithm: base64url of the left half (OpenID Connect Core §3.1.3.6)."""
    return b64url(hashlib.sha256(value.encode()).digest()[:16])


def challenge_matches(challenge: str, method: str, verifier: str) -> bool:
    """RFC 7636 §4.6, for `S256` and `plain`."""
    made = b64url(hashlib.sha256(verifier.encode()).digest()) if method == "S256" else verifier
    return hmac.compare_digest(made.encode(), challenge.encode())


def _signing_input(header: Json, claims: Json) -> str:
    return f"{b64url(compact_json(header))}.{b64url(compact_json(claims))}"
