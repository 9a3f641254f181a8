"""The outbox in SQL: what must reach others, claimed by one process at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, bindparam, case, delete, exists, select, text, true, update

from broker.domain.ports import Delivery
from broker.domain.values import ClientId
from broker.errors import StoreUnavailable
from broker.stores.records import decode_texts, encode, micros, moment
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, Script, Statement, Step, define, define_insert, parameter
from broker.stores.sql.tables import deliveries, delivery_marks
from broker.stores.vault import KeyRing

CLAIM_FOR: Final = timedelta(minutes=1)

_COLUMNS: Final = (
    deliveries.c.id,
    deliveries.c.kind,
    deliveries.c.client,
    deliveries.c.sealed,
    deliveries.c.created_at,
    deliveries.c.due_at,
    deliveries.c.attempts,
    deliveries.c.last_error,
)
ENQUEUE: Final = define_insert(deliveries)
MARK: Final = define_insert(delivery_marks)
_NOW: Final = bindparam("p_now", type_=BigInteger)
_free: Final = select(deliveries.c.id).where(
    deliveries.c.given_up.is_(False), deliveries.c.due_at <= _NOW, deliveries.c.claimed_until <= _NOW
)
_due: Final = (
    _free.order_by(deliveries.c.due_at, deliveries.c.id)
    .limit(bindparam("p_limit", type_=Integer))
    .with_for_update(skip_locked=True)
)
_ANY_FREE: Final = define(_free.limit(1))
_CLAIM: Final = define(
    update(deliveries)
    .where(deliveries.c.id.in_(_due), deliveries.c.claimed_until <= _NOW)
    .values(claimed_until=bindparam("p_until", type_=BigInteger))
    .returning(*_COLUMNS)
)
_DONE: Final = define(delete(deliveries).where(deliveries.c.id == parameter(deliveries.c.id)))
DONE_MARKS: Final = define(delete(delivery_marks).where(delivery_marks.c.delivery == parameter(deliveries.c.id)))
_tried = (
    update(deliveries)
    .where(deliveries.c.id == parameter(deliveries.c.id))
    .values(attempts=deliveries.c.attempts + 1, last_error=parameter(deliveries.c.last_error), claimed_until=0)
)
_RETRY: Final = define(_tried.values(due_at=parameter(deliveries.c.due_at)))
_PUT_OFF: Final = define(
    update(deliveries)
    .where(deliveries.c.id == parameter(deliveries.c.id))
    .values(due_at=parameter(deliveries.c.due_at), claimed_until=0)
)
_GIVE_UP: Final = define(_tried.values(given_up=true()))
_marked = (
    select(*_COLUMNS, deliveries.c.given_up)
    .join_from(delivery_marks, deliveries, deliveries.c.id == delivery_marks.c.delivery)
    .where(delivery_marks.c.mark == parameter(delivery_marks.c.mark))
    .order_by(deliveries.c.created_at, deliveries.c.id)
)
_TRACES: Final = define(_marked)
# As a case: told plainly, SQLite would rather look at everything that is not given up.
_PENDING: Final = define(
    _marked.where(case((deliveries.c.given_up, 1), else_=0) == 0).limit(bindparam("p_limit", type_=Integer))
)


_rare, _also = delivery_marks.alias(), delivery_marks.alias()
_named: Final = select(_rare.c.delivery).where(_rare.c.mark == parameter(delivery_marks.c.mark))
_is_one: Final = (
    deliveries.c.id.in_(_named),
    deliveries.c.kind == parameter(deliveries.c.kind),
    exists().where(_also.c.delivery == deliveries.c.id, _also.c.mark == parameter(_also.c.mark, "p_also")),
)
# By itself, and after whatever made sure that nothing more of it is being written.
CALL_OFF: Final = define(
    delete(deliveries).where(*_is_one, deliveries.c.claimed_until <= _NOW), reads=[delivery_marks], barrier=True
)
CALL_OFF_MARKS: Final = define(
    delete(delivery_marks).where(
        delivery_marks.c.delivery.in_(_named.where(~exists().where(deliveries.c.id == _rare.c.delivery)))
    ),
    reads=[deliveries],
)
UNDER_WAY: Final = define(select(deliveries.c.id).where(*_is_one), reads=[deliveries, delivery_marks])

_FAILING: Final = define(
    select(*_COLUMNS, deliveries.c.given_up)
    .where(text("attempts > 0"))  # to the letter, as the index says it: it serves no parameter
    .order_by(deliveries.c.created_at, deliveries.c.id)
    .limit(bindparam("p_limit", type_=Integer))
)


def delivery_params(delivery: Delivery, ring: KeyRing) -> Params:
    return {
        "p_id": delivery.id,
        "p_kind": delivery.kind,
        "p_client": delivery.client,
        "p_created_at": micros(delivery.created_at),
        "p_due_at": micros(delivery.due_at),
        "p_claimed_until": 0,
        "p_attempts": delivery.attempts,
        "p_last_error": delivery.last_error,
        "p_given_up": False,
        "p_sealed": ring.seal(encode(dict(delivery.payload)), f"deliveries/{delivery.id}/sealed"),
    }


def mark_params(delivery: Delivery, ring: KeyRing) -> list[Params]:
    """One row per entry of the payload, so that what is on its way can be found by any of them."""
    return [{"p_delivery": delivery.id, "p_mark": _mark(ring, key, value)} for key, value in delivery.payload.items()]


def call_off_params(kind: str, payload: Mapping[str, str], now: datetime, ring: KeyRing) -> Params:
    also, mark = [_mark(ring, key, value) for key, value in payload.items()]  # the last one is the rarer one
    return {"p_kind": kind, "p_mark": mark, "p_also": also, "p_now": micros(now)}


def _mark(ring: KeyRing, key: str, value: str) -> bytes:
    return ring.blind("delivery", f"{key}\x00{value}")


def _delivery(row: Row, ring: KeyRing) -> Delivery:
    delivery_id, kind, client, sealed, created_at, due_at, attempts, last_error = row
    return Delivery(
        id=delivery_id,
        kind=kind,
        client=ClientId(client),
        payload=decode_texts(ring.open(sealed, f"deliveries/{delivery_id}/sealed")),
        created_at=moment(created_at),
        due_at=moment(due_at),
        attempts=attempts,
        last_error=last_error,
    )


class SqlOutbox:
    """`ports.Outbox`."""

    def __init__(self, driver: Driver, ring: KeyRing) -> None:
        self._driver = driver
        self._ring = ring

    async def claim(self, now: datetime, limit: int) -> tuple[Delivery, ...]:
        """Oldest due first."""
        params: dict[str, Any] = {"p_now": micros(now), "p_until": micros(now + CLAIM_FOR), "p_limit": limit}
        # A look first: every process asks every second, nearly always for nothing, and a look waits for no writer.
        if not await self._driver.read(_ANY_FREE, params):
            return ()
        rows = await self._driver.write(_CLAIM, params)
        claimed = [delivery for row in rows if (delivery := await self._opened(row)) is not None]
        return tuple(sorted(claimed, key=lambda delivery: (delivery.due_at, delivery.id)))

    async def _opened(self, row: Row) -> Delivery | None:
        """One that was damaged is given up: it must not hold back those that are claimed with it, again and again."""
        try:
            return await self._ring.reading(lambda: _delivery(row, self._ring))
        except StoreUnavailable:
            await self.give_up(row[0], "does not open")
            return None

    async def done(self, delivery_id: str) -> None:
        await self._driver.run(lambda: _finish(delivery_id))

    async def retry(self, delivery_id: str, due_at: datetime, error: str) -> None:
        await self._driver.write(_RETRY, {"p_id": delivery_id, "p_due_at": micros(due_at), "p_last_error": error[:200]})

    async def put_off(self, delivery_id: str, due_at: datetime) -> None:
        await self._driver.write(_PUT_OFF, {"p_id": delivery_id, "p_due_at": micros(due_at)})

    async def give_up(self, delivery_id: str, error: str) -> None:
        await self._driver.write(_GIVE_UP, {"p_id": delivery_id, "p_last_error": error[:200]})

    async def pending(self, payload_key: str, payload_value: str, limit: int = 1000) -> tuple[Delivery, ...]:
        """Oldest first."""
        mark = _mark(self._ring, payload_key, payload_value)
        return tuple(delivery for delivery, _ in await self._found(_PENDING, {"p_mark": mark, "p_limit": limit}))

    async def traces(self, payload_key: str, payload_value: str) -> tuple[tuple[Delivery, bool], ...]:
        """Oldest first."""
        return await self._found(_TRACES, {"p_mark": _mark(self._ring, payload_key, payload_value)})

    async def failing(self, limit: int) -> tuple[tuple[Delivery, bool], ...]:
        """Oldest first."""
        return await self._found(_FAILING, {"p_limit": limit})

    async def _found(self, statement: Statement, params: Params) -> tuple[tuple[Delivery, bool], ...]:
        rows = await self._driver.read(statement, params)
        return await self._ring.reading(
            lambda: tuple((_delivery(row, self._ring), bool(given_up)) for *row, given_up in rows)
        )


def _finish(delivery_id: str) -> Script[None]:
    for statement in (DONE_MARKS, _DONE):
        yield Step(statement, {"p_id": delivery_id})
