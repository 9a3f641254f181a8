"""The posting gate's flow: the only holder of publishers, and the only caller of `permit()`.

A site asks; the person looks; then, and only if an opt-in stands at that very moment, one message goes out once. Every
step is written before it is answered: `SENDING` before the network is called, so that a crash leaves "unknown" and never
a second post.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never
from urllib.parse import parse_qs, urlencode, urlsplit

from broker.domain.account import Account, AccountStatus
from broker.domain.client import Client
from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.policy import Policies, notice_version
from broker.domain.ports import Clock, Delivery, Durable, Entropy, Limits, UnitOfWork
from broker.domain.posting import (
    LASTING_WORDING,
    POST,
    THIS_POST,
    WORDING,
    Message,
    Posting,
    PostingOptIn,
    PostingPermit,
    PostState,
    Publisher,
    counterparty,
    is_address,
    message_problem,
    one_post,
    opt_in,
    parties,
    permit,
    permit_to_take_back,
)
from broker.domain.provider import NeedsPerson, Posted, PostUnknown, UpstreamTokens
from broker.domain.session import Session, needs_fresh_sign_in
from broker.domain.taking_back import TAKE_BACK, payload_of, payloads_ending
from broker.domain.tokens import subject_for
from broker.domain.values import AccountId, ClientId, ProviderId, Sid
from broker.errors import (
    BrokerError,
    Conflict,
    FreshSignInRequired,
    GrantOver,
    InvalidRequest,
    NotFound,
    NotRenewed,
    PostingNotPermitted,
    SignInRequired,
    StoreUnavailable,
    TokenOver,
    TooManyAttempts,
    UpstreamError,
    UpstreamUnavailable,
    WayMissing,
)
from broker.flows.anew import anew
from broker.flows.ledger import LedgerWriter
from broker.flows.renewing import BETWEEN, LOOKS, Pause, Renew, Renewing, Revoke, Stopped

ASKED_LIFETIME: Final = timedelta(minutes=30)
"""How long a person has to decide about one post."""
SENDING_AT_MOST: Final = timedelta(minutes=2)
"""Longer than any call upstream may take: what is still on its way after this was cut off by a crash."""
ASKS_PER_POST: Final = 3
"""A site may ask this often for each post that a person may make in an hour."""
ASKS_PER_SITE: Final = 30
"""And in all this often as often: a site that asks and asks is stopped whoever it asks about."""
HOUR: Final = 3600
KEY: Final = "key"
"""The parameter that the network's own window brings back; no site ever sees it."""


class Withdrawn(PostingNotPermitted):
    """Permission ended here between one step and the next; the network has refused nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a site wants posted, as it sent it."""

    subject: str
    provider: ProviderId
    text: str
    url: str | None
    return_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a post; `window` is where only the person can go on, `problem` why the network was of no use."""

    posting: Posting
    window: str | None = None
    problem: BrokerError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a withdrawal takes out of the vault: nobody renews it until that is committed, or was not."""

    stopped: tuple[Stopped, ...] = ()


NOTHING: Final = Ended()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingGate:
    durable: Durable
    limits: Limits
    publishers: Mapping[ProviderId, Publisher]
    clients: Mapping[ClientId, Client]
    policies: Policies
    clock: Clock
    entropy: Entropy
    ledger: LedgerWriter
    issuer: str
    subject_key: bytes
    posts_per_hour: int
    renew: Renew
    """Asks a provider for new tokens in place of those that have run out."""
    revoke: Revoke
    """Takes back at the provider, now, what was never kept here; never raises for the provider's failure."""
    pause: Pause = asyncio.sleep

    @property
    def networks(self) -> tuple[ProviderId, ...]:
        """Where posting is possible at all."""
        return tuple(self.publishers)

    def scopes(self, provider: ProviderId) -> tuple[str, ...]:
        """What must be granted there beyond signing in; empty where only the person can post."""
        return self._publisher(provider).scopes

    def asks(self, provider: ProviderId) -> tuple[str, ...]:
        """What is asked for there on opting in: `scopes`, and what makes the permission last."""
        publisher = self._publisher(provider)
        return (*publisher.scopes, *publisher.lasting)

    def lasts(self, provider: ProviderId) -> bool:
        """Whether what is asked for there is to outlive the visit."""
        return bool(self._publisher(provider).lasting)

    def needs_person(self, provider: ProviderId) -> bool:
        """Whether the network only offers its own window."""
        return self._publisher(provider).needs_person

    def _publisher(self, provider: ProviderId) -> Publisher:
        found = self.publishers.get(provider)
        if found is None:
            raise PostingNotPermitted(detail="no publisher for this provider")
        return found

    def _client(self, client_id: ClientId) -> Client:
        client = self.clients.get(client_id)
        if client is None or not (client.may_post and client.enabled):
            raise PostingNotPermitted(detail="client may not post")
        return client

    # --- opting in and out ----------------------------------------------------------------------------

    async def standing(self, account: AccountId, provider: ProviderId, client: ClientId) -> PostingOptIn | None:
        """The opt-in that stands now: a receipt, of a living account, for a provider that is still linked."""
        links = await self.durable.accounts.links(account)
        if not any(link.provider == provider for link in links):
            return None
        party = counterparty(provider, client)
        found = await self.durable.accounts.with_receipts(account, Purpose.POST_UPSTREAM, party)
        if found is None or found[0].status is not AccountStatus.ACTIVE:
            return None
        return opt_in(found[1], account, provider, client)

    async def switches(self, account: AccountId) -> tuple[PostingOptIn, ...]:
        """Every opt-in that stands, newest first."""
        return tuple(sorted(await self._standing_all(account), key=lambda one: one.since, reverse=True))

    async def _standing_all(self, account: AccountId) -> tuple[PostingOptIn, ...]:
        receipts = await self.durable.ledger.receipts(account, Purpose.POST_UPSTREAM)
        found = (opt_in(receipts, account, *pair) for pair in _pairs(receipts))
        return tuple(one for one in found if one is not None)

    async def check_may_opt_in(self, account: AccountId, provider: ProviderId, client: ClientId) -> Client:
        """The site, if there is anything to opt in to. Raises `PostingNotPermitted`, and `WayMissing` if all that is
        missing is that the person signs in that way, too.
        """
        self._publisher(provider)
        found = self._client(client)
        links = await self.durable.accounts.links(account)
        if not any(link.provider == provider for link in links):
            raise WayMissing(provider, detail="provider is not linked")
        return found

    async def allow(
        self,
        session: Session,
        provider: ProviderId,
        client_id: ClientId,
        *,
        tokens: UpstreamTokens | None,
        pressed_at: datetime,
        transaction: str,
        locale: str,
    ) -> None:
        """The person said yes on the opt-in page, and upstream where that is needed: receipt and token, together.

        A token that is not kept is taken back there, and so is the one that was kept until now. Raises `FreshSignInRequired`,
        `SignInRequired`, `PostingNotPermitted`, and `UpstreamUnavailable` if this very token was just being taken back there
        from an opt-in before.
        """

        async def once() -> None:
            account = await self.durable.accounts.load(session.account)  # before it is asked what may be
            if account is None:
                raise SignInRequired(detail="account gone")
            client = await self._check_allowed(session, provider, client_id, tokens, pressed_at)
            unit = self.durable.unit()
            # Before whatever else holds the account, so that of two at once one waits, and not each for the other.
            replaced = await self._replace(unit, account, provider, tokens)
            self._decided(
                unit,
                session.account,
                provider,
                client,
                accepted=True,
                transaction=transaction,
                sid=session.sid,
                locale=locale,
            )
            subject = subject_for(account.number_for(client_id, client.subject_sector), client, self.subject_key)
            unit.add_posting_subject(session.account, client_id, subject)
            await self.commit(unit, replaced)

        try:
            await self._once_settled(once, provider, tokens)
        except BaseException:
            await self.give_back(session.account, provider, tokens)
            raise

    async def _once_settled(
        self, keep: Callable[[], Awaitable[None]], provider: ProviderId, tokens: UpstreamTokens | None
    ) -> None:
        """Keep tokens which nobody takes back in this moment: what was not ended there by that is theirs to keep."""
        for _ in range(LOOKS):
            try:
                return await anew(keep)
            except Conflict as conflict:
                if conflict.what != "under_way" or tokens is None:
                    raise
            await self.pause(BETWEEN)
            if not await self._goes_back(provider, tokens):
                break
        raise UpstreamUnavailable(detail="these tokens were just taken back there")

    async def _goes_back(self, provider: ProviderId, tokens: UpstreamTokens) -> bool:
        """Whether something is on its way that would end these."""
        for payload in payloads_ending(provider, tokens):
            *_, (key, value) = payload.items()
            pending = await self.durable.outbox.pending(key, value)
            if any(one.kind == TAKE_BACK and payload.items() <= one.payload.items() for one in pending):
                return True
        return False

    async def _replace(
        self, unit: UnitOfWork, whose: Account, provider: ProviderId, tokens: UpstreamTokens | None
    ) -> Ended:
        """Queue what is kept from now on; what was until then. Nothing where only the person can post."""
        if not self.scopes(provider) or tokens is None:
            return NOTHING
        account = whose.id
        unit.save_account(whose)  # as it is: of two who turn it on in the same moment, one sees what the other kept
        opted = await self._any_standing(account, provider)
        stopped = await self._renewing.take(permit_to_take_back(opted, account, self.clock.now())) if opted else None
        unit.save_upstream_tokens(account, provider, tokens)
        for payload in payloads_ending(provider, tokens):  # some networks give the same again while it waits to go back
            unit.call_off(TAKE_BACK, payload, self.clock.now())
        if stopped is None:
            return NOTHING
        if stopped.tokens is not None and not stopped.tokens.lives_on_in(tokens):
            self._take_back(unit, provider, stopped.tokens)
        return Ended(stopped=(stopped,))

    async def give_back(self, account: AccountId, provider: ProviderId, tokens: UpstreamTokens | None) -> None:
        """Take back at the provider, now, what came for this account's posting and is not kept."""
        if not await self.keeps(account, provider, tokens):
            await self.revoke(provider, tokens)

    async def keeps(self, account: AccountId, provider: ProviderId, tokens: UpstreamTokens | None) -> bool:
        """Whether taking these tokens back would end what the account's posting hangs on."""
        return tokens is not None and tokens.lives_on_in(await self._held(account, provider))

    async def _held(self, account: AccountId, provider: ProviderId) -> UpstreamTokens | None:
        """What is kept now; nothing where nobody can tell."""
        with suppress(StoreUnavailable):
            opted = await self._any_standing(account, provider)
            if opted is not None:
                return await self._renewing.held(permit_to_take_back(opted, account, self.clock.now()))
        return None

    def _take_back(self, unit: UnitOfWork, provider: ProviderId, tokens: UpstreamTokens) -> None:
        """What nobody holds here from this unit of work on ends there: soon, however long the network is away."""
        now = self.clock.now()
        unit.enqueue(
            Delivery(
                id=self.entropy.token(12),
                kind=TAKE_BACK,
                client=ClientId(""),
                payload=payload_of(provider, tokens),
                created_at=now,
                due_at=now,
            )
        )

    async def commit(self, unit: UnitOfWork, *ended: Ended) -> None:
        """Commit what ends or replaces tokens. If that fails they are kept as they were, and can be renewed at once."""
        try:
            await unit.commit()
        except BaseException:
            await self._resume(*ended)
            raise

    async def _resume(self, *ended: Ended) -> None:
        for one in ended:
            for stopped in one.stopped:
                with suppress(BrokerError):  # then they are in `STOPPED_FOR`
                    await self._renewing.go_on(stopped)

    async def _check_allowed(
        self,
        session: Session,
        provider: ProviderId,
        client_id: ClientId,
        tokens: UpstreamTokens | None,
        pressed_at: datetime,
    ) -> Client:
        if needs_fresh_sign_in(session, pressed_at):
            raise FreshSignInRequired(detail="posting opt-in")
        client = await self.check_may_opt_in(session.account, provider, client_id)
        wanted = set(self.scopes(provider))
        if wanted and (tokens is None or not wanted <= tokens.scopes):
            raise PostingNotPermitted(detail="posting was not granted upstream")
        return client

    async def refuse(
        self, session: Session, provider: ProviderId, client_id: ClientId, *, transaction: str, locale: str
    ) -> None:
        """The person left posting off: recorded, and changes nothing that stood before."""
        client = self._client(client_id)
        unit = self.durable.unit()
        self._decided(
            unit,
            session.account,
            provider,
            client,
            accepted=False,
            transaction=transaction,
            sid=session.sid,
            locale=locale,
        )
        await unit.commit()

    def _decided(
        self,
        unit: UnitOfWork,
        account: AccountId,
        provider: ProviderId,
        client: Client,
        *,
        accepted: bool,
        transaction: str,
        sid: Sid,
        locale: str,
    ) -> ConsentReceipt:
        return self.ledger.receipt(
            unit,
            account=account,
            purpose=Purpose.POST_UPSTREAM,
            counterparty=counterparty(provider, client.client_id),
            shown=(POST,),
            accepted=(POST,) if accepted else (),
            refused=() if accepted else (POST,),
            versions={POST: LASTING_WORDING if self.lasts(provider) else WORDING},
            counterparty_version=client.version,
            notice_version=self._notice(),
            preview_digest="",
            transaction=transaction,
            sid=sid,
            locale=locale,
            denied=not accepted,
        )

    async def turn_off(self, session: Session, provider: ProviderId, client: ClientId, *, locale: str) -> None:
        """Withdraw: receipt, token and everything still waiting, in one unit of work; upstream soon. Off stays off."""

        async def once() -> None:
            unit = self.durable.unit()
            ended = await self.queue_end(
                unit, session.account, sid=session.sid, locale=locale, client=client, provider=provider
            )
            await self.commit(unit, ended)

        await anew(once)

    async def queue_end(
        self,
        unit: UnitOfWork,
        account: AccountId,
        *,
        sid: Sid | None,
        locale: str,
        client: ClientId | None = None,
        provider: ProviderId | None = None,
        is_over_there: bool = False,
    ) -> Ended:
        """Queue the withdrawal of every opt-in that matches, for whoever ends what it hung on. What this returns is for `commit`,
        which is done `anew` where one `client` is named: others may hang on the same tokens.

        `is_over_there`: the network ended it, so that nothing is left to take back.
        """
        now = self.clock.now()
        if client is not None and (found := await self.durable.accounts.load(account)) is not None:
            unit.save_account(found)  # as it is: of two who turn the last ones off in the same moment, one sees that
        standing = await self._standing_all(account)
        ending = [one for one in standing if client in (None, one.client) and provider in (None, one.provider)]
        staying = [one for one in standing if one not in ending]
        receipts = await self.durable.ledger.receipts(account, Purpose.POST_UPSTREAM)
        by_id = {receipt.id: receipt for receipt in receipts}
        for one in ending:
            self.ledger.withdraw(unit, by_id[one.receipt], sid=sid, locale=locale, notice_version=self._notice())
        if not ending:
            return NOTHING
        unit.cancel_postings(account, now, client=client, provider=provider)
        for gone in {one.client for one in ending} - {one.client for one in staying}:
            unit.drop_posting_subject(account, gone)
        stopped = []
        for network in sorted({one.provider for one in ending} - {one.provider for one in staying}):
            key = permit_to_take_back(next(one for one in ending if one.provider == network), account, now)
            held = await self._renewing.stop(key)
            stopped.append(held)
            unit.drop_upstream_tokens(account, network)
            if held.tokens is not None and not is_over_there:
                self._take_back(unit, network, held.tokens)
        return Ended(stopped=tuple(stopped))

    # --- a site asks ----------------------------------------------------------------------------------

    async def ask(self, client: Client, asked: Asked) -> Posting:
        """Keep one message for the person to look at.

        Raises `InvalidRequest`, `TooManyAttempts`, or `PostingNotPermitted`: the same whether the person is unknown, has
        not opted in, or the site or the network may not post at all.
        """
        self._check_asked(client, asked)
        await self._limit(f"posting-site:{client.client_id}", ASKS_PER_SITE * self.posts_per_hour)
        await self._limit(f"posting-ask:{client.client_id}:{asked.subject}", ASKS_PER_POST * self.posts_per_hour)
        account = await self.durable.postings.account_of(client.client_id, asked.subject)
        opted = await self.standing(account, asked.provider, client.client_id) if account is not None else None
        if account is None or opted is None or asked.provider not in self.publishers:
            raise PostingNotPermitted(detail="no opt-in standing")
        now = self.clock.now()
        posting_id = self.entropy.token(16)
        back = f"{self.issuer}/posting/{posting_id}/returned?{urlencode({KEY: self.entropy.token(16)})}"
        message = Message(text=asked.text, url=asked.url, return_url=back, idempotency_key=self.entropy.token(16))
        permit(opted, client, account, message, now)
        posting = Posting(
            id=posting_id,
            account=account,
            provider=asked.provider,
            client=client.client_id,
            message=message,
            return_to=asked.return_to,
            state=PostState.ASKED,
            created_at=now,
            expires_at=now + ASKED_LIFETIME,
            receipt=opted.receipt,
        )
        unit = self.durable.unit()
        unit.add_posting(posting)
        try:
            await unit.commit()
        except Conflict as conflict:  # the account was closed just now
            raise PostingNotPermitted(detail="account gone") from conflict
        return posting

    def _check_asked(self, client: Client, asked: Asked) -> None:
        problem = message_problem(asked.text, asked.url)
        if problem is not None:
            raise InvalidRequest(detail=problem, public=problem)
        if not is_of_site(client, asked.return_to):
            raise InvalidRequest(detail="return_to", public="return_to is not an address of this site.")
        publisher = self.publishers.get(asked.provider)
        if publisher is not None and publisher.needs_person and asked.url is None:
            raise InvalidRequest(detail="url", public="This network's window shares an address: send url.")

    async def _limit(self, key: str, limit: int) -> None:
        wait = await self.limits.hit(key, limit=limit, window=HOUR, now=self.clock.now())
        if wait:
            raise TooManyAttempts(wait, detail=key.partition(":")[0])

    # --- the person decides ---------------------------------------------------------------------------

    async def load(self, account: AccountId, posting_id: str) -> Posting:
        """The person's own posting as it stands now. Raises `NotFound` for anybody else's."""
        posting = await self.durable.postings.load(posting_id)
        if posting is None or posting.account != account:
            raise NotFound(detail="no such posting of this account")
        return await self._settled(posting)

    async def recent(self, account: AccountId) -> tuple[Posting, ...]:
        """The last postings, newest first."""
        return tuple([await self._settled(posting) for posting in await self.durable.postings.recent(account)])

    async def _settled(self, posting: Posting) -> Posting:
        """Time has its say: asked too long ago, or by a site that may not post any more, is cancelled (catalogue 194);
        on its way for too long is unknown.
        """
        now = self.clock.now()
        if posting.state is PostState.ASKED and (now >= posting.expires_at or not self._is_possible(posting)):
            await self._move(posting, PostState.CANCELLED)
            return await self._again(posting)
        if posting.state is PostState.SENDING and now - await self._handed_over_at(posting) > SENDING_AT_MOST:
            await self._move(posting, PostState.UNKNOWN)
            return await self._again(posting)
        return posting

    def _is_possible(self, posting: Posting) -> bool:
        client = self.clients.get(posting.client)
        return client is not None and client.may_post and client.enabled and posting.provider in self.publishers

    async def _handed_over_at(self, posting: Posting) -> datetime:
        receipts = await self.durable.ledger.receipts(
            posting.account, Purpose.POST_UPSTREAM, one_post(posting.provider, posting.client)
        )
        times = [receipt.decided_at for receipt in receipts if receipt.transaction == posting.id]
        return max(times, default=posting.created_at)

    async def decline(self, session: Session, posting_id: str, *, locale: str) -> Posting:
        """Do not post. Once decided it stays decided."""
        posting = await self.load(session.account, posting_id)
        if posting.state is not PostState.ASKED:
            return posting
        unit = self.durable.unit()
        self._decided_once(unit, posting, accepted=False, sid=session.sid, locale=locale)
        await self._move(posting, PostState.DECLINED, unit)
        return await self._again(posting)

    async def post(self, session: Session, posting_id: str, *, shown: str, locale: str) -> Sent:
        """Post exactly what was shown, once. Raises `NotFound`, `PostingNotPermitted`, `TooManyAttempts`.

        Whoever comes second, and whoever comes too late, gets what became of it and nothing is sent.
        """
        posting = await self.load(session.account, posting_id)
        if posting.state is not PostState.ASKED:
            return Sent(posting=posting)
        if shown != posting.message.digest:
            raise PostingNotPermitted(detail="message differs from the one shown")
        await self._permit(posting)
        await self._limit(f"posting-person:{posting.account}", self.posts_per_hour)
        unit = self.durable.unit()
        self._decided_once(unit, posting, accepted=True, sid=session.sid, locale=locale)
        if not await self._move(posting, PostState.SENDING, unit):
            return Sent(posting=await self._again(posting))
        return await self._hand_over(replace(posting, state=PostState.SENDING))

    async def _permit(self, posting: Posting) -> PostingPermit:
        """Permission as things stand now. What is not permitted any more is cancelled before anybody is told."""
        try:
            self._publisher(posting.provider)
            opted = await self.standing(posting.account, posting.provider, posting.client)
            return permit(opted, self._client(posting.client), posting.account, posting.message, self.clock.now())
        except PostingNotPermitted as refusal:
            await self._move(posting, PostState.CANCELLED)
            raise Withdrawn(refusal.detail) from refusal

    async def _hand_over(self, posting: Posting) -> Sent:
        """Everything is asked anew here, the opt-in last: a withdrawal that came in between stops the post (catalogue 190)."""
        publisher = self.publishers[posting.provider]
        try:
            outcome = await self._publish(posting, publisher)
        except Withdrawn:
            raise
        except (PostingNotPermitted, GrantOver) as refusal:
            return await self._refused_upstream(posting, publisher, refusal)
        except UpstreamError as problem:  # they certainly did not take it
            return replace(await self._settle(posting, PostState.FAILED), problem=problem)
        except BaseException:  # cut off: it may be there, it may not
            await self._move(posting, PostState.UNKNOWN)
            raise
        match outcome:
            case Posted():
                return await self._settle(
                    posting, PostState.POSTED, remote_id=outcome.remote_id, remote_url=outcome.url
                )
            case NeedsPerson():
                return replace(await self._settle(posting, PostState.NEEDS_PERSON), window=outcome.url)
            case PostUnknown():
                return await self._settle(posting, PostState.UNKNOWN)
            case other:
                assert_never(other)

    @property
    def _renewing(self) -> Renewing:
        return Renewing(durable=self.durable, clock=self.clock, renew=self.renew, revoke=self.revoke, pause=self.pause)

    async def _publish(self, posting: Posting, publisher: Publisher) -> Posted | NeedsPerson | PostUnknown:
        """Hand it over; with new tokens where these have run out, or the network says so, which has not taken it then.

        The permit is asked for anew each time, as much may have happened while tokens were renewed.
        """
        granted = await self._permit(posting)
        token = await self._renewing.usable(granted) if publisher.scopes else None
        try:
            return await publisher.publish(await self._permit(posting), posting.message, token)
        except TokenOver:
            fresh = None if token is None else await self._renewing.anew(await self._permit(posting), token)
            if fresh is None:
                raise
        return await publisher.publish(await self._permit(posting), posting.message, fresh)

    async def _refused_upstream(self, posting: Posting, publisher: Publisher, refusal: BrokerError) -> Sent:
        """The network no longer lets us: the opt-in is off, so that nobody tries again and again (catalogue 193).

        What is erased here is taken back there, too, unless it is known to be good no more: it may outlive this refusal.
        """
        unit, ended = self.durable.unit(), NOTHING
        is_dead = isinstance(refusal, GrantOver) and not isinstance(refusal, NotRenewed)
        if publisher.scopes:
            ended = await self.queue_end(
                unit, posting.account, sid=None, locale="", provider=posting.provider, is_over_there=is_dead
            )
        was_ours = False
        try:
            was_ours = await self._move(posting, PostState.FAILED, unit)
        finally:
            if not was_ours:
                await self._resume(ended)
        return Sent(posting=await self._again(posting), problem=refusal)

    async def returned(self, posting_id: str, key: str, *, cancelled: bool) -> Posting:
        """The network's window sends the person back. Raises `NotFound` unless it is that window's own address."""
        posting = await self.durable.postings.load(posting_id)
        if posting is None or not key or not hmac.compare_digest(key.encode(), _key_of(posting).encode()):
            raise NotFound(detail="no such posting, or not its window")
        if cancelled and posting.state is PostState.NEEDS_PERSON:
            await self._move(posting, PostState.CANCELLED)
        return await self._again(posting)

    async def undo(self, session: Session, posting_id: str) -> bool:
        """Delete a post there. Whether it is gone; `False` if only the person can do it."""
        posting = await self.load(session.account, posting_id)
        if posting.state is PostState.UNDONE:
            return True
        publisher = self.publishers.get(posting.provider)
        opted = await self._any_standing(posting.account, posting.provider)
        if publisher is None or opted is None or posting.state is not PostState.POSTED or posting.remote_id is None:
            return False
        key = permit_to_take_back(opted, posting.account, self.clock.now())
        try:
            token = await self._renewing.usable(key) if publisher.scopes else None
            gone = await publisher.undo(key, posting.remote_id, token)
        except (UpstreamError, PostingNotPermitted):
            return False
        if gone:
            await self._move(posting, PostState.UNDONE)
        return gone

    def can_undo(self, posting: Posting, switches: tuple[PostingOptIn, ...]) -> bool:
        """Whether "Delete there" can do anything."""
        publisher = self.publishers.get(posting.provider)
        is_there = posting.state is PostState.POSTED and posting.remote_id is not None
        return is_there and publisher is not None and any(one.provider == posting.provider for one in switches)

    async def _any_standing(self, account: AccountId, provider: ProviderId) -> PostingOptIn | None:
        return next((one for one in await self.switches(account) if one.provider == provider), None)

    # --- states ---------------------------------------------------------------------------------------

    async def _move(
        self,
        posting: Posting,
        state: PostState,
        unit: UnitOfWork | None = None,
        *,
        remote_id: str | None = None,
        remote_url: str | None = None,
    ) -> bool:
        """One step, together with what else is in the unit. Whether it was ours to take: of any number one wins."""
        unit = unit or self.durable.unit()
        unit.move_posting(
            posting.id,
            expected=posting.state,
            state=state,
            now=self.clock.now(),
            remote_id=remote_id,
            remote_url=remote_url,
        )
        try:
            await unit.commit()
        except Conflict:
            return False
        return True

    async def _settle(
        self, posting: Posting, state: PostState, *, remote_id: str | None = None, remote_url: str | None = None
    ) -> Sent:
        await self._move(posting, state, remote_id=remote_id, remote_url=remote_url)
        return Sent(posting=await self._again(posting))

    async def _again(self, posting: Posting) -> Posting:
        """As it stands now; gone with its account, it was cancelled."""
        return await self.durable.postings.load(posting.id) or replace(posting, state=PostState.CANCELLED)

    def _decided_once(self, unit: UnitOfWork, posting: Posting, *, accepted: bool, sid: Sid, locale: str) -> None:
        """The record of one yes or no to one post. Under a name of its own: it grants nothing beyond this post."""
        self.ledger.receipt(
            unit,
            account=posting.account,
            purpose=Purpose.POST_UPSTREAM,
            counterparty=one_post(posting.provider, posting.client),
            shown=(THIS_POST,),
            accepted=(THIS_POST,) if accepted else (),
            refused=() if accepted else (THIS_POST,),
            versions={THIS_POST: WORDING},
            notice_version=self._notice(),
            preview_digest="",
            transaction=posting.id,
            sid=sid,
            locale=locale,
            denied=not accepted,
        )

    def _notice(self) -> str:
        return notice_version(self.policies, self.clock.now().date())


def is_of_site(client: Client, address: str) -> bool:
    """Whether this is an address of the site's own: where it may send a person back to (never an open redirect)."""
    try:
        origin = urlsplit(address)[:2]
        ours = {urlsplit(uri)[:2] for uri in (client.url, *client.redirect_uris)}
    except ValueError:
        return False
    return is_address(address) and origin in ours


def _key_of(posting: Posting) -> str:
    return parse_qs(urlsplit(posting.message.return_url).query).get(KEY, [""])[0]


def _pairs(receipts: tuple[ConsentReceipt, ...]) -> list[tuple[ProviderId, ClientId]]:
    found = (parties(receipt.counterparty) for receipt in receipts)
    return list(dict.fromkeys(pair for pair in found if pair is not None))
