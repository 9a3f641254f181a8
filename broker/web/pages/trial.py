"""The pages on which somebody tries a provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from broker.web.pages.base import Page, ProviderButton, TypedWay


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStart(Page):
    """What will happen, and the button."""

    template: ClassVar[str] = "trial/start.html"
    provider: ProviderButton
    link: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    """What will be asked for, in the provider's words."""
    redirect: str = ""
    our_keys: str = ""
    """Where it finds them; nothing: it needs none."""
    requests_signed: str = ""
    """With what; nothing: they are not."""
    proofs_signed: str = ""
    is_on: bool = False
    way: TypedWay | None = None
    """Where an address must be typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStep:
    """One request of ours to the provider."""

    method: str
    place: str
    """Host and path."""
    milliseconds: int
    status: int | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialAnswer:
    """What it sent: names at once, the rest when it is asked for."""

    place: str
    names: tuple[str, ...]
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialField:
    """A field as somebody who signs up would see it."""

    claim: str
    value: str = field(repr=False)
    is_checked: bool
    is_needed: bool
    audience: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult(Page):
    """What came of it. Kept nowhere."""

    template: ClassVar[str] = "trial/result.html"
    provider: str
    verdict: str
    """`failed`, `new`, `known` or `held`."""
    failure: str = ""
    """A code of `words.FAILURES`."""
    detail: str = ""
    is_on: bool = False
    redirect: str = ""
    our_keys: str = ""
    """Where it finds them, if it is they that it does not know."""
    signed: str = ""
    """With which algorithm was signed what it did not take."""
    away: int = 0
    came_back: tuple[str, ...] = ()
    steps: tuple[TrialStep, ...] = ()
    answers: tuple[TrialAnswer, ...] = ()
    fields: tuple[TrialField, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """Claim and a code of `words.LEFT_OUT`."""
    is_disbelieved: bool = False
    is_revoked: bool = False
