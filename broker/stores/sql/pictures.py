"""Pictures of people in SQL, sealed. They lie apart from the accounts, which are read with every sign-in."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from broker.domain.picture import Picture
from broker.domain.values import AccountId
from broker.stores.sql.accounts import standing_account
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, define, parameter
from broker.stores.sql.tables import accounts, pictures
from broker.stores.vault import KeyRing

_LOAD: Final = define(
    select(pictures.c.id, pictures.c.sealed).where(pictures.c.account == parameter(pictures.c.account))
)
_put = insert(pictures).inline()
_put = _put.from_select(
    list(pictures.c.keys()),
    standing_account().with_only_columns(*(parameter(column).label(f"v_{column.name}") for column in pictures.c)),
)
PUT: Final = define(
    _put.on_conflict_do_update(
        index_elements=["account"], set_={"id": _put.excluded.id, "sealed": _put.excluded.sealed}
    ).returning(pictures.c.account),
    reads=[accounts, pictures],
)
DROP: Final = define(delete(pictures).where(pictures.c.account == bindparam("p_account")))


def picture_params(account: AccountId, picture: Picture, ring: KeyRing) -> Params:
    """What its row holds."""
    return {
        "p_account": account,
        "p_id": picture.id,
        "p_sealed": ring.seal(picture.jpeg, _place(account, picture.id)),
    }


def _place(account: str, picture_id: str) -> str:
    return f"pictures/{account} {picture_id}/sealed"


class SqlPictures:
    """`ports.Pictures`."""

    def __init__(self, driver: Driver, ring: KeyRing) -> None:
        self._driver = driver
        self._ring = ring

    async def load(self, account: AccountId) -> Picture | None:
        rows = await self._driver.read(_LOAD, {"p_account": account})
        if not rows:
            return None
        picture_id, sealed = rows[0]
        return await self._ring.reading(
            lambda: Picture(id=picture_id, jpeg=self._ring.open(sealed, _place(account, picture_id)))
        )
