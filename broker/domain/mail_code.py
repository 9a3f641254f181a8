"""A sign-in code by e-mail: a way in that stays when a provider is lost.

It is a link like any other, and stands for the address that was proved when the person turned it on: whatever changes
that address ends it. The key of that link says nothing about the address, and each time it is turned on it is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from broker.domain.account import Link
from broker.domain.ports import Entropy
from broker.domain.values import AccountId, IdentityKey, ProviderId, ReceiptId

BY_MAIL: Final = ProviderId("@mail")
"""Stands where a provider's id stands. No provider can be called so."""
DIGITS: Final = 8
"""More than a code that proves an address has: this one opens an account, and no owner is locked out by guesses."""
GOOD_FOR: Final = timedelta(minutes=10)
AMR: Final = ("otp",)
"""RFC 8176 §2."""


def make_code(random: bytes) -> str:
    """A code of `DIGITS` digits, each as likely as any other, of at least 64 random bits."""
    return f"{int.from_bytes(random, 'big') % 10**DIGITS:0{DIGITS}}"


def read_code(typed: str) -> str:
    """What a person typed or pasted, without whatever stands between the digits; nothing for what is no code."""
    digits = "".join(letter for letter in typed if letter.isascii() and letter.isdigit()) if len(typed) <= 100 else ""
    return digits if len(digits) == DIGITS else ""


def digest_of(code: str, salt: str) -> str:
    """What is kept of a code."""
    return hashlib.sha256(f"{salt}\x00{code}".encode()).hexdigest()


def new_key(subject: str) -> IdentityKey:
    """The key of the link; `subject` is random."""
    return IdentityKey(issuer=BY_MAIL, subject=subject)


def mail_link(links: Iterable[Link]) -> Link | None:
    """The link that lets codes by e-mail in, if the person turned it on."""
    return next((link for link in links if link.provider == BY_MAIL), None)


def new_link(account: AccountId, receipt: ReceiptId, entropy: Entropy, now: datetime) -> Link:
    """What lets codes by e-mail in from now on, under a key that no other link ever had."""
    return Link(
        id=entropy.token(12),
        account=account,
        provider=BY_MAIL,
        key=new_key(entropy.token(16)),
        receipt=receipt,
        linked_at=now,
        last_used_at=now,
    )
