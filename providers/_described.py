"""What every provider says about itself, from its preset and the fields it offers."""

from __future__ import annotations

from broker.domain.provider import OfferedField
from broker.domain.values import ProviderId
from providers.preset import Preset


class Described:
    """The part of `broker.domain.provider.Provider` that is the same for every kind; its `__init__` sets both values."""

    _preset: Preset
    _offers: tuple[OfferedField, ...]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._preset.id!r})"

    @property
    def id(self) -> ProviderId:
        return self._preset.id

    @property
    def label(self) -> str:
        return self._preset.label

    @property
    def issuer(self) -> str:
        """Whose people these are: the first half of their keys. Nothing where each person's own address says."""
        return self._preset.issuer

    @property
    def offers(self) -> tuple[OfferedField, ...]:
        return self._offers

    @property
    def can_force_fresh(self) -> bool:
        return self._preset.can_force_fresh
