"""What a client asked for and what it was given: request, grant, code, refresh family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.domain.claims_request import NOTHING, ClaimsRequest
from broker.domain.values import AccountId, ClaimName, ClientId, GrantId, ReceiptId, Scope, Sid

CODE_LIFETIME: Final = timedelta(seconds=60)
ACCESS_TOKEN_LIFETIME: Final = timedelta(minutes=10)
ID_TOKEN_LIFETIME: Final = timedelta(minutes=10)
SESSION_TOKEN_LIFETIME: Final = timedelta(minutes=10)
CLOCK_SKEW: Final = timedelta(seconds=60)
"""How far our own machines' clocks may differ: a token from further in the future is not taken (catalogue 165)."""
REFRESH_IDLE_LIFETIME: Final = timedelta(days=30)
REFRESH_LIFETIME: Final = timedelta(days=180)
REFRESH_RETRY: Final = timedelta(seconds=30)
"""How long a lost answer may be asked for once more (decision 21)."""

OFFLINE_ACCESS: Final = Scope("offline_access")

QUERY: Final = "query"
FORM_POST: Final = "form_post"
JWT: Final = "jwt"
SIGNED_MODES: Final = {JWT: QUERY, "query.jwt": QUERY, "form_post.jwt": FORM_POST}
"""Answers that we sign (JARM §2.3), and how each of them travels."""
RESPONSE_MODES: Final = (QUERY, FORM_POST, *SIGNED_MODES)
"""How an answer may travel to the site. Never behind a `#`: a code has no business in scripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """A checked request to `/authorize` (OpenID Connect Core §3.1.2.1). Made by `domain.checks` only."""

    client_id: ClientId
    redirect_uri: str
    response_type: str
    response_mode: str
    scopes: frozenset[Scope]
    state: str | None = field(default=None, repr=False)
    nonce: str | None = field(default=None, repr=False)
    code_challenge: str | None = field(default=None, repr=False)
    prompt: frozenset[str] = frozenset()
    max_age: int | None = None
    """Seconds since the person last proved who they are, at most."""
    login_hint: str | None = field(default=None, repr=False)
    idp_hint: str | None = None
    ui_locales: tuple[str, ...] = ()
    acr_values: tuple[str, ...] = ()
    id_token_hint: str | None = field(default=None, repr=False)
    pushed: str | None = None
    """Where the site's server had pushed it to, by a name that opens nothing; good for one answer (RFC 9126)."""
    device: str | None = None
    """The device that waits for the answer, by a name that opens nothing (RFC 8628)."""
    claims: ClaimsRequest = NOTHING
    resources: tuple[str, ...] = ()
    """Interfaces that the site wants tokens for (RFC 8707)."""
    dpop_jkt: str | None = None
    """The key that the code will be redeemed with, and no other (RFC 9449 §10)."""

    @property
    def wanted_acr(self) -> tuple[str, ...]:
        """Levels of authentication, the best first: those insisted on, or else those that would be liked."""
        return self.acr_values if self.claims.acr is None else self.claims.acr


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPlace:
    """Where a grant's bit is found: see `broker.domain.status`."""

    list: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an account lets a client have, since one sign-in. Everything the client holds hangs on it."""

    id: GrantId
    account: AccountId
    client: ClientId
    scopes: frozenset[Scope]
    claims: Mapping[ClaimName, str]
    """Claim → the version of its purpose that the person agreed to."""
    receipt: ReceiptId
    sid: Sid
    auth_time: datetime
    amr: tuple[str, ...]
    acr: str | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    status: StatusPlace | None = None
    """Its own place for good: only a grant whose tokens a site checks by itself has one."""
    in_id_token: frozenset[ClaimName] = frozenset()
    """Claims asked by name for the ID token (OpenID Connect Core §5.5)."""
    not_in_userinfo: frozenset[ClaimName] = frozenset()
    """Claims asked by name for other places than userinfo."""
    resources: tuple[str, ...] = ()
    """All that its access tokens may be meant for beside ourselves; nothing: ourselves alone."""
    code_jkt: str | None = None
    """The only key that its code may be redeemed with, if the site named one (RFC 9449 §10)."""
    known_as: AccountId | None = None
    """The account whose number the site knows the person by, where that is one that was merged into `account`."""

    @property
    def number_of(self) -> AccountId:
        """The account that the person's number at the site is computed from: one number for all that hangs on a grant."""
        return self.known_as or self.account

    @property
    def outlives_session(self) -> bool:
        """Whether the person agreed to this site acting while they are away."""
        return OFFLINE_ACCESS in self.scopes


def is_standing(grant: Grant, now: datetime) -> bool:
    """Whether anything may still be given on this grant."""
    return grant.revoked_at is None and now < grant.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """One code: of the code itself only the digest is kept (RFC 6749 §4.1.2)."""

    digest: bytes = field(repr=False)
    grant: GrantId
    client: ClientId
    redirect_uri: str
    nonce: str | None = field(repr=False)
    code_challenge: str | None = field(repr=False)
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFamily:
    """All refresh tokens that follow from one code. The tokens are computed from it and stored nowhere (decision 21).

    Only `generation` is current; `generation - 1` may be repeated once within `REFRESH_RETRY`; any other is reuse.
    """

    id: str
    grant: GrantId
    client: ClientId
    generation: int
    created_at: datetime
    rotated_at: datetime
    retried: bool
    expires_at: datetime
    idle_expires_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The presented refresh token was good; this is the family after it."""

    family: RefreshFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """The presented refresh token was used before: the family and its grant have been revoked and committed."""

    family: RefreshFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """The code was unused until now, and is used from now on, whatever the checks that follow say."""

    code: AuthorizationCode
    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyRedeemed:
    """The code came back: everything it led to must be revoked (RFC 6749 §4.1.2)."""

    grant: GrantId


def may_retry(family: RefreshFamily, presented: int, now: datetime) -> bool:
    """Whether a superseded token may be answered once more because the first answer was lost."""
    return presented == family.generation - 1 and not family.retried and now - family.rotated_at <= REFRESH_RETRY


def is_usable(family: RefreshFamily, now: datetime) -> bool:
    """Whether the family is neither revoked nor past its idle or absolute lifetime."""
    return family.revoked_at is None and now < family.expires_at and now < family.idle_expires_at
