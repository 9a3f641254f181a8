"""An account: our lasting record of a person; and the links to the identities they sign in with."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from broker.domain.claims import UPDATED_AT, clean_text
from broker.domain.values import AccountId, ClaimName, ClientId, IdentityKey, ProviderId, ReceiptId
from broker.errors import LastLink

PLACE_LENGTH: Final = 120
"""Characters of an address that are shown to tell ways apart."""


class Source(StrEnum):
    """Where a value of the profile came from; a provider's id stands for itself (`provider:facebook`)."""

    PERSON = "person"
    BROWSER = "browser"
    MADE = "made"


def from_provider(provider: ProviderId) -> str:
    """The source name of a value that a provider sent."""
    return f"provider:{provider}"


class AccountStatus(StrEnum):
    ACTIVE = "active"
    HELD = "held"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileValue:
    """One field of a profile."""

    value: str = field(repr=False)
    source: str
    verified: bool = False
    """Whether *we* may vouch for it (`email_verified`): never because a provider we do not trust said so."""


def alone(site: ClientId) -> str:
    """The place of a site that is not set up, so that nobody knows which sector is its own. No sector is called so."""
    return f"\0{site}"


def is_alone(place: str) -> bool:
    """Whether it is the place of one site."""
    return place.startswith("\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptNumber:
    """The number by which sites go on knowing the person: of an account that was merged into this one, mostly."""

    of: AccountId
    """The account it is computed from: this very one, or one that is erased, and its id never given to anybody again."""
    sites: tuple[ClientId, ...]
    """Those that knew that account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who somebody is here. Personal values live in `profile` only."""

    id: AccountId
    profile: Mapping[ClaimName, ProfileValue] = field(repr=False)
    status: AccountStatus
    created_at: datetime
    agreed_notice: str
    """Which terms and privacy notice were agreed to last (`policy.notice_version`)."""
    newsletters: tuple[str, ...] = ()
    """Lists the person ticked."""
    locale: str | None = None
    """The language the person chose for our pages."""
    changed_at: datetime | None = None
    """When the profile last changed; `None`: never since the account was made."""
    kept_numbers: Mapping[str, KeptNumber] = field(default_factory=dict)
    """By place: a sector of sites (`Client.subject_sector`), or a site `alone`, which may also keep this account's own. Written
    by a merge and by nothing else."""
    version: int = field(default=0, compare=False)
    """How often it was saved: what was saved by another since it was loaded is not written over."""

    @property
    def claims(self) -> dict[ClaimName, str]:
        """What there is to share, by claim name: the profile's values, and when they last changed (§5.1)."""
        changed = str(int((self.changed_at or self.created_at).timestamp()))
        return {**{name: held.value for name, held in self.profile.items()}, UPDATED_AT: changed}

    def number_at(self, place: str) -> AccountId:
        """The account whose number is the person's at this place: this one, or one that was merged into it."""
        kept = self.kept_numbers.get(place)
        return kept.of if kept is not None else self.id

    def place_of(self, site: ClientId, sector: str) -> str:
        """Where a site of this sector looks for the person's number: alone, if it was not set up while accounts were merged."""
        return alone(site) if alone(site) in self.kept_numbers else sector

    def number_for(self, site: ClientId, sector: str) -> AccountId:
        """The account whose number a site of this sector knows the person by."""
        return self.number_at(self.place_of(site, sector))

    @property
    def sites_from_before(self) -> frozenset[ClientId]:
        """The sites that knew an account which was merged into this one, and go on by its number."""
        others = [kept for kept in self.kept_numbers.values() if kept.of != self.id]
        return frozenset(site for kept in others for site in kept.sites)

    def with_profile(self, profile: Mapping[ClaimName, ProfileValue], now: datetime) -> Account:
        """The account with this profile from `now` on."""
        return self if profile == self.profile else replace(self, profile=profile, changed_at=now)

    @property
    def verified(self) -> frozenset[ClaimName]:
        """The claims we vouch for."""
        return frozenset(name for name, held in self.profile.items() if held.verified)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """What checks the signatures of a passkey, and what it said of itself when it was used last (WebAuthn §4, §6.1)."""

    public_key: bytes = field(repr=False)
    """As the authenticator gave it (COSE_Key)."""
    owner: bytes = field(repr=False)
    """The user handle that it was made for: random, one for all passkeys of an account."""
    counter: int
    can_be_copied: bool
    """Backup eligibility; never changes."""
    is_copied: bool
    """Backup state: whether it is kept in more than one place."""
    is_roaming: bool = False
    """Whether it was made on another device than the browser's, as the browser said (§2.2): a security key, a phone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An identity an account is signed in to with. Unique on `key`."""

    id: str
    account: AccountId
    provider: ProviderId
    key: IdentityKey
    receipt: ReceiptId
    linked_at: datetime
    last_used_at: datetime
    hint: str | None = field(default=None, repr=False)
    """How the person knows this identity, shown to them alone."""
    passkey: Passkey | None = None
    """What stands in a provider's place, where the identity is a passkey."""


class NamedBy(StrEnum):
    """Which half of an identity tells a person's ways of one kind apart, where people type which server it is."""

    ISSUER = "issuer"
    """Their server."""
    SUBJECT = "subject"
    """Their own address: OpenID 2.0 (§7.3)."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the ways in are that lead to one of many servers: two of one kind would else look the same."""

    named_by: Mapping[ProviderId, NamedBy] = field(default_factory=dict)
    """None of those that are one server for everybody, nor of those whose names mean nothing to people."""

    def of(self, provider: ProviderId | None, key: IdentityKey) -> str:
        """What somebody would type there, without what all have in common; nothing where there is only one place."""
        half = self.named_by.get(provider) if provider is not None else None
        if half is None:
            return ""
        address = key.subject if half is NamedBy.SUBJECT else key.issuer
        bare = address.partition("#")[0]
        return clean_text((bare.partition("://")[2] or bare).rstrip("/"), limit=PLACE_LENGTH)


def check_may_unlink(links: Sequence[Link], link_id: str, opens: Callable[[Link], bool] = lambda _link: True) -> Link:
    """The link to remove. Raises `LastLink` if it is the only way in (catalogue 124), `KeyError` if it is not theirs.

    `opens`: whether a link signs anybody in at present; one that is switched off is no other way in.
    """
    link = next((link for link in links if link.id == link_id), None)
    if link is None:
        raise KeyError(link_id)
    if len(links) < 2 or is_only_way(links, link, opens):
        raise LastLink
    return link


def is_only_way(links: Sequence[Link], link: Link, opens: Callable[[Link], bool]) -> bool:
    """Whether this link opens the account and no other does."""
    return opens(link) and not any(opens(other) for other in links if other.id != link.id)


def ways_since(links: Sequence[Link], since: datetime, *, is_open: bool) -> tuple[Link, ...]:
    """The ways in that were added after `since`; none if nothing else would open the account then.

    `is_open`: whether something beside these links does.
    """
    added = tuple(link for link in links if link.linked_at > since)
    return added if is_open or len(added) < len(links) else ()


# --- user names ---------------------------------------------------------------------------------------

USER_NAME_MIN: Final = 3
USER_NAME_MAX: Final = 30
RESERVED_USER_NAMES: Final = frozenset(
    [
        "about",
        "abuse",
        "account",
        "admin",
        "administrator",
        "all",
        "anonymous",
        "api",
        "broker",
        "contact",
        "everyone",
        "guest",
        "help",
        "host",
        "info",
        "mail",
        "me",
        "member",
        "members",
        "mod",
        "moderator",
        "none",
        "null",
        "official",
        "owner",
        "postmaster",
        "privacy",
        "root",
        "security",
        "staff",
        "support",
        "system",
        "team",
        "terms",
        "undefined",
        "user",
        "webmaster",
    ]
)
_UNSEEN: Final = (
    ("\u034f", "\u034f"),
    ("\u115f", "\u1160"),
    ("\u17b4", "\u17b5"),
    ("\u180b", "\u180f"),
    ("\u3164", "\u3164"),
    ("\ufe00", "\ufe0f"),
    ("\uffa0", "\uffa0"),
    ("\U000e0100", "\U000e01ef"),
)
"""Letters and marks that show nothing (Unicode, Default_Ignorable_Code_Point): with one, two names would look the same."""
_LOOK_ALIKE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "$": "s", "3": "e", "_": "-", ".": "-"})


def user_name_problem(name: str) -> str | None:
    """Why this cannot be a user name, as a code the page words; `None` if it can (taken or not is not known here).

    `too_short`, `too_long`, `characters`, `mixed_scripts`, `edges`, `reserved`.
    """
    if len(name) < USER_NAME_MIN:
        return "too_short"
    if len(name) > USER_NAME_MAX:
        return "too_long"
    if not all(ch in "._-" or unicodedata.category(ch) in {"Ll", "Lu", "Lo", "Lm", "Nd", "Mn", "Mc"} for ch in name):
        return "characters"
    if any(map(is_unseen, name)):
        return "characters"
    if (unicodedata.category(name[0])[0] != "L" and not name[0].isdecimal()) or name[-1] in "._-":
        return "edges"
    if len(_scripts(name)) > 1:
        return "mixed_scripts"
    if name.casefold() in RESERVED_USER_NAMES or user_name_key(name) in _RESERVED_KEYS:
        return "reserved"
    return None


def is_unseen(ch: str) -> bool:
    """Whether a letter or mark shows nothing."""
    return any(first <= ch <= last for first, last in _UNSEEN)


def user_name_key(name: str) -> str:
    """What look-alike user names have in common: unique among accounts, and never given to anyone again."""
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_LOOK_ALIKE)
    return folded.replace("rn", "m").replace("vv", "w").replace("-", "")


_RESERVED_KEYS: Final = frozenset(user_name_key(name) for name in RESERVED_USER_NAMES)


def _scripts(name: str) -> set[str]:
    return {unicodedata.name(ch, "?").split()[0] for ch in name if unicodedata.category(ch)[0] == "L"}


def suggest_user_names(display_name: str | None, salt: str) -> tuple[str, ...]:
    """Three user names made from a display name; `salt` is a few random digits that make the last ones likely free."""
    words = [
        "".join(ch for ch in unicodedata.normalize("NFKC", word).casefold() if ch.isalnum())
        for word in clean_text(display_name or "", limit=60).split()
    ]
    words = [word for word in words if word]
    first, last = (words[0] if words else ""), (words[-1] if len(words) > 1 else "")
    ideas = [first, f"{first}-{last}" if last else "", f"{first}{last[:1]}", f"{first or 'member'}{salt}"]
    ideas += [f"{first or 'member'}{last[:1]}{salt[::-1]}", f"member{salt}"]
    seen: dict[str, None] = {}
    for idea in (idea[:USER_NAME_MAX].strip("._-") for idea in ideas):
        if idea and user_name_problem(idea) is None:
            seen.setdefault(idea)
    return tuple(seen)
