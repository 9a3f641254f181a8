"""The durable store on SQL as a whole, and the purge of what has expired."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Integer, Table, bindparam, delete, or_, select, text

from broker.domain import documents
from broker.domain import failures as kept_failures
from broker.domain.ports import Clock
from broker.domain.status import KEEP
from broker.stores.records import micros
from broker.stores.sql.accounts import SqlAccounts
from broker.stores.sql.drivers import Driver
from broker.stores.sql.failures import SqlFailures
from broker.stores.sql.grants import SqlGrants
from broker.stores.sql.keys import SqlSigningKeys
from broker.stores.sql.ledger import SqlLedger
from broker.stores.sql.logos import SqlLogos
from broker.stores.sql.outbox import DONE_MARKS, SqlOutbox
from broker.stores.sql.pictures import SqlPictures
from broker.stores.sql.postings import SqlPostings, SqlVault
from broker.stores.sql.registrations import SqlRegistrations
from broker.stores.sql.removals import SqlRemovals
from broker.stores.sql.staff import SqlAudit, SqlStaff
from broker.stores.sql.statements import PING, Script, Statement, Step, define
from broker.stores.sql.statuses import SqlStatuses
from broker.stores.sql.streams import SqlStreams
from broker.stores.sql.tables import (
    REGISTERED,
    codes,
    deliveries,
    ended_statuses,
    failures,
    families,
    grants,
    postings,
    registrations,
    revoked_tokens,
)
from broker.stores.sql.unit import SqlUnitOfWork
from broker.stores.vault import KeyRing

KEEP_CODES: Final = timedelta(hours=1)
"""How long a code outlives itself, so that one that comes back is known to have been used (RFC 6749 §4.1.2)."""
KEEP_SETTLED: Final = timedelta(days=30)
"""How long a settled posting, and a delivery given up, can be looked at."""

NOW: Final = bindparam("p_now", type_=BigInteger)


def purge_statement(table: Table, condition: ColumnElement[bool]) -> Statement:
    """Deletes at most `p_limit` rows that match. Small batches: nobody waits long for the locks."""
    (key,) = table.primary_key.columns
    some = select(key).where(condition).limit(bindparam("p_limit", type_=Integer))
    return define(delete(table).where(key.in_(some)).returning(key))


_live_family: Final = select(families.c.id).where(families.c.grant_id == grants.c.id).exists()
_granted: Final = select(grants.c.id).where(grants.c.client == registrations.c.client, text(REGISTERED)).exists()
_unused_document: Final = (
    (registrations.c.fresh_until <= NOW)
    & registrations.c.reviewed_at.is_(None)
    & registrations.c.blocked_at.is_(None)
    & ~_granted
)
_PURGES: Final[tuple[tuple[Statement, timedelta], ...]] = (
    (purge_statement(codes, codes.c.expires_at <= NOW), KEEP_CODES),
    (purge_statement(families, or_(families.c.idle_expires_at <= NOW, families.c.expires_at <= NOW)), timedelta()),
    (purge_statement(grants, (grants.c.expires_at <= NOW) & ~_live_family), timedelta()),
    (purge_statement(revoked_tokens, revoked_tokens.c.expires_at <= NOW), timedelta()),
    (purge_statement(ended_statuses, ended_statuses.c.ended_at <= NOW), KEEP),
    (purge_statement(failures, failures.c.at <= NOW), kept_failures.KEEP),
    (purge_statement(registrations, _unused_document), documents.KEEP),
    (
        purge_statement(
            postings,
            # Not `coalesce(settled_at, expires_at)`: this way an index serves both halves, and nothing is scanned.
            or_(postings.c.settled_at <= NOW, postings.c.settled_at.is_(None) & (postings.c.expires_at <= NOW)),
        ),
        KEEP_SETTLED,
    ),
)
_PURGE_DELIVERIES: Final = purge_statement(deliveries, deliveries.c.given_up.is_(True) & (deliveries.c.due_at <= NOW))


class SqlDurable:
    """`ports.Durable`."""

    def __init__(self, driver: Driver, ring: KeyRing, clock: Clock) -> None:
        self.driver = driver
        self.ring = ring
        self._clock = clock
        self.accounts = SqlAccounts(driver, ring)
        self.ledger = SqlLedger(driver)
        self.grants = SqlGrants(driver, ring, clock)
        self.postings = SqlPostings(driver, ring)
        self.vault = SqlVault(driver, ring)
        self.outbox = SqlOutbox(driver, ring)
        self.keys = SqlSigningKeys(driver, ring)
        self.statuses = SqlStatuses(driver)
        self.removals = SqlRemovals(driver)
        self.registrations = SqlRegistrations(driver)
        self.pictures = SqlPictures(driver, ring)
        self.logos = SqlLogos(driver)
        self.staff = SqlStaff(driver)
        self.streams = SqlStreams(driver, ring)
        self.audit = SqlAudit(driver)
        self.failures = SqlFailures(driver)

    def unit(self) -> SqlUnitOfWork:
        return SqlUnitOfWork(self.driver, self.ring, self._clock)

    async def purge(self, now: datetime, limit: int = 500) -> int:
        gone = 0
        for statement, kept in _PURGES:
            params: dict[str, Any] = {"p_now": micros(now - kept), "p_limit": limit}
            gone += len(await self.driver.write(statement, params))
        before = micros(now - KEEP_SETTLED)
        return gone + await self.driver.run(lambda: _purge_deliveries(before, limit))

    async def ping(self) -> None:
        await self.driver.read(PING, {})

    async def close(self) -> None:
        await self.driver.close()


def _purge_deliveries(before: int, limit: int) -> Script[int]:
    """Deliveries given up long ago, each with its marks."""
    rows = yield Step(_PURGE_DELIVERIES, {"p_now": before, "p_limit": limit})
    for (delivery_id,) in rows:
        yield Step(DONE_MARKS, {"p_id": delivery_id})
    return len(rows)
