"""My Account, posting and signing out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from broker.web.pages.base import NewsletterTick, Page, ProviderButton, SiteCard, TypedWay


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPage(Page):
    """A page of My Account. `done` is a code of `words.DONE` and becomes the confirmation (role=status)."""

    tab: ClassVar[str] = ""
    name: str = field(repr=False)
    """Who is signed in."""
    done: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview(AccountPage):
    template: ClassVar[str] = "account/overview.html"
    tab: ClassVar[str] = "overview"
    user_name: str = field(default="", repr=False)
    ways: int = 1
    sites: int = 0
    devices: int = 1
    has_email: bool = False
    is_email_checked: bool = False
    can_check_email: bool = False
    """Whether we can write to anybody."""
    last_sign_in: datetime | None = None
    last_sign_in_with: str = ""
    """The provider's label."""
    is_posting_on: bool = False
    failing_way: str = ""
    """The label of the only way to sign in, if that provider is failing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountField:
    """One field of the profile; its form posts `v-<claim>`."""

    claim: str
    value: str = field(default="", repr=False)
    source: str = "person"
    """`provider`, `browser`, `person` or `made`."""
    source_name: str = ""
    """The provider's label."""
    is_verified: bool = False
    audience: str = "members"
    purpose: str = ""
    purpose_lang: str = ""
    is_editable: bool = True
    is_needed: bool = False
    sites: tuple[str, ...] = ()
    """Names of the sites that get it."""
    can_check: bool = False
    """An e-mail address that is not checked, where we can write to anybody."""
    typed: str | None = field(default=None, repr=False)
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAddress(AccountPage):
    """Where the code of a letter is typed: posts `code`. Another letter: posts to `send_action`."""

    template: ClassVar[str] = "account/address.html"
    tab: ClassVar[str] = "details"
    address: str = field(repr=False)
    """Nothing: there is none, or it is checked already."""
    is_sent: bool = False
    problem: str = ""
    """`wrong`, `over` or `anothers`."""
    action: str = "/me/address"
    send_action: str = "/me/address/send"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterLink(Page):
    """The page behind a link of a letter. `what` is `check` or `undo`; posts `token`."""

    template: ClassVar[str] = "letters/link.html"
    what: str
    token: str = field(default="", repr=False)
    is_done: bool = False
    problem: str = ""
    is_signed_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLetter:
    """A letter in the development mailbox."""

    to: str
    subject: str
    at: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox(Page):
    """Development without a mail server: every letter we would have sent, newest first."""

    template: ClassVar[str] = "letters/mailbox.html"
    letters: tuple[KeptLetter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDetails(AccountPage):
    template: ClassVar[str] = "account/details.html"
    tab: ClassVar[str] = "details"
    fields: tuple[AccountField, ...]
    action: str = "/me/details"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedWay:
    """One linked identity; removing posts `link=<id>`."""

    id: str
    provider: str
    """The provider's label."""
    brand: str = ""
    logo_url: str = ""
    """An address of ours, or nothing: what stands there if its brand has no mark."""
    hint: str = field(default="", repr=False)
    """How the person knows this identity: an e-mail address, an address, a name."""
    place: str = field(default="", repr=False)
    """Its server, or the address that is typed for it, where there are several ways of that kind."""
    linked_at: datetime
    last_used_at: datetime | None = None
    is_this_session: bool = False
    is_by_mail: bool = False
    """Codes by e-mail, which no provider is behind."""
    is_passkey: bool = False
    """A passkey; the hint is what the person calls it."""
    is_off: bool = False
    """Whoever runs this switched it off: it signs nobody in at present."""
    is_only: bool = False
    """The only one that is on: it cannot be removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways(AccountPage):
    """Ways to sign in. Adding posts `provider=<id>`, removing `link=<id>`; both need a fresh sign-in."""

    template: ClassVar[str] = "account/ways.html"
    tab: ClassVar[str] = "ways"
    ways: tuple[LinkedWay, ...]
    addable: tuple[ProviderButton, ...] = ()
    typed: tuple[TypedWay, ...] = ()
    """What can be added by an address; each is a form of its own."""
    add_action: str = "/me/ways/add"
    remove_action: str = "/me/ways/remove"
    is_fresh: bool = False
    """Whether the last sign-in is fresh enough; if not, the page says that one comes first."""
    codes: str = ""
    """Codes by e-mail, where they are not on: `can`, `unchecked` or `no_address`; nothing: they are, or cannot be."""
    codes_to: str = field(default="", repr=False)
    """The address that codes go to, or would."""
    codes_action: str = "/me/ways/codes"
    passkeys: str = ""
    """Passkeys: `can` or `full`; nothing: they let nobody in."""
    passkey_url: str = "/me/ways/passkey"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPasskey(AccountPage):
    """Make a passkey: posts `name` and what the browser answers. Needs a script; says so where none runs."""

    template: ClassVar[str] = "account/passkey.html"
    tab: ClassVar[str] = "ways"
    challenge: str = field(repr=False)
    party: str
    """The host that it is made for."""
    owner: str = field(repr=False)
    """The user handle."""
    owner_name: str = field(repr=False)
    """What the authenticator calls the account."""
    owner_label: str = field(repr=False)
    """What it calls the person."""
    others: tuple[str, ...] = field(default=(), repr=False)
    """Ids of the passkeys there are."""
    typed: str = field(default="", repr=False)
    """The passkey's name."""
    problem: str = ""
    """A code of `words.PASSKEY_PROBLEMS`."""
    action: str = "/me/ways/passkey"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedSite:
    """One site; stopping a field posts `client` and `claim`, disconnecting posts `client`."""

    client: str
    name: str
    host: str
    url: str = ""
    logo_url: str = ""
    """An address of ours, or nothing."""
    since: datetime | None = None
    last_used_at: datetime | None = None
    shared: tuple[str, ...] = ()
    """Claim names."""
    needed: tuple[str, ...] = ()
    """Those of `shared` the site cannot do without: stopping one means it will ask before it lets you in again."""
    has_offline_access: bool = False
    is_gone: bool = False
    open_url: str = ""
    """Where it is opened by way of us, so that it signs the person in; nothing: it cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites(AccountPage):
    template: ClassVar[str] = "account/sites.html"
    tab: ClassVar[str] = "sites"
    sites: tuple[ConnectedSite, ...]
    merged: tuple[str, ...] = ()
    """Names of sites that know the person by an account that was merged into this one, connected now or not."""
    stop_action: str = "/me/sites/stop"
    disconnect_action: str = "/me/sites/disconnect"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """That some fields went to a site on one day, or that the person decided something."""

    at: datetime
    site: str
    claims: tuple[str, ...]
    via: str
    """`id_token`, `userinfo`, `session_token`, `introspection`, `forward_auth`, `discourse_connect`; for decisions `agreed`, `refused`, `stopped`, `disconnected`."""
    why: tuple[str, ...] = ()
    """The reasons shown to the person, one per claim or fewer."""
    also: tuple[str, ...] = ()
    """Other ways in which the same went there for the same sign-in, on the same day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySummary:
    """One site in words: how many different fields on how many days, last when."""

    site: str
    fields: int
    times: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class History(AccountPage):
    """Sharing history; the filter is a GET form with `site` (a client id) and `field` (a claim name)."""

    template: ClassVar[str] = "account/history.html"
    tab: ClassVar[str] = "history"
    rows: tuple[HistoryRow, ...]
    summaries: tuple[HistorySummary, ...] = ()
    sites: tuple[tuple[str, str], ...] = ()
    """(client id, name) to filter by."""
    claims: tuple[str, ...] = ()
    """Claim names to filter by."""
    site: str = ""
    claim: str = ""
    newer_url: str = ""
    older_url: str = ""
    action: str = "/me/history"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One browser; signing it out posts `sid`."""

    sid: str
    name: str = field(default="", repr=False)
    """Browser and system in words; nothing: "Unknown browser"."""
    first_seen_at: datetime
    last_seen_at: datetime
    is_this: bool = False
    ended_at: datetime | None = None
    provider: str = ""
    """The label of the way it was signed in with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices(AccountPage):
    """Devices. Posts `sid=<sid>` for one, `all=1` for all others."""

    template: ClassVar[str] = "account/devices.html"
    tab: ClassVar[str] = "devices"
    devices: tuple[Device, ...]
    end_action: str = "/me/devices/end"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingSwitch:
    """One standing permission to post; turning it off posts `provider` and `client`."""

    provider: str
    provider_label: str
    client: str
    site: str
    since: datetime
    has_key: bool = False
    """Whether an access token of that network is kept for it."""
    lasts: bool = False
    """Whether a refresh token was asked for, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPost:
    """One post that was asked for, and what became of it."""

    id: str
    provider_label: str
    site: str
    at: datetime
    text: str = field(default="", repr=False)
    state: str = "posted"
    """A code of `words.POST_STATES`."""
    remote_url: str = ""
    undo_action: str = ""
    """Where "Delete there" posts to; nothing: it cannot be undone from here."""
    ask_url: str = ""
    """The page that asks about it, while it waits for a yes or no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingSettings(AccountPage):
    template: ClassVar[str] = "account/posting.html"
    tab: ClassVar[str] = "posting"
    switches: tuple[PostingSwitch, ...] = ()
    posts: tuple[PastPost, ...] = ()
    off_action: str = "/me/posting/off"
    is_available: bool = True
    """Whether an admin allows posting at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News(AccountPage):
    """News e-mails. Posts `newsletter=<id>` for each ticked list."""

    template: ClassVar[str] = "account/news.html"
    tab: ClassVar[str] = "news"
    lists: tuple[NewsletterTick, ...] = ()
    action: str = "/me/news"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseAccount(AccountPage):
    """What closing means, in numbers. Posts `decision=close`; needs a fresh sign-in."""

    template: ClassVar[str] = "account/close.html"
    tab: ClassVar[str] = "close"
    user_name: str = field(default="", repr=False)
    ways: int = 1
    devices: int = 1
    sites: tuple[str, ...] = ()
    """Names of the sites that will be told."""
    untold: tuple[str, ...] = ()
    """And of those that cannot be."""
    action: str = "/me/close"
    is_fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountClosed(Page):
    template: ClassVar[str] = "account/closed.html"
    sites: tuple[str, ...] = ()
    """Names of the sites that are told."""


# --- posting ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingOptIn(Page):
    """Let a site post through a provider? Posts `decision=allow|refuse` and the `hidden` pairs."""

    template: ClassVar[str] = "posting/opt_in.html"
    action: str
    provider: str
    """The provider's label."""
    site: SiteCard
    hidden: tuple[tuple[str, str], ...] = ()
    needs_person: bool = False
    """The network only offers its own window (Facebook): we can never post."""
    lasts: bool = False
    """What is asked for there outlives the visit: we are given a refresh token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPreview(Page):
    """One post before it is made. Posts `decision=post|dont` and the `hidden` pairs."""

    template: ClassVar[str] = "posting/preview.html"
    action: str
    provider: str
    site: SiteCard
    text: str = field(repr=False)
    url: str = field(default="", repr=False)
    who: str = field(default="", repr=False)
    """The account there, as the person knows it."""
    where: str = ""
    """Where it will appear, in words; nothing: the profile."""
    needs_person: bool = False
    hidden: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostOutcome(Page):
    """What became of a post. `state` is a code of `words.POST_STATES`."""

    template: ClassVar[str] = "posting/outcome.html"
    state: str
    provider: str
    site: SiteCard | None = None
    return_url: str = field(default="", repr=False)
    remote_url: str = field(default="", repr=False)
    undo_action: str = ""
    share_url: str = field(default="", repr=False)
    """For `needs_person`: the network's own window."""
    is_turned_off: bool = False
    """The network no longer lets us post for them, so posting is off now."""


# --- signing out --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut(Page):
    """Sign out of what? Posts `what=everything` or `what=<client id>`, and `request`."""

    template: ClassVar[str] = "sign_out/choice.html"
    action: str = "/signout"
    name: str = field(default="", repr=False)
    sites: tuple[tuple[str, str], ...] = ()
    """(client id, name) of the sites signed in to in this browser."""
    request: str = field(default="", repr=False)
    """The sealed request of the site that asked; nothing when the person came by themselves."""
    asked_by: SiteCard | None = None
    stay_url: str = "/me"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSite:
    """One site after signing out."""

    name: str
    state: str
    """`done`, `waiting` (told, no answer yet), `late` (asked again at `at`), `failed` (not asked again), `frame` (told by
    the browser, in a frame of this page) or `cannot` (it cannot be told)."""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOut(Page):
    template: ClassVar[str] = "sign_out/done.html"
    is_everything: bool = True
    """Whether the broker's own session ended too; if not, only `sites` ended."""
    sites: tuple[ToldSite, ...] = ()
    provider: str = ""
    """The label of the provider the person signed in at."""
    provider_host: str = ""
    there: str = ""
    """Whether they signed out there, too: `done`, as it says; `away`: it could not be asked; nothing: no."""
    seen: str = field(default="", repr=False)
    """What the form for signing out there sends along; nothing: it is not offered."""
    again: str = field(default="", repr=False)
    """This page once more, where what it says may change."""
    frames: tuple[str, ...] = field(default=(), repr=False)
    """Addresses of sites to load in hidden frames."""
    back: SiteCard | None = None
