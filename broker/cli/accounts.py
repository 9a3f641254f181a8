"""Accounts, for the people who run the service: look at one, put it on hold, let it go on, decide about erasing it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.acting import acting, by_option, named, opened_for, why_option
from broker.cli.common import DONE, REFUSED, Group, Result, config_option, fail, table
from broker.errors import FormInvalid, NotFound

if TYPE_CHECKING:
    from broker.app import Opened
    from broker.domain.account import Account, Link
    from broker.domain.removal import Removal
    from broker.flows.removal import Waiting
    from broker.flows.support import AccountSupport


@click.group(cls=Group)
def account() -> None:
    """People's accounts: by user name, by proved e-mail address, or by id."""


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
@why_option
@by_option
@config_option
def hold(name: str, why: str, by: str | None, config: Path) -> None:
    """Put an account on hold: signed out everywhere, sites told, and nobody signs in to it.

    Nothing of it is lost. Whoever tries to sign in is told to write to you, with a reference. `doorward account
    release NAME` ends it. Works while servers run.
    """

    async def work(case: _Case) -> bool:
        return await case.support.hold(case.account, await acting(case.opened, why, by))

    if _run(config, name, work):
        click.echo(f"{name} is on hold and signed out everywhere. `doorward account release {name}` ends it.")
    else:
        click.echo(f"{name} was on hold already; whatever was still signed in is signed out now.")


@account.command()
@click.argument("name")
@why_option
@by_option
@config_option
def release(name: str, why: str, by: str | None, config: Path) -> None:
    """Let the owner of an account on hold sign in again.

    Sites that were connected stay so; each is signed in to anew.
    """

    async def work(case: _Case) -> bool:
        return await case.support.release(case.account, await acting(case.opened, why, by))

    if _run(config, name, work):
        click.echo(f"{name} can sign in again.")
    else:
        click.echo(f"{name} was not on hold.")


@account.group()
def review() -> None:
    """Requests to delete an account that came from a provider: nothing is deleted until somebody decides.

    Facebook sends one when a person removes the app there and asks for deletion.
    """


@review.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_waiting(config: Path, *, as_json: bool) -> None:
    """List the requests that wait, oldest first.

    With each its code, the account's id, and whether its owner signed in that way again after asking: then they may
    have changed their mind, and a question to them is in order. Exit code 1 if there is anything.
    """
    rows = [_waiting_row(one) for one in opened_for(config, lambda opened: opened.world.removals.waiting())]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        head = ("code", "account", "told by", "since", "ways to sign in", "came back")
        click.echo(table(head, [tuple(row.values()) for row in rows]))
    else:
        click.echo("No request waits.")
    raise SystemExit(REFUSED if rows else DONE)


@review.command()
@click.argument("code")
@why_option
@by_option
@config_option
def approve(code: str, why: str, by: str | None, config: Path) -> None:
    """Delete the account, as its owner would by closing it. This cannot be undone.

    Its owner is told by e-mail where an address is proved to be theirs, and the sites that it is signed out.
    """

    async def work(opened: Opened) -> Removal:
        return await opened.world.removals.approve(code, await acting(opened, why, by))

    try:
        removal = opened_for(config, work)
    except NotFound:
        fail(_NO_REQUEST.format(code))
    click.echo(f"The account {removal.account} is deleted. {code} says so to whoever looks it up.")


@review.command()
@click.argument("code")
@click.option("--reason", required=True, help="Why, in words that the person reads. Nothing about anybody.")
@by_option
@config_option
def dismiss(code: str, reason: str, by: str | None, config: Path) -> None:
    """Keep the account. The reason is shown to whoever looks the request up.

    What had hung on the way to sign in stays off until the person turns it on again.
    """
    if not reason.strip():
        fail("Give a reason: the person reads it.")

    async def work(opened: Opened) -> Removal:
        return await opened.world.removals.dismiss(code, await acting(opened, reason, by))

    try:
        removal = opened_for(config, work)
    except NotFound:
        fail(_NO_REQUEST.format(code))
    except FormInvalid:
        fail("Give a reason: the person reads it.")
    click.echo(f"The account {removal.account} is kept. The page of {code} gives the reason.")


_NO_REQUEST: Final = "No request {} waits. `doorward account review list` shows those that do."


def _waiting_row(one: Waiting) -> dict[str, str]:
    return {
        "code": one.removal.code,
        "account": str(one.removal.account),
        "provider": str(one.removal.provider),
        "since": one.removal.asked_at.isoformat(timespec="seconds"),
        "ways": str(one.ways) if one.account is not None else "closed by its owner",
        "came_back": "yes" if one.came_back else "no",
    }


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
        "ways to sign in": ", ".join(sorted(_way(link) for link in links)),
        "connected sites": ", ".join(sorted(str(site.client.client_id) for site in sites)),
        "sites that know a merged account": ", ".join(sorted(map(str, account.sites_from_before))),
        "devices": str(len(devices)),
    }


def _way(link: Link) -> str:
    """A provider's id, or what stands in its place."""
    from broker.domain.mail_code import BY_MAIL

    if link.passkey is not None:
        return "passkey"
    return "code by e-mail" if link.provider == BY_MAIL else str(link.provider)


def _run(config: Path, name: str, work: Callable[[_Case], Coroutine[Any, Any, Result]]) -> Result:
    """Open the stores of the configuration, find the account, do it."""

    async def work_on_it(opened: Opened) -> Result:
        support, found = await named(opened, name)
        return await work(_Case(opened=opened, support=support, account=found))

    return opened_for(config, work_on_it)
