"""The second gate: `permit()` is the only way to obtain permission to post for somebody.

Off is the absence of a receipt: no default could be wrong. A `PostingPermit` cannot be built or altered elsewhere.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol
from urllib.parse import urlsplit

from broker.domain.client import Client
from broker.domain.consent import ConsentReceipt, Purpose, standing
from broker.domain.provider import NeedsPerson, Posted, PostUnknown, UpstreamTokens
from broker.domain.values import AccountId, ClaimName, ClientId, ProviderId, ReceiptId
from broker.errors import PostingNotPermitted

_MINT: Final = object()
PERMIT_LIFETIME: Final = timedelta(minutes=1)
POST: Final = ClaimName("posting")
"""The one thing a posting receipt shows and accepts."""
THIS_POST: Final = ClaimName("post")
"""What the receipt of one yes or no to one post shows."""
WORDING: Final = "1"
"""The version of the words on the opt-in and preview pages: a new one for every change of what they mean."""
LASTING_WORDING: Final = "1 lasting"
"""The same of an opt-in page that says that the permission outlives the visit."""
MAX_TEXT: Final = 5000
MAX_ADDRESS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be posted: shown to the person exactly so, and never rewritten afterwards."""

    text: str = field(repr=False)
    url: str | None = field(default=None, repr=False)
    return_url: str = field(default="", repr=False)
    """Where the network's own window may send the person afterwards."""
    idempotency_key: str = ""

    @property
    def digest(self) -> str:
        """What binds a permit to this text, link and nothing else (catalogue 191)."""
        return hashlib.sha256(f"{self.text}\x00{self.url or ''}".encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingOptIn:
    """That a person lets one site post through one provider. Derived from the ledger, stored nowhere else."""

    account: AccountId
    provider: ProviderId
    client: ClientId
    receipt: ReceiptId
    since: datetime
    wording: str
    """The version of the words that were agreed to."""
    client_version: str | None
    """What the site looked like then: `Client.version`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingPermit:
    """Permission for one message, one minute, one account, provider and client."""

    account: AccountId
    provider: ProviderId
    client: ClientId
    receipt: ReceiptId
    message_digest: str
    expires_at: datetime
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            msg = "a PostingPermit is made by permit() only"
            raise TypeError(msg)


class PostState(StrEnum):
    """What became of one request to post."""

    ASKED = "asked"
    DECLINED = "declined"
    SENDING = "sending"
    POSTED = "posted"
    NEEDS_PERSON = "needs_person"
    UNKNOWN = "unknown"
    FAILED = "failed"
    UNDONE = "undone"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One request of a site to post, and what became of it."""

    id: str
    account: AccountId
    provider: ProviderId
    client: ClientId
    message: Message = field(repr=False)
    return_to: str = field(repr=False)
    state: PostState
    created_at: datetime
    expires_at: datetime
    receipt: ReceiptId | None = None
    remote_id: str | None = None
    remote_url: str | None = field(default=None, repr=False)
    settled_at: datetime | None = None


class Publisher(Protocol):
    """A network that can be posted to. Held by `PostingGate` and by nothing else."""

    @property
    def provider(self) -> ProviderId: ...
    @property
    def label(self) -> str: ...
    @property
    def scopes(self) -> tuple[str, ...]:
        """What the person must grant there to let us post; empty where only they can post."""
        ...

    @property
    def lasting(self) -> tuple[str, ...]:
        """What is asked for beside, so that the permission outlives the first access token; nobody must grant it."""
        ...

    @property
    def needs_person(self) -> bool:
        """Whether the network only offers its own window."""
        ...

    async def publish(
        self, permit: PostingPermit, message: Message, token: UpstreamTokens | None
    ) -> Posted | NeedsPerson | PostUnknown: ...

    async def undo(self, permit: PostingPermit, remote_id: str, token: UpstreamTokens | None) -> bool: ...


def counterparty(provider: ProviderId, client: ClientId) -> str:
    """How a posting receipt names both parties."""
    return f"{provider}/{client}"


def one_post(provider: ProviderId, client: ClientId) -> str:
    """How the receipt of a single post names both parties: never taken for an opt-in."""
    return f"post:{counterparty(provider, client)}"


def parties(name: str) -> tuple[ProviderId, ClientId] | None:
    """Who an opt-in receipt is about; `None` for any other receipt."""
    provider, slash, client = name.partition("/")
    return (ProviderId(provider), ClientId(client)) if slash and ":" not in provider else None


def is_address(url: str) -> bool:
    """Whether this can be linked to and gone to: http or https, printable ASCII, a host and nothing before it."""
    if len(url) > MAX_ADDRESS or not all("!" <= ch <= "~" and ch not in '\\"<>^`{|}' for ch in url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc and port != 0


def message_problem(text: str, url: str | None) -> str | None:
    """Why this cannot be posted, or `None`. What can be is never rewritten (catalogue 195).

    Control characters are refused: the person would not see in the preview what goes out.
    """
    if not text.strip() or len(text) > MAX_TEXT:
        return f"text must be 1 to {MAX_TEXT} characters."
    if any((unicodedata.category(ch) in {"Cc", "Cs"} and ch not in "\n\r\t") or ch in _OVERRIDES for ch in text):
        return "text holds control characters."
    if url is not None and not is_address(url):
        return "url must be an http or https address."
    return None


_OVERRIDES: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make text read in another order than it is written; marks that right-to-left scripts need are not among them."""


def opt_in(
    receipts: Iterable[ConsentReceipt], account: AccountId, provider: ProviderId, client: ClientId
) -> PostingOptIn | None:
    """The opt-in that stands, if any. Receipts of anybody or anything else count for nothing."""
    ours = [
        receipt
        for receipt in receipts
        if receipt.purpose is Purpose.POST_UPSTREAM
        and receipt.account == account
        and receipt.counterparty == counterparty(provider, client)
    ]
    now = standing(ours)
    if now.receipt is None or POST not in now.granted or now.since is None:
        return None
    return PostingOptIn(
        account=account,
        provider=provider,
        client=client,
        receipt=now.receipt,
        since=now.since,
        wording=now.granted[POST],
        client_version=now.counterparty_version,
    )


def permit(
    opted: PostingOptIn | None, client: Client, account: AccountId, message: Message, now: datetime
) -> PostingPermit:
    """Permission to post exactly this message. Raises `PostingNotPermitted` if anything at all is missing."""
    if opted is None or opted.account != account or opted.client != client.client_id:
        raise PostingNotPermitted(detail="no opt-in standing")
    if not (client.may_post and client.enabled):
        raise PostingNotPermitted(detail="client may not post")
    if opted.wording not in {WORDING, LASTING_WORDING} or opted.client_version != client.version:
        raise PostingNotPermitted(detail="opt-in to other words, or to a site that looked different")
    return PostingPermit(
        account=account,
        provider=opted.provider,
        client=opted.client,
        receipt=opted.receipt,
        message_digest=message.digest,
        expires_at=now + PERMIT_LIFETIME,
        mint=_MINT,
    )


def permit_to_take_back(opted: PostingOptIn, account: AccountId, now: datetime) -> PostingPermit:
    """A permit that fits no message: opens the vault once more, to delete a post or to revoke the token itself.

    It needs no site that may still post: taking back is never refused because posting is.
    """
    if opted.account != account:
        raise PostingNotPermitted(detail="opt-in of another account")
    return PostingPermit(
        account=account,
        provider=opted.provider,
        client=opted.client,
        receipt=opted.receipt,
        message_digest="",
        expires_at=now + PERMIT_LIFETIME,
        mint=_MINT,
    )


def check_permit(permit: PostingPermit, message: Message, now: datetime) -> None:
    """Raises `PostingNotPermitted` unless the permit is for this message and still good."""
    if permit.message_digest != message.digest:
        raise PostingNotPermitted(detail="message differs from the one permitted")
    if now >= permit.expires_at:
        raise PostingNotPermitted(detail="permit expired")
