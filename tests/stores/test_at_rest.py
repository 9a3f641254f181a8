"""What lies in databases, Redis and their files: sealed, a digest or a blind index, and nothing that opens elsewhere."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import LargeBinary
from tests.stores.probes import all_come_to
from tests.stores.worker import MASTER_KEY
from tests.contracts.logos import drawn
from tests.contracts.registrations import invitation, registration
from tests.support import builders as make
from tests.support.builders import FACEBOOK, FORUM, NOW, FixedClock
from tests.support.canaries import Canaries
from tests.support.servers import PostgresServer, RedisServer

from broker.domain.account import Account, KeptNumber, Link, Passkey, ProfileValue, user_name_key
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.grant import StatusPlace
from broker.domain.passkey import BY_PASSKEY, key_of
from broker.domain.picture import Picture
from broker.domain.posting import Message
from broker.domain.staff import Member, Role
from broker.domain.stream import Stream
from broker.domain.values import AccountId, IdentityKey, Secret
from broker.errors import Conflict, StoreUnavailable
from broker.hashing import digest
from broker.stores import Stores, WrongMasterKey, open_stores, rotate_data_keys
from broker.stores.sql.keyring import KEEP_REPLACED
from broker.stores.sql.schema import sqlite_path
from broker.stores.sql.tables import SEALED, metadata
from broker.stores.vault import PREFIX, KeyRing, UnknownKey, Wrapper, new_key, ring_of_master

PLANTED = {
    "name": "Canary Zürich-Ünal",
    "user name": "canary-username-77",
    "address": "canary-77@mail.canary.example",
    "subject": "canary-subject-1234567",
    "hint": "canary-hint-of-the-link",
    "credential": "canary-credential-of-a-passkey",
    "public key": "canary-public-key-of-a-passkey",
    "user handle": "canary-user-handle",
    "access token": "canary-upstream-access-token",
    "refresh token": "canary-upstream-refresh-token",
    "post": "canary text of a post",
    "remote id": "canary-remote-id",
    "remote address": "https://network.example/canary-remote-address",
    "device": "Canary Browser on Canary System",
    "id token of a session": "canary.of.an-id-token",
    "code": "canary-authorization-code-secret",
    "cookie": "canary-cookie-secret",
    "private key": "canary private half of a key",
    "delivered": "canary-delivered-payload",
    "limited": "canary-limit-key-203.0.113.77",
    "seen": "canary-replay-key",
    "subject at a site": "canary-pairwise-subject",
    "picture": "canary-bytes-of-a-picture",
    "header of a site": "Bearer canary-of-a-stream",
    "subject taken out": "canary-number-of-a-subject",
    "account that was merged": "canary-account-that-was-merged",
}
CANARIES = Canaries(PLANTED)


@dataclass(frozen=True, slots=True)
class Kept:
    """What `keep_everything` kept."""

    account: Account
    link: Link
    posting: str
    delivery: str
    kid: str
    secret_digest: bytes


async def keep_everything(stores: Stores) -> Kept:
    """One row at least in every table, with a canary in every personal or secret value."""
    profile = {
        NAME: ProfileValue(value=PLANTED["name"], source="provider:facebook"),
        PREFERRED_USERNAME: ProfileValue(value=PLANTED["user name"], source="person"),
        EMAIL: ProfileValue(value=PLANTED["address"], source="provider:facebook", verified=True),
    }
    merged = KeptNumber(of=AccountId(PLANTED["account that was merged"]), sites=(FORUM,))
    account = make.account(profile=profile, kept_numbers={"forum.example": merged})
    key = IdentityKey(issuer="https://facebook.example", subject=PLANTED["subject"])
    link = make.link(account, key=key, hint=PLANTED["hint"])
    passkey = Passkey(
        public_key=PLANTED["public key"].encode(),
        owner=PLANTED["user handle"].encode(),
        counter=1,
        can_be_copied=False,
        is_copied=False,
    )
    grant = make.grant(account.id)
    posting = make.posting(
        account.id,
        message=Message(text=PLANTED["post"], url=None, return_url="https://forum.example/", idempotency_key="k"),
        remote_id=PLANTED["remote id"],
        remote_url=PLANTED["remote address"],
    )
    delivery = make.delivery(payload={"sub": PLANTED["delivered"]})
    unit = stores.durable.unit()
    unit.add_account(account)
    unit.add_link(link)
    unit.add_link(make.link(account, provider=BY_PASSKEY, key=key_of(PLANTED["credential"].encode()), passkey=passkey))
    unit.put_picture(account.id, Picture(id="canary", jpeg=PLANTED["picture"].encode()))
    unit.append_receipt(make.receipt(account.id))
    unit.append_disclosure(make.disclosure_row(grant))
    unit.add_grant(grant)
    unit.add_code(make.code(grant, digest=digest(PLANTED["code"])))
    unit.add_family(make.family(grant))
    unit.revoke_access_token("token-1", NOW + timedelta(minutes=10))
    unit.save_upstream_tokens(
        account.id,
        FACEBOOK,
        make.upstream_tokens(access_token=PLANTED["access token"], refresh_token=PLANTED["refresh token"]),
    )
    unit.add_posting(posting)
    unit.add_posting_subject(account.id, FORUM, PLANTED["subject at a site"])
    unit.enqueue(delivery)
    unit.put_removal(make.removal(account=account.id), over=None)
    unit.put_member(Member(account=account.id, role=Role.OWNER, since=NOW))
    unit.append_audit(make.audit_entry())
    unit.add_failure(make.failure())
    unit.add_invitation(invitation())
    unit.register(registration(), NOW)
    unit.put_logo(drawn())
    await unit.commit()
    await stores.durable.statuses.reserve(1)
    await stores.durable.streams.put(Stream(client=FORUM, proof=Secret(PLANTED["header of a site"])))
    assert await stores.durable.streams.remove_subject(FORUM, PLANTED["subject taken out"], 9)
    placed = make.grant(account.id, status=StatusPlace(list="list-1", index=5))
    ending = stores.durable.unit()
    ending.add_grant(placed)
    await ending.commit()
    ending = stores.durable.unit()
    ending.revoke_grant(placed.id, NOW)
    await ending.commit()
    signing = make.signing_key(private=PLANTED["private key"].encode())
    await stores.durable.keys.add(signing)
    secret_digest = digest(PLANTED["cookie"])
    await stores.memory.sessions.save(
        make.session(
            account.id,
            secret_digest=secret_digest,
            key=key,
            device=PLANTED["device"],
            id_token=PLANTED["id token of a session"],
        )
    )
    await stores.memory.transactions.save("begun", b"sealed by the flow", NOW + timedelta(minutes=30))
    await stores.memory.replay.first_time(PLANTED["seen"], NOW + timedelta(minutes=1))
    await stores.memory.limits.hit(PLANTED["limited"], limit=1, window=60, now=NOW)
    return Kept(account, link, posting.id, delivery.id, signing.kid, secret_digest)


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    stores = await opened(url)
    yield stores
    await stores.close()


async def opened(url: str, master_key: bytes = MASTER_KEY, **more: Any) -> Stores:
    return await open_stores(
        **{"database_url": url, "redis_url": None, "master_key": master_key, "clock": FixedClock()} | more
    )


async def ask(url: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Rows past all our own code. Parameters are `?` in the text."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(sqlite_path(url))) as connection, connection:
            return connection.execute(sql, arguments).fetchall()
    for number in range(1, len(arguments) + 1):
        sql = sql.replace("?", f"${number}", 1)
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *arguments)]
    finally:
        await connection.close()


async def test_no_table_of_any_store_stays_empty_in_the_tests_below(url: str, stores: Stores) -> None:
    await keep_everything(stores)
    empty = [name for name in metadata.tables if not (await ask(url, f"SELECT 1 FROM {name} LIMIT 1"))]
    assert empty == []


async def test_no_value_of_a_person_and_no_secret_lies_readable_in_sqlite_files(tmp_path: Path) -> None:
    """(catalogue 168)"""
    stores = await opened(f"sqlite:///{tmp_path / 'stores.db'}")
    kept = await keep_everything(stores)
    assert CANARIES.check_files(tmp_path) == 3, "the file, its write-ahead log and its index"
    erasing = stores.durable.unit()
    erasing.erase_account(kept.account.id, NOW)
    await erasing.commit()
    CANARIES.check_files(tmp_path)
    await stores.close()
    CANARIES.check_files(tmp_path)


async def test_no_value_of_a_person_and_no_secret_lies_readable_in_postgresql(
    postgres_server: PostgresServer, migrated_postgres_url: str
) -> None:
    """(catalogue 168)"""
    stores = await opened(migrated_postgres_url)
    await keep_everything(stores)
    await stores.close()
    dump = await asyncio.to_thread(postgres_server.dump, migrated_postgres_url)
    assert b"INSERT INTO public.accounts" in dump
    CANARIES.check_bytes("the dump", dump)
    await asyncio.to_thread(postgres_server.run, "CHECKPOINT")
    folder = postgres_server.folder / "data"
    number = await ask(migrated_postgres_url, "SELECT oid FROM pg_database WHERE datname = current_database()")
    assert CANARIES.check_files(folder / "base" / str(number[0][0])) > 30
    CANARIES.check_files(folder / "pg_wal")


async def test_no_value_of_a_person_and_no_secret_lies_readable_in_redis(
    redis_server: RedisServer, redis_url: str, tmp_path: Path
) -> None:
    """(catalogue 168)"""
    stores = await opened(f"sqlite:///{tmp_path / 'stores.db'}", redis_url=redis_url)
    kept = await keep_everything(stores)
    assert await stores.memory.sessions.by_digest(kept.secret_digest, NOW) is not None
    dump = await asyncio.to_thread(redis_server.dump)
    assert b"dw:s:" in dump
    CANARIES.check_bytes("the dump of Redis", dump)
    await stores.close()


async def test_every_sealed_cell_names_a_key_that_the_database_has(url: str, stores: Stores) -> None:
    """(catalogue 168)"""
    await keep_everything(stores)
    known = {row[0].encode() for row in await ask(url, "SELECT id FROM data_keys WHERE id <> 'index'")}
    for table, column, _ in SEALED:
        cells = await ask(url, f"SELECT {column} FROM {table.name}")
        assert cells, table.name
        for (cell,) in cells:
            assert bytes(cell)[:1] == b"\x01"
            assert bytes(cell)[1:PREFIX] in known


def test_every_column_of_bytes_is_sealed_or_says_why_not() -> None:
    """(catalogue 168)"""
    sealed = {f"{table.name}.{column}" for table, column, _ in SEALED}
    plain = {
        "accounts.name_key": "blind index",
        "user_names.name_key": "blind index",
        "accounts.email_key": "blind index",
        "links.identity_key": "blind index",
        "posting_subjects.mark": "blind index",
        "removed_subjects.mark": "blind index",
        "delivery_marks.mark": "blind index",
        "replay_marks.id": "blind index",
        "rate_limits.id": "blind index",
        "codes.digest": "digest of a secret",
        "sessions.secret_digest": "digest of a secret",
        "sessions.upstream": "blind index",
        "invitations.digest": "digest of a secret",
        "logos.png": "shown to everybody",
        "registrations.secret_digest": "digest of a secret",
        "registrations.token_digest": "digest of a secret",
        "consent_receipts.body": "ids and names of claims",
        "grants.body": "ids and names of claims",
        "transactions.sealed": "sealed by the flow under a key that only the browser holds",
        "data_keys.wrapped": "under the master key",
    }
    columns = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    assert columns == sealed | plain.keys()
    assert not sealed & plain.keys()


# --- places -------------------------------------------------------------------------------------------


async def test_a_sealed_cell_moved_to_another_row_does_not_open(url: str, stores: Stores) -> None:
    """(catalogue 168)"""
    first = await keep_everything(stores)
    durable = stores.durable
    other = make.account(profile=make.profile("other"))
    other_link = make.link(other)
    unit = durable.unit()
    unit.add_account(other)
    unit.add_link(other_link)
    unit.save_upstream_tokens(other.id, FACEBOOK, make.upstream_tokens())
    unit.put_picture(other.id, Picture(id="canary", jpeg=b"another"))
    posting = make.posting(other.id)
    unit.add_posting(posting)
    await unit.commit()
    session = make.session(other.id)
    await stores.memory.sessions.save(session)

    for table, column, here, there in (
        ("accounts", "sealed", ("id", other.id), ("id", first.account.id)),
        ("links", "sealed", ("id", other_link.id), ("id", first.link.id)),
        ("upstream_tokens", "sealed", ("account", other.id), ("account", first.account.id)),
        ("pictures", "sealed", ("account", other.id), ("account", first.account.id)),
        ("postings", "sealed", ("id", posting.id), ("id", first.posting)),
        ("sessions", "sealed", ("secret_digest", session.secret_digest), ("secret_digest", first.secret_digest)),
    ):
        await ask(
            url,
            f"UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE {there[0]} = ?) WHERE {here[0]} = ?",
            there[1],
            here[1],
        )
    await all_come_to(
        "StoreUnavailable",
        {
            "account": lambda: durable.accounts.load(other.id),
            "link": lambda: durable.accounts.by_identity(other_link.key),
            "tokens": lambda: durable.vault.open(make.posting_permit(other.id)),
            "picture": lambda: durable.pictures.load(other.id),
            "posting": lambda: durable.postings.load(posting.id),
            "session": lambda: stores.memory.sessions.by_digest(session.secret_digest, NOW),
        },
    )
    assert await durable.accounts.load(first.account.id) == first.account


async def test_a_link_given_to_another_account_is_no_way_into_it(url: str, stores: Stores) -> None:
    """(catalogue 168)"""
    victim = await keep_everything(stores)
    thief = make.account(profile=make.profile("thief"))
    link = make.link(thief)
    unit = stores.durable.unit()
    unit.add_account(thief)
    unit.add_link(link)
    await unit.commit()
    await ask(url, "UPDATE links SET account = ? WHERE id = ?", victim.account.id, link.id)
    with pytest.raises(StoreUnavailable):
        await stores.durable.accounts.by_identity(link.key)


async def test_a_cell_moved_to_another_column_does_not_open(url: str, stores: Stores) -> None:
    """(catalogue 168)"""
    kept = await keep_everything(stores)
    await ask(url, "UPDATE postings SET remote_url = remote_id WHERE id = ?", kept.posting)
    with pytest.raises(StoreUnavailable):
        await stores.durable.postings.load(kept.posting)


async def test_a_session_of_redis_does_not_open_under_another_session(redis_url: str, tmp_path: Path) -> None:
    """(catalogue 168)"""
    stores = await opened(f"sqlite:///{tmp_path / 'stores.db'}", redis_url=redis_url)
    victim, thief = make.session(make.account().id), make.session(make.account().id)
    for session in (victim, thief):
        await stores.memory.sessions.save(session)
    redis: Any = stores.memory.sessions._redis  # type: ignore[attr-defined]
    sealed = await redis.ask("HGET", f"dw:d:{victim.secret_digest.hex()}", "v")
    await redis.ask("HSET", f"dw:d:{thief.secret_digest.hex()}", "v", sealed)
    with pytest.raises(StoreUnavailable):
        await stores.memory.sessions.by_digest(thief.secret_digest, NOW)
    await stores.close()


def test_an_altered_cell_does_not_open() -> None:
    """(catalogue 168)"""
    ring = ring_of_master(MASTER_KEY)
    sealed = ring.seal(b"value", "accounts/a/sealed")
    assert ring.open(sealed, "accounts/a/sealed") == b"value"
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises((StoreUnavailable, UnknownKey)):
            ring.open(bytes(altered), "accounts/a/sealed")
    for short in range(len(sealed)):
        with pytest.raises((StoreUnavailable, UnknownKey)):
            ring.open(sealed[:short], "accounts/a/sealed")


def test_the_same_value_is_never_sealed_the_same_way_twice() -> None:
    """(catalogue 168)"""
    ring = ring_of_master(MASTER_KEY)
    assert len({ring.seal(b"value", "accounts/a/sealed") for _ in range(1000)}) == 1000


# --- blind indexes ------------------------------------------------------------------------------------


async def test_blind_indexes_find_what_is_the_same_and_tell_nothing_more(url: str, stores: Stores) -> None:
    """(catalogue 168)"""
    kept = await keep_everything(stores)
    durable = stores.durable
    assert await durable.accounts.by_identity(kept.link.key) == (kept.account, kept.link)
    assert await durable.accounts.by_identity(replace(kept.link.key, subject=PLANTED["subject"] + " ")) is None
    assert not await durable.accounts.is_user_name_free(user_name_key("CANARY.username_77"))
    assert await durable.accounts.is_user_name_free(user_name_key("canary-username-78"))
    assert await durable.postings.account_of(FORUM, PLANTED["subject at a site"]) == kept.account.id
    twin = make.account(profile={EMAIL: ProfileValue(value=PLANTED["address"].upper(), source="x", verified=True)})
    unit = durable.unit()
    unit.add_account(twin)
    with pytest.raises(Conflict, match="email"):
        await unit.commit()


async def test_blind_indexes_of_two_databases_cannot_be_compared(tmp_path: Path) -> None:
    """(catalogue 168)"""
    found = []
    for name in ("one", "two"):
        url = f"sqlite:///{tmp_path / name}.db"
        stores = await opened(url)
        await keep_everything(stores)
        found.append(await ask(url, "SELECT name_key, email_key FROM accounts"))
        await stores.close()
    assert not set(found[0][0]) & set(found[1][0])


def test_the_labels_of_blind_indexes_keep_them_apart() -> None:
    ring = ring_of_master(MASTER_KEY)
    marks = {ring.blind(label, text) for label in ("a", "b", "") for text in ("x", "", "a\x00x", "\ud800")}
    assert len(marks) == 12
    assert {len(mark) for mark in marks} == {32}


async def test_a_delivery_that_is_done_or_purged_leaves_no_mark(url: str, stores: Stores) -> None:
    """(catalogue 168)"""
    done, given_up, waiting = make.delivery(), make.delivery(), make.delivery()
    unit = stores.durable.unit()
    for delivery in (done, given_up, waiting):
        unit.enqueue(delivery)
    await unit.commit()
    await stores.durable.outbox.done(done.id)
    await stores.durable.outbox.give_up(given_up.id, "gone")
    assert await stores.durable.purge(NOW + timedelta(days=31)) == 1
    marks = await ask(url, "SELECT DISTINCT delivery FROM delivery_marks")
    assert [row[0] for row in marks] == [waiting.id]


# --- keys ---------------------------------------------------------------------------------------------


async def test_another_master_key_is_refused_in_words_and_changes_nothing(url: str, stores: Stores) -> None:
    """(catalogue 168)"""
    kept = await keep_everything(stores)
    before = await ask(url, "SELECT id, wrapped FROM data_keys ORDER BY id")
    with pytest.raises(WrongMasterKey, match="the master key is not the one this database was set up with"):
        await opened(url, b"another master key of 32 bytes..")
    with pytest.raises(WrongMasterKey):
        await rotate_data_keys(database_url=url, master_key=b"x" * 32, clock=FixedClock())
    assert await ask(url, "SELECT id, wrapped FROM data_keys ORDER BY id") == before
    again = await opened(url)
    assert await again.durable.accounts.load(kept.account.id) == kept.account
    await again.close()


@pytest.mark.parametrize("master_key", [b"", b"short", b"k" * 31])
async def test_a_short_master_key_is_refused(master_key: bytes, tmp_path: Path) -> None:
    for url in ("memory://", f"sqlite:///{tmp_path / 'stores.db'}"):
        if url.startswith("memory"):
            continue
        with pytest.raises(ValueError, match="32 bytes"):
            await opened(url, master_key)


def test_a_wrapped_key_opens_under_its_own_name_only() -> None:
    key_id, key = new_key()
    wrapper = Wrapper(MASTER_KEY)
    wrapped = wrapper.wrap(key, key_id)
    assert wrapper.unwrap(wrapped, key_id) == key
    with pytest.raises(WrongMasterKey):
        wrapper.unwrap(wrapped, "another1")
    with pytest.raises(WrongMasterKey):
        Wrapper(b"x" * 32).unwrap(wrapped, key_id)


def test_nothing_that_holds_keys_shows_them() -> None:
    ring = ring_of_master(MASTER_KEY)
    assert repr(Stores(durable=None, memory=None, ring=ring)) == "Stores(durable=None, memory=None)"  # type: ignore[arg-type]
    assert "kkkk" not in repr(ring) + repr(Wrapper(MASTER_KEY))


async def prefixes(url: str) -> set[bytes]:
    """The key ids that sealed cells carry."""
    found: set[bytes] = set()
    for table, column, _ in SEALED:
        cells = await ask(url, f"SELECT {column} FROM {table.name}")
        found |= {bytes(cell)[1:PREFIX] for (cell,) in cells if cell is not None}
    return found


async def test_rotation_seals_every_cell_again_while_servers_go_on(url: str, stores: Stores) -> None:
    """(catalogue 168)"""
    kept = await keep_everything(stores)
    old = stores.ring.current
    marks = await ask(url, "SELECT name_key, email_key FROM accounts")
    serving = await opened(url)  # a server that has not heard of the rotation

    sealed = await rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=FixedClock())

    assert sealed == len(SEALED) + 1, "one in each place, and a passkey beside the other link"
    found = await prefixes(url)
    assert len(found) == 1
    assert found != {old.encode()}
    assert serving.ring.current == old
    assert await serving.durable.accounts.by_identity(kept.link.key) == (kept.account, kept.link)
    assert serving.ring.current.encode() in found, "met the new key, and seals with it from now on"
    assert await stores.memory.sessions.by_digest(kept.secret_digest, NOW) is not None
    assert await ask(url, "SELECT name_key, email_key FROM accounts") == marks, "what is looked up stays the same"
    assert serving.derive("subjects") == stores.derive("subjects")
    await serving.close()


async def test_what_a_server_seals_under_the_old_key_during_a_rotation_is_read_by_all(url: str, stores: Stores) -> None:
    await keep_everything(stores)
    await rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=FixedClock())
    late = make.account(profile=make.profile("late"))
    unit = stores.durable.unit()  # has not read anything since, so it knows the old key only
    unit.add_account(late)
    await unit.commit()
    fresh = await opened(url)
    assert await fresh.durable.accounts.load(late.id) == late
    assert len(await prefixes(url)) == 2
    assert await rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=FixedClock(), new=False) == 1
    assert len(await prefixes(url)) == 1
    await fresh.close()


async def test_an_interrupted_rotation_goes_on_where_it_was(url: str, stores: Stores) -> None:
    await keep_everything(stores)
    accounts = [make.account(profile={}) for _ in range(3)]
    unit = stores.durable.unit()
    for account in accounts:
        unit.add_account(account)
    await unit.commit()
    old_cells = await ask(url, "SELECT id, sealed FROM accounts WHERE id = ?", accounts[0].id)
    await rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=FixedClock())
    await ask(url, "UPDATE accounts SET sealed = ? WHERE id = ?", old_cells[0][1], accounts[0].id)
    assert len(await prefixes(url)) == 2
    keys = await ask(url, "SELECT id FROM data_keys")
    assert await rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=FixedClock(), new=False) == 1
    assert await ask(url, "SELECT id FROM data_keys") == keys, "no further key was made"
    assert await stores.durable.accounts.load(accounts[0].id) == accounts[0]


async def test_rotation_walks_through_more_than_one_batch_and_loses_no_change_made_meanwhile(
    url: str, stores: Stores
) -> None:
    accounts = [make.account(profile=make.profile(f"walker{number}")) for number in range(450)]
    unit = stores.durable.unit()
    for account in accounts:
        unit.add_account(account)
        unit.add_link(make.link(account, id=f"link-of-{account.id}"))
    await unit.commit()
    changed = [replace(account, locale="de") for account in accounts[::7]]

    async def change() -> None:
        for account in changed:
            unit = stores.durable.unit()
            unit.save_account(account)
            await unit.commit()
            await asyncio.sleep(0)

    sealed, _ = await asyncio.gather(
        rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=FixedClock()), change()
    )
    assert sealed >= 900 - len(changed)
    await rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=FixedClock(), new=False)
    assert len(await prefixes(url)) == 1
    for account in changed:
        assert await stores.durable.accounts.load(account.id) == account


async def test_a_replaced_key_is_forgotten_when_nothing_can_need_it_and_not_before(url: str, stores: Stores) -> None:
    kept = await keep_everything(stores)
    clock = FixedClock()
    for days, count in ((0, 3), (14, 4), (1, 5), (14, 5), (14, 4), (30, 3)):
        clock.move(timedelta(days=days))
        await rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=clock)
        assert len(await ask(url, "SELECT id FROM data_keys")) == count, days
    assert timedelta(days=15) == KEEP_REPLACED
    assert await stores.durable.accounts.load(kept.account.id) == kept.account


async def test_sessions_in_redis_outlive_a_rotation(redis_url: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stores.db'}"
    stores = await opened(url, redis_url=redis_url)
    session = make.session(make.account().id)
    await stores.memory.sessions.save(session)
    await rotate_data_keys(database_url=url, master_key=MASTER_KEY, clock=FixedClock())
    fresh = await opened(url, redis_url=redis_url)
    assert await fresh.memory.sessions.by_digest(session.secret_digest, NOW) == session
    newer = make.session(session.account)
    await fresh.memory.sessions.save(newer)
    assert await stores.memory.sessions.by_digest(newer.secret_digest, NOW) == newer, "learned the key on meeting it"
    await fresh.close()
    await stores.close()


async def test_a_value_under_a_key_that_nobody_has_is_a_503() -> None:
    strange = KeyRing({"strange1": b"s" * 32}, "strange1", b"i" * 32)
    ours = ring_of_master(MASTER_KEY)
    sealed = strange.seal(b"value", "place")
    with pytest.raises(StoreUnavailable, match="unknown data key"):
        await ours.reading(lambda: ours.open(sealed, "place"))


@pytest.mark.parametrize(
    "keys", [{"short": b"k" * 32}, {"ninechars": b"k" * 32}, {"eightchr": b"k" * 31}, {"größe123": b"k" * 32}]
)
def test_a_ring_takes_keys_of_the_right_shape_only(keys: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="8-character id and 32 bytes"):
        KeyRing(keys, next(iter(keys)), b"i" * 32)


async def test_two_processes_that_open_an_empty_database_at_once_share_its_keys(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stores.db'}"
    stores: Iterable[Stores] = await asyncio.gather(*(opened(url) for _ in range(4)))
    assert len({one.derive("subjects") for one in stores}) == 1
    assert len({one.ring.current for one in stores}) == 1
    for one in stores:
        await one.close()
