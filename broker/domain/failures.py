"""What went wrong with a provider, kept for a week so that who runs the service can look it up without the server's log.

Codes only, as in the log: nothing here says who it happened to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from broker.domain.values import ProviderId

KEEP: Final = timedelta(days=7)
SHOWN: Final = "problem"
"""The step that ends on a page with a reference code."""
PROBED: Final = "probed"
"""What the log calls the same where `doorward provider check` asked whether an address of ours is there: nothing went wrong."""
PROBE: Final = "doorward-check"
"""What it calls itself as a user agent. Whoever says so and brings nothing else is believed: there is nothing to hide in it."""
ADDRESS: Final = "address_failed"
"""An address that somebody typed led nowhere: the page says so beside the box, without a code."""
POSTING: Final = "posting_failed"
"""The network did not take a post: the post's own page says so, without a code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that went wrong."""

    id: str
    """The reference code that the page showed; where no page did, any other."""
    provider: ProviderId
    at: datetime
    step: str
    """As the log calls it: `problem`, `address_failed`, `posting_failed`, `provider_state`, `provider_tried`."""
    reason: str
    detail: str
    """Which check failed."""

    @property
    def reference(self) -> str:
        """What the person was shown, if there was one."""
        return self.id if self.step == SHOWN else ""
