"""Cookies nobody else can read or change: AES-256-GCM under a key derived from the site's secret."""

from __future__ import annotations

import binascii
import json
import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["Sealer"]

LONGEST = 4096


class Sealer:
    """Seals small JSON objects into cookie values. The first secret seals, all of them open."""

    def __init__(self, secrets: Sequence[str], *, context: str) -> None:
        self._ciphers = [
            AESGCM(
                HKDF(
                    algorithm=hashes.SHA256(),
                    length=32,
                    salt=b"doorward-verify cookies",
                    info=context.encode(),
                ).derive(secret.encode())
            )
            for secret in secrets
        ]

    def seal(self, name: str, value: Mapping[str, Any], *, seconds: int) -> str:
        """Seal ``value`` for the cookie called ``name``; it opens nowhere else and not after ``seconds``."""
        plain = json.dumps({"v": value, "exp": int(time.time()) + seconds}, separators=(",", ":")).encode()
        nonce = os.urandom(12)
        sealed = nonce + self._ciphers[0].encrypt(nonce, plain, name.encode())
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, name: str, sealed: str | None) -> dict[str, Any] | None:
        """The sealed object, or ``None`` if it is forged, foreign, too old or not there."""
        if not sealed or len(sealed) > LONGEST or not sealed.isascii():
            return None
        try:
            raw = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        except (binascii.Error, ValueError):
            return None
        for cipher in self._ciphers:
            try:
                content = json.loads(cipher.decrypt(raw[:12], raw[12:], name.encode()))
            except (InvalidTag, ValueError):
                continue
            value: dict[str, Any] = content["v"]
            return value if content["exp"] > time.time() else None
        return None
