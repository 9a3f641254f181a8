"""Keys and the database: what an operator does rarely, and carefully."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from broker.cli.common import Group, config_option, fail, open_durable, ready, run, table

if TYPE_CHECKING:
    from broker.domain.ports import SigningKeyRecord
    from broker.settings import Settings


_FOR: Final = {"tokens": "tokens for sites", "requests": "requests at providers"}
"""By `KeyUse`, in words."""


@click.group(cls=Group)
def keys() -> None:
    """Signing keys, data keys and the master key."""


@keys.command("new-master")
def new_master() -> None:
    """Print a new master key: 32 random bytes as base64.

    It wraps every key that protects stored data. Keep a copy outside this machine: whoever loses it loses all
    accounts. `doorward keys new-master > secrets/master.key` with a strict umask is a good way to keep it.
    """
    from broker.chance import SystemEntropy

    click.echo(base64.b64encode(SystemEntropy().bytes(32)).decode())


@keys.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_keys(config: Path, *, as_json: bool) -> None:
    """List the signing keys: name, what for, algorithm, when each was made and from when it signs.

    Keys for tokens sign what sites get; keys for requests sign what we ask providers and who we are to them. Private halves are
    not shown; the public ones are at /jwks, those for requests at /client-jwks.
    """
    from broker.chance import SystemClock

    settings = ready(config)
    rows = [_row(record) for record in run(_records(settings))]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("There are no signing keys yet; the server makes them when it first starts.")
    else:
        now = SystemClock().now().isoformat(timespec="seconds")
        said = [tuple({**row, "use": _FOR[row["use"]]}.values()) for row in rows]
        click.echo(table(("key", "for", "algorithm", "made", "signs from"), said))
        click.echo(f"Of each purpose and algorithm the newest key signs whose time has come; it is now {now}.")
        if any(row["use"] == "requests" for row in rows):
            click.echo(_where(settings))


def _where(settings: Settings) -> str:
    """Who finds the keys for requests where."""
    from broker.domain.provider import our_keys_of
    from providers import Preset

    presets = [Preset.from_table(one.id, one.table, one.where) for one in settings.providers]
    names = ", ".join(str(preset.id) for preset in presets if preset.wants_our_keys)
    who = f"Those for requests are for {names}" if names else "No provider wants those for requests now"
    return f"{who}: they are at {our_keys_of(settings.broker.public_url)}."


def _row(record: SigningKeyRecord) -> dict[str, str]:
    return {
        "key": record.kid,
        "use": record.use.value,
        "algorithm": record.algorithm.value,
        "made": record.created_at.isoformat(timespec="seconds"),
        "signs_from": record.signs_from.isoformat(timespec="seconds"),
    }


@keys.command()
@config_option
@click.option("--data", is_flag=True, help="Rotate the key that encrypts stored data instead of the signing keys.")
@click.option("--resume", is_flag=True, help="With --data: go on with a rotation that was interrupted.")
def rotate(config: Path, *, data: bool, resume: bool) -> None:
    """Make new signing keys, or with --data a new data key.

    Keys for tokens that sites get are made anew, and where there are any, those for requests at providers. New signing keys are
    published within a minute and used half an hour later, so that every site and provider knows them by then; the old ones
    stay until nothing they signed is valid any more. With --data everything stored is encrypted again under a new key, in
    small steps. Both go on while servers run.
    """
    if resume and not data:
        fail("--resume belongs to --data.", code=2)
    settings = ready(config)
    if not data:
        for record in run(_rotate_signing(settings)):
            signs_from = record.signs_from.isoformat(timespec="seconds")
            click.echo(f"{record.kid} ({record.algorithm.value}) signs {_FOR[record.use.value]} from {signs_from}.")
        return
    count = run(_rotate_data(settings, new=not resume))
    click.echo(f"{count} stored values are encrypted under the {'newest' if resume else 'new'} data key.")


@click.command()
@config_option
def migrate(config: Path) -> None:
    """Bring the database to the newest schema.

    The server does this by itself when it starts; beforehand it takes no time off the start. Running it twice, or from
    two machines at once, does no harm.
    """
    from broker.stores.sql import schema

    url = ready(config).broker.database_url
    before = run(schema.revision(url))
    run(schema.migrate(url))
    after = run(schema.revision(url))
    click.echo(
        f"The database is at {after}, the newest."
        if before == after
        else f"The database went from {before or 'empty'} to {after}."
    )


async def _records(settings: Settings) -> tuple[SigningKeyRecord, ...]:
    stores = await open_durable(settings)
    try:
        records: tuple[SigningKeyRecord, ...] = await stores.durable.keys.all()
        return records
    finally:
        await stores.close()


async def _rotate_signing(settings: Settings) -> tuple[SigningKeyRecord, ...]:
    from broker.chance import SystemClock, SystemEntropy
    from broker.domain.ports import KeyUse
    from broker.flows.keys import KeyFlow
    from broker.signing import KeyBox

    stores = await open_durable(settings)
    clock, entropy, keys = SystemClock(), SystemEntropy(), stores.durable.keys
    try:
        made: list[str] = []
        for use in {KeyUse.TOKENS, *(record.use for record in await keys.all())}:
            flow = KeyFlow(keys=keys, box=KeyBox(), clock=clock, entropy=entropy, use=use)
            await flow.load()
            made += await flow.rotate()
        return tuple(record for record in await keys.all() if record.kid in made)
    finally:
        await stores.close()


async def _rotate_data(settings: Settings, *, new: bool) -> int:
    from broker.chance import SystemClock
    from broker.stores import rotate_data_keys
    from broker.stores.sql import schema

    broker = settings.broker
    await schema.migrate(broker.database_url)
    return await rotate_data_keys(
        database_url=broker.database_url, master_key=broker.master_key_bytes, clock=SystemClock(), new=new
    )
