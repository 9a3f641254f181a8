"""The unit of work on SQL: a list of steps, written in one transaction by one call of the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Literal

from broker.domain.account import Account, AccountStatus, Link
from broker.domain.audit import AuditEntry
from broker.domain.consent import ConsentReceipt
from broker.domain.disclosure import DisclosureRow
from broker.domain.failures import Failure
from broker.domain.grant import AuthorizationCode, Grant, RefreshFamily
from broker.domain.logo import DrawnLogo
from broker.domain.picture import Picture
from broker.domain.ports import Clock, Delivery
from broker.domain.posting import Posting, PostState
from broker.domain.provider import UpstreamTokens
from broker.domain.registration import Invitation, Registration
from broker.domain.removal import Removal, RemovalState
from broker.domain.staff import Member
from broker.domain.values import AccountId, ClientId, GrantId, IdentityKey, ProviderId, Sid
from broker.stores.records import micros, micros_or_none
from broker.stores.sql import (
    accounts,
    failures,
    grants,
    ledger,
    logos,
    outbox,
    pictures,
    postings,
    registrations,
    removals,
    staff,
    streams,
    tokens,
)
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Statement, Step
from broker.stores.vault import KeyRing


class SqlUnitOfWork:
    """`ports.UnitOfWork`. Sealing happens while queuing, so that the transaction itself is as short as can be."""

    def __init__(self, driver: Driver, ring: KeyRing, clock: Clock) -> None:
        self._driver = driver
        self._ring = ring
        self._clock = clock
        self._steps: list[Step] = []

    def add_account(self, account: Account) -> None:
        params = accounts.account_params(account, self._ring)
        self._take_name(params)
        self._queue(accounts.ADD, params)

    def save_account(self, account: Account) -> None:
        params = accounts.saved_params(account, self._ring)
        self._take_name(params)
        self._queue(accounts.SAVE, params, conflict="stale")
        if account.status is not AccountStatus.ACTIVE:
            self._queue(grants.HOLD_STATUSES, {"p_account": account.id, "p_now": micros(self._clock.now())})

    def _take_name(self, params: Params) -> None:
        """Before the account itself is written: two who want one name meet here and nowhere else."""
        if params["p_name_key"] is not None:
            named = {"p_name_key": params["p_name_key"], "p_account": params["p_id"]}
            self._queue(accounts.TAKE_NAME, named, conflict="user_name")

    def erase_account(self, account: AccountId, now: datetime) -> None:
        params: Params = {"p_account": account, "p_now": micros(now), "p_erased_at": micros(now)}
        # The account is locked first: whoever is adding to it has finished then, or will find it gone.
        for statement in (
            accounts.LOCK,
            grants.REVOKE_GRANTS[False, False, False],
            grants.END_STATUSES,
            grants.ERASE_FAMILIES,
            grants.ERASE_CODES,
            grants.ERASE_GRANTS,
            postings.ERASE_POSTINGS,
            postings.ERASE_TOKENS,
            postings.ERASE_SUBJECTS,
            pictures.DROP,
            accounts.ERASE_LINKS,
            staff.DROP,
            accounts.ERASE,
        ):
            self._queue(statement, params)

    def add_link(self, link: Link) -> None:
        self._queue(accounts.ADD_LINK, accounts.link_params(link, self._ring), conflict="account")

    def touch_link(self, link_id: str, now: datetime) -> None:
        self._queue(accounts.TOUCH_LINK, {"p_id": link_id, "p_last_used_at": micros(now)})

    def rename_link(self, link: Link, former: IdentityKey) -> None:
        self._queue(accounts.RENAME_LINK, accounts.renamed_params(link, former, self._ring), conflict="link")

    def use_link(self, link: Link, seen: datetime) -> None:
        self._queue(accounts.USE_LINK, accounts.used_params(link, seen, self._ring), conflict="stale")

    def remove_link(self, account: AccountId, link_id: str) -> None:
        params = {"p_account": account, "p_id": link_id}
        self._queue(accounts.LOCK, params)  # two removals at once would each see the other's link as a way in
        self._queue(accounts.REMOVE_LINK, params)
        self._queue(accounts.FIND_LINK, params, expect="no rows", conflict="last_link")

    def put_picture(self, account: AccountId, picture: Picture) -> None:
        self._queue(pictures.PUT, pictures.picture_params(account, picture, self._ring), conflict="account")

    def drop_picture(self, account: AccountId) -> None:
        self._queue(pictures.DROP, {"p_account": account})

    def put_logo(self, drawn: DrawnLogo) -> None:
        self._queue(logos.PUT, logos.logo_params(drawn))

    def show_logo(self, owner: str, digest: str) -> None:
        self._queue(logos.SHOW, {"p_owner": owner, "p_digest": digest}, conflict="logo")

    def drop_logo(self, owner: str) -> None:
        self._queue(logos.DROP, {"p_owner": owner})

    def append_receipt(self, receipt: ConsentReceipt) -> None:
        self._queue(ledger.APPEND_RECEIPT, ledger.receipt_params(receipt))

    def append_disclosure(self, row: DisclosureRow) -> None:
        self._queue(ledger.APPEND_DISCLOSURE, ledger.disclosure_params(row))

    def add_grant(self, grant: Grant) -> None:
        self._queue(grants.ADD_GRANT, grants.grant_params(grant), conflict="account")

    def add_code(self, code: AuthorizationCode) -> None:
        self._queue(grants.ADD_CODE, grants.code_params(code))

    def add_family(self, family: RefreshFamily) -> None:
        self._queue(grants.ADD_FAMILY, grants.family_params(family), conflict="grant")

    def revoke_grant(self, grant: GrantId, now: datetime) -> None:
        self._steps.extend(grants.revoke_grant_steps(grant, micros(now)))

    def revoke_grants(
        self,
        account: AccountId,
        now: datetime,
        *,
        client: ClientId | None = None,
        sid: Sid | None = None,
        keep_offline: bool = False,
    ) -> None:
        params = {"p_account": account, "p_client": client, "p_sid": sid, "p_now": micros(now)}
        if sid is None:
            # Locked first: a grant that is being added is seen here, or added once this is committed, and whoever adds it
            # looks then at what the person agreed to, and at the number they go by. A session ends elsewhere, and before.
            self._queue(accounts.LOCK, params)
        self._queue(grants.REVOKE_GRANTS[client is not None, sid is not None, keep_offline], params)
        self._queue(grants.END_STATUSES, params)
        self._queue(grants.REVOKE_DEAD_FAMILIES, params)
        self._queue(grants.USE_UP_DEAD_CODES, params)

    def revoke_access_token(self, token_id: str, expires_at: datetime) -> None:
        self._queue(tokens.REVOKE, {"p_id": token_id, "p_expires_at": micros(expires_at)})

    def save_upstream_tokens(self, permit_holder: AccountId, provider: ProviderId, tokens: UpstreamTokens) -> None:
        params = postings.token_params(permit_holder, provider, tokens, self._ring)
        self._queue(postings.SAVE_TOKENS, params, conflict="account")

    def claim_upstream_tokens(
        self, account: AccountId, provider: ProviderId, *, since: datetime, given_up: datetime
    ) -> None:
        params = {
            "p_account": account,
            "p_provider": provider,
            "p_since": micros(since),
            "p_given_up": micros(given_up),
        }
        self._queue(postings.CLAIM_TOKENS, params, conflict="tokens")

    def renew_upstream_tokens(
        self, account: AccountId, provider: ProviderId, tokens: UpstreamTokens, *, since: datetime
    ) -> None:
        params = {**postings.token_params(account, provider, tokens, self._ring), "p_since": micros(since)}
        self._queue(postings.RENEW_TOKENS, params, conflict="tokens")

    def release_upstream_tokens(self, account: AccountId, provider: ProviderId, *, since: datetime) -> None:
        self._queue(postings.RELEASE_TOKENS, {"p_account": account, "p_provider": provider, "p_since": micros(since)})

    def drop_upstream_tokens(self, account: AccountId, provider: ProviderId) -> None:
        self._queue(postings.DROP_TOKENS, {"p_account": account, "p_provider": provider})

    def add_posting(self, posting: Posting) -> None:
        self._queue(postings.ADD_POSTING, postings.posting_params(posting, self._ring), conflict="account")

    def add_posting_subject(self, account: AccountId, client: ClientId, subject: str) -> None:
        mark = postings.subject_mark(self._ring, client, subject)
        self._queue(
            postings.ADD_SUBJECT, {"p_mark": mark, "p_account": account, "p_client": client}, conflict="account"
        )

    def drop_posting_subject(self, account: AccountId, client: ClientId) -> None:
        self._queue(postings.DROP_SUBJECT, {"p_account": account, "p_client": client})

    def add_subject(self, client: ClientId, subject: str) -> None:
        self._queue(streams.ADD, streams.subject_params(client, subject, self._ring))

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
        params = {
            "p_id": posting_id,
            "p_expected": expected.value,
            "p_state": state.value,
            "p_settled_at": micros_or_none(postings.settled_at(state, now)),
            "p_remote_id": postings.sealed_text(self._ring, posting_id, "remote_id", remote_id),
            "p_remote_url": postings.sealed_text(self._ring, posting_id, "remote_url", remote_url),
        }
        self._queue(postings.MOVE_POSTING, params, conflict="posting")

    def cancel_postings(
        self,
        account: AccountId,
        now: datetime,
        *,
        client: ClientId | None = None,
        provider: ProviderId | None = None,
    ) -> None:
        statement = postings.CANCEL_POSTINGS[client is not None, provider is not None]
        self._queue(statement, postings.cancel_params(account, now, client, provider))

    def put_removal(self, removal: Removal, *, over: RemovalState | None) -> None:
        params = removals.removal_params(removal)
        if over is None:
            self._queue(removals.ADD, params, conflict="removal")
        else:
            self._queue(removals.SAVE, {**params, "p_over": over.value}, conflict="removal")

    def move_removals(self, goes: AccountId, stays: AccountId) -> None:
        self._queue(removals.MOVE, {"p_goes": goes, "p_account": stays})

    def put_member(self, member: Member) -> None:
        self._queue(staff.PUT, staff.member_params(member), conflict="account")

    def drop_member(self, account: AccountId) -> None:
        self._queue(staff.DROP, {"p_account": account})

    def append_audit(self, entry: AuditEntry) -> None:
        self._queue(staff.APPEND, staff.entry_params(entry), conflict="stale")

    def add_failure(self, failure: Failure) -> None:
        self._queue(failures.ADD, failures.failure_params(failure))

    def add_invitation(self, invitation: Invitation) -> None:
        self._queue(registrations.INVITE, registrations.invitation_params(invitation))

    def drop_invitation(self, invitation: str) -> None:
        self._queue(registrations.DROP_INVITATION, {"p_id": invitation})

    def register(self, registration: Registration, now: datetime) -> None:
        used = {"p_id": registration.invitation, "p_now": micros(now)}
        self._queue(registrations.USE, used, conflict="invitation")
        self._queue(registrations.ADD, registrations.registration_params(registration), conflict="registration")

    def save_registration(self, registration: Registration, *, shown: bytes) -> None:
        params = {**registrations.registration_params(registration), "p_shown": shown}
        self._queue(registrations.SAVE, params, conflict="registration")

    def remove_registration(self, client: ClientId, now: datetime) -> None:
        self._queue(registrations.REMOVE, {"p_client": client}, conflict="registration")
        self._revoke_all_of(client, now)

    def keep_document(self, document: Registration) -> None:
        self._queue(registrations.KEEP, registrations.registration_params(document))

    def block_document(self, document: Registration, now: datetime) -> None:
        blocked = replace(document, blocked_at=now)
        self._queue(registrations.BLOCK, registrations.registration_params(blocked))
        self._revoke_all_of(document.client_id, now)

    def _revoke_all_of(self, client: ClientId, now: datetime) -> None:
        params = {"p_client": client, "p_now": micros(now)}
        self.drop_logo(client)
        self._queue(grants.REVOKE_GRANTS_OF_SITE, params)
        self._queue(grants.END_STATUSES_OF_SITE, params)
        self._queue(grants.REVOKE_FAMILIES_OF_SITE, params)
        self._queue(grants.USE_UP_CODES_OF_SITE, params)

    def enqueue(self, delivery: Delivery) -> None:
        self._queue(outbox.ENQUEUE, outbox.delivery_params(delivery, self._ring))
        for params in outbox.mark_params(delivery, self._ring):
            self._queue(outbox.MARK, params)

    def call_off(self, kind: str, payload: Mapping[str, str], now: datetime) -> None:
        params = outbox.call_off_params(kind, payload, now, self._ring)
        self._queue(outbox.CALL_OFF, params)
        self._queue(outbox.CALL_OFF_MARKS, params)
        self._queue(outbox.UNDER_WAY, params, expect="no rows", conflict="under_way")

    async def commit(self) -> None:
        """Writes everything queued, once: a second call has nothing left to write."""
        steps, self._steps = self._steps, []
        if steps:
            await self._driver.commit(steps)

    def _queue(
        self,
        statement: Statement,
        params: Params,
        *,
        expect: Literal["rows", "no rows"] = "rows",
        conflict: str = "",
    ) -> None:
        """`conflict`: what to raise unless the step answers as expected; without one anything will do."""
        self._steps.append(Step(statement, params, expect if conflict else None, conflict))
