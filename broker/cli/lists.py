"""Providers and sites as the configuration has them, and a new secret for a site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from broker.cli.common import (
    DONE,
    REFUSED,
    Group,
    config_option,
    fail,
    folder_of,
    loaded,
    open_durable,
    ready,
    run,
    table,
)
from broker.cli.registered import blocked_sites, registered_sites

if TYPE_CHECKING:
    from broker.domain.client import Client
    from broker.domain.ports import Delivery
    from broker.settings import Settings

SECRET_BYTES: Final = 32
MOST_UNTOLD: Final = 500
"""Lines that are shown at most; more of them say nothing new."""


@click.group(cls=Group)
def provider() -> None:
    """Ways to sign in."""


@provider.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_providers(config: Path, *, as_json: bool) -> None:
    """List the providers, and the address to enter at each: where it sends people back to."""
    settings = loaded(config)
    rows = [
        {
            "id": str(one.id),
            "kind": str(one.table.get("kind", "")),
            "state": str(one.table.get("state", "on")),
            "redirect_uri": f"{settings.broker.public_url}/callback/{one.id}",
        }
        for one in settings.providers
    ]
    _show(
        rows,
        ("id", "kind", "state", "redirect address to enter there"),
        "There is no provider in providers.toml.",
        as_json=as_json,
    )


@click.group(cls=Group)
def site() -> None:
    """Community sites."""


@site.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_sites(config: Path, *, as_json: bool) -> None:
    """List the sites: where they are, what they ask for, and what is weaker there than it could be.

    Sites that put themselves in come last, and after them those that are shut out.
    """
    settings = loaded(config)
    is_open = settings.broker.registration != "off" or settings.broker.client_documents != "off"
    rows = [
        _site_row(client) for client in (*settings.clients.values(), *(registered_sites(config) if is_open else ()))
    ]
    rows += [_blocked_row(client) for client in (blocked_sites(config) if is_open else ())]
    _show(rows, ("id", "name", "home page", "asks for", "notes"), "There is no site in sites.toml.", as_json=as_json)


@site.command("untold")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_untold(config: Path, *, as_json: bool) -> None:
    """List what sites were to be told, and did not confirm: that a session is over, and security events.

    Each line is one thing at one site, without who it was about: since when, how often it was tried, what went wrong, and
    when it is tried again. What was given up stays listed for a month. Exit code 1 if there is anything.
    """
    found = run(_untold(ready(config)))
    rows = [_untold_row(*one) for one in found[:MOST_UNTOLD]]
    if len(found) > MOST_UNTOLD:
        click.echo(f"There are more than these {MOST_UNTOLD}; they are left off.", err=True)
    _show(
        rows,
        ("site", "what", "since", "tries", "went wrong", "next try"),
        "Every site that was to be told has confirmed.",
        as_json=as_json,
    )
    raise SystemExit(REFUSED if rows else DONE)


async def _untold(settings: Settings) -> list[tuple[Delivery, bool]]:
    from broker.domain.events import SECURITY_EVENT
    from broker.flows.session import LOGOUT_TOKEN

    kinds = {LOGOUT_TOKEN, SECURITY_EVENT}
    stores = await open_durable(settings)
    try:
        return [one for one in await stores.durable.outbox.failing(MOST_UNTOLD + 1) if one[0].kind in kinds]
    finally:
        await stores.close()


def _untold_row(delivery: Delivery, is_given_up: bool) -> dict[str, str]:
    return {
        "site": str(delivery.client),
        "what": delivery.payload.get("event", "signed out"),
        "since": delivery.created_at.isoformat(timespec="seconds"),
        "tries": str(delivery.attempts),
        "went_wrong": delivery.last_error,
        "next_try": "given up" if is_given_up else delivery.due_at.isoformat(timespec="seconds"),
    }


def _site_row(client: Client) -> dict[str, str]:
    asks = " ".join(f"{ask.claim}{'' if ask.needed else '?'}" for ask in client.asks)
    notes = {
        "off": not client.enabled,
        "not reviewed": client.is_unreviewed,
        "no secret": client.is_public and client.discourse_connect_secret is None,
        "two secrets": len(client.secret_digests) > 1,
        "without PKCE": not client.pkce_required,
        "may post": client.may_post,
        "one number for all sites": client.subject_type.value == "public",
    }
    return {
        "id": str(client.client_id),
        "name": client.name,
        "url": client.url,
        "asks": asks,
        "notes": ", ".join(note for note, holds in notes.items() if holds),
    }


def _blocked_row(client_id: str) -> dict[str, str]:
    return {"id": client_id, "name": "", "url": "", "asks": "", "notes": "shut out"}


@site.command("secret")
@click.argument("name", required=False)
@config_option
def new_secret(name: str | None, config: Path) -> None:
    """Print a new secret for a site: 32 random bytes, fit for a file that a client_secret points at.

    With the NAME of a site its place in the configuration is told beside it, on standard error. Nothing is written:
    put it where client_secret looks, and give the site the same. While the site changes over, list both secrets.
    """
    from broker.chance import SystemEntropy

    if name is not None:
        _say_where(name, config)
    click.echo(SystemEntropy().token(SECRET_BYTES))


def _say_where(name: str, config: Path) -> None:
    from broker.cli.common import environment
    from broker.settings import read_settings
    from broker.settings_sources import nearest

    settings: Settings = read_settings(folder_of(config), environment(), make_master_key=False)
    if name not in settings.clients:
        known = ", ".join(sorted(settings.clients)) or "none"
        fail(f"There is no site {name} in sites.toml. There are: {known}.")
    key = ("sites", name, "client_secret")
    place = settings.origins.get(key) or nearest(settings.origins, key)
    click.echo(f"The secret of {name} is named at {place}. Put this one there, and give it to the site:", err=True)


def _show(rows: list[dict[str, str]], head: tuple[str, ...], nothing: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        click.echo(table(head, [tuple(row.values()) for row in rows]))
    else:
        click.echo(nothing)
