"""What sites have set at their streams of security events, in SQL. Who was taken out of one is found by a mark alone."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Integer, bindparam, delete, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert

from broker.domain.stream import Stream, StreamStatus
from broker.domain.values import ClientId, Secret
from broker.errors import Conflict
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, define, parameter
from broker.stores.sql.tables import removed_subjects, streams
from broker.stores.vault import KeyRing

_LOAD: Final = define(select(*streams.columns).where(streams.c.client == parameter(streams.c.client)))
_put = insert(streams).values({column: parameter(column) for column in streams.columns})
_PUT: Final = define(
    _put.inline()
    .on_conflict_do_update(
        index_elements=["client"],
        set_={column.name: _put.excluded[column.name] for column in streams.columns if not column.primary_key},
        where=streams.c.version == _put.excluded.version - 1,
    )
    .returning(streams.c.client)
)

_of_site = removed_subjects.c.client == parameter(removed_subjects.c.client)
_this = removed_subjects.c.mark == parameter(removed_subjects.c.mark)
_held = select(func.count()).select_from(removed_subjects).where(_of_site).scalar_subquery()
_room = or_(_held < bindparam("p_most", type_=Integer), exists(select(removed_subjects.c.mark).where(_this)))
_remove = insert(removed_subjects).inline()
_remove = _remove.from_select(
    ["mark", "client"],
    select(*(parameter(column).label(f"v_{column.name}") for column in removed_subjects.c)).where(_room),
)
_REMOVE: Final = define(
    _remove.on_conflict_do_update(index_elements=["mark"], set_={"client": _remove.excluded.client}).returning(
        removed_subjects.c.mark
    ),
    reads=[removed_subjects],
)
ADD: Final = define(delete(removed_subjects).where(_this))
_ADD_EVERYBODY: Final = define(delete(removed_subjects).where(_of_site))
_IS_REMOVED: Final = define(select(literal(1)).select_from(removed_subjects).where(_this))


def subject_params(client: ClientId, subject: str, ring: KeyRing) -> Params:
    """How a person's number at a site is found again, and nothing more."""
    return {"p_mark": ring.blind("removed_subject", f"{client}\x00{subject}"), "p_client": client}


def _place(client: str) -> str:
    return f"streams/{client}/proof"


class SqlStreams:
    """`ports.Streams`."""

    def __init__(self, driver: Driver, ring: KeyRing) -> None:
        self._driver = driver
        self._ring = ring

    async def load(self, client: ClientId) -> Stream:
        rows = await self._driver.read(_LOAD, {"p_client": client})
        if not rows:
            return Stream(client=client)
        _, status, reason, requested, description, deleted, proof, version = rows[0]

        def read() -> Secret | None:
            return None if proof is None else Secret(self._ring.open(proof, _place(client)).decode())

        return Stream(
            client=client,
            status=StreamStatus(status),
            reason=reason,
            requested=None if requested is None else tuple(requested.split()),
            description=description,
            deleted=bool(deleted),
            proof=await self._ring.reading(read),
            version=version,
        )

    async def put(self, stream: Stream) -> None:
        proof = stream.proof
        is_set = await self._driver.write(
            _PUT,
            {
                "p_client": stream.client,
                "p_status": stream.status.value,
                "p_reason": stream.reason,
                "p_requested": None if stream.requested is None else " ".join(stream.requested),
                "p_description": stream.description,
                "p_deleted": stream.deleted,
                "p_proof": None if proof is None else self._ring.seal(proof.reveal().encode(), _place(stream.client)),
                "p_version": stream.version + 1,
            },
        )
        if not is_set:
            raise Conflict("stale")

    async def remove_subject(self, client: ClientId, subject: str, most: int) -> bool:
        params = {**subject_params(client, subject, self._ring), "p_most": most}
        return bool(await self._driver.write(_REMOVE, params))

    async def add_subject(self, client: ClientId, subject: str) -> None:
        await self._driver.write(ADD, subject_params(client, subject, self._ring))

    async def add_everybody(self, client: ClientId) -> None:
        await self._driver.write(_ADD_EVERYBODY, {"p_client": client})

    async def is_removed(self, client: ClientId, subject: str) -> bool:
        return bool(await self._driver.read(_IS_REMOVED, subject_params(client, subject, self._ring)))
