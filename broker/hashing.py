"""Digests of random secrets, and hashes of passwords that people choose. Two things, never mixed up.

Client secrets, codes and handles are random: SHA-256 and a constant-time comparison protect them, and cost 0.3 µs.
Passwords are guessable: they get argon2id through the passlib API, which costs a tenth of a second on purpose.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from passlib.context import CryptContext

_PASSWORDS = CryptContext(schemes=["argon2"], argon2__time_cost=2, argon2__memory_cost=19_456, argon2__parallelism=1)


def digest(secret: str) -> bytes:
    """SHA-256 of a random secret: what is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def matches(presented: str, digests: Iterable[bytes]) -> bool:
    """Whether the presented secret is one of those, looking at all of them in the same time."""
    ours = digest(presented)
    found = False
    for known in digests:
        found |= hmac.compare_digest(ours, known)
    return found


def hash_password(password: str) -> str:
    """An argon2id hash of a password, in its own notation (about 20 ms)."""
    return str(_PASSWORDS.hash(password))


def verify_password(password: str, hashed: str) -> bool:
    """Whether this is the password; `False` also for a hash of no known kind."""
    if _PASSWORDS.identify(hashed) is None:
        return False
    return bool(_PASSWORDS.verify(password, hashed))
