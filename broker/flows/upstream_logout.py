"""A provider says that somebody signed out there: what they began here with that sign-in ends, too. And the other way round.

The same word a second time ends nothing that began after it. What the person let sites have while they are away stays: it
was given here, and is taken back here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from broker.domain.ports import Clock, Durable, Replay, Transactions
from broker.domain.provider import EndsSessions, SignedOut
from broker.domain.removal import APART
from broker.domain.session import Session
from broker.domain.values import ProviderId, Sid
from broker.errors import UpstreamError
from broker.flows.session import SessionFlow
from broker.flows.transactions import Seal

HINT_LIFE: Final = timedelta(minutes=30)
"""As long as the page that says what ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLogout:
    durable: Durable
    sessions: SessionFlow
    replay: Replay
    clock: Clock
    store: Transactions
    seal: Seal

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

    async def keep_hint(self, ended: Session) -> None:
        """Keep the provider's word of a session that just ended, sealed and for as long as its page offers to sign out there."""
        if ended.id_token is not None:
            name = _hint(ended.sid)
            sealed = self.seal.seal_text(ended.id_token, name).encode()
            await self.store.save(name, sealed, self.clock.now() + HINT_LIFE)

    async def address_of(self, provider: EndsSessions, sid: Sid, *, back: str, state: str, locale: str) -> str | None:
        """Where somebody signs out there too, once session `sid` ended here; `None` when that cannot be had now.

        What ended here has ended: a provider that is away, or names no such page, undoes nothing of it. A hint that was kept is
        sent once and forgotten.
        """
        name = _hint(sid)
        sealed = await self.store.load(name, self.clock.now())
        hint = self.seal.open_text(sealed.decode(), name) if sealed is not None else None
        try:
            address = await provider.sign_out_url(back=back, state=state, locale=locale, hint=hint)
        except UpstreamError:
            return None
        await self.store.delete(name)
        return address


def _hint(sid: Sid) -> str:
    return f"hint:{hashlib.sha256(sid.encode()).hexdigest()}"


def _is_meant(session: Session, said: SignedOut) -> bool:
    """Whether it began with that very sign-in over there; with any of theirs, where one side does not say which."""
    return session.key == said.key and (None in {said.session, session.upstream} or session.upstream == said.session)
