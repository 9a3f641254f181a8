"""Where things are kept: every port of `broker.domain.ports`, on memory, SQL and Redis.

`open_stores` chooses by address: `memory://` for tests, `sqlite:///path/file.db` for one machine, `postgresql://…` for
several; browser memory goes to Redis as soon as there is an address for it, and lies beside the durable store until then.
Owns no rule about people or sites; must not know flows, web or providers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.domain.ports import BrowserMemory, Clock, Durable
from broker.stores.memory import MemoryBrowser, MemoryDurable
from broker.stores.vault import KeyRing, UnknownKey, WrongMasterKey, ring_of_master

if TYPE_CHECKING:
    from broker.stores.sql.drivers import Driver

__all__ = ["NewerSchema", "Stores", "UnknownKey", "WrongMasterKey", "open_stores", "rotate_data_keys"]


class NewerSchema(Exception):
    """A newer version of this program has been at work on this database. Nothing was changed."""

    def __init__(self, found: str, newest: str) -> None:
        super().__init__(
            f"The database was changed by a newer version of Doorward: its schema is {found}, and this version knows none "
            f"after {newest}. Start the newer version again, or restore a backup from before it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Both kinds of stores, open."""

    durable: Durable
    memory: BrowserMemory
    ring: KeyRing = field(repr=False)

    def derive(self, purpose: str) -> bytes:
        """32 bytes of key for one purpose of the program: the same for every process of this database, for good."""
        return self.ring.blind("derive", purpose)

    async def close(self) -> None:
        await self.memory.close()
        await self.durable.close()


async def open_stores(
    *, database_url: str, redis_url: str | None, master_key: bytes, clock: Clock, migrate: bool = True
) -> Stores:
    """The stores at these addresses; with `migrate`, brought to the newest schema first.

    Raises `StoreUnavailable` if the database does not answer, `WrongMasterKey` if it was set up with another master key,
    `NewerSchema` if a newer version of this program has been at work on it, `ValueError` for an address of no known kind
    or a master key shorter than 32 bytes.
    """
    durable: Durable
    memory: BrowserMemory
    if database_url.startswith("memory:"):
        durable, memory, ring = MemoryDurable(clock), MemoryBrowser(clock), ring_of_master(master_key)
    else:
        durable, memory, ring = await _open_sql(database_url, master_key, clock, migrate=migrate)
    if redis_url:
        from broker.stores.redis import RedisMemory

        memory = RedisMemory(redis_url, ring, clock)
    return Stores(durable=durable, memory=memory, ring=ring)


async def _open_sql(
    url: str, master_key: bytes, clock: Clock, *, migrate: bool
) -> tuple[Durable, BrowserMemory, KeyRing]:
    from broker.stores.sql import schema
    from broker.stores.sql.browser import SqlBrowserMemory
    from broker.stores.sql.durable import SqlDurable
    from broker.stores.sql.keyring import load_or_make_keyring

    driver = _driver(url)
    try:
        if migrate:
            await schema.migrate(url)
        ring = await load_or_make_keyring(driver, master_key, clock.now())
    except BaseException:
        await driver.close()
        raise
    return SqlDurable(driver, ring, clock), SqlBrowserMemory(driver, ring, clock), ring


def _driver(url: str) -> Driver:
    if url.startswith("sqlite:///"):
        from broker.stores.sql.drivers.sqlite import SqliteDriver
        from broker.stores.sql.schema import sqlite_path

        return SqliteDriver(sqlite_path(url))
    if url.startswith(("postgresql://", "postgres://")):
        from broker.stores.sql.drivers.postgresql import PostgresDriver

        return PostgresDriver(url)
    msg = "a database address starts with sqlite:///, postgresql:// or memory://"
    raise ValueError(msg)


async def rotate_data_keys(*, database_url: str, master_key: bytes, clock: Clock, new: bool = True) -> int:
    """Makes a new data key and seals every personal value again under it; how many values were (`keys rotate --data`).

    `new=False` goes on with one that was interrupted. Servers may be running meanwhile.
    """
    from broker.stores.sql.keyring import load_or_make_keyring, rotate_data_key

    driver = _driver(database_url)
    try:
        ring = await load_or_make_keyring(driver, master_key, clock.now())
        return await rotate_data_key(driver, ring, master_key, clock.now(), new=new)
    finally:
        await driver.close()
