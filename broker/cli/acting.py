"""What commands share that act on people's accounts: who acts and why, and the account that is meant."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.common import Command, Result, fail, ready, run

if TYPE_CHECKING:
    from broker.app import Opened
    from broker.domain.account import Account
    from broker.domain.audit import Act
    from broker.flows.support import AccountSupport

NO_REASON: Final = "no reason given"
_WHY: Final = "Why, for `doorward admin log`: it is kept for good. Nothing about anybody."


def why_option(command: Command) -> Command:
    """`--why TEXT`, which there must be."""
    return click.option("--why", required=True, help=_WHY)(command)


def may_say_why(command: Command) -> Command:
    """`--why TEXT`, for what harms nobody."""
    return click.option("--why", default=NO_REASON, help=_WHY)(command)


def by_option(command: Command) -> Command:
    """`--by NAME`."""
    return click.option("--by", metavar="NAME", help="The account with a role for whom you do it.")(command)


def opened_for(config: Path, work: Callable[[Opened], Coroutine[Any, Any, Result]]) -> Result:
    """Open the stores of the configuration and do it."""
    from broker.app import open_world
    from broker.telemetry import Log, NoMetrics, Telemetry

    settings = ready(config)

    async def work_on_it() -> Result:
        telemetry = Telemetry(log=Log(sys.stderr.buffer, level="warning"), metrics=NoMetrics())
        async with open_world(settings, telemetry) as opened:
            return await work(opened)

    return run(work_on_it())


async def named(opened: Opened, name: str) -> tuple[AccountSupport, Account]:
    """The account of this user name, proved address or id; the program ends if there is none."""
    from broker.errors import NotFound
    from broker.flows.support import AccountSupport

    support = AccountSupport(durable=opened.world.durable, sessions=opened.world.sessions, trail=opened.trail)
    try:
        return support, await support.find(name)
    except NotFound:
        fail(
            f"There is no account {name}: neither a user name nor a proved e-mail address nor an id. "
            "Whoever has none yet signs up first, as everybody does."
        )


async def acting(opened: Opened, why: str, by: str | None) -> Act:
    """Who acts: the system's account that runs the command, and whom with a role it is done for."""
    from broker.domain.audit import Act
    from broker.domain.staff import may_act

    if not why.strip():
        fail("Say why: --why TEXT.")
    who = _system_account()
    if by is None:
        return Act(by=who, why=why)
    _, account = await named(opened, by)
    role = await opened.world.durable.staff.role(account.id)
    if not may_act(role):
        fail(f"{by} has no role here that does anything. `doorward admin list` shows who has.")
    return Act(by=f"{who} for {account.id} ({role})", why=why)


def _system_account() -> str:
    """By the system's own word, not by what the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
