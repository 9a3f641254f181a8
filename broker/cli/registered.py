"""Sites that register by themselves: invite them, look at them, put them out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker.cli.acting import opened_for
from broker.cli.common import config_option, fail

if TYPE_CHECKING:
    from broker.app import Opened
    from broker.domain.client import Client
    from broker.domain.registration import Registration
    from broker.flows.registration import Registrations


@click.command("invite")
@click.option("--uses", type=click.IntRange(1, 100), default=1, show_default=True, help="How many sites may register.")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="For how long.")
@click.option(
    "--scope", "scopes", multiple=True, help="What they may ask for; again for each. Nothing: every scope there is."
)
@click.option("--note", default="", help="Whom it is for, in your words. Nothing about people.")
@config_option
def invite(uses: int, days: int, scopes: tuple[str, ...], note: str, config: Path) -> None:
    """Print an initial access token (RFC 7591), with which a site registers by itself.

    It is shown here and kept nowhere. What registers with it can ask people for fields, none of them as needed, and people
    are told that nobody here looked at the site, until `doorward site review` says that somebody did.
    """
    from broker.domain.claims import SCOPES
    from broker.domain.values import Scope

    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        fail(f"There is no scope {unknown[0]}. There are: {', '.join(map(str, SCOPES))}.")
    allowed = frozenset(map(Scope, scopes)) | {Scope("openid")} if scopes else frozenset(SCOPES)

    async def work(opened: Opened) -> tuple[str, str]:
        token = await _flow(opened).invite(allowed, uses=uses, days=days, note=note)
        return token.reveal(), opened.world.settings.broker.public_url

    token, issuer = opened_for(config, work)
    click.echo(
        f"{token}\n\nFor {_counted(uses)} within {days} day{'s' if days > 1 else ''}, as bearer token at {issuer}/register."
    )


@click.command("review")
@click.argument("name")
@config_option
def review(name: str, config: Path) -> None:
    """Say that somebody looked at a site that registered by itself: people are not warned of it any more.

    NAME is its id, which `doorward site list` shows. When the site changes what it registered, it has to be looked at anew.
    """

    async def work(opened: Opened) -> tuple[bool, Client]:
        kept, client = await _found(opened, name)
        return await _flow(opened).reviewed(kept), client

    is_new, client = opened_for(config, work)
    click.echo(f"{client.name} ({client.host}) {'is reviewed now' if is_new else 'was reviewed already'}.")


@click.command("remove")
@click.argument("name")
@config_option
def remove(name: str, config: Path) -> None:
    """Put out a site that registered by itself: it can sign nobody in any more, and whatever it was granted ends.

    A site of the configuration is taken out of its file instead.
    """

    async def work(opened: Opened) -> str:
        kept, client = await _found(opened, name)
        await _flow(opened).remove(kept, address="")
        return client.name

    click.echo(f"{opened_for(config, work)} is gone, and nothing that it was granted is good any more.")


def registered_sites(config: Path) -> list[Client]:
    """All that registered by themselves, as they are now."""

    async def work(opened: Opened) -> list[Client]:
        return list(opened.world.clients.registered())

    return opened_for(config, work)


def _flow(opened: Opened) -> Registrations:
    flow = opened.world.registrations
    if flow is None:
        fail('No site may register by itself here. Write registration = "invited" under [broker] first.')
    return flow


async def _found(opened: Opened, name: str) -> tuple[Registration, Client]:
    from broker.domain.values import ClientId

    _flow(opened)
    client = await opened.world.clients.look(name)
    kept = await opened.world.durable.registrations.load(ClientId(name))
    if kept is None or client is None:
        fail(f"No site {name} registered by itself. `doorward site list` shows those that did.")
    return kept, client


def _counted(uses: int) -> str:
    return "one site" if uses == 1 else f"{uses} sites"
