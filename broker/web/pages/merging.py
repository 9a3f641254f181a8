"""Two accounts of one person become one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from broker.web.pages.account import AccountPage
from broker.web.pages.base import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeStart(AccountPage):
    """What merging means. Posts `with=<provider>`, where the way of the other account is known already."""

    template: ClassVar[str] = "account/merge.html"
    tab: ClassVar[str] = "ways"
    with_: str = ""
    with_label: str = ""
    """The provider's label."""
    is_fresh: bool = False
    """Whether the last sign-in is fresh enough; if not, the page says that one comes first."""
    action: str = "/me/merge"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeWay:
    """One way to sign in; ticking it posts `way=<id>`."""

    id: str
    label: str
    hint: str = field(default="", repr=False)
    place: str = field(default="", repr=False)
    """Its server, or the address that is typed for it, where there are several ways of that kind."""
    added_at: datetime
    is_proved: bool = False
    """Used just now: it opens the account that stays in any case."""
    is_by_mail: bool = False
    is_ticked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeHalf:
    """One of the two accounts; keeping it posts `stays=<side>`."""

    side: str
    """`this`: the one that is signed in to; or `other`."""
    name: str = field(default="", repr=False)
    user_name: str = field(default="", repr=False)
    since: datetime
    ways: tuple[MergeWay, ...] = ()
    sites: tuple[str, ...] = ()
    """Names of the sites that know this account alone."""
    is_known: bool = False
    """Whether any site knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeValue:
    """One of the two values of a field."""

    side: str
    value: str = field(default="", repr=False)
    is_there: bool = True
    """Whether that account has one at all."""
    is_verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeField:
    """A field with two values; the one to keep posts `v-<claim>=<side>`."""

    claim: str
    values: tuple[MergeValue, ...]
    chosen: str = ""
    """A side; nothing: that of the account that stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeNumber:
    """Sites that know both accounts and see one number; the account to go on with there posts `n-<sector>=<side>`."""

    sector: str
    sites: tuple[str, ...]
    chosen: str = ""
    """A side; nothing: the account that stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeAccounts(Page):
    """Both accounts, everything to choose, and what happens then. Posts `decision=merge|keep` and `seen`."""

    template: ClassVar[str] = "sign_in/merge.html"
    action: str
    halves: tuple[MergeHalf, ...]
    fields: tuple[MergeField, ...] = ()
    numbers: tuple[MergeNumber, ...] = ()
    stays: str = ""
    """A side, once somebody chose one."""
    seen: str = ""
    problem: str = ""
    """A code of `words.MERGE_PROBLEMS`."""
