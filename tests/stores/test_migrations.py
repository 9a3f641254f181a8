"""Schemas: up and down on both databases, with what is in them, by one process while others wait."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from tests.contracts.stores import kept_account, kept_family, kept_grant
from tests.stores.processes import said, start
from tests.stores.worker import MASTER_KEY
from tests.support import builders as make
from tests.support.builders import FACEBOOK, NOW, FixedClock
from tests.support.servers import NewDatabase

from broker.domain.grant import Redeemed
from broker.domain.ports import KeyUse
from broker.errors import StoreUnavailable
from broker.stores import NewerSchema, open_stores
from broker.stores.sql.schema import HEAD, migrate, revision, schema_is_current, sqlite_path
from broker.stores.sql.tables import metadata

NewUrl = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Addresses of fresh, empty databases."""
    if request.param == "sqlite":
        numbers = iter(range(100))
        return lambda: f"sqlite:///{tmp_path / f'{next(numbers)}.db'}"
    new_database: NewDatabase = request.getfixturevalue("new_database")
    return new_database


async def ask(url: str, sql: str) -> Sequence[Sequence[Any]]:
    """Rows of one statement, past all our own code."""
    if url.startswith("sqlite:"):
        with sqlite3.connect(sqlite_path(url)) as connection:
            rows = connection.execute(sql).fetchall()
        connection.close()
        return rows
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def shape(url: str) -> object:
    """Every table, column, index and trigger of a database."""
    if url.startswith("sqlite:"):
        return sorted(
            await ask(url, "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name <> 'alembic_version'"),
            key=str,
        )
    columns = "SELECT table_name, column_name, data_type, is_nullable, ordinal_position FROM information_schema.columns WHERE table_schema = 'public'"
    indexes = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    triggers = (
        "SELECT event_object_table, trigger_name, event_manipulation, action_statement FROM information_schema.triggers"
    )
    functions = "SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'public'"
    return [sorted(await ask(url, sql), key=str) for sql in (columns, indexes, triggers, functions)]


def revisions() -> list[str]:
    """Every revision, oldest first."""
    folder = Path(__file__).resolve().parents[2] / "broker/stores/sql/migrations"
    script = ScriptDirectory(str(folder))
    return [one.revision for one in reversed(list(script.walk_revisions()))]


def test_the_newest_revision_is_the_one_the_program_knows() -> None:
    assert revisions()[-1] == HEAD
    assert revisions() == sorted(revisions())


async def test_migrating_up_and_down_and_up_gives_the_same_shape_at_every_step(new_url: NewUrl) -> None:
    url = new_url()
    empty = await shape(url)
    shapes = []
    for step in revisions():
        await migrate(url, step)
        assert await revision(url) == step
        shapes.append(await shape(url))
    assert await schema_is_current(url)
    for step, expected in zip(reversed(revisions()[:-1]), reversed(shapes[:-1]), strict=True):
        await migrate(url, step)
        assert await shape(url) == expected
    await migrate(url, "base")
    assert await revision(url) is None
    left = await ask(url, "SELECT count(*) FROM alembic_version")
    assert left[0][0] == 0
    await migrate(url)
    assert await shape(url) == shapes[-1]
    assert empty != shapes[-1]


async def test_the_migrated_schema_is_what_the_program_reads_and_writes(new_url: NewUrl) -> None:
    url = new_url()
    await migrate(url)
    assert await asyncio.to_thread(differences, url) == []


def differences(url: str) -> Sequence[Any]:
    """What alembic would change to make the database what `tables` says."""
    if url.startswith("sqlite:"):
        engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(sqlite_path(url)))
        try:
            with engine.connect() as connection:
                return list(compare_metadata(MigrationContext.configure(connection), metadata))
        finally:
            engine.dispose()

    async def on_postgresql() -> Sequence[Any]:
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(
                    lambda raw: list(compare_metadata(MigrationContext.configure(raw), metadata))
                )
        finally:
            await engine.dispose()

    return asyncio.run(on_postgresql())


async def test_what_is_kept_survives_every_step_down_and_up_again(new_url: NewUrl) -> None:
    url = new_url()
    stores = await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    durable = stores.durable
    account, link = await kept_account(durable)
    grant = await kept_grant(durable, account.id)
    family = await kept_family(durable, grant)
    receipt, row, code, posting = (
        make.receipt(account.id),
        make.disclosure_row(grant),
        make.code(grant),
        make.posting(account.id),
    )
    delivery, key, tokens = make.delivery(), make.signing_key(), make.upstream_tokens()
    unit = durable.unit()
    unit.append_receipt(receipt)
    unit.append_disclosure(row)
    unit.add_code(code)
    unit.add_posting(posting)
    unit.enqueue(delivery)
    unit.save_upstream_tokens(account.id, FACEBOOK, tokens)
    await unit.commit()
    await durable.keys.add(key)
    session = make.session(account.id)
    await stores.memory.sessions.save(session)
    subject = stores.derive("subjects")
    await stores.close()

    for step in [*reversed(revisions()[:-1]), "head"]:
        await migrate(url, step)

    stores = await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    durable = stores.durable
    unit = durable.unit()
    unit.save_account(await durable.accounts.load(account.id) or account)  # whatever wrote it last, it can be saved
    await unit.commit()
    assert stores.derive("subjects") == subject
    assert await durable.accounts.by_identity(link.key) == (account, link)
    assert await durable.ledger.receipts(account.id) == (receipt,)
    assert await durable.ledger.disclosures(account.id) == (row,)
    assert await durable.grants.load_family(family.id) == family
    assert isinstance(await durable.grants.consume_code(code.digest, NOW), Redeemed)
    assert await durable.postings.load(posting.id) == posting
    assert await durable.vault.open(make.posting_permit(account.id)) == tokens
    assert await durable.outbox.claim(NOW, 9) == (delivery,)
    assert await durable.keys.all() == (key,)
    assert await stores.memory.sessions.by_digest(session.secret_digest, NOW) == session
    await stores.close()


async def test_no_key_for_providers_becomes_one_for_sites_on_the_way_back(new_url: NewUrl) -> None:
    """The program of before knows no purposes: it would sign with whatever is there."""
    url = new_url()
    stores = await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    key = make.signing_key()
    await stores.durable.keys.add(key, replace(key, kid="for providers", use=KeyUse.REQUESTS))
    await stores.close()
    await migrate(url, "0023")
    assert [tuple(row) for row in await ask(url, "SELECT id FROM signing_keys")] == [(key.kid,)]


async def test_after_every_step_the_database_itself_refuses_to_change_records(new_url: NewUrl) -> None:
    url = new_url()
    stores = await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    grant = await kept_grant(stores.durable)
    receipt, row = make.receipt(grant.account), make.disclosure_row(grant)
    unit = stores.durable.unit()
    unit.append_receipt(receipt)
    unit.append_disclosure(row)
    entry = make.audit_entry()
    unit.append_audit(entry)
    await unit.commit()
    for statement in ("UPDATE audit SET why = ''", "DELETE FROM audit"):
        with pytest.raises((sqlite3.IntegrityError, asyncpg.RaiseError), match="append-only"):
            await ask(url, statement)
    assert await stores.durable.audit.last() == entry
    for step in [*reversed(revisions()[:-1]), "head"]:
        await migrate(url, step)
        statements = [
            "UPDATE consent_receipts SET counterparty = 'wiki'",
            "DELETE FROM consent_receipts",
            "UPDATE disclosures SET claims = ''",
            "DELETE FROM disclosures",
        ]
        if not url.startswith("sqlite:"):
            statements += ["TRUNCATE consent_receipts", "TRUNCATE disclosures"]
        for statement in statements:
            with pytest.raises((sqlite3.IntegrityError, asyncpg.RaiseError), match="append-only"):
                await ask(url, statement)
    assert await stores.durable.ledger.receipts(grant.account) == (receipt,)
    assert await stores.durable.ledger.disclosures(grant.account) == (row,)
    await stores.close()


async def test_of_processes_that_migrate_at_once_one_does_and_all_find_it_done(new_url: NewUrl) -> None:
    url = new_url()
    processes = [start("tests.stores.worker", url, "") for _ in range(2)]
    try:
        said_by_all = [await asyncio.to_thread(said, process) for process in processes]
    finally:
        for process in processes:
            process.communicate(timeout=30)
    assert said_by_all == ["ready"] * 2
    assert await schema_is_current(url)
    keys = await ask(url, "SELECT count(*) FROM data_keys")
    assert keys[0][0] == 2, "the key of the indexes and one data key: not one for each process"


async def test_a_database_newer_than_the_program_is_refused_and_left_alone(new_url: NewUrl) -> None:
    url = new_url()
    await migrate(url)
    await ask(url, "UPDATE alembic_version SET version_num = '9001'")
    before = await shape(url)
    for target in ("head", "base", HEAD):
        with pytest.raises(NewerSchema, match=f"9001.*{HEAD}"):
            await migrate(url, target)
    with pytest.raises(NewerSchema, match="newer version of Doorward"):
        await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())
    assert await shape(url) == before
    assert await revision(url) == "9001"


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/stores.db", "postgresql://doorward:x@127.0.0.1:1/doorward"])
async def test_a_database_that_is_not_there_is_a_store_that_does_not_answer(url: str) -> None:
    """(catalogue 162)"""
    for opening in (migrate(url), revision(url)):
        with pytest.raises(StoreUnavailable):
            await opening
    with pytest.raises(StoreUnavailable):
        await open_stores(database_url=url, redis_url=None, master_key=MASTER_KEY, clock=FixedClock())


async def test_a_migration_that_breaks_leaves_the_schema_as_it_was(new_url: NewUrl) -> None:
    url = new_url()
    await migrate(url, revisions()[0])
    await ask(url, "CREATE TABLE posting_subjects (something INTEGER)")
    before = await shape(url)
    with pytest.raises(StoreUnavailable):
        await migrate(url)
    assert await revision(url) == revisions()[0]
    assert await shape(url) == before
