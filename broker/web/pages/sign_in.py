"""The pages of one sign-in, in the order people meet them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar

from broker.web.pages.base import NewsletterTick, Page, PasskeyRow, PolicyRef, ProviderButton, SiteCard, TypedWay


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser(Page):
    """Every way to sign in. Posts `provider=<id>` with an optional `remember_provider=1`, or `use=current|another|forget`."""

    template: ClassVar[str] = "sign_in/chooser.html"
    action: str
    providers: tuple[ProviderButton, ...]
    typed: tuple[TypedWay, ...] = ()
    """Those that begin with an address; each is a form of its own."""
    site: SiteCard | None = None
    """`None` when somebody came to us directly."""
    sent_by: str = ""
    """The label of the provider that a link sent the person here to sign in with: it is the first."""
    last_used: str = ""
    """Provider id from the signed cookie."""
    cancel_action: str = ""
    """Where "Cancel" posts to; nothing: no such button."""
    step_up: str = ""
    """Why to sign in again: `close`, `ways`, `posting`, `site`, or anything else for "go on"."""
    is_step_up: bool = False
    merges: bool = False
    """The way of another account of the same person is shown here, to make one of the two."""
    signed_in_as: str = field(default="", repr=False)
    """The name of who is signed in already: offers to go on as them."""
    makes_account: bool = False
    """The site asked for a new account (Initiating User Registration 1.0)."""
    notice: str = ""
    """A code of `words.NOTICES`: `kept_nothing`, `another`."""
    code_url: str = ""
    """Where to get a code by e-mail; nothing: that is no way in."""
    passkey: PasskeyRow | None = None
    """`None`: passkeys are no way in."""
    connects: str = ""
    """The label of the provider that is added to the account that is shown here; nothing: none is."""
    connects_to: str = field(default="", repr=False)
    """The address by which that account was found."""
    works_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInCode(Page):
    """Sign in with a code by e-mail: posts `email` to `send_action`; once a letter is sent, `code` to `check_action`.

    Says the same whether or not the address opens an account.
    """

    template: ClassVar[str] = "sign_in/code.html"
    send_action: str
    check_action: str
    chooser_url: str
    sent_to: str = field(default="", repr=False)
    """Where the letter went; nothing: none was sent."""
    typed: str = field(default="", repr=False)
    own: str = field(default="", repr=False)
    """A fresh sign-in: the account's own address, so that none is typed."""
    other_url: str = ""
    """Where another address can be typed."""
    problem: str = ""
    """A code of `words.SIGN_IN_CODE_PROBLEMS`."""
    site: SiteCard | None = None
    works_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeQuestion(Page):
    """When were you born? Posts `birth_month`, `birth_year`, or `use=account`. Never says what the limit is."""

    template: ClassVar[str] = "sign_in/age.html"
    action: str
    site: SiteCard | None = None
    unknown_at: str = ""
    """The provider that somebody came back from as nobody we know."""
    month: str = field(default="", repr=False)
    year: str = field(default="", repr=False)
    month_problem: bool = False
    year_problem: bool = False
    cancel_action: str = ""
    works_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TooYoung(Page):
    """No account here yet. Who has one already can still sign in: posts `use=account`."""

    template: ClassVar[str] = "sign_in/too_young.html"
    action: str = ""
    """Nothing: this attempt is over."""
    site: SiteCard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving(Page):
    """The 200 page after a POST that leads away (decision 1); the handler sets the Refresh header."""

    template: ClassVar[str] = "sign_in/leaving.html"
    to: str
    """The name of where it goes: `Facebook`, `Sailing Forum`."""
    url: str = field(repr=False)
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostBack(Page):
    """The answer to a site that wants it posted: a form to send there, by script or by its button."""

    template: ClassVar[str] = "sign_in/post_back.html"
    to: str
    """The site's name."""
    action: str = field(repr=False)
    fields: tuple[tuple[str, str], ...] = field(repr=False)
    """Names and values of the answer."""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm(Page):
    """Is it you? An app brought somebody; nobody is signed in yet. Posts `shown` and `decision=continue`; who says no cancels."""

    template: ClassVar[str] = "sign_in/confirm.html"
    action: str
    provider: str
    """The provider's label."""
    name: str = field(default="", repr=False)
    """The account's name, or who the provider says it is; nothing: it said no name."""
    shown: str = ""
    """The digest of whose sign-in this page shows, and of who would be signed out by it."""
    is_changed: bool = False
    """Who is signed in here changed while the person was reading."""
    is_known: bool = True
    """Whether there is an account already."""
    replaces: str = field(default="", repr=False)
    """The name of who is signed in here, and would be signed out by it."""
    cancel_action: str = ""
    site: SiteCard | None = None
    works_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyKnown(Page):
    """An account already uses the address that the provider vouches for. Posts `whose=mine|other`.

    Says nothing of that account but this, and links nothing (decision 18).
    """

    template: ClassVar[str] = "sign_in/known.html"
    action: str
    provider: str
    """The provider's label."""
    address: str = field(repr=False)
    has_codes: bool = False
    """Whether a code by e-mail can be a way in."""
    cancel_action: str = ""
    site: SiteCard | None = None
    works_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRow:
    """One field of the preview. Its tick is `use=<claim>`, its text box `v-<claim>`."""

    claim: str
    value: str = field(default="", repr=False)
    status: str = "received"
    """`received`, `declined` (the person held it back there) or `absent` (the provider has none)."""
    is_needed: bool = False
    purpose: str = ""
    purpose_lang: str = ""
    """The language of the purpose where it is not the page's."""
    audience: str = "members"
    """`only_you`, `admins`, `members` or `everyone`."""
    is_checked_by_provider: bool = False
    is_editable: bool = True
    source: str = "provider"
    """`provider`, `browser`, `person` or `made`."""
    is_ticked: bool = False
    """Only after a failed submit in which the person ticked it."""
    typed: str | None = field(default=None, repr=False)
    """What the person had typed when the submit failed."""
    problem: str = ""
    """A code of `words.PROBLEMS`."""
    is_failed: bool = False
    """The provider named a picture that could not be fetched; everything else goes on."""
    is_left_out: bool = False
    """The person said that the address that came is somebody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(Page):
    """Choose what to use. Posts `use`, `v-<claim>` and `decision=continue|refuse|ask_again`."""

    template: ClassVar[str] = "sign_in/preview.html"
    action: str
    provider: str
    """The provider's label."""
    rows: tuple[PreviewRow, ...]
    site: SiteCard | None = None
    can_ask_again: bool = False
    """Whether the provider can be asked once more for what was declined."""
    step: int = 1
    steps: int = 2
    works_until: datetime | None = None
    not_asked: tuple[str, ...] = ("friends", "posts", "messages")
    """Codes of what was never asked for: `friends`, `posts`, `messages`, `birthday`, `phone`, `address`, `contacts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptNothing(Page):
    """After "Do not use Facebook"."""

    template: ClassVar[str] = "sign_in/kept_nothing.html"
    provider: str
    continue_url: str
    site: SiteCard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRow:
    """A value the person kept on the preview; shown, not asked again (WCAG 3.3.7)."""

    claim: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRow:
    """A needed field that is still missing; posts `v-<claim>`."""

    claim: str
    value: str = field(default="", repr=False)
    purpose: str = ""
    purpose_lang: str = ""
    audience: str = "members"
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish(Page):
    """Finish signing up. Posts `preferred_username`, `v-<claim>`, `zoneinfo`, `locale`, `newsletter`, `decision=create`.

    Cancel posts `decision=cancel`, to `cancel_action` if there is one.
    """

    template: ClassVar[str] = "sign_in/finish.html"
    action: str
    provider: str
    kept: tuple[KeptRow, ...] = ()
    asks: tuple[AskedRow, ...] = ()
    user_name: str = field(default="", repr=False)
    user_name_problem: str = ""
    suggestions: tuple[str, ...] = field(default=(), repr=False)
    asks_zone: bool = False
    zone: str = ""
    """The zone to preselect; a script offers the browser's own if this is empty."""
    asks_locale: bool = False
    locale: str = ""
    newsletters: tuple[NewsletterTick, ...] = ()
    terms: PolicyRef | None = None
    privacy: PolicyRef | None = None
    change_url: str = ""
    """Back to the preview, where that still can be."""
    cancel_action: str = ""
    posting_off: tuple[str, ...] = ()
    """The label of the provider that they came by, if it can be posted to: "Posting to Facebook is off"."""
    site: SiteCard | None = None
    step: int = 2
    steps: int = 2
    works_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRow:
    """One field a site asks for. Its tick is `share=<claim>`; an empty one has a text box `v-<claim>`."""

    claim: str
    value: str = field(default="", repr=False)
    """Nothing: the person never gave it."""
    is_needed: bool = False
    is_essential: bool = False
    """The person's choice, but the site said that it depends on it this time."""
    why: str = ""
    why_lang: str = ""
    audience: str = "members"
    is_shared_already: bool = False
    is_ticked: bool = False
    """Only after a failed submit in which the person ticked it."""
    typed: str | None = field(default=None, repr=False)
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(Page):
    """Share these with a site? Posts `share`, `v-<claim>`, `shown` and `decision=share|refuse`, or `share|keep|refuse`."""

    template: ClassVar[str] = "sign_in/share.html"
    action: str
    site: SiteCard
    rows: tuple[ShareRow, ...]
    shown: str
    """The digest of what this page shows."""
    signed_in_as: str = field(default="", repr=False)
    not_you_url: str = "/signout"
    asks_for_more: bool = False
    """The site has some already and asks for more: three buttons (decision 13)."""
    has_private_number: bool = True
    """Whether the number it knows the person by differs from those of other sites."""
    same_number_at: tuple[str, ...] = ()
    """Names of the sites that know the person by the same number nevertheless."""
    wants_offline_access: bool = False
    is_offline_ticked: bool = False
    is_changed: bool = False
    """What the site asks changed while the person was reading."""
    works_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """One text that changed."""

    kind: str
    """`terms` or `privacy`."""
    version: str
    effective_from: date
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged(Page):
    """The terms or the privacy notice changed since the person last agreed. Posts `decision=agree`."""

    template: ClassVar[str] = "sign_in/policy.html"
    action: str
    changes: tuple[PolicyChange, ...]
    close_url: str = "/me/close"
    site: SiteCard | None = None
