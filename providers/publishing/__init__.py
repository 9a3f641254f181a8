"""Networks that can be posted to, one module per kind. Made for `PostingGate` by `app.py` and reachable by nothing else.

Each takes a permit and checks again that it is for this very message and still good: the last of the seven locks.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from broker.domain.ports import Clock
from broker.domain.posting import Publisher
from broker.domain.values import ProviderId
from broker.errors import ConfigurationError, Problem
from providers._http import UpstreamHTTP
from providers.preset import Preset


class PublisherKind(Protocol):
    """What a module names `PUBLISHER`."""

    def __call__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> Publisher: ...

    def problems(self, preset: Preset) -> Iterable[Problem]:
        """What is wrong with the preset's posting table. File and line are left empty."""
        ...


def known_publishers() -> tuple[str, ...]:
    """The kinds of publishers there are."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg and not m.name.startswith("_")))


def load_publishers(presets: Iterable[Preset], http: UpstreamHTTP, clock: Clock) -> Mapping[ProviderId, Publisher]:
    """A publisher for each provider that is on and has a `posting` table. Touches no network.

    Raises `ConfigurationError` with all problems at once.
    """
    problems: list[Problem] = []
    made: dict[ProviderId, Publisher] = {}
    for preset in presets:
        if preset.posting is None or preset.state != "on":
            continue
        found = list(_problems(preset))
        problems += found
        if not found:
            made[preset.id] = _kind(preset.posting.kind)(preset, http, clock)
    if problems:
        raise ConfigurationError(tuple(problems))
    return MappingProxyType(made)


def _kind(name: str) -> PublisherKind:
    kind: PublisherKind = importlib.import_module(f"{__name__}.{name}").PUBLISHER
    return kind


def _problems(preset: Preset) -> Iterable[Problem]:
    name = preset.posting.kind if preset.posting else ""
    if name in known_publishers():
        return _kind(name).problems(preset)
    what, fix = f"{name!r} is not a kind of publisher.", f"Known kinds: {', '.join(known_publishers())}."
    return [Problem(file="providers.toml", line=0, key=f"{preset.id}.posting.kind", what=what, fix=fix)]
