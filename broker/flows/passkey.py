"""Sign in with a passkey, for who made one in their account: a way in that no provider can take away.

A challenge is a sealed text that says until when it is good; only what it was made for opens it, the sign-in of one
browser or the session that adds a passkey, and it is good once. Nobody has to say who they are first, so that nothing
tells which accounts there are; and whatever is wrong with an answer, whoever brings it hears the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from broker.domain import base64url
from broker.domain.account import Account, Link, Passkey
from broker.domain.audit import Act, Action
from broker.domain.claims import clean_text
from broker.domain.letters import Letter
from broker.domain.passkey import (
    AT_MOST,
    BY_PASSKEY,
    COPIED,
    GOOD_FOR,
    MAKE,
    NAME_LENGTH,
    OWNER_BYTES,
    USE,
    Ceremony,
    Made,
    Party,
    Used,
    ceremony_problem,
    key_of,
    methods,
    new_link,
    owner_of,
    passkeys_of,
    use_problem,
)
from broker.domain.policy import Policies, notice_version
from broker.domain.ports import Clock, Durable, Entropy, Limits, Replay
from broker.domain.provider import Identified, Identity
from broker.domain.session import Session, device_in_words, needs_fresh_sign_in
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.errors import (
    Conflict,
    FormInvalid,
    FreshSignInRequired,
    PasskeyRefused,
    ProviderOff,
    SignInRequired,
    WayEnded,
)
from broker.flows.anew import anew
from broker.flows.audit import AuditTrail
from broker.flows.ledger import LedgerWriter
from broker.flows.letters import LetterWriter
from broker.flows.sign_in import LINK_TOUCH_EVERY, OtherShown, SignedIn, SignInFlow
from broker.flows.transactions import Carried, Seal

TICK: Final = timedelta(microseconds=1)
"""What moments are kept by."""
BY_SERVER: Final = "the server"
"""Who notes what nobody did on purpose."""
_DAY: Final = 24 * 3600
_COPIED: Final = f"passkey: {COPIED}"
ANSWER: Final = "answer"
"""Names what the browser brought, in `FormInvalid`."""


class Reader(Protocol):
    """Reads what browsers answer, and checks signatures; see `broker.passkeys`."""

    def made(self, answer: Mapping[str, str]) -> Made | None: ...
    def used(self, answer: Mapping[str, str]) -> Used | None: ...
    def is_signed(self, used: Used, public_key: bytes) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What a browser needs to make a passkey (WebAuthn §5.4)."""

    challenge: str
    owner: str
    """The user handle, as base64url."""
    others: tuple[str, ...]
    """Ids of the passkeys there are: no authenticator gets a second one."""
    is_full: bool
    """Whether there are as many as there may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyFlow:
    durable: Durable
    sign_in: SignInFlow
    replay: Replay
    seal: Seal
    letters: LetterWriter
    trail: AuditTrail
    limits: Limits
    ledger: LedgerWriter
    policies: Policies
    clock: Clock
    entropy: Entropy
    reader: Reader
    party: Party
    is_on: bool
    """Whether whoever runs this lets passkeys in."""

    def check_on(self) -> None:
        """Raises `ProviderOff` where passkeys let nobody in."""
        if not self.is_on:
            raise ProviderOff(detail="passkeys are off")

    # --- adding one -----------------------------------------------------------------------------------

    async def begin(self, session: Session) -> Making:
        """What the page needs. Raises `ProviderOff`, `FreshSignInRequired`."""
        self.check_on()
        if needs_fresh_sign_in(session, self.clock.now()):
            raise FreshSignInRequired(detail="to add a passkey")
        links = await self.durable.accounts.links(session.account)
        owner, ours = owner_of(links) or self.entropy.bytes(OWNER_BYTES), passkeys_of(links)
        return Making(
            challenge=self._challenge(_adding(session), base64url.encoded(owner)),
            owner=base64url.encoded(owner),
            others=tuple(link.key.subject for link in ours),
            is_full=len(ours) >= AT_MOST,
        )

    async def add(
        self, session: Session, answer: Mapping[str, str], *, name: str, user_agent: str, locale: str
    ) -> Link:
        """Let a passkey in that this session began to make, minutes ago and just after a fresh sign-in.

        `name`: what the person calls it; nothing: their browser's name. Raises `ProviderOff`, `SignInRequired`, and
        `FormInvalid` on `answer` (`refused`, `over`, `there`, `too_many`).
        """
        self.check_on()
        made = self.reader.made(answer)
        if made is None:
            raise FormInvalid({ANSWER: "refused"}, detail="passkey: unreadable")
        owner = await self._take(made.ceremony, _adding(session))
        problem = ceremony_problem(made.ceremony, MAKE, self.party)
        if problem is not None:
            raise FormInvalid({ANSWER: "refused"}, detail=f"passkey: {problem}")
        called = clean_text(name, limit=NAME_LENGTH) or device_in_words(user_agent)
        link = await anew(lambda: self._add(session, made, called, base64url.decoded(owner), locale))
        if await self.sign_in.sessions.sessions.by_digest(session.secret_digest, self.clock.now()) is None:
            unit = (
                self.durable.unit()
            )  # signed out from elsewhere in this very moment: whoever did that wanted them out
            unit.remove_link(session.account, link.id)
            await unit.commit()
            raise SignInRequired(detail="session ended while a passkey was added")
        return link

    async def _add(self, session: Session, made: Made, name: str, owner: bytes, locale: str) -> Link:
        account = await self.durable.accounts.load(session.account)
        if account is None:
            raise SignInRequired(detail="account gone")
        if len(passkeys_of(await self.durable.accounts.links(account.id))) >= AT_MOST:
            raise FormInvalid({ANSWER: "too_many"})
        now, unit = self.clock.now(), self.durable.unit()
        notice = notice_version(self.policies, now.date())
        receipt = self.ledger.way_turned_on(unit, session, BY_PASSKEY, notice_version=notice, locale=locale)
        link = new_link(made, name, owner, account.id, receipt.id, self.entropy, now)
        unit.save_account(account)  # so that of two at once one counts the other
        unit.add_link(link)
        self.letters.tell(unit, account, Letter.WAY_ADDED, {"provider": BY_PASSKEY})
        await self.sign_in.sessions.tell_of_ways(unit, account.id, "create", link)
        try:
            await unit.commit()
        except Conflict as conflict:
            if conflict.what != "link":
                raise
            raise FormInvalid({ANSWER: "there"}) from conflict
        return link

    # --- signing in -----------------------------------------------------------------------------------

    def challenge(self, transaction: SignInTransaction) -> str:
        """For the browser that carries this sign-in. Nothing is kept of it until it comes back."""
        return self._challenge(_using(transaction), "")

    async def enter(
        self, carried: Carried, answer: Mapping[str, str], *, session: Session | None, user_agent: str
    ) -> SignedIn | OtherShown:
        """Whose passkey it is, signed in, or their sign-in made fresh.

        Raises `ProviderOff`, `FormInvalid` on `answer` (`over`), `PasskeyRefused`, `AccountHeld`, `IdentityTaken`; to merge two
        accounts what `SignInFlow.show_other` does.
        """
        self.check_on()
        transaction = carried.transaction
        used = self.reader.used(answer)
        if used is None:
            raise PasskeyRefused(detail="passkey: unreadable")
        try:
            await self._take(used.ceremony, _using(transaction))
        except FormInvalid as invalid:
            if invalid.fields[ANSWER] == "over":
                raise
            raise PasskeyRefused(detail=invalid.detail) from invalid
        problem = ceremony_problem(used.ceremony, USE, self.party)
        if problem is not None:
            raise PasskeyRefused(detail=f"passkey: {problem}")
        try:
            account, link, passkey = await anew(lambda: self._judge(used))
        except PasskeyRefused as refused:
            if refused.detail == _COPIED:
                await self._tell_of_copy(used, device_in_words(user_agent))
            raise
        return await self._enter(carried, account, link, passkey, session, user_agent)

    async def _judge(self, used: Used) -> tuple[Account, Link, Passkey]:
        """Whose passkey it is, if it is one. Raises `PasskeyRefused`; `Conflict` if it was used or removed meanwhile."""
        known = await self.durable.accounts.by_identity(key_of(used.id))
        passkey = known[1].passkey if known is not None else None
        if known is None or passkey is None:
            raise PasskeyRefused(detail="passkey: unknown")
        if not self.reader.is_signed(used, passkey.public_key):
            raise PasskeyRefused(detail="passkey: signature")
        problem = use_problem(passkey, used)
        if problem is not None:
            raise PasskeyRefused(detail=f"passkey: {problem}")
        return known[0], await self._noted(known[1], passkey, used), passkey

    async def _tell_of_copy(self, used: Used, device: str) -> None:
        """Its owner and whoever runs the server hear that there may be a copy; once a day for each passkey."""
        now, id_ = self.clock.now(), base64url.encoded(used.id)
        if not await self.limits.hit(f"passkey:copied:{id_}", limit=1, window=_DAY, now=now):
            await anew(lambda: self._write_of_copy(used, device))

    async def _write_of_copy(self, used: Used, device: str) -> None:
        known = await self.durable.accounts.by_identity(key_of(used.id))
        if known is None:
            return
        (account, link), unit = known, self.durable.unit()
        self.letters.tell(unit, account, Letter.PASSKEY_REFUSED, {"passkey": link.hint or "", "device": device})
        act = Act(by=BY_SERVER, why="Its counter went back: there may be a copy of it.")
        await self.trail.noted(unit, Action.PASSKEY_REFUSED, f"{account.id} {link.id}", act)
        await unit.commit()

    async def _noted(self, link: Link, passkey: Passkey, used: Used) -> Link:
        """With what the passkey said of itself this time; written where that is news, or people would see the difference.

        Over what was judged and nothing else: of two uses at once the second is judged by the first one's count (§7.2
        step 22). So the moment differs from the one before even where the clock does not.
        """
        now, said = self.clock.now(), used.ceremony
        seen = replace(passkey, counter=said.counter, is_copied=said.is_copied)
        if seen == passkey and now - link.last_used_at <= LINK_TOUCH_EVERY:
            return link
        noted, unit = replace(link, passkey=seen, last_used_at=max(now, link.last_used_at + TICK)), self.durable.unit()
        unit.use_link(noted, link.last_used_at)
        await unit.commit()
        return noted

    async def _enter(
        self,
        carried: Carried,
        account: Account,
        link: Link,
        passkey: Passkey,
        session: Session | None,
        user_agent: str,
    ) -> SignedIn | OtherShown:
        transaction = carried.transaction
        identity = Identity(
            provider=BY_PASSKEY,
            key=link.key,
            claims={},
            verified=frozenset(),
            granted=frozenset(),
            declined=frozenset(),
            authenticated_at=self.clock.now(),
            amr=methods(passkey),
        )
        identified = Identified(identity=identity, tokens=None)
        if transaction.purpose is TransactionPurpose.FRESHEN:
            return await self.sign_in.freshen(transaction, identified, session, user_agent)
        if transaction.purpose is TransactionPurpose.MERGE:
            return await self.sign_in.show_other(carried, identified, session)
        try:
            return await self.sign_in.admit(transaction, account, link, identity, session, user_agent)
        except WayEnded as ended:
            raise PasskeyRefused(detail="passkey: removed meanwhile") from ended

    # --- challenges -----------------------------------------------------------------------------------

    def _challenge(self, purpose: str, more: str) -> str:
        until = self.clock.now() + GOOD_FOR
        return self.seal.seal_text(f"{int(until.timestamp())}.{self.entropy.token(16)}.{more}", purpose)

    async def _take(self, ceremony: Ceremony, purpose: str) -> str:
        """What was sealed into the challenge; it is used up now. Raises `FormInvalid` on `answer` (`refused`, `over`)."""
        text = self.seal.open_text(ceremony.challenge.decode("ascii", "replace"), purpose)
        if text is None:
            raise FormInvalid({ANSWER: "refused"}, detail="passkey: challenge of another browser, or none of ours")
        seconds, once, more = text.split(".")
        until = datetime.fromtimestamp(int(seconds), UTC)
        if self.clock.now() >= until:
            raise FormInvalid({ANSWER: "over"})
        if not await self.replay.first_time(f"passkey:{once}", until):
            raise FormInvalid({ANSWER: "refused"}, detail="passkey: challenge used before")
        return more


def _adding(session: Session) -> str:
    return f"passkey added by {session.sid}"


def _using(transaction: SignInTransaction) -> str:
    return f"passkey used in {transaction.id}"
