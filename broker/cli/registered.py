"""Sites that put themselves in: invite them, look at them, put them out, shut them out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker.cli.acting import NO_REASON, acting, by_option, may_say_why, opened_for
from broker.cli.common import config_option, fail, table

if TYPE_CHECKING:
    from broker.app import Opened
    from broker.domain.client import Client
    from broker.domain.logo import DrawnLogo
    from broker.domain.registration import Invitation, Registration
    from broker.domain.values import ClientId
    from broker.flows.registration import Registrations, Reviews


@click.command("invite")
@click.option("--uses", type=click.IntRange(1, 100), default=1, show_default=True, help="How many sites may register.")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="For how long.")
@click.option(
    "--scope", "scopes", multiple=True, help="What they may ask for; again for each. Nothing: every scope there is."
)
@click.option("--note", default="", help="Whom it is for, in your words. Nothing about people.")
@by_option
@config_option
def invite(uses: int, days: int, scopes: tuple[str, ...], note: str, by: str | None, config: Path) -> None:
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
        act = await acting(opened, note or NO_REASON, by)
        token = await _flow(opened).invite(allowed, uses=uses, days=days, note=note, act=act)
        return token.reveal(), opened.world.settings.broker.public_url

    token, issuer = opened_for(config, work)
    click.echo(
        f"{token}\n\nFor {_counted(uses)} within {days} day{'s' if days > 1 else ''}, as bearer token at {issuer}/register."
    )


@click.command("invitations")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def invitations(config: Path, *, as_json: bool) -> None:
    """List the invitations with which sites can still register; never their tokens."""

    async def work(opened: Opened) -> tuple[Invitation, ...]:
        return await _flow(opened).invitations()

    rows = [
        {
            "id": one.id,
            "uses_left": str(one.uses_left),
            "until": one.expires_at.isoformat(timespec="minutes"),
            "scopes": " ".join(sorted(one.scopes)),
            "note": one.note,
        }
        for one in opened_for(config, work)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        head = ("id", "uses left", "until", "scopes", "note")
        click.echo(table(head, [tuple(row.values()) for row in rows]))
    else:
        click.echo("No invitation is good at present.")


@click.command("uninvite")
@click.argument("invitation")
@may_say_why
@by_option
@config_option
def uninvite(invitation: str, why: str, by: str | None, config: Path) -> None:
    """Take an invitation back: no other site registers with it. Those that did stay; `doorward site remove` puts one out.

    INVITATION is the id that `doorward site invitations` shows.
    """
    from broker.errors import NotFound

    async def work(opened: Opened) -> bool:
        flow = _flow(opened)
        try:
            await flow.uninvite(invitation, await acting(opened, why, by))
        except NotFound:
            return False
        return True

    if not opened_for(config, work):
        fail(f"No invitation {invitation} is good at present. `doorward site invitations` shows those that are.")
    click.echo("No site registers with it any more.")


@click.command("review")
@click.argument("name")
@click.option("--seen", metavar="VERSION", help="What you looked at, as this command names it.")
@click.option(
    "--logo",
    "logo_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write its logo there, as people would see it.",
)
@may_say_why
@by_option
@config_option
def review(name: str, seen: str | None, logo_file: Path | None, why: str, by: str | None, config: Path) -> None:
    """Look at a site that put itself in; with --seen, say that you did: people are not warned of it any more.

    NAME is its id, which `doorward site list` shows. What is shown has a version, which --seen takes: a site that changed
    in between is not reviewed unseen. Whenever it changes what it says, it has to be looked at anew.

    Its logo is fetched each time you look, and people see the very picture that you looked at: any site can show somebody
    else's as its own. Until then, and after another one was fetched, they see the site's name alone.
    """
    from broker.domain.logo import seen_version
    from broker.errors import Conflict

    async def work(opened: Opened) -> tuple[bool | None, _Seen]:
        found = await _look(opened, name, anew=seen is None)
        version = seen_version(found.kept, found.drawn.logo if found.drawn else None)
        if seen != version:
            return None, found if seen is None else await _look(opened, name, anew=True)
        act, logo = await acting(opened, why, by), found.drawn.logo if found.drawn else None
        try:
            return await _reviews(opened).reviewed(found.kept, act, logo), found
        except Conflict:  # changed in this very moment
            return None, await _look(opened, name, anew=True)

    is_new, found = opened_for(config, work)
    kept, client, drawn = found.kept, found.client, found.drawn
    if logo_file is not None and drawn is not None:
        logo_file.write_bytes(drawn.png)
    if is_new is not None:
        click.echo(f"{client.name} ({client.host}) {'is reviewed now' if is_new else 'was reviewed already'}.")
        return
    version = seen_version(kept, drawn.logo if drawn else None)
    for label, value in (_told(kept, client) | {"logo": found.logo_words, "version": version}).items():
        click.echo(f"{label:<22}{value}".rstrip())
    command = f"doorward site review {name} --seen {version}"
    if seen is not None:
        fail(f"The site is not what you saw: it changed. Look again, then: {command}")
    click.echo(f"\nIf that is what it should be: {command}")


@click.command("remove")
@click.argument("name")
@may_say_why
@by_option
@config_option
def remove(name: str, why: str, by: str | None, config: Path) -> None:
    """Put out a site that registered by itself: it can sign nobody in any more, and whatever it was granted ends.

    The invitation that it came by ends too. A site of the configuration is taken out of its file instead.
    """

    async def work(opened: Opened) -> str:
        kept, client = await _found(opened, name)
        if kept.has_document:
            fail(f"It would come back with its next visitor. Shut it out instead: doorward site block {name}")
        await _reviews(opened).put_out(kept, await acting(opened, why, by))
        return client.name

    click.echo(
        f"{opened_for(config, work)} is gone, nothing that it was granted is good any more, and nobody registers with its "
        "invitation."
    )


def _told(kept: Registration, client: Client) -> dict[str, str]:
    """What an admin looks at before they say that they did."""
    return {
        "name": client.name,
        "home page": client.url,
        "redirect addresses": " ".join(client.redirect_uris),
        "after signing out": " ".join(client.post_logout_redirect_uris) or "nothing registered",
        "we call": " ".join(filter(None, (client.jwks_uri, client.backchannel_logout_uri, *client.request_uris)))
        or "nothing",
        "privacy notice": client.policy_uri or "none",
        "terms": client.tos_uri or "none",
        "asks for": " ".join(str(ask.claim) for ask in client.asks) or "nothing but the private number",
        "proves itself": str(client.auth_method),
        "registered": kept.registered_at.isoformat(timespec="minutes"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What an admin looks at: the site, its logo, and what there is to say of that."""

    kept: Registration
    client: Client
    drawn: DrawnLogo | None
    logo_words: str


async def _look(opened: Opened, name: str, *, anew: bool) -> _Seen:
    """`anew`: its logo is fetched; else it is what was fetched when somebody looked last."""
    from broker.cli.logos import size_of
    from broker.domain.logo import LogoUnusable

    kept, client = await _found(opened, name)
    logos, problem = opened.world.logos, ""
    try:
        drawn = await logos.looked_at(client) if anew else await logos.kept_of(client)
    except LogoUnusable as error:
        drawn, problem = await logos.kept_of(client), f"{client.logo} cannot be shown. {error.words}"
    if drawn is None:
        return _Seen(kept=kept, client=client, drawn=None, logo_words=problem or _no_logo(kept))
    logo = drawn.logo
    state = "people see it" if logo.is_shown and not client.is_unreviewed else "people do not see it yet"
    words = f"{logo.source} ({size_of(drawn.png)}, SHA-256 {logo.digest[:12]}…): {state}"
    if problem:
        words = f"{words}. What lies there now is another matter: {problem}"
    return _Seen(kept=kept, client=client, drawn=drawn, logo_words=words)


def _no_logo(kept: Registration) -> str:
    if kept.has_document and json.loads(kept.metadata).get("logo_uri"):
        return "none that can be taken: it is not at the origin of the document"
    return "none"


@click.command("block")
@click.argument("address")
@may_say_why
@by_option
@config_option
def block(address: str, why: str, by: str | None, config: Path) -> None:
    """Shut out a site whose id is the address of a document: nobody can sign in there, and whatever it was granted ends.

    ADDRESS is that id. It need not have been here before. `doorward site unblock` lets it in again.
    """

    async def work(opened: Opened) -> None:
        await _reviews(opened).block(_document_id(address), await acting(opened, why, by))

    opened_for(config, work)
    click.echo(f"{address} is shut out, and nothing that it was granted is good any more.")


@click.command("unblock")
@click.argument("address")
@may_say_why
@by_option
@config_option
def unblock(address: str, why: str, by: str | None, config: Path) -> None:
    """Let a site in again that was shut out.

    Nothing of what it was granted before comes back; who agreed to share something there is not asked again.
    """

    async def work(opened: Opened) -> bool:
        return await _reviews(opened).unblock(_document_id(address), await acting(opened, why, by))

    if not opened_for(config, work):
        fail(f"{address} is not shut out. `doorward site list` shows those that are.")
    click.echo(f"{address} may come again.")


def blocked_sites(config: Path) -> list[str]:
    """The ids of all that are shut out."""

    async def work(opened: Opened) -> list[str]:
        return [str(name) for name in await _reviews(opened).blocked()]

    return opened_for(config, work)


def registered_sites(config: Path) -> list[Client]:
    """All that put themselves in and are used, as they are now."""

    async def work(opened: Opened) -> list[Client]:
        return list(opened.world.clients.registered())

    return opened_for(config, work)


def _flow(opened: Opened) -> Registrations:
    flow = opened.world.registrations
    if flow is None:
        fail('No site may register by itself here. Write registration = "invited" under [broker] first.')
    return flow


def _reviews(opened: Opened) -> Reviews:
    from broker.flows.registration import Reviews

    return Reviews(durable=opened.world.durable, trail=opened.trail, clock=opened.world.clock)


def _document_id(address: str) -> ClientId:
    from broker.domain.documents import is_document_id
    from broker.domain.values import ClientId

    if not is_document_id(address):
        fail(f"{address} is no address of a document. Write it as the site does: https://app.example.org/client.json")
    return ClientId(address)


async def _found(opened: Opened, name: str) -> tuple[Registration, Client]:
    from broker.domain.values import ClientId

    client = opened.world.clients.get(ClientId(name)) if "://" in name else await opened.world.clients.look(name)
    kept = await opened.world.durable.registrations.load(ClientId(name))
    if kept is None or client is None:
        fail(f"No site {name} put itself in. `doorward site list` shows those that did.")
    return kept, client


def _counted(uses: int) -> str:
    return "one site" if uses == 1 else f"{uses} sites"
