"""The reference implementation of every port, in this process's memory: what most tests use.

No locks: there is one event loop, and nothing here awaits between looking and writing. A unit of work runs on copies
of the tables, which replace them if every step went well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final, TypeVar

from broker.domain import failures
from broker.domain.account import Account, AccountStatus, Link, user_name_key
from broker.domain.audit import AuditEntry
from broker.domain.claims import EMAIL, PREFERRED_USERNAME, email_key
from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.disclosure import DisclosureRow
from broker.domain.failures import Failure
from broker.domain.grant import (
    REFRESH_IDLE_LIFETIME,
    AlreadyRedeemed,
    AuthorizationCode,
    Grant,
    Redeemed,
    RefreshFamily,
    Reused,
    Rotated,
    StatusPlace,
    is_standing,
    is_usable,
    may_retry,
)
from broker.domain.logo import DrawnLogo
from broker.domain.picture import Picture
from broker.domain.ports import Clock, Delivery, SigningKeyRecord
from broker.domain.posting import Posting, PostState
from broker.domain.provider import UpstreamTokens
from broker.domain.registration import Invitation, Registration
from broker.domain.removal import Removal, RemovalState
from broker.domain.staff import Member
from broker.domain.status import KEEP
from broker.domain.stream import Stream
from broker.domain.values import AccountId, ClientId, GrantId, IdentityKey, ProviderId, Sid
from broker.errors import Conflict, StoreUnavailable
from broker.stores.memory_failures import MemoryFailures
from broker.stores.memory_logos import LogoSteps, MemoryLogos
from broker.stores.memory_pictures import MemoryPictures
from broker.stores.memory_registrations import MemoryRegistrations, RegistrationSteps, is_unused
from broker.stores.memory_removals import MemoryRemovals
from broker.stores.memory_sessions import MemorySessions
from broker.stores.memory_staff import MemoryAudit, MemoryStaff
from broker.stores.memory_streams import MemoryStreams, StreamSteps
from broker.stores.memory_vault import MemoryVault, VaultSteps

K = TypeVar("K")
V = TypeVar("V")
KEEP_CODES: Final = timedelta(hours=1)
KEEP_SETTLED: Final = timedelta(days=30)
CLAIM_FOR: Final = timedelta(minutes=1)
_UNSETTLED: Final = frozenset({PostState.ASKED, PostState.SENDING})


@dataclass(slots=True)
class Tables:
    """Everything durable."""

    accounts: dict[AccountId, Account] = field(default_factory=dict)
    erased: dict[AccountId, datetime] = field(default_factory=dict)  # their ids stay taken
    user_names: dict[str, AccountId] = field(default_factory=dict)  # every one that was ever taken, and whose
    links: dict[str, Link] = field(default_factory=dict)
    receipts: dict[str, ConsentReceipt] = field(default_factory=dict)
    disclosures: dict[tuple[str, ...], DisclosureRow] = field(default_factory=dict)
    grants: dict[GrantId, Grant] = field(default_factory=dict)
    codes: dict[bytes, AuthorizationCode] = field(default_factory=dict)
    families: dict[str, RefreshFamily] = field(default_factory=dict)
    revoked_tokens: dict[str, datetime] = field(default_factory=dict)
    upstream_tokens: dict[tuple[AccountId, ProviderId], UpstreamTokens] = field(default_factory=dict)
    renewing: dict[tuple[AccountId, ProviderId], datetime] = field(default_factory=dict)
    postings: dict[str, Posting] = field(default_factory=dict)
    posting_subjects: dict[tuple[ClientId, str], AccountId] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    claimed_until: dict[str, datetime] = field(default_factory=dict)
    given_up: dict[str, Delivery] = field(default_factory=dict)
    keys: dict[str, SigningKeyRecord] = field(default_factory=dict)
    ended: dict[StatusPlace, datetime] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    removals: dict[str, Removal] = field(default_factory=dict)
    invitations: dict[str, Invitation] = field(default_factory=dict)
    registrations: dict[ClientId, Registration] = field(default_factory=dict)
    pictures: dict[AccountId, Picture] = field(default_factory=dict)
    logos: dict[str, DrawnLogo] = field(default_factory=dict)
    staff: dict[AccountId, Member] = field(default_factory=dict)
    audit: dict[int, AuditEntry] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    streams: dict[ClientId, Stream] = field(default_factory=dict)
    removed_subjects: dict[tuple[ClientId, str], None] = field(default_factory=dict)

    def copied(self) -> Tables:
        tables = copy(self)
        for name in self.__slots__:
            setattr(tables, name, dict(getattr(self, name)))
        return tables

    def check_account(self, account: AccountId) -> None:
        if account not in self.accounts:
            raise Conflict("account")

    def take_unique(self, account: Account) -> None:
        """What no two accounts may have: a user name for good, a proved address for as long as it is there."""
        name, email = _name_key(account), _email_key(account)
        if name is not None and self.user_names.setdefault(name, account.id) != account.id:
            raise Conflict("user_name")
        others = (other for other in self.accounts.values() if other.id != account.id)
        if email is not None and any(_email_key(other) == email for other in others):
            raise Conflict("email")

    def hold(self, account: AccountId, now: datetime) -> None:
        """The account's grants stand, and nothing of them may be used."""
        for grant in self.grants.values():
            if grant.account == account and grant.status is not None and grant.revoked_at is None:
                self.ended[grant.status] = now

    def revoke(self, grant: Grant, now: datetime) -> None:
        """The grant, its codes and its refresh families."""
        if grant.revoked_at is None:
            self.grants[grant.id] = replace(grant, revoked_at=now)
            if grant.status is not None:
                self.ended[grant.status] = now
        for family in [family for family in self.families.values() if family.grant == grant.id]:
            if family.revoked_at is None:
                self.families[family.id] = replace(family, revoked_at=now)
        for code in [code for code in self.codes.values() if code.grant == grant.id]:
            if code.used_at is None:
                self.codes[code.digest] = replace(code, used_at=now)


def _name_key(account: Account) -> str | None:
    name = account.profile.get(PREFERRED_USERNAME)
    return None if name is None else user_name_key(name.value)


def _email_key(account: Account) -> str | None:
    email = account.profile.get(EMAIL)
    return email_key(email.value) if email is not None and email.verified else None


class MemoryUnitOfWork(RegistrationSteps, LogoSteps, StreamSteps, VaultSteps):
    """`ports.UnitOfWork`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store
        self._steps: list[Callable[[Tables], object]] = []

    async def commit(self) -> None:
        self._store.check_open()
        steps, self._steps = self._steps, []
        tables = self._store.tables.copied()
        for step in steps:
            step(tables)
        self._store.tables = tables

    def add_account(self, account: Account) -> None:
        def step(tables: Tables) -> None:
            if account.id in tables.accounts or account.id in tables.erased:
                raise Conflict("account")
            tables.take_unique(account)
            tables.accounts[account.id] = account

        self._steps.append(step)

    def save_account(self, account: Account) -> None:
        def step(tables: Tables) -> None:
            kept = tables.accounts.get(account.id)
            if kept is None or kept.version != account.version:
                raise Conflict("stale")
            tables.take_unique(account)
            tables.accounts[account.id] = replace(account, version=account.version + 1)
            if account.status is not AccountStatus.ACTIVE:
                tables.hold(account.id, self._store.clock.now())

        self._steps.append(step)

    def erase_account(self, account: AccountId, now: datetime) -> None:
        def step(tables: Tables) -> None:
            if tables.accounts.pop(account, None) is not None:
                tables.erased[account] = now
            grants = {grant.id for grant in tables.grants.values() if grant.account == account}
            for grant in grants:
                tables.revoke(tables.grants[grant], now)
            tables.pictures.pop(account, None)
            tables.links = {key: link for key, link in tables.links.items() if link.account != account}
            tables.staff.pop(account, None)
            tables.grants = {key: grant for key, grant in tables.grants.items() if key not in grants}
            tables.codes = {key: code for key, code in tables.codes.items() if code.grant not in grants}
            tables.families = {key: family for key, family in tables.families.items() if family.grant not in grants}
            tables.upstream_tokens = {key: held for key, held in tables.upstream_tokens.items() if key[0] != account}
            tables.renewing = {key: since for key, since in tables.renewing.items() if key[0] != account}
            tables.postings = {key: held for key, held in tables.postings.items() if held.account != account}
            subjects = tables.posting_subjects
            tables.posting_subjects = {key: owner for key, owner in subjects.items() if owner != account}

        self._steps.append(step)

    def add_link(self, link: Link) -> None:
        def step(tables: Tables) -> None:
            tables.check_account(link.account)
            if link.id in tables.links or any(other.key == link.key for other in tables.links.values()):
                raise Conflict("link")
            tables.links[link.id] = link

        self._steps.append(step)

    def touch_link(self, link_id: str, now: datetime) -> None:
        def step(tables: Tables) -> None:
            if link_id in tables.links:
                tables.links[link_id] = replace(tables.links[link_id], last_used_at=now)

        self._steps.append(step)

    def rename_link(self, link: Link, former: IdentityKey) -> None:
        def step(tables: Tables) -> None:
            standing = tables.links.get(link.id)
            if standing is None or (standing.account, standing.key) != (link.account, former):
                raise Conflict("link")
            if link.key != former and any(other.key == link.key for other in tables.links.values()):
                raise Conflict("link")
            tables.links[link.id] = link

        self._steps.append(step)

    def use_link(self, link: Link, seen: datetime) -> None:
        def step(tables: Tables) -> None:
            standing = tables.links.get(link.id)
            if standing is None or (standing.account, standing.last_used_at) != (link.account, seen):
                raise Conflict("stale")
            tables.links[link.id] = link

        self._steps.append(step)

    def remove_link(self, account: AccountId, link_id: str) -> None:
        def step(tables: Tables) -> None:
            link = tables.links.get(link_id)
            if link is None or link.account != account:
                return
            if sum(other.account == account for other in tables.links.values()) < 2:
                raise Conflict("last_link")
            del tables.links[link_id]

        self._steps.append(step)

    def append_receipt(self, receipt: ConsentReceipt) -> None:
        def step(tables: Tables) -> None:
            if receipt.id in tables.receipts:
                raise Conflict("receipt")
            tables.receipts[receipt.id] = receipt

        self._steps.append(step)

    def append_disclosure(self, row: DisclosureRow) -> None:
        key = (row.grant, " ".join(sorted(row.claims)), row.via.value, row.day.isoformat())
        self._steps.append(lambda tables: tables.disclosures.setdefault(key, row))

    def add_grant(self, grant: Grant) -> None:
        def step(tables: Tables) -> None:
            tables.check_account(grant.account)
            if grant.id in tables.grants:
                raise Conflict("grant")
            tables.grants[grant.id] = grant

        self._steps.append(step)

    def add_code(self, code: AuthorizationCode) -> None:
        def step(tables: Tables) -> None:
            if code.digest in tables.codes:
                raise Conflict("code")
            tables.codes[code.digest] = code

        self._steps.append(step)

    def add_family(self, family: RefreshFamily) -> None:
        def step(tables: Tables) -> None:
            grant = tables.grants.get(family.grant)
            if grant is None or grant.revoked_at is not None:
                raise Conflict("grant")
            if family.id in tables.families:
                raise Conflict("family")
            tables.families[family.id] = family

        self._steps.append(step)

    def revoke_grant(self, grant: GrantId, now: datetime) -> None:
        def step(tables: Tables) -> None:
            if grant in tables.grants:
                tables.revoke(tables.grants[grant], now)

        self._steps.append(step)

    def revoke_grants(
        self,
        account: AccountId,
        now: datetime,
        *,
        client: ClientId | None = None,
        sid: Sid | None = None,
        keep_offline: bool = False,
    ) -> None:
        def step(tables: Tables) -> None:
            for grant in list(tables.grants.values()):
                spared = keep_offline and grant.outlives_session
                if (
                    grant.account == account
                    and client in (None, grant.client)
                    and sid in (None, grant.sid)
                    and not spared
                ):
                    tables.revoke(grant, now)

        self._steps.append(step)

    def revoke_access_token(self, token_id: str, expires_at: datetime) -> None:
        self._steps.append(lambda tables: tables.revoked_tokens.update({token_id: expires_at}))

    def add_posting(self, posting: Posting) -> None:
        def step(tables: Tables) -> None:
            tables.check_account(posting.account)
            if posting.id in tables.postings:
                raise Conflict("posting")
            tables.postings[posting.id] = posting

        self._steps.append(step)

    def add_posting_subject(self, account: AccountId, client: ClientId, subject: str) -> None:
        def step(tables: Tables) -> None:
            tables.check_account(account)
            tables.posting_subjects[client, subject] = account

        self._steps.append(step)

    def drop_posting_subject(self, account: AccountId, client: ClientId) -> None:
        def step(tables: Tables) -> None:
            kept = {
                key: owner for key, owner in tables.posting_subjects.items() if (key[0], owner) != (client, account)
            }
            tables.posting_subjects = kept

        self._steps.append(step)

    def move_posting(
        self,
        posting_id: str,
        *,
        expected: PostState,
        state: PostState,
        now: datetime,
        remote_id: str | None = None,
        remote_url: str | None = None,
    ) -> None:
        def step(tables: Tables) -> None:
            posting = tables.postings.get(posting_id)
            if posting is None or posting.state is not expected:
                raise Conflict("posting")
            tables.postings[posting_id] = replace(
                posting,
                state=state,
                settled_at=None if state in _UNSETTLED else now,
                remote_id=posting.remote_id if remote_id is None else remote_id,
                remote_url=posting.remote_url if remote_url is None else remote_url,
            )

        self._steps.append(step)

    def cancel_postings(
        self,
        account: AccountId,
        now: datetime,
        *,
        client: ClientId | None = None,
        provider: ProviderId | None = None,
    ) -> None:
        def step(tables: Tables) -> None:
            for held in list(tables.postings.values()):
                matches = (
                    held.account == account and client in (None, held.client) and provider in (None, held.provider)
                )
                if matches and held.state is PostState.ASKED:
                    tables.postings[held.id] = replace(held, state=PostState.CANCELLED, settled_at=now)

        self._steps.append(step)

    def put_picture(self, account: AccountId, picture: Picture) -> None:
        def step(tables: Tables) -> None:
            tables.check_account(account)
            tables.pictures[account] = picture

        self._steps.append(step)

    def drop_picture(self, account: AccountId) -> None:
        self._steps.append(lambda tables: tables.pictures.pop(account, None))

    def put_removal(self, removal: Removal, *, over: RemovalState | None) -> None:
        def step(tables: Tables) -> None:
            kept = tables.removals.get(removal.code)
            if (kept.state if kept is not None else None) is not over:
                raise Conflict("removal")
            tables.removals[removal.code] = removal

        self._steps.append(step)

    def move_removals(self, goes: AccountId, stays: AccountId) -> None:
        def step(tables: Tables) -> None:
            said = tables.removals
            said |= {code: replace(one, account=stays) for code, one in said.items() if one.account == goes}

        self._steps.append(step)

    def put_member(self, member: Member) -> None:
        def step(tables: Tables) -> None:
            tables.check_account(member.account)
            tables.staff[member.account] = member

        self._steps.append(step)

    def drop_member(self, account: AccountId) -> None:
        self._steps.append(lambda tables: tables.staff.pop(account, None))

    def append_audit(self, entry: AuditEntry) -> None:
        def step(tables: Tables) -> None:
            if tables.audit.setdefault(entry.number, entry) is not entry:
                raise Conflict("stale")

        self._steps.append(step)

    def add_failure(self, failure: Failure) -> None:
        self._steps.append(lambda tables: tables.failures.setdefault(failure.id, failure))

    def enqueue(self, delivery: Delivery) -> None:
        def step(tables: Tables) -> None:
            if delivery.id in tables.deliveries:
                raise Conflict("delivery")
            tables.deliveries[delivery.id] = delivery

        self._steps.append(step)

    def call_off(self, kind: str, payload: Mapping[str, str], now: datetime) -> None:
        def step(tables: Tables) -> None:
            for one in [*tables.deliveries.values()]:
                if one.kind == kind and payload.items() <= one.payload.items():
                    if tables.claimed_until.get(one.id, now) > now:
                        raise Conflict("under_way")
                    del tables.deliveries[one.id]
                    tables.claimed_until.pop(one.id, None)

        self._steps.append(step)


class MemoryAccounts:
    """`ports.Accounts`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def load(self, account: AccountId) -> Account | None:
        return self._store.open_tables().accounts.get(account)

    async def by_identity(self, key: IdentityKey) -> tuple[Account, Link] | None:
        tables = self._store.open_tables()
        link = next((link for link in tables.links.values() if link.key == key), None)
        return None if link is None else (tables.accounts[link.account], link)

    async def links(self, account: AccountId) -> tuple[Link, ...]:
        ours = [link for link in self._store.open_tables().links.values() if link.account == account]
        return tuple(sorted(ours, key=lambda link: (link.linked_at, link.id)))

    async def by_user_name(self, name_key: str) -> Account | None:
        accounts = self._store.open_tables().accounts.values()
        return next((account for account in accounts if _name_key(account) == name_key), None)

    async def by_email(self, key: str) -> Account | None:
        accounts = self._store.open_tables().accounts.values()
        return next((account for account in accounts if _email_key(account) == key), None)

    async def is_user_name_free(self, name_key: str) -> bool:
        return name_key not in self._store.open_tables().user_names

    async def with_receipts(
        self, account: AccountId, purpose: Purpose, counterparty: str
    ) -> tuple[Account, tuple[ConsentReceipt, ...]] | None:
        found = await self.load(account)
        return None if found is None else (found, await self._store.ledger.receipts(account, purpose, counterparty))


class MemoryLedger:
    """`ports.Ledger`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def receipts(
        self, account: AccountId, purpose: Purpose | None = None, counterparty: str | None = None
    ) -> tuple[ConsentReceipt, ...]:
        return tuple(
            receipt
            for receipt in self._store.open_tables().receipts.values()
            if receipt.account == account
            and purpose in (None, receipt.purpose)
            and counterparty in (None, receipt.counterparty)
        )

    async def disclosures(
        self,
        account: AccountId,
        *,
        client: ClientId | None = None,
        since: date | None = None,
        until: date | None = None,
        limit: int = 200,
        offset: int = 0,
    ) -> tuple[DisclosureRow, ...]:
        """`since` and `until` are both inclusive days (UTC)."""
        rows = [
            row
            for row in reversed(self._store.open_tables().disclosures.values())
            if row.account == account
            and client in (None, row.client)
            and (since or date.min) <= row.day <= (until or date.max)
        ]
        rows.sort(key=lambda row: row.released_at, reverse=True)
        return tuple(rows[offset : offset + limit])


class MemoryGrants:
    """`ports.Grants`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def load(self, grant: GrantId) -> Grant | None:
        return self._store.open_tables().grants.get(grant)

    async def with_account(self, grant: GrantId, token_id: str) -> tuple[Grant, Account] | None:
        tables = self._store.open_tables()
        found = tables.grants.get(grant)
        account = None if found is None else tables.accounts.get(found.account)
        if found is None or account is None or token_id in tables.revoked_tokens:
            return None
        return found, account

    async def is_revoked(self, token_id: str) -> bool:
        return token_id in self._store.open_tables().revoked_tokens

    async def of_account(self, account: AccountId, *, client: ClientId | None = None) -> tuple[Grant, ...]:
        now = self._store.clock.now()
        ours = [
            grant
            for grant in self._store.open_tables().grants.values()
            if grant.account == account and client in (None, grant.client) and is_standing(grant, now)
        ]
        return tuple(sorted(ours, key=lambda grant: (grant.created_at, grant.id), reverse=True))

    async def consume_code(self, digest: bytes, now: datetime) -> Redeemed | AlreadyRedeemed | None:
        tables = self._store.open_tables()
        code = tables.codes.get(digest)
        if code is None:
            return None
        if code.used_at is not None:
            return AlreadyRedeemed(grant=code.grant)
        tables.codes[digest] = code = replace(code, used_at=now)
        grant = tables.grants.get(code.grant)
        return None if grant is None else Redeemed(code=code, grant=grant)

    async def load_family(self, family_id: str) -> RefreshFamily | None:
        return self._store.open_tables().families.get(family_id)

    async def renew(self, family_id: str, presented: int, client: ClientId, now: datetime) -> RefreshFamily | None:
        tables = self._store.open_tables()
        family = tables.families.get(family_id)
        if family is None or family.client != client or not is_usable(family, now) or presented != family.generation:
            return None
        tables.families[family_id] = family = replace(family, idle_expires_at=now + REFRESH_IDLE_LIFETIME)
        return family

    async def rotate(self, family_id: str, presented: int, client: ClientId, now: datetime) -> Rotated | Reused | None:
        tables = self._store.open_tables()
        family = tables.families.get(family_id)
        if family is None or family.client != client or not is_usable(family, now) or presented > family.generation:
            return None
        if presented == family.generation:
            family = replace(
                family,
                generation=presented + 1,
                rotated_at=now,
                retried=False,
                idle_expires_at=now + REFRESH_IDLE_LIFETIME,
            )
            tables.families[family_id] = family
            return Rotated(family=family)
        if may_retry(family, presented, now):
            tables.families[family_id] = family = replace(family, retried=True)
            return Rotated(family=family)
        if family.grant in tables.grants:
            tables.revoke(tables.grants[family.grant], now)
        tables.families[family_id] = family = replace(family, revoked_at=now)
        return Reused(family=family)


class MemoryPostings:
    """`ports.Postings`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def load(self, posting_id: str) -> Posting | None:
        return self._store.open_tables().postings.get(posting_id)

    async def recent(self, account: AccountId, limit: int = 20) -> tuple[Posting, ...]:
        """Newest first."""
        ours = [held for held in self._store.open_tables().postings.values() if held.account == account]
        return tuple(sorted(ours, key=lambda held: (held.created_at, held.id), reverse=True)[:limit])

    async def account_of(self, client: ClientId, subject: str) -> AccountId | None:
        return self._store.open_tables().posting_subjects.get((client, subject))


class MemoryOutbox:
    """`ports.Outbox`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def claim(self, now: datetime, limit: int) -> tuple[Delivery, ...]:
        """Oldest due first."""
        tables = self._store.open_tables()
        free = [
            held
            for held in tables.deliveries.values()
            if held.due_at <= now and tables.claimed_until.get(held.id, now) <= now
        ]
        claimed = sorted(free, key=lambda held: (held.due_at, held.id))[:limit]
        tables.claimed_until.update({held.id: now + CLAIM_FOR for held in claimed})
        return tuple(claimed)

    async def done(self, delivery_id: str) -> None:
        tables = self._store.open_tables()
        tables.deliveries.pop(delivery_id, None)
        tables.given_up.pop(delivery_id, None)
        tables.claimed_until.pop(delivery_id, None)

    async def retry(self, delivery_id: str, due_at: datetime, error: str) -> None:
        tables = self._store.open_tables()
        held = tables.deliveries.get(delivery_id)
        if held is not None:
            tables.deliveries[delivery_id] = replace(
                held, due_at=due_at, attempts=held.attempts + 1, last_error=error[:200]
            )
            tables.claimed_until.pop(delivery_id, None)

    async def put_off(self, delivery_id: str, due_at: datetime) -> None:
        tables = self._store.open_tables()
        held = tables.deliveries.get(delivery_id)
        if held is not None:
            tables.deliveries[delivery_id] = replace(held, due_at=due_at)
            tables.claimed_until.pop(delivery_id, None)

    async def give_up(self, delivery_id: str, error: str) -> None:
        tables = self._store.open_tables()
        held = tables.deliveries.pop(delivery_id, None)
        if held is not None:
            tables.given_up[delivery_id] = replace(held, attempts=held.attempts + 1, last_error=error[:200])

    async def pending(self, payload_key: str, payload_value: str, limit: int = 1000) -> tuple[Delivery, ...]:
        """Oldest first."""
        found = [
            held
            for held in self._store.open_tables().deliveries.values()
            if held.payload.get(payload_key) == payload_value
        ]
        return tuple(sorted(found, key=lambda held: (held.created_at, held.id))[:limit])

    async def traces(self, payload_key: str, payload_value: str) -> tuple[tuple[Delivery, bool], ...]:
        """Oldest first."""
        return tuple(held for held in self._all() if held[0].payload.get(payload_key) == payload_value)

    async def failing(self, limit: int) -> tuple[tuple[Delivery, bool], ...]:
        """Oldest first."""
        return tuple(held for held in self._all() if held[0].attempts)[:limit]

    def _all(self) -> list[tuple[Delivery, bool]]:
        tables = self._store.open_tables()
        waiting = [(held, False) for held in tables.deliveries.values()]
        given_up = [(held, True) for held in tables.given_up.values()]
        return sorted([*waiting, *given_up], key=lambda held: (held[0].created_at, held[0].id))


class MemorySigningKeys:
    """`ports.SigningKeys`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def all(self) -> tuple[SigningKeyRecord, ...]:
        """Oldest first."""
        return tuple(sorted(self._store.open_tables().keys.values(), key=lambda key: (key.created_at, key.kid)))

    async def add(self, *records: SigningKeyRecord) -> None:
        tables = self._store.open_tables()
        kids = [record.kid for record in records]
        if len(set(kids)) < len(kids) or any(kid in tables.keys for kid in kids):
            raise Conflict("kid")
        tables.keys.update({record.kid: record for record in records})

    async def retire(self, kid: str, at: datetime) -> None:
        tables = self._store.open_tables()
        if kid in tables.keys:
            tables.keys[kid] = replace(tables.keys[kid], retires_at=at)

    async def remove(self, kid: str) -> None:
        self._store.open_tables().keys.pop(kid, None)


class MemoryStatuses:
    """`ports.Statuses`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def reserve(self, count: int) -> int:
        counters = self._store.open_tables().counters
        first = counters.get("statuses", 0)
        counters["statuses"] = first + count
        return first

    async def reserved(self) -> int:
        return self._store.open_tables().counters.get("statuses", 0)

    async def ended(self, after: datetime, until: datetime) -> tuple[tuple[StatusPlace, datetime], ...]:
        return tuple((place, at) for place, at in self._store.open_tables().ended.items() if after < at <= until)


class MemoryDurable:
    """`ports.Durable`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tables = Tables()
        self._closed = False
        self.accounts = MemoryAccounts(self)
        self.ledger = MemoryLedger(self)
        self.grants = MemoryGrants(self)
        self.postings = MemoryPostings(self)
        self.vault = MemoryVault(self)
        self.outbox = MemoryOutbox(self)
        self.keys = MemorySigningKeys(self)
        self.statuses = MemoryStatuses(self)
        self.registrations = MemoryRegistrations(self)
        self.removals = MemoryRemovals(self)
        self.pictures = MemoryPictures(self)
        self.logos = MemoryLogos(self)
        self.staff = MemoryStaff(self)
        self.streams = MemoryStreams(self)
        self.audit = MemoryAudit(self)
        self.failures = MemoryFailures(self)

    def unit(self) -> MemoryUnitOfWork:
        return MemoryUnitOfWork(self)

    def check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("store closed")

    def open_tables(self) -> Tables:
        self.check_open()
        return self.tables

    async def purge(self, now: datetime, limit: int = 500) -> int:
        tables = self.open_tables()
        gone = _drop(tables.codes, lambda code: code.expires_at + KEEP_CODES <= now, limit)
        gone += _drop(tables.families, lambda held: held.idle_expires_at <= now or held.expires_at <= now, limit)
        used = {family.grant for family in tables.families.values()}
        gone += _drop(tables.grants, lambda grant: grant.expires_at <= now and grant.id not in used, limit)
        gone += _drop(tables.revoked_tokens, lambda expires_at: expires_at <= now, limit)
        gone += _drop(tables.ended, lambda at: at + KEEP <= now, limit)
        gone += _drop(tables.failures, lambda kept: kept.at + failures.KEEP <= now, limit)
        granted = {grant.client for grant in tables.grants.values()}
        gone += _drop(tables.registrations, lambda kept: is_unused(kept, now) and kept.client_id not in granted, limit)
        gone += _drop(tables.postings, lambda held: (held.settled_at or held.expires_at) + KEEP_SETTLED <= now, limit)
        return gone + _drop(tables.given_up, lambda held: held.due_at + KEEP_SETTLED <= now, limit)

    async def ping(self) -> None:
        self.check_open()

    async def close(self) -> None:
        self._closed = True


def _drop(rows: dict[K, V], expired: Callable[[V], bool], limit: int) -> int:
    gone = [key for key, row in rows.items() if expired(row)][:limit]
    for key in gone:
        del rows[key]
    return len(gone)


# --- browser memory -----------------------------------------------------------------------------------


class MemoryTransactions:
    """`ports.Transactions`."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[datetime, bytes]] = {}

    async def save(self, transaction_id: str, sealed: bytes, expires_at: datetime) -> None:
        self.rows[transaction_id] = (expires_at, sealed)

    async def load(self, transaction_id: str, now: datetime) -> bytes | None:
        expires_at, sealed = self.rows.get(transaction_id, (now, b""))
        return sealed if now < expires_at else None

    async def delete(self, transaction_id: str) -> bool:
        return self.rows.pop(transaction_id, None) is not None


class MemoryReplay:
    """`ports.Replay`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[str, datetime] = {}

    async def first_time(self, key: str, expires_at: datetime) -> bool:
        now = self._clock.now()
        if self.rows.get(key, now) > now:
            return False
        self.rows[key] = expires_at
        return True


class MemoryLimits:
    """`ports.Limits`: the generic cell rate algorithm, as in the other stores."""

    def __init__(self) -> None:
        self.rows: dict[str, datetime] = {}

    async def hit(self, key: str, *, limit: int, window: int, now: datetime) -> int:
        step = timedelta(seconds=window) // limit
        free_at = max(self.rows.get(key, now), now)
        if free_at + step <= now + timedelta(seconds=window):
            self.rows[key] = free_at + step
            return 0
        wait = free_at + step - now - timedelta(seconds=window)
        return max(1, -(-wait // timedelta(seconds=1)))


class MemoryBrowser:
    """`ports.BrowserMemory`."""

    def __init__(self, clock: Clock) -> None:
        self.transactions = MemoryTransactions()
        self.sessions = MemorySessions(clock)
        self.replay = MemoryReplay(clock)
        self.limits = MemoryLimits()

    async def purge(self, now: datetime, limit: int = 500) -> int:
        gone = _drop(self.transactions.rows, lambda row: row[0] <= now, limit)
        gone += _drop(self.sessions.rows, lambda held: min(held.idle_expires_at, held.expires_at) <= now, limit)
        gone += _drop(self.replay.rows, lambda expires_at: expires_at <= now, limit)
        return gone + _drop(self.limits.rows, lambda free_at: free_at <= now, limit)

    async def ping(self) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to close."""
