"""Logos: fetched once and kept, shown as `domain.logo` decides, gone with whose they are.

What the admin configured is fetched in the background, by one process for all and not again once it is there; a file is read
anew when something else stands in it. Of a site that put itself in nothing is fetched before an admin looks at it: so nobody
makes us call anything by registering, and what they look at is what people see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.domain.client import Client
from broker.domain.logo import (
    DrawnLogo,
    Logo,
    LogoUnusable,
    is_address,
    of_provider,
    path_of,
    put_itself_in,
    read_name,
    shown_logo,
)
from broker.domain.ports import Clock, Durable, Limits, LogoSource
from broker.domain.values import ClientId, ProviderId
from broker.errors import NotFound

PAGE: Final = 200
TRIED_EVERY: Final = 600
"""Seconds until one that could not be had is asked for again, by any process."""


@dataclass(slots=True, kw_only=True)
class LogoFlow:
    """One for each process. `wanted`: where the logos are that the admin configured, by whose they are."""

    durable: Durable
    source: LogoSource
    limits: Limits
    clock: Clock
    wanted: Mapping[str, str]
    report: Callable[[str, str], None] = lambda _owner, _reason: None
    """Whose logo could not be had, and why in a word."""
    _kept: dict[str, Logo] = field(default_factory=dict)

    def of_site(self, client: Client) -> str:
        """The address of what stands beside the site's name; empty: nothing does."""
        return path_of(shown_logo(client, self._kept.get(client.client_id)))

    def of_provider(self, provider: ProviderId) -> str:
        """The same for a provider's button."""
        owner = of_provider(provider)
        kept, option = self._kept.get(owner), self.wanted.get(owner)
        return path_of(kept.digest) if kept is not None and option is not None and kept.is_from(option) else ""

    async def sent(self, name: str) -> bytes:
        """The PNG behind an address of ours. Raises `NotFound`."""
        digest = read_name(name)
        png = await self.durable.logos.shown(digest) if digest is not None else None
        if png is None:
            raise NotFound(detail="no such logo")
        return png

    async def reload(self) -> None:
        """What there is, as any process kept it. Raises `StoreUnavailable`; what was known stays known then."""
        last, found = "", dict[str, Logo]()
        while page := await self.durable.logos.after(last, PAGE):
            found |= {logo.owner: logo for logo in page}
            last = page[-1].owner
        self._kept = found

    async def bring_up_to_date(self) -> None:
        """Everything that is configured is there, and nothing of whoever is gone."""
        await self.reload()
        for owner, option in self.wanted.items():
            try:
                await self._bring(owner, option)
            except LogoUnusable as problem:
                self.report(owner, problem.reason)
        for owner in [owner for owner in self._kept if owner not in self.wanted]:
            if put_itself_in(owner) and await self.durable.registrations.load(ClientId(owner)) is not None:
                continue
            unit = self.durable.unit()
            unit.drop_logo(owner)
            await unit.commit()
            self._kept.pop(owner, None)

    async def looked_at(self, client: Client) -> DrawnLogo | None:
        """The logo of a site that put itself in, as it is there now; `None`: it names none. It is kept, and shown only if this very
        picture was looked at before. Raises `LogoUnusable`.
        """
        if not client.logo:
            return None
        if not is_address(client.logo):
            raise LogoUnusable("scheme")
        return await self._fetched(client.client_id, client.logo, client.logo, is_shown=False)

    async def kept_of(self, client: Client) -> DrawnLogo | None:
        """What is kept of it, from where it says now."""
        found = await self.durable.logos.load(client.client_id)
        return found if found is not None and client.logo and found.logo.is_from(client.logo) else None

    async def _bring(self, owner: str, option: str) -> None:
        source = await self.source.source(option)
        kept = self._kept.get(owner)
        if kept is not None and kept.source == source and kept.is_shown:
            return
        key = f"logo:{owner} {source}"
        if await self.limits.hit(key, limit=1, window=TRIED_EVERY, now=self.clock.now()):
            return
        self._kept[owner] = (await self._fetched(owner, option, source, is_shown=True)).logo

    async def _fetched(self, owner: str, option: str, source: str, *, is_shown: bool) -> DrawnLogo:
        png = await self.source.draw(option)
        digest, before = hashlib.sha256(png).hexdigest(), await self.durable.logos.load(owner)
        was_shown = before is not None and before.logo.digest == digest and before.logo.is_shown
        logo = Logo(owner=owner, source=source, digest=digest, size=len(png), is_shown=is_shown or was_shown)
        drawn = DrawnLogo(logo=logo, png=png)
        if before != drawn:
            unit = self.durable.unit()
            unit.put_logo(drawn)
            await unit.commit()
        return drawn
