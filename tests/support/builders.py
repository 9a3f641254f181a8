"""Builders: one for every value that is stored, with a non-default value in every field.

`account(...)`, `grant(account=...)` and so on; every argument can be given, every id is new unless given. Times hang on
`NOW`, so that a round trip through a store can be compared field by field.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from broker.domain.failures import Failure
from broker.domain.audit import Action, AuditEntry
from broker.domain.account import Account, AccountStatus, Link, ProfileValue
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.client import (
    AccessTokenFormat,
    AskedClaim,
    AuthMethod,
    Client,
    DpopUse,
    Profile,
    RequestObjectUse,
    SigningAlgorithm,
    SubjectType,
)
from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.disclosure import DisclosureRow, Via
from broker.domain.grant import OFFLINE_ACCESS, AuthorizationCode, Grant, RefreshFamily
from broker.domain.ports import Delivery, SigningKeyRecord
from broker.domain.posting import (
    POST,
    WORDING,
    Message,
    Posting,
    PostingPermit,
    PostState,
    counterparty,
    opt_in,
    permit,
)
from broker.domain.provider import UpstreamTokens
from broker.domain.removal import Removal, RemovalKind, RemovalState
from broker.domain.session import Session
from broker.domain.values import (
    AccountId,
    ClaimName,
    ClientId,
    GrantId,
    IdentityKey,
    ProviderId,
    ReceiptId,
    Scope,
    Secret,
    Sid,
)

NOW: Final = datetime(2026, 3, 4, 5, 6, 7, 89_012, tzinfo=UTC)
"""A moment with something in every place, microseconds included."""

FACEBOOK: Final = ProviderId("facebook")
FORUM: Final = ClientId("forum")
WIKI: Final = ClientId("wiki")

_numbers = itertools.count(1)


def new_id(kind: str) -> str:
    """An id never given before in this process."""
    return f"{kind}-{next(_numbers)}"


@dataclass(slots=True)
class FixedClock:
    """A clock that stands until it is told to move."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def move(self, by: timedelta) -> None:
        self.at += by


def profile(name: str, *, verified: bool = True) -> dict[ClaimName, ProfileValue]:
    """Three fields, one of them vouched for; `name` is the user name."""
    return {
        NAME: ProfileValue(value=f"Zoë {name} Ünal", source="provider:facebook"),
        PREFERRED_USERNAME: ProfileValue(value=name, source="person"),
        EMAIL: ProfileValue(value=f"{name}@Canary.example", source="provider:facebook", verified=verified),
    }


def account(account_id: str | None = None, **more: Any) -> Account:
    account_id = account_id or new_id("account")
    values: dict[str, Any] = {
        "id": AccountId(account_id),
        "profile": profile(f"zoe{account_id}"[:30].replace("account-", "u")),
        "status": AccountStatus.HELD,
        "created_at": NOW - timedelta(days=400, microseconds=1),
        "agreed_notice": "terms:2026-01 privacy:2026-02",
        "newsletters": ("weekly", "events"),
        "locale": "fr-CA",
    }
    return Account(**(values | more))


def link(owner: AccountId | Account, **more: Any) -> Link:
    number = new_id("link")
    values: dict[str, Any] = {
        "id": number,
        "account": owner.id if isinstance(owner, Account) else owner,
        "provider": FACEBOOK,
        "key": IdentityKey(issuer="https://facebook.example", subject=f"subject-{number}"),
        "receipt": ReceiptId(new_id("receipt")),
        "linked_at": NOW - timedelta(days=40),
        "last_used_at": NOW - timedelta(days=4),
        "hint": f"hint of {number}",
    }
    return Link(**(values | more))


def receipt(owner: AccountId, **more: Any) -> ConsentReceipt:
    values: dict[str, Any] = {
        "id": ReceiptId(new_id("receipt")),
        "account": owner,
        "purpose": Purpose.SHARE_WITH_CLIENT,
        "counterparty": str(FORUM),
        "shown": (NAME, EMAIL, ClaimName("picture")),
        "accepted": (NAME, EMAIL),
        "refused": (ClaimName("picture"),),
        "versions": {NAME: "v-name", EMAIL: "v-email", ClaimName("picture"): "v-picture"},
        "scopes": frozenset({Scope("openid"), OFFLINE_ACCESS}),
        "counterparty_version": "forum-3",
        "notice_version": "terms:2026-01 privacy:2026-02",
        "preview_digest": "ab" * 32,
        "transaction": new_id("transaction"),
        "sid": Sid(new_id("sid")),
        "locale": "fr",
        "decided_at": NOW - timedelta(hours=3),
        "withdraws": ReceiptId("receipt-before"),
        "counterparty_name": "Club Forum",
    }
    return ConsentReceipt(**(values | more))


def posting_receipt(owner: AccountId, provider: ProviderId = FACEBOOK, client_id: ClientId = FORUM) -> ConsentReceipt:
    """An opt-in to posting, as the ledger keeps it."""
    return receipt(
        owner,
        purpose=Purpose.POST_UPSTREAM,
        counterparty=counterparty(provider, client_id),
        shown=(POST,),
        accepted=(POST,),
        refused=(),
        versions={POST: WORDING},
        scopes=frozenset(),
        counterparty_version=client(client_id=client_id).version,
        withdraws=None,
    )


def posting_permit(owner: AccountId, provider: ProviderId = FACEBOOK, client_id: ClientId = FORUM) -> PostingPermit:
    """A permit, obtained the only way there is."""
    opted = opt_in([posting_receipt(owner, provider, client_id)], owner, provider, client_id)
    return permit(opted, client(client_id=client_id, may_post=True), owner, Message(text="hello"), NOW)


def disclosure_row(grant: Grant, **more: Any) -> DisclosureRow:
    values: dict[str, Any] = {
        "account": grant.account,
        "client": grant.client,
        "grant": grant.id,
        "receipt": grant.receipt,
        "claims": (EMAIL, NAME),
        "via": Via.USERINFO,
        "day": NOW.date(),
        "released_at": NOW,
    }
    return DisclosureRow(**(values | more))


def grant(owner: AccountId, **more: Any) -> Grant:
    values: dict[str, Any] = {
        "id": GrantId(new_id("grant")),
        "account": owner,
        "client": FORUM,
        "scopes": frozenset({Scope("openid"), Scope("profile"), OFFLINE_ACCESS}),
        "claims": {NAME: "v-name", EMAIL: "v-email"},
        "receipt": ReceiptId(new_id("receipt")),
        "sid": Sid(new_id("sid")),
        "auth_time": NOW - timedelta(minutes=7),
        "amr": ("fed", "pwd"),
        "acr": "urn:example:2",
        "created_at": NOW - timedelta(minutes=1),
        "expires_at": NOW + timedelta(days=180),
        "resources": ("https://api.forum.example/", "https://search.forum.example/"),
    }
    return Grant(**(values | more))


def code(of: Grant, **more: Any) -> AuthorizationCode:
    values: dict[str, Any] = {
        "digest": hashlib.sha256(new_id("code").encode()).digest(),
        "grant": of.id,
        "client": of.client,
        "redirect_uri": "https://forum.example/callback?x=1",
        "nonce": "nonce-1",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "expires_at": NOW + timedelta(seconds=60),
    }
    return AuthorizationCode(**(values | more))


def family(of: Grant, **more: Any) -> RefreshFamily:
    values: dict[str, Any] = {
        "id": new_id("family"),
        "grant": of.id,
        "client": of.client,
        "generation": 7,
        "created_at": NOW - timedelta(days=2),
        "rotated_at": NOW - timedelta(hours=5),
        "retried": True,
        "expires_at": NOW + timedelta(days=178),
        "idle_expires_at": NOW + timedelta(days=29),
    }
    return RefreshFamily(**(values | more))


def upstream_tokens(**more: Any) -> UpstreamTokens:
    values: dict[str, Any] = {
        "access_token": f"upstream-access-{new_id('token')}",
        "refresh_token": f"upstream-refresh-{new_id('token')}",
        "expires_at": NOW + timedelta(hours=1),
        "scopes": frozenset({"publish", "read"}),
    }
    return UpstreamTokens(**(values | more))


def posting(owner: AccountId, **more: Any) -> Posting:
    values: dict[str, Any] = {
        "id": new_id("posting"),
        "account": owner,
        "provider": FACEBOOK,
        "client": FORUM,
        "message": Message(
            text="Look what I wrote ✍",
            url="https://forum.example/t/1",
            return_url="https://forum.example/t/1#posted",
            idempotency_key="key-1",
        ),
        "return_to": "https://forum.example/t/1",
        "state": PostState.ASKED,
        "created_at": NOW - timedelta(minutes=2),
        "expires_at": NOW + timedelta(minutes=28),
        "receipt": ReceiptId(new_id("receipt")),
        "remote_id": "remote-1",
        "remote_url": "https://facebook.example/posts/1",
        "settled_at": NOW - timedelta(seconds=5),
    }
    return Posting(**(values | more))


def removal(**more: Any) -> Removal:
    """One person of whom Facebook said that they want everything deleted; not decided yet."""
    values: dict[str, Any] = {
        "code": new_id("removal"),
        "account": AccountId(new_id("account")),
        "provider": FACEBOOK,
        "kind": RemovalKind.DELETION,
        "state": RemovalState.WAITING,
        "asked_at": NOW,
    }
    return Removal(**(values | more))


def audit_entry(**more: Any) -> AuditEntry:
    """One thing that an admin did; its digest is not of it."""
    values: dict[str, Any] = {
        "number": 1,
        "at": NOW + timedelta(microseconds=7),
        "by": "deploy",
        "action": Action.ACCOUNT_HELD,
        "subject": "account-1",
        "why": "Spam.",
        "digest": "d" * 64,
    }
    return AuditEntry(**(values | more))


def failure(**more: Any) -> Failure:
    """What went wrong with a provider, as a page told somebody."""
    values: dict[str, Any] = {
        "id": "K7Q2-91XM",
        "provider": FACEBOOK,
        "at": NOW + timedelta(microseconds=7),
        "step": "problem",
        "reason": "upstream_rejected",
        "detail": "token invalid_client",
    }
    return Failure(**(values | more))


def delivery(**more: Any) -> Delivery:
    values: dict[str, Any] = {
        "id": new_id("delivery"),
        "kind": "logout_token",
        "client": FORUM,
        "payload": {"sub": "pairwise-1", "sid": "sid-at-forum", "uri": "https://forum.example/backchannel"},
        "created_at": NOW - timedelta(minutes=9),
        "due_at": NOW - timedelta(minutes=1),
        "attempts": 3,
        "last_error": "connect_timeout",
    }
    return Delivery(**(values | more))


def signing_key(**more: Any) -> SigningKeyRecord:
    values: dict[str, Any] = {
        "kid": new_id("kid"),
        "algorithm": SigningAlgorithm.ES256,
        "private": b"\x30\x82private half\x00\xff",
        "created_at": NOW - timedelta(days=30),
        "signs_from": NOW - timedelta(days=29),
        "retires_at": NOW + timedelta(days=60),
    }
    return SigningKeyRecord(**(values | more))


def session(owner: AccountId, *, now: datetime = NOW, **more: Any) -> Session:
    values: dict[str, Any] = {
        "sid": Sid(new_id("sid")),
        "account": owner,
        "secret_digest": hashlib.sha256(new_id("cookie").encode()).digest(),
        "provider": FACEBOOK,
        "key": IdentityKey(issuer="https://facebook.example", subject="subject-of-session"),
        "auth_time": now - timedelta(minutes=3),
        "amr": ("fed", "otp"),
        "acr": "urn:example:1",
        "created_at": now - timedelta(minutes=2),
        "last_seen_at": now - timedelta(minutes=1),
        "idle_expires_at": now + timedelta(hours=24),
        "expires_at": now + timedelta(days=14),
        "device": "Firefox on Linux",
        "id_token": "header.claims.signature",
    }
    return Session(**(values | more))


def client(**more: Any) -> Client:
    """A site with every option away from its default."""
    values: dict[str, Any] = {
        "client_id": FORUM,
        "name": "The Forum",
        "url": "https://forum.example/",
        "redirect_uris": ("https://forum.example/callback", "https://www.forum.example/callback"),
        "auth_method": AuthMethod.POST,
        "secret_digests": (hashlib.sha256(b"secret of the forum").digest(),),
        "secrets": (Secret("secret of the forum"),),
        "jwks": '{"keys": []}',
        "jwks_uri": "https://forum.example/jwks",
        "strict_jwt": True,
        "profile": Profile.FAPI2,
        "asks": (asked(NAME, needed=True), asked(EMAIL, needed=False)),
        "scopes": frozenset({Scope("openid"), Scope("profile"), Scope("email"), OFFLINE_ACCESS}),
        "post_logout_redirect_uris": ("https://forum.example/bye",),
        "backchannel_logout_uri": "https://forum.example/backchannel",
        "subject_type": SubjectType.PUBLIC,
        "sector": "community.example",
        "signing_algorithm": SigningAlgorithm.ES256,
        "access_tokens": AccessTokenFormat.JWT,
        "resources": frozenset({"https://api.forum.example/", "https://search.forum.example/"}),
        "serves": frozenset({"https://api.forum.example/"}),
        "service_scopes": frozenset({Scope("reports:read"), Scope("reports:write")}),
        "claims_in_id_token": True,
        "session_token": True,
        "pkce_required": False,
        "par_required": True,
        "request_object": RequestObjectUse.REQUIRED,
        "request_uris": ("https://forum.example/request",),
        "dpop": DpopUse.REQUIRED,
        "may_post": True,
        "run_by": "The Forum Association",
        "logo": "https://forum.example/logo.png",
        "policy_uri": "https://forum.example/privacy",
        "tos_uri": "https://forum.example/terms",
    }
    return Client(**(values | more))


def asked(claim: ClaimName, *, needed: bool, why: Mapping[str, str] | None = None) -> AskedClaim:
    return AskedClaim(claim=claim, needed=needed, why=why or {"en": f"to show your {claim}"}, audience="everyone")
