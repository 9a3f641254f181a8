"""A network to post to that writes down what reaches it: a real publisher, checking its permits as all of them do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from broker.domain.ports import Clock
from broker.domain.posting import Message, PostingPermit, check_permit
from broker.domain.provider import NeedsPerson, Posted, PostUnknown, UpstreamTokens
from broker.domain.values import ProviderId
from broker.errors import PostingNotPermitted


MASTODON: Final = ProviderId("mastodon")


@dataclass(frozen=True)
class Sent:
    """One message that was handed over."""

    permit: PostingPermit
    message: Message
    token: str | None


@dataclass
class Network:
    """`outcome` is answered, or raised; `before` runs while the message is on its way."""

    clock: Clock
    provider: ProviderId = MASTODON
    scopes: tuple[str, ...] = ("write:statuses",)
    lasting: tuple[str, ...] = ()
    needs_person: bool = False
    label: str = "Recording network"
    sent: list[Sent] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    outcome: Posted | NeedsPerson | PostUnknown | BaseException | None = None
    before: Callable[[], Awaitable[None]] | None = None
    can_undo: bool = True
    undo_outcome: Exception | None = None
    """Raised instead, where a post is to be taken back."""

    async def publish(
        self, permit: PostingPermit, message: Message, token: UpstreamTokens | None
    ) -> Posted | NeedsPerson | PostUnknown:
        check_permit(permit, message, self.clock.now())
        if self.scopes and token is None:
            raise PostingNotPermitted("no token for posting")
        self.sent.append(Sent(permit, message, token.access_token if token else None))
        if self.before is not None:
            await self.before()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        if self.outcome is not None:
            return self.outcome
        if self.needs_person:
            return NeedsPerson(url=f"https://network.example/share?u={message.url}")
        return Posted(remote_id=f"remote-{len(self.sent)}", url=f"https://network.example/{len(self.sent)}")

    async def undo(self, permit: PostingPermit, remote_id: str, token: UpstreamTokens | None) -> bool:
        if self.scopes and token is None:
            raise PostingNotPermitted("no token for posting")
        if self.undo_outcome is not None:
            raise self.undo_outcome
        self.undone.append(remote_id)
        return self.can_undo
