"""Reads what browsers answer about passkeys, and checks the signatures; the only place that knows fido2.

The attestation statement is not read: we ask for none, and trust no maker of authenticators more than another
(WebAuthn §7.1 step 21, `none`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from broker.domain import base64url
from broker.domain.passkey import ALGORITHMS, Ceremony, Made, Used
from broker.strict_json import read_json

ID: Final = "credential"
CLIENT: Final = "client_data"
ATTESTATION: Final = "attestation"
AUTHENTICATOR: Final = "authenticator_data"
SIGNATURE: Final = "signature"
OWNER: Final = "user_handle"
ATTACHMENT: Final = "attachment"
"""`platform` or `cross-platform`, in words; nothing from browsers that do not say (WebAuthn §5.4.5)."""
_LONGEST: Final[Mapping[str, int]] = {
    ID: 1023,  # WebAuthn §4, Credential ID
    CLIENT: 4096,
    ATTESTATION: 16_384,
    AUTHENTICATOR: 4096,
    SIGNATURE: 1024,
    OWNER: 64,
}
"""Bytes of each part of an answer; longer ones are none."""
_LONGEST_KEY: Final = 1024


class PasskeyReader:
    """Implements the flow's `Reader`. Each part of an answer is base64url, as the script of the page writes it."""

    def made(self, answer: Mapping[str, str]) -> Made | None:
        """A passkey that was just made; `None` for what is no such answer, or a key that we cannot check."""
        from fido2.webauthn import AttestationObject

        try:
            data = AttestationObject(_part(answer, ATTESTATION)).auth_data
            credential = data.credential_data
            if credential is None or credential.credential_id != _part(answer, ID):
                return None
            algorithm, public_key = credential.public_key[3], _encoded(credential.public_key)
            if algorithm not in ALGORITHMS or len(public_key) > _LONGEST_KEY:
                return None
            return Made(
                ceremony=_ceremony(_part(answer, CLIENT), data),
                id=credential.credential_id,
                public_key=public_key,
                algorithm=algorithm,
                is_roaming=answer.get(ATTACHMENT) == "cross-platform",
            )
        except Exception:  # written by a stranger: however it is broken, it is no answer
            return None

    def used(self, answer: Mapping[str, str]) -> Used | None:
        """A passkey that was just used; `None` for what is no such answer."""
        from fido2.webauthn import AuthenticatorData

        try:
            client, data = _part(answer, CLIENT), AuthenticatorData(_part(answer, AUTHENTICATOR))
            return Used(
                ceremony=_ceremony(client, data),
                id=_part(answer, ID),
                owner=_part(answer, OWNER),
                signed=bytes(data) + hashlib.sha256(client).digest(),
                signature=_part(answer, SIGNATURE),
            )
        except Exception:
            return None

    def is_signed(self, used: Used, public_key: bytes) -> bool:
        """Whether this key signed it (§7.2 step 20)."""
        from fido2 import cbor
        from fido2.cose import CoseKey

        try:
            key: Any = cbor.decode(public_key)
            CoseKey.parse(key).verify(used.signed, used.signature)
        except Exception:  # no signature of it, or no key
            return False
        return True


def _part(answer: Mapping[str, str], name: str) -> bytes:
    """One part. Raises `ValueError` for what is missing, no base64url, or longer than any browser's."""
    text = answer.get(name, "")
    if not text or len(text) > _LONGEST[name] * 4 // 3 + 4:
        msg = "part missing or too long"
        raise ValueError(msg)
    return base64url.decoded(text)


def _ceremony(client: bytes, data: Any) -> Ceremony:
    said = read_json(client, "client data")
    kind, challenge, origin = said.get("type"), said.get("challenge"), said.get("origin")
    if not (isinstance(kind, str) and isinstance(challenge, str) and isinstance(origin, str)):
        msg = "client data without its parts"
        raise TypeError(msg)
    return Ceremony(
        kind=kind,
        challenge=base64url.decoded(challenge),
        origin=origin,
        is_framed=said.get("crossOrigin", False) is not False or "topOrigin" in said,
        party_digest=data.rp_id_hash,
        is_present=data.is_user_present(),
        is_verified=data.is_user_verified(),
        can_be_copied=data.is_backup_eligible(),
        is_copied=data.is_backed_up(),
        counter=data.counter,
    )


def _encoded(public_key: Any) -> bytes:
    from fido2 import cbor

    return cbor.encode(public_key)
