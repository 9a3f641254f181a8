"""Bringing a database to the newest schema, by one process while others wait.

Alembic does the work but is imported only when there is any: importing it takes longer than opening the store.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any, Final

from broker.errors import StoreUnavailable
from broker.stores import NewerSchema
from broker.stores.sql.drivers.sqlite import connect, translated

HEAD: Final = "0024"
"""The newest revision in `migrations/versions`; a test compares them. Revisions are numbered in order."""
_LOCK: Final = 4_716_238_905
"""The advisory lock of a migration: any number, as long as it is always the same."""
_WAIT: Final = 60.0
"""Seconds to wait for another process that is migrating."""


async def schema_is_current(url: str) -> bool:
    """Whether the database is at the newest revision. Raises `StoreUnavailable`."""
    return await revision(url) == HEAD


async def revision(url: str) -> str | None:
    """The database's revision, `None` if it is empty."""
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(_sqlite_revision, sqlite_path(url))
    return await _postgres_revision(url)


async def migrate(url: str, target: str = "head") -> None:
    """Brings the database to `target` (`head`, `base` or a revision), all in one transaction.

    Of several processes one migrates, and the others find it done. Raises `StoreUnavailable`, or `NewerSchema`.
    """
    found = await revision(url)
    if found is not None and found > HEAD:
        raise NewerSchema(found, HEAD)
    if target == "head" and found == HEAD:
        return
    if url.startswith("sqlite:"):
        await asyncio.to_thread(_migrate_sqlite, sqlite_path(url), target)
    else:
        await _migrate_postgres(url, target)


def sqlite_path(url: str) -> str:
    """The file of `sqlite:///path/to/file` or `sqlite:////path/to/file`: always absolute, however many slashes."""
    return "/" + url.removeprefix("sqlite:").lstrip("/")


def _sqlite_revision(path: str) -> str | None:
    with translated():
        connection = connect(path)
        try:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if found else None
            return None if row is None else str(row[0])
        finally:
            connection.close()


async def _postgres_revision(url: str) -> str | None:
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
                return None
            version = await connection.fetchval("SELECT version_num FROM alembic_version")
            return None if version is None else str(version)
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"postgresql {type(error).__name__}") from None


def _migrate_sqlite(path: str, target: str) -> None:
    from sqlalchemy import create_engine, event, pool
    from sqlalchemy.exc import DBAPIError

    def open_file() -> sqlite3.Connection:
        return connect(path, busy_timeout=_WAIT)

    engine = create_engine("sqlite://", creator=open_file, poolclass=pool.NullPool)
    # sqlite3 would begin late and leave DDL outside; we take the write lock first, so that others wait here.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN EXCLUSIVE"))
    try:
        with translated(), engine.begin() as connection:
            _run_alembic(connection, target)
    except DBAPIError as error:
        raise StoreUnavailable(f"sqlite {type(error.orig).__name__}") from None
    finally:
        engine.dispose()


async def _migrate_postgres(url: str, target: str) -> None:
    import asyncpg
    from sqlalchemy import pool, text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine

    async def open_connection() -> Any:
        return await asyncpg.connect(url, timeout=_WAIT)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=open_connection, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK})
            await connection.run_sync(_run_alembic, target)
    except (DBAPIError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"postgresql {type(error).__name__}") from None
    finally:
        await engine.dispose()


def _run_alembic(connection: Any, target: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext

    config = Config()
    config.set_main_option("script_location", "broker.stores.sql:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    here = MigrationContext.configure(connection).get_current_revision()
    back = target == "base" or (here is not None and target < here)  # `head` comes after every number
    (command.downgrade if back else command.upgrade)(config, target)
