"""What a person does about their own account: see, correct, stop sharing, disconnect, close."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from broker.domain.account import (
    Account,
    Link,
    ProfileValue,
    Source,
    check_may_unlink,
    user_name_problem,
)
from broker.domain.audit import Act, Action
from broker.domain.claims import EMAIL, PICTURE, PREFERRED_USERNAME, read_typed, words_of
from broker.domain.client import Client
from broker.domain.consent import ConsentReceipt, Purpose, Standing, standing
from broker.domain.events import SecurityEvent
from broker.domain.letters import Letter
from broker.domain.mail_code import mail_link
from broker.domain.policy import FieldPolicy, Policies, Use, needs_agreement, notice_version
from broker.domain.ports import Clock, Durable, Limits, UnitOfWork
from broker.domain.session import Session, needs_fresh_sign_in
from broker.domain.staff import change_problem
from broker.domain.values import AccountId, ClaimName, ClientId, ProviderId, Sid
from broker.errors import (
    Conflict,
    FormInvalid,
    FreshSignInRequired,
    LastLink,
    LastOwner,
    NotFound,
    SignInRequired,
    TooManyAttempts,
)
from broker.flows.address import AddressFlow
from broker.flows.anew import anew
from broker.flows.audit import AuditTrail
from broker.flows.events import At, everywhere
from broker.flows.ledger import LedgerWriter
from broker.flows.posting import NOTHING, Ended, PostingGate
from broker.flows.session import SessionFlow

_PROBLEMS: Final = {"user_name": "taken", "last_link": "only_way"}
RENAMES_PER_DAY: Final = 10
"""Of one account's user name, those included that met a taken one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedSite:
    """A site that gets something now."""

    client: Client
    standing: Standing


def _is_same(claim: ClaimName, held: ProfileValue | None, value: str, text: str) -> bool:
    """Whether nothing new was typed, also where a value is kept in parts and shown on one line."""
    return held is not None and (held.value == value or words_of(claim, held.value) == text.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFlow:
    durable: Durable
    sessions: SessionFlow
    ledger: LedgerWriter
    clients: Mapping[ClientId, Client]
    fields: Mapping[ClaimName, FieldPolicy]
    policies: Policies
    newsletters: frozenset[str]
    limits: Limits
    trail: AuditTrail
    clock: Clock
    address: AddressFlow | None = None
    """Tells an address that an account does not use it any more; `None` where nobody is written to."""
    opens: Callable[[Link], bool] = lambda _link: True
    """Whether a way to sign in is switched on here."""
    posting: PostingGate | None = None
    """Ends what posting hung on a link, a site or the account; `None` where nothing can be posted anyway."""

    async def load(self, account: AccountId) -> Account:
        """Raises `SignInRequired` if it is gone."""
        found = await self.durable.accounts.load(account)
        if found is None:
            raise SignInRequired(detail="account gone")
        return found

    def check_fresh(self, session: Session) -> None:
        """Raises `FreshSignInRequired` unless the person proved who they are minutes ago (decision 26)."""
        if needs_fresh_sign_in(session, self.clock.now()):
            raise FreshSignInRequired

    async def has_agreed(self, account_id: AccountId) -> bool:
        """Whether the terms and privacy notice now in force are agreed to."""
        account = await self.load(account_id)
        return not needs_agreement(account.agreed_notice, self.policies, self.clock.now().date())

    async def agree(self, account_id: AccountId) -> None:
        """The person agreed to the terms and privacy notice now in force."""
        await self._rewrite(account_id, lambda account: replace(account, agreed_notice=self._notice()))

    async def change(self, account_id: AccountId, claim: ClaimName, text: str) -> bool:
        """Correct one field; empty text removes an optional one. A typed value is nobody's word but the person's.

        Whether codes by e-mail let in no more: they went to the address that was changed. Raises `FormInvalid` too if
        they are the only way in (`only_way`).

        Raises `FormInvalid` (`bad_value`, `missing`, `taken`, `not_editable` or a code of `user_name_problem`) and
        `TooManyAttempts` (a user name was changed too often today).
        """
        policy = self.fields.get(claim)
        if claim != PREFERRED_USERNAME and (policy is None or policy.use is Use.NEVER or not policy.editable):
            raise FormInvalid({claim: "not_editable"})
        return await anew(lambda: self._change(account_id, claim, text, policy))

    async def _change(self, account_id: AccountId, claim: ClaimName, text: str, policy: FieldPolicy | None) -> bool:
        account = await self.load(account_id)
        profile = dict(account.profile)
        needed = claim == PREFERRED_USERNAME or (policy is not None and policy.use is Use.NEEDED)
        value = read_typed(claim, text)
        if value is None:
            if text.strip() or needed:
                raise FormInvalid({claim: "bad_value" if text.strip() else "missing"})
            profile.pop(claim, None)
        elif not _is_same(claim, profile.get(claim), value, text):
            if claim == PREFERRED_USERNAME and (problem := user_name_problem(value)) is not None:
                raise FormInvalid({claim: problem})
            if claim == PREFERRED_USERNAME:
                await self._count_rename(account_id)
            profile[claim] = ProfileValue(value=value, source=Source.PERSON)
        unit = self.durable.unit()
        unit.save_account(account.with_profile(profile, self.clock.now()))
        if claim == PICTURE:  # it can be removed and nothing else
            unit.drop_picture(account_id)
        codes = None
        if claim == EMAIL and profile.get(EMAIL) != account.profile.get(EMAIL):
            codes = mail_link(await self.durable.accounts.links(account_id))
            if codes is not None:
                unit.remove_link(account_id, codes.id)
            if self.address is not None:
                self.address.changed(unit, account, codes)
        try:
            await unit.commit()
        except Conflict as conflict:
            if conflict.what not in _PROBLEMS:
                raise
            raise FormInvalid({claim: _PROBLEMS[conflict.what]}) from conflict
        return codes is not None

    async def _count_rename(self, account: AccountId) -> None:
        """A name given up stays reserved, so nobody may collect them. Raises `TooManyAttempts`."""
        wait = await self.limits.hit(f"renames:{account}", limit=RENAMES_PER_DAY, window=86_400, now=self.clock.now())
        if wait:
            raise TooManyAttempts(wait, detail="changes of a user name")

    async def set_newsletters(self, account_id: AccountId, chosen: frozenset[str]) -> None:
        """Exactly these lists, of those there are."""
        lists = tuple(sorted(chosen & self.newsletters))
        await self._rewrite(account_id, lambda account: replace(account, newsletters=lists))

    async def set_locale(self, account_id: AccountId, locale: str) -> None:
        """The language of our pages for this person."""
        await self._rewrite(account_id, lambda account: replace(account, locale=locale))

    async def _rewrite(self, account_id: AccountId, change: Callable[[Account], Account]) -> None:
        """One change, over whatever else is changed at the same moment."""

        async def once() -> None:
            unit = self.durable.unit()
            unit.save_account(change(await self.load(account_id)))
            await unit.commit()

        await anew(once)

    # --- ways to sign in ------------------------------------------------------------------------------

    async def unlink(self, session: Session, link_id: str) -> Link:
        """Remove a way to sign in. Raises `LastLink`, `NotFound`, `FreshSignInRequired`.

        Every other session ends: whoever used that way is out (catalogue 110).
        """
        self.check_fresh(session)
        link = await anew(lambda: self._unlink(session, link_id))
        await self.sessions.sign_out_everywhere(session.account, keep=session.sid)
        return link

    async def _unlink(self, session: Session, link_id: str) -> Link:
        links = await self.durable.accounts.links(session.account)
        try:
            link = check_may_unlink(links, link_id, self.opens)
        except KeyError as error:
            raise NotFound(detail="no such link on this account") from error
        account = await self.load(session.account)
        unit = self.durable.unit()
        unit.save_account(account)  # as it is: posting is not turned on by this way in the same moment
        unit.remove_link(session.account, link.id)
        unit.drop_upstream_tokens(session.account, link.provider)
        unit.cancel_postings(session.account, self.clock.now(), provider=link.provider)
        ended = await self._end_posting(unit, session.account, session.sid, provider=link.provider)
        if self.address is not None:
            self.address.letters.tell(
                unit, account, Letter.WAY_REMOVED, self.address.letters.naming(link.provider, link.key)
            )
        await self.sessions.tell_of_ways(unit, session.account, "revoke", link)
        try:
            await self._commit(unit, ended)
        except Conflict as conflict:
            if conflict.what == "stale":
                raise
            raise LastLink(detail="two removals at once") from conflict
        return link

    # --- connected sites ------------------------------------------------------------------------------

    async def sites(self, account: AccountId) -> tuple[ConnectedSite, ...]:
        """Sites that stand connected, newest first."""
        receipts = await self.durable.ledger.receipts(account, Purpose.SHARE_WITH_CLIENT)
        connected = []
        for client_id in dict.fromkeys(receipt.counterparty for receipt in reversed(receipts)):
            client = self.clients.get(ClientId(client_id))
            now = standing(receipt for receipt in receipts if receipt.counterparty == client_id)
            if client is not None and now.receipt is not None:
                connected.append(ConnectedSite(client=client, standing=now))
        return tuple(connected)

    async def stop_sharing(self, session: Session, client_id: ClientId, claim: ClaimName, *, locale: str) -> None:
        """Withdraw one field from one site: its tokens die now, and it is told. Raises `NotFound`."""
        client, _, now = await self._site(session.account, client_id)
        version = now.granted.get(claim)
        if version is None:
            raise NotFound(detail="claim is not shared with this site")
        unit = self.durable.unit()
        self.ledger.receipt(
            unit,
            account=session.account,
            purpose=Purpose.SHARE_WITH_CLIENT,
            counterparty=client_id,
            counterparty_name=client.name,
            shown=(claim,),
            accepted=(),
            refused=(claim,),
            versions={claim: version},
            scopes=now.scopes,
            counterparty_version=client.version,
            notice_version=self._notice(),
            preview_digest="",
            transaction="",
            sid=session.sid,
            locale=locale,
        )
        await self._end_grants(unit, session.account, client_id)

    async def disconnect(self, session: Session, client_id: ClientId, *, locale: str) -> None:
        """Withdraw everything from one site: its tokens die now, it is told, and next time it must ask anew."""
        await anew(lambda: self._disconnect(session, client_id, locale))

    async def _disconnect(self, session: Session, client_id: ClientId, locale: str) -> None:
        _, receipts, now = await self._site(session.account, client_id)
        unit = self.durable.unit()
        newest = next(receipt for receipt in receipts if receipt.id == now.receipt)
        self.ledger.withdraw(unit, newest, sid=session.sid, locale=locale, notice_version=self._notice())
        ended = await self._end_posting(unit, session.account, session.sid, client=client_id, locale=locale)
        # After the account, as whoever closes it does.
        unit.cancel_postings(session.account, self.clock.now(), client=client_id)
        await self.sessions.forget_at(unit, session.account, client_id)
        await self._end_grants(unit, session.account, client_id, ended)

    async def _site(
        self, account: AccountId, client_id: ClientId
    ) -> tuple[Client, tuple[ConsentReceipt, ...], Standing]:
        client = self.clients.get(client_id)
        receipts = await self.durable.ledger.receipts(account, Purpose.SHARE_WITH_CLIENT, client_id)
        now = standing(receipts)
        if client is None or now.receipt is None:
            raise NotFound(detail="site is not connected")
        return client, receipts, now

    async def _end_grants(
        self, unit: UnitOfWork, account: AccountId, client_id: ClientId, ended: Ended = NOTHING
    ) -> None:
        grants = await self.durable.grants.of_account(account, client=client_id)
        unit.revoke_grants(account, self.clock.now(), client=client_id)
        await self.sessions.tell(unit, grants)
        await self._commit(unit, ended)

    # --- devices --------------------------------------------------------------------------------------

    async def end_device(self, session: Session, sid: Sid) -> None:
        """Sign one device out; from another one, what it let sites have for good ends too: somebody is wanted out.

        Raises `NotFound` if it is not one of the person's.
        """
        for other in await self.sessions.sessions.of_account(session.account, self.clock.now()):
            if other.sid == sid:
                await self.sessions.sign_out(other, keep_offline=other.sid == session.sid)
                return
        raise NotFound(detail="no such device of this account")

    # --- closing --------------------------------------------------------------------------------------

    async def close(self, session: Session) -> None:
        """Erase the account: profile, links, tokens, pending work; end every session; tell every site.

        Records of decisions and disclosures stay, under an id that means nothing to anybody any more; that id and the
        user name are never given to anyone again. Raises `FreshSignInRequired`, and `LastOwner` for who alone runs the service.
        """
        self.check_fresh(session)
        await anew(lambda: self._close(session.account, session.sid))

    async def _close(self, account: AccountId, sid: Sid) -> None:
        role = await self.durable.staff.role(account)
        if role is None:
            await self.erase(account, sid=sid)
            return
        # The entry comes before the look at who there is: of two owners who close at once, one is overtaken and looks again.
        act = Act(by=f"{account} ({role})", why="closed their account")
        beside = await self.trail.prepared(Action.ROLE_TAKEN, f"{account} {role}", act)
        if change_problem(await self.durable.staff.all(), account, None) == "last_owner":
            raise LastOwner(detail="the only owner closes their account")
        await self.erase(account, sid=sid, beside=beside)

    async def erase(
        self, account: AccountId, *, sid: Sid | None = None, beside: Callable[[UnitOfWork], None] | None = None
    ) -> None:
        """The same by whoever may decide it. `beside` adds to the unit of work, so that both happen or neither.

        Raises `Conflict("stale")` if somebody else changed the account meanwhile.
        """
        found = await self.durable.accounts.load(account)
        unit = self.durable.unit()
        if beside is not None:
            beside(unit)
        if found is not None:
            unit.save_account(found)  # as it is: what is turned on in the same moment would be ended nowhere
        ended = await self.queue_erasure(unit, account, sid=sid)
        await self._commit(unit, ended)
        await self.erased(account)

    async def queue_erasure(
        self, unit: UnitOfWork, account: AccountId, *, sid: Sid | None, at: At = everywhere
    ) -> Ended:
        """Queue the whole of it, for a unit of work that does more. What this returns is for `PostingGate.commit`, and then for `erased`.

        `at`: the sites that are told so: not those where the account's number stays somebody's.
        """
        now = self.clock.now()
        grants = await self.durable.grants.of_account(account)
        unit.cancel_postings(account, now)
        ended = await self._end_posting(unit, account, sid)
        unit.revoke_grants(account, now)
        await self.sessions.tell(unit, grants)
        await self.sessions.tell_of(unit, SecurityEvent.ACCOUNT_PURGED, account, at=at)
        await self.sessions.forget(unit, account, at)
        unit.erase_account(account, now)
        return ended

    async def erased(self, account: AccountId) -> None:
        """What is left to do once an erasure is committed: its sessions end."""
        await self.sessions.sessions.end_all(account)
        if self.address is not None:
            await self.address.forget(account)

    async def _end_posting(
        self,
        unit: UnitOfWork,
        account: AccountId,
        sid: Sid | None,
        *,
        client: ClientId | None = None,
        provider: ProviderId | None = None,
        locale: str = "",
    ) -> Ended:
        if self.posting is None:
            return NOTHING
        return await self.posting.queue_end(unit, account, sid=sid, locale=locale, client=client, provider=provider)

    async def _commit(self, unit: UnitOfWork, ended: Ended) -> None:
        await (unit.commit() if self.posting is None else self.posting.commit(unit, ended))

    def _notice(self) -> str:
        return notice_version(self.policies, self.clock.now().date())
