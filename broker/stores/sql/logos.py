"""Logos of sites and providers in SQL. Nothing of them is about people, and whoever sees a page sees them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Integer, bindparam, delete, select, true, update
from sqlalchemy.dialects.postgresql import insert

from broker.domain.logo import DrawnLogo, Logo
from broker.stores.sql.drivers import Driver
from broker.stores.sql.statements import Params, Row, define, parameter
from broker.stores.sql.tables import logos

_FACTS: Final = (logos.c.owner, logos.c.source, logos.c.digest, logos.c.size, logos.c.shown)
_OF_OWNER: Final = logos.c.owner == parameter(logos.c.owner)
_OF_DIGEST: Final = logos.c.digest == parameter(logos.c.digest)
_LOAD: Final = define(select(*_FACTS, logos.c.png).where(_OF_OWNER))
_AFTER: Final = define(
    select(*_FACTS)
    .where(logos.c.owner > bindparam("p_after"))
    .order_by(logos.c.owner)
    .limit(bindparam("p_limit", type_=Integer))
)
_SHOWN: Final = define(select(logos.c.png).where(_OF_DIGEST, logos.c.shown.is_(true())).limit(1))
_put = insert(logos).inline().values({column: parameter(column) for column in logos.columns})
PUT: Final = define(
    _put.on_conflict_do_update(
        index_elements=["owner"],
        set_={column.name: _put.excluded[column.name] for column in logos.columns if column is not logos.c.owner},
    )
)
SHOW: Final = define(update(logos).where(_OF_OWNER, _OF_DIGEST).values(shown=true()).returning(logos.c.owner))
DROP: Final = define(delete(logos).where(_OF_OWNER))


def logo_params(drawn: DrawnLogo) -> Params:
    """What its row holds."""
    logo = drawn.logo
    return {
        "p_owner": logo.owner,
        "p_source": logo.source,
        "p_digest": logo.digest,
        "p_size": logo.size,
        "p_shown": logo.is_shown,
        "p_png": drawn.png,
    }


def _read(row: Row) -> Logo:
    owner, source, digest, size, shown = row
    return Logo(owner=owner, source=source, digest=digest, size=size, is_shown=bool(shown))


class SqlLogos:
    """`ports.Logos`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def load(self, owner: str) -> DrawnLogo | None:
        rows = await self._driver.read(_LOAD, {"p_owner": owner})
        return DrawnLogo(logo=_read(rows[0][:-1]), png=bytes(rows[0][-1])) if rows else None

    async def after(self, owner: str, limit: int = 200) -> tuple[Logo, ...]:
        return tuple(map(_read, await self._driver.read(_AFTER, {"p_after": owner, "p_limit": limit})))

    async def shown(self, digest: str) -> bytes | None:
        rows = await self._driver.read(_SHOWN, {"p_digest": digest})
        return bytes(rows[0][0]) if rows else None
