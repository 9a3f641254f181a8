"""Send a person upstream, and take back who they are.

State belongs to us, not to the provider: `state`, `nonce` and verifier are made here, the browser is bound by the
cookie that carries the transaction, and the callback must bring an unused state of *this* transaction for *this*
provider. No provider can switch that off.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from broker.domain.account import Account, AccountStatus, Link
from broker.domain.age import AgeAnswer, AgeRule
from broker.domain.claims import PICTURE, email_key
from broker.domain.joining import Address, Joining, checked_address, is_meant, is_over
from broker.domain.letters import Letter
from broker.domain.merging import merging_of
from broker.domain.picture import kept_as
from broker.domain.policy import Policies, notice_version
from broker.domain.ports import Clock, Durable, Entropy, PictureSource, Replay
from broker.domain.provider import (
    Attempt,
    Finder,
    Found,
    Identified,
    Identity,
    Provider,
    Renews,
    Successor,
    UpstreamTokens,
    callback_of,
)
from broker.domain.session import FRESH, Session
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import AccountId, ProviderId
from broker.errors import (
    AccountHeld,
    Conflict,
    FormInvalid,
    IdentityTaken,
    MergeNobody,
    MergeSame,
    NotRenewed,
    NotThatAccount,
    NotYourWay,
    ProviderOff,
    SignInExpired,
    SignInFinished,
    SignInRequired,
    StoreUnavailable,
    UpstreamError,
    UpstreamInvalid,
    UpstreamUnavailable,
    WayEnded,
    WrongBrowser,
)
from broker.flows.ledger import LedgerWriter
from broker.flows.letters import LetterWriter
from broker.flows.session import SessionFlow, Started
from broker.flows.transactions import Carried, TransactionBox

SENSITIVE_WITHIN: Final = timedelta(minutes=10)
"""How long after its beginning a way to sign in may be added, or posting allowed."""
NEVER_FRESH: Final = FRESH + timedelta(seconds=1)
"""So long ago at least counts as when somebody signed in whom nobody saw sign in."""
TAKE_BACK_SECONDS: Final = 5.0
"""How long a provider has to take something back: the person waits for that."""
LINK_TOUCH_EVERY: Final = timedelta(hours=1)
"""`last_used_at` of a link is for people's eyes; a write per sign-in would be waste."""

Keeps = Callable[[AccountId, ProviderId, UpstreamTokens | None], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """Send the browser to `url`; let it carry the transaction."""

    carried: Carried
    url: str
    provider: Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A known person: signed in. `carried` goes on if a site waits for an answer."""

    transaction: SignInTransaction
    started: Started
    is_renewed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPerson:
    """Nobody we know: the preview comes next."""

    carried: Carried


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeUnknown:
    """Nobody we know, and not asked how old yet: what the provider sent is gone, and the question comes next."""

    carried: Carried


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A new way to sign in was added to the account."""

    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingAllowed:
    """The person let us post there: for the posting gate, and for nothing else."""

    transaction: SignInTransaction
    session: Session
    tokens: UpstreamTokens | None


def place_of(transaction: SignInTransaction) -> str:
    """The last part of the address that the person comes back to; nothing where a provider is one server."""
    return transaction.found.place if transaction.found is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherShown:
    """Another account of the same person was shown, to merge the two: both are looked at next. Nobody is signed in to it."""

    carried: Carried


Outcome = SignedIn | NewPerson | AgeUnknown | Linked | PostingAllowed | OtherShown


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInFlow:
    durable: Durable
    replay: Replay
    box: TransactionBox
    sessions: SessionFlow
    ledger: LedgerWriter
    providers: Mapping[ProviderId, Provider]
    policies: Policies
    clock: Clock
    entropy: Entropy
    callback_base: str
    """`https://login.example.org/callback/`; the provider's id follows: one address each (mix-up, RFC 9700 §4.4.2)."""
    pictures: PictureSource | None = None
    """Where pictures are fetched; `None` where none is kept."""
    pictures_of: Mapping[ProviderId, PictureSource] = field(default_factory=dict)
    """The same for providers whose people say which servers are asked: those are let in nowhere else."""
    letters: LetterWriter | None = None
    """Tells people of a new way into their account; `None` where nobody is written to."""
    beside: Mapping[ProviderId, Provider] = field(default_factory=dict)
    """Those that people do not sign in with, or not all of them: what they once gave is given back to them, too."""
    age: AgeRule | None = None
    """Who may make an account (decision 24); `None` where nobody is asked."""
    keeps: Keeps | None = None
    """Whether taking tokens back would end what somebody's posting hangs on; `None` where nothing is posted."""

    def provider(self, provider: ProviderId) -> Provider:
        """Raises `ProviderOff` if it is not there or switched off."""
        found = self.providers.get(provider)
        if found is None:
            raise ProviderOff(detail="provider unknown or off")
        return found

    def knows_age(self, transaction: SignInTransaction | None) -> bool:
        """Whether somebody new may go on to make an account: old enough, or nobody here asks."""
        return self.age is None or (transaction is not None and transaction.age is AgeAnswer.ENOUGH)

    def asks_age(self, transaction: SignInTransaction, *, known_browser: bool) -> bool:
        """Whether the question comes before the provider; a browser that has an account is sent there at once."""
        if transaction.purpose is not TransactionPurpose.SIGN_IN or self.knows_age(transaction):
            return False
        return not known_browser and transaction.age is not AgeAnswer.HAS_ACCOUNT

    async def begin(
        self,
        carried: Carried,
        provider_id: ProviderId,
        *,
        ask_again: bool = False,
        scopes: tuple[str, ...] | None = None,
        login_hint: str | None = None,
        typed: str | None = None,
    ) -> Leaving:
        """Make an attempt of it; what came of the one before is given back. Raises `ProviderOff`, `UpstreamUnavailable`; `FormInvalid` for what was `typed`."""
        provider, transaction = self.provider(provider_id), carried.transaction
        before = transaction
        found = await self._find(provider, transaction, typed, ask_again=ask_again)
        if found is not None and found.instead is not None:
            provider, found = self._instead(found.instead), None
        request = transaction.request
        fresh = (
            transaction.purpose in {TransactionPurpose.FRESHEN, TransactionPurpose.MERGE}
            or transaction.joining is not None
            or (request is not None and ("login" in request.prompt or request.max_age is not None))
        )
        state = f"{transaction.id}.{self.entropy.token(24)}"
        transaction = replace(
            transaction,
            provider=provider.id,
            typed=None,
            found=found,
            state_digest=hashlib.sha256(state.encode()).digest(),
            nonce=self.entropy.token(24),
            code_verifier=self.entropy.token(48),
            asked_again=transaction.asked_again or ask_again,
            forced_fresh=fresh,
            started_at=self.clock.now(),
            brought=None,
            identity=None,
            picture=None,
            picture_failed=False,
            answered_at=None,
            tokens=None,
            decision=None,
            address=Address.SETTLED,
            merging=None,
        )
        attempt = self._attempt(transaction, provider, state, scopes=scopes, ask_again=ask_again, login_hint=login_hint)
        url = await provider.authorization_url(attempt)
        held = await self.box.hold(transaction, carried)
        if before.provider is not None:
            await self.drop_upstream(before.provider, before.tokens)
        return Leaving(carried=held, url=url, provider=provider)

    async def _find(
        self, provider: Provider, transaction: SignInTransaction, typed: str | None, *, ask_again: bool
    ) -> Found | None:
        """Where a typed address leads; who is asked once more is asked at the place that was found before."""
        if not isinstance(provider, Finder):
            return None
        if ask_again and transaction.found is not None and transaction.provider == provider.id:
            return transaction.found
        return await provider.find(typed if typed is not None else transaction.typed or "")

    def _instead(self, provider: ProviderId) -> Provider:
        """The provider of the configuration that a typed address led to: who may not use that one gets no way around it."""
        known = self.providers.get(provider)
        if known is None or isinstance(known, Finder):
            raise FormInvalid({"identifier": "address_host"}, detail="server of a provider that is not for them")
        return known

    async def complete(
        self,
        carried: Carried,
        provider_id: ProviderId,
        params: Mapping[str, str],
        *,
        session: Session | None,
        user_agent: str,
        scopes: tuple[str, ...] | None = None,
        place: str = "",
    ) -> Outcome:
        """Take the callback. Raises what `identified` does, `IdentityTaken`, and what `show_other` does."""
        transaction = carried.transaction
        if transaction.purpose is TransactionPurpose.TRIAL:
            raise WrongBrowser(detail="a trial signs nobody in")
        identified = await self.identified(carried, provider_id, params, scopes=scopes, place=place)
        try:
            return await self._completed(carried, identified, session, user_agent)
        except BaseException:
            await self._give_back(transaction, identified)
            raise

    async def _completed(
        self, carried: Carried, identified: Identified, session: Session | None, user_agent: str
    ) -> Outcome:
        transaction = carried.transaction
        match transaction.purpose:
            case TransactionPurpose.SIGN_IN:
                return await self._sign_in(carried, identified, session, user_agent)
            case TransactionPurpose.FRESHEN:
                return await self.freshen(transaction, identified, session, user_agent)
            case TransactionPurpose.LINK:
                return await self._link(transaction, identified, session)
            case TransactionPurpose.MERGE:
                return await self.show_other(carried, identified, session)
            case _:  # POSTING
                return await self._posting(transaction, identified, session)

    async def identified(
        self,
        carried: Carried,
        provider_id: ProviderId,
        params: Mapping[str, str],
        *,
        scopes: tuple[str, ...] | None = None,
        place: str = "",
    ) -> Identified:
        """Who the provider says came back to this browser, once. `place`: the last part of the address it came back to.

        Raises `ProviderOff`, `WrongBrowser`, `SignInFinished`, `SignInCancelled`, an `UpstreamError`.
        """
        transaction = carried.transaction
        provider = self.provider(provider_id)
        state = params.get("state", "")
        self._check_binding(transaction, provider_id, state, place)
        if not await self.replay.first_time(
            f"state:{hashlib.sha256(state.encode()).hexdigest()}", transaction.expires_at
        ):
            raise SignInFinished(detail="state used before")
        attempt = self._attempt(transaction, provider, state, scopes=scopes, ask_again=transaction.asked_again)
        identified = await provider.identify(attempt, params)
        once = identified.once
        if once is not None and not await self.replay.first_time(once.key, once.until):
            raise UpstreamInvalid("replayed")
        return identified

    async def confirmed(
        self, carried: Carried, *, session: Session | None, user_agent: str
    ) -> SignedIn | NewPerson | AgeUnknown:
        """The person at this browser says that the sign-in an app brought is theirs: now, and once, it counts.

        From here on as if the provider had sent them back. Raises `SignInFinished` for a second time, `ProviderOff`, `AccountHeld`.
        """
        transaction, brought = carried.transaction, carried.transaction.brought
        if brought is None:
            raise SignInFinished(detail="no app brought anybody, or it was confirmed")
        self.provider(brought.identity.provider)
        if not await self.replay.first_time(f"brought:{transaction.id}", transaction.expires_at):
            raise SignInFinished(detail="confirmed before")
        # What an app brings was proved when the provider said so, however long the person took to read our page; and never
        # just now: an app that holds the token could have pressed for them, and sensitive things ask for a fresh sign-in.
        taken = replace(transaction, brought=None, answered_at=min(brought.at, self.clock.now() - NEVER_FRESH))
        identified = Identified(identity=brought.identity, tokens=None)
        return await self._sign_in(replace(carried, transaction=taken), identified, session, user_agent)

    def _attempt(
        self,
        transaction: SignInTransaction,
        provider: Provider,
        state: str,
        *,
        scopes: tuple[str, ...] | None,
        ask_again: bool,
        login_hint: str | None = None,
    ) -> Attempt:
        return Attempt(
            provider=provider.id,
            redirect_uri=callback_of(self.callback_base, provider.id, place_of(transaction)),
            state=state,
            nonce=transaction.nonce or "",
            code_verifier=transaction.code_verifier or "",
            scopes=scopes if scopes is not None else provider.sign_in_scopes,
            fresh=transaction.forced_fresh,
            ask_again=ask_again,
            login_hint=login_hint,
            ui_locales=(transaction.locale,),
            acr_values=transaction.request.wanted_acr if transaction.request is not None else (),
            found=transaction.found,
        )

    def _check_binding(self, transaction: SignInTransaction, provider_id: ProviderId, state: str, place: str) -> None:
        """This browser, this attempt, this provider, and of many servers this one (RFC 9700 §4.7; catalogue 32–36)."""
        if transaction.state_digest is None or transaction.provider != provider_id:
            raise WrongBrowser(detail="callback for another provider or for no attempt")
        if not hmac.compare_digest(hashlib.sha256(state.encode()).digest(), transaction.state_digest):
            raise WrongBrowser(detail="state differs")
        if place != place_of(transaction):
            raise WrongBrowser(detail="callback of another server")

    async def _sign_in(
        self, carried: Carried, identified: Identified, session: Session | None, user_agent: str
    ) -> SignedIn | NewPerson | AgeUnknown:
        transaction, identity = carried.transaction, identified.identity
        known = await self._known(identified)
        if known is not None:
            with suppress(WayEnded):  # in this very moment: it is as unknown as any other now
                return await self.admit(transaction, known[0], known[1], identity, session, user_agent)
        if transaction.joining is not None:
            raise NotThatAccount(detail="nobody known came back to show an account")
        if not self.knows_age(transaction):
            await self.drop_upstream(identity.provider, identified.tokens)
            unread = replace(transaction, age=AgeAnswer.UNKNOWN_PERSON, nonce=None, code_verifier=None)
            return AgeUnknown(carried=await self.box.hold(unread, carried))
        # The state's digest stays: who comes back with the same answer again is known to have been here already.
        answered = transaction.answered_at or self.clock.now()
        stripped = replace(transaction, tokens=identified.tokens, answered_at=answered, nonce=None, code_verifier=None)
        came = await self._with_picture(stripped, identity)
        if await self.is_anothers(checked_address(identity, None)):
            came = replace(came, address=Address.ASKED)
        return NewPerson(carried=await self.box.keep(came))

    async def is_anothers(self, address: str | None) -> bool:
        """Whether an account has this address, checked. Only to be asked about one that somebody vouched for."""
        return address is not None and await self.durable.accounts.by_email(email_key(address)) is not None

    async def _with_picture(self, transaction: SignInTransaction, identity: Identity) -> SignInTransaction:
        """With who it is, and with the picture itself instead of its address: fetched once, shown and decided on.

        Whatever is wrong with it: the person goes on without one.
        """
        address = identity.claims.get(PICTURE)
        if address is None:
            return replace(transaction, identity=identity)
        source = self.pictures_of.get(identity.provider, self.pictures) if self.pictures is not None else None
        picture = await source.fetch(address) if source is not None else None
        claims = {name: value for name, value in identity.claims.items() if name != PICTURE}
        if picture is not None:
            claims[PICTURE] = kept_as(self.entropy.token(12))
        return replace(
            transaction,
            identity=replace(identity, claims=claims),
            picture=picture,
            picture_failed=picture is None,
        )

    async def _known(self, identified: Identified) -> tuple[Account, Link] | None:
        """Whose identity this is; under its older name too, if that name proves it (OpenID 2.0 to Connect Migration §5).

        Then the way in is known by its new name from now on, and the old one opens nothing any more.
        """
        identity, former = identified.identity, identified.former
        known = await self.durable.accounts.by_identity(identity.key)
        provider: object = self.providers.get(identity.provider)
        if known is not None or former is None or not isinstance(provider, Successor):
            return known
        before = await self.durable.accounts.by_identity(former)
        if before is None or before[0].status is not AccountStatus.ACTIVE:
            return before
        if not await provider.succeeds(former, identity.key):
            return None
        account, link = before
        now, unit = self.clock.now(), self.durable.unit()
        hint = _known_hint(account, identity.account_hint)
        renamed = replace(link, provider=identity.provider, key=identity.key, last_used_at=now, hint=hint)
        unit.rename_link(renamed, former)
        if self.letters is not None:
            self.letters.tell(unit, account, Letter.WAY_ADDED, self.letters.naming(identity.provider, identity.key))
        await self.sessions.tell_of_ways(unit, account.id, "update", renamed)
        with suppress(Conflict):  # done by another tab in this very moment, or taken away: either way, look again
            await unit.commit()
        return await self.durable.accounts.by_identity(identity.key)

    async def admit(
        self,
        transaction: SignInTransaction,
        account: Account,
        link: Link,
        identity: Identity,
        session: Session | None,
        user_agent: str,
    ) -> SignedIn:
        """Sign a known person in. What the provider sent about them is dropped unread; so are its tokens.

        What waits to be added to their account is added, now that they showed both (catalogue 116).

        Raises `AccountHeld`, and `WayEnded` if this is no way to sign in to the account any more; `NotThatAccount`,
        `SignInExpired` and `IdentityTaken` where something waits that cannot be added, and then nobody is signed in.
        """
        if account.status is not AccountStatus.ACTIVE:
            raise AccountHeld(detail="account not active")
        now, joining = self.clock.now(), transaction.joining
        if joining is not None and is_over(joining, now):
            raise SignInExpired(detail="the answer that was to be added is too old")
        if joining is not None and not is_meant(joining, account):
            raise NotThatAccount(detail="signed in to another account than the one that was shown")
        if now - link.last_used_at > LINK_TOUCH_EVERY:
            unit = self.durable.unit()
            unit.touch_link(link.id, now)
            await unit.commit()
        started = await self.start(transaction, account.id, identity, session, user_agent)
        if joining is not None:
            await self._join(transaction, joining, started.session)
        is_told = joining is not None and transaction.return_to == "/me"
        done = replace(
            transaction,
            account=account.id,
            sid=started.session.sid,
            brought=None,
            identity=None,
            tokens=None,
            nonce=None,
            code_verifier=None,
            joining=None,
            return_to="/me/ways?done=added" if is_told else transaction.return_to,
        )
        return SignedIn(transaction=done, started=started)

    async def _join(self, transaction: SignInTransaction, joining: Joining, session: Session) -> None:
        """Add what waited. A session that could not do it ends at once: it was for that."""
        try:
            await self._add_way(transaction, joining.identity, session)
        except Conflict as conflict:
            known = await self.durable.accounts.by_identity(joining.identity.key)
            if known is not None and known[0].id == session.account:  # the same in another tab
                return
            await self.sessions.sign_out(session)
            raise IdentityTaken(detail="what was to be added is linked elsewhere meanwhile") from conflict

    async def start(
        self,
        transaction: SignInTransaction,
        account: AccountId,
        identity: Identity,
        session: Session | None,
        user_agent: str,
    ) -> Started:
        """A session for who just showed one of the account's ways. Raises `AccountHeld`, `WayEnded`."""
        answered = transaction.answered_at or self.clock.now()
        started = await self.sessions.start(
            account=account,
            provider=identity.provider,
            key=identity.key,
            auth_time=min(self._proved_at(transaction, account, identity, session, answered), answered),
            amr=identity.amr,
            acr=identity.acr,
            user_agent=user_agent,
            replaces=session,
            upstream=identity.session,
            id_token=identity.id_token,
        )
        await self._check_still(started, identity)
        return started

    async def _check_still(self, started: Started, identity: Identity) -> None:
        """Whether the way and the account still stand, now that the session can be seen.

        Removing a way, closing and holding an account change that first and end the sessions they find second, so that
        one of the two sees the other, whichever comes first (catalogue 110).
        """
        known = await self.durable.accounts.by_identity(identity.key)
        if known is not None and known[0].id == started.session.account and known[0].status is AccountStatus.ACTIVE:
            return
        await self.sessions.sign_out(started.session)
        if known is not None and known[0].id == started.session.account:
            raise AccountHeld(detail="account held meanwhile")
        raise WayEnded(detail="way to sign in ended meanwhile")

    def _proved_at(
        self,
        transaction: SignInTransaction,
        account: AccountId,
        identity: Identity,
        session: Session | None,
        answered: datetime,
    ) -> datetime:
        """When the person proved who they are (decision 26): never later than the provider's answer.

        A forced sign-in was checked by the provider's own rules. Otherwise the provider's word counts, and where it
        gives none, the time of its answer; but not for somebody who is signed in here already: the provider may have
        answered without asking, and an unattended browser would become fresh by one click.
        """
        provider = self.providers.get(identity.provider)
        if transaction.forced_fresh:
            return answered
        if identity.authenticated_at is not None:
            return identity.authenticated_at
        if session is not None and session.account == account and provider is not None and provider.can_force_fresh:
            return session.auth_time
        return answered

    async def freshen(
        self, transaction: SignInTransaction, identified: Identified, session: Session | None, user_agent: str
    ) -> SignedIn:
        """The same person proves it anew, by any of their ways; anybody else is refused and nothing changes."""
        current = await self.same_session(transaction, session)
        known = await self.durable.accounts.by_identity(identified.identity.key)
        if known is None or known[0].id != current.account:
            raise NotYourWay(detail="fresh sign-in as another identity")
        started = await self.start(transaction, current.account, identified.identity, current, user_agent)
        return SignedIn(transaction=transaction, started=started, is_renewed=True)

    async def show_other(self, carried: Carried, identified: Identified, session: Session | None) -> OtherShown:
        """Another account's way, used just now, to merge it with the one that started this. It is only looked at.

        Raises `MergeSame`, `MergeNobody`, `AccountHeld`; `SignInRequired`, `WrongBrowser`, `SignInExpired`.
        """
        transaction = carried.transaction
        current = await self.same_session(transaction, session)
        self._check_recent(transaction)
        known = await self._known(identified)
        if known is None:
            raise MergeNobody(detail="nobody known came back to show the other account")
        if known[0].id == current.account:
            raise MergeSame(detail="the other account is this one")
        if known[0].status is not AccountStatus.ACTIVE:
            raise AccountHeld(detail="the other account is not active")
        merging = merging_of(identified.identity, known[0].id, self.clock.now())
        shown = replace(transaction, merging=merging, nonce=None, code_verifier=None, code_to=None)
        return OtherShown(carried=await self.box.keep(shown, carried))

    async def _link(self, transaction: SignInTransaction, identified: Identified, session: Session | None) -> Linked:
        """Add a way to sign in. Nothing of what the provider sent is kept but the identity itself."""
        current = await self.same_session(transaction, session)
        self._check_recent(transaction)
        try:
            return Linked(link=await self._add_way(transaction, identified.identity, current))
        except Conflict as conflict:
            raise IdentityTaken(detail="identity is linked already") from conflict

    async def _add_way(self, transaction: SignInTransaction, identity: Identity, session: Session) -> Link:
        """Link, receipt, letter and event in one. Raises `Conflict`; `SignInRequired` if the session ended meanwhile."""
        now, unit = self.clock.now(), self.durable.unit()
        receipt = self.ledger.way_turned_on(
            unit,
            session,
            identity.provider,
            notice_version=notice_version(self.policies, now.date()),
            locale=transaction.locale,
            transaction=transaction.id,
        )
        account = await self.durable.accounts.load(session.account)
        link = Link(
            id=self.entropy.token(12),
            account=session.account,
            provider=identity.provider,
            key=identity.key,
            receipt=receipt.id,
            linked_at=now,
            last_used_at=now,
            hint=_known_hint(account, identity.account_hint),
        )
        unit.add_link(link)
        if account is not None and self.letters is not None:
            self.letters.tell(unit, account, Letter.WAY_ADDED, self.letters.naming(identity.provider, identity.key))
        await self.sessions.tell_of_ways(unit, session.account, "create", link)
        await unit.commit()
        if await self.sessions.sessions.by_digest(session.secret_digest, self.clock.now()) is None:
            # Signed out from elsewhere in this very moment: whoever did that wanted them out.
            unit = self.durable.unit()
            unit.remove_link(session.account, link.id)
            await unit.commit()
            raise SignInRequired(detail="session ended while a way to sign in was added")
        return link

    async def _posting(
        self, transaction: SignInTransaction, identified: Identified, session: Session | None
    ) -> PostingAllowed:
        """Only an identity linked to this very account may be posted with."""
        current = await self.same_session(transaction, session)
        self._check_recent(transaction)
        known = await self.durable.accounts.by_identity(identified.identity.key)
        if known is None or known[0].id != current.account:
            raise NotYourWay(detail="posting with an identity that is not linked here")
        return PostingAllowed(transaction=transaction, session=current, tokens=identified.tokens)

    async def same_session(self, transaction: SignInTransaction, session: Session | None) -> Session:
        """Who started it must still be who is here: fixed at the start, equal at the callback (catalogue 122).

        Looked up anew: asking the provider took a while, and the session may have been ended from elsewhere.
        """
        if session is None:
            raise SignInRequired(detail="session ended meanwhile")
        if session.account != transaction.account or session.sid != transaction.sid:
            raise WrongBrowser(detail="another session than the one that started this")
        found = await self.sessions.sessions.by_digest(session.secret_digest, self.clock.now())
        if found is None:
            raise SignInRequired(detail="session ended while the provider was asked")
        return found

    def _check_recent(self, transaction: SignInTransaction) -> None:
        """What began with a fresh sign-in ends soon after it, however often it is begun anew."""
        if self.clock.now() - transaction.created_at > SENSITIVE_WITHIN:
            raise SignInExpired(detail="begun too long ago for what it is for")

    async def renew_upstream(self, provider_id: ProviderId, tokens: UpstreamTokens) -> UpstreamTokens:
        """New tokens in place of those that have run out. Raises `NotRenewed` where none can be had; what `Renews.renew` does."""
        provider = self.providers.get(provider_id)
        if provider is None or not isinstance(provider, Renews):
            raise NotRenewed("provider renews no tokens")
        return await provider.renew(tokens)

    async def drop_upstream(self, provider_id: ProviderId, tokens: UpstreamTokens | None) -> None:
        """Take back at the provider what the person granted us, as far as it lets us and in time; its failure is not theirs."""
        if tokens is not None:
            with suppress(UpstreamError, ProviderOff):
                await self.take_back(provider_id, tokens)

    async def take_back(self, provider_id: ProviderId, tokens: UpstreamTokens) -> None:
        """The same for whoever tries again. Raises `ProviderOff` where the settings know no such provider, an `UpstreamError`."""
        provider = self.providers.get(provider_id) or self.beside.get(provider_id)
        if provider is None:
            raise ProviderOff(detail="provider unknown")
        try:
            async with asyncio.timeout(TAKE_BACK_SECONDS):
                await provider.revoke(tokens)
        except TimeoutError:
            raise UpstreamUnavailable("timeout revocation") from None

    async def _give_back(self, transaction: SignInTransaction, identified: Identified) -> None:
        """An answer came to nothing: so does what came with it.

        What was granted for posting, unless that is kept already for another site: some providers give the same token a
        second time. Else of nobody who has an account by that way: some end all that a person ever allowed us there with one
        token, and who comes back here tomorrow would have to allow it anew.
        """
        is_posting, provider = transaction.purpose is TransactionPurpose.POSTING, identified.identity.provider
        try:
            known = await self.durable.accounts.by_identity(identified.identity.key)
        except StoreUnavailable:
            if not is_posting:
                return
            known = None
        if known is not None and not is_posting:
            return
        if known is not None and self.keeps is not None and await self.keeps(known[0].id, provider, identified.tokens):
            return
        await self.drop_upstream(provider, identified.tokens)


def _known_hint(account: Account | None, hint: str | None) -> str | None:
    """The name of an identity, if the person gave it to us already: nothing is kept that was not shown."""
    known = account is not None and any(held.value == hint for held in account.profile.values())
    return hint if known else None
