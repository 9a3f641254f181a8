"""Grants, codes and refresh families in SQL: the hottest tables, so each operation is one statement where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, bindparam, delete, false, select, text, true, update
from sqlalchemy.dialects.postgresql import insert

from broker.domain.account import Account
from broker.domain.grant import (
    REFRESH_IDLE_LIFETIME,
    AlreadyRedeemed,
    AuthorizationCode,
    Grant,
    Redeemed,
    RefreshFamily,
    Reused,
    Rotated,
    StatusPlace,
    is_usable,
    may_retry,
)
from broker.domain.ports import Clock
from broker.domain.values import AccountId, ClientId, GrantId
from broker.stores.records import decode_grant, encode, micros, micros_or_none, moment, moment_or_none
from broker.stores.sql.accounts import open_account, standing_account
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import (
    Params,
    Row,
    Script,
    Statement,
    Step,
    define,
    define_insert,
    insert_if,
    parameter,
)
from broker.stores.sql.tables import REGISTERED, accounts, codes, ended_statuses, families, grants, revoked_tokens
from broker.stores.vault import KeyRing

_NOW: Final = bindparam("p_now", type_=BigInteger)

_LOAD: Final = define(
    select(grants.c.body, grants.c.revoked_at).where(grants.c.id == parameter(grants.c.id)), together=True
)
_WITH_ACCOUNT: Final = define(
    select(grants.c.body, grants.c.revoked_at, accounts.c.id, accounts.c.sealed, accounts.c.version)
    .join_from(grants, accounts, accounts.c.id == grants.c.account)
    .where(
        grants.c.id == parameter(grants.c.id),
        accounts.c.sealed.is_not(None),
        ~select(revoked_tokens.c.id).where(revoked_tokens.c.id == bindparam("p_token")).exists(),
    ),
    together=True,
)
_IS_REVOKED: Final = define(
    select(revoked_tokens.c.id).where(revoked_tokens.c.id == bindparam("p_token")), together=True
)
_OF_ACCOUNT = (
    select(grants.c.body, grants.c.revoked_at)
    .where(grants.c.account == bindparam("p_account"), grants.c.revoked_at.is_(None), grants.c.expires_at > _NOW)
    .order_by(grants.c.created_at.desc(), grants.c.id.desc())
)
_STANDING: Final = define(_OF_ACCOUNT)
_STANDING_FOR: Final = define(_OF_ACCOUNT.where(grants.c.client == parameter(grants.c.client)), together=True)

ADD_GRANT: Final = define(insert_if(grants, standing_account()).returning(grants.c.id), reads=[accounts])
ADD_CODE: Final = define_insert(codes)
# Marks the code and brings the grant in one statement: of any number of takers one finds `used_at` empty.
_CONSUME: Final = define(
    update(codes)
    .where(codes.c.digest == parameter(codes.c.digest), codes.c.used_at.is_(None))
    .values(used_at=_NOW)
    .returning(
        codes.c.client,
        codes.c.redirect_uri,
        codes.c.nonce,
        codes.c.code_challenge,
        codes.c.expires_at,
        codes.c.grant_id,
        select(grants.c.body).where(grants.c.id == codes.c.grant_id).scalar_subquery(),
        select(grants.c.revoked_at).where(grants.c.id == codes.c.grant_id).scalar_subquery(),
    ),
    together=True,
)
_CODE_OF: Final = define(select(codes.c.grant_id).where(codes.c.digest == parameter(codes.c.digest)))

_standing_grant: Final = (
    select(grants.c.id)
    .where(grants.c.id == bindparam("p_grant_id"), grants.c.revoked_at.is_(None))
    .with_for_update(read=True)  # a revocation waits for us, or we for it: never a live family under a dead grant
)
ADD_FAMILY: Final = define(insert_if(families, _standing_grant).returning(families.c.id), reads=[grants])
_FAMILY: Final = tuple(families.columns)
_LOAD_FAMILY: Final = define(select(*_FAMILY).where(families.c.id == parameter(families.c.id)), together=True)
_LOCK_GRANT: Final = define(
    select(grants.c.id).where(grants.c.id == bindparam("p_grant_id")).with_for_update(), barrier=True
)
_LOCK_FAMILY: Final = define(
    select(*_FAMILY).where(families.c.id == parameter(families.c.id)).with_for_update(), barrier=True
)
_usable = update(families).where(
    families.c.id == parameter(families.c.id),
    families.c.client == parameter(families.c.client),
    families.c.generation == bindparam("p_presented", type_=Integer),
    families.c.revoked_at.is_(None),
    families.c.expires_at > _NOW,
    families.c.idle_expires_at > _NOW,
)
_IDLE: Final = bindparam("p_idle", type_=BigInteger)
# The good case of a refresh, as one statement: compare the generation and step, or touch nothing.
_STEP: Final = define(
    _usable.values(
        generation=families.c.generation + 1, rotated_at=_NOW, retried=false(), idle_expires_at=_IDLE
    ).returning(*_FAMILY),
    together=True,
)
_RENEW: Final = define(_usable.values(idle_expires_at=_IDLE).returning(*_FAMILY))
_MARK_RETRIED: Final = define(update(families).where(families.c.id == parameter(families.c.id)).values(retried=true()))

_revoke = update(grants).where(grants.c.revoked_at.is_(None)).values(revoked_at=_NOW)
REVOKE_GRANT: Final = define(_revoke.where(grants.c.id == bindparam("p_grant_id")), barrier=True)
REVOKE_FAMILIES_OF: Final = define(
    update(families)
    .where(families.c.grant_id == bindparam("p_grant_id"), families.c.revoked_at.is_(None))
    .values(revoked_at=_NOW)
)
USE_UP_CODES_OF: Final = define(
    update(codes).where(codes.c.grant_id == bindparam("p_grant_id"), codes.c.used_at.is_(None)).values(used_at=_NOW)
)


def _matching(by_client: bool, by_sid: bool, keep_offline: bool) -> tuple[Any, ...]:
    conditions: list[Any] = [grants.c.account == bindparam("p_account")]
    if by_client:
        conditions.append(grants.c.client == parameter(grants.c.client))
    if by_sid:
        conditions.append(grants.c.sid == parameter(grants.c.sid))
    if keep_offline:
        conditions.append(grants.c.offline.is_(False))
    return tuple(conditions)


_WAYS: Final = [(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)]
REVOKE_GRANTS: Final = {way: define(_revoke.where(*_matching(*way)), barrier=True) for way in _WAYS}
# Of a site that registered by itself and goes: only such sites are in the index.
_OF_REGISTERED: Final = (grants.c.client == parameter(grants.c.client), text(REGISTERED))
REVOKE_GRANTS_OF_SITE: Final = define(_revoke.where(*_OF_REGISTERED), barrier=True)
_dead_of_site: Final = select(grants.c.id).where(*_OF_REGISTERED)
REVOKE_FAMILIES_OF_SITE: Final = define(
    update(families)
    .where(families.c.grant_id.in_(_dead_of_site), families.c.revoked_at.is_(None))
    .values(revoked_at=_NOW),
    reads=[grants],
)
USE_UP_CODES_OF_SITE: Final = define(
    update(codes).where(codes.c.grant_id.in_(_dead_of_site), codes.c.used_at.is_(None)).values(used_at=_NOW),
    reads=[grants],
)
# Whatever hangs on a revoked grant of the account, rather than on the grants just matched: the same, and simpler.
_dead: Final = select(grants.c.id).where(grants.c.account == bindparam("p_account"), grants.c.revoked_at.is_not(None))
REVOKE_DEAD_FAMILIES: Final = define(
    update(families).where(families.c.grant_id.in_(_dead), families.c.revoked_at.is_(None)).values(revoked_at=_NOW),
    reads=[grants],
)
USE_UP_DEAD_CODES: Final = define(
    update(codes).where(codes.c.grant_id.in_(_dead), codes.c.used_at.is_(None)).values(used_at=_NOW), reads=[grants]
)
_of_account: Final = select(grants.c.id).where(grants.c.account == bindparam("p_account"))
ERASE_FAMILIES: Final = define(delete(families).where(families.c.grant_id.in_(_of_account)), reads=[grants])
ERASE_CODES: Final = define(delete(codes).where(codes.c.grant_id.in_(_of_account)), reads=[grants])
ERASE_GRANTS: Final = define(delete(grants).where(grants.c.account == bindparam("p_account")))


def _end_statuses(*which: Any) -> Statement:
    found = select(grants.c.status, _NOW.label("ended_at")).where(*which, grants.c.status.is_not(None))
    into = insert(ended_statuses).from_select(["place", "ended_at"], found)
    later = into.on_conflict_do_update(index_elements=["place"], set_={"ended_at": into.excluded.ended_at})
    return define(later.inline(), reads=[grants])


# What was ended just now, by that very moment: after the grants, so that none that was added meanwhile is missed.
END_STATUS: Final = _end_statuses(grants.c.id == bindparam("p_grant_id"), grants.c.revoked_at == _NOW)
END_STATUSES: Final = _end_statuses(grants.c.account == bindparam("p_account"), grants.c.revoked_at == _NOW)
END_STATUSES_OF_SITE: Final = _end_statuses(*_OF_REGISTERED, grants.c.revoked_at == _NOW)
# Of an account that is held, its grants stand, and nothing of them may be used.
HOLD_STATUSES: Final = _end_statuses(grants.c.account == bindparam("p_account"), grants.c.revoked_at.is_(None))


def grant_params(grant: Grant) -> Params:
    return {
        "p_id": grant.id,
        "p_account": grant.account,
        "p_client": grant.client,
        "p_sid": grant.sid,
        "p_offline": grant.outlives_session,
        "p_created_at": micros(grant.created_at),
        "p_expires_at": micros(grant.expires_at),
        "p_revoked_at": micros_or_none(grant.revoked_at),
        "p_body": encode(grant),
        "p_status": None if grant.status is None else place_text(grant.status),
    }


def place_text(place: StatusPlace) -> str:
    """A place as one key: list and index."""
    return f"{place.list}.{place.index}"


def read_place(text: str) -> StatusPlace:
    """The place that `place_text` wrote."""
    name, _, index = text.partition(".")
    return StatusPlace(list=name, index=int(index))


def code_params(code: AuthorizationCode) -> Params:
    return {
        "p_digest": code.digest,
        "p_grant_id": code.grant,
        "p_client": code.client,
        "p_redirect_uri": code.redirect_uri,
        "p_nonce": code.nonce,
        "p_code_challenge": code.code_challenge,
        "p_expires_at": micros(code.expires_at),
        "p_used_at": micros_or_none(code.used_at),
    }


def family_params(family: RefreshFamily) -> Params:
    return {
        "p_id": family.id,
        "p_grant_id": family.grant,
        "p_client": family.client,
        "p_generation": family.generation,
        "p_created_at": micros(family.created_at),
        "p_rotated_at": micros(family.rotated_at),
        "p_retried": family.retried,
        "p_expires_at": micros(family.expires_at),
        "p_idle_expires_at": micros(family.idle_expires_at),
        "p_revoked_at": micros_or_none(family.revoked_at),
    }


def revoke_grant_steps(grant: GrantId, now: int) -> tuple[Step, ...]:
    """The grant first: what is added to it meanwhile has waited for this, or is seen by what follows."""
    params = {"p_grant_id": grant, "p_now": now}
    steps = (REVOKE_GRANT, END_STATUS, REVOKE_FAMILIES_OF, USE_UP_CODES_OF)
    return tuple(Step(statement, params) for statement in steps)


def _grant(body: bytes, revoked_at: int | None) -> Grant:
    grant = decode_grant(bytes(body))
    return grant if revoked_at is None else replace(grant, revoked_at=moment(revoked_at))


def _family(row: Row) -> RefreshFamily:
    return RefreshFamily(
        id=row[0],
        grant=GrantId(row[1]),
        client=ClientId(row[2]),
        generation=row[3],
        created_at=moment(row[4]),
        rotated_at=moment(row[5]),
        retried=bool(row[6]),
        expires_at=moment(row[7]),
        idle_expires_at=moment(row[8]),
        revoked_at=moment_or_none(row[9]),
    )


class SqlGrants:
    """`ports.Grants`."""

    def __init__(self, driver: Driver, ring: KeyRing, clock: Clock) -> None:
        self._driver = driver
        self._ring = ring
        self._clock = clock

    async def load(self, grant: GrantId) -> Grant | None:
        rows = await self._driver.read(_LOAD, {"p_id": grant})
        return _grant(*rows[0]) if rows else None

    async def with_account(self, grant: GrantId, token_id: str) -> tuple[Grant, Account] | None:
        rows = await self._driver.read(_WITH_ACCOUNT, {"p_id": grant, "p_token": token_id})
        if not rows:
            return None
        body, revoked_at, account, sealed, version = rows[0]
        return await self._ring.reading(
            lambda: (_grant(body, revoked_at), open_account(sealed, version, account, self._ring))
        )

    async def is_revoked(self, token_id: str) -> bool:
        return bool(await self._driver.read(_IS_REVOKED, {"p_token": token_id}))

    async def of_account(self, account: AccountId, *, client: ClientId | None = None) -> tuple[Grant, ...]:
        params = {"p_account": account, "p_client": client, "p_now": micros(self._clock.now())}
        rows = await self._driver.read(_STANDING if client is None else _STANDING_FOR, params)
        return tuple(_grant(*row) for row in rows)

    async def consume_code(self, digest: bytes, now: datetime) -> Redeemed | AlreadyRedeemed | None:
        rows = await self._driver.write(_CONSUME, {"p_digest": digest, "p_now": micros(now)})
        if rows:
            client, redirect_uri, nonce, challenge, expires_at, grant_id, body, revoked_at = rows[0]
            if body is None:
                return None
            code = AuthorizationCode(
                digest=digest,
                grant=GrantId(grant_id),
                client=ClientId(client),
                redirect_uri=redirect_uri,
                nonce=nonce,
                code_challenge=challenge,
                expires_at=moment(expires_at),
                used_at=now,
            )
            return Redeemed(code=code, grant=_grant(body, revoked_at))
        # A second look, and not part of the statement above: there a loser would not see that somebody else won.
        known = await self._driver.read(_CODE_OF, {"p_digest": digest})
        return AlreadyRedeemed(grant=GrantId(known[0][0])) if known else None

    async def load_family(self, family_id: str) -> RefreshFamily | None:
        rows = await self._driver.read(_LOAD_FAMILY, {"p_id": family_id})
        return _family(rows[0]) if rows else None

    async def renew(self, family_id: str, presented: int, client: ClientId, now: datetime) -> RefreshFamily | None:
        rows = await self._driver.write(_RENEW, _presented(family_id, presented, client, now))
        return _family(rows[0]) if rows else None

    async def rotate(self, family_id: str, presented: int, client: ClientId, now: datetime) -> Rotated | Reused | None:
        rows = await self._driver.write(_STEP, _presented(family_id, presented, client, now))
        if rows:
            return Rotated(family=_family(rows[0]))
        return await self._driver.run(lambda: _rotate_slowly(family_id, presented, client, now))


def _presented(family_id: str, presented: int, client: ClientId, now: datetime) -> dict[str, Any]:
    """A refresh token as the statements name it."""
    return {
        "p_id": family_id,
        "p_client": client,
        "p_presented": presented,
        "p_now": micros(now),
        "p_idle": micros(now + REFRESH_IDLE_LIFETIME),
    }


def _rotate_slowly(family_id: str, presented: int, client: ClientId, now: datetime) -> Script[Rotated | Reused | None]:
    """What a refresh token that is not the current one means: a retry, a reuse, or nothing at all."""
    rows: Sequence[Row] = yield Step(_LOAD_FAMILY, {"p_id": family_id})
    if not rows:
        return None
    # The grant is locked before the family, as a revocation does it: the other way round both would wait for ever.
    yield Step(_LOCK_GRANT, {"p_grant_id": rows[0][1]})
    rows = yield Step(_LOCK_FAMILY, {"p_id": family_id})
    if not rows:
        return None
    family = _family(rows[0])
    if family.client != client or not is_usable(family, now) or presented > family.generation:
        return None
    if may_retry(family, presented, now):
        yield Step(_MARK_RETRIED, {"p_id": family_id})
        return Rotated(family=replace(family, retried=True))
    if presented == family.generation:  # stepped on since the first look, by a clock that stands behind ours
        return None
    for step in revoke_grant_steps(family.grant, micros(now)):  # noqa: UP028 - a tuple cannot be sent the rows
        yield step
    return Reused(family=replace(family, revoked_at=now))
