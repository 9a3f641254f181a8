"""Which pages may read what the endpoints for apps answer: those of sites that hold no secret (CORS; catalogue 145).

A site with a secret asks with its server, and no page of it may read a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from broker.domain.browser_state import origin_of
from broker.domain.client import Client
from broker.domain.values import ClientId


@dataclass(frozen=True, slots=True)
class AppOrigins:
    """Each origin that a registered redirect address of such a site has, and the sites that have it."""

    sites: Mapping[str, frozenset[ClientId]]

    @classmethod
    def of(cls, clients: Iterable[Client]) -> Self:
        """Of all these clients; only those that are public and on count."""
        found: dict[str, frozenset[ClientId]] = {}
        for client in clients:
            if client.is_public and client.enabled:
                for origin in map(origin_of, client.redirect_uris):
                    found[origin] = found.get(origin, frozenset()) | {client.client_id}
        return cls(found)

    def may_read(self, origin: str, client: ClientId | None) -> bool:
        """Whether a page there may read an answer to this site; `None`: an answer to nobody that is known."""
        sites = self.sites.get(origin, frozenset())
        return bool(sites) if client is None else client in sites
