"""Invitations, and the sites that put themselves in, in SQL. Nothing of it is about people; secrets are digests."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, bindparam, case, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from broker.domain.registration import Invitation, Registration
from broker.domain.values import ClientId, Scope
from broker.stores.records import micros, micros_or_none, moment, moment_or_none
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, define, define_insert, parameter
from broker.stores.sql.tables import invitations, registrations

_NOW: Final = bindparam("p_now", type_=BigInteger)
_OF_SITE: Final = registrations.c.client == parameter(registrations.c.client)
_LIMIT: Final = bindparam("p_limit", type_=Integer)
_LOAD: Final = define(select(*registrations.columns).where(_OF_SITE))
_AFTER: Final = define(
    select(*registrations.columns)
    .where(registrations.c.client > bindparam("p_after"))
    .order_by(registrations.c.client)
    .limit(_LIMIT)
)
_INVITED: Final = define(select(*invitations.columns).where(invitations.c.digest == parameter(invitations.c.digest)))
_INVITATIONS: Final = define(
    select(*invitations.columns).where(invitations.c.id > bindparam("p_after")).order_by(invitations.c.id).limit(_LIMIT)
)
INVITE: Final = define_insert(invitations)
DROP_INVITATION: Final = define(delete(invitations).where(invitations.c.id == parameter(invitations.c.id)))
# Counted down where it is checked: of two who come at once with the last use one gets it.
USE: Final = define(
    update(invitations)
    .where(
        invitations.c.id == parameter(invitations.c.id), invitations.c.uses_left > 0, invitations.c.expires_at > _NOW
    )
    .values(uses_left=invitations.c.uses_left - 1)
    .returning(invitations.c.id)
)
ADD: Final = define(
    insert(registrations)
    .inline()
    .values({column: parameter(column) for column in registrations.columns})
    .on_conflict_do_nothing(index_elements=["client"])
    .returning(registrations.c.client)
)
# Over the token that was shown: of two who change it at once with one token, one has an old one afterwards.
SAVE: Final = define(
    update(registrations)
    .where(_OF_SITE, registrations.c.token_digest == bindparam("p_shown"))
    .values({column: parameter(column) for column in registrations.columns if column is not registrations.c.client})
    .returning(registrations.c.client)
)
_put = insert(registrations).inline().values({column: parameter(column) for column in registrations.columns})
# A review is of what the document said then; the same words read anew are still looked at.
KEEP: Final = define(
    _put.on_conflict_do_update(
        index_elements=["client"],
        set_={
            "metadata": _put.excluded.metadata,
            "token_digest": _put.excluded.token_digest,
            "fresh_until": _put.excluded.fresh_until,
            "reviewed_at": case(
                (registrations.c.token_digest == _put.excluded.token_digest, registrations.c.reviewed_at), else_=None
            ),
        },
    )
)
BLOCK: Final = define(
    _put.on_conflict_do_update(index_elements=["client"], set_={"blocked_at": _put.excluded.blocked_at})
)
REMOVE: Final = define(delete(registrations).where(_OF_SITE).returning(registrations.c.client))


def invitation_params(invitation: Invitation) -> Params:
    """What its row holds."""
    return {
        "p_id": invitation.id,
        "p_digest": invitation.digest,
        "p_scopes": _scopes_text(invitation.scopes),
        "p_uses_left": invitation.uses_left,
        "p_created_at": micros(invitation.created_at),
        "p_expires_at": micros(invitation.expires_at),
        "p_note": invitation.note,
    }


def registration_params(registration: Registration) -> Params:
    """What its row holds."""
    return {
        "p_client": registration.client_id,
        "p_invitation": registration.invitation,
        "p_metadata": registration.metadata,
        "p_scopes": _scopes_text(registration.scopes),
        "p_secret_digest": registration.secret_digest,
        "p_token_digest": registration.token_digest,
        "p_registered_at": micros(registration.registered_at),
        "p_reviewed_at": micros_or_none(registration.reviewed_at),
        "p_fresh_until": micros_or_none(registration.fresh_until),
        "p_blocked_at": micros_or_none(registration.blocked_at),
    }


def _scopes_text(scopes: frozenset[Scope]) -> str:
    return " ".join(sorted(scopes))


def _scopes(text: str) -> frozenset[Scope]:
    return frozenset(map(Scope, text.split()))


def _read_invitation(row: Row) -> Invitation:
    id_, digest, scopes, uses_left, created_at, expires_at, note = row
    return Invitation(
        id=id_,
        digest=digest,
        scopes=_scopes(scopes),
        uses_left=uses_left,
        created_at=moment(created_at),
        expires_at=moment(expires_at),
        note=note,
    )


def _read(row: Row) -> Registration:
    client, invitation, metadata, scopes, secret_digest, token_digest, *moments = row
    registered_at, reviewed_at, fresh_until, blocked_at = moments
    return Registration(
        client_id=ClientId(client),
        invitation=invitation,
        metadata=metadata,
        scopes=_scopes(scopes),
        secret_digest=secret_digest,
        token_digest=token_digest,
        registered_at=moment(registered_at),
        reviewed_at=moment_or_none(reviewed_at),
        fresh_until=moment_or_none(fresh_until),
        blocked_at=moment_or_none(blocked_at),
    )


class SqlRegistrations:
    """`ports.Registrations`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def invitation(self, digest: bytes) -> Invitation | None:
        rows = await self._driver.read(_INVITED, {"p_digest": digest})
        return _read_invitation(rows[0]) if rows else None

    async def invitations(self, after: str, limit: int = 200) -> tuple[Invitation, ...]:
        return tuple(map(_read_invitation, await self._driver.read(_INVITATIONS, {"p_after": after, "p_limit": limit})))

    async def load(self, client: ClientId) -> Registration | None:
        rows = await self._driver.read(_LOAD, {"p_client": client})
        return _read(rows[0]) if rows else None

    async def after(self, client: ClientId, limit: int = 200) -> tuple[Registration, ...]:
        return tuple(map(_read, await self._driver.read(_AFTER, {"p_after": client, "p_limit": limit})))
