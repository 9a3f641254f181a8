"""What we write to people, by name. The words are the pages' business, the way there the outbox's."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

LETTER: Final = "letter"
"""The kind of delivery that a letter is."""


class Letter(StrEnum):
    CHECK_ADDRESS = "check_address"
    """Is this address yours? Carries `code` and `token`."""
    ADDRESS_CHANGED = "address_changed"
    """To the address an account had until now. Carries `token`, which takes the change back."""
    ADDRESS_TAKEN_BACK = "address_taken_back"
    """To the address an account had until the change to it was taken back. Carries nothing."""
    WAY_ADDED = "way_added"
    """Carries `provider`, and `place` where there are several of its kind."""
    WAY_REMOVED = "way_removed"
    """Carries `provider` and `place`, as above."""
    MERGED = "merged"
    """Another account of the person went into this one. May carry `sites`: names of those that go on with the other one."""
    MERGED_AWAY = "merged_away"
    """This account went into another one. May carry `sites`, likewise."""
    SIGN_IN_CODE = "sign_in_code"
    """Carries `code`."""
    NO_SIGN_IN_CODE = "no_sign_in_code"
    """To an address that opens no account by a code, and was typed as if it did. Carries nothing."""
    SIGNED_IN_BY_CODE = "signed_in_by_code"
    """Carries `device`."""
    PASSKEY_REFUSED = "passkey_refused"
    """A passkey counted less than before. Carries `passkey`, what the person calls it, and `device`."""
    LEFT_THERE = "left_there"
    """The account was taken out of at the only provider that opens it. Carries `provider`."""
    DELETION_ASKED = "deletion_asked"
    """The provider says that the person wants their account here deleted. Carries `provider`, `token`: the code."""
    DELETION_DONE = "deletion_done"
    """Carries `provider` and `token`, as above."""
    DELETION_REFUSED = "deletion_refused"
    """Carries `provider` and `token`, as above."""
