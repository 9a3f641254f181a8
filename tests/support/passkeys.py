"""An authenticator and a browser in software: makes and uses passkeys as the page's script would, and as an attacker would.

key = SoftKey()
answer = key.make(challenge, owner)          what the form posts after "Make the passkey"
answer = key.use(challenge)                  what the form posts after "Use a passkey"
answer = key.use(challenge, origin="https://evil.test", verified=False)
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2 import cbor
from fido2.cose import ES256, RS256, CoseKey, EdDSA
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData

FLAG = AuthenticatorData.FLAG
_serial = itertools.count(1)


def text_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class SoftKey:
    """One passkey. `counts`: whether it counts its signatures; `copies`: whether it can be copied, and is."""

    def __init__(
        self,
        *,
        host: str = "login.test",
        origin: str = "",
        counts: bool = True,
        copies: bool = False,
        algorithm: int = -7,
    ) -> None:
        self.host, self.origin = host, origin or f"https://{host}"
        self.counts, self.copies, self.algorithm = counts, copies, algorithm
        self.counter = 0
        self.id = hashlib.sha256(f"credential {next(_serial)}".encode()).digest()
        self.owner = b""
        makers: dict[int, Any] = {
            -7: lambda: ec.generate_private_key(ec.SECP256R1()),
            -8: ed25519.Ed25519PrivateKey.generate,
            -257: lambda: rsa.generate_private_key(65537, 2048),
        }
        self.private: Any = makers[algorithm]()

    def public(self) -> CoseKey:
        kind: Any = {-7: ES256, -8: EdDSA, -257: RS256}[self.algorithm]
        made: CoseKey = kind.from_cryptography_key(self.private.public_key())
        return made

    def make(self, challenge: str, owner: str = "b3duZXI", **wrong: Any) -> dict[str, str]:
        """`wrong`: what an honest browser would do otherwise; see `_moment`, and `id` and `attestation`."""
        self.owner = bytes_of(owner)
        public = wrong.pop("public", None) or self.public()
        attested = AttestedCredentialData.create(bytes(16), wrong.pop("id", self.id), public)
        client, data = self._moment("webauthn.create", challenge, attested, **wrong)
        made = AttestationObject.create("none", AuthenticatorData(data), {})
        return {"credential": text_of(self.id), "client_data": text_of(client), "attestation": text_of(made)}

    def use(self, challenge: str, **wrong: Any) -> dict[str, str]:
        """The same for a sign-in; `owner` and `signature` may be another's too."""
        owner, signature = wrong.pop("owner", self.owner), wrong.pop("signature", None)
        client, data = self._moment("webauthn.get", challenge, None, **wrong)
        return {
            "credential": text_of(self.id),
            "client_data": text_of(client),
            "authenticator_data": text_of(data),
            "signature": text_of(signature or self._sign(data + hashlib.sha256(client).digest())),
            "user_handle": text_of(owner),
        }

    def _sign(self, data: bytes) -> bytes:
        how: tuple[Any, ...] = {
            -7: (ec.ECDSA(hashes.SHA256()),),
            -8: (),
            -257: (padding.PKCS1v15(), hashes.SHA256()),
        }[self.algorithm]
        return bytes(self.private.sign(data, *how))

    def _moment(
        self,
        kind: str,
        challenge: str,
        attested: bytes | None,
        *,
        origin: str = "",
        host: str = "",
        framed: object = False,
        present: bool = True,
        verified: bool = True,
        counter: int | None = None,
        copies: bool | None = None,
        copied: bool | None = None,
        said: Mapping[str, object] | None = None,
    ) -> tuple[bytes, bytes]:
        if counter is None:
            self.counter += self.counts
            counter = self.counter
        copies = self.copies if copies is None else copies
        copied = copies if copied is None else copied
        flags = FLAG.UP * present | FLAG.UV * verified | FLAG.BE * copies | FLAG.BS * copied
        if attested is not None:
            flags |= FLAG.AT
        client = {
            "type": kind,
            "challenge": text_of(challenge.encode()),
            "origin": origin or self.origin,
            "crossOrigin": framed,
        } | dict(said or {})
        digest = hashlib.sha256((host or self.host).encode()).digest()
        data = digest + bytes([flags]) + counter.to_bytes(4, "big") + (attested or b"")
        return json.dumps(client).encode(), data


def nested(depth: int) -> str:
    """CBOR in which `depth` lists lie in each other."""
    return text_of(b"\x81" * depth + cbor.encode(0))
