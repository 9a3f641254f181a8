"""Two accounts of one person become one: what is proved, what may be chosen, and what never moves.

Both are shown in one browser: one is signed in to, and a sign-in to the other is made for this alone (catalogue 116).
Sites that knew one of the two go on knowing the person by the number they had; where a site knew both, the person says by
which. Consents and opt-ins to posting do not move, nothing becomes checked that was not, and a way to sign in moves only if it
was used just now or the person ticked it: whoever put a way into one of the accounts long ago gains nothing by a merge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from broker.domain.account import Account, AccountStatus, KeptNumber, Link, ProfileValue, alone, is_alone
from broker.domain.claims import EMAIL, PICTURE, PREFERRED_USERNAME
from broker.domain.mail_code import BY_MAIL
from broker.domain.passkey import AT_MOST, passkeys_of
from broker.domain.provider import Identity
from broker.domain.values import AccountId, ClaimName, ClientId, IdentityKey

MERGE_WITHIN: Final = timedelta(minutes=10)
"""How long after its proof an account may be merged: time to read one page, not more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """The other account, as it was shown. Of what its provider sent, nothing is left."""

    account: AccountId
    identity: Identity = field(repr=False)
    answered_at: datetime


class Side(StrEnum):
    THIS = "this"
    """The account that is signed in to."""
    OTHER = "other"

    @property
    def opposite(self) -> Side:
        return Side.OTHER if self is Side.THIS else Side.THIS


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One of the two accounts."""

    account: Account
    links: tuple[Link, ...]
    proved: IdentityKey = field(repr=False)
    """The way in that was used just now."""
    sites: tuple[ClientId, ...]
    """Those that ever got something of it, or of an account that was merged into it: they know it by a number of theirs."""
    sectors: Mapping[ClientId, str] = field(default_factory=dict)
    """Of these sites, `Client.subject_sector`, as far as they are set up: in one sector there is one number. See `placed`."""
    own: Mapping[str, KeptNumber] = field(default_factory=dict)
    """The account's number at places of sites alone that are not kept for it yet, as far as that is certain. See `placed`."""

    @property
    def known_in(self) -> Mapping[str, tuple[ClientId, ...]]:
        """The sectors that know this account, and by which sites; also where nobody is set up any more and may be again."""
        found = {sector: kept.sites for sector, kept in self.account.kept_numbers.items()}
        for sector in dict.fromkeys(self.sectors.values()):
            found[sector] = tuple(site for site in self.sites if self.sectors.get(site) == sector)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the person decided."""

    stays: Side
    fields: Mapping[ClaimName, Side]
    """Whose value is kept of the fields that differ; of those not named, the one of the account that stays."""
    numbers: Mapping[str, Side] = field(default_factory=dict)
    """Whose number is kept at sites that know both, by sector; at those not named, that of the account that stays."""
    ways: frozenset[str]
    """Ids of links of the account that goes that are to open the other one, beside the one just used."""
    seen: str
    """`seen_of` what was on the page."""


def merging_of(identity: Identity, account: AccountId, answered_at: datetime) -> Merging:
    """What waits of the other account's sign-in."""
    bare = replace(identity, claims={}, verified=frozenset(), account_hint=None)
    return Merging(account=account, identity=bare, answered_at=answered_at)


def is_over(merging: Merging, now: datetime) -> bool:
    """Whether the other account was shown too long ago."""
    return now - merging.answered_at > MERGE_WITHIN


def merge_problem(this: Account, other: Account, *, has_role: bool, waits: bool) -> str | None:
    """Why these two are not merged: `held`, `role`, `waits`; `None`: they may be.

    `has_role`: whether one of them helps to run the service; `waits`: whether a request to delete one of them waits.
    """
    if any(one.status is not AccountStatus.ACTIVE for one in (this, other)):
        return "held"
    if has_role:
        return "role"
    return "waits" if waits else None


def differing(this: Account, other: Account) -> tuple[ClaimName, ...]:
    """The fields with another value on each side, or with none on one: in the order of this account, then the other's.

    Not the user name: it belongs to its account for good, and nobody else ever gets it.
    """
    names = (*this.profile, *(name for name in other.profile if name not in this.profile))
    return tuple(
        name
        for name in names
        if name != PREFERRED_USERNAME and _text(this.profile.get(name)) != _text(other.profile.get(name))
    )


def keeps_picture(stays: Account, after: Account) -> bool:
    """Whether the picture is the one that the account had before, or none as before."""
    return stays.profile.get(PICTURE) == after.profile.get(PICTURE)


def merged(
    stays: Account, goes: Account, taken: frozenset[ClaimName], needed: frozenset[ClaimName], now: datetime
) -> Account:
    """The account that stays, with the fields in `taken` as the other one has them. A field that the chosen account has not
    is dropped; one that is `needed` is the one there is.

    Each value keeps who said it and whether it was checked. News e-mails go on only where both accounts wanted them: an
    address may come from the one that did not. The language of the pages and what was agreed to are those of `stays`.
    """
    profile = dict(stays.profile)
    for name in differing(stays, goes):
        ours, theirs = stays.profile.get(name), goes.profile.get(name)
        held = theirs if name in taken else ours
        if held is None and name in needed:
            held = ours or theirs
        profile.pop(name, None)
        if held is not None:
            profile[name] = held
    for name, held in goes.profile.items():
        if name in profile and held.verified and profile[name].value == held.value:
            profile[name] = held  # the same value, and the person proved it here as well
    lists = tuple(name for name in stays.newsletters if name in goes.newsletters)
    return replace(stays.with_profile(profile, now), newsletters=lists)


def taken_from(choice: Choice, fields: Sequence[ClaimName]) -> frozenset[ClaimName]:
    """The fields to take from the account that goes."""
    return frozenset(name for name in fields if choice.fields.get(name) is choice.stays.opposite)


def placed(this: Half, other: Half) -> tuple[Half, Half]:
    """Both, with a place for the sites, too, that are not set up and may be again: the sector they had when accounts were
    merged before, or else one `alone`; where such a one was kept for a site, it stays there.
    """
    kept: dict[ClientId, str] = {}
    for half in (this, other):
        for place, number in half.account.kept_numbers.items():
            kept.update({site: place for site in number.sites if is_alone(place) or site not in kept})

    lone = {site: place for site, place in kept.items() if is_alone(place)}
    places = {**kept, **this.sectors, **other.sectors, **lone}
    one, two = (
        replace(half, sectors={site: places.get(site, alone(site)) for site in half.sites}, own=_own(half, places))
        for half in (this, other)
    )
    return one, two


def _own(half: Half, places: Mapping[ClientId, str]) -> Mapping[str, KeptNumber]:
    """Where a site is not set up, and the account has several numbers, nobody knows by which of them it goes there."""
    account, found = half.account, dict[str, KeptNumber]()
    has_one = all(map(is_alone, account.kept_numbers))
    for site in half.sites:
        place, sector = places.get(site, alone(site)), half.sectors.get(site)
        if is_alone(place) and place not in account.kept_numbers and (has_one or sector is not None):
            found[place] = KeptNumber(of=account.number_at(sector or place), sites=(site,))
    return found


def both_known(this: Half, other: Half) -> tuple[str, ...]:
    """The sectors that know both accounts: by one number they go on knowing the person, and lose the other.

    Not of a site alone: nobody is asked about what they cannot be shown, and the account that stays keeps its number there.
    """
    theirs = other.known_in
    return tuple(sector for sector in this.known_in if sector in theirs and not is_alone(sector))


def going_on(stays: Half, goes: Half, choice: Choice) -> frozenset[str]:
    """The sectors where the number of the account that goes is the person's from now on: those that know no other of theirs,
    and those it was chosen for.
    """
    known = stays.known_in
    return frozenset(
        sector
        for sector in goes.known_in
        if sector not in known or (choice.numbers.get(sector) is choice.stays.opposite and not is_alone(sector))
    )


def kept_numbers(stays: Half, goes: Half, going: frozenset[str]) -> Mapping[str, KeptNumber]:
    """The numbers that the account that stays has afterwards beside its own; `going`: as `going_on` says.

    No number ever has two accounts: the one that goes is erased in the same moment, and is never merged again. Where a sector
    changes its number, a site of the account that stays which is alone may be of it: there its number is kept.
    """
    known = goes.known_in
    taken = {sector: KeptNumber(of=goes.account.number_at(sector), sites=known[sector]) for sector in sorted(going)}
    ours = stays.own if any(not is_alone(place) for place in going) else {}
    return {**ours, **stays.account.kept_numbers, **taken}


def takes_address(stays: Account, after: Account) -> bool:
    """Whether the account that stays has another e-mail address afterwards."""
    return _text(stays.profile.get(EMAIL)) != _text(after.profile.get(EMAIL))


def moving(goes: Half, ticked: frozenset[str], after: Account) -> tuple[Link, ...]:
    """The ways of the account that goes that are to open the other one, `after`: the one just used and those ticked.

    Codes by e-mail stand for an address, and move with it alone.
    """
    with_address = after.profile.get(EMAIL) == goes.account.profile.get(EMAIL)
    return tuple(
        link
        for link in goes.links
        if (link.key == goes.proved or link.id in ticked) and (with_address or link.provider != BY_MAIL)
    )


def too_many_passkeys(stays: Half, moved: Sequence[Link]) -> bool:
    """Whether the account would have more passkeys than there can be."""
    coming = passkeys_of(moved)
    return bool(coming) and len(passkeys_of(stays.links)) + len(coming) > AT_MOST


def seen_of(this: Half, other: Half) -> str:
    """What stands for everything the page showed: another once anything of it is another."""
    told = [
        [
            one.account.id,
            one.account.version,
            sorted(link.id for link in one.links),
            sorted(one.sites),
            sorted(one.known_in),
        ]
        for one in (this, other)
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _text(held: ProfileValue | None) -> str | None:
    return held.value if held is not None else None
