"""A passkey: a way in that needs no provider (Web Authentication Level 3, W3C).

It is a link like any other: the credential's id stands where an identity's subject stands, and what the person calls it
is the hint. Which browser may bring an answer, and when, is in the challenge, which only we can make.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.domain import base64url
from broker.domain.account import Link, Passkey
from broker.domain.ports import Entropy
from broker.domain.values import AccountId, IdentityKey, ProviderId, ReceiptId

BY_PASSKEY: Final = ProviderId("@passkey")
"""Stands where a provider's id stands. No provider can be called so."""
AT_MOST: Final = 10
"""Passkeys of one account."""
GOOD_FOR: Final = timedelta(minutes=10)
"""How long a page waits for its passkey."""
NAME_LENGTH: Final = 60
OWNER_BYTES: Final = 32
ALGORITHMS: Final = (-8, -7, -257)
"""Ed25519, ES256, RS256: what keys may sign with, in our order (§5.4)."""
MAKE: Final = "webauthn.create"
USE: Final = "webauthn.get"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who we are to an authenticator (§5.1.3)."""

    id: str
    """The host of our address."""
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """What browser and authenticator say of the moment the passkey was made or used in (§5.8.1, §6.1)."""

    kind: str
    """`MAKE` or `USE`."""
    challenge: bytes = field(repr=False)
    origin: str
    is_framed: bool
    party_digest: bytes
    """SHA-256 of the party's id."""
    is_present: bool
    is_verified: bool
    can_be_copied: bool
    is_copied: bool
    counter: int


COPIED: Final = "counter"
"""What `use_problem` calls a passkey of which there may be a copy (WebAuthn §6.1.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A passkey that was just made (§7.1)."""

    ceremony: Ceremony
    id: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    algorithm: int
    is_roaming: bool = False
    """See `domain.account.Passkey`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A passkey that was just used (§7.2)."""

    ceremony: Ceremony
    id: bytes = field(repr=False)
    owner: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    """What the signature is over."""
    signature: bytes = field(repr=False)


def ceremony_problem(ceremony: Ceremony, kind: str, party: Party) -> str | None:
    """The check that an answer does not pass, whoever's passkey it is; `None` if it passes all (§7.1, §7.2).

    The challenge is not among them: it is opened, not compared.
    """
    if ceremony.kind != kind:
        return "kind"
    if ceremony.origin != party.origin:
        return "origin"
    if ceremony.is_framed:
        return "framed"
    if not hmac.compare_digest(ceremony.party_digest, hashlib.sha256(party.id.encode()).digest()):
        return "party"
    if not ceremony.is_present:
        return "presence"
    if not ceremony.is_verified:
        return "verification"
    return "backup flags" if ceremony.is_copied and not ceremony.can_be_copied else None


def use_problem(passkey: Passkey, used: Used) -> str | None:
    """The check that does not fit what is kept of this passkey, its signature aside (§7.2 steps 6, 21, 22)."""
    said = used.ceremony
    if not hmac.compare_digest(passkey.owner, used.owner):
        return "owner"
    if passkey.can_be_copied != said.can_be_copied:
        return "backup flags"
    if (passkey.counter or said.counter) and said.counter <= passkey.counter:
        return COPIED  # a copy of the key is in use, or one that was already used was put back
    return None


def methods(passkey: Passkey) -> tuple[str, ...]:
    """`amr` (RFC 8176 §2): a key that can be copied to another device is not bound to its hardware."""
    return ("swk" if passkey.can_be_copied else "hwk", "user")


def key_of(credential: bytes) -> IdentityKey:
    """The key of the link of the credential with this id."""
    return IdentityKey(issuer=BY_PASSKEY, subject=base64url.encoded(credential))


def passkeys_of(links: Iterable[Link]) -> tuple[Link, ...]:
    """Those of these links that are passkeys."""
    return tuple(link for link in links if link.passkey is not None)


def owner_of(links: Iterable[Link]) -> bytes | None:
    """The user handle that the passkeys of an account share; `None` before the first (§5.4.3)."""
    return next((link.passkey.owner for link in links if link.passkey is not None), None)


def new_link(
    made: Made, name: str, owner: bytes, account: AccountId, receipt: ReceiptId, entropy: Entropy, now: datetime
) -> Link:
    """What lets this passkey in from now on."""
    said = made.ceremony
    return Link(
        id=entropy.token(12),
        account=account,
        provider=BY_PASSKEY,
        key=key_of(made.id),
        receipt=receipt,
        linked_at=now,
        last_used_at=now,
        hint=name,
        passkey=Passkey(
            public_key=made.public_key,
            owner=owner,
            counter=said.counter,
            can_be_copied=said.can_be_copied,
            is_copied=said.is_copied,
            is_roaming=made.is_roaming,
        ),
    )
