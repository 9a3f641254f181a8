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
    WAY_ADDED = "way_added"
    """Carries `provider`."""
    WAY_REMOVED = "way_removed"
    """Carries `provider`."""
