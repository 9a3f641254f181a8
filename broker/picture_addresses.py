"""Addresses of pictures: encrypted text that says whose picture and at which site, and is stored nowhere.

AES-SIV (RFC 5297) gives the same text for the same thing each time, so that browsers may keep what they loaded, and for
another site one that has nothing in common with it: two sites cannot find one person by it (decision 11).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from broker.domain import base64url
from broker.domain.picture import SharedPicture
from broker.domain.values import AccountId, ClientId

FOLDER: Final = "/picture/"
_SUFFIX: Final = ".jpg"
"""Some software looks at the end of an address to see whether it is a picture."""
_MAX: Final = 1000
_PLACE: Final = [b"address of a picture"]


class SealedPictureAddresses:
    """Implements the `PictureAddresses` port. `key` is 32 bytes derived from the key ring."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    def path(self, shared: SharedPicture) -> str:
        """`/picture/….jpg`."""
        text = f"{shared.account}\x00{shared.picture}\x00{shared.client}".encode()
        return f"{FOLDER}{base64url.encoded(self._cipher.encrypt(text, _PLACE))}{_SUFFIX}"

    def read(self, name: str) -> SharedPicture | None:
        """What it stands for; `None` unless we made it, to the letter."""
        text = name.removesuffix(_SUFFIX)
        if text == name or len(text) > _MAX or not text.isascii():
            return None
        try:
            raw = base64url.decoded(text)
            if base64url.encoded(raw) != text:  # one spelling each
                return None
            account, picture, client = self._cipher.decrypt(raw, _PLACE).decode().split("\x00")
        except (ValueError, InvalidTag):
            return None
        return SharedPicture(account=AccountId(account), picture=picture, client=ClientId(client))
