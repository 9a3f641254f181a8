"""What all page contexts share: plain values only, nothing of the domain, so that a template can do no harm."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page. Every subclass names the template that shows it."""

    template: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCard:
    """A community site as people see it."""

    name: str
    host: str
    url: str
    """Its home page: where "Back to the site" leads."""
    run_by: str = ""
    logo_url: str = ""
    """An address of ours, or nothing: pages load nothing from anywhere else."""
    policy_url: str = ""
    terms_url: str = ""
    is_first_time: bool = False
    is_unreviewed: bool = False
    """It put itself in and nobody here has looked at it yet."""
    introduces_itself: bool = False
    """It says what it is at its own address, so that its host is what it is known by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderButton:
    """One way to sign in, as it stands on a page before anybody is sent there (promise P16)."""

    id: str
    label: str
    """`Facebook`, `Facebook (sandbox)`."""
    host: str
    brand: str = ""
    """Colours and mark: `facebook`, `google`, `apple`, `steam`, `github`, `openid`, …; anything else is neutral."""
    logo_url: str = ""
    """An address of ours, or nothing: what it wears if its brand has no mark."""
    text: str = ""
    """The words on the button if the brand wants its own; else "Continue with <label>"."""
    privacy_policy_url: str = ""
    tells: tuple[str, ...] = ()
    """Claim names of what it may tell us."""
    state: str = "ok"
    """`ok`, `failing` or `unavailable`."""
    is_sandbox: bool = False
    only_for: str = ""
    """`admins` or `testers` while it is not for everybody yet."""
    asks: str = ""
    """What must be typed first: `openid`, an address; `server`, where the person's account is; `handle`, what they are called there; `address`, either; nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedWay:
    """A way to sign in that begins with an address: posts `provider=<id>` and `identifier`."""

    provider: ProviderButton
    typed: str = field(default="", repr=False)
    """What was typed when it did not work."""
    problem: str = ""
    """A code of `words.PROBLEMS`: `identifier_…`, `server_…`, `handle_…`, `address_…`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyRow:
    """Signing in with a passkey, for browsers that can: posts what the browser answers. Hidden until a script shows it."""

    action: str
    challenge: str = field(repr=False)
    party: str
    """The host that passkeys here are made for."""
    problem: str = ""
    """A code of `words.PASSKEY_PROBLEMS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRef:
    """A version of the terms or of the privacy notice."""

    version: str
    effective_from: date


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsletterTick:
    """One list, and whether it is ticked: only ever because the person ticked it."""

    id: str
    label: str
    rhythm: str
    sender: str
    is_ticked: bool = False
    lang: str = ""
    """The language of the label where it is not the page's."""
    rhythm_lang: str = ""
    """The same of the rhythm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence of the catalogue with its placeholders' values: `Sentence(text="Back to %(site)s", values=(("site", "X"),))`."""

    text: str
    values: tuple[tuple[str, str | int | datetime], ...] = ()
