"""A provider says that a person took us out of their account there, or wants what we keep deleted.

What hung on that way ends at once: posting, what the provider gave us to act with, the way itself if there is another
one, and the sessions that began with it. An account is never erased by a provider's word: the request waits until
somebody has looked at it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from broker.domain.account import Account, Link
from broker.domain.audit import Act, Action
from broker.domain.claims import clean_text
from broker.domain.letters import Letter
from broker.domain.ports import Clock, Durable, UnitOfWork
from broker.domain.removal import (
    MAX_REASON,
    NOBODY,
    Removal,
    RemovalKind,
    RemovalState,
    Removed,
    code_of,
    is_news,
    taken,
    was_there,
)
from broker.domain.values import ProviderId
from broker.errors import Conflict, FormInvalid, NotFound
from broker.flows.account import AccountFlow
from broker.flows.anew import anew
from broker.flows.audit import AuditTrail
from broker.flows.letters import LetterWriter
from broker.flows.posting import NOTHING, Ended, PostingGate
from broker.flows.session import SessionFlow


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One request to look at."""

    removal: Removal
    account: Account | None
    """`None`: its owner closed it meanwhile."""
    ways: int
    """How many ways to sign in it has."""
    came_back: bool
    """Whether its owner signed in by that way after the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalFlow:
    durable: Durable
    sessions: SessionFlow
    account: AccountFlow
    posting: PostingGate
    letters: LetterWriter
    trail: AuditTrail
    clock: Clock
    key: bytes
    """What codes are made under."""

    async def take(self, provider: ProviderId, kind: RemovalKind, said: Removed) -> str:
        """Do what a proved word of the provider asks for; the code to look it up with.

        The same word a second time changes nothing and gets the same code. Raises `Overtaken`, `StoreUnavailable`.
        """
        code = code_of(self.key, said.key, kind)
        known, news = await anew(lambda: self._take(provider, kind, said, code))
        if known is not None:
            now = self.clock.now()
            for session in await self.sessions.sessions.of_account(known.id, now):
                if session.key == said.key and was_there(session.created_at, said, news=news):
                    await self.sessions.sign_out(session, keep_offline=False)
        return code

    async def _take(
        self, provider: ProviderId, kind: RemovalKind, said: Removed, code: str
    ) -> tuple[Account | None, bool]:
        """The account it is about, and whether it was news."""
        kept = await self.durable.removals.load(code)
        known = await self.durable.accounts.by_identity(said.key)
        news = is_news(kept, said)
        if known is not None and not was_there(known[1].linked_at, said, news=news):
            known = None
        account = known[0] if known is not None else await self._left_behind(kept, said, news=news)
        if not news:
            return account, False
        if account is None and kind is RemovalKind.APP_REMOVED:
            return None, True
        now = self.clock.now()
        unit = self.durable.unit()
        has_another, ended = True, NOTHING
        if known is not None:
            has_another, ended = await self._end_way(unit, known[0], known[1])
        if known is None and account is not None:
            unit.save_account(account)  # as it is: if it was merged meanwhile, this is about the one that it became
        says_anything_new = known is not None or kind is RemovalKind.DELETION
        if account is not None and says_anything_new and (kept is None or kept.state is not RemovalState.WAITING):
            self._tell(unit, account, provider, kind, code, has_another=has_another)
        removal = taken(
            kept, said, code=code, kind=kind, provider=provider, account=account.id if account else NOBODY, now=now
        )
        unit.put_removal(removal, over=kept.state if kept is not None else None)
        try:
            await self.posting.commit(unit, ended)
        except Conflict as conflict:  # two who say it at once, or a way that went meanwhile: looked at anew
            raise Conflict("stale") from conflict
        return account, True

    async def _left_behind(self, kept: Removal | None, said: Removed, *, news: bool) -> Account | None:
        """The account whose way an earlier word took away: what the person asks for is still meant for it.

        Facebook says first that somebody took us out, and may ask to delete minutes or months later.
        """
        left = await self.durable.removals.load(code_of(self.key, said.key, RemovalKind.APP_REMOVED))
        earlier = sorted(filter(None, (left, kept)), key=lambda removal: removal.asked_at, reverse=True)
        for removal in earlier:
            account = await self.durable.accounts.load(removal.account)
            if account is not None and was_there(account.created_at, said, news=news):
                return account
        return None

    async def _end_way(self, unit: UnitOfWork, account: Account, link: Link) -> tuple[bool, Ended]:
        """Everything that hangs on the way; and the way, too, if another one is left (catalogue 124). Whether one is, and
        what of posting ends."""
        links = await self.durable.accounts.links(account.id)
        has_another = any(other.id != link.id for other in links)
        if has_another:
            unit.remove_link(account.id, link.id)
            await self.sessions.tell_of_ways(unit, account.id, "revoke", link)
        unit.drop_upstream_tokens(account.id, link.provider)
        unit.cancel_postings(account.id, self.clock.now(), provider=link.provider)
        locale = account.locale or ""
        ended = await self.posting.queue_end(
            unit, account.id, sid=None, locale=locale, provider=link.provider, is_over_there=True
        )
        return has_another, ended

    def _tell(
        self,
        unit: UnitOfWork,
        account: Account,
        provider: ProviderId,
        kind: RemovalKind,
        code: str,
        *,
        has_another: bool,
    ) -> None:
        """To the person, if we know an address to be theirs."""
        if kind is RemovalKind.DELETION:
            letter = Letter.DELETION_ASKED
        else:
            letter = Letter.WAY_REMOVED if has_another else Letter.LEFT_THERE
        self.letters.tell(unit, account, letter, {"provider": provider, **_token(letter, code)})

    # --- looking at it --------------------------------------------------------------------------------

    async def look_up(self, code: str) -> Removal:
        """What became of a request to delete, for whoever has its code. Raises `NotFound`.

        An account that its owner closed meanwhile is erased as they asked.
        """
        removal = await self.durable.removals.load(code)
        if removal is None or removal.kind is not RemovalKind.DELETION:
            raise NotFound(detail="no such removal")
        if removal.state is RemovalState.WAITING and await self.durable.accounts.load(removal.account) is None:
            return replace(removal, state=RemovalState.ERASED, decided_at=None)
        return removal

    async def waiting(self) -> tuple[Waiting, ...]:
        """The requests nobody decided yet, oldest first."""
        return tuple([await self._waiting(removal) for removal in await self.durable.removals.waiting()])

    async def _waiting(self, removal: Removal) -> Waiting:
        links = await self.durable.accounts.links(removal.account)
        return Waiting(
            removal=removal,
            account=await self.durable.accounts.load(removal.account),
            ways=len(links),
            came_back=any(link.provider == removal.provider and link.last_used_at > removal.asked_at for link in links),
        )

    async def approve(self, code: str, act: Act) -> Removal:
        """Erase the account, as its owner would by closing it. Raises `NotFound` unless it waits."""

        def decide(removal: Removal) -> Removal:
            return replace(removal, state=RemovalState.ERASED)

        return await anew(lambda: self._decide(code, decide, Letter.DELETION_DONE, act))

    async def dismiss(self, code: str, act: Act) -> Removal:
        """Keep the account; the person reads why. Raises `NotFound` unless it waits, `FormInvalid`."""
        words = clean_text(act.why, limit=MAX_REASON)
        if not words:
            raise FormInvalid({"reason": "missing"})

        def decide(removal: Removal) -> Removal:
            return replace(removal, state=RemovalState.KEPT, reason=words)

        return await anew(lambda: self._decide(code, decide, Letter.DELETION_REFUSED, act))

    async def _decide(self, code: str, decide: Callable[[Removal], Removal], letter: Letter, act: Act) -> Removal:
        removal = await self.durable.removals.load(code)
        if removal is None or removal.state is not RemovalState.WAITING:
            raise NotFound(detail="no such removal waits")
        decided = replace(decide(removal), decided_at=self.clock.now())
        account = await self.durable.accounts.load(removal.account)
        is_erased = decided.state is RemovalState.ERASED
        noted = await self.trail.prepared(
            Action.DELETION_APPROVED if is_erased else Action.DELETION_DISMISSED,
            f"{removal.account} {removal.provider}",
            act,
        )

        def beside(unit: UnitOfWork) -> None:
            unit.put_removal(decided, over=RemovalState.WAITING)
            noted(unit)
            if account is not None:
                self.letters.tell(unit, account, letter, {"provider": removal.provider, **_token(letter, code)})

        try:
            if is_erased and account is not None:
                await self.account.erase(account.id, beside=beside)
            else:
                unit = self.durable.unit()
                beside(unit)
                await unit.commit()
        except Conflict as conflict:
            if conflict.what == "stale":
                raise
            raise NotFound(detail="decided by another meanwhile") from conflict
        return decided


def _token(letter: Letter, code: str) -> dict[str, str]:
    """The end of the link, in letters that lead to the request's page."""
    return {"token": code} if letter in {Letter.DELETION_ASKED, Letter.DELETION_DONE, Letter.DELETION_REFUSED} else {}
