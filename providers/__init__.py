"""Upstream identity providers: one module per kind, one preset per provider. See `providers/README.md`.

`load()` looks at this package's own modules, so that a new kind is one new file and nothing else: no registration, no
import order. Modules that start with `_` are shared by kinds; sub-packages (`publishing`, `sandbox`) are other things.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, Protocol

from broker.domain.ports import Clock
from broker.domain.provider import Introduced, Provider, Us
from broker.domain.trial import Signed
from broker.domain.values import ProviderId
from broker.errors import ConfigurationError, Problem
from providers._described import Described
from providers._http import UpstreamHTTP
from providers.preset import PRIVATE_KEY, Preset, is_posting_scope

__all__ = ["Kind", "LoadedProviders", "Preset", "known_kinds", "load", "signs", "unknown_kind"]

_NOT_KINDS: Final = frozenset({"preset"})

Locate = Callable[[ProviderId, str], tuple[str, int]]
"""File and line of a provider's key, for problems."""


class Kind(Protocol):
    """What a kind's module names `PROVIDER`: makes a provider from a preset without any network."""

    def __call__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> Provider: ...

    def problems(self, preset: Preset, today: date) -> Iterable[Problem]:
        """What is wrong with the preset, as far as this kind knows. File and line are left empty."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedProviders:
    """Every provider that is switched on, in the order to show, with its preset; and what the operator should know."""

    providers: Mapping[ProviderId, Provider]
    trials: Mapping[ProviderId, Provider]
    """Those in state `test`: nobody is sent there but who tries them."""
    early: Mapping[ProviderId, Provider]
    """Those in state `admins` or `testers`: for people with such a role."""
    retired: Mapping[ProviderId, Provider]
    """Those in state `off`: nobody is sent there, and what they once gave is given back to them."""
    presets: Mapping[ProviderId, Preset]
    """All presets, also of providers that are off."""
    warnings: tuple[Problem, ...] = ()

    @property
    def signed(self) -> Mapping[ProviderId, Signed]:
        """What goes to a provider under a signature of ours, where anything does."""
        return {id_: preset.signed for id_, preset in self.presets.items() if preset.wants_our_keys}


def known_kinds() -> tuple[str, ...]:
    """The kinds there are: this package's public modules."""
    found = pkgutil.iter_modules(__path__)
    return tuple(
        sorted(m.name for m in found if not m.ispkg and not m.name.startswith("_") and m.name not in _NOT_KINDS)
    )


def load(
    presets: Iterable[Preset],
    http: UpstreamHTTP,
    clock: Clock,
    *,
    locate: Locate | None = None,
    us: Us | None = None,
    named: Mapping[ProviderId, UpstreamHTTP] | None = None,
) -> LoadedProviders:
    """Make every provider that is on. Touches no network: one that is down is found out later and stops nobody.

    `us`: who we are, for those that say so themselves; without it nobody can be sent to them. `named`: clients of their
    own for some, as where people name the servers, so that those hold up no other and are let in nowhere else.

    Raises `ConfigurationError` with all problems at once: an unknown kind, a preset its kind cannot use, an id twice,
    a posting scope at sign-in.
    """
    ordered = sorted(presets, key=lambda preset: (preset.order, preset.id))
    today = clock.now().date()
    kinds = known_kinds()
    problems: list[Problem] = []
    providers: dict[ProviderId, Provider] = {}
    trials: dict[ProviderId, Provider] = {}
    early: dict[ProviderId, Provider] = {}
    retired: dict[ProviderId, Provider] = {}
    issuers: dict[str, ProviderId] = {}
    places = {"on": providers, "test": trials, "admins": early, "testers": early}
    for preset in ordered:
        found = list(_problems(preset, kinds, today))
        if any(preset.id in place for place in places.values()):
            found.append(Problem(file="", line=0, key="", what="occurs twice.", fix="Give every provider its own id."))
        problems += [_placed(preset, problem, locate) for problem in found]
        if not any(problem.severity == "error" for problem in found):
            client = (named or {}).get(preset.id, http)
            provider = _kind(preset.kind)(preset, client, clock)
            if (
                isinstance(provider, Described)
                and provider.issuer
                and (preset.state == "on" or provider.issuer not in issuers)
            ):
                issuers[provider.issuer] = preset.id
            if preset.state == "off":
                retired[preset.id] = provider
                continue
            problems += [_placed(preset, problem, locate) for problem in _posting_scopes(provider)]
            places[preset.state][preset.id] = provider
    for provider in (*providers.values(), *trials.values(), *early.values()):
        if us is not None and isinstance(provider, Introduced):
            provider.introduce(replace(us, issuers=MappingProxyType(issuers)))
    errors = tuple(problem for problem in problems if problem.severity == "error")
    if errors:
        raise ConfigurationError(errors)
    return LoadedProviders(
        providers=MappingProxyType(providers),
        trials=MappingProxyType(trials),
        early=MappingProxyType(early),
        retired=MappingProxyType(retired),
        presets=MappingProxyType({preset.id: preset for preset in ordered}),
        warnings=tuple(problems),
    )


def _kind(name: str) -> Kind:
    kind: Kind = importlib.import_module(f"{__name__}.{name}").PROVIDER
    return kind


def signs(kind: str) -> bool:
    """Whether what goes to a provider of this kind can be signed with our keys."""
    return bool(getattr(_kind(kind), "signs_requests", False))


def unknown_kind(given: str, kinds: tuple[str, ...]) -> dict[str, str]:
    """`what` is wrong with a kind that there is not, and the `fix`: the nearest one, and all there are."""
    close = get_close_matches(given.lower(), kinds, n=1, cutoff=0.7)
    hint = f"Did you mean {close[0]}? " if close else ""
    return {"what": f"{given!r} is not a kind of provider.", "fix": f"{hint}Known kinds: {', '.join(kinds)}."}


def _problems(preset: Preset, kinds: tuple[str, ...], today: date) -> Iterable[Problem]:
    if preset.kind not in kinds:
        return [Problem(file="", line=0, key="kind", **unknown_kind(preset.kind, kinds))]
    return [
        *_kind(preset.kind).problems(preset, today),
        *_secret_problems(preset, today),
        *_app_token_problems(preset),
        *_signing_problems(preset),
    ]


def _app_token_problems(preset: Preset) -> Iterable[Problem]:
    if not preset.limited_login or hasattr(_kind(preset.kind), "read_app_token"):
        return []
    what = f"has no effect: kind {preset.kind} has no tokens that apps could bring."
    return [Problem(file="", line=0, key="limited_login", what=what, fix="Remove it. Only kind facebook has it.")]


def _signing_problems(preset: Preset) -> Iterable[Problem]:
    """About what we sign: kinds that cannot, and choices that change nothing."""
    usual = Preset(id=preset.id, kind=preset.kind, label=preset.label)
    is_proof, is_object = preset.token_endpoint_auth_method == PRIVATE_KEY, preset.request_object is not None
    found: dict[str, tuple[str, str]] = {}
    if not signs(preset.kind):
        only = "Remove it. Only kind openid_connect has it."
        if is_proof:
            found["token_endpoint_auth_method"] = (f"is private_key_jwt, which kind {preset.kind} has not.", only)
        if is_object:
            found["request_object"] = (f"has no effect: kind {preset.kind} has no request objects.", only)
    elif is_proof and preset.client_secret:
        found["client_secret"] = ("has no effect: a signature of ours proves who we are.", "Remove it.")
    for key, is_used, other in (
        ("request_object_signing_alg", is_object, 'request_object = "by_value" or "by_reference"'),
        ("token_endpoint_auth_signing_alg", is_proof, 'token_endpoint_auth_method = "private_key_jwt"'),
    ):
        if not is_used and getattr(preset, key) != getattr(usual, key):
            found[key] = ("has no effect: nothing is signed there.", f"Write {other} beside it, or remove it.")
    return [Problem(file="", line=0, key=key, what=what, fix=fix) for key, (what, fix) in found.items()]


def _secret_problems(preset: Preset, today: date) -> Iterable[Problem]:
    """A warning: the provider may have given us more time than was written down."""
    what = preset.secret_warning(today)
    if what is None:
        return []
    fix = "Make a new one there, put it where client_secret looks, and write its day here."
    return [Problem(file="", line=0, key="secret_ends", what=what, fix=fix, severity="warning")]


def _posting_scopes(provider: Provider) -> Iterable[Problem]:
    """The last look: whatever a kind adds on its own may not ask to post either."""
    return [
        Problem(file="", line=0, key="scopes", what=f"asks to post ({scope!r}) at sign-in.", fix="Remove it.")
        for scope in provider.sign_in_scopes
        if is_posting_scope(scope)
    ]


def _placed(preset: Preset, problem: Problem, locate: Locate | None) -> Problem:
    file, line = locate(preset.id, problem.key) if locate else ("providers.toml", 0)
    return replace(problem, file=file, line=line, key=f"{preset.id}.{problem.key}".rstrip("."))
