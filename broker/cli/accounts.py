"""Accounts, for the people who run the service: look at one, put it on hold, let it go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.cli.common import Result, config_option, fail, ready, run, table

if TYPE_CHECKING:
    from broker.app import Opened
    from broker.domain.account import Account
    from broker.flows.support import AccountSupport


@click.group()
def account() -> None:
    """People's accounts: by user name, or by id."""


@account.command()
@click.argument("name")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def show(name: str, config: Path, *, as_json: bool) -> None:
    """Show an account: its state, ways to sign in, connected sites and devices.

    Names of things and numbers only: what people keep here is for them to see.
    """
    rows = _run(config, name, _shown)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        click.echo(table(("what", "is"), list(rows.items())))


@account.command()
@click.argument("name")
@config_option
def hold(name: str, config: Path) -> None:
    """Put an account on hold: signed out everywhere, sites told, and nobody signs in to it.

    Nothing of it is lost. Whoever tries to sign in is told to write to you, with a reference. `doorward account
    release NAME` ends it. Works while servers run.
    """
    if _run(config, name, lambda case: case.support.hold(case.account)):
        click.echo(f"{name} is on hold and signed out everywhere. `doorward account release {name}` ends it.")
    else:
        click.echo(f"{name} was on hold already; whatever was still signed in is signed out now.")


@account.command()
@click.argument("name")
@config_option
def release(name: str, config: Path) -> None:
    """Let the owner of an account on hold sign in again.

    Sites that were connected stay so; each is signed in to anew.
    """
    if _run(config, name, lambda case: case.support.release(case.account)):
        click.echo(f"{name} can sign in again.")
    else:
        click.echo(f"{name} was not on hold.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One account in a running world."""

    opened: Opened
    support: AccountSupport
    account: Account


async def _shown(case: _Case) -> dict[str, str]:
    world, account = case.opened.world, case.account
    links = await world.durable.accounts.links(account.id)
    sites = await world.account.sites(account.id)
    devices = await world.memory.sessions.of_account(account.id, world.clock.now())
    return {
        "id": str(account.id),
        "state": account.status.value,
        "made": account.created_at.isoformat(timespec="seconds"),
        "ways to sign in": ", ".join(sorted(str(link.provider) for link in links)),
        "connected sites": ", ".join(sorted(str(site.client.client_id) for site in sites)),
        "devices": str(len(devices)),
    }


def _run(config: Path, name: str, work: Callable[[_Case], Coroutine[Any, Any, Result]]) -> Result:
    """Open the stores of the configuration, find the account, do it."""
    from broker.app import open_world
    from broker.errors import NotFound
    from broker.flows.support import AccountSupport
    from broker.telemetry import Log, NoMetrics, Telemetry

    settings = ready(config)

    async def work_on_it() -> Result:
        telemetry = Telemetry(log=Log(sys.stderr.buffer, level="warning"), metrics=NoMetrics())
        async with open_world(settings, telemetry) as opened:
            support = AccountSupport(durable=opened.world.durable, sessions=opened.world.sessions)
            return await work(_Case(opened=opened, support=support, account=await support.find(name)))

    try:
        return run(work_on_it())
    except NotFound:
        fail(f"There is no account {name}: neither a user name nor an id.")
