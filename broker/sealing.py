"""Sealed sign-in transactions: readable by nobody on their way through a browser, or without that browser's cookie.

Until the callback a transaction travels in a cookie sealed under a key of ours: strangers fill no store. From the
callback on it lies in the store, sealed under a key that only the cookie holds: dropping either shreds it (decision 4).
AES-256-GCM; the associated data names the transaction, so that nothing can be moved from one to another.
"""

from __future__ import annotations

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.domain import base64url
from broker.domain.ports import Entropy
from broker.domain.transaction import SignInTransaction

_NONCE = 12


class TransactionSeal:
    """Implements the flows' `Seal`. `key` is 32 bytes derived from the key ring."""

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._cookie = AESGCM(key)
        self._entropy = entropy
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(SignInTransaction)

    def to_cookie(self, transaction: SignInTransaction) -> str:
        """The whole transaction, for the browser to carry."""
        return base64url.encoded(
            self._seal(self._cookie, self._encoder.encode(transaction), f"cookie:{transaction.id}")
        )

    def from_cookie(self, text: str, transaction_id: str) -> SignInTransaction | None:
        """`None` unless we sealed it, for this id."""
        return self._open(self._cookie, _bytes(text), f"cookie:{transaction_id}")

    def new_key(self) -> str:
        """A key for one transaction, for the browser to carry."""
        return base64url.encoded(self._entropy.bytes(32))

    def to_store(self, transaction: SignInTransaction, key: str) -> bytes:
        """The transaction for the store, under the browser's key."""
        return self._seal(AESGCM(_bytes(key)), self._encoder.encode(transaction), f"store:{transaction.id}")

    def from_store(self, sealed: bytes, key: str, transaction_id: str) -> SignInTransaction | None:
        """`None` unless this browser's key opens it."""
        raw = _bytes(key)
        return self._open(AESGCM(raw), sealed, f"store:{transaction_id}") if len(raw) == 32 else None

    def seal_text(self, text: str, purpose: str) -> str:
        """A short text for a query parameter of ours, under our key."""
        return base64url.encoded(self._seal(self._cookie, text.encode(), f"text:{purpose}"))

    def open_text(self, sealed: str, purpose: str) -> str | None:
        """`None` unless we sealed it for this purpose."""
        raw = self._open_raw(self._cookie, _bytes(sealed), f"text:{purpose}")
        return raw.decode() if raw is not None else None

    def _seal(self, cipher: AESGCM, data: bytes, aad: str) -> bytes:
        nonce = self._entropy.bytes(_NONCE)
        return nonce + cipher.encrypt(nonce, data, aad.encode())

    def _open(self, cipher: AESGCM, sealed: bytes, aad: str) -> SignInTransaction | None:
        raw = self._open_raw(cipher, sealed, aad)
        if raw is None:
            return None
        try:
            return self._decoder.decode(raw)
        except msgspec.MsgspecError:  # written by another version of this program: start again
            return None

    def _open_raw(self, cipher: AESGCM, sealed: bytes, aad: str) -> bytes | None:
        if len(sealed) < _NONCE + 16:
            return None
        try:
            return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], aad.encode())
        except InvalidTag:
            return None


def _bytes(text: str) -> bytes:
    try:
        return base64url.decoded(text)
    except ValueError:
        return b""
