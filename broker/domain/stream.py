"""What a site has set at its own stream of security events (SSF 1.0 §8.1), inside the frame that its admin set."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from broker.domain.client import Client
from broker.domain.events import CHOICES, URIS, SecurityEvent
from broker.domain.values import ClientId, Secret


class StreamStatus(StrEnum):
    ENABLED = "enabled"
    PAUSED = "paused"
    """Events are kept, for as long as they would wait to be fetched."""
    DISABLED = "disabled"
    """Events are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One for each site; as it is here, where the site never set anything."""

    client: ClientId
    status: StreamStatus = StreamStatus.ENABLED
    reason: str = ""
    requested: tuple[str, ...] | None = None
    """Addresses of event types; `None`: all that its admin lets it have."""
    description: str = ""
    deleted: bool = False
    proof: Secret | None = None
    """What the site wants to see as `Authorization`, where its admin named nothing."""
    version: int = field(default=0, compare=False)
    """How often it was set before: it can be set anew only over what was read."""

    @property
    def is_over(self) -> bool:
        """Whether nothing that happens now is ever told."""
        return self.deleted or self.status is StreamStatus.DISABLED


def supported(client: Client) -> tuple[str, ...]:
    """The addresses of the event types that the admin lets a site have."""
    return tuple(URIS[SecurityEvent(name)] for name in CHOICES if name in client.security_events)


def delivered(client: Client, stream: Stream) -> tuple[str, ...]:
    """Those of them that the site wants."""
    wanted = stream.requested
    return tuple(uri for uri in supported(client) if wanted is None or uri in wanted)


def is_wanted(event: str, client: Client, stream: Stream) -> bool:
    """Whether an event is to reach the site, now or once its stream goes on. A verification always is."""
    uri = URIS[SecurityEvent(event)]
    return not stream.is_over and (event == SecurityEvent.VERIFICATION or uri in delivered(client, stream))
