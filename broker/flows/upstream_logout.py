"""A provider says that somebody signed out there: what they began here with that sign-in ends, too. And the other way round.

The same word a second time ends nothing that began after it. What the person let sites have while they are away stays: it
was given here, and is taken back here.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.domain.ports import Clock, Durable, Replay
from broker.domain.provider import EndsSessions, SignedOut
from broker.domain.removal import APART
from broker.domain.session import Session
from broker.domain.values import ProviderId
from broker.errors import UpstreamError
from broker.flows.session import SessionFlow


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLogout:
    durable: Durable
    sessions: SessionFlow
    replay: Replay
    clock: Clock

    async def take(self, said: SignedOut) -> int:
        """End the sessions that a proved word is about; how many there were. Raises `StoreUnavailable`."""
        is_news = await self.replay.first_time(f"signed out: {said.once.key}", said.once.until)
        known = await self.durable.accounts.by_identity(said.key)
        if known is None:
            return 0
        ended = 0
        latest = said.at + APART if is_news else said.at
        for session in await self.sessions.sessions.of_account(known[0].id, self.clock.now()):
            if session.created_at <= latest and _is_meant(session, said):
                await self.sessions.sign_out(session)
                ended += 1
        return ended

    async def take_frame(self, provider: ProviderId, named: str) -> int:
        """End what began with this session of a provider; how many. Raises `StoreUnavailable`.

        Nobody signed that word: knowing the session's name is all there is to it. So it ends what such a session began and
        nothing that was begun in another way, and takes back nothing that sites have for good.
        """
        ended = 0
        for session in await self.sessions.sessions.of_upstream(named, self.clock.now()):
            if session.provider == provider:
                await self.sessions.sign_out(session)
                ended += 1
        return ended

    @staticmethod
    async def address_of(provider: EndsSessions, *, back: str, state: str, locale: str) -> str | None:
        """Where somebody signs out there too, once they did here; `None` when that cannot be had now.

        What ended here has ended: a provider that is away, or names no such page, undoes nothing of it.
        """
        try:
            return await provider.sign_out_url(back=back, state=state, locale=locale)
        except UpstreamError:
            return None


def _is_meant(session: Session, said: SignedOut) -> bool:
    """Whether it began with that very sign-in over there; with any of theirs, where one side does not say which."""
    return session.key == said.key and (None in {said.session, session.upstream} or session.upstream == said.session)
