"""What the flows need from outside, as small protocols. `broker.stores` and the adapters implement them.

Two kinds of stores, for one reason: everything that can mint a token, or proves what a person decided, is *durable*
(SQL); everything that merely remembers a browser is *browser memory* (Redis, or SQL when embedded). Losing the second
signs people out and loses nothing else.

Verbs: `load` (may give `None`), `save`, `append`, `consume`, `revoke`, `end`. A store that cannot answer raises
`StoreUnavailable`; a broken expectation raises `Conflict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol

from broker.domain.account import Account, Link
from broker.domain.audit import AuditEntry
from broker.domain.client import Client, SigningAlgorithm
from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.disclosure import DisclosureRow
from broker.domain.failures import Failure
from broker.domain.grant import (
    AlreadyRedeemed,
    AuthorizationCode,
    Grant,
    Redeemed,
    RefreshFamily,
    Reused,
    Rotated,
    StatusPlace,
)
from broker.domain.logo import DrawnLogo, Logo
from broker.domain.picture import Picture, SharedPicture
from broker.domain.posting import Posting, PostingPermit, PostState
from broker.domain.provider import UpstreamTokens
from broker.domain.registration import Invitation, Registration
from broker.domain.removal import Removal, RemovalState
from broker.domain.session import Session
from broker.domain.staff import Member, Role
from broker.domain.stream import Stream
from broker.domain.values import AccountId, ClientId, GrantId, IdentityKey, ProviderId, Sid

# --- durable ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One thing that must reach somebody else: kept in the same unit of work as its cause, retried, never lost."""

    id: str
    kind: str
    """`logout_token`, …: what the deliverer knows how to send."""
    client: ClientId
    payload: Mapping[str, str] = field(repr=False)
    """Ids and addresses; the deliverer signs when it sends, so that nothing here can expire."""
    created_at: datetime
    due_at: datetime
    attempts: int = 0
    last_error: str = ""


class KeyUse(StrEnum):
    """What a signing key of ours is for. None serves two: what we sign for a provider must be no token to any site."""

    TOKENS = "tokens"
    """What sites get."""
    REQUESTS = "requests"
    """What providers get from us as a client: requests (RFC 9101) and proofs of who we are (RFC 7523)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRecord:
    """One signing key of ours. `private` is sealed by the store and opened by `broker.signing` only."""

    kid: str
    algorithm: SigningAlgorithm
    private: bytes = field(repr=False)
    """PKCS #8 DER."""
    created_at: datetime
    signs_from: datetime
    """Published from `created_at`; not used before this, so that every cache has it by then."""
    retires_at: datetime | None = None
    """Signs no more from here, and is gone from the key set when the last token it signed has expired."""
    use: KeyUse = KeyUse.TOKENS


class UnitOfWork(Protocol):
    """Writes that happen together or not at all. Queued in order; nothing is written before `commit`.

    Queuing costs no round trip: a unit of work is one transaction and, on SQLite, one hop to the writer.
    """

    def add_account(self, account: Account) -> None:
        """New. `commit` raises `Conflict("user_name")` or `Conflict("email")` if those are another account's.

        A user name is an account's from when it first took it, even after it took another: nobody else gets it.
        """
        ...

    def save_account(self, account: Account) -> None:
        """Changed profile, status or agreement, over what was loaded and nothing else; same conflicts as `add_account`.

        `Conflict("stale")` if it was saved, or erased, since it was loaded: its `version` is not the kept one.
        """
        ...

    def erase_account(self, account: AccountId, now: datetime) -> None:
        """Delete profile, picture, links, upstream tokens, postings, grants, codes, families. Its id and user name stay taken.

        Receipts and disclosures stay (names only, under an id that means nothing to anybody any more).
        """
        ...

    def add_link(self, link: Link) -> None:
        """`Conflict("link")` if the identity belongs to an account already."""
        ...

    def touch_link(self, link_id: str, now: datetime) -> None: ...
    def rename_link(self, link: Link, former: IdentityKey) -> None:
        """Let this link stand for another identity from now on, or for the same one, as it is given.

        `Conflict("link")` if it does not stand for `former` by then, or if the new identity is somebody's.
        """
        ...

    def use_link(self, link: Link, seen: datetime) -> None:
        """Keep what this link says of itself now. `Conflict("stale")` unless it is there and was last used at `seen`."""
        ...

    def remove_link(self, account: AccountId, link_id: str) -> None:
        """`Conflict("last_link")` if it is the account's only one by then; nothing if it is gone already."""
        ...

    def append_receipt(self, receipt: ConsentReceipt) -> None: ...
    def append_disclosure(self, row: DisclosureRow) -> None:
        """Nothing if the same grant, claims, way and day are there already."""
        ...

    def put_picture(self, account: AccountId, picture: Picture) -> None:
        """In the place of the one before. `Conflict("account")` if the account is gone."""
        ...

    def drop_picture(self, account: AccountId) -> None:
        """Nothing if there is none."""
        ...

    def put_logo(self, drawn: DrawnLogo) -> None:
        """In the place of the one before."""
        ...

    def show_logo(self, owner: str, digest: str) -> None:
        """An admin looked at it. `Conflict("logo")` unless it is this one by then."""
        ...

    def drop_logo(self, owner: str) -> None:
        """Nothing if there is none."""
        ...

    def add_grant(self, grant: Grant) -> None: ...
    def add_code(self, code: AuthorizationCode) -> None: ...
    def add_family(self, family: RefreshFamily) -> None:
        """`Conflict("grant")` if the grant was revoked meanwhile."""
        ...

    def revoke_grant(self, grant: GrantId, now: datetime) -> None:
        """The grant, its codes and its refresh families."""
        ...

    def revoke_grants(
        self,
        account: AccountId,
        now: datetime,
        *,
        client: ClientId | None = None,
        sid: Sid | None = None,
        keep_offline: bool = False,
    ) -> None:
        """All grants of the account that match; `keep_offline` spares those that outlive a session."""
        ...

    def revoke_access_token(self, token_id: str, expires_at: datetime) -> None: ...
    def save_upstream_tokens(self, permit_holder: AccountId, provider: ProviderId, tokens: UpstreamTokens) -> None:
        """Only ever after a posting opt-in; opened with a `PostingPermit` only."""
        ...

    def claim_upstream_tokens(
        self, account: AccountId, provider: ProviderId, *, since: datetime, given_up: datetime
    ) -> None:
        """Whoever claims them renews them, alone. `Conflict("tokens")` if there are none, or somebody claimed them after
        `given_up`; what was claimed before that was cut off.
        """
        ...

    def renew_upstream_tokens(
        self, account: AccountId, provider: ProviderId, tokens: UpstreamTokens, *, since: datetime
    ) -> None:
        """New ones in place of those that were claimed at `since`, which ends the claim. `Conflict("tokens")` if they are
        gone, or somebody else's to renew by now.
        """
        ...

    def release_upstream_tokens(self, account: AccountId, provider: ProviderId, *, since: datetime) -> None:
        """End the claim of `since`, if it stands; the tokens stay as they are."""
        ...

    def drop_upstream_tokens(self, account: AccountId, provider: ProviderId) -> None: ...
    def add_posting(self, posting: Posting) -> None: ...
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
        """Compare and set: `Conflict("posting")` unless it is in `expected`."""
        ...

    def add_posting_subject(self, account: AccountId, client: ClientId, subject: str) -> None:
        """Remember whose number this is at that site, so that the site can ask to post. `Conflict("account")`."""
        ...

    def drop_posting_subject(self, account: AccountId, client: ClientId) -> None:
        """Forget it; nothing if it is not there."""
        ...

    def add_subject(self, client: ClientId, subject: str) -> None:
        """As `Streams.add_subject`: nobody is kept out of a stream that they are in no more."""
        ...

    def cancel_postings(
        self, account: AccountId, now: datetime, *, client: ClientId | None = None, provider: ProviderId | None = None
    ) -> None:
        """Everything asked for and not yet handed over is cancelled."""
        ...

    def put_removal(self, removal: Removal, *, over: RemovalState | None) -> None:
        """Keep it over the one of the same code. `Conflict("removal")` unless that is in state `over`; `None`: there is none."""
        ...

    def move_removals(self, goes: AccountId, stays: AccountId) -> None:
        """What was said of the owner of `goes` is said of the owner of `stays`: they are one."""
        ...

    def put_member(self, member: Member) -> None:
        """This role instead of any other it had. `Conflict("account")` if the account is gone."""
        ...

    def drop_member(self, account: AccountId) -> None:
        """No role; nothing if it has none."""
        ...

    def append_audit(self, entry: AuditEntry) -> None:
        """By `flows.audit` only. `Conflict("stale")` if its number is taken."""
        ...

    def add_failure(self, failure: Failure) -> None:
        """Keep it for a week (`domain.failures.KEEP`); nothing if there is one of that id."""
        ...

    def add_invitation(self, invitation: Invitation) -> None: ...
    def drop_invitation(self, invitation: str) -> None:
        """Nobody registers with it any more; nothing if there is none."""
        ...

    def register(self, registration: Registration, now: datetime) -> None:
        """Use its invitation once, and keep it. `Conflict("invitation")` if that is used up or over, `Conflict("registration")`
        if there is a site of that id."""
        ...

    def save_registration(self, registration: Registration, *, shown: bytes) -> None:
        """Over the one whose token has this digest; `Conflict("registration")` if there is none (any more)."""
        ...

    def remove_registration(self, client: ClientId, now: datetime) -> None:
        """And revoke whatever it was granted. `Conflict("registration")` if there is none."""
        ...

    def keep_document(self, document: Registration) -> None:
        """What a site's document says now. If it says the same as before, whoever looked at it still did; a block stays."""
        ...

    def block_document(self, document: Registration, now: datetime) -> None:
        """Shut the site out, known before or not, and revoke whatever it was granted."""
        ...

    def enqueue(self, delivery: Delivery) -> None: ...
    def call_off(self, kind: str, payload: Mapping[str, str], now: datetime) -> None:
        """Nobody delivers any more what is on its way of this kind and has all of this, two entries, in its payload.
        `Conflict("under_way")` if somebody delivers such a one right now.
        """
        ...

    async def commit(self) -> None:
        """Write everything queued. Raises `Conflict(what)` or `StoreUnavailable`; then nothing was written."""
        ...


class Accounts(Protocol):
    async def load(self, account: AccountId) -> Account | None: ...
    async def by_identity(self, key: IdentityKey) -> tuple[Account, Link] | None: ...
    async def links(self, account: AccountId) -> tuple[Link, ...]: ...
    async def by_user_name(self, name_key: str) -> Account | None:
        """Whose user name it is now (`account.user_name_key`)."""
        ...

    async def by_email(self, key: str) -> Account | None:
        """Whose address this is by our word (`claims.email_key`); nobody's, if nobody proved it."""
        ...

    async def is_user_name_free(self, name_key: str) -> bool:
        """`account.user_name_key` of the wanted name; one that was given up or whose account is closed is never free."""
        ...

    async def with_receipts(
        self, account: AccountId, purpose: Purpose, counterparty: str
    ) -> tuple[Account, tuple[ConsentReceipt, ...]] | None:
        """Account and receipts in one round trip: what every authorization needs."""
        ...


class Ledger(Protocol):
    """Reading receipts and disclosures. Appending goes through a unit of work, by `flows.ledger` only."""

    async def receipts(
        self, account: AccountId, purpose: Purpose | None = None, counterparty: str | None = None
    ) -> tuple[ConsentReceipt, ...]:
        """Oldest first."""
        ...

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
        """Newest first."""
        ...


class Grants(Protocol):
    async def load(self, grant: GrantId) -> Grant | None: ...
    async def with_account(self, grant: GrantId, token_id: str) -> tuple[Grant, Account] | None:
        """Grant and account in one round trip, for userinfo and introspection.

        `None` if either is gone or the access token `token_id` was revoked on its own.
        """
        ...

    async def is_revoked(self, token_id: str) -> bool:
        """Whether the access token `token_id` was revoked on its own; for one without a grant."""
        ...

    async def of_account(self, account: AccountId, *, client: ClientId | None = None) -> tuple[Grant, ...]:
        """Standing ones, newest first."""
        ...

    async def consume_code(self, digest: bytes, now: datetime) -> Redeemed | AlreadyRedeemed | None:
        """Mark the code used, atomically: of any number of takers in any number of processes one gets `Redeemed`."""
        ...

    async def load_family(self, family_id: str) -> RefreshFamily | None: ...
    async def rotate(self, family_id: str, presented: int, client: ClientId, now: datetime) -> Rotated | Reused | None:
        """One step of refresh rotation, atomic and durable.

        Presented generation is current: step to the next (`Rotated`). It is the one before and may be retried: mark
        the retry and answer the same successor (`Rotated`, generation unchanged). It is older, or retried already:
        revoke family and grant, commit, answer `Reused`. Unknown, revoked, expired, or another client's: `None`,
        and nothing changes.
        """
        ...

    async def renew(self, family_id: str, presented: int, client: ClientId, now: datetime) -> RefreshFamily | None:
        """A refresh without rotation: the current generation stays, and only its idle time begins anew.

        Any other generation, unknown, revoked, expired, or another client's: `None`, and nothing changes.
        """
        ...


class Statuses(Protocol):
    """Places in the status lists. Whatever revokes or erases a grant, or holds its account, marks its place in the same
    unit of work."""

    async def reserve(self, count: int) -> int:
        """The first of `count` numbers that nobody else ever gets."""
        ...

    async def reserved(self) -> int:
        """How many numbers were given out so far."""
        ...

    async def ended(self, after: datetime, until: datetime) -> tuple[tuple[StatusPlace, datetime], ...]:
        """The places of grants that were ended in this time, and when."""
        ...


class Postings(Protocol):
    async def load(self, posting_id: str) -> Posting | None: ...
    async def recent(self, account: AccountId, limit: int = 20) -> tuple[Posting, ...]: ...
    async def account_of(self, client: ClientId, subject: str) -> AccountId | None:
        """Whose number this is at that site; known only while an opt-in of theirs stands there."""
        ...


class Registrations(Protocol):
    """Sites that put themselves in, and the invitations for that."""

    async def invitation(self, digest: bytes) -> Invitation | None: ...
    async def invitations(self, after: str, limit: int = 200) -> tuple[Invitation, ...]:
        """By id, those that come after this one, good or over; the empty id comes before all."""
        ...

    async def load(self, client: ClientId) -> Registration | None: ...
    async def after(self, client: ClientId, limit: int = 200) -> tuple[Registration, ...]:
        """By id, those that come after this one; the empty id comes before all."""
        ...


class Removals(Protocol):
    """Who was said to have left. Outlives the accounts: the person can still look up what became of it."""

    async def load(self, code: str) -> Removal | None: ...
    async def waiting(self, limit: int = 200) -> tuple[Removal, ...]:
        """Not decided yet, oldest first."""
        ...


class Pictures(Protocol):
    """Pictures of people, encrypted at rest."""

    async def load(self, account: AccountId) -> Picture | None: ...


class Logos(Protocol):
    """Logos of sites and providers."""

    async def load(self, owner: str) -> DrawnLogo | None: ...
    async def after(self, owner: str, limit: int = 200) -> tuple[Logo, ...]:
        """Without their bytes, by owner: those after this one."""
        ...

    async def shown(self, digest: str) -> bytes | None:
        """The PNG of one that is shown."""
        ...


class Staff(Protocol):
    async def all(self) -> tuple[Member, ...]:
        """Longest with their role first."""
        ...

    async def role(self, account: AccountId) -> Role | None: ...


class Audit(Protocol):
    """Reading the audit trail. Appending goes through a unit of work, by `flows.audit` only."""

    async def last(self) -> AuditEntry | None: ...
    async def entries(self, after: int, limit: int) -> tuple[AuditEntry, ...]:
        """Those with a number above `after`, in order."""
        ...


class Failures(Protocol):
    """What went wrong with providers in the last week."""

    async def newest(self, provider: ProviderId, limit: int) -> tuple[Failure, ...]:
        """The last ones, newest last."""
        ...

    async def load(self, id_: str) -> Failure | None: ...


class Vault(Protocol):
    """Upstream tokens, encrypted at rest. Opens with a permit, not with an account id."""

    async def open(self, permit: PostingPermit) -> UpstreamTokens | None: ...
    async def holds(self, account: AccountId, provider: ProviderId) -> bool: ...


class Outbox(Protocol):
    async def claim(self, now: datetime, limit: int) -> tuple[Delivery, ...]:
        """Due deliveries, each claimed by one process for a minute."""
        ...

    async def done(self, delivery_id: str) -> None: ...
    async def retry(self, delivery_id: str, due_at: datetime, error: str) -> None: ...
    async def put_off(self, delivery_id: str, due_at: datetime) -> None:
        """Due then, and nobody's now; what was not tried counts as no try."""
        ...

    async def give_up(self, delivery_id: str, error: str) -> None: ...
    async def pending(self, payload_key: str, payload_value: str, limit: int = 1000) -> tuple[Delivery, ...]:
        """What is still on its way, oldest first, and no more than the limit."""
        ...

    async def traces(self, payload_key: str, payload_value: str) -> tuple[tuple[Delivery, bool], ...]:
        """What is still on its way or was given up, oldest first, and whether it was given up; what arrived is gone."""
        ...

    async def failing(self, limit: int) -> tuple[tuple[Delivery, bool], ...]:
        """What failed at least once and has not arrived, whoever it is for: oldest first, and whether it was given up."""
        ...


class Streams(Protocol):
    """What sites have set at their streams of security events."""

    async def load(self, client: ClientId) -> Stream:
        """As it is where a site set nothing, if it never did."""
        ...

    async def put(self, stream: Stream) -> None:
        """In the place of what was loaded, whose version it has. Raises `Conflict("stale")` if it was set meanwhile."""
        ...

    async def remove_subject(self, client: ClientId, subject: str, most: int) -> bool:
        """Keep that this number is out of the site's stream; whether it is: not if `most` others are already."""
        ...

    async def add_subject(self, client: ClientId, subject: str) -> None:
        """It is in again; nothing if it never was out."""
        ...

    async def add_everybody(self, client: ClientId) -> None:
        """Nobody is out of this site's stream any more."""
        ...

    async def is_removed(self, client: ClientId, subject: str) -> bool: ...


class SigningKeys(Protocol):
    async def all(self) -> tuple[SigningKeyRecord, ...]: ...
    async def add(self, *records: SigningKeyRecord) -> None:
        """`Conflict("kid")` if one exists."""
        ...

    async def retire(self, kid: str, at: datetime) -> None: ...
    async def remove(self, kid: str) -> None: ...


class Durable(Protocol):
    """The durable store as a whole."""

    @property
    def accounts(self) -> Accounts: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def grants(self) -> Grants: ...
    @property
    def postings(self) -> Postings: ...
    @property
    def vault(self) -> Vault: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def keys(self) -> SigningKeys: ...
    @property
    def statuses(self) -> Statuses: ...
    @property
    def registrations(self) -> Registrations: ...
    @property
    def removals(self) -> Removals: ...
    @property
    def pictures(self) -> Pictures: ...
    @property
    def logos(self) -> Logos: ...
    @property
    def staff(self) -> Staff: ...
    @property
    def streams(self) -> Streams: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def failures(self) -> Failures: ...
    def unit(self) -> UnitOfWork: ...
    async def purge(self, now: datetime, limit: int = 500) -> int:
        """Delete at most `limit` expired rows of each kind; how many went."""
        ...

    async def ping(self) -> None:
        """Raises `StoreUnavailable`."""
        ...

    async def close(self) -> None: ...


# --- browser memory -----------------------------------------------------------------------------------


class Transactions(Protocol):
    """Sign-in transactions after the callback: bytes that only the browser's cookie can open."""

    async def save(self, transaction_id: str, sealed: bytes, expires_at: datetime) -> None: ...
    async def load(self, transaction_id: str, now: datetime) -> bytes | None: ...
    async def delete(self, transaction_id: str) -> bool:
        """Whether it was still there: of any number of takers one gets `True`."""
        ...


class Sessions(Protocol):
    async def save(self, session: Session) -> None:
        """New, or signed in anew. An ended one stays ended."""
        ...

    async def touch(self, session: Session) -> None:
        """Seen again. Nothing if it ended or was signed in anew meanwhile: what a page had loaded brings nothing back."""
        ...

    async def by_digest(self, secret_digest: bytes, now: datetime) -> Session | None:
        """The live session of a cookie."""
        ...

    async def of_account(self, account: AccountId, now: datetime) -> tuple[Session, ...]:
        """Live ones, newest first."""
        ...

    async def of_upstream(self, upstream: str, now: datetime) -> tuple[Session, ...]:
        """Live ones that began with this session of a provider (`Session.upstream`), newest first."""
        ...

    async def end(self, sid: Sid) -> Session | None:
        """End it; the session as it was, or `None` if there was none."""
        ...

    async def end_all(self, account: AccountId, *, keep: Sid | None = None) -> tuple[Session, ...]:
        """End all of the account's sessions but `keep`; the ended ones."""
        ...


class Replay(Protocol):
    async def first_time(self, key: str, expires_at: datetime) -> bool:
        """Whether this key was never seen before; fails closed by raising `StoreUnavailable`."""
        ...


class Limits(Protocol):
    async def hit(self, key: str, *, limit: int, window: int, now: datetime) -> int:
        """Count one try. 0 if it is within `limit` per `window` seconds, else seconds to wait."""
        ...


class BrowserMemory(Protocol):
    """Browser memory as a whole."""

    @property
    def transactions(self) -> Transactions: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def replay(self) -> Replay: ...
    @property
    def limits(self) -> Limits: ...
    async def purge(self, now: datetime, limit: int = 500) -> int: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...


# --- adapters -----------------------------------------------------------------------------------------


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware UTC."""
        ...


class Entropy(Protocol):
    def token(self, nbytes: int = 32) -> str:
        """URL-safe random text of `nbytes` bytes of entropy."""
        ...

    def bytes(self, nbytes: int) -> bytes: ...
    def reference(self) -> str:
        """A reference code to read aloud, such as `K7Q2-91XM`."""
        ...


class Signer(Protocol):
    """Signs what left through the gates. There is no overload that takes claims from anywhere else than the flows."""

    def sign(self, payload: Mapping[str, Any], *, typ: str, algorithm: SigningAlgorithm) -> str:
        """A compact JWS with `typ`, `alg` and `kid` (RFC 7515 §3.1)."""
        ...

    def own(self, token: str, *, typ: str, now: datetime) -> Mapping[str, Any] | None:
        """The claims of a token we signed ourselves, expired or not; `None` if it is not ours or of another type."""
        ...


class ClientTokens(Protocol):
    """Checks what sites signed, against the keys they registered."""

    async def claims(
        self, client: Client, token: str, *, algorithms: tuple[str, ...], types: frozenset[str]
    ) -> Mapping[str, Any]:
        """The claims of a compact JWS that this client signed; what they say is the caller's to check.

        Raises `UpstreamInvalid(check)`; `UpstreamUnavailable` when the client's keys cannot be had.
        """
        ...

    async def at(self, address: str) -> str:
        """The token that a client published at this address, read by one request. Raises an `UpstreamError`."""
        ...


class PictureSource(Protocol):
    """Where pictures of people come from."""

    async def fetch(self, address: str) -> bytes | None:
        """The picture at this address, drawn anew as our own JPEG; `None` for whatever went wrong. Never raises."""
        ...


class LogoSource(Protocol):
    """Where logos come from: an https address, or a file that an admin named."""

    async def source(self, option: str) -> str:
        """`Logo.source` of what is there now; asks nobody."""
        ...

    async def draw(self, option: str) -> bytes:
        """The logo there, drawn anew as our own PNG. Raises `LogoUnusable`."""
        ...


class PictureAddresses(Protocol):
    """Addresses of pictures: the same picture has another one at each site, which nobody can guess or tell apart."""

    def path(self, shared: SharedPicture) -> str:
        """The same one each time."""
        ...

    def read(self, name: str) -> SharedPicture | None:
        """What the last part of such a path stands for; `None` unless we made it."""
        ...


class Handles(Protocol):
    """Access and refresh tokens: computed from what they stand for, under a key; stored nowhere.

    An access token names its grant and carries its own end, so issuing one costs no write. A refresh token is
    HMAC(key, family, generation): a lost answer can be repeated without keeping it (decision 21).
    """

    def access_token(self, access: AccessToken) -> str: ...
    def read_access_token(self, token: str) -> AccessToken | None:
        """`None` unless we made it. Expiry is the caller's to check."""
        ...

    def refresh_token(self, family_id: str, generation: int, jkt: str | None = None) -> str:
        """`jkt`: the thumbprint of the key it is bound to."""
        ...

    def read_refresh_token(self, token: str) -> RefreshToken | None: ...
    def entry(self, grant: GrantId) -> str:
        """What a browser shows at a host behind a proxy; it is good while its grant is."""
        ...

    def read_entry(self, text: str) -> GrantId | None:
        """`None` unless we made it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What an access token says about itself."""

    grant: GrantId
    """Empty where no person stands behind it; then `client` says whose it is."""
    token_id: str
    scopes: frozenset[str]
    issued_at: datetime
    expires_at: datetime
    audience: tuple[str, ...] = ()
    """Who may take it, where it says so."""
    client: ClientId | None = None
    """The site that has it for itself (RFC 6749 §4.4)."""
    jkt: str | None = None
    """The thumbprint of the key that it is of use with, and with no other (RFC 9449 §6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """What a refresh token says about itself."""

    family: str
    generation: int
    jkt: str | None = None
    """As for an access token (RFC 9449 §5)."""
