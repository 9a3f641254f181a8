"""Logos in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.domain.logo import DrawnLogo, Logo
from broker.errors import Conflict

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable, Tables


class LogoSteps:
    """What a unit of work does to them."""

    _steps: list[Callable[[Tables], object]]

    def put_logo(self, drawn: DrawnLogo) -> None:
        """See the port."""
        self._steps.append(lambda tables: tables.logos.update({drawn.logo.owner: drawn}))

    def show_logo(self, owner: str, digest: str) -> None:
        """See the port."""

        def step(tables: Tables) -> None:
            kept = tables.logos.get(owner)
            if kept is None or kept.logo.digest != digest:
                raise Conflict("logo")
            tables.logos[owner] = replace(kept, logo=replace(kept.logo, is_shown=True))

        self._steps.append(step)

    def drop_logo(self, owner: str) -> None:
        """See the port."""
        self._steps.append(lambda tables: tables.logos.pop(owner, None))


class MemoryLogos:
    """`ports.Logos`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def load(self, owner: str) -> DrawnLogo | None:
        return self._store.open_tables().logos.get(owner)

    async def after(self, owner: str, limit: int = 200) -> tuple[Logo, ...]:
        found = sorted(one for one in self._store.open_tables().logos if one > owner)
        return tuple(self._store.tables.logos[one].logo for one in found[:limit])

    async def shown(self, digest: str) -> bytes | None:
        found = self._store.open_tables().logos.values()
        return next((one.png for one in found if one.logo.digest == digest and one.logo.is_shown), None)
