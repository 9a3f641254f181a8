"""Our signing keys in SQL, private halves sealed."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, update

from broker.domain.client import SigningAlgorithm
from broker.domain.ports import KeyUse, SigningKeyRecord
from broker.stores.records import micros, micros_or_none, moment, moment_or_none
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Row, Step, define, define_insert, parameter
from broker.stores.sql.tables import signing_keys
from broker.stores.vault import KeyRing

_ALL: Final = define(
    select(
        signing_keys.c.id,
        signing_keys.c.algorithm,
        signing_keys.c.sealed,
        signing_keys.c.created_at,
        signing_keys.c.signs_from,
        signing_keys.c.retires_at,
        signing_keys.c.purpose,
    ).order_by(signing_keys.c.created_at, signing_keys.c.id)
)
_ADD: Final = define_insert(signing_keys)
_THIS: Final = signing_keys.c.id == parameter(signing_keys.c.id)
_RETIRE: Final = define(update(signing_keys).where(_THIS).values(retires_at=parameter(signing_keys.c.retires_at)))
_REMOVE: Final = define(delete(signing_keys).where(_THIS))


class SqlSigningKeys:
    """`ports.SigningKeys`."""

    def __init__(self, driver: Driver, ring: KeyRing) -> None:
        self._driver = driver
        self._ring = ring

    async def all(self) -> tuple[SigningKeyRecord, ...]:
        """Oldest first."""
        rows = await self._driver.read(_ALL, {})
        return await self._ring.reading(lambda: tuple(self._opened(row) for row in rows))

    async def add(self, *records: SigningKeyRecord) -> None:
        await self._driver.commit([Step(_ADD, self._params(record)) for record in records])

    async def retire(self, kid: str, at: datetime) -> None:
        await self._driver.write(_RETIRE, {"p_id": kid, "p_retires_at": micros(at)})

    async def remove(self, kid: str) -> None:
        await self._driver.write(_REMOVE, {"p_id": kid})

    def _params(self, record: SigningKeyRecord) -> dict[str, object]:
        return {
            "p_id": record.kid,
            "p_algorithm": record.algorithm.value,
            "p_created_at": micros(record.created_at),
            "p_signs_from": micros(record.signs_from),
            "p_retires_at": micros_or_none(record.retires_at),
            "p_purpose": record.use.value,
            "p_sealed": self._ring.seal(record.private, f"signing_keys/{record.kid}/sealed"),
        }

    def _opened(self, row: Row) -> SigningKeyRecord:
        kid, algorithm, sealed, created_at, signs_from, retires_at, use = row
        return SigningKeyRecord(
            kid=kid,
            algorithm=SigningAlgorithm(algorithm),
            private=self._ring.open(sealed, f"signing_keys/{kid}/sealed"),
            created_at=moment(created_at),
            signs_from=moment(signs_from),
            retires_at=moment_or_none(retires_at),
            use=KeyUse(use),
        )
