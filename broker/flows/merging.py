"""Merge two accounts that one person owns: show both, look at both, then one unit of work that does it all or nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from broker.domain.account import Account, Link
from broker.domain.audit import Act, Action
from broker.domain.consent import Purpose
from broker.domain.events import SecurityEvent
from broker.domain.letters import Letter
from broker.domain.mail_code import mail_link
from broker.domain.merging import (
    MERGE_WITHIN,
    Choice,
    Half,
    Merging,
    Side,
    both_known,
    differing,
    going_on,
    is_over,
    keeps_picture,
    kept_numbers,
    merge_problem,
    merged,
    moving,
    placed,
    seen_of,
    taken_from,
    takes_address,
    too_many_passkeys,
)
from broker.domain.picture import Picture
from broker.domain.policy import Policies, Use, notice_version
from broker.domain.ports import Clock, Durable, Entropy, UnitOfWork
from broker.domain.removal import RemovalState
from broker.domain.session import Session, needs_fresh_sign_in
from broker.domain.transaction import SignInTransaction
from broker.domain.values import AccountId, ClaimName, ClientId, IdentityKey
from broker.errors import (
    AccountHeld,
    Conflict,
    FormInvalid,
    FreshSignInRequired,
    MergeNobody,
    MergeOfStaff,
    MergeWaits,
    NotFound,
    SignInExpired,
    SignInFinished,
    SignInRequired,
)
from broker.flows.account import AccountFlow
from broker.flows.anew import anew
from broker.flows.audit import AuditTrail
from broker.flows.events import At
from broker.flows.ledger import LedgerWriter
from broker.flows.letters import LetterWriter
from broker.flows.posting import PostingGate
from broker.flows.session import Started
from broker.flows.sign_in import SignInFlow

FORM: Final = "merge"
"""The form as a whole, where a problem is about no single field of it."""
_AFTER: Final = timedelta(microseconds=1)
"""Ways move after the address changed: whoever takes that change back takes them out again (catalogue 117)."""
_QUEUE: Final = 10_000
"""Requests to delete that are looked through: somebody looks at each, so they are few."""
_ERRORS: Final = {"held": AccountHeld, "role": MergeOfStaff, "waits": MergeWaits}


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """The two accounts, and the fields to choose between."""

    this: Half
    other: Half
    fields: tuple[ClaimName, ...]
    sectors: tuple[str, ...]
    """Those of the sites that know both: one number is kept in each."""
    seen: str

    def half(self, side: Side) -> Half:
        return self.this if side is Side.THIS else self.other


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """It is done. `started`: the session of this browser, where the account it was signed in to is the one that went."""

    stays: AccountId
    started: Started | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    both: Both
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeFlow:
    durable: Durable
    sign_in: SignInFlow
    account: AccountFlow
    posting: PostingGate
    ledger: LedgerWriter
    letters: LetterWriter
    trail: AuditTrail
    policies: Policies
    clock: Clock
    entropy: Entropy

    async def look(self, transaction: SignInTransaction, session: Session | None) -> Both:
        """Both accounts as they are now, for whoever showed both in this browser.

        Raises `SignInRequired`, `WrongBrowser`, `SignInExpired`, `SignInFinished` (they are one already), `MergeNobody`,
        `AccountHeld`, `MergeOfStaff`, `MergeWaits`.
        """
        current = await self.sign_in.same_session(transaction, session)
        merging = transaction.merging
        if merging is None or is_over(merging, self.clock.now()):
            raise SignInExpired(detail="the other account was not shown, or too long ago")
        this = await self._half(current.account, current.key)
        other = await self._other(merging, this.account)
        problem = merge_problem(
            this.account,
            other.account,
            has_role=await self._has_role(this.account.id, other.account.id),
            waits=await self._waits(this.account.id, other.account.id),
        )
        if problem is not None:
            raise _ERRORS[problem](detail=f"merge: {problem}")
        this, other = placed(this, other)
        return Both(
            this=this,
            other=other,
            fields=differing(this.account, other.account),
            sectors=both_known(this, other),
            seen=seen_of(this, other),
        )

    async def _other(self, merging: Merging, this: Account) -> Half:
        """The account that was shown; its way must open it still."""
        known = await self.durable.accounts.by_identity(merging.identity.key)
        if known is not None and known[0].id == this.id:
            raise SignInFinished(detail="merged already")
        if known is None or known[0].id != merging.account:
            raise MergeNobody(detail="the way that was shown opens that account no more")
        return await self._half(merging.account, merging.identity.key)

    async def _half(self, account_id: AccountId, proved: IdentityKey) -> Half:
        account = await self.durable.accounts.load(account_id)
        if account is None:
            raise SignInRequired(detail="account gone")
        receipts = await self.durable.ledger.receipts(account_id, Purpose.SHARE_WITH_CLIENT)
        got = [ClientId(one.counterparty) for one in receipts if not one.denied]
        kept = [site for one in account.kept_numbers.values() for site in one.sites]
        sites = tuple(dict.fromkeys([*got, *kept]))
        found = {site: self.account.clients.get(site) for site in sites}
        return Half(
            account=account,
            links=await self.durable.accounts.links(account_id),
            proved=proved,
            sites=sites,
            sectors={site: client.subject_sector for site, client in found.items() if client is not None},
        )

    async def _has_role(self, *accounts: AccountId) -> bool:
        return any([await self.durable.staff.role(account) is not None for account in accounts])

    async def _waits(self, *accounts: AccountId) -> bool:
        waiting = await self.durable.removals.waiting(_QUEUE)
        return any(one.account in accounts and one.state is RemovalState.WAITING for one in waiting)

    async def picture(self, transaction: SignInTransaction, session: Session | None) -> Picture:
        """The other account's, for the page that shows both. Raises `NotFound`, and what `look` does."""
        both = await self.look(transaction, session)
        found = await self.durable.pictures.load(both.other.account.id)
        if found is None:
            raise NotFound(detail="no picture")
        return found

    async def merge(
        self, transaction: SignInTransaction, session: Session | None, choice: Choice, *, user_agent: str, locale: str
    ) -> Merged:
        """Do it. Raises what `look` does, `FreshSignInRequired`, and `FormInvalid` on `merge` (`changed`, `passkeys`).

        Of two at once one wins, and the other one finds them merged. Then the sessions of the account that went end, and
        this browser is signed in to the one that stays.
        """
        done = await anew(lambda: self._merge(transaction, session, choice, locale))
        stays, goes = done.both.half(choice.stays), done.both.half(choice.stays.opposite)
        await self.account.erased(goes.account.id)
        merging = transaction.merging
        if choice.stays is Side.THIS or merging is None:
            return Merged(stays=stays.account.id, started=None)
        return Merged(stays=stays.account.id, started=await self._sign_in(done, transaction, merging, user_agent))

    async def _sign_in(self, done: _Done, transaction: SignInTransaction, merging: Merging, user_agent: str) -> Started:
        """This browser, to the account that was shown: by the way it was shown with, or by the one that came along.

        Codes by e-mail end with the address they went to.
        """
        identity, before = merging.identity, done.session
        if await self.durable.accounts.by_identity(identity.key) is None:
            identity = replace(
                identity,
                provider=before.provider,
                key=before.key,
                amr=before.amr,
                acr=before.acr,
                session=before.upstream,
                id_token=before.id_token,
            )
        proved = replace(transaction, answered_at=min(merging.answered_at, before.auth_time))
        return await self.sign_in.start(proved, merging.account, identity, None, user_agent)

    @property
    def needed(self) -> frozenset[ClaimName]:
        """The fields that no account goes without."""
        return frozenset(name for name, policy in self.account.fields.items() if policy.use is Use.NEEDED)

    async def _merge(
        self, transaction: SignInTransaction, session: Session | None, choice: Choice, locale: str
    ) -> _Done:
        both = await self.look(transaction, session)
        current = await self.sign_in.same_session(transaction, session)
        now = self.clock.now()
        if needs_fresh_sign_in(current, now, MERGE_WITHIN):
            raise FreshSignInRequired(detail="merge")
        if choice.seen != both.seen:
            raise FormInvalid({FORM: "changed"})
        stays, goes = both.half(choice.stays), both.half(choice.stays.opposite)
        taken = taken_from(choice, both.fields)
        after = merged(stays.account, goes.account, taken, self.needed, now)
        moved = moving(goes, choice.ways, after)
        if too_many_passkeys(stays, moved):
            raise FormInvalid({FORM: "passkeys"})
        going = going_on(stays, goes, choice)
        act = Act(by=f"{stays.account.id}", why="the person who owns both merged them")
        noted = await self.trail.prepared(Action.ACCOUNTS_MERGED, f"{stays.account.id} {goes.account.id}", act)
        if await self._has_role(
            stays.account.id, goes.account.id
        ):  # given since: one given from here on overtakes the entry
            raise MergeOfStaff(detail="merge: role")
        unit = self.durable.unit()
        # In one order whoever is merged into whom, so that two merges at once do not wait for each other.
        for account in sorted((stays.account, goes.account), key=lambda one: one.id):
            unit.save_account(account)
        for link in moved:
            unit.use_link(link, link.last_used_at)  # over what was loaded: it was neither taken away nor used meanwhile
        for half, letter, lost in (
            (stays, Letter.MERGED, going),
            (goes, Letter.MERGED_AWAY, {sector for sector in both.sectors if sector not in going}),
        ):
            self.letters.tell(unit, half.account, letter, self._named(half, lost))
        unit.cancel_postings(stays.account.id, now)
        ended = (
            await self.posting.queue_end(unit, stays.account.id, sid=current.sid, locale=locale),
            await self.account.queue_erasure(unit, goes.account.id, sid=None, at=_but(going, goes)),
        )
        await self._end_number(unit, stays, goes, going)
        after = replace(after, kept_numbers=kept_numbers(stays, goes, going))
        unit.save_account(replace(after, version=stays.account.version + 1))
        if not keeps_picture(stays.account, after):
            await self._move_picture(unit, stays.account.id, goes.account.id)
        standing = replace(current, account=stays.account.id)
        for link in moved:
            self._move(unit, link, standing, transaction, locale)
        if takes_address(stays.account, after):
            self._readdress(unit, stays)
        await self.account.sessions.tell_of_ways(unit, stays.account.id, "create", *moved, at=_but(going, stays))
        await self._tell_of_ways(unit, stays, goes, moved, going)
        unit.move_removals(
            goes.account.id, stays.account.id
        )  # what was asked for, or will be, is meant for this one now
        noted(unit)
        try:
            await self.posting.commit(unit, *ended)
        except Conflict as conflict:
            raise Conflict("stale") from conflict  # whatever it met was not there when both were looked at
        return _Done(both=both, session=current)

    def _named(self, half: Half, lost: Collection[str]) -> dict[str, str]:
        """The sites that know the person by another number from now on, for the letter to who had this account."""
        sites = [
            self.account.clients.get(site)
            for sector in half.known_in
            if sector in lost
            for site in half.known_in[sector]
        ]
        names = ", ".join(dict.fromkeys(site.name for site in sites if site is not None))
        return {"sites": names} if names else {}

    async def _tell_of_ways(
        self, unit: UnitOfWork, stays: Half, goes: Half, moved: Sequence[Link], going: Collection[str]
    ) -> None:
        """To the sites where the number of the account that goes lives on: other ways stand behind it from now on."""
        left = [link for link in goes.links if link not in moved]
        for change, links in (("create", stays.links), ("revoke", left)):
            await self.account.sessions.tell_of_ways(unit, goes.account.id, change, *links, at=_of(going, goes))

    async def _end_number(self, unit: UnitOfWork, stays: Half, goes: Half, going: Collection[str]) -> None:
        """Where the account that stays goes by another number from now on, whatever hangs on its own ends: no token ever
        speaks of two. The sites that knew that number hear that it is over.
        """
        account, now, clients, at = stays.account.id, self.clock.now(), self.account.clients, _of(going, stays)
        grants = await self.durable.grants.of_account(account)
        granted = [
            one
            for one in grants
            if (site := clients.get(one.client))
            and at(one.client, stays.account.place_of(one.client, site.subject_sector))
        ]
        known = [site for half in (stays, goes) for sector in going for site in half.known_in.get(sector, ())]
        there = [site for site in clients if (one := clients.get(site)) and at(site, one.subject_sector)]
        # Those given in this moment, too, also to a site that knew neither of the two until now.
        for client in dict.fromkeys([*known, *there, *(one.client for one in granted)]):
            unit.revoke_grants(account, now, client=client)
        await self.account.sessions.tell(unit, granted)
        await self.account.sessions.tell_of(unit, SecurityEvent.ACCOUNT_PURGED, account, at=at)
        await self.account.sessions.forget(unit, account, at)

    def _move(
        self, unit: UnitOfWork, link: Link, standing: Session, transaction: SignInTransaction, locale: str
    ) -> None:
        """A way of the account that goes opens the other one: added like any other, with a receipt of its own."""
        now = self.clock.now()
        receipt = self.ledger.way_turned_on(
            unit,
            standing,
            link.provider,
            notice_version=notice_version(self.policies, now.date()),
            locale=locale,
            transaction=transaction.id,
        )
        unit.add_link(
            replace(
                link,
                id=self.entropy.token(12),
                account=standing.account,
                receipt=receipt.id,
                linked_at=now + _AFTER,
            )
        )

    async def _move_picture(self, unit: UnitOfWork, stays: AccountId, goes: AccountId) -> None:
        picture = await self.durable.pictures.load(goes)
        if picture is None:
            unit.drop_picture(stays)
        else:
            unit.put_picture(stays, picture)

    def _readdress(self, unit: UnitOfWork, stays: Half) -> None:
        """Codes to the address until now let in no more, and that address hears of it with a way back."""
        codes = mail_link(stays.links)
        if codes is not None:
            unit.remove_link(stays.account.id, codes.id)
        if self.account.address is not None:
            self.account.address.changed(unit, stays.account, codes)


def _of(places: Collection[str], half: Half) -> At:
    """The sites that look for the person's number at one of these, as it was when both accounts were looked at."""
    return lambda site, place: half.sectors.get(site, place) in places


def _but(places: Collection[str], half: Half) -> At:
    """All others."""
    return lambda site, place: half.sectors.get(site, place) not in places
