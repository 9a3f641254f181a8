"""Documents in which sites say what they are, fetched from the addresses that are their ids (draft-ietf-oauth-client-id-metadata-document).

Anybody can name any address. So it is asked only after checks that cost nothing, by the guarded client, for a few kilobytes,
once at a time, and only as often as a budget allows that is counted for all processes together:

* an address that people already use is asked without a budget, as seldom as its own headers allow;
* a new one counts for whoever named it, for its host, and, unless the admin listed that host, for all strangers together.
  So nobody who names a thousand addresses keeps listed hosts or known sites from being read.

No answer that failed is kept (§5.2). That nobody asks again for half a minute is no answer, only patience.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.client_metadata import Refusal, Rules, read_document
from broker.domain.claims import SCOPES
from broker.domain.client import Client
from broker.domain.documents import DocumentRules, fresh_until, host_of, mark
from broker.domain.ports import Clock, Limits, UnitOfWork
from broker.domain.registration import Registration
from broker.domain.values import ClientId
from broker.egress import Egress
from broker.errors import TooManyAttempts, UpstreamError
from broker.strict_json import read_json

SIZE_MOST: Final = 5 * 1024
"""Bytes of a document (§8.6)."""
PATIENCE: Final = timedelta(seconds=30)
REMEMBERED_MOST: Final = 1000
"""Addresses that failed lately; the oldest go first."""
PER_VISITOR: Final = 10
PER_HOST: Final = 10
PER_LISTED_HOST: Final = 60
ALL_STRANGERS: Final = 60
"""New addresses a minute."""
_OK: Final = 200


class Unread(Exception):
    """No document that holds is there. The text says why, for the log: never more than a host and a few words."""


@dataclass(slots=True, kw_only=True)
class ClientDocuments:
    """One for each process; belongs to its event loop."""

    http: Egress
    whose: DocumentRules
    rules: Rules
    limits: Limits
    clock: Clock
    unit: Callable[[], UnitOfWork]
    report: Callable[[str, str], None] = lambda _host, _reason: None
    """Host and outcome of each document that was asked for."""
    _running: dict[ClientId, asyncio.Task[Registration]] = field(default_factory=dict)
    _failed: dict[ClientId, datetime] = field(default_factory=dict)

    def judge(self, kept: Registration) -> Client | None:
        """The site behind a document that was read before; `None`: it would not be taken any more."""
        if not self.whose.may_be_read(kept.client_id):
            return None
        try:
            return read_document(read_json(kept.metadata.encode(), "client document"), kept.client_id, self.rules)
        except (Refusal, UpstreamError):
            return None

    def is_fresh(self, kept: Registration, leeway: timedelta = timedelta()) -> bool:
        """Whether what was read holds, or held until no longer ago than this."""
        return kept.fresh_until is not None and self.clock.now() < kept.fresh_until + leeway

    async def read(self, client_id: ClientId, *, visitor: str | None, is_used: bool) -> Registration:
        """What the document says now. `is_used`: somebody shares something with the site, so that it is kept for all processes.
        `visitor`: whose naming it is to be counted for; `None`: nobody's, as what names it is ours.

        Raises `Unread`, and `TooManyAttempts` where the budget is spent. Whoever asks while it is being read gets the same.
        """
        running = self._running.get(client_id)
        if running is None:
            failed = self._failed.get(client_id)
            if failed is not None and self.clock.now() < failed + PATIENCE:
                raise Unread("failed just now")
            if visitor is not None:
                await self._spend(client_id, visitor)
            # While the budget was asked, somebody else may have begun.
            running = self._running.get(client_id) or self._begin(client_id, is_used=is_used)
        # Shielded: who asked first may go away, and others wait for the same answer.
        return await asyncio.shield(running)

    def _begin(self, client_id: ClientId, *, is_used: bool) -> asyncio.Task[Registration]:
        running = self._running[client_id] = asyncio.create_task(self._fetch_for(client_id, is_used=is_used))
        running.add_done_callback(lambda done: self._end(client_id, done))
        return running

    def _end(self, client_id: ClientId, done: asyncio.Task[Registration]) -> None:
        del self._running[client_id]
        self._failed.pop(client_id, None)
        if not done.cancelled() and done.exception() is not None:
            while len(self._failed) >= REMEMBERED_MOST:
                del self._failed[next(iter(self._failed))]
            self._failed[client_id] = self.clock.now()

    async def _spend(self, client_id: ClientId, visitor: str) -> None:
        host = host_of(client_id)
        is_listed = self.whose.is_listed(client_id)
        budgets = [
            (f"documents:of:{visitor}", PER_VISITOR),
            (f"documents:at:{host}", PER_LISTED_HOST if is_listed else PER_HOST),
        ]
        if not is_listed:
            budgets.append(("documents:strangers", ALL_STRANGERS))
        for key, limit in budgets:
            wait = await self.limits.hit(key, limit=limit, window=60, now=self.clock.now())
            if wait:
                raise TooManyAttempts(wait, detail="client documents")

    async def _fetch_for(self, client_id: ClientId, *, is_used: bool) -> Registration:
        try:
            found = await self._fetch(client_id)
        except Unread as error:
            self.report(host_of(client_id), str(error))
            raise
        self.report(host_of(client_id), "read")
        if is_used:
            unit = self.unit()
            unit.keep_document(found)
            await unit.commit()
        return found

    async def _fetch(self, client_id: ClientId) -> Registration:
        try:
            answer = await self.http.request("GET", client_id, headers={"Accept": "application/json"}, most=SIZE_MOST)
            if answer.status != _OK:
                raise Unread(f"status {answer.status}")
            if not _is_json(answer.headers.get("content-type", "")):
                raise Unread("content type")
            document = read_json(answer.body, "client document")
            read_document(document, client_id, self.rules)
        except (Refusal, UpstreamError, Unread) as error:
            reason = error.detail if isinstance(error, UpstreamError) else str(error)
            raise Unread(reason) from None
        now, text = self.clock.now(), answer.body.decode()
        return Registration(
            client_id=client_id,
            invitation="",
            metadata=text,
            scopes=frozenset(SCOPES),
            token_digest=mark(text),
            registered_at=now,
            fresh_until=fresh_until(answer.headers, now),
        )


def _is_json(content_type: str) -> bool:
    """`application/json`, or a kind of it (§4)."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
