"""Base64 for addresses and tokens, without padding (RFC 4648 §5, RFC 7515 §2)."""

from __future__ import annotations

import base64
from binascii import b2a_base64
from typing import Final

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")


def encoded(raw: bytes) -> str:
    """As text."""
    return b2a_base64(raw, newline=False).translate(_TO_URL, b"=").decode("ascii")


def decoded(text: str) -> bytes:
    """The bytes of it. Raises `ValueError` for a letter that no base64 has.

    Not one spelling each: whoever needs that encodes again and compares.
    """
    return base64.b64decode(_padded(text), altchars=b"-_", validate=True)


def decoded_loosely(text: str) -> bytes:
    """The same, which passes over such letters: for what somebody else checks. Raises `ValueError` unless whole bytes are left."""
    return base64.urlsafe_b64decode(_padded(text))


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)
