"""Sealing: how personal values and secrets lie in the databases, and how they are found again.

A sealed value is AES-256-GCM under a *data key*, bound to its place (`table/row/column`), so that a cell copied to
another row or column does not open. Data keys are themselves wrapped under the master key, which is in no database
(decision 31). Values that must be found are found through a *blind index*: an HMAC under a key of its own, which says
"the same" and nothing else.

Layout of a sealed value: version (1 byte), key id (8 ASCII characters), nonce (12), ciphertext and tag. The key id is
in the clear so that a rotation can find what it has not reached yet.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.errors import StoreUnavailable

T = TypeVar("T")

_VERSION: Final = b"\x01"
_KEY_ID: Final = 8
_NONCE: Final = 12
PREFIX: Final = len(_VERSION) + _KEY_ID
"""How many bytes at the front of a sealed value name the key it is sealed under."""
KEY_BYTES: Final = 32
MASTER_KEY_MIN: Final = 32
"""Fewest bytes of a master key."""


class WrongMasterKey(Exception):
    """The stored data keys do not open under this master key. Nothing can be read; nothing was changed."""

    def __init__(self) -> None:
        super().__init__("the master key is not the one this database was set up with")


class UnknownKey(Exception):
    """A value is sealed under a data key that this process has not heard of."""


class KeyRing:
    """The data keys that open what is stored, the current one that seals, and the key of the blind indexes."""

    def __init__(
        self,
        data_keys: Mapping[str, bytes],
        current: str,
        index_key: bytes,
        reload: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`data_keys` maps 8-character ids to 32-byte keys; `reload` is called when a value names an unknown one."""
        self._index_key = index_key
        self.reload = reload
        self.learn(data_keys, current)

    def learn(self, data_keys: Mapping[str, bytes], current: str) -> None:
        """Take over a new set of keys: after a rotation, here or in another process."""
        for key_id, key in data_keys.items():
            if len(key_id) != _KEY_ID or not key_id.isascii() or len(key) != KEY_BYTES:
                msg = "a data key has an 8-character id and 32 bytes"
                raise ValueError(msg)
        self._ciphers = {key_id.encode("ascii"): AESGCM(key) for key_id, key in data_keys.items()}
        self.current = current
        self.prefix = _VERSION + current.encode("ascii")
        self._sealing = self._ciphers[current.encode("ascii")]

    @property
    def key_ids(self) -> frozenset[str]:
        return frozenset(key_id.decode("ascii") for key_id in self._ciphers)

    def seal(self, data: bytes, aad: str) -> bytes:
        """`data` sealed under the current key and bound to the place `aad`.

        The nonce is random: with 2^32 values under one key a repeat stays below one in four thousand million
        (NIST SP 800-38D §8.3), and `doorward keys rotate --data` starts a new count.
        """
        nonce = _random(_NONCE)
        return self.prefix + nonce + self._sealing.encrypt(nonce, data, aad.encode())

    def open(self, sealed: bytes, aad: str) -> bytes:
        """What was sealed. Raises `UnknownKey`, or `StoreUnavailable` if the value was altered or moved."""
        sealed = bytes(sealed)
        cipher = self._ciphers.get(sealed[1:PREFIX])
        if cipher is None or sealed[:1] != _VERSION:
            raise UnknownKey
        try:
            return cipher.decrypt(sealed[PREFIX : PREFIX + _NONCE], sealed[PREFIX + _NONCE :], aad.encode())
        except (InvalidTag, ValueError):  # the second if it was cut short
            raise StoreUnavailable(f"sealed value of {aad.partition('/')[0]} does not open") from None

    def blind(self, label: str, text: str) -> bytes:
        """What stands in an index for `text`: 32 bytes, the same for the same text under the same label."""
        message = f"{label}\x00{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._index_key, message, "sha256")

    async def reading(self, decode: Callable[[], T]) -> T:
        """The result of `decode`; once more after fetching new keys, if it met one that another process made."""
        try:
            return decode()
        except UnknownKey:
            pass
        if self.reload is not None:
            await self.reload()
        try:
            return decode()
        except UnknownKey:
            raise StoreUnavailable("sealed under an unknown data key") from None


def _random(nbytes: int) -> bytes:
    """From the operating system and not from `Entropy`: a test that could choose a nonce could make two the same."""
    return os.urandom(nbytes)  # noqa: TID251


class Wrapper:
    """Wraps and unwraps data keys under a key derived from the master key."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) < MASTER_KEY_MIN:
            msg = f"the master key has fewer than {MASTER_KEY_MIN} bytes"
            raise ValueError(msg)
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"doorward data keys v1").derive(
            master_key
        )
        self._cipher = AESGCM(derived)

    def wrap(self, key: bytes, key_id: str) -> bytes:
        nonce = _random(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key, f"data_keys/{key_id}".encode())

    def unwrap(self, wrapped: bytes, key_id: str) -> bytes:
        """Raises `WrongMasterKey`."""
        wrapped = bytes(wrapped)
        try:
            return self._cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], f"data_keys/{key_id}".encode())
        except InvalidTag:
            raise WrongMasterKey from None


def new_key() -> tuple[str, bytes]:
    """A new data key: its id and its bytes."""
    return _random(_KEY_ID // 2).hex(), _random(KEY_BYTES)


def ring_of_master(master_key: bytes) -> KeyRing:
    """A ring without a database: for Redis beside the memory store, where nothing outlives the process anyway."""

    def derive(info: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(master_key)

    return KeyRing({"00000000": derive(b"doorward data")}, "00000000", derive(b"doorward index"))
