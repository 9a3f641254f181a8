"""What an upstream must offer, in two calls: where to send the person, and who came back.

`Provider` signs people in. `Publisher` posts. They are apart on purpose: holding a provider gives no way to post.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from broker.domain.values import ClaimName, IdentityKey, ProviderId


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedField:
    """One claim a provider may tell us: named in the notice before leaving, shown in the preview after."""

    claim: ClaimName
    scope: str
    """The provider's own word for what must be asked to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Who may speak for the address that somebody typed, as it said itself: sealed with the attempt until the answer."""

    endpoint: str = field(repr=False)
    """Where the provider is that is asked, and that alone may confirm the answer."""
    claimed_id: str | None = field(default=None, repr=False)
    """The address itself; `None` where it is the provider's own, which will say whose."""
    local_id: str | None = field(default=None, repr=False)
    """What the provider calls that person."""
    server: str = field(default="", repr=False)
    """For a kind that each server speaks for its own people: which server."""
    place: str = ""
    """The last part of the address that it sends people back to, where each server has its own (mix-up, RFC 9700 §4.4.2)."""
    told: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it said of itself that is needed again when the answer comes."""
    instead: ProviderId | None = None
    """A provider of the configuration that it is: the way in is that one's own, and nothing else here counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a provider needs to know of one sign-in. Made by `flows.sign_in`, never by the provider."""

    provider: ProviderId
    redirect_uri: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    scopes: tuple[str, ...]
    fresh: bool = False
    """The person must prove who they are anew (`prompt=login`, `auth_type=reauthenticate`)."""
    ask_again: bool = False
    """Ask once more for what was declined (`auth_type=rerequest`)."""
    login_hint: str | None = field(default=None, repr=False)
    ui_locales: tuple[str, ...] = ()
    acr_values: tuple[str, ...] = ()
    """Levels of authentication that the site would like, the best first; a provider is told those it is believed for."""
    found: Found | None = field(default=None, repr=False)
    """For a `Finder`: what it found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a provider told us about a person, now. Values are normalised; only standard claim names occur."""

    provider: ProviderId
    key: IdentityKey
    claims: Mapping[ClaimName, str] = field(repr=False)
    verified: frozenset[ClaimName]
    """Claims the provider vouches for *and* that we let it vouch for."""
    granted: frozenset[str]
    """Scopes the person granted at the provider, in the provider's words."""
    declined: frozenset[ClaimName]
    """Claims that were asked and that the person declined there."""
    authenticated_at: datetime | None
    """When the provider says the person proved who they are; `None` if it does not say."""
    amr: tuple[str, ...] = ()
    acr: str | None = None
    account_hint: str | None = field(default=None, repr=False)
    """How the person knows this identity (an address, a user name): for their own account page only."""
    session: str | None = field(default=None, repr=False)
    """A digest of the provider's name for its session, if it has one: by it we hear that it is over."""
    id_token: str | None = field(default=None, repr=False)
    """The token itself, only where it is to be shown to the provider again when the person signs out there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Whom the ID token named that came with a refresh token: later ones have to say the same (OpenID Connect Core §12.2)."""

    issuer: str
    subject: str = field(repr=False)
    nonce: str | None = field(default=None, repr=False)
    azp: str | None = None
    auth_time: datetime | None = None
    issued_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTokens:
    """What the provider gave us to act with. Apart from `Identity`, so that it cannot travel with it."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    scopes: frozenset[str] = frozenset()
    named: Named | None = field(default=None, repr=False)
    """Whom they are of, where an ID token said so and they can be renewed."""

    def over(self, now: datetime) -> bool:
        """Whether the access token has run out by now, as far as the provider said when it would."""
        return self.expires_at is not None and self.expires_at <= now

    def lives_on_in(self, other: UpstreamTokens | None) -> bool:
        """Whether taking these back would end the other ones, too: some providers give the same token a second time."""
        if other is None:
            return False
        is_one_grant = self.refresh_token is not None and self.refresh_token == other.refresh_token
        return is_one_grant or self.access_token == other.access_token


def session_name(issuer: str, sid: str) -> str:
    """What is kept of a provider's `sid`: enough to know it again, and of no use anywhere else."""
    return hashlib.sha256(f"{issuer}\x00{sid}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """What must never have been seen before: an answer that can be shown to us by itself, again and again."""

    key: str = field(repr=False)
    until: datetime
    """When it is refused anyway, because it is too old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOut:
    """A provider's word that somebody signed out there."""

    key: IdentityKey
    session: str | None = field(repr=False)
    """Which of their sessions, as `Identity.session` names it; `None`: all of them."""
    at: datetime
    once: Once
    """What the word is known by, when it comes a second time."""


@runtime_checkable
class TellsOfLogout(Protocol):
    """A provider that tells us when somebody signs out there (OpenID Connect Back-Channel Logout 1.0)."""

    async def read_logout(self, token: str) -> SignedOut:
        """Who signed out, as a logout token says.

        Raises `UpstreamInvalid(check)` unless it is the provider's word, and a recent one; `UpstreamUnavailable` when
        its keys cannot be had.
        """
        ...


@runtime_checkable
class FramesLogout(Protocol):
    """A provider whose own page calls us in a frame when somebody signs out there (OpenID Connect Front-Channel Logout 1.0)."""

    @property
    def framed_by(self) -> str:
        """Whose pages may: an origin; nothing: nobody's, as nobody switched it on."""
        ...

    def read_frame(self, params: Mapping[str, str]) -> str:
        """Which of its sessions is over, as `Identity.session` names it. Raises `UpstreamInvalid(check)`."""
        ...


@runtime_checkable
class EndsSessions(Protocol):
    """A provider that people can be sent to, to sign out there as well (OpenID Connect RP-Initiated Logout 1.0)."""

    @property
    def ends_sessions(self) -> bool:
        """Whether that is offered: only where somebody switched it on."""
        ...

    @property
    def keeps_hints(self) -> bool:
        """Whether its ID token is kept with a session, to say there who signs out."""
        ...

    async def sign_out_url(self, *, back: str, state: str, locale: str, hint: str | None = None) -> str:
        """Where to send the browser, which comes back to `back` with `state`, if it does.

        `hint`: the `Identity.id_token` of the sign-in that is over, if it was kept: by it the provider knows who signs out.

        Raises `UpstreamUnavailable`, and `UpstreamInvalid(check)` where the provider names no such page.
        """
        ...


@runtime_checkable
class Renews(Protocol):
    """A provider whose access tokens can be had anew without the person (RFC 6749 §6)."""

    async def renew(self, tokens: UpstreamTokens) -> UpstreamTokens:
        """New tokens for those that have run out; with a refresh token to be used from now on.

        Raises `GrantOver` when the provider takes the refresh token no more, `UpstreamInvalid(check)` for an answer that
        is not for the same person, `UpstreamUnavailable` and `UpstreamRejected`: then the old ones are to be kept.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """The answer of `Provider.identify`."""

    identity: Identity
    tokens: UpstreamTokens | None
    once: Once | None = None
    """For providers whose answer is not redeemed once over there: it counts only the first time here."""
    former: IdentityKey | None = field(default=None, repr=False)
    """Who this was in an older protocol, by the provider's word alone: nothing until a `Successor` proves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """Who a provider told an app of a site that somebody is, by a token that the app passed on to us."""

    identity: Identity = field(repr=False)
    at: datetime
    """When the provider made the token."""
    once: Once
    """What the token is known by, when it comes a second time."""


@runtime_checkable
class TakesAppTokens(Protocol):
    """A provider whose SDK signs people in inside an app, where no browser of ours is (Facebook's Limited Login)."""

    @property
    def takes_app_tokens(self) -> bool:
        """Whether such tokens are taken: only where somebody switched it on."""
        ...

    async def read_app_token(self, token: str, verifier: str) -> Brought:
        """Who it is, as the token says that the SDK gave the app.

        `verifier`: what the app alone knows; the token's nonce is its hash (RFC 7636 §4.2, `S256`). Raises `UpstreamInvalid(check)`;
        `UpstreamUnavailable` when the provider's keys cannot be had.
        """
        ...

    async def check_app_tokens(self) -> None:
        """Whether the keys can be had by which such tokens are checked. Raises an `UpstreamError` if not."""
        ...


class Provider(Protocol):
    """An upstream identity service. Has no way to post and no way to switch `state` off."""

    @property
    def id(self) -> ProviderId: ...
    @property
    def label(self) -> str: ...
    @property
    def offers(self) -> tuple[OfferedField, ...]:
        """What it may tell us, in the order to show."""
        ...

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        """What is asked at sign-in. Never a posting scope."""
        ...

    @property
    def can_force_fresh(self) -> bool:
        """Whether `Attempt.fresh` makes the provider check the person anew (decision 26)."""
        ...

    async def authorization_url(self, attempt: Attempt) -> str:
        """Where to send the browser. Raises `UpstreamUnavailable` when the provider cannot be reached."""
        ...

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Turn the callback's parameters into who this is.

        The caller has already matched `state` with this browser and this provider.
        Raises `SignInCancelled`, `UpstreamUnavailable`, `UpstreamRejected` or `UpstreamInvalid(check)`.
        """
        ...

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """Take back what the person granted us there, where that is possible; otherwise do nothing."""
        ...

    async def check(self) -> None:
        """Whether the provider can be used now (discovery, keys). Raises an `UpstreamError` if not."""
        ...


@runtime_checkable
class Finder(Protocol):
    """A provider of which there are many: people type an address, and that says where to send them."""

    @property
    def asks(self) -> str:
        """What people are to type, in a word that the page knows: `openid`, `server`, `handle`, `address`."""
        ...

    async def find(self, typed: str) -> Found:
        """Ask the address that was typed. Raises `FormInvalid` with a code for the field `identifier`."""
        ...


class Kept(Protocol):
    """What servers that people name gave us: under a name, sealed, for a while. Losing it costs a registration."""

    async def load(self, name: str) -> Mapping[str, str] | None: ...
    async def save(self, name: str, values: Mapping[str, str], until: datetime) -> None: ...
    async def drop(self, name: str) -> None: ...


class OurRequests(Protocol):
    """What proves to a provider that a request is ours, and where it can fetch one. See `flows.upstream_requests`."""

    def request(self, parameters: Mapping[str, Any], *, client_id: str, provider_issuer: str, algorithm: str) -> str:
        """These parameters as a request object for that provider (RFC 9101 §4). `algorithm`: `RS256`, `ES256` or `none`."""
        ...

    def assertion(self, *, client_id: str, provider_issuer: str, algorithm: str) -> str:
        """A proof of who we are for that provider (RFC 7523 §3). `algorithm`: `RS256` or `ES256`."""
        ...

    async def leave(self, provider: ProviderId, request: str) -> str:
        """Where this provider can fetch a request for the next minutes. Raises `StoreUnavailable`."""
        ...


def callback_of(base: str, provider: ProviderId, place: str = "") -> str:
    """The address that people come back to: one for each provider, and for each server that people name (`place`).

    `base`: what all of them begin with, its last `/` included.
    """
    return f"{base}{provider}{f'/{place}' if place else ''}"


def requests_of(issuer: str, provider: ProviderId) -> str:
    """What the addresses of requests begin with that this provider can fetch. `issuer`: our own address."""
    return f"{issuer}/requests/{provider}/"


def our_keys_of(issuer: str) -> str:
    """Where providers find the keys that we sign with as their client (`jwks_uri`). `issuer`: our own address."""
    return f"{issuer}/client-jwks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Us:
    """Who we are to a provider that nobody registered us at."""

    name: str
    """What people there are told that we are called."""
    issuer: str
    """Our own address."""
    kept: Kept = field(repr=False)
    issuers: Mapping[str, ProviderId] = field(default_factory=dict)
    """Who speaks for whose people already: by issuer, the provider of the configuration, switched off or not."""
    requests: OurRequests | None = field(default=None, repr=False)
    """Signs what we ask; `None` where nobody can, as on the command line."""

    def client_id(self, provider: ProviderId) -> str:
        """Where what we say of ourselves is read, which is our client id (Client ID Metadata Documents)."""
        return f"{self.issuer}/client-metadata/{provider}"

    def callback(self, provider: ProviderId, place: str = "") -> str:
        """The address that people come back to from there."""
        return callback_of(f"{self.issuer}/callback/", provider, place)


@runtime_checkable
class Introduced(Protocol):
    """A provider that says itself who we are: wherever a person leads us, or by our signature."""

    def introduce(self, us: Us) -> None:
        """Called once, before anybody is sent there."""
        ...


@runtime_checkable
class DescribesUs(Protocol):
    """A provider whose servers read what we say of ourselves."""

    def described(self) -> Mapping[str, object]:
        """The document of `Us.client_id`."""
        ...


@runtime_checkable
class Successor(Protocol):
    """A provider that may have known people by another name, in an older protocol."""

    async def succeeds(self, former: IdentityKey, key: IdentityKey) -> bool:
        """Whether the older name itself says that this provider speaks for it now.

        Raises `UpstreamUnavailable` when it cannot be asked.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """The network took the post."""

    remote_id: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsPerson:
    """Only the person can post, in the network's own window at `url`; we are not told what they did there."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostUnknown:
    """The network did not answer after taking the text: never retried blindly (catalogue 192)."""

    reason: str
