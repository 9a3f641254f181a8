"""Who has a role, and what was done by whoever has one or runs commands here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from broker.cli.acting import acting, by_option, named, opened_for, why_option
from broker.cli.common import DONE, REFUSED, Group, config_option, fail, table

if TYPE_CHECKING:
    from broker.app import Opened
    from broker.domain.audit import AuditEntry
    from broker.domain.staff import Role

ROLES: Final = ("owner", "admin", "support", "auditor", "tester")
_PROBLEMS: Final = {
    "last_owner": "{name} is the only owner. Make another one first: doorward admin add NAME --role owner --why …",
    "no_owner": "There is no owner yet. Make one first: doorward admin add NAME --role owner --why …",
}


@click.group(cls=Group)
def admin() -> None:
    """Who has a role here, and what they and whoever runs commands did."""


@admin.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the account is here; one role each.")
@why_option
@by_option
@config_option
def add(name: str, role: str, why: str, by: str | None, config: Path) -> None:
    """Give an account a role, instead of the one it has.

    NAME is a user name, a proved e-mail address or an id: its owner has signed up as everybody does. The first role is
    an owner's. A tester may do nothing but use providers in state testers. Commands need no role: whoever can run them may, and with --by they say for whom.
    """
    from broker.domain.staff import Role

    if _changed(config, name, Role(role), why, by):
        click.echo(f"{name} is {role} now.")
    else:
        click.echo(f"{name} was {role} already.")


@admin.command()
@click.argument("name")
@why_option
@by_option
@config_option
def remove(name: str, why: str, by: str | None, config: Path) -> None:
    """Take an account's role away; the account stays. The last owner's stays, too."""
    _changed(config, name, None, why, by)
    click.echo(f"{name} has no role any more.")


def _changed(config: Path, name: str, role: Role | None, why: str, by: str | None) -> bool:
    from broker.errors import FormInvalid, NotFound
    from broker.flows.staff import StaffFlow

    async def work(opened: Opened) -> bool:
        _, account = await named(opened, name)
        act = await acting(opened, why, by)
        staff = StaffFlow(durable=opened.world.durable, trail=opened.trail, clock=opened.world.clock)
        if role is None:
            return bool(await staff.take(account.id, act))
        return await staff.give(account.id, role, act)

    try:
        return opened_for(config, work)
    except FormInvalid as problem:
        fail(_PROBLEMS[problem.fields["role"]].format(name=name))
    except NotFound:
        fail(f"{name} has no role. `doorward admin list` shows who has.")


@admin.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_staff(config: Path, *, as_json: bool) -> None:
    """List the accounts that have a role, by user name, longest first."""
    rows = opened_for(config, _staff)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        click.echo(table(("name", "role", "since", "account", "state"), [tuple(row.values()) for row in rows]))
    else:
        click.echo("Nobody has a role. The first is an owner's: doorward admin add NAME --role owner --why …")


async def _staff(opened: Opened) -> list[dict[str, str]]:
    from broker.domain.claims import PREFERRED_USERNAME

    rows = []
    for member in await opened.world.durable.staff.all():
        account = await opened.world.durable.accounts.load(member.account)
        name = account.profile.get(PREFERRED_USERNAME) if account is not None else None
        rows.append(
            {
                "name": name.value if name is not None else "-",
                "role": str(member.role),
                "since": member.since.isoformat(timespec="seconds"),
                "account": str(member.account),
                "state": account.status.value if account is not None else "gone",
            }
        )
    return rows


@admin.command()
@click.option("--last", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many at most.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def log(last: int, config: Path, *, as_json: bool) -> None:
    """Tell what was done to roles, accounts, sites and requests to delete, and of passkeys that may have been copied.

    Newest last. Every entry is chained to the one before it under a key that is not in the database. One that was changed or taken
    out there is named, with exit code 1. That the newest were taken away shows only beside a copy of yours.
    """
    entries, broken = opened_for(config, _told)
    rows = [_row(entry) for entry in entries[-last:]]
    if len(rows) < len(entries):
        left_off = len(entries) - len(rows)
        click.echo(
            f"{left_off} older {'entry is' if left_off == 1 else 'entries are'} left off; --last {len(entries)} shows all.",
            err=True,
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        click.echo(table(("number", "when", "who", "what", "whom", "why"), [tuple(row.values()) for row in rows]))
    else:
        click.echo("Nothing was done yet.")
    if broken is not None:
        click.echo(f"Entry {broken} is not as it was written, or is missing: somebody changed the database.", err=True)
    raise SystemExit(DONE if broken is None else REFUSED)


async def _told(opened: Opened) -> tuple[list[AuditEntry], int | None]:
    return [entry async for entry in opened.trail.entries()], await opened.trail.broken_at()


def _row(entry: AuditEntry) -> dict[str, str]:
    return {
        "number": str(entry.number),
        "when": entry.at.isoformat(timespec="seconds"),
        "who": entry.by,
        "what": entry.action.value.replace("_", " "),
        "whom": entry.subject,
        "why": entry.why,
    }
