"""Status lists: one bit for each grant, which a site looks at instead of asking (Token Status List, draft 19).

Every grant whose tokens a site checks by itself has a place of its own in one of the lists, and that place is in each
of its tokens. The bit is set when the grant ends early, and stays set until the last token that names it has expired:
a list therefore says who signed out in the last quarter of an hour, whatever the size of the house, and is small.

Places are numbers that are given out once, in order, for ever, and then scattered by a keyed permutation over a list
of a million: neither a place nor the name of a list tells which came first, or how many people there are.
"""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

from broker.domain import base64url
from broker.domain.grant import ACCESS_TOKEN_LIFETIME, CLOCK_SKEW, SESSION_TOKEN_LIFETIME, Grant, StatusPlace

STATUS_LIST_TYPE: Final = "statuslist+jwt"
SIZE: Final = 1 << 20
"""Places of a list. Bits that are not set cost next to nothing on the wire, so there is no reason for small lists."""
BITS: Final = 1
TTL: Final = timedelta(seconds=60)
"""How long a site may go by the copy it has."""
LIFETIME: Final = timedelta(minutes=15)
"""How long a copy may be gone by at all, where no newer one is to be had."""
RENEW: Final = timedelta(minutes=5)
"""How old a list may grow that stays the same, before it is signed anew."""
KEEP: Final = max(SESSION_TOKEN_LIFETIME, ACCESS_TOKEN_LIFETIME) + 2 * CLOCK_SKEW
"""How long a bit stays set: until every token that names the place has expired, whichever clock it was made by."""

_HALF: Final = 10
_MASK: Final = (1 << _HALF) - 1
_ROUNDS: Final = 8


def place_of(number: int, key: bytes) -> StatusPlace:
    """Where the grant with this number is found: no two numbers share a place."""
    which, rest = divmod(number, SIZE)
    return StatusPlace(list=list_name(which, key), index=_scattered(rest, which, key))


def list_name(which: int, key: bytes) -> str:
    """A list's name: nobody can tell the first from the hundredth."""
    return base64url.encoded(_digest(key, b"list", which)[:12])


def lists_for(numbers: int) -> int:
    """How many lists hold that many numbers."""
    return -(-numbers // SIZE)


def _scattered(rest: int, which: int, key: bytes) -> int:
    """A permutation of a list's places (a Feistel network): chance would have to be checked against what is taken."""
    left, right = rest >> _HALF, rest & _MASK
    for turn in range(_ROUNDS):
        mixed = int.from_bytes(_digest(key, b"place", which, turn, right)[:2], "big")
        left, right = right, left ^ (mixed & _MASK)
    return (left << _HALF) | right


def _digest(key: bytes, what: bytes, *numbers: int) -> bytes:
    return hmac.digest(key, what + b"".join(number.to_bytes(8, "big") for number in numbers), "sha256")


def list_uri(issuer: str, name: str) -> str:
    """Where a list is found."""
    return f"{issuer}/status/{name}"


def status_claim(grant: Grant, issuer: str) -> dict[str, Any]:
    """What a token of this grant says about where its status is found (§6.2); nothing if it has no place."""
    if grant.status is None:
        return {}
    uri = list_uri(issuer, grant.status.list)
    return {"status": {"status_list": {"idx": grant.status.index, "uri": uri}}}


def packed(indexes: Collection[int]) -> str:
    """A list with these bits set: least significant bit first, compressed, base64url (§4.1, §4.2).

    Run lengths are all there is to find in a list of zeros with a few bits: as small as the best general search
    (15 KB of 128 for ten thousand bits), and a hundred times as fast (0.6 ms against 82).
    """
    bits = bytearray(SIZE // 8)
    for index in indexes:
        bits[index >> 3] |= 1 << (index & 7)
    packer = zlib.compressobj(9, strategy=zlib.Z_RLE)
    return base64url.encoded(packer.compress(bits) + packer.flush())


def list_claims(*, issuer: str, name: str, indexes: Collection[int], now: datetime) -> dict[str, Any]:
    """The claims of a status list token (§5.1)."""
    return {
        "iss": issuer,
        "sub": list_uri(issuer, name),
        "iat": int(now.timestamp()),
        "exp": int((now + LIFETIME).timestamp()),
        "ttl": int(TTL.total_seconds()),
        "status_list": {"bits": BITS, "lst": packed(indexes)},
    }
