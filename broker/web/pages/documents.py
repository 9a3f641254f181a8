"""The pages without a sign-in; their words are made from the settings, so that they cannot drift apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import ClassVar

from broker.web.pages.base import Page, PolicyRef, ProviderButton, SiteCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Home(Page):
    """For somebody who comes directly."""

    template: ClassVar[str] = "documents/home.html"
    sites: tuple[SiteCard, ...] = ()
    providers: tuple[ProviderButton, ...] = ()
    name: str = field(default="", repr=False)
    """Who is signed in; nothing: nobody."""
    sign_in_url: str = "/sign-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeField:
    """What one field is for."""

    claim: str
    purpose: str
    audience: str
    is_needed: bool = False
    purpose_lang: str = ""
    retention: str = "until_closed"
    """`until_closed`, or a number of days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSite:
    """What one site asks for."""

    site: SiteCard
    asks: tuple[NoticeField, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyNotice(Page):
    template: ClassVar[str] = "documents/privacy.html"
    fields: tuple[NoticeField, ...]
    providers: tuple[ProviderButton, ...] = ()
    sites: tuple[NoticeSite, ...] = ()
    version: PolicyRef | None = None
    changes: tuple[str, ...] = ()
    operator: str = ""
    contact: str = ""
    is_posting_possible: bool = False
    posting_keys: tuple[str, ...] = ()
    """Labels of the networks whose access token is kept for who turned posting on there."""
    lasting_keys: tuple[str, ...] = ()
    """Those of them whose refresh token is kept, too."""
    kept_words: tuple[str, ...] = ()
    """Labels of the providers whose ID token is kept with a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms(Page):
    template: ClassVar[str] = "documents/terms.html"
    version: PolicyRef | None = None
    changes: tuple[str, ...] = ()
    operator: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Help(Page):
    template: ClassVar[str] = "documents/help.html"
    providers: tuple[str, ...] = ()
    """Labels."""
    has_codes: bool = False
    """Whether a code by e-mail can be a way in."""
    has_passkeys: bool = False
    """Whether a passkey can."""
    operator: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieRow:
    """One cookie: purpose and lifetime are sentences of the catalogue."""

    name: str
    purpose: str
    lifetime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieList(Page):
    template: ClassVar[str] = "documents/cookies.html"
    cookies: tuple[CookieRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accessibility(Page):
    template: ClassVar[str] = "documents/accessibility.html"
    operator: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalStatus(Page):
    """What becomes of a request to delete that a provider told us of; nothing on it is about anybody."""

    template: ClassVar[str] = "documents/removal.html"
    code: str
    state: str
    """`waiting`, `erased` or `kept`."""
    provider: str
    """The label."""
    asked_on: date
    decided_on: date | None = None
    had_account: bool = True
    """Whether the identity opened an account when it was asked."""
    reason: str = ""
    operator: str = ""
    contact: str = ""
