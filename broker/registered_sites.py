"""The sites there are: those the admin configured, and those that put themselves in, as this process knows them.

A configured site never costs a query. A registered one is looked up where a request names it (`look`), so that what another
process registered, changed or removed holds at once; everything after that reads what was found. `keep_up` brings the rest
up to date in the background within seconds, for what no request names, such as sign-outs and deliveries.

A site whose id is the address of a document is one of them as soon as somebody shares something with it: then what its
document says is kept in the store, for all processes. Until then each process that is asked reads it for itself and remembers
a few.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from broker.client_documents import ClientDocuments, Unread
from broker.client_metadata import Refusal, Rules, known_members, needs_secret, place_of, read_metadata
from broker.domain.client import Client
from broker.domain.documents import LEEWAY
from broker.domain.ports import Registrations, UnitOfWork
from broker.domain.registration import PREFIX, Registration
from broker.domain.values import ClientId, Scope, Secret
from broker.egress import Egress
from broker.errors import InvalidClientMetadata, InvalidRedirectURI, UpstreamError
from broker.sector_lists import read_list

LONGEST_ID: Final = 64
PAGE: Final = 200
SHARE: Final = 200
"""A few hundred sites are read in milliseconds, so every two seconds; many thousands less often."""
UNUSED_MOST: Final = 500
"""Documents remembered of sites that nobody uses yet; those asked for longest ago go first."""
_ANY: Final = Secret("kept-as-a-digest-and-never-seen-again")
"""Stands for the secret while a site is read, by the rules for secrets: what is kept of the real one is its digest."""


class KnownSites(Mapping[ClientId, Client]):
    """Names lead to configured and registered sites alike; going through all gives the configured ones only.

    Whatever lists sites by itself (start page, privacy notice, frames, pages of apps) lists what an admin put in.
    """

    def __init__(
        self,
        configured: Mapping[ClientId, Client],
        registrations: Registrations,
        rules: Rules | None,
        documents: ClientDocuments | None = None,
    ) -> None:
        """`rules`: what holds for sites that register; `None`: none may, and none that did is known. `documents` likewise."""
        self._configured, self._registrations, self._rules = configured, registrations, rules
        self._documents = documents
        self._registered: dict[ClientId, tuple[Registration, Client]] = {}
        self._refused: dict[ClientId, Registration] = {}
        """Those that would not be taken any more, so that nobody makes us read them again and again."""
        self._unused: dict[ClientId, tuple[Registration, Client]] = {}
        self._rests_until = 0.0

    def __getitem__(self, client_id: ClientId) -> Client:
        configured = self._configured.get(client_id)
        if configured is not None:
            return configured
        return (self._registered.get(client_id) or self._unused[client_id])[1]

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._configured or client_id in self._registered or client_id in self._unused

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self._configured)

    def __len__(self) -> int:
        return len(self._configured)

    def registered(self) -> tuple[Client, ...]:
        """Those that put themselves in and are used, by id, as far as they are known here."""
        return tuple(client for _, (_, client) in sorted(self._registered.items()))

    async def look(self, client_id: str, *, visitor: str | None = None, begins: bool = False) -> Client | None:
        """The site of this id, whoever registered it wherever; a document that is no longer fresh is read anew.

        `visitor`: the address that named it, unless what names it is ours, as a grant or a sign-in under way. `begins`: a
        sign-in begins here, so that nothing holds that could not be read anew. Raises `StoreUnavailable`, and `TooManyAttempts` where too many new documents were named.
        """
        name = ClientId(client_id)
        if self._rules is not None and client_id.startswith(PREFIX) and _can_be_id(client_id):
            self._take(name, await self._registrations.load(name))
        elif self._documents is not None and self._documents.whose.may_be_read(client_id):
            return await self._look_at_document(self._documents, name, visitor, begins=begins)
        return self.get(name)

    def is_document(self, client_id: str) -> bool:
        """Whether the id is an address that may be read here."""
        return self._documents is not None and self._documents.whose.may_be_read(client_id)

    def is_unused(self, client_id: ClientId) -> bool:
        """Whether nothing is kept of it yet: nobody shares anything with it."""
        return client_id in self._unused and client_id not in self._registered

    def keep(self, client_id: ClientId, unit: UnitOfWork) -> None:
        """Somebody shares something with it: what its document says is kept with that, if it is not yet."""
        if self.is_unused(client_id):
            unit.keep_document(self._unused[client_id][0])

    async def _look_at_document(
        self, documents: ClientDocuments, name: ClientId, visitor: str | None, *, begins: bool
    ) -> Client | None:
        kept = await self._registrations.load(name)
        self._take(name, kept)
        if kept is not None and kept.blocked_at is not None:
            return None
        held = kept or self._held(name)
        if held is not None and documents.is_fresh(held):
            return self.get(name)
        try:
            found = await documents.read(name, visitor=visitor if kept is None else None, is_used=kept is not None)
        except Unread:
            if held is not None and documents.is_fresh(held, LEEWAY):
                return None if begins else self.get(name)
            self._switch_off(name)
            return None
        if kept is None:
            self._remember(name, found)
        else:
            self._take(name, await self._registrations.load(name))
        return self.get(name)

    def _held(self, name: ClientId) -> Registration | None:
        """What this process read of a site that nobody uses yet."""
        unused = self._unused.pop(name, None)
        if unused is None:
            return None
        self._unused[name] = unused  # asked for last
        return unused[0]

    def _remember(self, name: ClientId, found: Registration) -> None:
        client = self._read(found)
        if client is None:
            return
        self._unused.pop(name, None)
        while len(self._unused) >= UNUSED_MOST:
            del self._unused[next(iter(self._unused))]
        self._unused[name] = (found, client)

    def _switch_off(self, name: ClientId) -> None:
        """It could not be read for too long: whoever uses it still sees its name, and it is told when a session ends."""
        self._unused.pop(name, None)
        known = self._registered.get(name)
        if known is not None:
            self._registered[name] = (known[0], replace(known[1], enabled=False))

    async def keep_up(self) -> None:
        """As `reload`, but as seldom as its cost asks for: it is looked for often, and may take one part in `SHARE` of the time."""
        if time.monotonic() < self._rests_until:
            return
        began = time.monotonic()
        await self.reload()
        ended = time.monotonic()
        self._rests_until = ended + SHARE * (ended - began)

    async def reload(self) -> None:
        """All that are registered. Raises `StoreUnavailable`; what was known stays known then."""
        if self._rules is None and self._documents is None:
            return
        last, found, before = ClientId(""), set[ClientId](), set(self._registered)
        while page := await self._registrations.after(last, PAGE):
            for kept in page:
                self._take(kept.client_id, kept)
            found.update(kept.client_id for kept in page)
            last = page[-1].client_id
        for gone in before - found:  # and none that registered meanwhile
            self._registered.pop(gone, None)

    def _take(self, client_id: ClientId, kept: Registration | None) -> None:
        known = self._registered.get(client_id)
        if kept is not None and known is not None and known[0] == kept:
            return
        if kept is not None and self._refused.get(client_id) == kept:
            return
        self._registered.pop(client_id, None)
        self._refused.pop(client_id, None)
        if kept is None:
            return
        self._unused.pop(client_id, None)
        client = self._read(kept) if kept.blocked_at is None else None
        if client is None:
            self._refused[client_id] = kept
        else:
            self._registered[client_id] = (kept, client)

    def _read(self, kept: Registration) -> Client | None:
        """`None`: the rules became stricter since, and it would not be taken any more."""
        if kept.has_document:
            found = self._documents.judge(kept) if self._documents is not None else None
            return replace(found, is_unreviewed=kept.reviewed_at is None) if found is not None else None
        metadata = json.loads(kept.metadata)
        rules = replace(self._rules, scopes=kept.scopes) if self._rules is not None else None
        try:
            client = (
                read_metadata(metadata, kept.client_id, _ANY if needs_secret(metadata) else None, rules)
                if rules
                else None
            )
        except Refusal:
            return None
        if client is None:
            return None
        digests = () if kept.secret_digest is None else (kept.secret_digest,)
        return replace(client, secret_digests=digests, is_unreviewed=kept.reviewed_at is None)


def _can_be_id(text: str) -> bool:
    return len(text) <= LONGEST_ID and text.isascii() and text.isprintable()


class RegistrationJudge:
    """Implements the `Judge` of `flows.registration`: refusals with the RFC's codes, in our words."""

    def __init__(self, rules: Rules, http: Egress) -> None:
        self._rules, self._http = rules, http

    def needs_secret(self, metadata: Mapping[str, Any]) -> bool:
        """See the port."""
        return needs_secret(metadata)

    def client(
        self, metadata: Mapping[str, Any], client_id: ClientId, secret: Secret | None, scopes: frozenset[Scope]
    ) -> Client:
        """See the port. Raises `InvalidRedirectURI`, `InvalidClientMetadata`."""
        try:
            return read_metadata(metadata, client_id, secret, replace(self._rules, scopes=scopes))
        except Refusal as refusal:
            problem = InvalidRedirectURI if refusal.code == InvalidRedirectURI.code else InvalidClientMetadata
            raise problem(detail="metadata refused", public=refusal.words) from refusal

    def kept(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """See the port."""
        return known_members(metadata)

    def moves(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """See the port."""
        return place_of(before) != place_of(after)

    async def look_around(self, client: Client) -> None:
        """See the port: the list of its sector has all its addresses (OpenID Connect Registration §5)."""
        address = client.sector_identifier_uri
        if address is None:
            return
        try:
            listed = await read_list(self._http, address)
        except UpstreamError as error:
            raise InvalidClientMetadata(
                detail=f"sector list {error.detail}", public="sector_identifier_uri cannot be read"
            ) from error
        if not listed.issuperset(client.redirect_uris):
            raise InvalidClientMetadata(
                detail="sector list lacks an address", public="sector_identifier_uri does not list all redirect_uris"
            )
