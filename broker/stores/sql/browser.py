"""Browser memory on SQL, for when there is no Redis: transactions, sessions, replay marks and limits."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, case, delete, null, select, update
from sqlalchemy.dialects.postgresql import insert

from broker.domain.ports import Clock
from broker.domain.session import Session
from broker.domain.values import AccountId, Sid
from broker.stores.records import decode_session, encode, micros, micros_or_none
from broker.stores.sql.drivers import Driver
from broker.stores.sql.durable import NOW, purge_statement
from broker.stores.sql.statements import PING, Params, Script, Step, define, parameter
from broker.stores.sql.tables import limits, replay_marks, sessions, transactions
from broker.stores.vault import KeyRing

_save_transaction = insert(transactions).values({column: parameter(column) for column in transactions.columns})
_SAVE_TRANSACTION: Final = define(
    _save_transaction.on_conflict_do_update(
        index_elements=["id"],
        set_={"sealed": _save_transaction.excluded.sealed, "expires_at": _save_transaction.excluded.expires_at},
    )
)
_LOAD_TRANSACTION: Final = define(
    select(transactions.c.sealed).where(
        transactions.c.id == parameter(transactions.c.id), transactions.c.expires_at > NOW
    ),
    together=True,
)
_DELETE_TRANSACTION: Final = define(
    delete(transactions).where(transactions.c.id == parameter(transactions.c.id)).returning(transactions.c.id)
)


class SqlTransactions:
    """`ports.Transactions`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def save(self, transaction_id: str, sealed: bytes, expires_at: datetime) -> None:
        params = {"p_id": transaction_id, "p_sealed": sealed, "p_expires_at": micros(expires_at)}
        await self._driver.write(_SAVE_TRANSACTION, params, lasting=False)

    async def load(self, transaction_id: str, now: datetime) -> bytes | None:
        rows = await self._driver.read(_LOAD_TRANSACTION, {"p_id": transaction_id, "p_now": micros(now)})
        return bytes(rows[0][0]) if rows else None

    async def delete(self, transaction_id: str) -> bool:
        return bool(await self._driver.write(_DELETE_TRANSACTION, {"p_id": transaction_id}, lasting=False))


_save_session = insert(sessions).values({column: parameter(column) for column in sessions.columns})
# An ended session stays ended: a page that was on its way when somebody signed out must not bring it back.
_SAVE_SESSION: Final = define(
    _save_session.on_conflict_do_update(
        index_elements=["id"],
        set_={
            name: _save_session.excluded[name]
            for name in ("secret_digest", "live_until", "ended_at", "upstream", "sealed")
        },
        where=sessions.c.ended_at.is_(None),
    )
)
_TOUCH: Final = define(
    update(sessions)
    .where(
        sessions.c.id == parameter(sessions.c.id),
        sessions.c.secret_digest == parameter(sessions.c.secret_digest),
        sessions.c.ended_at.is_(None),
    )
    .values(live_until=parameter(sessions.c.live_until), sealed=parameter(sessions.c.sealed))
)
_BY_DIGEST: Final = define(
    select(sessions.c.id, sessions.c.sealed).where(
        sessions.c.secret_digest == parameter(sessions.c.secret_digest),
        sessions.c.ended_at.is_(None),
        sessions.c.live_until > NOW,
    ),
    together=True,
)
_OF_ACCOUNT: Final = define(
    select(sessions.c.id, sessions.c.sealed)
    .where(sessions.c.account == bindparam("p_account"), sessions.c.ended_at.is_(None), sessions.c.live_until > NOW)
    .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
)
_OF_UPSTREAM: Final = define(
    select(sessions.c.id, sessions.c.sealed)
    .where(
        sessions.c.upstream == parameter(sessions.c.upstream),
        sessions.c.ended_at.is_(None),
        sessions.c.live_until > NOW,
    )
    .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
)
_LOCK_ONE: Final = define(
    select(sessions.c.id, sessions.c.sealed)
    .where(sessions.c.id == parameter(sessions.c.id), sessions.c.ended_at.is_(None))
    .with_for_update()
)
_LOCK_ALL: Final = define(
    select(sessions.c.id, sessions.c.sealed)
    .where(
        sessions.c.account == bindparam("p_account"),
        sessions.c.id != bindparam("p_keep"),
        sessions.c.ended_at.is_(None),
    )
    .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
    .with_for_update()
)
_END: Final = define(
    update(sessions)
    .where(sessions.c.id == parameter(sessions.c.id))
    .values(ended_at=NOW, upstream=null(), sealed=parameter(sessions.c.sealed))
)


def session_params(session: Session, ring: KeyRing) -> Params:
    return {
        "p_id": session.sid,
        "p_account": session.account,
        "p_secret_digest": session.secret_digest,
        "p_created_at": micros(session.created_at),
        "p_live_until": micros(min(session.idle_expires_at, session.expires_at)),
        "p_ended_at": micros_or_none(session.ended_at),
        "p_upstream": None if session.upstream is None else _upstream_blind(ring, session.upstream),
        "p_sealed": ring.seal(encode(session), _place(session.sid)),
    }


def _upstream_blind(ring: KeyRing, upstream: str) -> bytes:
    return ring.blind("upstream_session", upstream)


def _place(sid: str) -> str:
    return f"sessions/{sid}/sealed"


class SqlSessions:
    """`ports.Sessions`."""

    def __init__(self, driver: Driver, ring: KeyRing, clock: Clock) -> None:
        self._driver = driver
        self._ring = ring
        self._clock = clock

    async def save(self, session: Session) -> None:
        await self._driver.write(_SAVE_SESSION, session_params(session, self._ring), lasting=False)

    async def touch(self, session: Session) -> None:
        params = session_params(session, self._ring)
        wanted = ("p_id", "p_secret_digest", "p_live_until", "p_sealed")
        await self._driver.write(_TOUCH, {name: params[name] for name in wanted}, lasting=False)

    async def by_digest(self, secret_digest: bytes, now: datetime) -> Session | None:
        rows = await self._driver.read(_BY_DIGEST, {"p_secret_digest": secret_digest, "p_now": micros(now)})
        return await self._ring.reading(lambda: self._open(*rows[0]) if rows else None)

    async def of_account(self, account: AccountId, now: datetime) -> tuple[Session, ...]:
        rows = await self._driver.read(_OF_ACCOUNT, {"p_account": account, "p_now": micros(now)})
        return await self._ring.reading(lambda: tuple(self._open(*row) for row in rows))

    async def of_upstream(self, upstream: str, now: datetime) -> tuple[Session, ...]:
        params = {"p_upstream": _upstream_blind(self._ring, upstream), "p_now": micros(now)}
        rows = await self._driver.read(_OF_UPSTREAM, params)
        return await self._ring.reading(lambda: tuple(self._open(*row) for row in rows))

    async def end(self, sid: Sid) -> Session | None:
        ended = await self._driver.run(lambda: self._end(Step(_LOCK_ONE, {"p_id": sid})))
        return await self._ring.reading(lambda: self._open(*ended[0]) if ended else None)

    async def end_all(self, account: AccountId, *, keep: Sid | None = None) -> tuple[Session, ...]:
        """Newest first."""
        ended = await self._driver.run(lambda: self._end(Step(_LOCK_ALL, {"p_account": account, "p_keep": keep or ""})))
        return await self._ring.reading(lambda: tuple(self._open(*row) for row in ended))

    def _end(self, lock: Step) -> Script[list[tuple[str, bytes]]]:
        """Marks the rows ended and empties them: what is left says only that this session is over."""
        rows = yield lock
        now = micros(self._clock.now())
        for sid, _ in rows:
            yield Step(_END, {"p_id": sid, "p_now": now, "p_sealed": self._ring.seal(b"", _place(sid))})
        return [(sid, bytes(sealed)) for sid, sealed in rows]

    def _open(self, sid: str, sealed: bytes) -> Session:
        return decode_session(self._ring.open(sealed, _place(sid)))


_mark = insert(replay_marks).values({column: parameter(column) for column in replay_marks.columns})
_FIRST_TIME: Final = define(
    _mark.on_conflict_do_update(
        index_elements=["id"], set_={"expires_at": _mark.excluded.expires_at}, where=replay_marks.c.expires_at <= NOW
    ).returning(replay_marks.c.id)
)


class SqlReplay:
    """`ports.Replay`. Keys are kept as blind indexes only."""

    def __init__(self, driver: Driver, ring: KeyRing, clock: Clock) -> None:
        self._driver = driver
        self._ring = ring
        self._clock = clock

    async def first_time(self, key: str, expires_at: datetime) -> bool:
        params = {
            "p_id": self._ring.blind("replay", key),
            "p_expires_at": micros(expires_at),
            "p_now": micros(self._clock.now()),
        }
        return bool(await self._driver.write(_FIRST_TIME, params, lasting=False))


# The generic cell rate algorithm: one time per key says when it would be as good as new. A try moves it on by
# window / limit and counts only if that stays within one window of now. One statement, so nothing can slip between.
_step: Final = bindparam("p_step", type_=BigInteger)
_start: Final = case((limits.c.free_at > NOW, limits.c.free_at), else_=NOW)
_hit = insert(limits).values(id=parameter(limits.c.id), free_at=parameter(limits.c.free_at))
_HIT: Final = define(
    _hit.on_conflict_do_update(
        index_elements=["id"],
        set_={"free_at": _start + _step},
        where=_start + _step <= bindparam("p_end", type_=BigInteger),
    ).returning(limits.c.free_at)
)
_FREE_AT: Final = define(select(limits.c.free_at).where(limits.c.id == parameter(limits.c.id)))


def seconds_to_wait(free_at: int, step: int, end: int) -> int:
    """Whole seconds, at least one, until a try would count; all arguments in microseconds."""
    return max(1, -((end - free_at - step) // 1_000_000))


class SqlLimits:
    """`ports.Limits`. Keys are kept as blind indexes only: they hold addresses."""

    def __init__(self, driver: Driver, ring: KeyRing) -> None:
        self._driver = driver
        self._ring = ring

    async def hit(self, key: str, *, limit: int, window: int, now: datetime) -> int:
        at, whole = micros(now), window * 1_000_000
        step = whole // limit
        params: dict[str, Any] = {
            "p_id": self._ring.blind("limit", key),
            "p_free_at": at + step,
            "p_now": at,
            "p_step": step,
            "p_end": at + whole,
        }
        if await self._driver.write(_HIT, params, lasting=False):
            return 0
        rows = await self._driver.read(_FREE_AT, params)
        return seconds_to_wait(rows[0][0], step, at + whole) if rows else 1


_PURGES: Final = (
    purge_statement(transactions, transactions.c.expires_at <= NOW),
    purge_statement(sessions, sessions.c.live_until <= NOW),
    purge_statement(replay_marks, replay_marks.c.expires_at <= NOW),
    purge_statement(limits, limits.c.free_at <= NOW),
)


class SqlBrowserMemory:
    """`ports.BrowserMemory`, in the durable store's database."""

    def __init__(self, driver: Driver, ring: KeyRing, clock: Clock) -> None:
        self._driver = driver
        self.transactions = SqlTransactions(driver)
        self.sessions = SqlSessions(driver, ring, clock)
        self.replay = SqlReplay(driver, ring, clock)
        self.limits = SqlLimits(driver, ring)

    async def purge(self, now: datetime, limit: int = 500) -> int:
        gone = 0
        for statement in _PURGES:
            params = {"p_now": micros(now), "p_limit": limit}
            gone += len(await self._driver.write(statement, params, lasting=False))
        return gone

    async def ping(self) -> None:
        await self._driver.read(PING, {})

    async def close(self) -> None:
        """The driver is the durable store's to close."""
