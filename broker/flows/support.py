"""What the people who run the service do about an account: look at it, put it on hold, let it go on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from broker.domain.account import Account, AccountStatus, user_name_key
from broker.domain.audit import Act, Action
from broker.domain.claims import email_key
from broker.domain.events import SecurityEvent
from broker.domain.ports import Durable
from broker.domain.values import AccountId
from broker.errors import NotFound
from broker.flows.anew import anew
from broker.flows.audit import AuditTrail
from broker.flows.session import SessionFlow


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSupport:
    durable: Durable
    sessions: SessionFlow
    trail: AuditTrail

    async def find(self, name: str) -> Account:
        """By the account's id, by user name, or by an address proved to be theirs. Raises `NotFound`.

        The id comes first: most ids could be user names, and nobody may take somebody else's by taking that name.
        """
        accounts = self.durable.accounts
        found = await accounts.load(AccountId(name)) or await (
            accounts.by_email(email_key(name)) if "@" in name else accounts.by_user_name(user_name_key(name))
        )
        if found is None:
            raise NotFound(detail="no such account")
        return found

    async def hold(self, account: Account, act: Act) -> bool:
        """Nobody signs in to it, every browser and site is signed out; nothing of it is lost. Whether it was not on hold.

        The state is changed first: a sign-in that is on its way meets either the state or the end of its session.
        """
        changed = await self._set(account, AccountStatus.HELD, act)
        await self.sessions.sign_out_everywhere(account.id)
        return changed

    async def release(self, account: Account, act: Act) -> bool:
        """Let its owner sign in again. Whether it was on hold."""
        return await self._set(account, AccountStatus.ACTIVE, act)

    async def _set(self, account: Account, status: AccountStatus, act: Act) -> bool:
        return await anew(lambda: self._set_over(account.id, status, act))

    async def _set_over(self, account_id: AccountId, status: AccountStatus, act: Act) -> bool:
        account = await self.durable.accounts.load(account_id)
        if account is None:
            raise NotFound(detail="account gone")
        if account.status is status:
            return False
        unit = self.durable.unit()
        unit.save_account(replace(account, status=status))
        is_held = status is AccountStatus.HELD
        event = SecurityEvent.ACCOUNT_DISABLED if is_held else SecurityEvent.ACCOUNT_ENABLED
        await self.sessions.tell_of(unit, event, account_id)
        action = Action.ACCOUNT_HELD if is_held else Action.ACCOUNT_RELEASED
        await self.trail.noted(unit, action, account_id, act)
        await unit.commit()
        return True
